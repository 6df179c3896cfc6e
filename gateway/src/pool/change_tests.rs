use super::super::testing::{health, model};
use super::*;
use crate::config::model::{self, Check, Discovery};
use crate::pool::{Pick, Want};
use tokio::sync::Notify;

const SECOND: Duration = Duration::from_secs(1);

fn http() -> Check {
    Check::Http {
        method: "GET".into(),
        path: "/".into(),
        host: None,
        expect: (200, 399),
    }
}

/// A pool with so many ports, of which the first `up` listen.
fn pool_of(ports: u16, up: u32, change: impl FnOnce(&mut model::Pool)) -> (Arc<Pool>, Instant) {
    let now = Instant::now();
    let mut model = model(ports);
    change(&mut model);
    let pool = Pool::new(model, now);
    let all: Vec<_> = (0..up).map(|i| (WorkerId(i), true)).collect();
    pool.set_listening_all(&all, now);
    (pool, now)
}

fn state(pool: &Pool, i: u32) -> State {
    pool.snapshot()[i as usize].state
}

fn fail(pool: &Pool, i: u32, times: u32, now: Instant) -> Option<Transition> {
    (0..times)
        .filter_map(|_| pool.report(WorkerId(i), Outcome::ConnectionLost, now))
        .last()
}

#[test]
fn a_range_is_hosts_times_ports_and_nothing_of_it_is_up_before_it_is_found() {
    let now = Instant::now();
    let mut model = model(10);
    model.ports.push(model::PortRange {
        first: 65_535,
        last: 65_535,
    });
    model.hosts.push(model::Host {
        address: "::1".parse().unwrap(),
        weight: 50,
    });
    let pool = Pool::new(model.clone(), now);
    assert_eq!(pool.workers().len(), 22);
    assert_eq!(pool.workers()[10].addr().to_string(), "127.0.0.1:65535");
    assert_eq!(pool.workers()[11].addr().to_string(), "[::1]:9001");
    assert_eq!(pool.workers()[11].weight(), 50);
    assert_eq!(pool.live(), 0);
    model.discovery = Discovery::Static;
    assert_eq!(Pool::new(model, now).live(), 22);
}

#[test]
fn a_worker_is_up_when_it_listens_and_absent_when_it_does_not() {
    let (pool, now) = pool_of(3, 0, |_| ());
    let up = pool.set_listening(WorkerId(1), true, now).unwrap();
    assert_eq!(
        (up.from, up.to, &*up.pool),
        (State::Absent, State::Up, "api")
    );
    assert_eq!(up.worker.port(), 9002);
    assert_eq!(pool.set_listening(WorkerId(1), true, now), None);
    assert_eq!(pool.live(), 1);
    let down = pool
        .set_listening(WorkerId(1), false, now + SECOND)
        .unwrap();
    assert_eq!(
        (down.from, down.to, &*down.reason),
        (State::Up, State::Absent, "no longer listens")
    );
    assert_eq!(pool.live(), 0);
    assert_eq!(pool.snapshot()[1].since, now + SECOND);
    assert_eq!(pool.set_listening(WorkerId(77), true, now), None);
}

#[test]
fn a_worker_that_begins_to_listen_is_checked_before_it_gets_traffic() {
    let (pool, now) = pool_of(2, 1, |model| model.health = Some(health(http(), 2, 2)));
    let check = |good| {
        pool.check_result(WorkerId(0), good, "status 500", now)
            .map(|t| t.to)
    };
    assert_eq!(state(&pool, 0), State::Unchecked);
    assert_eq!(check(true), None);
    assert_eq!(check(true), Some(State::Up));
    assert_eq!(check(false), None);
    assert_eq!(check(false), Some(State::Unhealthy));
    assert_eq!(pool.snapshot()[0].reason, "check failed: status 500");
    assert_eq!(pool.live(), 0);
    // A check of a worker that is gone says nothing.
    pool.set_listening(WorkerId(0), false, now);
    assert_eq!(check(true), None);
    // A new process is checked anew.
    pool.set_listening(WorkerId(0), true, now);
    assert_eq!(state(&pool, 0), State::Unchecked);
}

