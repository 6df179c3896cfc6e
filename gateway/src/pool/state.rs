//! Who gets traffic now, and why not?
//!
//! Discovery, checks, outcomes and operators each say one thing about a worker; here it becomes
//! one [`State`]. A worker is up when it listens, its checks are good, it does not rest and is not
//! drained. Every change goes through one lock and publishes a new list of live workers; data
//! threads only read that list. Changes are returned as [`Transition`]s, never pushed.
//!
//! Rules worth knowing:
//! * Where the pool has checks, a worker that begins to listen gets no traffic before it passed
//!   `rise` of them, also when nobody else is up: requests are held rather than sent to a worker
//!   that is still starting. Finding a listener is as good as a TCP check and counts as the first.
//! * A worker that ceases to listen and comes back is a new process and starts with a clean sheet.
//! * A refused connection takes a local worker out at once. Discovery looks again and brings it
//!   back if it does listen; its failures stay counted then.
//! * The share of workers that rest is kept also when others go: whoever would be back first is
//!   let back early.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::Notify;

use super::admission::WaitingRoom;
use super::balance::{Live, Member, Rules};
use super::health::{Checked, Verdict};
use super::outlier::{Rests, resting_max};
use super::retry_budget::RetryBudget;
use super::stats::Stats;
use super::worker::{Outcome, Snapshot, State, Transition, Worker, WorkerId};
use crate::config::model::{self, Check, Discovery};

/// Workers, and all that is known about them at the moment. Shared by all data threads.
#[derive(Debug)]
pub struct Pool {
    model: model::Pool,
    name: Arc<str>,
    epoch: Instant,
    pub(super) rules: Rules,
    pub(super) workers: Box<[Worker]>,
    pub(super) live: ArcSwap<Live>,
    /// The round robin counter.
    pub(super) turn: AtomicU64,
    /// Where a place was given back last.
    pub(super) freed: AtomicU32,
    pub(super) room: WaitingRoom,
    control: Mutex<Control>,
    /// When [`Pool::tick`] has something to do, milliseconds of the pool's time.
    tick_at: AtomicU64,
    rescan: ArcSwapOption<Notify>,
    stats: Stats,
    retry_budget: RetryBudget,
}

/// What is behind the lock.
#[derive(Debug)]
struct Control {
    slots: Box<[Slot]>,
    up: usize,
    resting: usize,
    /// Transitions of workers other than the one a call was about, for the next tick.
    pending: Vec<Transition>,
    stale: bool,
}

/// What is known about one worker.
#[derive(Debug)]
struct Slot {
    listening: bool,
    refused: bool,
    checked: Checked,
    rests: Rests,
    draining: bool,
    state: State,
    reason: Cow<'static, str>,
    since: Instant,
}

/// Pending transitions kept between two ticks; more are only counted.
const PENDING_MAX: usize = 4096;

const NEVER: u64 = u64::MAX;

impl Pool {
    /// A pool of which nothing is known yet; with [`Discovery::Static`] every worker listens.
    pub fn new(model: model::Pool, now: Instant) -> Arc<Pool> {
        let pool = Pool::empty(model, now);
        if pool.model.discovery == Discovery::Static {
            let all: Vec<_> = (0..pool.workers.len() as u32)
                .map(|i| (WorkerId(i), true))
                .collect();
            pool.set_listening_all(&all, now);
        }
        Arc::new(pool)
    }

    /// A pool that takes the place of `before` and begins with what was known about the workers
    /// that both have. Leases, waiting requests and counters stay with the old one.
    pub fn succeed(model: model::Pool, before: &Pool, now: Instant) -> Arc<Pool> {
        let pool = Pool::new(model, now);
        let old = before.lock();
        let known: std::collections::HashMap<SocketAddr, &Slot> = before
            .workers
            .iter()
            .map(Worker::addr)
            .zip(old.slots.iter())
            .collect();
        let same_checks = before.model.health == pool.model.health;
        let mut control = pool.lock();
        for (i, worker) in pool.workers.iter().enumerate() {
            let Some(slot) = known.get(&worker.addr()) else {
                continue;
            };
            let new = &mut control.slots[i];
            new.draining = slot.draining;
            new.rests = slot.rests;
            if pool.model.discovery != Discovery::Static {
                new.listening = slot.listening;
                worker.set_listening(slot.listening);
            }
            if same_checks {
                new.checked = slot.checked;
            }
            pool.settle(&mut control, i, slot.reason.clone(), now);
            control.slots[i].since = slot.since;
        }
        drop(old);
        pool.finish(&mut control, now);
        control.pending.clear();
        drop(control);
        pool
    }

