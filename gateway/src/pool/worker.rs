//! What is known about one worker?
//!
//! The leaf of this folder: ids, states, outcomes, and the counters that the data threads touch.
//! A [`Worker`] has no lock. Why a worker is in a state is kept by `state.rs`.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

/// Position of a worker in its pool's [`workers`](super::Pool::workers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u32);

impl WorkerId {
    /// The position as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a lease stands for. The two are counted apart: a long stream is idle most of its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A request and its response; counts against the worker's cap.
    #[default]
    Request,
    /// A tunnel or a gRPC stream that may stay for days; does not count against the cap.
    Stream,
}

/// What became of an attempt at a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A response head came, with this status.
    Answered(u16),
    /// The connection was refused: nothing listens there.
    ConnectRefused,
    /// No connection within the pool's `connect_timeout`, or no way to the host.
    ConnectTimeout,
    /// The connection ended before the response did. Not for a kept connection that was closed
    /// while idle; that says nothing about the worker.
    ConnectionLost,
    /// No response head within the `response_timeout`.
    ResponseTimeout,
    /// What came was not HTTP, or broke its rules.
    BadAnswer,
}

impl Outcome {
    /// Whether it counts towards an ejection: everything but an answer, and 502, 503 and 504, by
    /// which a worker says that it cannot work. A 500 may be the fault of the one request.
    pub fn is_failure(self) -> bool {
        match self {
            Outcome::Answered(status) => matches!(status, 502..=504),
            _ => true,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Answered(status) => write!(f, "answered {status}"),
            Outcome::ConnectRefused => f.write_str("connection refused"),
            Outcome::ConnectTimeout => f.write_str("no connection in time"),
            Outcome::ConnectionLost => f.write_str("connection lost"),
            Outcome::ResponseTimeout => f.write_str("no response in time"),
            Outcome::BadAnswer => f.write_str("bad answer"),
        }
    }
}

/// Whether a worker gets traffic, and if not, why. Where several reasons hold, the first of this
/// list is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing listens on its port.
    Absent,
    /// An operator took it out.
    Draining,
    /// It listens, but has not passed its first checks yet.
    Unchecked,
    /// Its checks fail.
    Unhealthy,
    /// It failed too often in a row and rests.
    Ejected,
    /// It gets traffic.
    Up,
}

impl State {
    /// A word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Absent => "absent",
            State::Draining => "draining",
            State::Unchecked => "unchecked",
            State::Unhealthy => "unhealthy",
            State::Ejected => "ejected",
            State::Up => "up",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A change of a worker's state. Returned to whoever caused it; the caller logs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Name of the pool.
    pub pool: Arc<str>,
    /// The worker.
    pub worker: SocketAddr,
    /// Before.
    pub from: State,
    /// After; never the same as `from`.
    pub to: State,
    /// Why, for logs; no client may see it.
    pub reason: Cow<'static, str>,
}

/// A worker as the status page shows it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Position in the pool.
    pub id: WorkerId,
    /// Its address.
    pub addr: SocketAddr,
    /// Its state.
    pub state: State,
    /// Why it is in this state.
    pub reason: Cow<'static, str>,
    /// Since when.
    pub since: Instant,
    /// Requests in flight.
    pub requests: u32,
    /// Long streams open.
    pub streams: u32,
    /// Failures in a row.
    pub failures: u32,
    /// When its rest ends, if it is ejected.
    pub rest_ends: Option<Instant>,
    /// Since when an operator has had it out, also while nobody listens there.
    pub drained: Option<Instant>,
    /// Its share: an operator's word, else as configured.
    pub weight: u16,
    /// Its share as configured.
    pub weight_configured: u16,
}

/// One host and port of a pool. On a cache line of its own: data threads count here.
#[derive(Debug)]
#[repr(align(64))]
pub struct Worker {
    addr: SocketAddr,
    /// As configured.
    weight_configured: u16,
    /// What holds; read when the list of live workers is made.
    weight: AtomicU16,
    /// Requests in the low half, long streams in the high half: one atomic step moves between.
    load: AtomicU64,
    failures: AtomicU32,
    listening: AtomicBool,
    local: AtomicBool,
    suspect: AtomicBool,
}

const STREAM: u64 = 1 << 32;
const REQUESTS: u64 = STREAM - 1;

impl Worker {
    pub(super) fn new(addr: SocketAddr, weight: u16) -> Self {
        Worker {
            addr,
            weight_configured: weight.max(1),
            weight: AtomicU16::new(weight.max(1)),
            load: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            listening: AtomicBool::new(false),
            local: AtomicBool::new(false),
            suspect: AtomicBool::new(false),
        }
    }

    /// Where it is.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its share, 1 to 1000.
    pub fn weight(&self) -> u16 {
        self.weight.load(Ordering::Relaxed)
    }

    /// The same as configured.
    pub fn weight_configured(&self) -> u16 {
        self.weight_configured
    }

    pub(super) fn set_weight(&self, weight: u16) {
        self.weight.store(weight.max(1), Ordering::Relaxed);
    }

