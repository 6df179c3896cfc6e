//! Does the client have the file already, and which part of it does it want? RFC 9110 sections 13 and 14.
//!
//! Promises: conditions are asked in the order of section 13.2.2; a range that is not understood is ignored, so the
//! client gets the whole. Of several ranges none is served: the whole is. Pure.

use std::time::{Duration, SystemTime};

use crate::message::Fields;

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send this part: the first byte, and how many.
    Part(u64, u64),
    /// Send the whole.
    Whole,
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client thinks it is.
    Failed,
    /// 416: the part lies behind the end.
    Unsatisfiable,
}

/// Asks them of a representation.
pub fn judge(fields: &Fields, etag: &str, modified: SystemTime, length: u64) -> Verdict {
    let modified = whole_seconds(modified);
    let since = |name: &str| {
        let date = fields.get(name)?;
        httpdate::parse_http_date(std::str::from_utf8(date).ok()?).ok()
    };
    if fields.has("if-match", None) {
        if !any_tag(fields, "if-match", etag, strong) {
            return Verdict::Failed;
        }
    } else if since("if-unmodified-since").is_some_and(|date| modified > date) {
        return Verdict::Failed;
    }
    if fields.has("if-none-match", None) {
        if any_tag(fields, "if-none-match", etag, weak) {
            return Verdict::NotModified;
        }
    } else if since("if-modified-since").is_some_and(|date| modified <= date) {
        return Verdict::NotModified;
    }
    let Some(range) = only(fields, "range") else {
        return Verdict::Whole;
    };
    if let Some(condition) = fields.get("if-range") {
        let same = if condition.starts_with(b"\"") {
            strong(condition, etag)
        } else {
            // The very date that was told with it (section 13.1.5).
            since("if-range") == Some(modified)
        };
        if !same {
            return Verdict::Whole;
        }
    }
    part(range, length)
}

/// The value of a field that must not come twice.
fn only<'a>(fields: &'a Fields, name: &str) -> Option<&'a [u8]> {
    let mut count = 0;
    fields.for_each(|_, field, _| {
        count += u32::from(field.eq_ignore_ascii_case(name.as_bytes()));
    });
    fields.get(name).filter(|_| count == 1)
}

/// `Last-Modified` has no smaller unit.
pub fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

fn any_tag(fields: &Fields, name: &str, etag: &str, same: fn(&[u8], &str) -> bool) -> bool {
    let mut found = false;
    fields.for_each(|_, field, value| {
        if field.eq_ignore_ascii_case(name.as_bytes()) {
            // Our own tags have no comma, so a tag that has one is cut, and is none of ours.
            found |= value
                .split(|c| *c == b',')
                .map(<[u8]>::trim_ascii)
                .any(|tag| tag == b"*" || same(tag, etag));
        }
    });
    found
}

fn strong(tag: &[u8], etag: &str) -> bool {
    tag == etag.as_bytes()
}

fn weak(tag: &[u8], etag: &str) -> bool {
    tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes()
}