    /// What was configured.
    pub fn model(&self) -> &model::Pool {
        &self.model
    }

    /// The unique name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every slot of the range, hosts first, also those where nothing listens.
    pub fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// The worker with this id; `None` for an id of another pool.
    pub fn worker(&self, worker: WorkerId) -> Option<&Worker> {
        self.workers.get(worker.index())
    }

    /// How many workers get traffic.
    pub fn live(&self) -> usize {
        self.live.load().len()
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The retries that may still be made. The caller pays in and takes out.
    pub fn retry_budget(&self) -> &RetryBudget {
        &self.retry_budget
    }

    /// Every slot as it is now, for the status page. Takes the lock for a moment.
    pub fn snapshot(&self) -> Vec<Snapshot> {
        let control = self.lock();
        let both = self.workers.iter().zip(control.slots.iter());
        both.enumerate()
            .map(|(i, (worker, slot))| Snapshot {
                id: WorkerId(i as u32),
                addr: worker.addr(),
                state: slot.state,
                reason: slot.reason.clone(),
                since: slot.since,
                requests: worker.requests(),
                streams: worker.streams(),
                failures: worker.failures(),
                rest_ends: slot.rests.ends(),
            })
            .collect()
    }

    /// What became of an attempt. Cheap when it went well.
    pub fn report(&self, worker: WorkerId, outcome: Outcome, now: Instant) -> Option<Transition> {
        let known = self.worker(worker)?;
        if !outcome.is_failure() {
            known.clear_failures();
            return None;
        }
        let failures = known.add_failure();
        let threshold = self.model.outlier.consecutive_failures;
        let due = threshold != 0 && failures.is_multiple_of(threshold);
        if outcome == Outcome::ConnectRefused {
            known.mark_suspect();
            let change = known
                .is_local()
                .then(|| self.refused(worker, due, now))
                .flatten();
            if let Some(rescan) = &*self.rescan.load() {
                rescan.notify_one();
            }
            if change.is_some() {
                return change;
            }
        }
        if due {
            self.eject(worker, failures, outcome, now)
        } else {
            None
        }
    }

    /// Discovery says whether something listens there.
    pub fn set_listening(
        &self,
        worker: WorkerId,
        listening: bool,
        now: Instant,
    ) -> Option<Transition> {
        self.change(worker, now, |slot| self.listen(slot, worker, listening))
    }

    /// The same for many at once, with one publication.
    pub fn set_listening_all(&self, changes: &[(WorkerId, bool)], now: Instant) -> Vec<Transition> {
        let mut control = self.lock();
        let mut transitions = Vec::new();
        for &(worker, listening) in changes {
            if let Some(slot) = control.slots.get_mut(worker.index())
                && let Some(reason) = self.listen(slot, worker, listening)
            {
                transitions.extend(self.settle(&mut control, worker.index(), reason, now));
            }
        }
        self.finish(&mut control, now);
        transitions
    }

    /// An active check passed or failed (`reason` says why). Nothing for a worker that does not
    /// listen, or a pool without checks.
    pub fn check_result(
        &self,
        worker: WorkerId,
        good: bool,
        reason: &str,
        now: Instant,
    ) -> Option<Transition> {
        let health = self.model.health.as_ref()?;
        self.change(worker, now, |slot| {
            if !slot.listening {
                return None;
            }
            if good {
                slot.checked.pass(health)
            } else {
                slot.checked.fail(health)
            }
            let reason = if good {
                Cow::Borrowed("check passed")
            } else {
                Cow::Owned(format!("check failed: {reason}"))
            };
            Some(reason)
        })
    }

    /// An operator takes a worker out or lets it back.
    pub fn set_drain(&self, worker: WorkerId, drain: bool, now: Instant) -> Option<Transition> {
        self.change(worker, now, |slot| {
            slot.draining = drain;
            Some(Cow::Borrowed(if drain {
                "drained by an operator"
            } else {
                "drain ended by an operator"
            }))
        })
    }

    /// Ends rests that are over. Cheap when there is nothing to do; to be called a few times a
    /// second. Also returns what earlier calls did to workers they were not about.
    pub fn tick(&self, now: Instant) -> Vec<Transition> {
        if self.time(now) < self.tick_at.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut control = self.lock();
        let mut transitions = std::mem::take(&mut control.pending);
        for i in 0..control.slots.len() {
            let slot = &mut control.slots[i];
            if slot.rests.ends().is_some_and(|end| end <= now) {
                slot.rests.stop(now);
                self.workers[i].clear_failures();
                transitions.extend(self.settle(&mut control, i, Cow::Borrowed("rest ended"), now));
            }
        }
        self.finish(&mut control, now);
        transitions
    }

    /// Whom to wake when a connection was refused and discovery should look at once.
    pub fn on_rescan_wanted(&self, rescan: Arc<Notify>) {
        self.rescan.store(Some(rescan));
    }

    /// Milliseconds since the pool was made.
    pub(super) fn time(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(NEVER)
    }

    fn empty(model: model::Pool, now: Instant) -> Pool {
        let ports = || {
            model
                .ports
                .iter()
                .flat_map(|range| range.first..=range.last)
        };
        let workers: Box<[Worker]> = model
            .hosts
            .iter()
            .flat_map(|host| {
                ports().map(|port| Worker::new(SocketAddr::new(host.address, port), host.weight))
            })
            .collect();
        let slot = || Slot {
            listening: false,
            refused: false,
            checked: Checked::new(),
            rests: Rests::default(),
            draining: false,
            state: State::Absent,
            reason: Cow::Borrowed("not found yet"),
            since: now,
        };
        let slots = workers.iter().map(|_| slot()).collect();
        Pool {
            name: model.name.as_str().into(),
            epoch: now,
            rules: Rules {
                balance: model.balance.clone(),
                cap: model.worker_in_flight_max,
                slow_start: u64::try_from(model.slow_start.as_millis()).unwrap_or(NEVER),
            },
            workers,
            live: ArcSwap::default(),
            turn: AtomicU64::new(0),
            freed: AtomicU32::new(0),
            room: WaitingRoom::default(),
            control: Mutex::new(Control {
                slots,
                up: 0,
                resting: 0,
                pending: Vec::new(),
                stale: false,
            }),
            tick_at: AtomicU64::new(NEVER),
            rescan: ArcSwapOption::empty(),
            stats: Stats::default(),
            retry_budget: RetryBudget::new(&model.retry, now),
            model,
        }
    }

    /// Writes down whether something listens; `None` when that was known.
    fn listen(
        &self,
        slot: &mut Slot,
        worker: WorkerId,
        listening: bool,
    ) -> Option<Cow<'static, str>> {
        if slot.listening == listening {
            return None;
        }
        let known = self.worker(worker)?;
        known.set_listening(listening);
        slot.listening = listening;
        if !listening {
            slot.refused = false;
            return Some(Cow::Borrowed("no longer listens"));
        }
        slot.checked = Checked::new();
        if let Some(health) = self
            .model
            .health
            .as_ref()
            .filter(|health| health.check == Check::Tcp)
        {
            slot.checked.pass(health);
        }
        if !std::mem::take(&mut slot.refused) {
            known.clear_failures();
            slot.rests = Rests::default();
        }
        Some(Cow::Borrowed("listens"))
    }

