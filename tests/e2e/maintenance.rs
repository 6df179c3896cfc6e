//! Can a pool be closed to all but a few, without ending what is open?

use e2e::grpc::{call, frame};
use e2e::h2_scripts::h2_mirroring;
use e2e::scripts::{named, upgrading};
use e2e::websocket::{opening, text_frame};
use e2e::{Edge, Gateway, Worker, eventually};

const CLOSED: &str = "maintenance: { retry_after: 90s, text: back at noon }";

async fn closed(gateway: &Gateway) -> Option<f64> {
    let counted = r#"portcullis_pool_maintenance_refused_total{pool="app"}"#;
    gateway.metric(counted).await
}

#[tokio::test]
async fn a_closed_pool_answers_503_and_says_when_to_come_back() {
    let worker = Worker::start(named("w")).await;
    let gateway = Edge::to(&worker).pool(CLOSED).start().await;
    let mut client = gateway.http().await;
    for _ in 0..2 {
        // On the same connection: it goes on.
        let reply = client.get("/").await;
        assert_eq!(
            (
                reply.status(),
                reply.field("retry-after"),
                &reply.text()[..]
            ),
            (503, Some("90"), "back at noon\n")
        );
    }
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(
        (&line["status"], &line["end"], &line["pool"]),
        (&503.into(), &"maintenance".into(), &"app".into()),
        "{line}"
    );
    assert_eq!(closed(&gateway).await, Some(2.0));
    assert_eq!(worker.count(), 0);
    // Its workers are still found.
    eventually("the worker is found", || async {
        let live = r#"portcullis_pool_workers_live{pool="app"}"#;
        (gateway.metric(live).await == Some(1.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn some_networks_are_served_nevertheless() {
    let worker = Worker::start(named("w")).await;
    let gateway = Edge::to(&worker)
        .pool("maintenance: { allow: [127.0.0.0/8] }")
        .start()
        .await;
    assert_eq!(gateway.http().await.get("/").await.text(), "w");
    let gateway = Edge::to(&worker)
        .pool("maintenance: { allow: [192.0.2.0/24] }")
        .start()
        .await;
    assert_eq!(gateway.http().await.get("/").await.status(), 503);
}

#[tokio::test]
async fn a_call_is_unavailable() {
    let worker = Worker::start(h2_mirroring()).await;
    let gateway = Edge::to(&worker).h2c().pool(CLOSED).start().await;
    let mut client = gateway.h2("grpc").await;
    let reply = client.fetch(call("/s/Call"), frame("x")).await;
    assert_eq!(
        (reply.status.as_u16(), reply.grpc_status()),
        (200, Some("14"))
    );
    assert_eq!(reply.headers["grpc-message"], "back at noon");
    assert_eq!(closed(&gateway).await, Some(1.0));
    assert_eq!(worker.count(), 0);
}

#[tokio::test]
async fn open_streams_live_on_when_a_reload_closes_the_pool() {
    let worker = Worker::start(upgrading()).await;
    let gateway = Edge::to(&worker).pool("hold: 9s").start().await;
    let mut stream = gateway.http().await;
    stream.send(opening("/")).await;
    assert_eq!(stream.head().await.status(), 101);
    let told = gateway
        .reload(|text| text.replace("hold: 9s", "hold: 9s, maintenance: on"))
        .await;
    assert!(told.contains("reloaded"), "{told}");
    assert_eq!(gateway.http().await.get("/").await.status(), 503);
    let frame = text_frame("hello");
    stream.send(&frame).await;
    assert_eq!(stream.exact(frame.len()).await, frame);
    gateway
        .reload(|text| text.replace("hold: 9s, maintenance: on", "hold: 9s"))
        .await;
    assert_eq!(gateway.http().await.get("/").await.status(), 426);
}
