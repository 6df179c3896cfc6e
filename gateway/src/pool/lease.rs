//! What does an exchange hold of a pool?
//!
//! A [`Lease`] is a place at a worker, a [`Waiting`] a place in the waiting room. Both give back
//! what they hold when dropped.
//!
//! How a request gets a worker:
//! ```text
//! pick -> Worker: go on
//!      -> Empty:  hold()    then  loop { waiting.pick(..) or, in bounded time, waiting.woken().await }
//!      -> Full:   queue()   the same
//! ```
//! While requests wait for a place, new ones do not overtake them: `pick` says `Full`.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::futures::OwnedNotified;

use super::admission::{Reason, Refused};
use super::balance::{Ask, Live, choose};
use super::state::Pool;
use super::worker::{Kind, WorkerId};

/// What is wanted of a pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct Want<'a> {
    /// Hash of the key, for pools that balance by one. Equal keys must give equal numbers in
    /// every process.
    pub key: Option<u64>,
    /// The worker that the client's cookie names; it goes before the balance while it is live and has room.
    pub home: Option<WorkerId>,
    /// Workers already tried in this exchange; avoided if any other has room.
    pub avoid: &'a [WorkerId],
    /// A random number; all its bits are used.
    pub random: u64,
    /// What it is for.
    pub kind: Kind,
}

/// What a pool has to offer.
#[derive(Debug)]
pub enum Pick {
    /// A worker, with a place reserved.
    Worker(Lease),
    /// Every live worker is at its cap.
    Full,
    /// No worker is live.
    Empty,
}

/// A place at a worker. Dropping it gives the place back and wakes who waits for one.
#[derive(Debug)]
pub struct Lease {
    pool: Arc<Pool>,
    worker: WorkerId,
    kind: Kind,
}

impl Lease {
    /// Where to connect.
    pub fn addr(&self) -> SocketAddr {
        self.pool.workers[self.worker.index()].addr()
    }

    /// Which worker, for reports and to avoid it next time.
    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// The pool it belongs to.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// What it is counted as.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Recounts it as a long stream, which makes room for a request. Nothing for a stream.
    pub fn into_stream(mut self) -> Lease {
        self.make_stream();
        self
    }

    /// The same in place.
    pub fn make_stream(&mut self) {
        if self.kind == Kind::Request {
            self.kind = Kind::Stream;
            self.pool.workers[self.worker.index()].request_to_stream();
            self.pool.place_free(self.worker);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.workers[self.worker.index()].release(self.kind);
        if self.kind == Kind::Request {
            self.pool.place_free(self.worker);
        }
    }
}

impl Pool {
    /// Picks a worker and reserves a place there, in one step.
    pub fn pick(self: &Arc<Self>, want: &Want<'_>, now: Instant) -> Pick {
        // Whoever waits has the older right. Streams need no place, so they wait for none.
        if self.rules.cap.is_some()
            && want.kind == Kind::Request
            && !self.room.is_empty()
            && self.live() > 0
        {
            return Pick::Full;
        }
        self.pick_now(want, now)
    }

    /// Lets a request wait until a worker comes up.
    pub fn hold(self: &Arc<Self>) -> Result<Waiting, Refused> {
        let hold = &self.model().hold;
        let requests_max = if hold.time.is_zero() {
            0
        } else {
            hold.requests_max
        };
        let waiting = Waiting::enter(self, Reason::Hold, requests_max);
        let stats = self.stats();
        let counter = if waiting.is_ok() {
            &stats.held
        } else {
            &stats.hold_refused
        };
        counter.fetch_add(1, Ordering::Relaxed);
        waiting
    }

    /// Lets a request wait until a worker has room.
    pub fn queue(self: &Arc<Self>) -> Result<Waiting, Refused> {
        let queue = &self.model().queue;
        let requests_max = if queue.time.is_zero() {
            0
        } else {
            queue.requests_max
        };
        let waiting = Waiting::enter(self, Reason::Queue, requests_max);
        let stats = self.stats();
        let counter = if waiting.is_ok() {
            &stats.queued
        } else {
            &stats.queue_refused
        };
        counter.fetch_add(1, Ordering::Relaxed);
        waiting
    }

    /// Requests that wait now: held, queued. One that was held and now waits for a place is queued.
    pub fn waiting(&self) -> (u32, u32) {
        (
            self.room.count(Reason::Hold),
            self.room.count(Reason::Queue),
        )
    }