#[test]
fn finding_the_listener_is_as_good_as_a_tcp_check() {
    let (pool, _) = pool_of(1, 1, |model| model.health = Some(health(Check::Tcp, 1, 3)));
    assert_eq!(state(&pool, 0), State::Up);
    let (pool, _) = pool_of(1, 1, |model| model.health = Some(health(Check::Tcp, 2, 3)));
    assert_eq!(state(&pool, 0), State::Unchecked);
}

#[test]
fn failures_in_a_row_eject_and_the_rest_ends() {
    let (pool, now) = pool_of(4, 4, |_| ());
    assert_eq!(fail(&pool, 2, 4, now), None);
    pool.report(WorkerId(2), Outcome::Answered(200), now);
    assert_eq!(fail(&pool, 2, 4, now), None);
    let ejected = fail(&pool, 2, 1, now).unwrap();
    assert_eq!((ejected.from, ejected.to), (State::Up, State::Ejected));
    assert_eq!(pool.snapshot()[2].rest_ends, Some(now + 10 * SECOND));
    assert_eq!(pool.live(), 3);
    assert!(pool.tick(now + 9 * SECOND).is_empty());
    let back = pool.tick(now + 11 * SECOND);
    assert_eq!(back.len(), 1);
    assert_eq!((back[0].from, back[0].to), (State::Ejected, State::Up));
    assert_eq!(pool.snapshot()[2].failures, 0);
    // A relapse rests twice as long.
    fail(&pool, 2, 5, now + 12 * SECOND);
    assert_eq!(pool.snapshot()[2].rest_ends, Some(now + 32 * SECOND));
}

#[test]
fn only_so_many_rest_and_never_the_last() {
    let (pool, now) = pool_of(4, 4, |_| ());
    for worker in 0..4 {
        fail(&pool, worker, 50, now);
    }
    assert_eq!(pool.live(), 2);
    let (pool, now) = pool_of(1, 1, |_| ());
    assert_eq!(fail(&pool, 0, 50, now), None);
    let (pool, now) = pool_of(2, 2, |model| model.outlier.consecutive_failures = 0);
    assert_eq!(fail(&pool, 0, 50, now), None);
}

#[test]
fn a_resting_worker_is_let_back_when_the_others_go() {
    let (pool, now) = pool_of(2, 2, |_| ());
    fail(&pool, 0, 5, now);
    assert_eq!(
        (state(&pool, 0), state(&pool, 1)),
        (State::Ejected, State::Up)
    );
    pool.set_listening(WorkerId(1), false, now);
    assert_eq!((state(&pool, 0), pool.live()), (State::Up, 1));
    // The change of the other worker is told by the next tick.
    let told = pool.tick(now);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].worker.port(), told[0].to), (9001, State::Up));
    assert!(pool.tick(now).is_empty());
}

#[test]
fn a_refused_connection_takes_a_local_worker_out_and_asks_for_a_look() {
    let (pool, now) = pool_of(2, 2, |_| ());
    let rescan = Arc::new(Notify::new());
    pool.on_rescan_wanted(Arc::clone(&rescan));
    pool.workers()[0].set_local(true);
    let down = pool
        .report(WorkerId(0), Outcome::ConnectRefused, now)
        .unwrap();
    assert_eq!(
        (down.to, &*down.reason),
        (State::Absent, "connection refused")
    );
    assert_eq!(pool.live(), 1);
    assert!(Box::pin(rescan.notified_owned()).as_mut().enable());
    assert!(pool.workers()[0].take_suspect());
    assert!(!pool.workers()[0].take_suspect());
    // A distant worker stays, but is looked at too.
    assert_eq!(pool.report(WorkerId(1), Outcome::ConnectRefused, now), None);
    assert!(pool.workers()[1].take_suspect());
}

