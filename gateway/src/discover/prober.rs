//! Which ports shall be tried, and when?
//!
//! For hosts whose kernel cannot be asked, a TCP connection tells whether a port listens. Live
//! ports are tried every two seconds, empty ones more and more seldom, those that were live a
//! while ago and those beside a live one more often. The whole process makes at most
//! [`PROBES_PER_SECOND`] attempts, [`IN_FLIGHT_MAX`] at once, so that a range of thousands of
//! empty ports costs no more than a small one. What is urgent goes first, but never all of it.
//!
//! [`Schedule`] decides and knows neither sockets nor clock; [`probe`] is the one attempt.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::agenda::Agenda;

/// Attempts per second, all pools together.
pub(super) const PROBES_PER_SECOND: u32 = 200;
/// Attempts at once, all pools together.
pub(super) const IN_FLIGHT_MAX: usize = 64;
/// How long one attempt may take. A connection that takes longer is of no use to a request.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

const SPACING: Duration = Duration::from_millis(1000 / PROBES_PER_SECOND as u64);
/// Attempts that may be made in one go after a pause.
const BURST: u32 = 20;
const LIVE_EVERY: Duration = Duration::from_secs(2);
const EMPTY_FIRST: Duration = Duration::from_secs(1);
const EMPTY_LONGEST: Duration = Duration::from_secs(30);
/// A port this near to a live one is tried at least every [`NEAR_EVERY`].
const NEAR: usize = 2;
const NEAR_EVERY: Duration = Duration::from_secs(4);
/// A worker that went is likely to come back soon: it is tried every second for so long.
const MISSED_FOR: Duration = Duration::from_secs(60);
/// Attempts without an answer in a row that take a live port out. A lost packet takes no worker out.
const SILENCES_MAX: u8 = 2;
/// Of so many attempts, one goes to what is not urgent, if anything is due.
const CALM_EVERY: u8 = 4;

/// What an attempt found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It listens.
    Listens,
    /// The host says that nothing listens there.
    Refuses,
    /// No answer in time, or no way to the host.
    Silent,
}

/// Makes one attempt.
pub(super) async fn probe(addr: SocketAddr) -> Found {
    match tokio::time::timeout(PROBE_TIMEOUT, TcpStream::connect(addr)).await {
        Ok(Ok(stream)) if is_echo(&stream) => Found::Refuses,
        Ok(Ok(_)) => Found::Listens,
        Ok(Err(e))
            if matches!(
                e.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
            ) =>
        {
            Found::Refuses
        }
        _ => Found::Silent,
    }
}

/// A connection to an empty port of this machine can meet itself, when the kernel chooses that
/// very port to connect from (simultaneous open, RFC 9293 section 3.5).
fn is_echo(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
}

/// A port to be tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// Ports are neighbours within a group (a host of a pool).
    pub(super) group: u32,
    pub(super) port: u16,
    /// Whether it is known to listen.
    pub(super) open: bool,
}

#[derive(Debug)]
struct Port {
    group: u32,
    port: u16,
    open: bool,
    silences: u8,
    backoff: Duration,
    missed_until: Option<Instant>,
    in_flight: bool,
    /// Asked for again while an attempt was under way.
    again: bool,
}

/// When each port is due.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Ordered by group and port.
    ports: Vec<Port>,
    urgent: Agenda,
    calm: Agenda,
    in_flight: usize,
    /// The budget: the time at which it would be whole again.
    whole_at: Instant,
    urgent_in_a_row: u8,
}

impl Schedule {
    /// Everything is due at once, as fast as the budget allows, low ports first. `targets` must be
    /// ordered by group and port.
    pub(super) fn new(targets: &[Target], now: Instant) -> Schedule {
        let port = |target: &Target| Port {
            group: target.group,
            port: target.port,
            open: target.open,
            silences: 0,
            backoff: EMPTY_FIRST,
            missed_until: None,
            in_flight: false,
            again: false,
        };
        let mut schedule = Schedule {
            ports: targets.iter().map(port).collect(),
            urgent: Agenda::new(targets.len()),
            calm: Agenda::new(targets.len()),
            in_flight: 0,
            whole_at: now,
            urgent_in_a_row: 0,
        };
        let (mut group, mut first) = (0, 0);
        for (i, target) in targets.iter().enumerate() {
            if target.group != group {
                (group, first) = (target.group, i);
            }
            // The first ports of all groups before the last of any.
            schedule.set(i, now + Duration::from_micros((i - first) as u64));
        }
        schedule
    }

    /// When the next attempt may be made; `None` while too many are under way or nothing is left.
    pub(super) fn next_at(&mut self) -> Option<Instant> {
        if self.in_flight >= IN_FLIGHT_MAX {
            return None;
        }
        let due = [self.urgent.next_at(), self.calm.next_at()]
            .into_iter()
            .flatten()
            .min()?;
        Some(due.max(self.affordable_at()))
    }

