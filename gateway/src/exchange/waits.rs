//! How long did a request wait for a worker, and what for? Because none was up (hold), or because all were full (queue).
//!
//! Pure: the time is handed in. One wait may be of both kinds: held until a worker comes up, then queued because others
//! were faster. What it waits for is looked at whenever it is woken.

use std::time::{Duration, Instant};

use crate::pool::Reason;

/// The waits of an exchange so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waits {
    /// No worker was up.
    pub hold: Duration,
    /// All were at their cap.
    pub queue: Duration,
    /// Requests that waited already when it began to wait for the last time.
    pub ahead: u32,
    /// What it waits for, since when.
    now: Option<(Reason, Instant)>,
}

impl Waits {
    /// From now on it waits for this; what it waited for before is over.
    pub fn begin(&mut self, why: Reason, now: Instant) {
        if self.now.is_none_or(|(before, _)| before != why) {
            self.end(now);
            self.now = Some((why, now));
        }
    }

    /// It waits no more.
    pub fn end(&mut self, now: Instant) {
        if let Some((why, since)) = self.now.take() {
            let waited = now.saturating_duration_since(since);
            match why {
                Reason::Hold => self.hold += waited,
                Reason::Queue => self.queue += waited,
            }
        }
    }

    /// Whether it had to wait at all.
    pub fn has_begun(&self) -> bool {
        self.now.is_some() || !self.total().is_zero()
    }

    /// Those of another time count in.
    pub fn add(&mut self, other: Waits) {
        self.hold += other.hold;
        self.queue += other.queue;
        self.ahead = other.ahead;
    }

    /// Of both kinds.
    pub fn total(&self) -> Duration {
        self.hold + self.queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_time() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut waits = Waits::default();
        waits.begin(Reason::Hold, at(0));
        // Woken in vain.
        waits.begin(Reason::Hold, at(10));
        waits.begin(Reason::Queue, at(30));
        waits.begin(Reason::Hold, at(35));
        waits.end(at(36));
        // Not waiting, it has no time to add.
        waits.end(at(99));
        let ms = |time: Duration| time.as_millis();
        assert_eq!((ms(waits.hold), ms(waits.queue)), (31, 5));
        assert_eq!(ms(waits.total()), 36);

        let mut all = Waits::default();
        all.add(waits);
        all.add(Waits {
            queue: Duration::from_millis(4),
            ahead: 3,
            ..Waits::default()
        });
        assert_eq!((ms(all.hold), ms(all.queue), all.ahead), (31, 9, 3));
    }
}
