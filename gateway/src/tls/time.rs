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

/// Both clocks at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// What certificates are held against.
    pub wall: SystemTime,
    /// What is waited by.
    pub steady: Instant,
}

impl Clocks {
    /// As they are now.
    pub fn read() -> Clocks {
        Clocks {
            wall: SystemTime::now(),
            steady: Instant::now(),
        }
    }

    /// Whether the wall clock was set since `before`, forwards or back; a machine that slept counts.
    pub fn were_set_since(self, before: Clocks) -> bool {
        let passed = self.steady.saturating_duration_since(before.steady);
        before.wall.checked_add(passed).is_none_or(|expected| {
            let off = self.wall.duration_since(expected);
            off.unwrap_or_else(|behind| behind.duration()) >= SET
        })
    }

    /// Both have gone on for so long.
    #[cfg(test)]
    pub fn after(self, passed: Duration) -> Clocks {
        Clocks {
            wall: self.wall + passed,
            steady: self.steady + passed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_noticed() {
        let second = Duration::from_secs(1);
        let before = Clocks {
            wall: UNIX_EPOCH + Duration::from_secs(2_000_000_000),
            steady: Instant::now(),
        };
        let later = before.after(20_000 * second);
        assert!(!later.were_set_since(before));
        let with = |wall| Clocks { wall, ..later };
        // A little fast or slow is nothing.
        for off in [second, 9 * second] {
            assert!(!with(later.wall + off).were_set_since(before));
            assert!(!with(later.wall - off).were_set_since(before));
        }
        let year = 365 * 86_400 * second;
        for wall in [
            before.wall,
            later.wall + year,
            later.wall - year,
            UNIX_EPOCH,
        ] {
            assert!(with(wall).were_set_since(before), "{wall:?}");
            assert!(!with(wall).after(second).were_set_since(with(wall)), "once");
        }
    }
}
