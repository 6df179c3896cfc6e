use std::collections::BTreeSet;

use super::*;

/// Plays the schedule against a world of ports. Attempts take 1 ms, silent ones the whole timeout.
struct World {
    schedule: Schedule,
    start: Instant,
    now: Instant,
    open: BTreeSet<usize>,
    silent: bool,
    under_way: Vec<(Instant, usize)>,
    /// (when, which)
    attempts: Vec<(Instant, usize)>,
    listening: BTreeSet<usize>,
    random: fastrand::Rng,
}

impl World {
    fn new(ports: u16, open: &[usize]) -> World {
        let targets: Vec<_> = (0..ports)
            .map(|i| Target {
                group: 0,
                port: 8000 + i,
                open: false,
            })
            .collect();
        let now = Instant::now();
        World {
            schedule: Schedule::new(&targets, now),
            start: now,
            now,
            open: open.iter().copied().collect(),
            silent: false,
            under_way: Vec::new(),
            attempts: Vec::new(),
            listening: BTreeSet::new(),
            random: fastrand::Rng::with_seed(7),
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            while let Some(i) = self.schedule.take_due(self.now) {
                let open = self.open.contains(&i);
                let takes = if self.silent && !open {
                    PROBE_TIMEOUT
                } else {
                    Duration::from_millis(1)
                };
                self.under_way.push((self.now + takes, i));
                self.attempts.push((self.now, i));
                assert!(self.under_way.len() <= IN_FLIGHT_MAX);
            }
            let answer_at = self.under_way.iter().map(|&(at, _)| at).min();
            let next = [self.schedule.next_at(), answer_at]
                .into_iter()
                .flatten()
                .min()
                .unwrap();
            assert!(next >= self.now);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            while let Some(k) = self.under_way.iter().position(|&(at, _)| at <= self.now) {
                let (_, i) = self.under_way.swap_remove(k);
                let found = match (self.open.contains(&i), self.silent) {
                    (true, _) => Found::Listens,
                    (false, true) => Found::Silent,
                    (false, false) => Found::Refuses,
                };
                if self.schedule.found(i, found, self.now, self.random.u64(..)) {
                    self.listening.insert(i);
                } else {
                    self.listening.remove(&i);
                }
            }
        }
    }

    fn attempts_since(&self, since: Instant, port: usize) -> usize {
        self.attempts
            .iter()
            .filter(|&&(at, i)| at >= since && i == port)
            .count()
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_large_range_is_known_within_seconds_and_then_costs_little() {
    let mut world = World::new(990, &[0, 1, 500, 989]);
    world.run(6 * SECOND);
    assert_eq!(world.listening, world.open);
    world.run(120 * SECOND);
    let settled = world.now;
    world.run(60 * SECOND);
    let per_second = world
        .attempts
        .iter()
        .filter(|&&(at, _)| at >= settled)
        .count()
        / 60;
    assert!(per_second < 60, "{per_second} attempts per second");
    assert!(
        (25..=38).contains(&world.attempts_since(settled, 500)),
        "live: every two seconds"
    );
    assert!(
        (12..=20).contains(&world.attempts_since(settled, 502)),
        "near: every four seconds"
    );
    assert!(
        (1..=3).contains(&world.attempts_since(settled, 250)),
        "empty: every thirty seconds"
    );
}

#[test]
fn the_budget_holds_in_every_second() {
    for silent in [false, true] {
        let mut world = World::new(5_000, &[3, 77]);
        world.silent = silent;
        world.run(90 * SECOND);
        let times: Vec<Instant> = world.attempts.iter().map(|&(at, _)| at).collect();
        let most = (0..times.len())
            .map(|i| {
                times[i..]
                    .iter()
                    .take_while(|&&at| at < times[i] + SECOND)
                    .count()
            })
            .max()
            .unwrap();
        assert!(
            most <= (PROBES_PER_SECOND + BURST) as usize,
            "{most} in a second"
        );
        assert!(times.last().unwrap() > &(world.start + 89 * SECOND));
        assert_eq!(world.listening, world.open);
    }
}

#[test]
fn a_worker_that_goes_is_out_at_once_and_found_again_within_seconds() {
    let mut world = World::new(990, &[10, 600]);
    world.run(60 * SECOND);
    world.open.remove(&600);
    world.run(3 * SECOND);
    assert_eq!(world.listening, BTreeSet::from([10]));
    world.run(20 * SECOND);
    world.open.insert(600);
    world.run(2 * SECOND);
    assert_eq!(world.listening, world.open);
}

#[test]
fn a_neighbour_of_a_live_port_is_found_sooner() {
    let mut world = World::new(990, &[10]);
    world.run(120 * SECOND);
    world.open.insert(11);
    world.run(5 * SECOND);
    assert_eq!(world.listening, world.open);
}

#[test]
fn many_live_ports_do_not_starve_the_empty_ones() {
    let live: Vec<usize> = (0..2_000).collect();
    let mut world = World::new(3_000, &live);
    world.run(60 * SECOND);
    let since = world.now;
    world.open.insert(2_500);
    world.run(60 * SECOND);
    assert!(world.attempts_since(since, 2_500) > 0);
    assert!(world.listening.contains(&2_500));
}

#[test]
fn one_lost_packet_takes_no_worker_out() {
    let now = Instant::now();
    let mut schedule = Schedule::new(
        &[Target {
            group: 0,
            port: 80,
            open: true,
        }],
        now,
    );
    let mut attempt = |found| {
        let now = now + 100 * SECOND;
        schedule.hurry(0, now);
        assert_eq!(schedule.take_due(now), Some(0));
        schedule.found(0, found, now, 0)
    };
    assert!(attempt(Found::Silent));
    assert!(attempt(Found::Listens));
    assert!(attempt(Found::Silent));
    assert!(!attempt(Found::Silent));
    assert!(attempt(Found::Listens));
    assert!(!attempt(Found::Refuses));
}

#[test]
fn who_is_in_a_hurry_while_under_way_is_tried_again() {
    let now = Instant::now();
    let mut schedule = Schedule::new(
        &[Target {
            group: 0,
            port: 80,
            open: true,
        }],
        now,
    );
    assert_eq!(schedule.take_due(now), Some(0));
    schedule.hurry(0, now);
    assert_eq!(schedule.take_due(now), None);
    assert!(schedule.found(0, Found::Listens, now, 0));
    assert_eq!(schedule.take_due(now), Some(0));
}

#[tokio::test]
async fn a_listener_is_told_from_an_empty_port() {
    let port = super::super::testing::Port::at("127.0.0.1");
    let listener = port.listen();
    assert_eq!(probe(port.addr).await, Found::Listens);
    drop(listener);
    assert_eq!(probe(port.addr).await, Found::Refuses);
}
