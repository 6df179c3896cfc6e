//! How does a request come in? Within bounds of bytes, memory and time, before it takes anybody's place.
//!
//! Clients behind slow lines must live, and whoever trickles must not: a request has a time, and each byte
//! gives it a little more, of which nothing can be saved up.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};

use self::room::Room;
pub use self::room::Share;
use crate::error::Error;
use crate::settings;

mod room;

/// Longest wait of a request that is there for a place among those that are carried out.
const PLACE: Duration = Duration::from_secs(2);

/// Where the requests of a worker come in. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    settings: settings::Intake,
    room: Room,
}

impl Intake {
    /// One with these bounds.
    pub fn new(settings: &settings::Intake) -> Self {
        Self {
            settings: settings.clone(),
            room: Room::new(settings.memory_bytes_max),
        }
    }

    /// All of a body, and what it takes of the worker's memory. Each piece has room before it is kept.
    ///
    /// # Errors
    ///
    /// More than `body_bytes_max`, no room, or too slow; or the peer broke off.
    pub async fn whole(
        &self,
        headers: &HeaderMap,
        mut body: Body,
    ) -> Result<(Vec<u8>, Share), Error> {
        let most = self.settings.body_bytes_max;
        let announced = headers.get("content-length");
        let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > most as u64) {
            return Err(Error::TooLarge(most));
        }
        let (mut share, mut bytes) = (self.room.share(), Vec::new());
        let mut end = Instant::now() + self.settings.body_timeout;
        loop {
            let frame = timeout_at(end, body.frame()).await.map_err(|_| late())?;
            let frame = match frame {
                None => return Ok((bytes, share)),
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
            end = later(&self.settings, end, piece.len(), Instant::now());
        }
    }
}

/// The end of a request's time when so many bytes more are there. Whoever was fast has earned no longer silence than any other.
fn later(settings: &settings::Intake, end: Instant, bytes: usize, now: Instant) -> Instant {
    let rate = settings.body_rate as u64;
    let earned = Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / rate);
    (end + earned).min(now + settings.body_timeout)
}

/// A place for a request that is there. It may have taken long to come in, so a place is waited for a moment.
///
/// # Errors
///
/// None became free.
pub async fn place(free: &Semaphore) -> Result<SemaphorePermit<'_>, Error> {
    match timeout(PLACE, free.acquire()).await {
        Ok(Ok(place)) => Ok(place),
        _ => Err(Error::Busy),
    }
}

fn late() -> Error {
    let why = "the request did not come in in time".to_owned();
    Error::Refused(StatusCode::REQUEST_TIMEOUT, why)
}

/// Is there memory for a request of the largest kind, which takes so much?
pub fn check(
    section: &'static str,
    settings: &settings::Intake,
    takes: usize,
) -> Vec<settings::Wrong> {
    if settings.memory_bytes_max >= takes {
        return Vec::new();
    }
    let key = "memory_bytes_max";
    let what = format!(
        "`{key}` is at least {takes}: what one request of `body_bytes_max` may take when it is read"
    );
    vec![settings::Wrong { section, key, what }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Shared;

    fn settings() -> settings::Intake {
        let shared = Shared::read(None, [], &[]).expect("the defaults");
        shared.message_system.intake
    }

    #[test]
    fn a_slow_line_has_its_time_and_a_trickle_has_an_end() {
        let settings = settings();
        let comes_in = |bytes: u64, rate: u64| {
            let begun = Instant::now();
            let mut end = begun + settings.body_timeout;
            let seconds = bytes.checked_div(rate).unwrap_or(u64::MAX);
            let mut waits = (1..=seconds).map(|second| begun + Duration::from_secs(second));
            waits.all(|now| {
                let in_time = now < end;
                end = later(&settings, end, usize::try_from(rate).expect("few"), now);
                in_time
            })
        };
        // The usual report by a bad line, and the largest by the slowest that the edge lets through.
        assert!(comes_in(20_000, 400) && comes_in(30_000_000, 500));
        // What is slower has an end.
        assert!(!comes_in(30_000_000, 499) && !comes_in(100_000, 0));
    }

    #[test]
    fn whoever_was_fast_has_earned_no_longer_silence_than_any_other() {
        let settings = settings();
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        let end = later(&settings, begun + 60 * second, 29_000_000, begun + second);
        assert_eq!(end, begun + 61 * second);
        // A byte now and then is worth what it is.
        let end = later(&settings, end, 1, begun + 60 * second);
        assert_eq!(end, begun + 61 * second + Duration::from_millis(2));
    }
}
