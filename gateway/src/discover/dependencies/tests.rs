use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::config::model;

/// A server that says of every connection what came first, nothing where nothing did.
async fn server() -> (SocketAddr, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut first = vec![0; 64];
            let count = stream.read(&mut first).await.unwrap_or(0);
            first.truncate(count);
            let _ = tell.send(first);
        }
    });
    (address, told)
}

fn dependency(name: &str, address: SocketAddr) -> Arc<Dependency> {
    let model = model::Dependency {
        interval: Duration::from_millis(10),
        interval_failing: Duration::from_millis(10),
        ..model::Dependency::new(name, DependencyKind::Tcp, address)
    };
    Dependency::new(model, Instant::now())
}

#[tokio::test]
async fn what_is_taken_away_is_not_looked_at_any_more_and_what_is_kept_goes_on() {
    let (one_at, mut one) = server().await;
    let (two_at, mut two) = server().await;
    let (kept, gone) = (dependency("kept", one_at), dependency("gone", two_at));
    let (wanted, changes) = watch::channel(vec![kept.clone(), gone.clone()]);
    let running = tokio::spawn(run(changes));
    one.recv().await.unwrap();
    two.recv().await.unwrap();
    wanted.send_replace(vec![kept.clone()]);
    // When its task has ended, nobody else holds it.
    while Arc::strong_count(&gone) > 1 {
        tokio::task::yield_now().await;
    }
    let before = kept.checks();
    while kept.checks() < before + 3 {
        one.recv().await.unwrap();
    }
    assert_eq!(kept.snapshot().state, State::Up);
    running.abort();
}

#[tokio::test]
async fn a_broker_that_is_well_is_greeted_seldom() {
    let (address, _told) = server().await;
    let model = model::Dependency::new("broker", DependencyKind::Amqp, address);
    let broker = Dependency::new(model, Instant::now());
    let now = Instant::now();
    assert_eq!(
        depth(&broker, None, now),
        Depth::Service,
        "nothing is known"
    );
    broker.found(Ok(""), Duration::ZERO, now);
    assert_eq!(depth(&broker, Some(now), now), Depth::Connection);
    let later = now + GREETING_EVERY;
    assert_eq!(depth(&broker, Some(now), later), Depth::Service);
    broker.found(Err("refused"), Duration::ZERO, now);
    assert_eq!(
        depth(&broker, Some(now), now),
        Depth::Service,
        "it may be ill"
    );
    let other = dependency("other", address);
    other.found(Ok(""), Duration::ZERO, now);
    assert_eq!(depth(&other, Some(now), now), Depth::Service);
}
