//! Which of the live workers gets it?
//!
//! [`Live`] is built when a worker comes or goes, and only read after that. Choosing allocates
//! nothing and takes no lock; it looks at two workers, at one place of a schedule or at one bucket
//! of keys, however many workers there are. Only `LeastConnections` looks at all of them, and so
//! does the last resort when the workers found are all at their cap.
//!
//! Choosing and reserving are one step: whoever is chosen has the place.

use std::sync::atomic::{AtomicU64, Ordering};

use super::hash::{Buckets, Seed, mix, seed};
use super::worker::{Kind, Worker, WorkerId};
use crate::config::model::Balance;

/// A worker that gets traffic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// Position in the pool.
    pub(super) worker: u32,
    weight: u16,
    /// When its slow start began, milliseconds of the pool's time.
    up_since: u64,
}

impl Member {
    pub(super) fn new(worker: u32, weight: u16, up_since: u64) -> Self {
        Member {
            worker,
            weight,
            up_since,
        }
    }
}

/// The workers that get traffic, ordered by position in the pool.
#[derive(Debug, Default)]
pub(super) struct Live {
    members: Box<[Member]>,
    /// Positions in `members`, each as often as its weight says, interleaved. Empty when all weigh
    /// the same: then the members themselves are the schedule.
    schedule: Box<[u32]>,
    buckets: Option<Buckets>,
}

/// What stays the same for a pool.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) balance: Balance,
    /// Requests of one worker.
    pub(super) cap: Option<u32>,
    /// Milliseconds.
    pub(super) slow_start: u64,
}

/// What is wanted this time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) key: Option<u64>,
    pub(super) avoid: &'a [WorkerId],
    pub(super) random: u64,
    pub(super) kind: Kind,
    /// Milliseconds of the pool's time.
    pub(super) now: u64,
    /// Where a place was freed last; worth a look when everything seems full.
    pub(super) freed: u32,
}

/// Draws of a slot before every worker is looked at.
const DRAWS: usize = 4;

/// Slots of a weighted schedule per unit of the largest weight; bounds its length.
const SCHEDULE_SLOTS_MAX: u64 = 32;

/// A stream or request of the wanted kind counts this much, one of the other kind counts 1.
/// A thousand idle streams must not keep requests away from a worker, nor the reverse.
const SAME_KIND: u64 = 16;

impl Live {
    /// A list of these members, which must be ordered; `before` is the list it replaces.
    pub(super) fn build(
        members: Vec<Member>,
        rules: &Rules,
        workers: &[Worker],
        before: &Live,
    ) -> Live {
        debug_assert!(members.is_sorted_by_key(|member| member.worker));
        let buckets =
            matches!(rules.balance, Balance::Hash(_)).then(|| rebucket(&members, workers, before));
        Live {
            schedule: schedule(&members),
            members: members.into(),
            buckets,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether a request would find a place.
    pub(super) fn has_room(&self, workers: &[Worker], cap: Option<u32>) -> bool {
        let below = |cap| {
            self.members.iter().any(|m| {
                workers
                    .get(m.worker as usize)
                    .is_some_and(|w| w.requests() < cap)
            })
        };
        cap.map_or(!self.is_empty(), below)
    }

    /// Whether a worker gets traffic.
    pub(super) fn contains(&self, worker: u32) -> bool {
        self.find(worker).is_some()
    }

    fn find(&self, worker: u32) -> Option<&Member> {
        let position = self
            .members
            .binary_search_by_key(&worker, |member| member.worker)
            .ok()?;
        self.members.get(position)
    }

    fn slots(&self) -> usize {
        if self.schedule.is_empty() {
            self.members.len()
        } else {
            self.schedule.len()
        }
    }

    fn at_slot(&self, slot: usize) -> usize {
        self.schedule
            .get(slot)
            .map_or(slot, |&position| position as usize)
    }
}

/// Chooses a worker and reserves a place there. `None` when all are at their cap.
/// `turn` is the pool's round robin counter.
pub(super) fn choose(
    live: &Live,
    workers: &[Worker],
    rules: &Rules,
    turn: &AtomicU64,
    ask: &Ask<'_>,
) -> Option<WorkerId> {
    let choice = Choice {
        live,
        workers,
        rules,
        ask: Ask {
            avoid: avoidable(live, ask.avoid),
            ..*ask
        },
    };
    let found = match (&rules.balance, ask.key) {
        (Balance::RoundRobin, _) => choice.round_robin(turn),
        (Balance::LeastConnections, _) => choice.least_connections(),
        (Balance::Hash(_), Some(key)) => choice.by_key(key),
        (Balance::Hash(_), None) | (Balance::LeastLoaded, _) => choice.less_loaded_of_two(),
    };
    found.or_else(|| choice.anywhere()).map(WorkerId)
}

/// Workers already tried are avoided if there is any other.
fn avoidable<'a>(live: &Live, avoid: &'a [WorkerId]) -> &'a [WorkerId] {
    let other = live.len() > avoid.len()
        || live
            .members
            .iter()
            .any(|m| !avoid.contains(&WorkerId(m.worker)));
    if other { avoid } else { &[] }
}

