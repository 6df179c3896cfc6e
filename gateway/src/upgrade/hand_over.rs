//! What is handed over, and what becomes of it here? The listeners' sockets as they are now, and the operators'.
//!
//! Promises: while an attempt goes on the listeners stay as they are (reloads are refused); when it fails, nothing has
//! changed; when it succeeds, every socket that the new process took is given up here, and one that it did not take is
//! emptied before it is closed.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::successor::{Candidate, Offer, Start, Successor, start};
use crate::reload::Reload;
use crate::shard::{Farewell, Shared};

/// Sockets beside those of the listeners, for the next process.
#[derive(Default)]
pub struct Beside {
    /// The operators' listener, by the address asked for.
    pub admin: Option<(SocketAddr, TcpListener)>,
    /// The operators' unix socket.
    pub admin_socket: Option<(PathBuf, UnixListener)>,
    /// For `portcullis upgrade`.
    pub control: Option<(PathBuf, UnixListener)>,
}

/// What an upgrade needs.
pub struct HandOver {
    /// How we were started.
    pub start: Start,
    /// For the new process to serve.
    pub start_timeout: Duration,
    /// What the data threads share.
    pub shared: Arc<Shared>,
    /// Has the listeners' sockets.
    pub reload: Arc<Reload>,
    /// The other sockets.
    pub beside: Mutex<Beside>,
}

/// An attempt that goes on.
pub struct Begun {
    /// The new process.
    pub candidate: Candidate,
    /// How it ends.
    pub outcome: oneshot::Receiver<Result<Successor, String>>,
    /// The places of the listeners' sockets in the offer, in their order.
    places: Vec<usize>,
}

impl HandOver {
    /// Starts a new process and begins to hand over. [`HandOver::succeeded`] or [`HandOver::failed`] ends it.
    pub fn begin(&self) -> Result<Begun, String> {
        if std::process::id() == 1 {
            return Err(
                "this is process 1 of its container, which ends with it: start a new container instead"
                    .to_owned(),
            );
        }
        self.reload.frozen.store(true, Ordering::SeqCst);
        // One that goes on already is waited for.
        drop(self.reload.alone.lock());
        self.try_begin().inspect_err(|_| self.failed())
    }

    fn try_begin(&self) -> Result<Begun, String> {
        let (offer, places) = self.offer().map_err(|error| format!("sockets: {error}"))?;
        let (candidate, attempt) = start(&self.start)?;
        let (tell, outcome) = oneshot::channel();
        let patience = self.start_timeout;
        let conversing = std::thread::Builder::new().name("upgrade".to_owned());
        let spawned = conversing.spawn(move || {
            // Nobody waits any more when the gateway stops.
            let _ = tell.send(attempt.converse(&offer, patience));
        });
        if let Err(error) = spawned {
            candidate.kill();
            return Err(format!("no thread can be started: {error}"));
        }
        Ok(Begun {
            candidate,
            outcome,
            places,
        })
    }

    fn offer(&self) -> std::io::Result<(Offer, Vec<usize>)> {
        let (mut offer, mut places) = (Offer::default(), Vec::new());
        let plan = self.shared.plan.load();
        let doors = self.reload.doors.lock();
        for door in doors.unwrap_or_else(PoisonError::into_inner).iter() {
            let name = &plan.listener(door.listener).name;
            places.push(offer.listener(name, (door.bind.host, door.bind.port), &door.socket)?);
        }
        for (listener, running) in plan.config.listeners.iter().zip(&plan.listeners) {
            if let Some(tls) = running.tls.as_ref().filter(|_| !listener.bind.is_empty()) {
                offer.sessions(&listener.name, tls.session_keys());
            }
        }
        let beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, socket)) = &beside.admin {
            offer.admin(*asked, socket)?;
        }
        if let Some((path, socket)) = &beside.admin_socket {
            offer.admin_socket(path, socket)?;
        }
        if let Some((path, socket)) = &beside.control {
            offer.control(path, socket)?;
        }
        Ok((offer, places))
    }

    /// The new process serves: new connections are its own from here on.
    pub fn succeeded(&self, successor: &Successor, begun: &Begun, farewell: Farewell) {
        let doors = self.reload.doors.lock();
        let doors = doors.unwrap_or_else(PoisonError::into_inner);
        for (door, place) in doors.iter().zip(&begun.places) {
            if successor.taken.contains(place) {
                door.held_elsewhere.store(true, Ordering::SeqCst);
            }
        }
        drop(doors);
        *self.beside.lock().unwrap_or_else(PoisonError::into_inner) = Beside::default();
        self.shared.hand_over(farewell);
    }

    /// Nothing has changed: reloads are possible again.
    pub fn failed(&self) {
        self.reload.frozen.store(false, Ordering::SeqCst);
        self.reload.metrics.upgrade_failed();
    }
}
