//! When was it? Moments as the formats of logs write them, all in UTC.

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

impl Moment {
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
    fn moments_are_told_as_other_logs_do() {
        let at = Moment(1_795_456_799_999);
        assert_eq!(&at.haproxy(), b"23/Nov/2026:17:59:59.999");
        assert_eq!(&at.ncsa(), b"23/Nov/2026:17:59:59 +0000");
    }
}
