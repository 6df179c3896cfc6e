//! How does a program run on one core and end? Children that are pinned, waited for and stopped by their id.

use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command as Start, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::{Command, Proxy};

/// Time that a program has to come up or to end.
const PATIENCE: Duration = Duration::from_secs(15);
const TURN: Duration = Duration::from_millis(20);

/// Cores for a program, as `taskset -c` reads them.
#[derive(Clone, Debug)]
pub struct Pinned(pub String);

impl Pinned {
    /// The start of a command that runs a program there; the kernel ends it when this process ends.
    pub fn start(&self, program: &Path) -> Start {
        let mut start = Start::new("setpriv");
        start.args(["--pdeathsig", "TERM", "--", "taskset", "-c", &self.0]);
        start.arg(program);
        start
    }
}

/// A running child; stopped when dropped.
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start(name: &str, start: &mut Start) -> anyhow::Result<Process> {
        let child = start
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| name.to_owned())?;
        Ok(Process {
            child,
            name: name.to_owned(),
        })
    }

    /// Starts a proxy and waits until it listens on these ports.
    ///
    /// # Errors
    ///
    /// Its configuration is refused, or it does not come up; its own words are in the error.
    pub fn proxy(
        proxy: Proxy,
        command: &Command,
        pinned: &Pinned,
        ports: &[u16],
        dir: &Path,
    ) -> anyhow::Result<Process> {
        let errors = dir.join(format!("{}.err", proxy.name()));
        let mut start = pinned.start(&proxy.binary());
        start.args(&command.run).envs(command.env.iter().cloned());
        start.stdout(match &command.stdout {
            Some(path) => Stdio::from(File::create(path).context("access log")?),
            None => Stdio::null(),
        });
        start.stderr(File::create(&errors).context("error log")?);
        let mut process = Process::start(proxy.name(), &mut start)?;
        for port in ports {
            process.await_port(*port).with_context(|| {
                let said = std::fs::read_to_string(&errors).unwrap_or_default();
                format!("{} said: {said}", proxy.name())
            })?;
        }
        Ok(process)
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output, once, where that was asked for.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    fn await_port(&mut self, port: u16) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = self.child.try_wait().context("wait")? {
                bail!("{} ended with {status}", self.name);
            }
            ensure!(
                Instant::now() < until,
                "{} does not listen on port {port}",
                self.name
            );
            std::thread::sleep(TURN);
        }
        Ok(())
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let _ = Start::new("kill")
            .args(["-s", name, &id])
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // nginx and Apache have children that a SIGKILL would leave behind; INT is a fast end for all but Apache.
        self.signal(if self.name == "apache" { "TERM" } else { "INT" });
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(TURN);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks a proxy whether its configuration is good.
///
/// # Errors
///
/// It is not, in the proxy's own words.
pub fn check(proxy: Proxy, command: &Command) -> anyhow::Result<()> {
    let output = Start::new(proxy.binary())
        .args(&command.check)
        .envs(command.env.iter().cloned())
        .stdin(Stdio::null())
        .output()
        .with_context(|| proxy.binary().display().to_string())?;
    ensure!(
        output.status.success(),
        "{} refuses its configuration:\n{}{}",
        proxy.name(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The first line of what a program says of its version.
pub fn version_of(program: &Path, argument: &str) -> Option<String> {
    let mut child = Start::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut text = String::new();
    child.stdout.take()?.read_to_string(&mut text).ok()?;
    child.stderr.take()?.read_to_string(&mut text).ok()?;
    child.wait().ok()?;
    text.lines().next().map(str::to_owned)
}

/// The first of so many free ports in a row, below the kernel's own range for outgoing connections.
///
/// # Errors
///
/// There are not so many.
pub fn free_ports(from: u16, count: u16) -> anyhow::Result<u16> {
    let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let mut first = from;
    while u32::from(first) + u32::from(count) < 32_768 {
        match (first..first + count).rev().find(|port| !free(*port)) {
            None => return Ok(first),
            Some(taken) => first = taken + 1,
        }
    }
    bail!("there are no {count} free ports in a row from {from} on")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_not_among_the_free_ones() {
        let first = free_ports(23_000, 5).unwrap();
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first + 2)).unwrap();
        assert!(free_ports(first, 5).unwrap() > first + 2);
        assert!(free_ports(32_760, 100).is_err());
    }

    #[test]
    fn a_program_that_ends_is_not_waited_for_in_vain() {
        let mut start = Start::new("false");
        let mut process = Process::start("false", &mut start).unwrap();
        assert!(process.await_port(1).is_err());
    }
}
