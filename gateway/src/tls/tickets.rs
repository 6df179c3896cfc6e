//! With which keys are sessions kept in tickets? Ours, so that the process that replaces this one can be given them.
//!
//! Promises: a key makes tickets for 6 hours and is believed for 12; tickets are sealed with AES-256-GCM under a random
//! nonce, their key's name included; what does not open is no ticket. Keys are never printed. Does not: decide whether two
//! listeners may share them.

use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use rustls::server::ProducesTickets;
use serde::{Deserialize, Serialize};

/// Seconds for which a key makes tickets.
const MAKES: u64 = 6 * 3600;
/// Seconds for which its tickets are believed, from its making.
const BELIEVED: u64 = 12 * 3600;
const NAME: usize = 16;
/// Longer ones are none of ours: a session is some certificates of a client at most.
const TICKET_MAX: usize = 16 * 1024;

/// A key as it is handed to another process.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKey {
    name: [u8; NAME],
    secret: [u8; 32],
    /// Seconds since 1970.
    made: u64,
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey")
    }
}

/// The keys of a listener.
pub struct Tickets {
    keys: RwLock<Vec<Ready>>,
}

/// A key, ready for use.
struct Ready {
    key: TicketKey,
    seal: RandomizedNonceKey,
}

/// The cryptography has failed.
#[derive(Debug, thiserror::Error)]
#[error("no key for session tickets can be made")]
pub struct NoKey;

impl Ready {
    fn new(key: TicketKey) -> Result<Ready, NoKey> {
        let seal = RandomizedNonceKey::new(&AES_256_GCM, &key.secret).map_err(|_| NoKey)?;
        Ok(Ready { key, seal })
    }

    fn random(now: u64) -> Result<Ready, NoKey> {
        let mut key = TicketKey {
            name: [0; NAME],
            secret: [0; 32],
            made: now,
        };
        aws_lc_rs::rand::fill(&mut key.name).map_err(|_| NoKey)?;
        aws_lc_rs::rand::fill(&mut key.secret).map_err(|_| NoKey)?;
        Ready::new(key)
    }

    fn is_believed(&self, now: u64) -> bool {
        now.saturating_sub(self.key.made) < BELIEVED
    }

    fn seal(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = message.to_vec();
        let name = Aad::from(&self.key.name);
        let nonce = self.seal.seal_in_place_append_tag(name, &mut sealed).ok()?;
        let mut ticket = Vec::with_capacity(NAME + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(&self.key.name);
        ticket.extend_from_slice(nonce.as_ref());
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn open(&self, nonce: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut message = sealed.to_vec();
        let name = Aad::from(&self.key.name);
        let length = self
            .seal
            .open_in_place(nonce, name, &mut message)
            .ok()?
            .len();
        message.truncate(length);
        Some(message)
    }
}

impl Tickets {
    /// With a key of its own.
    pub fn new() -> Result<Tickets, NoKey> {
        Tickets::with(Vec::new())
    }

    /// With the keys of a process before this one, the newest first.
    pub fn with(keys: Vec<TicketKey>) -> Result<Tickets, NoKey> {
        let tickets = Tickets {
            keys: RwLock::new(keys.into_iter().map(Ready::new).collect::<Result<_, _>>()?),
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

    /// Makes a new key where the newest is too old.
    fn turn(&self, now: u64) -> Result<(), NoKey> {
        let is_due = |keys: &[Ready]| {
            keys.first()
                .is_none_or(|newest| now.saturating_sub(newest.key.made) >= MAKES)
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
        }
        Ok(())
    }

    fn seal_at(&self, message: &[u8], now: u64) -> Option<Vec<u8>> {
        self.turn(now).ok()?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.first()?.seal(message)
    }

    fn open_at(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_MAX {
            return None;
        }
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut believed = keys.iter().filter(|ready| ready.is_believed(now));
        believed
            .find(|ready| ready.key.name == name)?
            .open(nonce, sealed)
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
mod tests {
    use super::*;

    const SESSION: &[u8] = b"what a session is";

    #[test]
    fn a_ticket_opens_where_its_key_is_and_nowhere_else() {
        let (ours, others) = (Tickets::new().unwrap(), Tickets::new().unwrap());
        let ticket = ours.encrypt(SESSION).unwrap();
        assert_eq!(ours.decrypt(&ticket).unwrap(), SESSION);
        assert_eq!(others.decrypt(&ticket), None);
        let heir = Tickets::with(ours.keys()).unwrap();
        assert_eq!(heir.decrypt(&ticket).unwrap(), SESSION);
        assert_eq!(ours.decrypt(&heir.encrypt(b"x").unwrap()).unwrap(), b"x");
        assert_ne!(ours.encrypt(SESSION), ours.encrypt(SESSION));
    }

    #[test]
    fn a_ticket_with_another_byte_is_none() {
        let tickets = Tickets::new().unwrap();
        let ticket = tickets.encrypt(SESSION).unwrap();
        for at in 0..ticket.len() {
            let mut bad = ticket.clone();
            bad[at] ^= 1;
            assert_eq!(tickets.decrypt(&bad), None, "{at}");
            assert_eq!(tickets.decrypt(&ticket[..at]), None, "{at}");
        }
        assert_eq!(tickets.decrypt(&vec![0; TICKET_MAX + 1]), None);
    }

    #[test]
    fn keys_make_tickets_for_six_hours_and_are_believed_for_twelve() {
        let tickets = Tickets::new().unwrap();
        let now = unix_now();
        let old = tickets.seal_at(SESSION, now).unwrap();
        let new = tickets.seal_at(SESSION, now + MAKES).unwrap();
        assert_ne!(old[..NAME], new[..NAME]);
        assert!(tickets.open_at(&old, now + BELIEVED - 1).is_some());
        assert!(tickets.open_at(&old, now + BELIEVED).is_none());
        tickets.seal_at(SESSION, now + 2 * MAKES).unwrap();
        assert_eq!(tickets.keys.read().unwrap().len(), 2);
        assert!(!format!("{tickets:?} {:?}", tickets.keys()).contains('1'));
    }
}
