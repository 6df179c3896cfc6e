//! How long may it take? Deadlines of one data thread, checked by a coarse tick.
//!
//! Promises: setting and clearing a deadline is a store, an idle connection owns no timer of the runtime, and a
//! deadline fires within one tick ([`TICK`]) after its time. While nothing happens and no deadline is near, ticks are
//! rare ([`REST`]); whoever looks at the clock then sets it right first. Does not: measure (that is `Instant`'s work).

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Between two looks at the deadlines.
pub const TICK: Duration = Duration::from_millis(100);

/// Between two looks while nothing happens: a machine that idles shall sleep.
pub const REST: Duration = Duration::from_secs(1);

const NEVER: u64 = u64::MAX;

/// The deadlines of a data thread.
#[derive(Clone)]
pub struct Timers(Rc<Inner>);

struct Inner {
    start: Instant,
    now: Cell<Instant>,
    now_ms: Cell<u64>,
    /// A deadline was set since the last tick.
    used: Cell<bool>,
    /// The next tick is far away, so the clock may be old.
    resting: Cell<bool>,
    /// Ends a rest.
    busy: Notify,
    slots: RefCell<Slots>,
}

impl Inner {
    fn read_clock(&self, now: Instant) {
        let now_ms = now.saturating_duration_since(self.start).as_millis() as u64;
        self.now.set(now);
        self.now_ms.set(now_ms);
    }

    /// The clock may be looked at: it is at most a tick old from here on.
    fn end_rest(&self) {
        if self.resting.replace(false) {
            self.read_clock(Instant::now());
            self.busy.notify_one();
        }
    }
}

#[derive(Default)]
struct Slots {
    deadline: Vec<u64>,
    waker: Vec<Option<Waker>>,
    free: Vec<u32>,
}

impl Timers {
    /// No deadlines; the clock stands at `now` until the first tick.
    pub fn new(now: Instant) -> Timers {
        Timers(Rc::new(Inner {
            start: now,
            now: Cell::new(now),
            now_ms: Cell::new(0),
            used: Cell::new(false),
            resting: Cell::new(false),
            busy: Notify::new(),
            slots: RefCell::new(Slots::default()),
        }))
    }

    /// Moves the clock and wakes whoever is overdue; says how long the next tick may wait.
    pub fn tick(&self, now: Instant) -> Duration {
        self.0.resting.set(false);
        self.0.read_clock(now);
        let now_ms = self.0.now_ms.get();
        let mut due = Vec::new();
        let mut next = NEVER;
        {
            let mut slots = self.0.slots.borrow_mut();
            for index in 0..slots.deadline.len() {
                if slots.deadline[index] <= now_ms {
                    due.extend(slots.waker[index].take());
                } else {
                    next = next.min(slots.deadline[index]);
                }
            }
        }
        let quiet = due.is_empty() && !self.0.used.replace(false);
        due.into_iter().for_each(Waker::wake);
        if quiet {
            REST.min(Duration::from_millis(next - now_ms)).max(TICK)
        } else {
            TICK
        }
    }

    /// Waits for the next tick, `after` the last one; a rest ends early when somebody needs the clock.
    pub async fn rest(&self, after: Duration) {
        if after <= TICK {
            return tokio::time::sleep(after).await;
        }
        self.0.resting.set(true);
        let _ = tokio::time::timeout(after, self.0.busy.notified()).await;
    }

    /// The time of the last tick: cheap, and late by at most one tick.
    pub fn coarse_now(&self) -> Instant {
        self.0.end_rest();
        self.0.now.get()
    }

    /// Wakes every task that waits here, overdue or not: something else has changed.
    pub fn wake_all(&self) {
        let wakers: Vec<_> = self
            .0
            .slots
            .borrow_mut()
            .waker
            .iter_mut()
            .filter_map(Option::take)
            .collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// A new deadline, unset.
    pub fn slot(&self) -> Slot {
        let mut slots = self.0.slots.borrow_mut();
        let index = match slots.free.pop() {
            Some(index) => index,
            None => {
                slots.deadline.push(NEVER);
                slots.waker.push(None);
                (slots.deadline.len() - 1) as u32
            }
        };
        Slot {
            timers: self.0.clone(),
            index,
        }
    }
}

/// One deadline; waited for by one task at a time.
pub struct Slot {
    timers: Rc<Inner>,
    index: u32,
}

impl Slot {
    /// Sets the deadline to `after` from now; zero means never.
    pub fn set(&self, after: Duration) {
        self.timers.end_rest();
        self.timers.used.set(true);
        let deadline = match after.as_millis() as u64 {
            0 if after.is_zero() => NEVER,
            // The clock may lag by a tick: never fire early.
            ms => self.timers.now_ms.get() + ms.max(1) + TICK.as_millis() as u64,
        };
        self.timers.slots.borrow_mut().deadline[self.index as usize] = deadline;
    }

