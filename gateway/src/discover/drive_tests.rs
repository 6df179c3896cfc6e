use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::model::{self, Check, PortRange};
use crate::pool::testing::{health, model};
use crate::pool::{Outcome, Pick, Want};

/// How long a test waits for what must happen; far beyond what it takes.
const PATIENCE: Duration = Duration::from_secs(20);

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// A pool of these ports on loopback.
fn pool_of(addrs: &[SocketAddr], change: impl FnOnce(&mut model::Pool)) -> Arc<Pool> {
    let mut model = model(1);
    model.ports = addrs
        .iter()
        .map(|addr| PortRange {
            first: addr.port(),
            last: addr.port(),
        })
        .collect();
    change(&mut model);
    Pool::new(model, Instant::now())
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
    let ((_one, one_addr), (_own, own_addr), (gone, gone_addr)) =
        (listener().await, listener().await, listener().await);
    drop(gone);
    for discovery in [Discovery::Auto, Discovery::Static] {
        let pool = pool_of(&[one_addr, own_addr, gone_addr], |model| {
            model.discovery = discovery
        });
        first_scan(std::slice::from_ref(&pool), &[own_addr]);
        let mut expected = vec![one_addr.port()];
        if discovery == Discovery::Static {
            expected.push(gone_addr.port());
        }
        assert_eq!(up(&pool), expected, "{discovery:?}");
    }
}

#[tokio::test]
async fn a_worker_that_starts_gets_traffic_and_one_that_stops_gets_none() {
    for discovery in [Discovery::Auto, Discovery::Probe] {
        let (first, addr) = listener().await;
        drop(first);
        let pool = pool_of(&[addr], |model| model.discovery = discovery);
        let mut held = pool.hold().unwrap();
        let _running = Running::on(&pool, &[]);
        let worker = TcpListener::bind(addr).await.unwrap();
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
        let (_worker, addr) = listener().await;
        let pool = pool_of(&[addr], |model| model.discovery = discovery);
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

#[tokio::test]
async fn probing_leaves_our_own_listener_out() {
    let ((_own, own_addr), (_worker, addr)) = (listener().await, listener().await);
    let pool = pool_of(&[own_addr, addr], |model| {
        model.discovery = Discovery::Probe
    });
    let _running = Running::on(&pool, &[SocketAddr::from(([0, 0, 0, 0], own_addr.port()))]);
    eventually("the worker is up", || pool.live() == 1).await;
    assert_eq!(up(&pool), [addr.port()]);
}

#[tokio::test]
async fn a_worker_gets_traffic_when_its_check_passes_and_none_when_it_fails() {
    let (worker, addr) = listener().await;
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
    let pool = pool_of(&[addr], |model| {
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
