//! What does a word with a unit mean?
//!
//! Pure: text in, value out, or what is wrong with it and the fix. Knows nothing of places.

use std::time::Duration;

use super::model::PortRange;
use super::problem::quoted;

/// What is wrong, and the fix.
pub(super) type Wrong = (String, String);

/// Longest duration that is taken; more is a slip of the finger.
const DAYS_MAX: u64 = 366;

/// `500ms`, `30s`, `5m`, `2h`, `1d`; `0` needs no unit.
pub(super) fn duration(text: &str) -> Result<Duration, Wrong> {
    let example = "a whole number with `ms`, `s`, `m`, `h` or `d`, such as `30s`";
    let (number, unit) = split(text);
    let Ok(number) = number.parse::<u64>() else {
        return Err((
            format!("{} is not a duration", quoted(text)),
            format!("write {example}"),
        ));
    };
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" if number == 0 => 1,
        "" => {
            return Err((
                format!("{} has no unit", quoted(text)),
                format!("write `{number}s` for seconds or `{number}ms`"),
            ));
        }
        "sec" | "secs" | "second" | "seconds" => {
            return Err(unknown_unit(unit, &format!("write `{number}s`")));
        }
        "min" | "mins" | "minute" | "minutes" => {
            return Err(unknown_unit(unit, &format!("write `{number}m`")));
        }
        _ => return Err(unknown_unit(unit, &format!("write {example}"))),
    };
    match number.checked_mul(millis) {
        Some(millis) if millis <= DAYS_MAX * 86_400_000 => Ok(Duration::from_millis(millis)),
        _ => Err((
            format!("{} is longer than {DAYS_MAX} days", quoted(text)),
            format!("at most `{DAYS_MAX}d`"),
        )),
    }
}

/// `32KiB`, `4MiB`, `1GiB`, plain bytes.
pub(super) fn size(text: &str) -> Result<u64, Wrong> {
    let example = "bytes, or a whole number with `KiB`, `MiB` or `GiB`";
    let (number, unit) = split(text);
    let Ok(number) = number.parse::<u64>() else {
        return Err((
            format!("{} is not a size", quoted(text)),
            format!("write {example}"),
        ));
    };
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "k" | "K" | "kB" | "KB" | "kb" | "kib" | "Ki" => {
            return Err(unknown_unit(unit, &format!("write `{number}KiB`")));
        }
        "m" | "M" | "MB" | "mb" | "mib" | "Mi" => {
            return Err(unknown_unit(unit, &format!("write `{number}MiB`")));
        }
        "g" | "G" | "GB" | "gb" | "gib" | "Gi" => {
            return Err(unknown_unit(unit, &format!("write `{number}GiB`")));
        }
        _ => return Err(unknown_unit(unit, &format!("write {example}"))),
    };
    number
        .checked_mul(1 << shift)
        .filter(|bytes| *bytes <= 1 << 50)
        .ok_or_else(|| {
            (
                format!("{} is too large", quoted(text)),
                "at most 1048576GiB".to_owned(),
            )
        })
}

/// `100/s`, `600/m`, `1000/h`: how many, and in which time.
pub(super) fn rate(text: &str) -> Result<(u32, Duration), Wrong> {
    const MOST: u32 = 1_000_000;
    let example = "write a whole number by `/s`, `/m` or `/h`, such as `100/s`";
    let (number, unit) = split(text);
    let Ok(number) = number.parse::<u64>() else {
        return Err((
            format!("{} is not a rate", quoted(text)),
            example.to_owned(),
        ));
    };
    let seconds = match unit.strip_prefix('/').map(str::trim) {
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => 3600,
        Some(unit @ ("sec" | "second" | "1s")) => {
            return Err(unknown_unit(unit, &format!("write `{number}/s`")));
        }
        Some(unit @ ("min" | "minute" | "1m")) => {
            return Err(unknown_unit(unit, &format!("write `{number}/m`")));
        }
        None if unit.is_empty() => {
            return Err((
                format!("{} has no unit", quoted(text)),
                format!("write `{number}/s` for requests per second, or `{number}/m`"),
            ));
        }
        _ => return Err(unknown_unit(unit, example)),
    };
    match u32::try_from(number) {
        Ok(0) => Err((
            "a rate of nothing lets nobody in".to_owned(),
            "to refuse everybody, write `deny: 403` on a route".to_owned(),
        )),
        Ok(number) if number <= MOST => Ok((number, Duration::from_secs(seconds))),
        _ => Err((
            format!("{} is out of bounds", quoted(text)),
            format!("at most {MOST}"),
        )),
    }
}

fn unknown_unit(unit: &str, hint: &str) -> Wrong {
    (
        format!("the unit {} is not known", quoted(unit)),
        hint.to_owned(),
    )
}

/// Leading digits (with `_` between them for reading) and the rest.
fn split(text: &str) -> (String, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    (digits(&text[..end]), text[end..].trim())
}

/// A whole number; `_` may stand between digits.
pub(super) fn number(text: &str) -> Option<u64> {
    digits(text).parse().ok()
}