struct Choice<'a> {
    live: &'a Live,
    workers: &'a [Worker],
    rules: &'a Rules,
    ask: Ask<'a>,
}

impl Choice<'_> {
    fn less_loaded_of_two(&self) -> Option<u32> {
        let mut random = self.ask.random;
        for draw in 0..DRAWS {
            random = mix(random);
            let (one, other) = self.draw_two(random);
            let patient = draw + 1 < DRAWS;
            let wanted = |m: &&Member| {
                !self.avoided(m) && (!patient || self.warm(m, mix(random ^ u64::from(m.worker))))
            };
            let (one, other) = (Some(one).filter(wanted), other.filter(wanted));
            let (better, worse) = match (one, other) {
                (Some(one), Some(other)) if self.lighter(other, one) => (Some(other), Some(one)),
                either => either,
            };
            if let Some(taken) = better
                .and_then(|m| self.take(m))
                .or_else(|| worse.and_then(|m| self.take(m)))
            {
                return Some(taken);
            }
        }
        None
    }

    /// Two different members, drawn by weight; the second is missing where there is only one.
    fn draw_two(&self, random: u64) -> (&Member, Option<&Member>) {
        let members = &self.live.members;
        let slots = self.live.slots() as u64;
        let pick = |bits: u64| {
            self.live
                .at_slot((((bits & 0xffff_ffff) * slots) >> 32) as usize)
        };
        let one = pick(random);
        let mut other = pick(random >> 32);
        if other == one {
            other = (one + 1) % members.len();
        }
        (&members[one], (other != one).then(|| &members[other]))
    }

    fn round_robin(&self, turn: &AtomicU64) -> Option<u32> {
        let slots = self.live.slots() as u64;
        for _ in 0..DRAWS + self.ask.avoid.len() {
            let turn = turn.fetch_add(1, Ordering::Relaxed);
            let member = &self.live.members[self.live.at_slot((turn % slots) as usize)];
            if !self.avoided(member)
                && self.warm(member, mix(self.ask.random ^ turn))
                && let Some(taken) = self.take(member)
            {
                return Some(taken);
            }
        }
        None
    }

    fn least_connections(&self) -> Option<u32> {
        let members = &self.live.members;
        // From a random place, so that equals share.
        let start = (self.ask.random % members.len() as u64) as usize;
        let (front, back) = members.split_at(start);
        let least = back
            .iter()
            .chain(front)
            .filter(|m| !self.avoided(m) && self.has_room(m))
            .reduce(|best, m| if self.lighter(m, best) { m } else { best })?;
        self.take(least)
    }

    fn by_key(&self, key: u64) -> Option<u32> {
        let mut bucket_key = key;
        for _ in 0..DRAWS {
            let [first, second] = self.live.buckets.as_ref()?.find(bucket_key);
            for (worker, other) in [(first, second), (second, None)] {
                let Some(member) = worker.and_then(|worker| self.live.find(worker)) else {
                    continue;
                };
                // During a slow start the keys come over one by one, and each stays where it is.
                let takes_key =
                    other.is_none() || self.warm(member, mix(key ^ u64::from(member.worker)));
                if takes_key
                    && !self.avoided(member)
                    && let Some(taken) = self.take(member)
                {
                    return Some(taken);
                }
            }
            bucket_key = mix(bucket_key);
        }
        None
    }

    /// The last resort: any worker with room, those to be avoided last.
    fn anywhere(&self) -> Option<u32> {
        let freed = self
            .live
            .find(self.ask.freed)
            .filter(|m| !self.avoided(m))
            .and_then(|m| self.take(m));
        let members = &self.live.members;
        let start = (self.ask.random % members.len().max(1) as u64) as usize;
        let (front, back) = members.split_at(start);
        let search = |avoided: bool| {
            back.iter()
                .chain(front)
                .filter(|m| self.avoided(m) == avoided)
                .find_map(|m| self.take(m))
        };
        freed.or_else(|| search(false)).or_else(|| search(true))
    }

    fn take(&self, member: &Member) -> Option<u32> {
        self.workers
            .get(member.worker as usize)?
            .take(self.ask.kind, self.rules.cap)
            .then_some(member.worker)
    }

    fn has_room(&self, member: &Member) -> bool {
        self.ask.kind == Kind::Stream
            || self.rules.cap.is_none_or(|cap| {
                self.workers
                    .get(member.worker as usize)
                    .is_some_and(|worker| worker.requests() < cap)
            })
    }

    fn avoided(&self, member: &Member) -> bool {
        self.ask.avoid.contains(&WorkerId(member.worker))
    }

    /// Whether `one` has less to do than `other`, by what each can bear.
    fn lighter(&self, one: &Member, other: &Member) -> bool {
        self.load(one) * self.strength(other) < self.load(other) * self.strength(one)
    }

    fn load(&self, member: &Member) -> u64 {
        let Some(worker) = self.workers.get(member.worker as usize) else {
            return u64::from(u32::MAX);
        };
        let (requests, streams) = worker.load();
        let (same, other) = match self.ask.kind {
            Kind::Request => (requests, streams),
            Kind::Stream => (streams, requests),
        };
        u64::from(same) * SAME_KIND + u64::from(other)
    }

    fn strength(&self, member: &Member) -> u64 {
        u64::from(member.weight) * self.share(member)
    }

    /// Decides by lot whether a worker in its slow start takes part.
    fn warm(&self, member: &Member, lot: u64) -> bool {
        lot % FULL_SHARE < self.share(member)
    }

    /// A tenth at first, the whole at the end of the slow start; in thousandths.
    fn share(&self, member: &Member) -> u64 {
        let up_for = self.ask.now.saturating_sub(member.up_since);
        if up_for >= self.rules.slow_start {
            return FULL_SHARE;
        }
        FULL_SHARE / 10 + FULL_SHARE * 9 / 10 * up_for / self.rules.slow_start
    }
}

