//! With which keys are sessions kept in tickets? Ours, so that the process that replaces this one can be given them.
//!
//! Promises: a key makes tickets for 6 hours and is believed for 12, also when the clock jumps; a session ends 12 hours
//! after its client has proven who it is, however often it is resumed (RFC 8446 section 4.6.1); tickets are sealed with
//! AES-256-GCM under a random nonce, their key's name included; what does not open is no ticket, and the client shakes
//! hands in full. Keys are never printed, and wiped when they are given up. Does not: decide whether two listeners may
//! share them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use rustls::server::ProducesTickets;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// Seconds for which a key makes tickets.
const MAKES: u64 = 6 * 3600;
/// Seconds for which its tickets are believed, from its making; and for which a session lives, from its proof.
const BELIEVED: u64 = 12 * 3600;
/// Seconds by which a key may come from the future. Where the clock was set back by more, one made before would be used
/// until the clock comes to it again.
const AHEAD_MAX: u64 = 300;
/// Tickets of a key: random nonces of 96 bits are good for 2^32 (NIST SP 800-38D section 8.3), and the process that
/// replaces this one goes on with the same key.
const SEALED_MAX: u64 = 1 << 31;
/// Keys that are kept, should they be made faster than they age.
const KEYS_MAX: usize = 8;
const NAME: usize = 16;
/// What a ticket is sealed with besides its key's name: changes with what is inside.
const FORMAT: u8 = 2;
/// Bytes of the time of the proof.
const PROVEN: usize = 8;
const TAG: usize = 16;
/// Longer ones are neither made nor opened: a session is some certificates of a client at most.
const TICKET_MAX: usize = 16 * 1024;

/// A key as it is handed to another process.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKey {
    name: [u8; NAME],
    /// In a place of its own, so that moving the key leaves no copy behind.
    secret: Box<[u8; 32]>,
    /// Seconds since 1970.
    made: u64,
}

impl Drop for TicketKey {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey")
    }
}

/// The keys of a listener.
pub struct Tickets {
    keys: RwLock<Vec<Ready>>,
    /// From when on none of its tickets is believed, seconds since 1970: what was known of its clients has run out.
    ends: Option<u64>,
}

/// A key, ready for use.
struct Ready {
    key: TicketKey,
    seal: RandomizedNonceKey,
    sealed: AtomicU64,
}

/// What a ticket holds.
#[derive(Debug, PartialEq, Eq)]
struct Opened {
    session: Vec<u8>,
    /// When the client has proven who it is, seconds since 1970.
    proven: u64,
}

/// The cryptography has failed.
#[derive(Debug, thiserror::Error)]
#[error("no key for session tickets can be made")]
pub struct NoKey;

impl Ready {
    fn new(key: TicketKey) -> Result<Ready, NoKey> {
        let seal =
            RandomizedNonceKey::new(&AES_256_GCM, key.secret.as_slice()).map_err(|_| NoKey)?;
        Ok(Ready {
            key,
            seal,
            sealed: AtomicU64::new(0),
        })
    }

    fn random(now: u64) -> Result<Ready, NoKey> {
        let mut key = TicketKey {
            name: [0; NAME],
            secret: Box::new([0; 32]),
            made: now,
        };
        aws_lc_rs::rand::fill(&mut key.name).map_err(|_| NoKey)?;
        aws_lc_rs::rand::fill(key.secret.as_mut_slice()).map_err(|_| NoKey)?;
        Ready::new(key)
    }

    fn is_believed(&self, now: u64) -> bool {
        is_within(self.key.made, BELIEVED, now)
    }

    fn makes_tickets(&self, now: u64) -> bool {
        is_within(self.key.made, MAKES, now) && self.sealed.load(Ordering::Relaxed) < SEALED_MAX
    }

    fn aad(&self) -> Aad<[u8; NAME + 1]> {
        let mut aad = [FORMAT; NAME + 1];
        aad[..NAME].copy_from_slice(&self.key.name);
        Aad::from(aad)
    }

