//! Does a pool keep its promises whatever happens, in whatever order?
//!
//! A seeded world drives a pool: workers start and stop, pass and fail checks, answer well and
//! badly, operators drain, time passes, requests come, wait and go. After every step the promises
//! are compared with a plain model of who must be live. A failure prints the seed; to play it
//! again, set `POOL_SIMULATION_SEED`.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use fastrand::Rng;
use gateway::config::model::{
    self, Balance, Check, Discovery, HashKey, Health, Hold, Host, Outlier, PortRange, Queue, Retry,
    WorkerProtocol,
};
use gateway::pool::{
    Kind, Lease, Outcome, Pick, Pool, Reason, State, Transition, Waiting, Want, WorkerId,
};

/// A request that is under way, with what the world knows of it.
struct Flight {
    lease: Lease,
    kind: Kind,
}

/// What the world knows of a worker.
#[derive(Clone, Copy, Debug, Default)]
struct Truth {
    listening: bool,
    draining: bool,
    good_in_a_row: u32,
    bad_in_a_row: u32,
    healthy: bool,
    requests: u32,
    streams: u32,
}

struct World {
    rng: Rng,
    pool: Arc<Pool>,
    now: Instant,
    truth: Vec<Truth>,
    flights: Vec<Flight>,
    waiting: Vec<Waiting>,
    /// The state of each worker as told by transitions alone.
    told: Vec<State>,
}

