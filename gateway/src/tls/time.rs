//! How long is that still valid? Times of certificates as seconds since 1970.

use std::time::{SystemTime, UNIX_EPOCH};

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
