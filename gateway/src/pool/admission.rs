//! Who waits for a worker, and who is next?
//!
//! One waiting room per pool for both kinds of waiting: held requests (no worker is up) and queued
//! ones (all are at their cap). A place that becomes free wakes one of them, the longest waiting
//! first; a pool that comes up wakes all. Each kind has its own bound on how many may wait.
//!
//! No wake-up is lost: whoever comes in registers first and is counted second, and whoever frees
//! a place frees it first and looks at the count second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

/// Why a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No worker is up.
    Hold,
    /// Every worker is at its cap.
    Queue,
}

/// As many requests wait already as the pool allows, or waiting is turned off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no more requests may wait")]
pub struct Refused;

/// The waiting room of a pool.
#[derive(Debug, Default)]
pub(super) struct WaitingRoom {
    bell: Arc<Notify>,
    /// By why they came in: this is what is bounded. Those held who now wait for a place keep the queue's room free for
    /// others: after an outage there may be ten times as many of them.
    entered: ByReason,
    /// By why they wait now: this is what is shown.
    now: ByReason,
    /// All together. A count of its own, because the first to come must be told apart.
    waiting: AtomicU32,
}

#[derive(Debug, Default)]
struct ByReason {
    held: AtomicU32,
    queued: AtomicU32,
}

impl ByReason {
    fn of(&self, reason: Reason) -> &AtomicU32 {
        match reason {
            Reason::Hold => &self.held,
            Reason::Queue => &self.queued,
        }
    }
}

impl WaitingRoom {
    /// What a waiter is woken by. To be registered before [`WaitingRoom::enter`].
    pub(super) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    /// Comes in; says how many were waiting before.
    pub(super) fn enter(&self, reason: Reason, requests_max: u32) -> Result<u32, Refused> {
        self.entered
            .of(reason)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                (n < requests_max).then_some(n + 1)
            })
            .map_err(|_| Refused)?;
        self.now.of(reason).fetch_add(1, Ordering::Relaxed);
        Ok(self.waiting.fetch_add(1, Ordering::SeqCst))
    }

    /// Waits on, for another reason.
    pub(super) fn turn(&self, from: Reason, to: Reason) {
        self.now.of(to).fetch_add(1, Ordering::Relaxed);
        self.now.of(from).fetch_sub(1, Ordering::Relaxed);
    }

    /// Goes out. Why it came in and why it waited in the end.
    pub(super) fn leave(&self, entered: Reason, now: Reason) {
        let before = self.entered.of(entered).fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "left without having entered");
        self.now.of(now).fetch_sub(1, Ordering::Relaxed);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether anybody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0
    }

    /// How many wait for this reason now.
    pub(super) fn count(&self, reason: Reason) -> u32 {
        self.now.of(reason).load(Ordering::Relaxed)
    }

    /// Wakes the one that has waited longest, if any.
    pub(super) fn wake_one(&self) {
        if !self.is_empty() {
            self.bell.notify_one();
        }
    }

    /// Wakes everybody.
    pub(super) fn wake_all(&self) {
        self.bell.notify_waiters();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_bound() {
        let room = WaitingRoom::default();
        assert_eq!(room.enter(Reason::Queue, 2), Ok(0));
        assert_eq!(room.enter(Reason::Queue, 2), Ok(1));
        assert_eq!(room.enter(Reason::Queue, 2), Err(Refused));
        assert_eq!(room.enter(Reason::Hold, 1), Ok(2));
        assert_eq!(room.enter(Reason::Hold, 1), Err(Refused));
        assert_eq!(room.enter(Reason::Hold, 0), Err(Refused));
        room.leave(Reason::Queue, Reason::Queue);
        assert_eq!(
            (room.count(Reason::Queue), room.count(Reason::Hold)),
            (1, 1)
        );
        assert_eq!(room.enter(Reason::Queue, 2), Ok(2));
    }

    #[test]
    fn who_waits_on_for_another_reason_is_shown_there_and_bounded_where_it_came_in() {
        let room = WaitingRoom::default();
        let shown = || (room.count(Reason::Hold), room.count(Reason::Queue));
        assert_eq!(room.enter(Reason::Hold, 1), Ok(0));
        room.turn(Reason::Hold, Reason::Queue);
        assert_eq!(shown(), (0, 1));
        assert_eq!(room.enter(Reason::Hold, 1), Err(Refused));
        assert_eq!(room.enter(Reason::Queue, 1), Ok(1));
        assert_eq!(shown(), (0, 2));
        room.leave(Reason::Hold, Reason::Queue);
        assert_eq!(shown(), (0, 1));
        assert_eq!(room.enter(Reason::Hold, 1), Ok(1));
        assert_eq!(room.enter(Reason::Queue, 1), Err(Refused));
    }

    #[test]
    fn an_empty_room_keeps_no_wake_up_for_later() {
        let room = WaitingRoom::default();
        room.wake_one();
        let mut late = Box::pin(room.bell().notified_owned());
        assert!(!late.as_mut().enable());
    }
}
