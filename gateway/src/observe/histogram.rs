//! How long did it take? Durations counted in buckets.
//!
//! Promises: an observation is two relaxed additions. A reader sees every bucket at its own moment, so that a sum may
//! be an observation ahead of its buckets; the next reading mends it. Does not: know its name.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in microseconds, and how they are written, in seconds: from half a millisecond to the
/// longest exchange usual behind a fleet server. What is longer is counted in `+Inf`.
pub const BUCKETS: [(u64, &str); 14] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (1_000_000, "1"),
    (5_000_000, "5"),
    (30_000_000, "30"),
    (120_000_000, "120"),
    (300_000_000, "300"),
];

/// Durations in buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS.len() + 1],
    sum_us: AtomicU64,
}

/// What was counted until a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counted {
    /// Observations up to each bound of [`BUCKETS`], the smaller ones included.
    pub up_to: [u64; BUCKETS.len()],
    /// All observations.
    pub count: u64,
    /// All of them together, microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Counts a duration.
    pub fn observe(&self, taken: Duration) {
        let us = u64::try_from(taken.as_micros()).unwrap_or(u64::MAX);
        let at = BUCKETS.partition_point(|(bound, _)| *bound < us);
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn counted(&self) -> Counted {
        let mut counted = Counted {
            sum_us: self.sum_us.load(Ordering::Relaxed),
            ..Counted::default()
        };
        for (at, bucket) in self.buckets.iter().enumerate() {
            counted.count += bucket.load(Ordering::Relaxed);
            if let Some(up_to) = counted.up_to.get_mut(at) {
                *up_to = counted.count;
            }
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for us in [0, 500, 501, 1_000_000, 300_000_001] {
            histogram.observe(Duration::from_micros(us));
        }
        let counted = histogram.counted();
        assert_eq!(counted.up_to[0], 2, "a bound belongs to its bucket");
        assert_eq!(counted.up_to[1], 3);
        assert_eq!(counted.up_to[8], 3);
        assert_eq!(counted.up_to[9], 4);
        assert_eq!(counted.up_to[13], 4);
        assert_eq!(counted.count, 5, "what is longer than all is in +Inf");
        assert_eq!(counted.sum_us, 301_001_002);
    }

    #[test]
    fn the_bounds_are_written_as_they_are_and_grow() {
        for (us, text) in BUCKETS {
            assert_eq!((text.parse::<f64>().unwrap() * 1e6).round() as u64, us);
        }
        assert!(BUCKETS.is_sorted_by(|a, b| a.0 < b.0));
    }
}
