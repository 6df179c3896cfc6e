use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::config::model::HashKey;

/// Workers with these weights, all live since the beginning of time.
struct Field {
    workers: Vec<Worker>,
    live: Live,
    rules: Rules,
    turn: AtomicU64,
    random: u64,
}

impl Field {
    fn new(balance: Balance, cap: Option<u32>, weights: &[u16]) -> Field {
        let rules = Rules {
            balance,
            cap,
            slow_start: 0,
        };
        let worker = |(i, &weight): (usize, &u16)| {
            Worker::new(
                SocketAddr::from(([10, 0, (i >> 8) as u8, i as u8], 80)),
                weight,
            )
        };
        let workers: Vec<Worker> = weights.iter().enumerate().map(worker).collect();
        let members = workers
            .iter()
            .enumerate()
            .map(|(i, w)| Member::new(i as u32, w.weight(), 0))
            .collect();
        let live = Live::build(members, &rules, &workers, &Live::default());
        Field {
            workers,
            live,
            rules,
            turn: AtomicU64::new(0),
            random: 1,
        }
    }

    fn ask(&mut self) -> Ask<'static> {
        self.random = mix(self.random);
        Ask {
            key: None,
            avoid: &[],
            random: self.random,
            kind: Kind::Request,
            now: 0,
            freed: 0,
        }
    }

    fn take(&mut self) -> Option<u32> {
        let ask = self.ask();
        self.take_for(&ask)
    }

    fn take_for(&self, ask: &Ask<'_>) -> Option<u32> {
        choose(&self.live, &self.workers, &self.rules, &self.turn, ask).map(|id| id.0)
    }

    /// Where so many requests go that end at once.
    fn short(&mut self, n: usize) -> Vec<usize> {
        let mut counts = vec![0; self.workers.len()];
        for _ in 0..n {
            let taken = self.take().unwrap() as usize;
            counts[taken] += 1;
            self.workers[taken].release(Kind::Request);
        }
        counts
    }

    /// Where so many requests go that do not end.
    fn long(&mut self, n: usize) -> Vec<u32> {
        (0..n).for_each(|_| assert!(self.take().is_some()));
        self.workers.iter().map(Worker::requests).collect()
    }
}

fn all_balances() -> [Balance; 4] {
    [
        Balance::LeastLoaded,
        Balance::RoundRobin,
        Balance::LeastConnections,
        Balance::Hash(HashKey::Address),
    ]
}

fn near(got: usize, wanted: usize) -> bool {
    got.abs_diff(wanted) <= wanted / 4
}