    fn refused(&self, worker: WorkerId, rest_too: bool, now: Instant) -> Option<Transition> {
        self.change(worker, now, |slot| {
            if !slot.listening {
                return None;
            }
            slot.listening = false;
            slot.refused = true;
            if let Some(known) = self.worker(worker) {
                known.set_listening(false);
            }
            // It may listen and yet refuse (a packet filter): then it must not come and go for
            // ever. The share that may rest is seen to when it comes back.
            if rest_too && slot.rests.ends().is_none() {
                slot.rests.start(&self.model.outlier, now);
            }
            Some(Cow::Borrowed("connection refused"))
        })
    }

    fn eject(
        &self,
        worker: WorkerId,
        failures: u32,
        outcome: Outcome,
        now: Instant,
    ) -> Option<Transition> {
        let mut control = self.lock();
        let allowed = resting_max(&self.model.outlier, control.up + control.resting);
        let room = control.resting < allowed;
        let slot = control.slots.get_mut(worker.index())?;
        if !room || slot.state != State::Up {
            return None;
        }
        let rest = slot.rests.start(&self.model.outlier, now);
        self.stats.ejections.fetch_add(1, Ordering::Relaxed);
        let reason = format!(
            "{failures} failures in a row, the last: {outcome}; rests {} s",
            rest.as_secs_f32()
        );
        let transition = self.settle(&mut control, worker.index(), Cow::Owned(reason), now);
        self.finish(&mut control, now);
        transition
    }

