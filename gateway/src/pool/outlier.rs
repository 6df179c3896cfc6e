//! Who rests after bad answers, and for how long?
//!
//! A worker that fails several times in a row rests. The n-th rest in a row is n times as long as
//! the first. A rest counts as "in a row" when the worker stayed up after its last rest for less
//! time than that rest took. How many may rest at once is bounded, and never may the last one.

use std::time::{Duration, Instant};

use crate::config::model::Outlier;

/// The rests of one worker.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rests {
    ends: Option<Instant>,
    last: Option<(Instant, Duration)>,
    in_a_row: u32,
}

impl Rests {
    /// When the present rest ends.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// Starts a rest and says how long it is.
    pub(super) fn start(&mut self, outlier: &Outlier, now: Instant) -> Duration {
        let relapse = self
            .last
            .is_some_and(|(end, length)| now.saturating_duration_since(end) < length);
        self.in_a_row = if relapse {
            self.in_a_row.saturating_add(1)
        } else {
            1
        };
        let length = outlier
            .rest
            .saturating_mul(self.in_a_row)
            .min(outlier.rest_max)
            .max(MIN_REST);
        let end = now + length;
        self.ends = Some(end);
        self.last = Some((end, length));
        length
    }

    /// Ends the rest, in time or before.
    pub(super) fn stop(&mut self, now: Instant) {
        self.ends = None;
        if let Some((end, _)) = &mut self.last {
            *end = (*end).min(now);
        }
    }
}

/// A rest of zero would be an ejection that nobody sees.
const MIN_REST: Duration = Duration::from_millis(1);

/// How many of `able` workers (up, or kept from it only by their rest) may rest at once.
pub(super) fn resting_max(outlier: &Outlier, able: usize) -> usize {
    let share = able * usize::from(outlier.ejected_share_max.min(100)) / 100;
    share.min(able.saturating_sub(1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn outlier(share: u8) -> Outlier {
        Outlier {
            consecutive_failures: 5,
            rest: Duration::from_secs(10),
            rest_max: Duration::from_secs(25),
            ejected_share_max: share,
        }
    }

    #[test]
    fn rests_grow_while_a_worker_relapses_and_start_over_after_good_times() {
        let outlier = outlier(50);
        let mut now = Instant::now();
        let mut rests = Rests::default();
        for (up_before_seconds, rest_seconds) in [
            (0, 10),
            (9, 20),
            (19, 25),
            (24, 25),
            (25, 10),
            (10, 10),
            (3, 20),
        ] {
            now += Duration::from_secs(up_before_seconds);
            assert_eq!(
                rests.start(&outlier, now),
                Duration::from_secs(rest_seconds)
            );
            now = rests.ends().unwrap();
            rests.stop(now);
            assert_eq!(rests.ends(), None);
        }
    }

    #[test]
    fn the_last_worker_never_rests() {
        for (share, able, most) in [
            (50, 0, 0),
            (50, 1, 0),
            (100, 1, 0),
            (100, 2, 1),
            (50, 2, 1),
            (50, 3, 1),
            (50, 4, 2),
            (10, 5, 0),
            (0, 9, 0),
        ] {
            assert_eq!(
                resting_max(&outlier(share), able),
                most,
                "{share} % of {able}"
            );
        }
    }
}
