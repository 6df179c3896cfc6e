//! What does a path wish for? The last one to three segments name a behaviour and its measure.
//!
//! | End of the path | Behaviour |
//! |---|---|
//! | `/health` | 200 at once |
//! | `/sleep/MS`, `/sleep?ms=MS` | 200 after so many milliseconds |
//! | `/bytes/N` | N bytes, with their length |
//! | `/chunked/N` | N bytes in pieces, without their length |
//! | `/drip/N/MS` | N lines, so many milliseconds apart |
//! | `/status/N` | that status |
//! | `/header/N` | a response field of N bytes |
//! | `/trailers` | a response in pieces, with trailers |
//! | `/early`, `/early/N` | 413 (or that status) without reading the request's body |
//! | `/abort/N` | promises more than N bytes, sends N, breaks the connection |
//!
//! A measure that is not a number is no wish. One beyond its bound is refused, so that nobody takes
//! a smaller answer for the one asked for.

use std::time::Duration;

use axum::http::StatusCode;

/// Longest sleep and longest pause of a drip, milliseconds.
pub const SLEEP_MS_MAX: u64 = 600_000;
/// Largest body.
pub const BYTES_MAX: u64 = 1 << 30;
/// Most lines of a drip.
pub const LINES_MAX: u64 = 100_000;
/// Largest response field.
pub const FIELD_BYTES_MAX: u64 = 1 << 20;

/// A behaviour asked for by a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// 200 at once.
    Health,
    /// 200 after this time.
    Sleep(Duration),
    /// A body of this many bytes, with `Content-Length`.
    Bytes(u64),
    /// A body of this many bytes, without.
    Chunked(u64),
    /// Lines with a pause between them.
    Drip {
        /// How many.
        lines: u64,
        /// Before each but the first.
        pause: Duration,
    },
    /// A status.
    Status(StatusCode),
    /// A response field of this many bytes.
    Header(u64),
    /// A chunked body and trailers.
    Trailers,
    /// A status before the request's body was read.
    Early(StatusCode),
    /// This many bytes of a longer body, then a broken connection.
    Abort(u64),
    /// A measure beyond its bound.
    Refused(String),
}

/// The wish of a path, if it has one.
pub fn read(path: &str, query: Option<&str>) -> Option<Wish> {
    let mut back = path.rsplit('/');
    let (last, second, third) = (back.next()?, back.next(), back.next());
    let wish = match (third, second, last) {
        (_, _, "health") => Ok(Wish::Health),
        (_, _, "trailers") => Ok(Wish::Trailers),
        (_, _, "early") => Ok(Wish::Early(StatusCode::PAYLOAD_TOO_LARGE)),
        (_, _, "sleep") => millis(ms_of(query)?).map(Wish::Sleep),
        (_, Some("sleep"), ms) => millis(number(ms)?).map(Wish::Sleep),
        (_, Some("bytes"), n) => within(number(n)?, BYTES_MAX, "bytes").map(Wish::Bytes),
        (_, Some("chunked"), n) => within(number(n)?, BYTES_MAX, "bytes").map(Wish::Chunked),
        (_, Some("abort"), n) => within(number(n)?, BYTES_MAX, "bytes").map(Wish::Abort),
        (_, Some("header"), n) => within(number(n)?, FIELD_BYTES_MAX, "bytes").map(Wish::Header),
        (_, Some("status"), n) => status(number(n)?).map(Wish::Status),
        (_, Some("early"), n) => status(number(n)?).map(Wish::Early),
        (Some("drip"), Some(lines), ms) => drip(number(lines)?, number(ms)?),
        _ => return None,
    };
    Some(wish.unwrap_or_else(Wish::Refused))
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Too many digits for a u64 is beyond every bound, so it stays a wish and is refused.
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

fn ms_of(query: Option<&str>) -> Option<u64> {
    query?
        .split('&')
        .find_map(|pair| number(pair.strip_prefix("ms=")?))
}

fn within(value: u64, max: u64, unit: &str) -> Result<u64, String> {
    if value <= max {
        Ok(value)
    } else {
        Err(format!("at most {max} {unit}"))
    }
}

fn millis(ms: u64) -> Result<Duration, String> {
    within(ms, SLEEP_MS_MAX, "milliseconds").map(Duration::from_millis)
}

fn drip(lines: u64, ms: u64) -> Result<Wish, String> {
    Ok(Wish::Drip {
        lines: within(lines, LINES_MAX, "lines")?,
        pause: millis(ms)?,
    })
}

/// A final status; interim ones (1xx) are not an answer.
fn status(number: u64) -> Result<StatusCode, String> {
    u16::try_from(number)
        .ok()
        .filter(|code| (200..=599).contains(code))
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or_else(|| "a status from 200 to 599".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_path_is_a_wish_under_any_prefix() {
        let early = |code| Wish::Early(StatusCode::from_u16(code).expect("a status"));
        for (path, query, wish) in [
            ("/health", None, Wish::Health),
            ("/api/v2/health", None, Wish::Health),
            ("/sleep/250", None, Wish::Sleep(Duration::from_millis(250))),
            (
                "/ping/sleep",
                Some("x=1&ms=7"),
                Wish::Sleep(Duration::from_millis(7)),
            ),
            ("/bytes/0", None, Wish::Bytes(0)),
            ("/upload/bytes/1048576", None, Wish::Bytes(1 << 20)),
            ("/chunked/10", None, Wish::Chunked(10)),
            (
                "/drip/3/20",
                None,
                Wish::Drip {
                    lines: 3,
                    pause: Duration::from_millis(20),
                },
            ),
            (
                "/api/status/503",
                None,
                Wish::Status(StatusCode::SERVICE_UNAVAILABLE),
            ),
            ("/header/9000", None, Wish::Header(9000)),
            ("/trailers", None, Wish::Trailers),
            ("/early", None, early(413)),
            ("/early/401", None, early(401)),
            ("/abort/5", None, Wish::Abort(5)),
        ] {
            assert_eq!(read(path, query), Some(wish), "{path}");
        }
    }

    #[test]
    fn other_paths_wish_for_nothing() {
        for path in [
            "/",
            "",
            "/ping",
            "/health/",
            "/healthy",
            "/sleep",
            "/sleep/soon",
            "/sleep/",
            "/bytes/-1",
            "/bytes/1e3",
            "/status/active",
            "/drip/3",
            "/drip/x/1",
            "/bytes/7/x",
        ] {
            assert_eq!(read(path, None), None, "{path}");
        }
    }

    #[test]
    fn a_wish_beyond_its_bound_is_refused() {
        for path in [
            "/sleep/600001",
            "/bytes/1073741825",
            "/bytes/99999999999999999999999",
            "/status/100",
            "/status/600",
            "/status/70000",
            "/drip/100001/0",
            "/drip/1/600001",
            "/header/1048577",
        ] {
            assert!(matches!(read(path, None), Some(Wish::Refused(_))), "{path}");
        }
    }
}