    fn seal(&self, session: &[u8], proven: u64) -> Option<Vec<u8>> {
        self.sealed.fetch_add(1, Ordering::Relaxed);
        let mut sealed = Vec::with_capacity(PROVEN + session.len() + TAG);
        sealed.extend_from_slice(&proven.to_be_bytes());
        sealed.extend_from_slice(session);
        let nonce = self.seal.seal_in_place_append_tag(self.aad(), &mut sealed);
        let nonce = nonce.ok()?;
        let mut ticket = Vec::with_capacity(NAME + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(&self.key.name);
        ticket.extend_from_slice(nonce.as_ref());
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn open(&self, nonce: &[u8], sealed: &[u8]) -> Option<Opened> {
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut message = sealed.to_vec();
        let opened = self.seal.open_in_place(nonce, self.aad(), &mut message);
        let (proven, session) = opened.ok()?.split_first_chunk::<PROVEN>()?;
        let opened = Opened {
            session: session.to_vec(),
            proven: u64::from_be_bytes(*proven),
        };
        message.zeroize();
        Some(opened)
    }
}

/// Whether what began at `from` and lasts for `seconds` holds now.
fn is_within(from: u64, seconds: u64, now: u64) -> bool {
    from <= now.saturating_add(AHEAD_MAX) && now.saturating_sub(from) < seconds
}

impl Tickets {
    /// With the keys of a process before this one, the newest first, and one of its own where none of them makes tickets
    /// any more. `ends` is when what is known of clients runs out, seconds since 1970.
    pub fn with(keys: Vec<TicketKey>, ends: Option<u64>) -> Result<Tickets, NoKey> {
        let keys = keys.into_iter().take(KEYS_MAX).map(Ready::new);
        let tickets = Tickets {
            keys: RwLock::new(keys.collect::<Result<_, _>>()?),
            ends,
        };
        tickets.turn(unix_now())?;
        Ok(tickets)
    }

    /// The keys that are believed, the newest first.
    pub fn keys(&self) -> Vec<TicketKey> {
        let now = unix_now();
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let believed = keys.iter().filter(|ready| ready.is_believed(now));
        believed.map(|ready| ready.key.clone()).collect()
    }

    /// When what is known of clients runs out.
    pub fn ends(&self) -> Option<u64> {
        self.ends
    }

    /// Gives up the keys that are not believed any more, also where nobody asks for tickets.
    pub fn tidy(&self) {
        self.tidy_at(unix_now());
    }

    fn tidy_at(&self, now: u64) {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let all_believed = keys.iter().all(|ready| ready.is_believed(now));
        drop(keys);
        if !all_believed {
            let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
            keys.retain(|ready| ready.is_believed(now));
        }
    }

    /// Makes a new key where the newest makes no tickets any more.
    fn turn(&self, now: u64) -> Result<(), NoKey> {
        let is_due = |keys: &[Ready]| {
            let newest = keys.first();
            newest.is_none_or(|newest| !newest.makes_tickets(now))
        };
        if !is_due(&self.keys.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let fresh = Ready::random(now)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been faster.
        if is_due(&keys) {
            keys.insert(0, fresh);
            keys.retain(|ready| ready.is_believed(now));
            keys.truncate(KEYS_MAX);
        }
        Ok(())
    }

    fn seal_at(&self, session: &[u8], proven: u64, now: u64) -> Option<Vec<u8>> {
        if NAME + NONCE_LEN + PROVEN + session.len() + TAG > TICKET_MAX {
            return None;
        }
        self.turn(now).ok()?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.first()?.seal(session, proven)
    }

    fn open_at(&self, ticket: &[u8], now: u64) -> Option<Opened> {
        if ticket.len() > TICKET_MAX || self.ends.is_some_and(|ends| now >= ends) {
            return None;
        }
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut believed = keys.iter().filter(|ready| ready.is_believed(now));
        let opened = believed
            .find(|ready| ready.key.name == name)?
            .open(nonce, sealed)?;
        is_within(opened.proven, BELIEVED, now).then_some(opened)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        BELIEVED as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let now = unix_now();
        self.seal_at(plain, now, now)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        Some(self.open_at(cipher, unix_now())?.session)
    }
}

/// The tickets of one connection whose client may have to prove who it is: those that it is given are as old as its proof,
/// not as the connection. Without this a session could be kept for ever by resuming it.
#[derive(Debug)]
pub struct OneClient {
    tickets: Arc<Tickets>,
    /// When the client has proven who it is; in the end of time where it does so on this connection.
    proven: AtomicU64,
}

impl OneClient {
    /// For a connection that begins.
    pub fn new(tickets: Arc<Tickets>) -> OneClient {
        OneClient {
            tickets,
            proven: AtomicU64::new(u64::MAX),
        }
    }

    fn seal_at(&self, session: &[u8], now: u64) -> Option<Vec<u8>> {
        let proven = self.proven.load(Ordering::Relaxed).min(now);
        self.tickets.seal_at(session, proven, now)
    }

    fn open_at(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let opened = self.tickets.open_at(ticket, now)?;
        // It may offer several, and which of them is taken is not told: the oldest counts.
        self.proven.fetch_min(opened.proven, Ordering::Relaxed);
        Some(opened.session)
    }
}

impl ProducesTickets for OneClient {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        BELIEVED as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal_at(plain, unix_now())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open_at(cipher, unix_now())
    }
}

fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
