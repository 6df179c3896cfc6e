//! Who replaces us? The old process's side: it starts the new one and waits until that serves, or has failed.
//!
//! Promises: whatever the new process does, this one hears of it within its deadline or a few seconds more, and a
//! failed one is gone afterwards. Does not: stop accepting, or drain.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::link::{Link, Message, Offered};
use super::{CONFINED, VARIABLE};
use crate::tls::live::SessionKeys;

/// Between two looks whether the new process still runs.
const LOOK: Duration = Duration::from_millis(50);
/// From the end of the link to the end of the process.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// From the word to go, when all is built, to the first accept.
const GO: Duration = Duration::from_secs(10);

/// How we were started, which is how our successor is.
#[derive(Clone, Debug)]
pub struct Start {
    program: PathBuf,
    arguments: Vec<OsString>,
    /// The files that we are held to, in words; whoever we start is, too.
    confined: Option<String>,
}

impl Start {
    /// Remembers the files that we are held to.
    pub fn confined(&mut self, files: Option<String>) {
        self.confined = files;
    }

    /// The program, as it was named.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Remembers it. Called early: later, the file that we run may be another's.
    pub fn remember() -> io::Result<Start> {
        let mut arguments = std::env::args_os();
        let named = arguments.next().map(PathBuf::from);
        // As it was named, so that a link which is turned to another version is followed.
        let program = match named.filter(|name| name.components().count() > 1) {
            Some(name) => std::env::current_dir()?.join(name),
            None => std::env::current_exe()?,
        };
        Ok(Start {
            program,
            arguments: arguments.collect(),
            confined: None,
        })
    }
}

/// Sockets on their way: copies, with what they are for.
#[derive(Default)]
pub struct Offer {
    names: Vec<Offered>,
    sessions: Vec<(String, SessionKeys)>,
    sockets: Vec<OwnedFd>,
}

impl Offer {
    /// Adds a listener's socket; returns its place.
    pub fn listener(
        &mut self,
        name: &str,
        (host, port): (Option<IpAddr>, u16),
        socket: &TcpListener,
    ) -> io::Result<usize> {
        let name = name.to_owned();
        self.add(Offered::Listener { name, host, port }, socket)
    }

    /// Adds the operators' socket.
    pub fn admin(&mut self, asked: SocketAddr, socket: &TcpListener) -> io::Result<()> {
        let (host, port) = (asked.ip(), asked.port());
        self.add(Offered::Admin { host, port }, socket).map(drop)
    }

    /// Adds the operators' unix socket.
    pub fn admin_socket(&mut self, path: &Path, socket: &UnixListener) -> io::Result<()> {
        let path = path.display().to_string();
        self.add(Offered::AdminSocket { path }, socket).map(drop)
    }

    /// Adds the socket for `portcullis upgrade`.
    pub fn control(&mut self, path: &Path, socket: &UnixListener) -> io::Result<()> {
        let path = path.display().to_string();
        self.add(Offered::Control { path }, socket).map(drop)
    }

    /// Adds the keys of a listener's TLS sessions.
    pub fn sessions(&mut self, listener: &str, keys: SessionKeys) {
        self.sessions.push((listener.to_owned(), keys));
    }

    fn add(&mut self, name: Offered, socket: &impl AsFd) -> io::Result<usize> {
        self.sockets.push(socket.as_fd().try_clone_to_owned()?);
        self.names.push(name);
        Ok(self.names.len() - 1)
    }
}

/// A process that serves in our place.
#[derive(Debug, PartialEq, Eq)]
pub struct Successor {
    /// Its number.
    pub pid: u32,
    /// The places in the offer of the sockets that it took.
    pub taken: Vec<usize>,
}

/// A new process that is not yet our successor.
#[derive(Clone)]
pub struct Candidate(Arc<Mutex<Child>>);