    /// The port to be tried now. Every one must be answered by [`Schedule::found`].
    pub(super) fn take_due(&mut self, now: Instant) -> Option<usize> {
        if self.in_flight >= IN_FLIGHT_MAX || self.affordable_at() > now {
            return None;
        }
        let calm_first = self.urgent_in_a_row + 1 >= CALM_EVERY;
        let taken = if calm_first {
            self.calm.take_due(now).map(|i| (i, false))
        } else {
            None
        };
        let (i, urgent) = taken
            .or_else(|| self.urgent.take_due(now).map(|i| (i, true)))
            .or_else(|| self.calm.take_due(now).map(|i| (i, false)))?;
        self.urgent_in_a_row = if urgent {
            self.urgent_in_a_row.saturating_add(1)
        } else {
            0
        };
        self.in_flight += 1;
        self.ports[i].in_flight = true;
        self.whole_at = self.whole_at.max(now) + SPACING;
        Some(i)
    }

    /// What an attempt found; says whether the port counts as listening now. `random` spreads the
    /// next attempts.
    pub(super) fn found(&mut self, i: usize, found: Found, now: Instant, random: u64) -> bool {
        let Some(port) = self.ports.get_mut(i) else {
            return false;
        };
        if std::mem::take(&mut port.in_flight) {
            self.in_flight -= 1;
        }
        let was_open = port.open;
        match found {
            Found::Listens => (port.open, port.silences) = (true, 0),
            Found::Refuses => port.open = false,
            Found::Silent => {
                port.silences = port.silences.saturating_add(1);
                port.open &= port.silences < SILENCES_MAX;
            }
        }
        let open = port.open;
        if was_open && !open {
            port.backoff = EMPTY_FIRST;
            port.missed_until = Some(now + MISSED_FOR);
        }
        let again = std::mem::take(&mut port.again);
        let wait = self.wait(i, now);
        self.set(
            i,
            if again {
                now
            } else {
                now + jitter(wait, random)
            },
        );
        if open && !was_open {
            self.hurry_neighbours(i, now, random);
        }
        open
    }

    /// A port is to be tried at once, as far as the budget allows.
    pub(super) fn hurry(&mut self, i: usize, now: Instant) {
        match self.ports.get_mut(i) {
            Some(port) if port.in_flight => port.again = true,
            Some(_) => {
                self.calm.clear(i);
                self.urgent.set(i, now);
            }
            None => {}
        }
    }

    fn affordable_at(&self) -> Instant {
        self.whole_at
            .checked_sub(SPACING * (BURST - 1))
            .unwrap_or(self.whole_at)
    }

    /// How long to wait after an attempt.
    fn wait(&mut self, i: usize, now: Instant) -> Duration {
        let near = self.is_near(i);
        let port = &mut self.ports[i];
        if port.open {
            return LIVE_EVERY;
        }
        if port.missed_until.is_some_and(|until| now < until) {
            return EMPTY_FIRST;
        }
        let wait = port.backoff;
        port.backoff = (wait * 2).min(EMPTY_LONGEST);
        if near { wait.min(NEAR_EVERY) } else { wait }
    }

    fn set(&mut self, i: usize, at: Instant) {
        let port = &self.ports[i];
        let urgent = port.open || port.missed_until.is_some() || self.is_near(i);
        let (agenda, other) = if urgent {
            (&mut self.urgent, &mut self.calm)
        } else {
            (&mut self.calm, &mut self.urgent)
        };
        agenda.set(i, at);
        other.clear(i);
    }

    fn is_near(&self, i: usize) -> bool {
        self.neighbours(i).any(|n| self.ports[n].open)
    }

    fn neighbours(&self, i: usize) -> impl Iterator<Item = usize> + use<'_> {
        let here = &self.ports[i];
        let around = i.saturating_sub(NEAR)..(i + NEAR + 1).min(self.ports.len());
        around.filter(move |&n| {
            let there = &self.ports[n];
            n != i
                && there.group == here.group
                && usize::from(there.port.abs_diff(here.port)) <= NEAR
        })
    }

    /// Who came up rarely comes alone.
    fn hurry_neighbours(&mut self, i: usize, now: Instant, random: u64) {
        let neighbours: Vec<usize> = self.neighbours(i).collect();
        for n in neighbours {
            if !self.ports[n].open && !self.ports[n].in_flight {
                let soon = now + jitter(EMPTY_FIRST, random.rotate_left(n as u32));
                let planned = self.urgent.at(n).or(self.calm.at(n));
                self.set(n, planned.map_or(soon, |planned| planned.min(soon)));
            }
        }
    }
}

/// A duration between four and six fifths of this one.
pub(super) fn jitter(wait: Duration, random: u64) -> Duration {
    wait * (800 + (random >> 32) as u32 % 401) / 1000
}

#[cfg(test)]
#[path = "prober_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
