//! How does what is known about workers change?
//!
//! Every change goes through one lock, is concluded into a state and publishes a new list of live
//! workers. Changes are returned as [`Transition`]s, never pushed.
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
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::balance::{Live, Member};
use super::health::Checked;
use super::outlier::{Rests, resting_max};
use super::state::{Control, NEVER, Pool, Slot};
use super::worker::{Outcome, State, Transition, WorkerId};
use crate::config::model::Check;

/// Pending transitions kept between two ticks; more are only counted.
const PENDING_MAX: usize = 4096;

impl Pool {
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
    pub(super) fn change(
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
    pub(super) fn settle(
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
        // Whatever brought it there: what keeps it out is an operator's word.
        let reason = match to {
            State::Draining => slot.ordered(),
            _ => reason,
        };
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
    pub(super) fn finish(&self, control: &mut Control, now: Instant) {
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
}

#[cfg(test)]
#[path = "change_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
