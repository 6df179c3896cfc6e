//! Which worker belongs to a key?
//!
//! Rendezvous hashing over a fixed number of buckets: every bucket belongs to the worker with the
//! highest score for it, and remembers the next one. A key looks up its bucket, so a pick costs
//! one step however many workers there are. A bucket changes hands only when its worker goes or a
//! worker with a higher score comes: no key moves between two workers that both stay.
//!
//! Scores depend on addresses and weights alone, so every gateway with the same pool agrees.

use std::net::{IpAddr, SocketAddr};

/// The workers of a bucket, as positions in the pool.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    first: (f64, u32),
    second: (f64, u32),
}

const NOBODY: (f64, u32) = (f64::NEG_INFINITY, u32::MAX);

/// A table from keys to live workers.
#[derive(Clone, Debug)]
pub(super) struct Buckets(Box<[Bucket]>);

/// A worker as the table sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed {
    /// Position in the pool.
    pub(super) worker: u32,
    /// What its scores come from; see [`seed`].
    pub(super) seed: u64,
    /// Its share, or `None` where all workers of the pool have the same.
    pub(super) weight: Option<u16>,
}

impl Buckets {
    /// An empty table for a pool of `slots` workers, live or not. The number of buckets depends on
    /// nothing else, so that keys keep their buckets.
    pub(super) fn new(slots: usize) -> Self {
        let buckets = (slots * 128).next_power_of_two().clamp(1024, 16_384);
        Buckets(
            vec![
                Bucket {
                    first: NOBODY,
                    second: NOBODY
                };
                buckets
            ]
            .into(),
        )
    }

    /// Adds a worker: one score per bucket.
    pub(super) fn add(&mut self, seed: &Seed) {
        for (number, bucket) in self.0.iter_mut().enumerate() {
            bucket.offer((score(seed, number), seed.worker));
        }
    }

    /// Takes a worker out; `left` are those that stay. Only its own buckets are scored again.
    pub(super) fn remove(&mut self, worker: u32, left: &[Seed]) {
        for (number, bucket) in self.0.iter_mut().enumerate() {
            if bucket.first.1 == worker || bucket.second.1 == worker {
                *bucket = Bucket {
                    first: NOBODY,
                    second: NOBODY,
                };
                for seed in left {
                    bucket.offer((score(seed, number), seed.worker));
                }
            }
        }
    }

    /// The worker of a key and the one that would have it otherwise.
    pub(super) fn find(&self, key: u64) -> [Option<u32>; 2] {
        // The number of buckets is a power of two.
        let bucket = &self.0[mix(key) as usize & (self.0.len() - 1)];
        [bucket.first, bucket.second].map(|(_, worker)| (worker != NOBODY.1).then_some(worker))
    }
}

impl Bucket {
    fn offer(&mut self, new: (f64, u32)) {
        if new.0 > self.first.0 {
            self.second = self.first;
            self.first = new;
        } else if new.0 > self.second.0 {
            self.second = new;
        }
    }
}

/// The weighted score of rendezvous hashing: `weight / -ln(u)`, `u` uniform between 0 and 1. Among
/// equal weights the order is that of `u` itself, and the logarithm can be spared.
fn score(seed: &Seed, bucket: usize) -> f64 {
    let bits = mix(seed.seed ^ mix(bucket as u64)) >> 11;
    let uniform = (bits as f64 + 0.5) / (1u64 << 53) as f64;
    seed.weight
        .map_or(uniform, |weight| f64::from(weight) / -uniform.ln())
}

/// What the scores of a worker at this address come from.
pub(super) fn seed(addr: SocketAddr) -> u64 {
    let ip = match addr.ip() {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    mix(mix((ip >> 64) as u64 ^ u64::from(addr.port())) ^ ip as u64)
}

/// Spreads the bits of a number (the finaliser of SplitMix64). Not for secrets.
pub(super) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn seeds(weights: &[u16]) -> Vec<Seed> {
        weights
            .iter()
            .enumerate()
            .map(|(i, &weight)| Seed {
                worker: i as u32,
                seed: seed(SocketAddr::from(([127, 0, 0, 1], 8000 + i as u16))),
                weight: Some(weight),
            })
            .collect()
    }

    fn table(seeds: &[Seed]) -> Buckets {
        let mut table = Buckets::new(seeds.len());
        seeds.iter().for_each(|seed| table.add(seed));
        table
    }

    fn owners(table: &Buckets) -> Vec<u32> {
        (0..4_000).map(|key| table.find(key)[0].unwrap()).collect()
    }

    #[test]
    fn nobody_has_a_key_of_an_empty_table() {
        assert_eq!(Buckets::new(10).find(7), [None, None]);
        assert_eq!(table(&seeds(&[100])).find(7), [Some(0), None]);
    }

    #[test]
    fn only_the_keys_of_a_worker_that_goes_move_and_they_move_to_their_second() {
        let seeds = seeds(&[100; 8]);
        let before = table(&seeds);
        let mut after = before.clone();
        let left: Vec<Seed> = seeds
            .iter()
            .copied()
            .filter(|seed| seed.worker != 3)
            .collect();
        after.remove(3, &left);
        for key in 0..4_000 {
            match before.find(key) {
                [Some(3), second] => assert_eq!(after.find(key)[0], second),
                [first, _] => assert_eq!(after.find(key)[0], first),
            }
        }
        // And they come back when it does.
        after.add(&seeds[3]);
        assert_eq!(owners(&after), owners(&before));
    }

    #[test]
    fn keys_are_shared_by_weight() {
        let owners = owners(&table(&seeds(&[100, 100, 200, 400])));
        for (worker, share) in [(0, 500), (1, 500), (2, 1_000), (3, 2_000)] {
            let got = owners.iter().filter(|&&owner| owner == worker).count() as i64;
            assert!(
                (got - share).abs() < share / 3,
                "worker {worker} has {got} of 4000 keys"
            );
        }
    }

    #[test]
    fn equal_weights_need_no_logarithm() {
        let mut seeds = seeds(&[100; 5]);
        let weighted = owners(&table(&seeds));
        seeds.iter_mut().for_each(|seed| seed.weight = None);
        assert_eq!(owners(&table(&seeds)), weighted);
    }

    #[test]
    fn the_table_is_the_same_however_it_came_about() {
        let seeds = seeds(&[100, 300, 100, 100, 50]);
        let straight = table(&seeds);
        let mut detour = table(&seeds[2..]);
        detour.add(&seeds[1]);
        detour.remove(4, &seeds[1..4]);
        detour.add(&seeds[0]);
        detour.add(&seeds[4]);
        assert_eq!(straight.0, detour.0);
    }
}
