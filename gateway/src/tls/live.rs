//! What does a listener show just now, and is it still what lies on the disk?
//!
//! Promises: a handshake takes what is shown by one atomic load; files that were replaced, by a write, a rename or another
//! target of a symbolic link, are read as soon as they rest; what is broken, expired or half written is refused and the
//! old stays. Sessions go on being resumed as long as the same clients are trusted. Where the wall clock was set, all is
//! read anew: what it made look out of date is shown again once the clock is right. Does not: look by itself (the control
//! thread calls [`Live::look`]).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use serde::{Deserialize, Serialize};

use super::lists::List;
use super::server::{Ready, Shown, chosen, ready};
use super::tickets::{NoKey, OneClient, TicketKey, Tickets};
use super::time::{Clocks, unix};
use super::watch::{Seen, Watch};
use crate::config::model::{Protocol, Tls};
use crate::config::problem::Problem;

/// TLS of a listener.
pub struct Live {
    config: ArcSwap<Settings>,
    model: Tls,
    protocol: Protocol,
    /// Taken by the control thread and by reloads alone.
    watched: Mutex<Watched>,
}

/// The settings for handshakes, with the keys of tickets that stand in them.
struct Settings {
    config: Arc<ServerConfig>,
    tickets: Arc<Tickets>,
}

impl Settings {
    fn new(mut config: ServerConfig, tickets: Arc<Tickets>) -> Arc<Settings> {
        config.ticketer = tickets.clone();
        Arc::new(Settings {
            config: Arc::new(config),
            tickets,
        })
    }
}

/// The keys of a listener's sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionKeys {
    /// Which clients are trusted: sessions of one trust must not be resumed under another.
    trust: [u8; 32],
    keys: Vec<TicketKey>,
}

struct Watched {
    files: Watch,
    shown: Vec<Shown>,
    lists: Vec<List>,
    content: [u8; 32],
    trust: [u8; 32],
    /// When something that is shown ends, seconds since 1970.
    again: Option<i64>,
}

/// What a look has found.
#[derive(Debug)]
pub enum Look {
    /// Nothing new.
    Same,
    /// Something changes just now: look again soon.
    Moving,
    /// Shown from now on; with what is doubtful about it.
    PickedUp(Vec<Shown>, Vec<Problem>),
    /// What lies there cannot be shown, for these reasons; told once.
    Refused(Vec<Problem>),
}

impl Live {
    /// Reads what a listener names, or tells what is wrong with it. Clients that come back resume the sessions they had
    /// with `before`.
    pub fn open(
        model: &Tls,
        protocol: Protocol,
        now: SystemTime,
        before: Option<&Live>,
    ) -> Result<(Live, Vec<Problem>), Vec<Problem>> {
        let seen = Clocks {
            wall: now,
            steady: Instant::now(),
        };
        let files = Watch::new(files(model).cloned().collect(), seen);
        let Ready {
            config,
            mut tickets,
            shown,
            lists,
            content,
            trust,
            again,
            warnings,
        } = ready(model, protocol, now)?;
        if let Some(before) = before {
            let watched = before.watched();
            if watched.trust == trust {
                tickets = before.config.load().tickets.clone();
            }
        }
        let live = Live {
            config: ArcSwap::new(Settings::new(config, tickets)),
            model: model.clone(),
            protocol,
            watched: Mutex::new(Watched {
                files,
                shown,
                lists,
                content,
                trust,
                again,
            }),
        };
        Ok((live, warnings))
    }

    /// The settings for a handshake that begins now.
    pub fn config(&self) -> Arc<ServerConfig> {
        let settings = self.config.load();
        if self.model.client_certificates.is_none() {
            return settings.config.clone();
        }
        let mut config = ServerConfig::clone(&settings.config);
        config.ticketer = Arc::new(OneClient::new(settings.tickets.clone()));
        Arc::new(config)
    }

    /// The keys of its sessions, for the process that replaces this one.
    pub fn session_keys(&self) -> SessionKeys {
        let watched = self.watched();
        SessionKeys {
            trust: watched.trust,
            keys: self.config.load().tickets.keys(),
        }
    }

    /// Goes on with the sessions of the process before this one, where the same clients are trusted.
    pub fn resume(&self, sessions: SessionKeys) -> Result<(), NoKey> {
        let watched = self.watched();
        if watched.trust == sessions.trust {
            let settings = self.config.load();
            let tickets = Tickets::with(sessions.keys, settings.tickets.ends())?;
            let config = ServerConfig::clone(&settings.config);
            self.config.store(Settings::new(config, Arc::new(tickets)));
        }
        Ok(())
    }

    /// The certificates that are shown.
    pub fn shown(&self) -> Vec<Shown> {
        self.watched().shown.clone()
    }

    /// The file of the certificate that a client gets which asks for `name`; none where it is refused.
    pub fn shown_for(&self, name: &str) -> Option<PathBuf> {
        let shown = self.shown().into_iter();
        let all = shown.map(|shown| (shown.chain, shown.names)).collect();
        chosen(all, name, self.model.unknown_names)
    }

    /// What is known of revoked clients.
    pub fn lists(&self) -> Vec<List> {
        self.watched().lists.clone()
    }

    /// Looks at the files and takes over what is new, sound and at rest.
    pub fn look(&self, now: Clocks) -> Look {
        self.config.load().tickets.tidy();
        if !self.model.watch {
            return Look::Same;
        }
        let mut watched = self.watched();
        let ended = watched.again.is_some_and(|end| end < unix(now.wall));
        match watched.files.look(ended, now) {
            Seen::Same => return Look::Same,
            Seen::Moving => return Look::Moving,
            Seen::Changed => watched.again = None,
        }
        match ready(&self.model, self.protocol, now.wall) {
            Ok(ready) => self.take_over(&mut watched, ready),
            Err(problems) if watched.files.refuse(&problems, now) => Look::Refused(problems),
            Err(_) => Look::Same,
        }
    }

    fn take_over(&self, watched: &mut Watched, ready: Ready) -> Look {
        watched.files.accept();
        watched.again = ready.again;
        if ready.content == watched.content {
            return Look::Same;
        }
        let Ready {
            config,
            mut tickets,
            shown,
            lists,
            content,
            trust,
            again: _,
            warnings,
        } = ready;
        if trust == watched.trust {
            tickets = self.config.load().tickets.clone();
        }
        self.config.store(Settings::new(config, tickets));
        watched.shown.clone_from(&shown);
        watched.lists = lists;
        (watched.content, watched.trust) = (content, trust);
        Look::PickedUp(shown, warnings)
    }

    fn watched(&self) -> std::sync::MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every file that a listener names for TLS.
fn files(model: &Tls) -> impl Iterator<Item = &PathBuf> {
    let certificates = model.certificates.iter().flat_map(|certificate| {
        let both = [&certificate.chain, &certificate.key];
        both.into_iter().chain(&certificate.ocsp)
    });
    let clients = model
        .client_certificates
        .iter()
        .flat_map(|clients| std::iter::once(&clients.ca).chain(&clients.crls));
    certificates.chain(clients)
}

#[cfg(test)]
mod tests;