    /// Does something to a worker; `edit` returns `None` if it did nothing, else the reason.
    fn change(
        &self,
        worker: WorkerId,
        now: Instant,
        edit: impl FnOnce(&mut Slot) -> Option<Cow<'static, str>>,
    ) -> Option<Transition> {
        let mut control = self.lock();
        let reason = edit(control.slots.get_mut(worker.index())?)?;
        let transition = self.settle(&mut control, worker.index(), reason, now)?;
        self.finish(&mut control, now);
        Some(transition)
    }

    /// Draws the conclusion for one worker.
    fn settle(
        &self,
        control: &mut Control,
        i: usize,
        reason: Cow<'static, str>,
        now: Instant,
    ) -> Option<Transition> {
        let checks = self.model.health.is_some();
        let slot = &mut control.slots[i];
        let (from, to) = (slot.state, slot.conclude(checks));
        if from == to {
            return None;
        }
        slot.state = to;
        slot.reason = reason.clone();
        slot.since = now;
        control.up = control.up + usize::from(to == State::Up) - usize::from(from == State::Up);
        control.resting = control.resting + usize::from(to == State::Ejected)
            - usize::from(from == State::Ejected);
        control.stale |= from == State::Up || to == State::Up;
        if to == State::Up {
            self.stats.ups.fetch_add(1, Ordering::Relaxed);
        } else if from == State::Up {
            self.stats.downs.fetch_add(1, Ordering::Relaxed);
        }
        Some(Transition {
            pool: Arc::clone(&self.name),
            worker: self.workers[i].addr(),
            from,
            to,
            reason,
        })
    }

    /// Sees to the share that rests, then publishes. The end of every change.
    fn finish(&self, control: &mut Control, now: Instant) {
        while control.resting > resting_max(&self.model.outlier, control.up + control.resting) {
            let resting = |(i, slot): (usize, &Slot)| {
                (slot.state == State::Ejected).then(|| (slot.rests.ends(), i))
            };
            let Some((_, i)) = control.slots.iter().enumerate().filter_map(resting).min() else {
                break;
            };
            control.slots[i].rests.stop(now);
            self.workers[i].clear_failures();
            let transition = self.settle(
                control,
                i,
                Cow::Borrowed("let back early, too few others are left"),
                now,
            );
            if control.pending.len() < PENDING_MAX {
                control.pending.extend(transition);
            }
        }
        if std::mem::take(&mut control.stale) {
            self.publish(control);
        }
        let next_end = control
            .slots
            .iter()
            .filter_map(|slot| slot.rests.ends())
            .min();
        // A millisecond later than the end itself, as `time` rounds down.
        let rest_ends = next_end.map_or(NEVER, |end| self.time(end + Duration::from_millis(1)));
        self.tick_at.store(
            if control.pending.is_empty() {
                rest_ends
            } else {
                0
            },
            Ordering::Relaxed,
        );
    }

    fn publish(&self, control: &Control) {
        let up = control
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.state == State::Up);
        let members = up
            .map(|(i, slot)| Member::new(i as u32, self.workers[i].weight(), self.time(slot.since)))
            .collect();
        let before = self.live.load_full();
        let live = Live::build(members, &self.rules, &self.workers, &before);
        let (was, is) = (before.len(), live.len());
        self.live.store(Arc::new(live));
        if was == 0 && is > 0 {
            self.room.wake_all();
        } else {
            // Whoever is woken wakes the next if there is room for more. Also with fewer workers
            // than before: one of them may be new.
            self.room.wake_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Control> {
        // Nothing panics while it holds the lock; if something did, the state is still usable.
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn conclude(&self, checks: bool) -> State {
        match self.checked.verdict() {
            _ if !self.listening => State::Absent,
            _ if self.draining => State::Draining,
            Verdict::Open if checks => State::Unchecked,
            Verdict::Bad if checks => State::Unhealthy,
            _ if self.rests.ends().is_some() => State::Ejected,
            _ => State::Up,
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
