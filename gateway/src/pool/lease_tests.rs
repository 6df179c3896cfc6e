use std::future::Future;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::super::testing::model;
use super::*;

fn pool_of(ports: u16, up: u32, cap: Option<u32>) -> (Arc<Pool>, Instant) {
    let now = Instant::now();
    let mut model = model(ports);
    model.worker_in_flight_max = cap;
    model.queue.requests_max = 3;
    let pool = Pool::new(model, now);
    let all: Vec<_> = (0..up).map(|i| (WorkerId(i), true)).collect();
    pool.set_listening_all(&all, now);
    (pool, now)
}

fn lease(pick: Pick) -> Lease {
    match pick {
        Pick::Worker(lease) => lease,
        other => panic!("no worker: {other:?}"),
    }
}

fn woken(waiting: &mut Waiting) -> bool {
    let woken = std::pin::pin!(waiting.woken());
    woken.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
}

const ANY: Want<'static> = Want {
    key: None,
    home: None,
    avoid: &[],
    random: 7,
    kind: Kind::Request,
};

#[test]
fn an_empty_pool_says_empty_and_a_full_one_full() {
    let (pool, now) = pool_of(2, 0, Some(1));
    assert!(matches!(pool.pick(&ANY, now), Pick::Empty));
    pool.set_listening(WorkerId(1), true, now);
    let first = lease(pool.pick(&ANY, now));
    assert_eq!(first.addr().port(), 9002);
    assert!(matches!(pool.pick(&ANY, now), Pick::Full));
    drop(first);
    assert!(matches!(pool.pick(&ANY, now), Pick::Worker(_)));
    assert_eq!(pool.workers()[1].requests(), 0);
    assert_eq!(pool.stats().picks.load(Ordering::Relaxed), 2);
}

#[test]
fn a_lease_that_becomes_a_stream_makes_room() {
    let (pool, now) = pool_of(1, 1, Some(1));
    let stream = lease(pool.pick(&ANY, now)).into_stream();
    let second = lease(pool.pick(&ANY, now));
    assert_eq!(
        (pool.workers()[0].requests(), pool.workers()[0].streams()),
        (1, 1)
    );
    drop(stream.into_stream());
    drop(second);
    assert_eq!(
        (pool.workers()[0].requests(), pool.workers()[0].streams()),
        (0, 0)
    );
}

#[test]
fn all_held_requests_wake_when_a_worker_comes_up() {
    let (pool, now) = pool_of(2, 0, None);
    let mut held: Vec<_> = (0..5).map(|_| pool.hold().unwrap()).collect();
    for waiting in &mut held {
        assert!(matches!(waiting.pick(&ANY, now), Pick::Empty));
        assert!(!woken(waiting));
    }
    assert_eq!(pool.waiting(), (5, 0));
    pool.set_listening(WorkerId(0), true, now);
    for waiting in &mut held {
        assert!(woken(waiting));
        assert!(matches!(waiting.pick(&ANY, now), Pick::Worker(_)));
    }
    drop(held);
    assert_eq!(pool.waiting(), (0, 0));
}

#[test]
fn who_was_held_and_waits_for_a_place_is_queued_and_keeps_nobody_out_of_the_queue() {
    let (pool, now) = pool_of(1, 0, Some(1));
    let mut held: Vec<_> = (0..6).map(|_| pool.hold().unwrap()).collect();
    for waiting in &mut held {
        assert!(matches!(waiting.pick(&ANY, now), Pick::Empty));
    }
    pool.set_listening(WorkerId(0), true, now);
    assert!(held.iter_mut().all(woken));
    let busy = lease(held.remove(0).pick(&ANY, now));
    for waiting in &mut held {
        assert!(matches!(waiting.pick(&ANY, now), Pick::Full));
    }
    assert_eq!(pool.waiting(), (0, 5));
    // More of them wait there than the queue has room for.
    let mut queued = pool.queue().unwrap();
    assert!(matches!(queued.pick(&ANY, now), Pick::Full));
    assert_eq!(pool.waiting(), (0, 6));

    // The worker is gone: whoever tries now is held again.
    pool.set_listening(WorkerId(0), false, now);
    drop(busy);
    assert!(woken(&mut held[0]));
    assert!(matches!(held[0].pick(&ANY, now), Pick::Empty));
    assert_eq!(pool.waiting(), (1, 5));
    drop((held, queued));
    assert_eq!(pool.waiting(), (0, 0));
}

#[test]
fn a_worker_that_comes_up_before_the_first_try_is_seen_by_it() {
    let (pool, now) = pool_of(1, 0, Some(1));
    assert!(matches!(pool.pick(&ANY, now), Pick::Empty));
    pool.set_listening(WorkerId(0), true, now);
    let mut waiting = pool.hold().unwrap();
    assert!(matches!(waiting.pick(&ANY, now), Pick::Worker(_)));
}