/// `bytes=0-499`, `bytes=500-`, `bytes=-500` (section 14.1.2).
fn part(range: &[u8], length: u64) -> Verdict {
    let parsed = || {
        let text = std::str::from_utf8(range).ok()?;
        let (unit, set) = text.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = set.trim().split_once('-')?;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
        };
        match (first, last) {
            ("", last) => Some((None, Some(number(last)?))),
            (first, "") => Some((Some(number(first)?), None)),
            (first, last) => Some((Some(number(first)?), Some(number(last)?))),
        }
    };
    match parsed() {
        Some((None, Some(0))) => Verdict::Unsatisfiable,
        Some((None, Some(_))) if length == 0 => Verdict::Unsatisfiable,
        Some((None, Some(last))) => {
            let count = last.min(length);
            Verdict::Part(length - count, count)
        }
        Some((Some(first), Some(last))) if last < first => Verdict::Whole,
        Some((Some(first), _)) if first >= length => Verdict::Unsatisfiable,
        Some((Some(first), last)) => {
            let last = last.unwrap_or(u64::MAX).min(length - 1);
            Verdict::Part(first, last - first + 1)
        }
        Some((None, None)) | None => Verdict::Whole,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;

    const TAG: &str = "\"abc\"";
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn fields(fields: &[(&'static str, &str)]) -> Fields {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        Fields::Http2(map)
    }

    fn asked(sent: &[(&'static str, &str)]) -> Verdict {
        let modified = httpdate::parse_http_date(DATE).unwrap() + Duration::from_millis(400);
        judge(&fields(sent), TAG, modified, 1000)
    }

    #[test]
    fn conditions_are_asked_in_their_order() {
        for (sent, want) in [
            (&[][..], Verdict::Whole),
            (&[("if-none-match", TAG)], Verdict::NotModified),
            (&[("if-none-match", "W/\"abc\"")], Verdict::NotModified),
            (&[("if-none-match", "\"x\", \"abc\"")], Verdict::NotModified),
            (
                &[("if-none-match", "\"x\""), ("if-none-match", TAG)],
                Verdict::NotModified,
            ),
            (&[("if-none-match", "*")], Verdict::NotModified),
            (&[("if-none-match", "\"x\"")], Verdict::Whole),
            // The tag is the better witness.
            (
                &[("if-none-match", "\"x\""), ("if-modified-since", LATER)],
                Verdict::Whole,
            ),
            (&[("if-modified-since", DATE)], Verdict::NotModified),
            (&[("if-modified-since", LATER)], Verdict::NotModified),
            (&[("if-modified-since", EARLIER)], Verdict::Whole),
            (&[("if-modified-since", "yesterday")], Verdict::Whole),
            (&[("if-match", TAG)], Verdict::Whole),
            (&[("if-match", "*")], Verdict::Whole),
            (&[("if-match", "W/\"abc\"")], Verdict::Failed),
            (&[("if-match", "\"x\"")], Verdict::Failed),
            (
                &[("if-match", TAG), ("if-unmodified-since", EARLIER)],
                Verdict::Whole,
            ),
            (&[("if-unmodified-since", EARLIER)], Verdict::Failed),
            (&[("if-unmodified-since", DATE)], Verdict::Whole),
            (
                &[("if-match", TAG), ("if-none-match", TAG)],
                Verdict::NotModified,
            ),
        ] {
            assert_eq!(asked(sent), want, "{sent:?}");
        }
    }

    #[test]
    fn a_range_is_served_or_ignored() {
        for (range, want) in [
            ("bytes=0-0", Verdict::Part(0, 1)),
            ("bytes=0-499", Verdict::Part(0, 500)),
            ("bytes=500-", Verdict::Part(500, 500)),
            ("bytes=999-", Verdict::Part(999, 1)),
            ("bytes=900-5000", Verdict::Part(900, 100)),
            ("bytes=-1", Verdict::Part(999, 1)),
            ("bytes=-5000", Verdict::Part(0, 1000)),
            ("Bytes=0-1", Verdict::Part(0, 2)),
            ("bytes=1000-", Verdict::Unsatisfiable),
            ("bytes=99999999999999999999-", Verdict::Unsatisfiable),
            ("bytes=-0", Verdict::Unsatisfiable),
            ("bytes=5-4", Verdict::Whole),
            ("bytes=0-1,5-6", Verdict::Whole),
            ("bytes=a-b", Verdict::Whole),
            ("bytes=+1-2", Verdict::Whole),
            ("bytes=-", Verdict::Whole),
            ("bytes", Verdict::Whole),
            ("lines=0-1", Verdict::Whole),
        ] {
            assert_eq!(asked(&[("range", range)]), want, "{range}");
        }
        assert_eq!(
            asked(&[("range", "bytes=0-1"), ("range", "bytes=2-3")]),
            Verdict::Whole
        );
        let empty = judge(
            &fields(&[("range", "bytes=-5")]),
            TAG,
            SystemTime::UNIX_EPOCH,
            0,
        );
        assert_eq!(empty, Verdict::Unsatisfiable);
    }

    #[test]
    fn a_download_goes_on_only_with_the_same_file() {
        let range = ("range", "bytes=500-");
        for (condition, want) in [
            (TAG, Verdict::Part(500, 500)),
            ("\"x\"", Verdict::Whole),
            ("W/\"abc\"", Verdict::Whole),
            (DATE, Verdict::Part(500, 500)),
            (LATER, Verdict::Whole),
            (EARLIER, Verdict::Whole),
        ] {
            assert_eq!(
                asked(&[range, ("if-range", condition)]),
                want,
                "{condition}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is asked for, what is sent lies in the file.
        #[test]
        fn a_part_is_never_more_than_there_is(range in "bytes=[0-9]{0,4}-[0-9]{0,4}", length in 0u64..3000) {
            if let Verdict::Part(first, count) = part(range.as_bytes(), length) {
                prop_assert!(count > 0 && first + count <= length, "{first} {count}");
            }
        }
    }
}
