//! Does this client ask too often?
//!
//! Promises: each key has its own bucket; never more keys than configured; a short lock, never held across an await.
//! Does not: share what it knows with another process, or keep strangers from choosing the value of a field.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::bucket::{Bucket, Pace};
use super::network::counted_as;
use super::recent::Recent;
use crate::config::model::{Rate, RateKey};

/// Most parts of the table: data threads seldom meet at the lock of one.
const PARTS_MAX: usize = 16;
/// Keys of a part at least. Keys are spread by chance, so small parts would be full at different times.
const PART_KEYS_MIN: usize = 1024;

/// The buckets of a listener or a route, shared by all data threads.
#[derive(Debug)]
pub struct Limiter {
    rate: Rate,
    pace: Pace,
    epoch: Instant,
    /// Its key is secret, so nobody can choose whose bucket to share.
    hasher: RandomState,
    parts: Vec<Mutex<Recent<Bucket>>>,
}

impl Limiter {
    /// With nobody known; times before `now` count as `now`.
    pub fn new(rate: &Rate, now: Instant) -> Limiter {
        let keys = (rate.keys_max as usize).max(1);
        let parts = (keys / PART_KEYS_MIN).clamp(1, PARTS_MAX);
        let of_part = |part| keys / parts + usize::from(part < keys % parts);
        Limiter {
            rate: rate.clone(),
            pace: Pace::new(rate),
            epoch: now,
            hasher: RandomState::new(),
            parts: (0..parts)
                .map(|part| Mutex::new(Recent::new(of_part(part))))
                .collect(),
        }
    }

    /// As configured.
    pub fn rate(&self) -> &Rate {
        &self.rate
    }

    /// Counts a request, or says how long it takes until one more may come. `certificate` is the fingerprint of the
    /// one that the client has shown, `field` gives a field's first value; a request without either is counted by its
    /// address, so that leaving it out is no way around.
    pub fn admit<'r>(
        &self,
        client: IpAddr,
        certificate: Option<&str>,
        field: impl FnOnce(&str) -> Option<&'r [u8]>,
        now: Instant,
    ) -> Result<(), Duration> {
        let value = match &self.rate.per {
            RateKey::Address => None,
            RateKey::Header(name) => field(name),
            RateKey::Certificate => certificate.map(str::as_bytes),
        };
        let key = match value {
            Some(value) => self.hasher.hash_one((true, value)),
            None => self.hasher.hash_one((false, counted_as(client))),
        };
        let now =
            u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX);
        // The low bits choose the place within the part.
        let part = (key >> 32) as usize % self.parts.len();
        let mut known = self.parts[part]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.pace
            .take(known.touch(key, || self.pace.full(now)), now)
    }

    #[cfg(test)]
    fn keys(&self) -> usize {
        let parts = self.parts.iter();
        parts.map(|part| part.lock().unwrap().len()).sum()
    }
}

/// Whole seconds until trying again can help, at least one.
pub fn retry_after(wait: Duration) -> u16 {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    u16::try_from(seconds.max(1)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(per: RateKey, burst: u32, keys_max: u32) -> (Limiter, Instant) {
        let rate = Rate {
            per,
            requests: 1,
            every: Duration::from_secs(10),
            burst,
            keys_max,
        };
        let now = Instant::now();
        (Limiter::new(&rate, now), now)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn every_address_has_its_own_bucket_and_an_ipv6_network_one() {
        let (limiter, now) = limiter(RateKey::Address, 1, 100);
        let may = |text: &str| limiter.admit(address(text), None, |_| None, now).is_ok();
        assert!(may("192.0.2.1") && may("192.0.2.2") && may("2001:db8::1"));
        assert!(!may("192.0.2.1") && !may("::ffff:192.0.2.2") && !may("2001:db8::2"));
    }

    #[test]
    fn a_field_is_a_key_and_who_leaves_it_out_is_counted_by_address() {
        let (limiter, now) = limiter(RateKey::Header("x-key".to_owned()), 1, 100);
        let may = |client: &str, value: Option<&'static [u8]>| {
            let field = |name: &str| {
                assert_eq!(name, "x-key");
                value
            };
            limiter.admit(address(client), None, field, now).is_ok()
        };
        assert!(may("192.0.2.1", Some(b"a")) && may("192.0.2.1", Some(b"b")));
        assert!(!may("192.0.2.9", Some(b"a")));
        assert!(may("192.0.2.1", None) && !may("192.0.2.1", None));
    }

    #[test]
    fn a_certificate_is_a_key_wherever_it_comes_from() {
        let (limiter, now) = limiter(RateKey::Certificate, 1, 100);
        let may =
            |client: &str, shown| limiter.admit(address(client), shown, |_| None, now).is_ok();
        assert!(may("192.0.2.1", Some("aa")) && may("192.0.2.1", Some("bb")));
        assert!(!may("192.0.2.9", Some("aa")));
        assert!(may("192.0.2.1", None) && !may("192.0.2.1", None));
    }

    #[test]
    fn the_table_never_has_more_keys_than_configured() {
        for keys_max in [1, 3, 1024, 1025, 5000, 20_000] {
            let (limiter, now) = limiter(RateKey::Address, 1, keys_max);
            for client in 0..30_000u32 {
                let client = IpAddr::from(client.to_be_bytes());
                assert_eq!(limiter.admit(client, None, |_| None, now), Ok(()));
            }
            assert_eq!(limiter.keys(), keys_max as usize);
        }
    }

    #[test]
    fn data_threads_together_give_the_burst_and_no_more() {
        let (limiter, now) = limiter(RateKey::Address, 500, 10_000);
        let client = address("192.0.2.1");
        let may = |_: &i32| limiter.admit(client, None, |_| None, now).is_ok();
        let given: usize = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(|| (0..1000).filter(may).count()));
            threads.map(|thread| thread.join().unwrap()).iter().sum()
        });
        assert_eq!(given, 500);
    }

    #[test]
    fn retry_after_is_in_whole_seconds_and_never_zero() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (86_400_000, 65_535)] {
            assert_eq!(retry_after(Duration::from_millis(millis)), seconds);
        }
    }
}