    fn pick_now(self: &Arc<Self>, want: &Want<'_>, now: Instant) -> Pick {
        let live = self.live.load();
        if live.is_empty() {
            return Pick::Empty;
        }
        if let Some(home) = want.home
            && let Some(lease) = self.at_home(&live, home, want)
        {
            self.stats().sticky_kept.fetch_add(1, Ordering::Relaxed);
            return Pick::Worker(lease);
        }
        let ask = Ask {
            key: want.key,
            avoid: want.avoid,
            random: want.random,
            kind: want.kind,
            // Only a slow start asks for the time.
            now: if self.rules.slow_start == 0 {
                0
            } else {
                self.time(now)
            },
            freed: self.freed.load(Ordering::Relaxed),
        };
        match choose(&live, &self.workers, &self.rules, &self.turn, &ask) {
            Some(worker) => {
                if want.home.is_some() {
                    self.stats().sticky_moved.fetch_add(1, Ordering::Relaxed);
                }
                self.stats().picks.fetch_add(1, Ordering::Relaxed);
                Pick::Worker(Lease {
                    pool: Arc::clone(self),
                    worker,
                    kind: want.kind,
                })
            }
            None => Pick::Full,
        }
    }

    /// A place at the worker that the client was at before.
    fn at_home(self: &Arc<Self>, live: &Live, home: WorkerId, want: &Want<'_>) -> Option<Lease> {
        let free = !want.avoid.contains(&home) && live.contains(home.0);
        let taken = free && self.worker(home)?.take(want.kind, self.rules.cap);
        taken.then(|| {
            self.stats().picks.fetch_add(1, Ordering::Relaxed);
            Lease {
                pool: Arc::clone(self),
                worker: home,
                kind: want.kind,
            }
        })
    }

    /// Whose name a cookie of a sticky pool has.
    pub fn named(&self, cookie: &[u8]) -> Option<WorkerId> {
        self.names.as_ref()?.worker(cookie)
    }

    /// The value of `Set-Cookie` that brings a client back to a worker, where the pool is sticky.
    pub fn set_cookie(&self, worker: WorkerId, tls: bool) -> Option<String> {
        self.names.as_ref()?.set_cookie(worker, tls)
    }

    fn place_free(&self, worker: WorkerId) {
        if self.rules.cap.is_some() {
            self.freed.store(worker.0, Ordering::Relaxed);
            self.room.wake_one();
        }
    }
}

/// A request in the waiting room. Dropping it leaves the room.
#[derive(Debug)]
pub struct Waiting {
    pool: Arc<Pool>,
    reason: Reason,
    /// Why it waits now.
    now: Reason,
    ahead: u32,
    woken: Pin<Box<OwnedNotified>>,
    /// Whether it is this one's turn to try.
    my_turn: bool,
}

impl Waiting {
    fn enter(pool: &Arc<Pool>, reason: Reason, requests_max: u32) -> Result<Waiting, Refused> {
        // Registered before counted, counted before the first try: a place that becomes free at
        // any moment is either seen by that try or rings the bell.
        let woken = register(pool);
        let ahead = pool.room.enter(reason, requests_max)?;
        // With somebody ahead, any free place has rung the bell for them, and they pass it on.
        let my_turn = ahead == 0;
        Ok(Waiting {
            pool: Arc::clone(pool),
            reason,
            now: reason,
            ahead,
            woken,
            my_turn,
        })
    }

    /// How many waited already when it came.
    pub fn ahead(&self) -> u32 {
        self.ahead
    }

    /// Why it began to wait.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Tries to get a worker, if it is this one's turn; to be called at once after entering and
    /// after every [`Waiting::woken`]. With a worker in hand, drop the `Waiting`.
    pub fn pick(&mut self, want: &Want<'_>, now: Instant) -> Pick {
        // Without a cap there are no places to be shared out.
        let my_turn = std::mem::take(&mut self.my_turn) || self.pool.rules.cap.is_none();
        let pick = if my_turn {
            self.pool.pick_now(want, now)
        } else if self.pool.live() == 0 {
            Pick::Empty
        } else {
            Pick::Full
        };
        match pick {
            Pick::Worker(_) => {}
            Pick::Empty => self.waits_for(Reason::Hold),
            Pick::Full => self.waits_for(Reason::Queue),
        }
        pick
    }

    fn waits_for(&mut self, reason: Reason) {
        if self.now != reason {
            self.pool.room.turn(self.now, reason);
            self.now = reason;
        }
    }

    /// Waits until there is reason to try again. No time limit of its own. Cancel-safe: a wake-up
    /// that is not waited for is kept, and passed on when this is dropped.
    pub async fn woken(&mut self) {
        self.woken.as_mut().await;
        // Registered again before the try that follows.
        self.woken = register(&self.pool);
        self.my_turn = true;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let pool = &self.pool;
        pool.room.leave(self.reason, self.now);
        // If there is room for more, the next one shall know: this wake-up may have been for more
        // than one place, or was not used.
        if !pool.room.is_empty() && pool.live.load().has_room(&pool.workers, pool.rules.cap) {
            pool.room.wake_one();
        }
    }
}

fn register(pool: &Pool) -> Pin<Box<OwnedNotified>> {
    let mut woken = Box::pin(pool.room.bell().notified_owned());
    woken.as_mut().enable();
    woken
}

#[cfg(test)]
#[path = "lease_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
