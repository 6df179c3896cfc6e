//! How long is that still valid? Times of certificates as seconds since 1970, and a clock that was set.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds of a day.
pub const DAY: i64 = 24 * 60 * 60;

/// Seconds since 1970.
pub fn unix(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Whole days from `now` until `then`; negative where it is past.
pub fn days_until(then: i64, now: i64) -> i64 {
    then.saturating_sub(now).div_euclid(DAY)
}

/// From so much on, the wall clock was set and did not only go a little fast or slow between two looks.
const SET: Duration = Duration::from_secs(10);

/// Both clocks at the last look.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    wall: SystemTime,
    steady: Instant,
}

impl Clocks {
    /// As they are now.
    pub fn new(wall: SystemTime, steady: Instant) -> Clocks {
        Clocks { wall, steady }
    }

    /// Whether the wall clock was set since the last look, forwards or back; a machine that slept counts.
    pub fn were_set(&mut self, wall: SystemTime, steady: Instant) -> bool {
        let passed = steady.saturating_duration_since(self.steady);
        let expected = self.wall.checked_add(passed);
        *self = Clocks { wall, steady };
        expected.is_none_or(|expected| {
            let off = wall.duration_since(expected);
            off.unwrap_or_else(|behind| behind.duration()) >= SET
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_noticed_once() {
        let (wall, steady) = (
            UNIX_EPOCH + Duration::from_secs(2_000_000_000),
            Instant::now(),
        );
        let second = Duration::from_secs(1);
        let mut clocks = Clocks::new(wall, steady);
        // A little fast, for hours.
        for n in 1..10_000 {
            let fast = Duration::from_millis(1) * n;
            assert!(!clocks.were_set(wall + second * n + fast, steady + second * n));
        }
        let steady = steady + second * 20_000;
        assert!(clocks.were_set(wall, steady), "back by hours");
        assert!(!clocks.were_set(wall + second, steady + second));
        let year = Duration::from_secs(365 * 86_400);
        assert!(
            clocks.were_set(wall + year, steady + second),
            "on by a year"
        );
        assert!(clocks.were_set(UNIX_EPOCH, steady + second), "begun anew");
        assert!(!clocks.were_set(UNIX_EPOCH + second, steady + 2 * second));
    }
}