fn random_model(rng: &mut Rng) -> model::Pool {
    let hosts = rng.u8(1..3);
    let hosts: Vec<Host> = (1..=hosts)
        .map(|i| Host {
            address: [127, 0, 0, i].into(),
            weight: if rng.bool() { 100 } else { rng.u16(1..=1000) },
        })
        .collect();
    let health = Health {
        check: if rng.bool() {
            Check::Tcp
        } else {
            Check::Grpc {
                service: String::new(),
            }
        },
        interval: Duration::from_secs(5),
        interval_failing: Duration::from_secs(1),
        timeout: Duration::from_secs(2),
        rise: rng.u32(1..4),
        fall: rng.u32(1..4),
    };
    model::Pool {
        name: "simulated".into(),
        hosts,
        ports: vec![PortRange {
            first: 9000,
            last: 9000 + rng.u16(0..12),
        }],
        protocol: WorkerProtocol::Http1,
        balance: [
            Balance::LeastLoaded,
            Balance::RoundRobin,
            Balance::LeastConnections,
            Balance::Hash(HashKey::Address),
        ][rng.usize(0..4)]
        .clone(),
        discovery: Discovery::Auto,
        health: rng.bool().then_some(health),
        outlier: Outlier {
            consecutive_failures: rng.u32(0..6),
            rest: Duration::from_secs(rng.u64(0..20)),
            rest_max: Duration::from_secs(60),
            ejected_share_max: rng.u8(0..=100),
        },
        hold: Hold {
            time: Duration::from_secs(30),
            requests_max: 5,
        },
        queue: Queue {
            time: Duration::from_secs(30),
            requests_max: 5,
        },
        worker_in_flight_max: rng.bool().then(|| rng.u32(1..5)),
        slow_start: Duration::from_secs(if rng.bool() { 0 } else { 10 }),
        connect_timeout: Duration::from_secs(3),
        response_timeout: Duration::from_secs(305),
        body_timeout: Duration::from_secs(305),
        idle_timeout: Duration::from_secs(30),
        retry: Retry {
            attempts_max: 3,
            budget_percent: 20,
            budget_min_per_second: 10,
            body_bytes_max: 65_536,
        },
        head_bytes_max: 65_536,
        streams_max: 100,
        send_proxy: None,
        sticky: None,
        maintenance: None,
        abort_on_close: false,
        tls: None,
    }
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = Rng::with_seed(seed);
        let now = Instant::now();
        let pool = Pool::new(random_model(&mut rng), now);
        let workers = pool.workers().len();
        for worker in pool.workers() {
            worker.set_local(rng.bool());
        }
        World {
            rng,
            now,
            truth: vec![Truth::default(); workers],
            flights: Vec::new(),
            waiting: Vec::new(),
            told: vec![State::Absent; workers],
            pool,
        }
    }

    fn step(&mut self) {
        let any = self.rng.usize(0..self.truth.len());
        match self.rng.u8(0..24) {
            0 | 1 => self.listen(any, true),
            2 => self.listen(any, false),
            3 => {
                let drain = self.rng.u8(0..3) == 0;
                self.truth[any].draining = drain;
                let change = self.pool.set_drain(id(any), drain, self.now);
                self.hear(change);
            }
            4..=6 => self.check(any),
            7 => self.now += Duration::from_millis(self.rng.u64(0..15_000)),
            8 => self.tick(),
            9..=15 => self.request(),
            16..=19 => self.finish(),
            20 => self.become_stream(),
            21 | 22 => self.try_waiting(),
            _ => self.give_up(),
        }
        self.keeps_its_promises();
    }

    fn listen(&mut self, i: usize, listening: bool) {
        if !self.truth[i].listening && listening {
            self.begins_to_listen(i);
        }
        self.truth[i].listening = listening;
        let change = self.pool.set_listening(id(i), listening, self.now);
        self.hear(change);
    }

    fn begins_to_listen(&mut self, i: usize) {
        let health = self.pool.model().health.clone();
        let truth = &mut self.truth[i];
        (truth.good_in_a_row, truth.bad_in_a_row, truth.healthy) = (0, 0, health.is_none());
        if let Some(health) = health.filter(|health| health.check == Check::Tcp) {
            truth.good_in_a_row = 1;
            truth.healthy = health.rise <= 1;
        }
    }

    fn check(&mut self, i: usize) {
        let good = self.rng.u8(0..3) > 0;
        let truth = &mut self.truth[i];
        if let Some(health) = &self.pool.model().health
            && truth.listening
        {
            if good {
                truth.good_in_a_row += 1;
                truth.bad_in_a_row = 0;
                truth.healthy |= truth.good_in_a_row >= health.rise;
            } else {
                truth.bad_in_a_row += 1;
                truth.good_in_a_row = 0;
                truth.healthy &= truth.bad_in_a_row < health.fall;
            }
        }
        let change = self.pool.check_result(id(i), good, "simulated", self.now);
        self.hear(change);
    }

    fn tick(&mut self) {
        let changes = self.pool.tick(self.now);
        changes
            .into_iter()
            .for_each(|change| self.hear(Some(change)));
    }

    fn request(&mut self) {
        let kind = if self.rng.u8(0..6) == 0 {
            Kind::Stream
        } else {
            Kind::Request
        };
        let avoid: Vec<_> = (0..self.rng.usize(0..3))
            .map(|_| id(self.rng.usize(0..self.truth.len())))
            .collect();
        let want = Want {
            home: None,
            key: self.rng.bool().then(|| self.rng.u64(0..20)),
            avoid: &avoid,
            random: self.rng.u64(..),
            kind,
        };
        let anybody_waits = !self.waiting.is_empty();
        match self.pool.pick(&want, self.now) {
            Pick::Worker(lease) => {
                let picked = lease.worker();
                let other = |i: usize| {
                    self.told[i] == State::Up && !avoid.contains(&id(i)) && self.has_room(i)
                };
                let other = (0..self.truth.len()).any(other);
                assert!(
                    !(avoid.contains(&picked) && other),
                    "{picked:?} was to be avoided"
                );
                self.begin(lease, kind);
            }
            Pick::Full => {
                assert!(kind == Kind::Request && self.live() > 0);
                assert!(
                    anybody_waits
                        || (0..self.truth.len())
                            .all(|i| self.told[i] != State::Up || !self.has_room(i))
                );
                let places = self.came_in(Reason::Queue) < 5;
                let waiting = self.pool.queue();
                assert_eq!(waiting.is_ok(), places);
                self.waiting.extend(waiting);
            }
            Pick::Empty => {
                assert_eq!(self.live(), 0);
                let places = self.came_in(Reason::Hold) < 5;
                let waiting = self.pool.hold();
                assert_eq!(waiting.is_ok(), places);
                self.waiting.extend(waiting);
            }
        }
    }

    fn begin(&mut self, lease: Lease, kind: Kind) {
        let i = lease.worker().index();
        assert_eq!(self.told[i], State::Up, "picked a worker that is not live");
        match kind {
            Kind::Request => self.truth[i].requests += 1,
            Kind::Stream => self.truth[i].streams += 1,
        }
        self.flights.push(Flight { lease, kind });
    }

    fn finish(&mut self) {
        if self.flights.is_empty() {
            return;
        }
        let Flight { lease, kind } = self
            .flights
            .swap_remove(self.rng.usize(0..self.flights.len()));
        let worker = lease.worker();
        let outcome = match self.rng.u8(0..8) {
            0 | 1 => Outcome::Answered(200),
            2 => Outcome::Answered(503),
            3 => Outcome::ConnectRefused,
            4 => Outcome::ConnectTimeout,
            5 => Outcome::ConnectionLost,
            6 => Outcome::ResponseTimeout,
            _ => Outcome::BadAnswer,
        };
        let i = worker.index();
        if outcome == Outcome::ConnectRefused && self.pool.workers()[i].is_local() {
            self.truth[i].listening = false;
        }
        let change = self.pool.report(worker, outcome, self.now);
        self.hear(change);
        match kind {
            Kind::Request => self.truth[i].requests -= 1,
            Kind::Stream => self.truth[i].streams -= 1,
        }
        drop(lease);
    }

    fn become_stream(&mut self) {
        let Some(flight) = self.flights.last_mut() else {
            return;
        };
        if flight.kind == Kind::Request {
            flight.kind = Kind::Stream;
            flight.lease.make_stream();
            let truth = &mut self.truth[flight.lease.worker().index()];
            truth.requests -= 1;
            truth.streams += 1;
        }
    }

    /// How many wait who came in for this reason, whatever they wait for now: that is what is bounded.
    fn came_in(&self, reason: Reason) -> usize {
        let (held, queued) = self.pool.waiting();
        assert_eq!(held as usize + queued as usize, self.waiting.len());
        let came = self.waiting.iter();
        came.filter(|waiting| waiting.reason() == reason).count()
    }

    /// Everybody who waits is polled, as a runtime would do.
    fn try_waiting(&mut self) {
        let mut still = Vec::new();
        for mut waiting in std::mem::take(&mut self.waiting) {
            let want = Want {
                random: self.rng.u64(..),
                ..Want::default()
            };
            match waiting.pick(&want, self.now) {
                Pick::Worker(lease) => {
                    drop(waiting);
                    self.begin(lease, Kind::Request);
                }
                Pick::Full | Pick::Empty => {
                    let _ = woken(&mut waiting);
                    still.push(waiting);
                }
            }
        }
        self.waiting = still;
    }

    fn give_up(&mut self) {
        if !self.waiting.is_empty() {
            drop(
                self.waiting
                    .swap_remove(self.rng.usize(0..self.waiting.len())),
            );
        }
    }

    /// Follows the transitions. What happened to other workers is told by a tick, so one follows.
    fn hear(&mut self, change: Option<Transition>) {
        let mut changes: Vec<_> = change.into_iter().collect();
        changes.extend(self.pool.tick(self.now));
        for change in changes {
            let i = self
                .pool
                .workers()
                .iter()
                .position(|worker| worker.addr() == change.worker);
            let i = i.expect("a transition of an unknown worker");
            assert_eq!(self.told[i], change.from, "a transition went missing");
            assert_ne!(change.from, change.to);
            self.told[i] = change.to;
        }
    }

    fn has_room(&self, i: usize) -> bool {
        self.pool
            .model()
            .worker_in_flight_max
            .is_none_or(|cap| self.pool.workers()[i].requests() < cap)
    }

    fn live(&self) -> usize {
        self.told
            .iter()
            .filter(|&&state| state == State::Up)
            .count()
    }

    fn keeps_its_promises(&mut self) {
        let snapshot = self.pool.snapshot();
        let (mut able, mut resting) = (0, 0);
        for (i, (worker, truth)) in snapshot.iter().zip(&self.truth).enumerate() {
            assert_eq!(worker.state, self.told[i], "worker {i}: told otherwise");
            assert_eq!(
                (worker.requests, worker.streams),
                (truth.requests, truth.streams),
                "worker {i}"
            );
            if let Some(cap) = self.pool.model().worker_in_flight_max {
                assert!(worker.requests <= cap, "worker {i} above its cap");
            }
            let is_able = truth.listening && !truth.draining && truth.healthy;
            let looks_able = matches!(worker.state, State::Up | State::Ejected);
            assert_eq!(
                looks_able, is_able,
                "worker {i}: {truth:?} is {}",
                worker.state
            );
            able += usize::from(is_able);
            resting += usize::from(worker.state == State::Ejected);
        }
        assert_eq!(self.pool.live(), self.live());
        assert!(able == 0 || self.live() > 0, "all {able} workers rest");
        let share = usize::from(self.pool.model().outlier.ejected_share_max);
        assert!(
            resting * 100 <= able * share,
            "{resting} of {able} rest, {share} % may"
        );
        let stats = self.pool.stats();
        let (ups, downs) = (
            stats.ups.load(Ordering::Relaxed),
            stats.downs.load(Ordering::Relaxed),
        );
        assert_eq!(ups - downs, self.live() as u64);
    }

    /// When everything ends well, nobody is left waiting and nothing is left over.
    fn ends_well(mut self) {
        for i in 0..self.truth.len() {
            self.truth[i].draining = false;
            let change = self.pool.set_drain(id(i), false, self.now);
            self.hear(change);
            self.listen(i, true);
            for _ in 0..5 {
                let change = self.pool.check_result(id(i), true, "", self.now);
                self.hear(change);
            }
        }
        assert!(self.live() > 0);
        while !self.waiting.is_empty() {
            // Each wakes the next, and a wake-up is one pass ahead of the try.
            for _ in 0..2 * self.waiting.len() + 2 {
                self.try_waiting();
            }
            let room = (0..self.truth.len()).any(|i| self.told[i] == State::Up && self.has_room(i));
            assert!(
                self.waiting.is_empty() || !room,
                "{} wait though there is room",
                self.waiting.len()
            );
            self.flights.pop();
        }
        self.flights.clear();
        assert_eq!(self.pool.waiting(), (0, 0));
        assert!(
            self.pool
                .workers()
                .iter()
                .all(|worker| worker.requests() == 0 && worker.streams() == 0)
        );
    }
}

