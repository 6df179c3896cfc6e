//! Is there a token for one more request?
//!
//! Promises: in no stretch of time more than the burst and what the rate gives in it, to the last token (whole numbers,
//! nothing is rounded in anybody's favour); a clock that goes backwards gives nothing and takes nothing.

use std::time::Duration;

use crate::config::model::Rate;

/// How fast tokens come and how many are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Parts of a token that come in a nanosecond.
    per_nano: u64,
    /// Parts of a whole token.
    token: u64,
    /// Parts of a full bucket.
    full: u64,
}

/// What one key has left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    level: u64,
    /// The latest moment that was handed in, nanoseconds.
    at: u64,
}

impl Pace {
    pub fn new(rate: &Rate) -> Pace {
        // A token has as many parts as its period has nanoseconds: then `requests` parts come in each of them.
        let token = u64::try_from(rate.every.as_nanos())
            .unwrap_or(u64::MAX)
            .max(1);
        Pace {
            per_nano: u64::from(rate.requests.max(1)),
            token,
            full: token.saturating_mul(u64::from(rate.burst.max(1))),
        }
    }

    /// The bucket of a key that was not seen before.
    pub fn full(&self, now: u64) -> Bucket {
        Bucket {
            level: self.full,
            at: now,
        }
    }

    /// Takes a token, or says how long it takes until there is one.
    pub fn take(&self, bucket: &mut Bucket, now: u64) -> Result<(), Duration> {
        let came = now.saturating_sub(bucket.at).saturating_mul(self.per_nano);
        bucket.level = bucket.level.saturating_add(came).min(self.full);
        bucket.at = bucket.at.max(now);
        if bucket.level >= self.token {
            bucket.level -= self.token;
            return Ok(());
        }
        let missing = (self.token - bucket.level).div_ceil(self.per_nano);
        Err(Duration::from_nanos(
            missing.saturating_add(bucket.at - now),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::RateKey;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn pace(requests: u32, seconds: u64, burst: u32) -> Pace {
        Pace::new(&Rate {
            per: RateKey::Address,
            requests,
            every: Duration::from_secs(seconds),
            burst,
            keys_max: 1,
        })
    }

    #[test]
    fn a_full_bucket_gives_the_burst_and_then_the_rate() {
        let pace = pace(600, 60, 3);
        let mut bucket = pace.full(0);
        for _ in 0..3 {
            assert_eq!(pace.take(&mut bucket, 0), Ok(()));
        }
        let tenth = Duration::from_millis(100);
        assert_eq!(pace.take(&mut bucket, 0), Err(tenth));
        assert_eq!(pace.take(&mut bucket, 40_000_000), Err(tenth * 6 / 10));
        assert_eq!(pace.take(&mut bucket, 100_000_000), Ok(()));
        assert_eq!(pace.take(&mut bucket, 100_000_000), Err(tenth));
        // A long rest fills it, and not more.
        for _ in 0..3 {
            assert_eq!(pace.take(&mut bucket, 900 * SECOND), Ok(()));
        }
        assert!(pace.take(&mut bucket, 900 * SECOND).is_err());
    }

    #[test]
    fn a_rate_that_divides_no_second_is_kept_to_the_last_token() {
        let pace = pace(3, 1, 1);
        let mut bucket = pace.full(0);
        let nanos = 0..=7_000u64;
        let given = nanos
            .map(|ms| pace.take(&mut bucket, ms * 1_000_000))
            .filter(Result::is_ok)
            .count();
        assert_eq!(given, 1 + 7 * 3 - 1, "tokens come just behind 1/3 s");
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let pace = pace(1_000_000, 3600, 1_000_000);
        let mut bucket = pace.full(0);
        assert_eq!(pace.take(&mut bucket, u64::MAX), Ok(()));
        assert_eq!(pace.take(&mut bucket, 0), Ok(()));
        bucket.level = 0;
        assert!(pace.take(&mut bucket, 0).is_err());
    }

    proptest! {
        #[test]
        fn no_window_sees_more_than_the_burst_and_the_rate(
            requests in 1..50u32, seconds in 1..3u64, burst in 1..20u32,
            steps in prop::collection::vec((0..400_000_000u64, 0..4u32), 1..200)
        ) {
            let pace = pace(requests, seconds, burst);
            let mut bucket = pace.full(0);
            let mut given = Vec::new();
            let mut now = 0;
            for (step, tries) in steps {
                now += step;
                for _ in 0..tries {
                    if pace.take(&mut bucket, now).is_ok() {
                        given.push(now);
                    }
                }
            }
            for (first, from) in given.iter().enumerate() {
                for (last, to) in given.iter().enumerate().skip(first) {
                    let seen = (last - first + 1) as u128;
                    let came = u128::from(to - from) * u128::from(requests);
                    let most = u128::from(burst) + came / u128::from(seconds * SECOND);
                    prop_assert!(seen <= most, "{seen} from {from} to {to}, {most} at the most");
                }
            }
        }

        #[test]
        fn whoever_waits_as_told_gets_a_token_and_not_a_nanosecond_before(
            requests in 1..2000u32, burst in 1..5u32, steps in prop::collection::vec(0..SECOND, 1..50)
        ) {
            let pace = pace(requests, 1, burst);
            let mut bucket = pace.full(0);
            let mut now = 0;
            for step in steps {
                now += step % (SECOND / u64::from(requests));
                if let Err(wait) = pace.take(&mut bucket, now) {
                    let wait = u64::try_from(wait.as_nanos()).unwrap();
                    let (mut early, mut late) = (bucket, bucket);
                    prop_assert!(pace.take(&mut early, now + wait - 1).is_err());
                    prop_assert!(pace.take(&mut late, now + wait).is_ok());
                }
            }
        }

        #[test]
        fn a_clock_that_jumps_backwards_does_no_harm(
            requests in 1..50u32, burst in 1..20u32,
            jumps in prop::collection::vec(-2_000_000_000..2_100_000_000i64, 1..300)
        ) {
            let pace = pace(requests, 1, burst);
            let mut bucket = pace.full(0);
            let (mut now, mut latest, mut given) = (0u64, 0u64, 0u128);
            for jump in jumps {
                now = now.saturating_add_signed(jump);
                latest = latest.max(now);
                given += u128::from(pace.take(&mut bucket, now).is_ok());
                let came = u128::from(latest) * u128::from(requests) / u128::from(SECOND);
                prop_assert!(given <= u128::from(burst) + came);
            }
            // Nobody is shut out for good either.
            prop_assert!(pace.take(&mut bucket, latest + SECOND).is_ok());
        }
    }
}
