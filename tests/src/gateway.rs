//! How is the binary under test started, met and stopped?
//!
//! It is the real `portcullis`, found beside the test's own executable. Its standard error is kept
//! for the message of a failed test; its standard output is the access log.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::certs::Certs;
use crate::dir::TempDir;
use crate::eventually::eventually;
use crate::h2_client::H2;
use crate::message::Message;
use crate::raw::{Raw, Tls};

/// A configuration about to be run. `<dir>` in it stands for the test's directory, in which the
/// certificates of [`Certs`] lie; other marks are set by [`Plan::ports`] and [`Plan::text`].
pub struct Plan {
    yaml: String,
    env: Vec<(String, String)>,
    files: Vec<(String, Vec<u8>)>,
    by_link: bool,
    passed: Option<std::os::fd::OwnedFd>,
}

impl Plan {
    /// Puts `[port, ...]` in place of `<name>`.
    pub fn ports(self, name: &str, ports: impl IntoIterator<Item = u16>) -> Plan {
        let ports: Vec<_> = ports.into_iter().map(|port| port.to_string()).collect();
        self.text(name, &format!("[{}]", ports.join(", ")))
    }

    /// Puts any text in place of `<name>`.
    pub fn text(mut self, name: &str, text: &str) -> Plan {
        self.yaml = self.yaml.replace(&format!("<{name}>"), text);
        self
    }

    /// Puts a file into the gateway's directory.
    pub fn file(self, name: &str, text: &str) -> Plan {
        self.bytes(name, text.as_bytes())
    }

    /// Puts a file that is no text into the gateway's directory.
    pub fn bytes(mut self, name: &str, bytes: &[u8]) -> Plan {
        self.files.push((name.to_owned(), bytes.to_owned()));
        self
    }

