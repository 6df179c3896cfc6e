//! How long is a side waited for? A bound for each wait, and one for all of them that grows with what has come.
//!
//! Promises: nothing is measured while there is nothing to wait for. Does not: know which side it is about.

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::io::timer::{Expired, Slot};

/// How long one side has been waited for, and how long it may be. Who sends a byte a minute is never silent for long, and
/// would hold a worker for ever.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Duration,
    rate_min: u64,
    waited: Duration,
    /// The deadline of the running wait is set.
    waits: bool,
    /// When it began, where that matters.
    since: Option<Instant>,
}

impl Patience {
    /// For each wait `limit`, where zero means for ever; for all of them `limit`, and a second for each `rate_min` bytes.
    pub(crate) fn new(limit: Duration, rate_min: u64) -> Patience {
        Patience {
            limit,
            rate_min,
            waited: Duration::ZERO,
            waits: false,
            since: None,
        }
    }

    /// The time for the next wait, after `moved` bytes; zero means for ever.
    fn left(&self, moved: u64) -> Duration {
        if self.rate_min == 0 || self.limit.is_zero() {
            return self.limit;
        }
        let earned = Duration::from_millis(moved.saturating_mul(1_000) / self.rate_min);
        let left = self.limit.saturating_add(earned);
        // A slot that is set to zero would never end.
        let least = Duration::from_millis(1);
        left.saturating_sub(self.waited)
            .clamp(least, self.limit.max(least))
    }

    /// What `polled` came to, or that it took too long. A wait begins with the first look that finds nothing: what is there
    /// at once costs nothing here.
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        timer: &Slot,
        moved: u64,
        polled: Poll<T>,
    ) -> Poll<Result<T, Expired>> {
        let ended = match polled {
            Poll::Ready(done) => Ok(done),
            Poll::Pending => {
                if !self.waits {
                    self.waits = true;
                    self.since = (self.rate_min > 0).then(Instant::now);
                    timer.set(self.left(moved));
                }
                ready!(timer.poll_expired(cx));
                Err(Expired)
            }
        };
        self.waits = false;
        if let Some(since) = self.since.take() {
            self.waited = self.waited.saturating_add(since.elapsed());
        }
        Poll::Ready(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(waited: u32, limit: u32, rate_min: u64) -> Patience {
        Patience {
            waited: SECOND * waited,
            ..Patience::new(SECOND * limit, rate_min)
        }
    }

    #[test]
    fn without_a_rate_every_wait_may_take_the_whole_limit() {
        assert_eq!(after(1_000, 60, 0).left(0), SECOND * 60);
    }

    #[test]
    fn without_a_limit_there_is_no_bound_at_all() {
        assert_eq!(after(1_000, 0, 500).left(0), Duration::ZERO);
    }

    #[test]
    fn waits_take_from_one_limit_that_grows_with_the_bytes() {
        assert_eq!(after(0, 60, 500).left(0), SECOND * 60);
        assert_eq!(after(50, 60, 500).left(0), SECOND * 10);
        assert_eq!(after(50, 60, 500).left(2_500), SECOND * 15);
        // Who was fast has earned no longer silence than any other.
        assert_eq!(after(50, 60, 500).left(u64::MAX), SECOND * 60);
    }

    #[test]
    fn a_limit_that_is_used_up_ends_the_next_wait_and_never_means_for_ever() {
        let left = after(70, 60, 500).left(0);
        assert!(left > Duration::ZERO && left < SECOND);
    }
}