fn digits(text: &str) -> String {
    // A leading or trailing `_` stays and makes the number unreadable.
    let inner = text.trim_matches('_').len() == text.len();
    if inner {
        text.replace('_', "")
    } else {
        text.to_owned()
    }
}

/// `8080` or `8080-8089`, both inclusive.
pub(super) fn ports(text: &str) -> Result<PortRange, Wrong> {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first.trim())?, port(last.trim())?),
        None => {
            for separator in ["..=", "..", ":", "–", ","] {
                if let Some((first, last)) = text.split_once(separator) {
                    let hint = if separator == "," {
                        format!("write [{text}]")
                    } else {
                        format!("write `{}-{}`", first.trim(), last.trim())
                    };
                    return Err((format!("{} is not a range of ports", quoted(text)), hint));
                }
            }
            let port = port(text.trim())?;
            (port, port)
        }
    };
    if first > last {
        let hint = format!("write `{last}-{first}`, if that is what is meant");
        return Err((format!("the range {} runs backwards", quoted(text)), hint));
    }
    Ok(PortRange { first, last })
}

/// A port that something can listen on.
pub(super) fn port(text: &str) -> Result<u16, Wrong> {
    let hint = "ports are 1 to 65535".to_owned();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err((format!("{} is not a port", quoted(text)), hint));
    }
    match text.parse::<u16>() {
        Ok(0) => Err(("nothing can be reached on port 0".to_owned(), hint)),
        Ok(port) => Ok(port),
        Err(_) => Err((format!("there is no port {}", quoted(text)), hint)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_units() {
        for (text, millis) in [
            ("30s", 30_000),
            ("500ms", 500),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("0", 0),
            ("0s", 0),
            ("1_000ms", 1_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, hint) in [
            ("30", "`30s`"),
            ("30sec", "`30s`"),
            ("2 min", "`2m`"),
            ("1.5s", "whole number"),
            ("-1s", "whole number"),
            ("", "whole number"),
            ("soon", "whole number"),
            ("99999999999999999999s", "whole number"),
            ("9999999h", "366d"),
            ("_1s", "whole number"),
        ] {
            let (_, told) = duration(text).expect_err(text);
            assert!(told.contains(hint), "{text}: {told}");
        }
    }

    #[test]
    fn rates_carry_a_time() {
        for (text, number, seconds) in [
            ("100/s", 100, 1),
            ("600/m", 600, 60),
            ("1_000 / h", 1000, 3600),
        ] {
            assert_eq!(
                rate(text),
                Ok((number, Duration::from_secs(seconds))),
                "{text}"
            );
        }
        for (text, hint) in [
            ("100", "`100/s`"),
            ("100/sec", "`100/s`"),
            ("100/minute", "`100/m`"),
            ("100s", "`100/s`"),
            ("0/s", "deny: 403"),
            ("2000000/s", "at most 1000000"),
            ("99999999999/s", "at most 1000000"),
            ("1.5/s", "whole number"),
            ("fast", "whole number"),
            ("", "whole number"),
        ] {
            let (_, told) = rate(text).expect_err(text);
            assert!(told.contains(hint), "{text}: {told}");
        }
    }

    #[test]
    fn sizes_carry_binary_units_or_none() {
        for (text, bytes) in [
            ("32KiB", 32_768),
            ("4MiB", 4 << 20),
            ("1GiB", 1 << 30),
            ("100", 100),
            ("0", 0),
            ("7B", 7),
            ("64 KiB", 65_536),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for (text, hint) in [
            ("32k", "`32KiB`"),
            ("4MB", "`4MiB`"),
            ("1.5MiB", "KiB"),
            ("x", "bytes"),
            ("18446744073709551615GiB", "at most"),
        ] {
            let (_, told) = size(text).expect_err(text);
            assert!(told.contains(hint), "{text}: {told}");
        }
    }

    #[test]
    fn ranges_of_ports_are_inclusive_and_forward() {
        for (text, first, last) in [
            ("8070-8079", 8070, 8079),
            ("9099", 9099, 9099),
            ("8090 - 9079", 8090, 9079),
            ("1-65535", 1, 65_535),
        ] {
            assert_eq!(ports(text), Ok(PortRange { first, last }), "{text}");
        }
        for (text, what, hint) in [
            ("9079-8090", "backwards", "`8090-9079`"),
            ("0", "port 0", "1 to 65535"),
            ("0-10", "port 0", "1 to 65535"),
            ("65536", "no port", "1 to 65535"),
            ("80-99999", "no port", "1 to 65535"),
            ("8070..8079", "not a range", "`8070-8079`"),
            ("8070:8079", "not a range", "`8070-8079`"),
            ("80,81", "not a range", "[80,81]"),
            ("-80", "not a port", "1 to 65535"),
            ("+80", "not a port", "1 to 65535"),
            ("http", "not a port", "1 to 65535"),
            ("", "not a port", "1 to 65535"),
        ] {
            let (told, fix) = ports(text).expect_err(text);
            assert!(
                told.contains(what) && fix.contains(hint),
                "{text}: {told}: {fix}"
            );
        }
    }
}
