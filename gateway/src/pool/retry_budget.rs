//! May one more request be tried again?
//!
//! Every request pays in a share of a retry, every retry takes a whole one. A small number per
//! second is always allowed, so that a quiet pool can retry too. What was paid in is kept up to a
//! bound: a storm must not spend what a calm day saved.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::config::model::Retry;

/// A counter of retries that may be made. Shared by all data threads.
#[derive(Debug)]
pub struct RetryBudget {
    /// What one request pays in, in hundredths of a retry.
    percent: u64,
    per_second: u32,
    saved_max: u64,
    epoch: Instant,
    /// Hundredths of a retry.
    saved: AtomicU64,
    /// The second since `epoch` in the high half, retries allowed in it in the low half.
    this_second: AtomicU64,
}

/// What a retry costs, in hundredths.
const RETRY: u64 = 100;

/// Retries that may be saved up at least, whatever the allowance per second.
const SAVED_MIN: u64 = 100;

impl RetryBudget {
    /// A budget with nothing saved.
    pub fn new(retry: &Retry, now: Instant) -> Self {
        RetryBudget {
            percent: u64::from(retry.budget_percent),
            per_second: retry.budget_min_per_second,
            saved_max: RETRY * SAVED_MIN.max(10 * u64::from(retry.budget_min_per_second)),
            epoch: now,
            saved: AtomicU64::new(0),
            this_second: AtomicU64::new(0),
        }
    }

    /// Pays in for a request. Once per exchange, not per attempt.
    pub fn deposit(&self) {
        // Full most of the time: then nothing is written and the line stays shared. Two threads
        // may overshoot the bound by one deposit each, which does no harm.
        if self.saved.load(Ordering::Relaxed) < self.saved_max {
            self.saved.fetch_add(self.percent, Ordering::Relaxed);
        }
    }

    /// Takes out for a retry; false when there is nothing left.
    pub fn withdraw(&self, now: Instant) -> bool {
        let paid = self
            .saved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| {
                saved.checked_sub(RETRY)
            })
            .is_ok();
        paid || self.allowed_this_second(now)
    }

    fn allowed_this_second(&self, now: Instant) -> bool {
        let second = now.saturating_duration_since(self.epoch).as_secs() & u64::from(u32::MAX);
        let limit = u64::from(self.per_second);
        self.this_second
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                let used = if word >> 32 == second {
                    word & u64::from(u32::MAX)
                } else {
                    0
                };
                (used < limit).then_some(second << 32 | (used + 1))
            })
            .is_ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn budget(percent: u32, per_second: u32, now: Instant) -> RetryBudget {
        let retry = Retry {
            attempts_max: 3,
            budget_percent: percent,
            budget_min_per_second: per_second,
            body_bytes_max: 0,
        };
        RetryBudget::new(&retry, now)
    }

    #[test]
    fn retries_are_a_share_of_the_requests() {
        let now = Instant::now();
        let budget = budget(20, 0, now);
        assert!(!budget.withdraw(now));
        (0..50).for_each(|_| budget.deposit());
        assert_eq!((0..50).filter(|_| budget.withdraw(now)).count(), 10);
    }

    #[test]
    fn a_quiet_pool_has_some_retries_every_second() {
        let now = Instant::now();
        let budget = budget(20, 3, now);
        for second in 0..3 {
            let now = now + Duration::from_secs(second);
            assert_eq!((0..10).filter(|_| budget.withdraw(now)).count(), 3);
        }
    }

    #[test]
    fn a_calm_day_saves_no_more_than_the_bound() {
        let now = Instant::now();
        let budget = budget(100, 0, now);
        (0..100_000).for_each(|_| budget.deposit());
        assert_eq!((0..1_000).filter(|_| budget.withdraw(now)).count(), 100);
    }

    proptest! {
        #[test]
        fn no_more_is_taken_than_paid_in_and_allowed(
            percent in 0u32..200, per_second in 0u32..20, steps in prop::collection::vec(0u8..3, 0..300),
        ) {
            let mut now = Instant::now();
            let budget = budget(percent, per_second, now);
            let (mut deposits, mut retries, mut seconds) = (0u64, 0u64, 1u64);
            for step in steps {
                match step {
                    0 => { budget.deposit(); deposits += 1; }
                    1 => retries += u64::from(budget.withdraw(now)),
                    _ => { now += Duration::from_millis(500); seconds += 1; }
                }
                prop_assert!(retries * 100 <= deposits * u64::from(percent) + 100 * seconds * u64::from(per_second));
            }
        }
    }
}