    /// Takes the deadline away.
    pub fn clear(&self) {
        self.timers.slots.borrow_mut().deadline[self.index as usize] = NEVER;
    }

    /// Ready when the deadline has passed; else the task is woken when it does.
    pub fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut slots = self.timers.slots.borrow_mut();
        let index = self.index as usize;
        let deadline = slots.deadline[index];
        if deadline <= self.timers.now_ms.get() {
            return Poll::Ready(());
        }
        match &slots.waker[index] {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => slots.waker[index] = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Runs `future` until it is done or the deadline (set now to `after`) has passed.
    pub fn within<F: Future>(&self, after: Duration, future: F) -> Within<'_, F> {
        Within {
            slot: self,
            after: Some(after),
            future,
        }
    }
}

pin_project_lite::pin_project! {
    /// See [`Slot::within`]. Written out, because an `async fn` holds a future that it is given twice.
    pub struct Within<'s, F> {
        slot: &'s Slot,
        // Until it is polled.
        after: Option<Duration>,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Within<'_, F> {
    type Output = Result<F::Output, Expired>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(after) = this.after.take() {
            this.slot.set(after);
        }
        let result = match this.future.poll(cx) {
            Poll::Ready(output) => Ok(output),
            Poll::Pending => {
                ready!(this.slot.poll_expired(cx));
                Err(Expired)
            }
        };
        this.slot.clear();
        Poll::Ready(result)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut slots = self.timers.slots.borrow_mut();
        slots.deadline[self.index as usize] = NEVER;
        slots.waker[self.index as usize] = None;
        slots.free.push(self.index);
    }
}

/// A deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired;

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn poll(slot: &Slot) -> Poll<()> {
        slot.poll_expired(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_deadline_fires_after_its_time_and_not_before() {
        let start = Instant::now();
        let timers = Timers::new(start);
        let slot = timers.slot();
        slot.set(Duration::from_millis(500));
        timers.tick(start + Duration::from_millis(500));
        assert!(poll(&slot).is_pending());
        timers.tick(start + Duration::from_millis(700));
        assert!(poll(&slot).is_ready());
    }

    #[test]
    fn a_quiet_thread_rests_until_somebody_sets_a_deadline() {
        let start = Instant::now();
        let timers = Timers::new(start);
        assert_eq!(timers.tick(start), REST);
        let slot = timers.slot();
        slot.set(Duration::from_secs(60));
        assert_eq!(timers.tick(start + TICK), TICK, "something happened");
        assert_eq!(timers.tick(start + 2 * TICK), REST, "the deadline is far");
        slot.set(Duration::from_millis(450));
        timers.tick(start + 3 * TICK);
        let wait = timers.tick(start + 4 * TICK);
        assert!(TICK < wait && wait < REST, "the deadline is near: {wait:?}");
        slot.clear();
        assert_eq!(timers.tick(start + 5 * TICK), REST);
    }

    #[tokio::test]
    async fn whoever_ends_a_rest_finds_the_clock_right() {
        let timers = Timers::new(Instant::now());
        let old = timers.coarse_now();
        while Instant::now() == old {
            std::hint::spin_loop();
        }
        let slot = timers.slot();
        let setting = async {
            slot.set(Duration::from_secs(50));
            assert!(timers.coarse_now() > old);
        };
        // The rest comes first, so that it is there to be ended.
        tokio::join!(biased; timers.rest(Duration::from_secs(3600)), setting);
    }

    #[test]
    fn zero_means_never_and_clear_takes_it_away() {
        let start = Instant::now();
        let timers = Timers::new(start);
        let slot = timers.slot();
        slot.set(Duration::ZERO);
        timers.tick(start + Duration::from_secs(1_000_000));
        assert!(poll(&slot).is_pending());
        slot.set(Duration::from_secs(1));
        slot.clear();
        timers.tick(start + Duration::from_secs(2_000_000));
        assert!(poll(&slot).is_pending());
    }

    #[test]
    fn a_dropped_slot_is_used_again_unset() {
        let start = Instant::now();
        let timers = Timers::new(start);
        let slot = timers.slot();
        slot.set(Duration::from_millis(1));
        drop(slot);
        let again = timers.slot();
        timers.tick(start + Duration::from_secs(10));
        assert!(poll(&again).is_pending());
        assert_eq!(timers.0.slots.borrow().deadline.len(), 1);
    }
}