    /// Sets a variable of the gateway's environment.
    pub fn env(mut self, name: &str, value: &str) -> Plan {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs the binary as `portcullis` in the test's directory, where [`Gateway::install`] can put another.
    pub fn by_link(mut self) -> Plan {
        self.by_link = true;
        self
    }

    /// Passes a listening socket as a service manager does (`LISTEN_FDS`).
    pub fn pass(mut self, socket: &std::net::TcpListener) -> Plan {
        let copy = socket.try_clone().expect("a descriptor is left");
        self.passed = Some(copy.into());
        self
    }

    /// Starts the gateway and waits until everything is served.
    pub async fn start(mut self) -> Gateway {
        let (env, by_link) = (std::mem::take(&mut self.env), self.by_link);
        let passed = self.passed.take();
        let dir = TempDir::new();
        let certs = Certs::write(dir.path());
        for (name, text) in std::mem::take(&mut self.files) {
            std::fs::write(dir.path().join(name), text)
                .expect("a file can be written into a fresh directory");
        }
        let yaml = self.text("dir", &dir.path().display().to_string()).yaml;
        let file = dir.write("routes.yaml", &yaml);
        let program = match by_link {
            true => dir.path().join("portcullis"),
            false => binary("portcullis"),
        };
        if by_link {
            std::os::unix::fs::symlink(binary("portcullis"), &program)
                .expect("a link can be made in the test's own directory");
        }
        let mut command = match &passed {
            None => command_of(&program),
            // It is the fourth descriptor, and meant for the process by its number.
            Some(_) => {
                let pass = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\" 3<&0 </dev/null";
                let mut command = command_of(std::path::Path::new("/bin/sh"));
                command.args(["-c", pass, "sh"]).arg(&program);
                command
            }
        };
        let mut child = command
            .args(["run", "-c"])
            .arg(&file)
            .env("RUNTIME_DIRECTORY", dir.path())
            .envs(env)
            .stdin(passed.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary under test can be started");
        let stdout = lines_of(child.stdout.take().expect("stdout is piped"));
        let stderr = lines_of(child.stderr.take().expect("stderr is piped"));
        let mut gateway = Gateway {
            child,
            successors: Vec::new(),
            stdout,
            stderr,
            ready: Vec::new(),
            certs,
            yaml,
            dir,
        };
        gateway.until_ready().await;
        gateway
    }
}

/// A running gateway, killed on drop.
pub struct Gateway {
    child: Child,
    /// Processes that took over, by their number; the last of them serves.
    successors: Vec<u32>,
    stdout: Lines,
    stderr: Lines,
    ready: Vec<(String, u16)>,
    certs: Certs,
    yaml: String,
    dir: TempDir,
}

type Lines = Arc<Mutex<Vec<String>>>;

impl Gateway {
    /// A configuration to run.
    pub fn with(yaml: &str) -> Plan {
        Plan {
            yaml: yaml.to_owned(),
            env: Vec::new(),
            files: Vec::new(),
            by_link: false,
            passed: None,
        }
    }

    /// The port on which a listener (or `admin`) is served.
    pub fn port(&self, listener: &str) -> u16 {
        let found = self.ready.iter().find(|(name, _)| name == listener);
        found
            .unwrap_or_else(|| panic!("no listener `{listener}` in {:?}", self.ready))
            .1
    }

    /// What the clients of this gateway trust.
    pub fn certs(&self) -> &Certs {
        &self.certs
    }

    /// A file of this gateway's directory, such as `ca.pem`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a file into this gateway's directory as a careful program does: whole, by a rename.
    pub fn put(&self, name: &str, text: &str) {
        let fresh = self.dir.write(&format!(".{name}.new"), text);
        std::fs::rename(fresh, self.file(name)).expect("a file can be renamed within a directory");
    }

    /// TLS settings of a client that trusts this gateway, without ALPN.
    pub fn tls(&self) -> Tls {
        Tls::trusting(&self.certs)
    }

    /// A client in plain text, to listener `http`.
    pub async fn http(&self) -> Raw {
        Raw::tcp(self.port("http")).await
    }

    /// An HTTP/1.1 client over TLS, to listener `https`.
    pub async fn https(&self) -> Raw {
        Raw::tls(self.port("https"), &self.tls().alpn(&["http/1.1"])).await
    }

    /// An HTTP/2 client over TLS, to a listener.
    pub async fn h2(&self, listener: &str) -> H2 {
        let tls = self.tls().alpn(&["h2"]);
        H2::over(
            tls.connect(self.port(listener))
                .await
                .expect("the handshake succeeds"),
        )
        .await
    }

    /// A GET of the operators' address, on a connection of its own.
    pub async fn admin(&self, target: &str) -> Message {
        self.admin_with("GET", target, "").await
    }

    /// A request to the operators' address; `fields` are whole lines.
    pub async fn admin_with(&self, method: &str, target: &str, fields: &str) -> Message {
        let mut client = Raw::tcp(self.port("admin")).await;
        let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        client.send(head).await;
        client.reply().await
    }

    /// Where the operators' socket is, unless the configuration says otherwise.
    pub fn socket(&self) -> PathBuf {
        self.file("admin.sock")
    }

    /// A request over the operators' socket; `fields` are whole lines.
    pub async fn ask(&self, method: &str, target: &str, fields: &str, body: &str) -> Message {
        let stream = tokio::net::UnixStream::connect(self.socket())
            .await
            .expect("the operators' socket takes connections");
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
        );
        let mut client = Raw::over(stream);
        client.send(head).await;
        client.reply().await
    }

    /// `portcullis VERB ...` of this gateway's configuration, as an operator calls it.
    pub async fn cli(&self, words: &[&str]) -> Told {
        let mut command = command();
        let (verb, rest) = words.split_first().expect("a verb");
        command
            .arg(verb)
            .arg("-c")
            .arg(self.file("routes.yaml"))
            .args(rest)
            .env("RUNTIME_DIRECTORY", self.dir.path());
        tell(command).await
    }

    /// The value of a metric, by its whole line without the value; `None` where it is not told.
    pub async fn metric(&self, line: &str) -> Option<f64> {
        let text = self.admin("/metrics").await.text();
        let value = text.lines().find_map(|told| told.strip_prefix(line))?;
        value.trim().parse().ok()
    }

    /// The admin's `/status`.
    pub async fn status(&self) -> Value {
        let text = self.admin("/status").await.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("/status: {error}: {text}"))
    }

    /// Waits for the access log to have so many lines and returns them.
    pub async fn access_log(&self, count: usize) -> Vec<Value> {
        let enough = || async {
            let lines = read(&self.stdout);
            (lines.len() >= count).then_some(lines)
        };
        let lines = eventually(&format!("{count} lines in the access log"), enough).await;
        let parse = |line: &String| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        let mut lines: Vec<Value> = lines.iter().map(parse).collect();
        // Each data thread hands its lines over when it likes.
        lines.sort_by(|a, b| a["time"].as_str().cmp(&b["time"].as_str()));
        lines
    }

