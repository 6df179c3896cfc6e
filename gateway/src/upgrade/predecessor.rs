//! Whom do we replace? The new process's side: it takes the sockets over and says how it goes.
//!
//! Promises: until the old process says go, nothing is accepted; when it ends before, so do we. Does not: decide which
//! socket goes where.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::sockopt;

use super::link::{Link, Message, Offered};
use super::{CONFINED, VARIABLE};
use crate::listener::inherited::{From, Inherited};
use crate::tls::live::SessionKeys;

/// For the offer, which was written before we were started, and for the word to go, which comes at once or never.
const PATIENCE: Duration = Duration::from_secs(30);

/// The process that we replace.
pub struct Predecessor {
    link: Link,
    /// Its number.
    pub pid: u32,
    taken: Vec<usize>,
    sessions: Vec<(String, SessionKeys)>,
    admin: Option<(usize, SocketAddr, TcpListener)>,
    admin_socket: Option<(usize, PathBuf, UnixListener)>,
    control: Option<(usize, PathBuf, UnixListener)>,
}

/// The process that we replace, and its listeners' sockets; `None` where we replace nobody.
pub fn find() -> io::Result<Option<(Predecessor, Vec<Inherited>)>> {
    if std::env::var_os(VARIABLE).is_none() {
        return Ok(None);
    }
    let input = std::io::stdin().as_fd().try_clone_to_owned()?;
    if sockopt::socket_domain(&input).ok() != Some(rustix::net::AddressFamily::UNIX) {
        return Err(io::Error::other(format!(
            "{VARIABLE} is set, but standard input leads to no process to replace"
        )));
    }
    let mut link = Link::new(UnixStream::from(input));
    let Some(Message::Offer {
        pid,
        sockets,
        sessions,
    }) = link.hear(PATIENCE)?
    else {
        return Err(io::Error::other("no sockets were offered"));
    };
    let descriptors = link.receive_descriptors(sockets.len(), PATIENCE)?;
    let mut predecessor = Predecessor {
        link,
        pid,
        taken: Vec::new(),
        sessions,
        admin: None,
        admin_socket: None,
        control: None,
    };
    let mut listeners = Vec::new();
    for (at, (offered, descriptor)) in sockets.into_iter().zip(descriptors).enumerate() {
        match offered {
            Offered::Listener { name, host, port } => listeners.push(Inherited {
                from: From::Predecessor(at),
                name: Some(name),
                asked: Some((host, port)),
                socket: TcpListener::from(descriptor),
            }),
            Offered::Admin { host, port } => {
                let asked = SocketAddr::new(host, port);
                predecessor.admin = Some((at, asked, TcpListener::from(descriptor)));
            }
            Offered::AdminSocket { path } => {
                let socket = UnixListener::from(descriptor);
                predecessor.admin_socket = Some((at, PathBuf::from(path), socket));
            }
            Offered::Control { path } => {
                let socket = UnixListener::from(descriptor);
                predecessor.control = Some((at, PathBuf::from(path), socket));
            }
        }
    }
    Ok(Some((predecessor, listeners)))
}

impl Predecessor {
    /// The files that it was held to, as it told; we are, too.
    pub fn confined(&self) -> Option<String> {
        std::env::var(CONFINED).ok()
    }

    /// A listener's socket was taken.
    pub fn take(&mut self, from: From) {
        if let From::Predecessor(at) = from {
            self.taken.push(at);
        }
    }

    /// The keys of a listener's TLS sessions.
    pub fn take_sessions(&mut self, listener: &str) -> Option<SessionKeys> {
        let at = self
            .sessions
            .iter()
            .position(|(name, _)| name == listener)?;
        Some(self.sessions.swap_remove(at).1)
    }

    /// The operators' socket, where it is bound as asked.
    pub fn take_admin(&mut self, asked: SocketAddr) -> Option<TcpListener> {
        let (at, _, socket) = self.admin.take_if(|(_, was, _)| *was == asked)?;
        self.taken.push(at);
        Some(socket)
    }

    /// The operators' unix socket, where it lies at this path.
    pub fn take_admin_socket(&mut self, path: &std::path::Path) -> Option<UnixListener> {
        let (at, _, socket) = self.admin_socket.take_if(|(_, was, _)| was == path)?;
        self.taken.push(at);
        Some(socket)
    }

    /// The socket for `portcullis upgrade`, where it lies at this path.
    pub fn take_control(&mut self, path: &std::path::Path) -> Option<UnixListener> {
        let (at, _, socket) = self.control.take_if(|(_, was, _)| was == path)?;
        self.taken.push(at);
        Some(socket)
    }

    /// Says that everything is built, and waits for the word to go. What was not taken is closed.
    pub fn prepared(&mut self) -> io::Result<()> {
        (self.admin, self.admin_socket, self.control) = (None, None, None);
        self.link.say(&Message::Prepared {
            pid: std::process::id(),
            taken: self.taken.clone(),
        })?;
        match self.link.hear(PATIENCE)? {
            Some(Message::Go) => Ok(()),
            _ => Err(io::Error::other("the process to replace serves on")),
        }
    }

    /// Says that we serve.
    pub fn serving(mut self) -> io::Result<()> {
        self.link.say(&Message::Serving)
    }

    /// Says why we will not serve.
    pub fn refuse(mut self, reason: &str) {
        const REASON_MAX: usize = 64 * 1024;
        let end = reason.floor_char_boundary(REASON_MAX);
        // The old process serves on whatever we say.
        let _ = self.link.say(&Message::Refused {
            reason: reason[..end].to_owned(),
        });
    }
}
