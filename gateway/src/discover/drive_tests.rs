use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::testing::Port;
use super::*;
use crate::config::model::{self, Check, PortRange};
use crate::pool::testing::{health, model};
use crate::pool::{Outcome, Pick, Want};

/// How long a test waits for what must happen; far beyond what it takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A pool of these ports on loopback.
fn pool_of(ports: &[&Port], change: impl FnOnce(&mut model::Pool)) -> Arc<Pool> {
    let mut model = model(1);
    let range = |port: &&Port| PortRange {
        first: port.addr.port(),
        last: port.addr.port(),
    };
    model.ports = ports.iter().map(range).collect();
    change(&mut model);
    Pool::new(model, Instant::now())
}

fn port() -> Port {
    Port::at("127.0.0.1")
}

/// Runs discovery until it is dropped.
struct Running(tokio::task::JoinHandle<()>);

impl Running {
    fn on(pool: &Arc<Pool>, own: &[SocketAddr]) -> Running {
        Running(tokio::spawn(run(vec![Arc::clone(pool)], own.to_vec())))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

fn up(pool: &Pool) -> Vec<u16> {
    pool.snapshot()
        .iter()
        .filter(|s| s.state == State::Up)
        .map(|s| s.addr.port())
        .collect()
}

#[tokio::test]
async fn the_first_scan_knows_who_listens_and_leaves_our_own_listener_out() {
    let (one, own, gone) = (port(), port(), port());
    let _listening = (one.listen(), own.listen());
    for discovery in [Discovery::Auto, Discovery::Static] {
        let pool = pool_of(&[&one, &own, &gone], |model| model.discovery = discovery);
        first_scan(std::slice::from_ref(&pool), &[own.addr]);
        let mut expected = vec![one.addr.port()];
        if discovery == Discovery::Static {
            expected.push(gone.addr.port());
        }
        assert_eq!(up(&pool), expected, "{discovery:?}");
    }
}

#[tokio::test]
async fn a_worker_that_starts_gets_traffic_and_one_that_stops_gets_none() {
    for discovery in [Discovery::Auto, Discovery::Probe] {
        let port = port();
        let pool = pool_of(&[&port], |model| model.discovery = discovery);
        let mut held = pool.hold().unwrap();
        let _running = Running::on(&pool, &[]);
        let worker = port.listen();
        tokio::time::timeout(PATIENCE, held.woken())
            .await
            .expect("a held request was not woken");
        let want = Want {
            random: 1,
            ..Want::default()
        };
        assert!(
            matches!(held.pick(&want, Instant::now()), Pick::Worker(_)),
            "{discovery:?}"
        );
        drop(worker);
        eventually("the worker is out", || pool.live() == 0).await;
    }
}

#[tokio::test]
async fn a_refused_connection_is_looked_into() {
    for discovery in [Discovery::Auto, Discovery::Probe] {
        let port = port();
        let _worker = port.listen();
        let pool = pool_of(&[&port], |model| model.discovery = discovery);
        let _running = Running::on(&pool, &[]);
        eventually("the worker is up", || pool.live() == 1).await;
        // A false alarm: it is back as soon as it was looked at.
        let looked = |pool: &Pool| {
            pool.stats().scans.load(Ordering::Relaxed) + pool.stats().probes.load(Ordering::Relaxed)
        };
        let before = looked(&pool);
        pool.report(WorkerId(0), Outcome::ConnectRefused, Instant::now());
        eventually("there was a look", || looked(&pool) > before).await;
        eventually("the worker is back", || pool.live() == 1).await;
    }
}

#[test]
fn ports_are_tried_where_the_listen_table_may_not_be_read() {
    let port = port();
    let pools = [
        pool_of(&[&port], |_| ()),
        pool_of(&[&port], |model| model.discovery = Discovery::Static),
    ];
    let now = Instant::now();
    let read = Sources::of(&pools, &[], open_table(), now);
    assert!(read.watch.is_some() && read.probed.is_empty() && read.problem.is_none());
    assert!(pools[0].workers()[0].is_local());
    let denied = Sources::of(
        &pools,
        &[],
        Err(io::ErrorKind::PermissionDenied.into()),
        now,
    );
    assert!(denied.watch.is_none() && denied.problem.is_some());
    assert_eq!(denied.probed, [(0, WorkerId(0))]);
    assert!(!pools[0].workers()[0].is_local());
}

#[tokio::test]
async fn without_the_listen_table_workers_are_found_all_the_same() {
    let port = port();
    let _worker = port.listen();
    let pool = pool_of(&[&port], |_| ());
    let denied = Err(io::ErrorKind::PermissionDenied.into());
    let running = tokio::spawn(run_with(denied, vec![Arc::clone(&pool)], vec![]));
    eventually("the worker is up", || pool.live() == 1).await;
    assert_eq!(pool.stats().scans.load(Ordering::Relaxed), 0);
    running.abort();
}

#[test]
fn a_listen_table_that_fails_again_and_again_is_given_up() {
    let port = port();
    let mut driver = Driver::new(
        vec![pool_of(&[&port], |_| ())],
        &[],
        open_table(),
        Instant::now(),
    );
    let now = Instant::now();
    for error in 1..=ERRORS_MAX {
        assert!(driver.lost.is_none());
        driver.looked(Err(io::ErrorKind::OutOfMemory.into()), now);
        assert_eq!(driver.errors, error);
        // Refused connections do not make it try faster.
        driver.rescan(now);
        assert_eq!(driver.look_at, now + LOOK_AFTER_ERROR);
    }
    assert!(driver.lost.is_some());
    driver.looked(Ok(Vec::new()), now);
    assert_eq!(driver.errors, 0);
}

#[tokio::test]
async fn probing_leaves_our_own_listener_out() {
    let (own, worker) = (port(), port());
    let _listening = (own.listen(), worker.listen());
    let pool = pool_of(&[&own, &worker], |model| model.discovery = Discovery::Probe);
    let _running = Running::on(&pool, &[SocketAddr::from(([0, 0, 0, 0], own.addr.port()))]);
    eventually("the worker is up", || pool.live() == 1).await;
    assert_eq!(up(&pool), [worker.addr.port()]);
}

#[tokio::test]
async fn a_worker_gets_traffic_when_its_check_passes_and_none_when_it_fails() {
    let port = port();
    let worker = port.listen_async();
    let well = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = worker.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap_or(0) > 0
            {
            }
            let status = if is_well.load(Ordering::Relaxed) {
                "200 OK"
            } else {
                "503 Not Yet"
            };
            let _ = stream
                .write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes())
                .await;
        }
    });
    let check = Check::Http {
        method: "GET".into(),
        path: "/".into(),
        host: None,
        expect: (200, 399),
    };
    let pool = pool_of(&[&port], |model| {
        let mut health = health(check, 2, 2);
        health.interval = Duration::from_millis(30);
        health.interval_failing = Duration::from_millis(20);
        model.health = Some(health);
    });
    let _running = Running::on(&pool, &[]);
    eventually("the check fails", || {
        pool.state(WorkerId(0)) == Some(State::Unhealthy)
    })
    .await;
    assert_eq!(pool.snapshot()[0].reason, "check failed: status 503");
    well.store(true, Ordering::Relaxed);
    eventually("the check passes", || pool.live() == 1).await;
    well.store(false, Ordering::Relaxed);
    eventually("the check fails again", || pool.live() == 0).await;
    server.abort();
}