    /// What it has said on standard error.
    pub fn stderr(&self) -> String {
        read(&self.stderr).join("\n")
    }

    /// Asks it to drain (SIGTERM).
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Asks it to upgrade, with `portcullis upgrade`: whether that says that another process has taken over, and what
    /// it says.
    pub async fn upgrade(&mut self) -> (bool, String) {
        let (file, program) = (self.file("routes.yaml"), binary("portcullis"));
        let asking = move || {
            let mut asking = command_of(&program);
            asking.args(["upgrade", "-c"]).arg(file).output()
        };
        let output = tokio::task::spawn_blocking(asking).await;
        let output = output
            .expect("nothing panics there")
            .expect("the binary can be started");
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        let done = output.status.success();
        if done {
            self.remember_successor(&said, "process ");
        }
        (done, said)
    }

    /// Asks for an upgrade with SIGQUIT, and waits until another process has taken over.
    pub async fn upgrade_by_signal(&mut self) {
        let before = self.stderr().len();
        self.signal("QUIT");
        let told = || async {
            let told = self.stderr().split_off(before);
            told.contains("another process has taken over")
                .then_some(told)
        };
        let told = crate::eventually("another process takes over", told).await;
        self.remember_successor(&told, "successor=");
    }

    fn remember_successor(&mut self, said: &str, mark: &str) {
        let number = said.split(mark).nth(1).unwrap_or_default();
        let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
        let pid = digits
            .parse()
            .unwrap_or_else(|_| panic!("no number after `{mark}`: {said}"));
        self.successors.push(pid);
    }

    /// The processes that run this gateway's configuration.
    pub fn alive(&self) -> Vec<u32> {
        let file = self.file("routes.yaml").display().to_string();
        let runs_it = |pid: &u32| {
            // A process that has ended has no command line, also while nobody has asked how it ended.
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
            line.is_ok_and(|line| line.contains(&file))
        };
        let all = std::fs::read_dir("/proc").expect("processes can be listed");
        let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(runs_it).collect()
    }

    /// The process that serves.
    pub fn pid(&self) -> u32 {
        self.successors
            .last()
            .copied()
            .unwrap_or_else(|| self.child.id())
    }

    /// Puts a script in the place of the binary; see [`Plan::by_link`].
    pub fn install(&self, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let new = self.dir.write("new", &format!("#!/bin/sh\n{script}\n"));
        let runs = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&new, runs).expect("our own file");
        std::fs::rename(new, self.file("portcullis")).expect("within one directory");
    }

    /// Sends a signal by its name to the process that serves.
    pub fn signal(&self, name: &str) {
        self.signal_to(self.pid(), name);
    }

    /// Sends a signal to one of its processes.
    pub fn signal_to(&self, pid: u32, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid.to_string()])
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "SIG{name} could not be sent"
        );
    }

    /// Changes the configuration file and has it read again; returns when the gateway has said how that went.
    pub async fn reload(&self, change: impl FnOnce(String) -> String) -> String {
        let file = self.file("routes.yaml");
        let text = std::fs::read_to_string(&file).expect("the configuration can be read");
        std::fs::write(&file, change(text)).expect("the configuration can be written");
        let before = self.stderr().len();
        self.signal("HUP");
        let told = || async {
            let told = self.stderr().split_off(before);
            (told.contains("reloaded") || told.contains("reload refused")).then_some(told)
        };
        crate::eventually("the gateway tells of the reload", told).await
    }

    /// Waits for the end of the process that was started first.
    pub async fn exit(&mut self) -> ExitStatus {
        let child = Mutex::new(&mut self.child);
        eventually("the gateway exits", || async {
            let mut child = child.lock().expect("nobody panics while holding this lock");
            child.try_wait().expect("our own child can be asked")
        })
        .await
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("our own child can be asked")
            .is_none()
    }

    async fn until_ready(&mut self) {
        let child = Mutex::new(&mut self.child);
        let (stderr, yaml) = (&self.stderr, &self.yaml);
        self.ready = eventually("the gateway says `ready`", || async {
            let said = read(stderr);
            if let Some(ready) = said.iter().find_map(|line| ready_line(line)) {
                return Some(ready);
            }
            let mut child = child.lock().expect("nobody panics while holding this lock");
            let ended = child.try_wait().expect("our own child can be asked");
            assert!(
                ended.is_none(),
                "it ended with {ended:?}:\n{}\n{yaml}",
                said.join("\n")
            );
            None
        })
        .await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        for pid in self.alive() {
            self.signal_to(pid, "KILL");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!(
                "--- configuration\n{}\n--- the gateway said\n{}\n---",
                self.yaml,
                self.stderr()
            );
        }
    }
}