#[test]
fn a_worker_that_refuses_although_it_listens_rests_in_the_end() {
    let (pool, now) = pool_of(3, 3, |_| ());
    pool.workers()[0].set_local(true);
    for _ in 0..5 {
        pool.report(WorkerId(0), Outcome::ConnectRefused, now);
        pool.set_listening(WorkerId(0), true, now);
    }
    assert_eq!(state(&pool, 0), State::Ejected);
    // One that was really gone starts with a clean sheet.
    pool.set_listening(WorkerId(0), false, now);
    pool.set_listening(WorkerId(0), true, now);
    assert_eq!(state(&pool, 0), State::Up);
}

#[test]
fn a_drained_worker_gets_nothing_until_the_drain_ends() {
    let (pool, now) = pool_of(2, 2, |_| ());
    assert_eq!(
        pool.set_drain(WorkerId(0), true, now).unwrap().to,
        State::Draining
    );
    assert_eq!(pool.set_drain(WorkerId(0), true, now), None);
    assert_eq!(pool.live(), 1);
    assert_eq!(
        pool.set_drain(WorkerId(0), false, now).unwrap().to,
        State::Up
    );
}

#[test]
fn a_successor_begins_with_what_was_known() {
    let (pool, now) = pool_of(4, 4, |_| ());
    fail(&pool, 2, 5, now);
    pool.set_drain(WorkerId(3), true, now);
    let mut model = model(3);
    model.ports[0].first = 9002;
    let next = Pool::succeed(model, &pool, now + SECOND);
    let states: Vec<_> = next.snapshot().iter().map(|s| s.state).collect();
    // 9002 was up, 9003 rests; of two, one may.
    assert_eq!(states, [State::Up, State::Ejected]);
    assert_eq!(next.live(), 1);
    assert_eq!(next.snapshot()[0].since, now);
}

#[test]
fn a_successor_counts_on_and_counts_no_worker_twice() {
    let (pool, now) = pool_of(3, 3, |_| ());
    fail(&pool, 1, 5, now);
    let counted = |pool: &Pool| {
        let stats = pool.stats();
        [&stats.ups, &stats.downs, &stats.ejections].map(|count| count.load(Ordering::Relaxed))
    };
    let before = counted(&pool);
    assert_eq!(before, [3, 1, 1]);
    let next = Pool::succeed(model(3), &pool, now + SECOND);
    assert_eq!(counted(&next), before);
    // What still runs in the old one is counted for both.
    pool.set_drain(WorkerId(0), true, now + SECOND);
    assert_eq!(counted(&next), [3, 2, 1]);
}

#[test]
fn a_change_of_the_checks_takes_no_worker_out() {
    let (pool, now) = pool_of(2, 2, |_| ());
    let mut model = model(2);
    model.health = Some(health(http(), 3, 1));
    let next = Pool::succeed(model.clone(), &pool, now);
    assert_eq!(next.live(), 2);
    let down = next.check_result(WorkerId(0), false, "status 500", now);
    assert_eq!(down.unwrap().to, State::Unhealthy);
    // And what failed before is not let in either.
    model.health = Some(health(http(), 1, 1));
    assert_eq!(Pool::succeed(model, &next, now).live(), 1);
}

#[test]
fn a_successor_goes_on_with_a_slow_start() {
    let slow = |model: &mut model::Pool| model.slow_start = 10 * SECOND;
    let (pool, now) = pool_of(2, 1, slow);
    let later = now + 60 * SECOND;
    pool.set_listening(WorkerId(1), true, later);
    let mut model = model(2);
    slow(&mut model);
    let next = Pool::succeed(model, &pool, later + SECOND);
    let mut picks = [0; 2];
    for random in 0..500u64 {
        let want = Want {
            random: random.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            ..Want::default()
        };
        if let Pick::Worker(lease) = next.pick(&want, later + SECOND) {
            picks[lease.worker().index()] += 1;
        }
    }
    assert!(picks[1] > 0 && picks[1] < picks[0] / 2, "{picks:?}");
}