#[test]
fn queued_requests_get_their_turn_in_order_and_nobody_overtakes() {
    let (pool, now) = pool_of(1, 1, Some(1));
    let mut busy = lease(pool.pick(&ANY, now));
    let mut queue: Vec<_> = (0..3).map(|_| pool.queue().unwrap()).collect();
    assert!(matches!(pool.queue(), Err(Refused)));
    for waiting in &mut queue {
        assert!(matches!(waiting.pick(&ANY, now), Pick::Full));
        assert!(!woken(waiting));
    }
    for _ in 0..3 {
        drop(busy);
        assert!(
            matches!(pool.pick(&ANY, now), Pick::Full),
            "a new request overtook"
        );
        let mut first = queue.remove(0);
        assert!(!queue.iter_mut().any(woken), "a later one was woken first");
        assert!(woken(&mut first));
        busy = lease(first.pick(&ANY, now));
    }
    drop(busy);
    assert!(matches!(pool.pick(&ANY, now), Pick::Worker(_)));
    assert_eq!(pool.stats().queued.load(Ordering::Relaxed), 3);
    assert_eq!(pool.stats().queue_refused.load(Ordering::Relaxed), 1);
}

#[test]
fn a_wake_up_is_passed_on_by_a_request_that_gives_up() {
    for woken_first in [false, true] {
        let (pool, now) = pool_of(1, 1, Some(1));
        let busy = lease(pool.pick(&ANY, now));
        let (mut first, mut second) = (pool.queue().unwrap(), pool.queue().unwrap());
        assert!(matches!(first.pick(&ANY, now), Pick::Full));
        assert!(!woken(&mut first) && !woken(&mut second));
        drop(busy);
        assert_eq!(woken_first && woken(&mut first), woken_first);
        drop(first);
        assert!(woken(&mut second));
        assert!(matches!(second.pick(&ANY, now), Pick::Worker(_)));
    }
}

#[test]
fn a_worker_with_many_places_lets_in_as_many_as_fit() {
    let (pool, now) = pool_of(2, 1, Some(3));
    let busy: Vec<_> = (0..3).map(|_| lease(pool.pick(&ANY, now))).collect();
    let mut queue: Vec<_> = (0..3).map(|_| pool.queue().unwrap()).collect();
    assert!(matches!(queue[0].pick(&ANY, now), Pick::Full));
    pool.set_listening(WorkerId(1), true, now);
    let mut leases = Vec::new();
    for _ in 0..3 {
        let mut first = queue.remove(0);
        assert!(woken(&mut first));
        leases.push(lease(first.pick(&ANY, now)));
    }
    assert_eq!(pool.workers()[1].requests(), 3);
    drop((busy, leases));
}

#[test]
fn holding_can_be_turned_off() {
    let mut model = model(1);
    model.hold.time = Duration::ZERO;
    let pool = Pool::new(model, Instant::now());
    assert!(matches!(pool.hold(), Err(Refused)));
    assert_eq!(pool.stats().hold_refused.load(Ordering::Relaxed), 1);
}

/// Many threads and few places: everybody gets through, the cap holds, nothing is left over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_is_forgotten_in_a_crowd() {
    let now = Instant::now();
    let mut model = model(3);
    model.worker_in_flight_max = Some(2);
    let pool = Pool::new(model, now);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..200u64 {
        let pool = Arc::clone(&pool);
        tasks.spawn(async move {
            for round in 0..20 {
                let want = Want {
                    random: task * 1_000_003 + round,
                    ..ANY
                };
                let mut picked = pool.pick(&want, now);
                if !matches!(picked, Pick::Worker(_)) {
                    let mut waiting = match picked {
                        Pick::Empty => pool.hold(),
                        _ => pool.queue(),
                    }
                    .unwrap();
                    loop {
                        picked = waiting.pick(&want, now);
                        if matches!(picked, Pick::Worker(_)) {
                            break;
                        }
                        waiting.woken().await;
                    }
                }
                assert!(pool.workers().iter().all(|worker| worker.requests() <= 2));
                tokio::task::yield_now().await;
                drop(picked);
            }
        });
    }
    for i in 0..3 {
        pool.set_listening(WorkerId(i), true, now);
        tokio::task::yield_now().await;
    }
    let all = async {
        while let Some(done) = tasks.join_next().await {
            done.unwrap()
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all)
        .await
        .expect("somebody was forgotten");
    assert_eq!(pool.waiting(), (0, 0));
    assert!(pool.workers().iter().all(|worker| worker.requests() == 0));
}