/// `portcullis`, not yet started.
pub fn command() -> Command {
    command_of(&binary("portcullis"))
}

fn command_of(program: &std::path::Path) -> Command {
    let mut command = Command::new(program);
    // Colours and log filters of the developer's shell are no part of the promise.
    command.env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Told {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Told {
    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs a command to its end, beside whatever else the test does.
pub async fn tell(mut command: Command) -> Told {
    command.env_remove("PORTCULLIS_ADMIN").stdin(Stdio::null());
    let run = move || command.output().expect("the binary can be started");
    let output = tokio::task::spawn_blocking(run)
        .await
        .expect("waiting for a command does not panic");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Told {
        code: output.status.code().unwrap_or(-1),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// `portcullis check` of a text: exit code and standard error.
pub fn check(yaml: &str) -> (i32, String) {
    let dir = TempDir::new();
    let _certs = Certs::write(dir.path());
    let file = dir.write(
        "routes.yaml",
        &yaml.replace("<dir>", &dir.path().display().to_string()),
    );
    let output = command()
        .arg("check")
        .arg(&file)
        .output()
        .expect("the binary can be started");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

/// A binary of this workspace, built beside the running test.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running program knows its file");
    let debug = test
        .parent()
        .and_then(|deps| deps.parent())
        .expect("tests run in target/*/deps");
    let path = debug.join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `make test`, which builds it",
        path.display()
    );
    path
}

/// `ready http=127.0.0.1:41231 admin=...`, wherever in its line it begins.
fn ready_line(line: &str) -> Option<Vec<(String, u16)>> {
    let words = line
        .strip_prefix("ready ")
        .or_else(|| line.split_once(" ready ").map(|cut| cut.1))?;
    let listener = |word: &str| {
        let (name, address) = word.split_once('=')?;
        Some((name.to_owned(), address.rsplit(':').next()?.parse().ok()?))
    };
    words.split_whitespace().map(listener).collect()
}

fn read(lines: &Lines) -> Vec<String> {
    lines
        .lock()
        .expect("nobody panics while holding this lock")
        .clone()
}

/// Reads lines on a thread of its own, so that the child never waits for a full pipe. What the child wrote at once, such
/// as a problem with its place, is seen at once: a pipe hands it over whole, and its lines are added together.
fn lines_of(mut from: impl Read + Send + 'static) -> Lines {
    const PIPE: usize = 64 * 1024;
    let lines = Lines::default();
    let kept = lines.clone();
    std::thread::spawn(move || {
        let (mut piece, mut begun) = (vec![0; PIPE], Vec::new());
        while let Ok(count @ 1..) = from.read(&mut piece) {
            begun.extend_from_slice(&piece[..count]);
            let whole = begun.iter().rposition(|byte| *byte == b'\n');
            let rest = begun.split_off(whole.map_or(0, |at| at + 1));
            let text = String::from_utf8_lossy(&begun).into_owned();
            begun = rest;
            let mut kept = kept.lock().expect("nobody panics while holding this lock");
            kept.extend(text.lines().map(str::to_owned));
        }
        let mut kept = kept.lock().expect("nobody panics while holding this lock");
        kept.extend(String::from_utf8_lossy(&begun).lines().map(str::to_owned));
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_every_listener() {
        let ready =
            ready_line("ready http=127.0.0.1:41231 v6=[::1]:41232 admin=127.0.0.1:9").unwrap();
        let expected = [("http", 41231), ("v6", 41232), ("admin", 9)];
        assert_eq!(ready, expected.map(|(name, port)| (name.to_owned(), port)));
        assert!(ready_line("getting ready").is_none());
    }
}
