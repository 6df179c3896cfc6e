//! How does a request come in? Within bounds of bytes, memory and time.
//!
//! Agents behind slow lines must live, and whoever trickles must not: a request has a time, and each byte
//! gives it a little more.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::room::Share;
use super::text;
use crate::error::Error;
use crate::settings::MessageSystem;

/// All of a body. Each piece has room in `share` before it is kept.
///
/// # Errors
///
/// More than `body_bytes_max`, no room, or too slow; or the peer broke off.
pub async fn whole(
    settings: &MessageSystem,
    headers: &HeaderMap,
    mut body: Body,
    share: &mut Share,
) -> Result<Vec<u8>, Error> {
    let most = settings.body_bytes_max;
    let announced = text(headers, "content-length").and_then(|text| text.parse::<u64>().ok());
    if announced.is_some_and(|length| length > most as u64) {
        return Err(Error::TooLarge(most));
    }
    let (begun, mut bytes) = (Instant::now(), Vec::new());
    loop {
        let end = begun + allowed(settings, bytes.len());
        let frame = timeout_at(end, body.frame()).await.map_err(|_| late())?;
        let frame = match frame {
            None => return Ok(bytes),
            Some(frame) => frame.map_err(|cause| Error::Malformed(cause.to_string()))?,
        };
        // Trailers say nothing to us.
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        if piece.len() > most - bytes.len() {
            return Err(Error::TooLarge(most));
        }
        share.grow(piece.len())?;
        bytes.extend_from_slice(&piece);
    }
}

/// How long a request may have taken of which so many bytes are there.
fn allowed(settings: &MessageSystem, bytes: usize) -> Duration {
    let rate = settings.body_rate as u64;
    let earned = Duration::from_millis((bytes as u64).saturating_mul(1000) / rate);
    settings.body_timeout + earned
}

fn late() -> Error {
    let why = "the request did not come in in time".to_owned();
    Error::Refused(StatusCode::REQUEST_TIMEOUT, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Shared;

    #[test]
    fn a_slow_line_has_its_time_and_a_trickle_has_an_end() {
        let settings = Shared::read(None, [], &[]).expect("the defaults");
        let settings = settings.message_system;
        let comes_in = |bytes: usize, rate: u64| {
            let mut seconds = 0..;
            seconds.all(|second: u64| {
                let there = usize::try_from(second * rate).expect("few");
                there < bytes && Duration::from_secs(second) < allowed(&settings, there)
            });
            let there = usize::try_from((seconds.start - 1) * rate).expect("few");
            there >= bytes
        };
        // The usual report by a bad line, and the largest by the slowest that the edge lets through.
        assert!(comes_in(20_000, 400) && comes_in(30_000_000, 500));
        // What is slower has an end.
        assert!(!comes_in(30_000_000, 499) && !comes_in(100_000, 0));
        assert_eq!(allowed(&settings, 500 * 69), Duration::from_secs(60 + 69));
    }
}
