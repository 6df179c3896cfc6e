//! When was it? The wall clock, and moments as the formats of logs write them, all in UTC.
//!
//! Promises: a wall clock that is set, forwards or back, changes what is told of a moment and nothing else. Does not: time
//! anything; durations come from the steady clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A moment, milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub u64);

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// A moment taken apart.
struct Civil {
    year: u64,
    /// From 1.
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    ms: u64,
}

/// What the wall clock said at a moment of the steady one. Read again now and then, it tells of other moments without a
/// look at the clock.
#[derive(Clone, Copy, Debug)]
pub struct Wall {
    steady: Instant,
    unix_ms: u64,
}

impl Wall {
    /// Looks at both clocks.
    pub fn read() -> Wall {
        Wall {
            unix_ms: Moment::now().0,
            steady: Instant::now(),
        }
    }

    /// When that was, or will be, by the wall clock as it was when it was read.
    pub fn tell(&self, at: Instant) -> Moment {
        let ms = |from: Instant, to: Instant| to.duration_since(from).as_millis() as u64;
        Moment(match at.checked_duration_since(self.steady) {
            Some(_) => self.unix_ms.saturating_add(ms(self.steady, at)),
            None => self.unix_ms.saturating_sub(ms(at, self.steady)),
        })
    }
}

impl Moment {
    /// By the wall clock; 1970 where it stands before.
    pub fn now() -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Moment(since.map_or(0, |since| since.as_millis() as u64))
    }

    /// `2026-11-23T17:59:59.999Z` (RFC 3339).
    pub fn rfc3339(self) -> [u8; 24] {
        let at = self.civil();
        let mut out = *b"0000-00-00T00:00:00.000Z";
        digits(&mut out[0..4], at.year);
        digits(&mut out[5..7], at.month);
        digits(&mut out[8..10], at.day);
        digits(&mut out[11..13], at.hour);
        digits(&mut out[14..16], at.minute);
        digits(&mut out[17..19], at.second);
        digits(&mut out[20..23], at.ms);
        out
    }

    /// `23/Nov/2026:17:59:59.999`, as HAProxy writes it.
    pub fn haproxy(self) -> [u8; 24] {
        let at = self.civil();
        let mut out = *b"00/Jan/0000:00:00:00.000";
        digits(&mut out[0..2], at.day);
        // The month is one of twelve.
        out[3..6].copy_from_slice(MONTHS[(at.month as usize - 1) % 12]);
        digits(&mut out[7..11], at.year);
        digits(&mut out[12..14], at.hour);
        digits(&mut out[15..17], at.minute);
        digits(&mut out[18..20], at.second);
        digits(&mut out[21..24], at.ms);
        out
    }

    /// `23/Nov/2026:17:59:59 +0000`, as NCSA's formats have it.
    pub fn ncsa(self) -> [u8; 26] {
        let mut out = *b"00/Jan/0000:00:00:00 +0000";
        out[..20].copy_from_slice(&self.haproxy()[..20]);
        out
    }

    fn civil(self) -> Civil {
        let days = (self.0 / 86_400_000) as i64;
        let ms = self.0 % 86_400_000;
        // Days to a civil date by eras of 400 years, with March as the first month.
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        Civil {
            year: (year_of_era + era * 400 + i64::from(month <= 2)) as u64,
            month: month as u64,
            day: (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u64,
            hour: ms / 3_600_000,
            minute: ms / 60_000 % 60,
            second: ms / 1000 % 60,
            ms: ms % 1000,
        }
    }
}

impl serde::Serialize for Moment {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(std::str::from_utf8(&self.rfc3339()).unwrap_or_default())
    }
}

fn digits(out: &mut [u8], mut number: u64) {
    for place in out.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn moments_are_told_in_rfc_3339() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_795_456_799_999, "2026-11-23T17:59:59.999Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
        ] {
            assert_eq!(std::str::from_utf8(&Moment(ms).rfc3339()), Ok(text));
        }
        // Whatever the clock says: years of more than four digits lose the first.
        Moment(u64::MAX).rfc3339();
    }

    #[test]
    fn a_wall_clock_that_is_set_moves_moments_and_no_time_between_them() {
        const DAY_MS: u64 = 86_400_000;
        let (steady, second) = (Instant::now(), Duration::from_secs(1));
        let (began, ended) = (steady + second, steady + 3 * second);
        let noon = 20_000 * DAY_MS;
        for unix_ms in [noon, noon + 400 * DAY_MS, noon - 400 * DAY_MS] {
            let wall = Wall { steady, unix_ms };
            assert_eq!(wall.tell(began), Moment(unix_ms + 1000));
            assert_eq!(wall.tell(ended).0 - wall.tell(began).0, 2000);
            // An exchange that began before the clock was set is told by the clock as it is now.
            let later = Wall {
                steady: ended,
                unix_ms: unix_ms - DAY_MS,
            };
            assert_eq!(later.tell(began), Moment(unix_ms - DAY_MS - 2000));
        }
        // A clock that begins anew at 1970, while exchanges are older than that.
        let reset = Wall {
            steady: ended,
            unix_ms: 5,
        };
        assert_eq!(reset.tell(began), Moment(0));
        let late = Wall {
            steady,
            unix_ms: u64::MAX,
        };
        assert_eq!(late.tell(ended), Moment(u64::MAX));
    }

    #[test]
    fn moments_are_told_as_other_logs_do() {
        let at = Moment(1_795_456_799_999);
        assert_eq!(&at.haproxy(), b"23/Nov/2026:17:59:59.999");
        assert_eq!(&at.ncsa(), b"23/Nov/2026:17:59:59 +0000");
    }
}