#[test]
fn round_robin_goes_round() {
    let mut field = Field::new(Balance::RoundRobin, None, &[100; 3]);
    let order: Vec<_> = (0..7).map(|_| field.take().unwrap()).collect();
    assert_eq!(order, [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn weighted_round_robin_is_smooth() {
    let mut field = Field::new(Balance::RoundRobin, None, &[300, 100, 100]);
    let order: Vec<_> = (0..10).map(|_| field.take().unwrap()).collect();
    assert_eq!(order[..5], order[5..]);
    assert_eq!(order.iter().filter(|&&w| w == 0).count(), 6);
    assert!(
        !order.windows(3).any(|three| three == [0, 0, 0]),
        "{order:?}"
    );
}

#[test]
fn a_schedule_of_odd_weights_stays_bounded_and_forgets_nobody() {
    let weights = [1000, 999, 1, 37, 500];
    let live = Field::new(Balance::RoundRobin, None, &weights).live;
    assert!(live.schedule.len() <= weights.len() * SCHEDULE_SLOTS_MAX as usize);
    assert!((0..weights.len() as u32).all(|i| live.schedule.contains(&i)));
}

#[test]
fn every_balance_shares_equally_between_equals() {
    for balance in all_balances() {
        let counts = Field::new(balance.clone(), None, &[100; 5]).short(5_000);
        assert!(
            counts.iter().all(|&n| near(n, 1_000)),
            "{balance:?}: {counts:?}"
        );
    }
}

#[test]
fn load_is_relative_to_weight() {
    for balance in all_balances() {
        let counts = Field::new(balance.clone(), None, &[100, 300]).long(4_000);
        assert!(near(counts[1] as usize, 3_000), "{balance:?}: {counts:?}");
    }
    for balance in [Balance::LeastLoaded, Balance::RoundRobin] {
        let counts = Field::new(balance.clone(), None, &[100, 300]).short(4_000);
        assert!(near(counts[1], 3_000), "{balance:?} while idle: {counts:?}");
    }
}

#[test]
fn the_less_loaded_of_two_keeps_loads_close() {
    let counts = Field::new(Balance::LeastLoaded, None, &[100; 100]).long(10_000);
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(most - least <= 8, "{least} to {most}");
}

#[test]
fn least_connections_finds_the_one_idle_worker() {
    let mut field = Field::new(Balance::LeastConnections, None, &[100; 9]);
    for (i, worker) in field.workers.iter().enumerate() {
        (0..if i == 6 { 0 } else { 3 }).for_each(|_| assert!(worker.take(Kind::Request, None)));
    }
    assert_eq!(field.take(), Some(6));
}

#[test]
fn a_key_keeps_its_worker_and_no_key_is_balanced_by_load() {
    let mut field = Field::new(Balance::Hash(HashKey::Address), None, &[100; 7]);
    for key in 0..50 {
        let mut workers: Vec<_> = (0..5)
            .map(|_| {
                let ask = Ask {
                    key: Some(key),
                    ..field.ask()
                };
                field.take_for(&ask)
            })
            .collect();
        workers.dedup();
        assert_eq!(workers.len(), 1);
    }
    let mut field = Field::new(Balance::Hash(HashKey::Address), None, &[100; 7]);
    assert!(field.long(700).iter().all(|&n| near(n as usize, 100)));
}

#[test]
fn idle_streams_do_not_keep_requests_away() {
    let mut field = Field::new(Balance::LeastLoaded, None, &[100, 100]);
    (0..160).for_each(|_| assert!(field.workers[0].take(Kind::Stream, None)));
    let counts = field.long(200);
    assert!(counts[0] > 80, "{counts:?}");
    // A stream goes where there are fewer streams, whatever the requests.
    let ask = Ask {
        kind: Kind::Stream,
        ..field.ask()
    };
    assert_eq!(field.take_for(&ask), Some(1));
}

#[test]
fn workers_already_tried_are_avoided_if_there_is_any_other() {
    for balance in all_balances() {
        let mut field = Field::new(balance.clone(), None, &[100; 4]);
        for key in 0..200 {
            let tried = [WorkerId(0), WorkerId(2), WorkerId(3)];
            let ask = Ask {
                avoid: &tried,
                key: Some(key),
                ..field.ask()
            };
            assert_eq!(field.take_for(&ask), Some(1), "{balance:?}");
        }
        let all = [0, 1, 2, 3].map(WorkerId);
        let ask = Ask {
            avoid: &all,
            ..field.ask()
        };
        assert!(field.take_for(&ask).is_some(), "{balance:?}");
    }
}

#[test]
fn the_last_place_is_found_and_then_no_more() {
    for balance in all_balances() {
        let mut field = Field::new(balance.clone(), Some(2), &[100; 50]);
        for n in 0..100 {
            let ask = Ask {
                key: Some(n % 3),
                ..field.ask()
            };
            assert!(field.take_for(&ask).is_some(), "{balance:?}: place {n}");
        }
        assert_eq!(field.take(), None, "{balance:?}");
        assert!(!field.live.has_room(&field.workers, Some(2)));
        field.workers[17].release(Kind::Request);
        assert!(field.live.has_room(&field.workers, Some(2)));
        assert_eq!(field.take(), Some(17), "{balance:?}");
    }
}

#[test]
fn a_new_worker_starts_with_a_tenth_and_grows() {
    for balance in [Balance::LeastLoaded, Balance::RoundRobin] {
        let mut field = Field::new(balance.clone(), None, &[100; 2]);
        field.rules.slow_start = 10_000;
        let members = vec![Member::new(0, 100, 0), Member::new(1, 100, 100_000)];
        field.live = Live::build(members, &field.rules, &field.workers, &Live::default());
        let mut shares = Vec::new();
        for after in [0, 5_000, 10_000] {
            let mut new = 0;
            for _ in 0..2_000 {
                let ask = Ask {
                    now: 100_000 + after,
                    ..field.ask()
                };
                let taken = field.take_for(&ask).unwrap();
                field.workers[taken as usize].release(Kind::Request);
                new += taken;
            }
            shares.push(new as f64 / 2_000.0);
        }
        assert!(
            shares[0] < 0.15 && shares[0] > 0.02,
            "{balance:?}: {shares:?}"
        );
        assert!(
            shares[0] < shares[1] && shares[1] < shares[2],
            "{balance:?}: {shares:?}"
        );
        assert!((0.45..0.55).contains(&shares[2]), "{balance:?}: {shares:?}");
    }
}

proptest! {
    /// Whatever is full, avoided or starting: a place is found if and only if there is one.
    #[test]
    fn a_place_is_found_if_there_is_one(
        which in 0usize..4,
        weights in prop::collection::vec(1u16..1000, 1..12),
        taken in prop::collection::vec(0u32..3, 12),
        avoid in prop::collection::vec((0u32..14).prop_map(WorkerId), 0..4),
        key in prop::option::of(any::<u64>()),
        random in any::<u64>(),
        freed in 0u32..14,
        now in 0u64..2_000,
    ) {
        let mut field = Field::new(all_balances()[which].clone(), Some(2), &weights);
        field.rules.slow_start = 1_000;
        for (worker, taken) in field.workers.iter().zip(&taken) {
            (0..*taken).for_each(|_| assert!(worker.take(Kind::Request, None)));
        }
        let room = field.workers.iter().any(|worker| worker.requests() < 2);
        let found = field.take_for(&Ask { key, avoid: &avoid, random, kind: Kind::Request, now, freed });
        prop_assert_eq!(found.is_some(), room);
        prop_assert!(field.workers.iter().all(|worker| worker.requests() <= 2));
        let fresh = |(i, taken): (usize, &u32)| *taken < 2 && !avoid.contains(&WorkerId(i as u32));
        if taken.iter().take(weights.len()).enumerate().any(fresh) {
            prop_assert!(!avoid.contains(&WorkerId(found.unwrap())));
        }
    }
}