const FULL_SHARE: u64 = 1000;

/// Interleaves the members by weight: each stands at equal distances, as often as its weight.
fn schedule(members: &[Member]) -> Box<[u32]> {
    let max = members
        .iter()
        .map(|member| u64::from(member.weight))
        .max()
        .unwrap_or(1);
    if members.iter().all(|member| u64::from(member.weight) == max) {
        return Box::default();
    }
    let divisor = members
        .iter()
        .fold(0, |divisor, member| gcd(divisor, u64::from(member.weight)))
        .max(1);
    let times = |weight: u64| match max / divisor {
        exact if exact <= SCHEDULE_SLOTS_MAX => weight / divisor,
        _ => ((weight * SCHEDULE_SLOTS_MAX + max / 2) / max).max(1),
    };
    let mut places: Vec<(u64, u32)> = Vec::new();
    for (position, member) in members.iter().enumerate() {
        let times = times(u64::from(member.weight));
        // Places on a line of length 2^32. The golden ratio moves each member's first place, so
        // that members of equal weight do not stand side by side.
        let phase = (position as u64).wrapping_mul(0x9e37_79b9) & 0xffff_ffff;
        places.extend((0..times).map(|i| (((i << 32) + phase) / times, position as u32)));
    }
    places.sort_unstable();
    places.into_iter().map(|(_, position)| position).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Changes the buckets only for who came or went.
fn rebucket(members: &[Member], workers: &[Worker], before: &Live) -> Buckets {
    let equal = workers
        .windows(2)
        .all(|pair| pair[0].weight() == pair[1].weight());
    let seed_of = |member: &Member| {
        workers.get(member.worker as usize).map(|worker| Seed {
            worker: member.worker,
            seed: seed(worker.addr()),
            weight: (!equal).then_some(member.weight),
        })
    };
    // Who has another weight goes and comes anew.
    let same = |one: &Member, other: Option<&Member>| {
        other.is_some_and(|other| other.weight == one.weight)
    };
    let stays = |member: &&Member| same(member, before.find(member.worker));
    let goes = |member: &&Member| {
        let found = members.binary_search_by_key(&member.worker, |m| m.worker);
        !same(member, found.ok().and_then(|at| members.get(at)))
    };
    let left: Vec<Seed> = members.iter().filter(stays).filter_map(seed_of).collect();
    let mut buckets = match &before.buckets {
        // Where most have gone, it is cheaper to start afresh.
        Some(buckets) if left.len() * 2 >= before.len() => {
            let mut buckets = buckets.clone();
            for gone in before.members.iter().filter(goes) {
                buckets.remove(gone.worker, &left);
            }
            buckets
        }
        _ => {
            let mut buckets = Buckets::new(workers.len());
            left.iter().for_each(|seed| buckets.add(seed));
            buckets
        }
    };
    members
        .iter()
        .filter(|m| !stays(m))
        .filter_map(seed_of)
        .for_each(|seed| buckets.add(&seed));
    buckets
}

#[cfg(test)]
#[path = "balance_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