fn id(i: usize) -> WorkerId {
    WorkerId(i as u32)
}

fn woken(waiting: &mut Waiting) -> bool {
    let woken = pin!(waiting.woken());
    woken.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
}

/// Names the seed when a test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with POOL_SIMULATION_SEED={}", self.0);
        }
    }
}

fn seeds(count: u64) -> (u64, u64) {
    match std::env::var("POOL_SIMULATION_SEED") {
        Ok(seed) => (seed.parse().expect("POOL_SIMULATION_SEED is a number"), 1),
        Err(_) => (fastrand::u64(..u64::MAX / 2), count),
    }
}

#[test]
fn a_pool_keeps_its_promises_whatever_happens() {
    let (first, count) = seeds(150);
    println!("seeds from {first}");
    for seed in first..first + count {
        let seed = Seed(seed);
        let mut world = World::new(seed.0);
        for _ in 0..400 {
            world.step();
        }
        world.ends_well();
    }
}

#[test]
fn load_stays_balanced_while_workers_come_and_go() {
    let (first, count) = seeds(20);
    println!("seeds from {first}");
    for seed in first..first + count {
        let seed = Seed(seed);
        let mut rng = Rng::with_seed(seed.0);
        let mut model = random_model(&mut rng);
        model.hosts = vec![Host {
            address: [127, 0, 0, 1].into(),
            weight: 100,
        }];
        model.ports = vec![PortRange {
            first: 9000,
            last: 9019,
        }];
        model.balance = [Balance::LeastLoaded, Balance::LeastConnections][rng.usize(0..2)].clone();
        (model.health, model.worker_in_flight_max, model.slow_start) = (None, None, Duration::ZERO);
        let now = Instant::now();
        let pool = Pool::new(model, now);
        let mut flights: Vec<Lease> = Vec::new();
        for step in 0..20_000 {
            if step % 500 == 0 {
                let i = id(rng.usize(0..20));
                let listening = pool.workers()[i.index()].is_listening();
                pool.set_listening(i, !listening || pool.live() < 4, now);
            }
            if flights.len() > 200 {
                drop(flights.swap_remove(rng.usize(0..flights.len())));
            }
            let want = Want {
                random: rng.u64(..),
                ..Want::default()
            };
            if let Pick::Worker(lease) = pool.pick(&want, now) {
                flights.push(lease);
            }
            // Long enough after a change for the loads to have evened out.
            if step > 5_000 && step % 500 == 499 {
                let live = pool.workers().iter().filter(|worker| worker.is_listening());
                let loads: Vec<u32> = live.map(|worker| worker.requests()).collect();
                let mean = loads.iter().sum::<u32>() / loads.len() as u32;
                assert!(loads.iter().all(|&load| load <= 2 * mean + 8), "{loads:?}");
            }
        }
    }
}