/// Starts a new process as we were started. The link leads to it.
pub fn start(start: &Start) -> Result<(Candidate, Attempt), String> {
    let told = |error: io::Error| format!("{} cannot be started: {error}", start.program.display());
    let (ours, its) = UnixStream::pair().map_err(told)?;
    let mut command = Command::new(&start.program);
    match &start.confined {
        Some(files) => command.env(CONFINED, files),
        None => command.env_remove(CONFINED),
    };
    let child = command
        .args(&start.arguments)
        .env(VARIABLE, "stdin")
        // These mean one process by its number: us.
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_FDS")
        .env_remove("LISTEN_FDNAMES")
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::from(OwnedFd::from(its)))
        .spawn()
        .map_err(told)?;
    let candidate = Candidate(Arc::new(Mutex::new(child)));
    let attempt = Attempt {
        candidate: candidate.clone(),
        link: Link::new(ours),
    };
    Ok((candidate, attempt))
}

impl Candidate {
    /// Ends it, whatever it does.
    pub fn kill(&self) {
        let mut child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// How it ended, if it has.
    fn ended(&self) -> Option<String> {
        let mut child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match child.try_wait() {
            Ok(status) => status.map(|status| format!("the new process ended ({status})")),
            Err(error) => Some(format!("the new process cannot be watched: {error}")),
        }
    }
}

/// The conversation with a candidate.
pub struct Attempt {
    candidate: Candidate,
    link: Link,
}

impl Attempt {
    /// Hands the sockets over and waits until the new process serves. Blocks, at most a few seconds longer than
    /// `patience`. The error is why it does not; the process is gone then.
    pub fn converse(mut self, offer: &Offer, patience: Duration) -> Result<Successor, String> {
        let result = self.try_converse(offer, patience);
        if result.is_err() {
            self.candidate.kill();
        }
        result
    }

    fn try_converse(&mut self, offer: &Offer, patience: Duration) -> Result<Successor, String> {
        let until = Instant::now() + patience;
        let message = Message::Offer {
            pid: std::process::id(),
            sockets: offer.names.clone(),
            sessions: offer.sessions.clone(),
        };
        let descriptors: Vec<_> = offer.sockets.iter().map(AsFd::as_fd).collect();
        let told = self.link.say(&message);
        let told = told.and_then(|()| self.link.send_descriptors(&descriptors));
        told.map_err(|error| self.lost(error))?;
        let (pid, taken) = match self.hear(until)? {
            Message::Prepared { pid, taken } => (pid, taken),
            Message::Refused { reason } => return Err(reason),
            other => return Err(format!("the new process says {other:?}")),
        };
        let told = self.link.say(&Message::Go);
        told.map_err(|error| self.lost(error))?;
        match self.hear(Instant::now() + GO)? {
            Message::Serving => Ok(Successor { pid, taken }),
            Message::Refused { reason } => Err(reason),
            other => Err(format!("the new process says {other:?}")),
        }
    }

    fn hear(&mut self, until: Instant) -> Result<Message, String> {
        loop {
            // Looked at first: what it said before it ended is still heard.
            let ended = self.candidate.ended();
            match self.link.hear(LOOK) {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(error) => return Err(self.lost(error)),
            }
            if let Some(ended) = ended {
                return Err(ended);
            }
            if Instant::now() >= until {
                return Err("the new process did not serve in time".to_owned());
            }
        }
    }

    /// The link is gone. Mostly because the process is, which says more.
    fn lost(&self, error: io::Error) -> String {
        let since = Instant::now();
        while since.elapsed() < LAST_WORDS {
            if let Some(ended) = self.candidate.ended() {
                return ended;
            }
            std::thread::sleep(LOOK);
        }
        format!("the new process does not answer: {error}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(script: &str, patience: Duration) -> Result<Successor, String> {
        let how = Start {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            confined: None,
        };
        let (_, attempt) = start(&how).unwrap();
        attempt.converse(&Offer::default(), patience)
    }

    #[test]
    fn a_process_that_ends_is_told_with_its_status() {
        let why = outcome("exit 3", Duration::from_secs(60)).unwrap_err();
        assert!(why.contains("exit status: 3"), "{why}");
    }

    #[test]
    fn a_process_that_hangs_is_given_up_and_killed() {
        let why = outcome("exec sleep 60", Duration::from_millis(200)).unwrap_err();
        assert!(why.contains("in time"), "{why}");
    }

    #[test]
    fn a_program_that_is_not_there_is_told() {
        let how = Start {
            program: "/nowhere/portcullis".into(),
            arguments: Vec::new(),
            confined: None,
        };
        let why = start(&how).err().unwrap();
        assert!(why.contains("/nowhere/portcullis"), "{why}");
    }
}