    /// Requests in flight.
    pub fn requests(&self) -> u32 {
        (self.load.load(Ordering::Relaxed) & REQUESTS) as u32
    }

    /// Long streams open.
    pub fn streams(&self) -> u32 {
        (self.load.load(Ordering::Relaxed) / STREAM) as u32
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Whether something listens there, as far as is known.
    pub fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Relaxed)
    }

    /// Says that the kernel's listen table tells about this worker, so that a refused connection
    /// is proof that it is gone.
    pub fn set_local(&self, local: bool) {
        self.local.store(local, Ordering::Relaxed);
    }

    /// See [`Worker::set_local`].
    pub fn is_local(&self) -> bool {
        self.local.load(Ordering::Relaxed)
    }

    /// Takes the mark that a connection was refused since the last look.
    pub fn take_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed) && self.suspect.swap(false, Ordering::Relaxed)
    }

    pub(super) fn mark_suspect(&self) {
        self.suspect.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_listening(&self, listening: bool) {
        self.listening.store(listening, Ordering::Relaxed);
    }

    pub(super) fn add_failure(&self) -> u32 {
        self.failures
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1)
    }

    pub(super) fn clear_failures(&self) {
        // Loaded first: a healthy worker's line stays shared between the data threads.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Requests and streams in one look.
    pub(super) fn load(&self) -> (u32, u32) {
        let load = self.load.load(Ordering::Relaxed);
        ((load & REQUESTS) as u32, (load / STREAM) as u32)
    }

    /// Reserves a place, unless that would be a request above the cap.
    pub(super) fn take(&self, kind: Kind, cap: Option<u32>) -> bool {
        match (kind, cap) {
            (Kind::Stream, _) => {
                self.load.fetch_add(STREAM, Ordering::SeqCst);
                true
            }
            (Kind::Request, None) => {
                self.load.fetch_add(1, Ordering::SeqCst);
                true
            }
            (Kind::Request, Some(cap)) => self
                .load
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |load| {
                    (load & REQUESTS < u64::from(cap)).then_some(load + 1)
                })
                .is_ok(),
        }
    }

    /// Gives a place back.
    pub(super) fn release(&self, kind: Kind) {
        let one = match kind {
            Kind::Request => 1,
            Kind::Stream => STREAM,
        };
        // SeqCst pairs with the waiting room: whoever waits sees the free place, or is seen.
        let before = self.load.fetch_sub(one, Ordering::SeqCst);
        debug_assert!(
            match kind {
                Kind::Request => before & REQUESTS > 0,
                Kind::Stream => before / STREAM > 0,
            },
            "released what was not taken"
        );
    }

    /// Recounts a request as a long stream.
    pub(super) fn request_to_stream(&self) {
        let before = self.load.fetch_add(STREAM - 1, Ordering::SeqCst);
        debug_assert!(before & REQUESTS > 0, "no request to recount");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn worker() -> Worker {
        Worker::new("127.0.0.1:8080".parse().unwrap(), 100)
    }

    #[test]
    fn the_cap_holds_and_a_release_makes_room() {
        let worker = worker();
        assert!(worker.take(Kind::Request, Some(2)));
        assert!(worker.take(Kind::Request, Some(2)));
        assert!(!worker.take(Kind::Request, Some(2)));
        worker.release(Kind::Request);
        assert!(worker.take(Kind::Request, Some(2)));
        assert_eq!(worker.requests(), 2);
    }

    #[test]
    fn a_stream_does_not_count_against_the_cap() {
        let worker = worker();
        assert!(worker.take(Kind::Request, Some(1)));
        worker.request_to_stream();
        assert_eq!(worker.load(), (0, 1));
        assert!(worker.take(Kind::Request, Some(1)));
        assert!(worker.take(Kind::Stream, Some(1)));
        assert_eq!(worker.load(), (1, 2));
        worker.release(Kind::Stream);
        worker.release(Kind::Stream);
        worker.release(Kind::Request);
        assert_eq!(worker.load(), (0, 0));
    }

    #[test]
    fn the_cap_holds_between_threads() {
        let worker = worker();
        let most = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        if worker.take(Kind::Request, Some(3)) {
                            most.fetch_max(worker.requests(), Ordering::Relaxed);
                            worker.release(Kind::Request);
                        }
                    }
                });
            }
        });
        assert!(most.load(Ordering::Relaxed) <= 3);
        assert_eq!(worker.load(), (0, 0));
    }

    #[test]
    fn only_answers_that_say_unable_count_as_failures() {
        for (outcome, failure) in [
            (Outcome::Answered(200), false),
            (Outcome::Answered(404), false),
            (Outcome::Answered(500), false),
            (Outcome::Answered(501), false),
            (Outcome::Answered(502), true),
            (Outcome::Answered(504), true),
            (Outcome::Answered(505), false),
            (Outcome::ConnectRefused, true),
            (Outcome::ConnectTimeout, true),
            (Outcome::ConnectionLost, true),
            (Outcome::ResponseTimeout, true),
            (Outcome::BadAnswer, true),
        ] {
            assert_eq!(outcome.is_failure(), failure, "{outcome}");
        }
    }
}
