//! Does a client that leaves while it waits take nothing with it, where the operator wants it so?

use e2e::scripts::{held, silent};
use e2e::{Edge, Gate, Worker, eventually};

async fn requests_at_the_worker(gateway: &e2e::Gateway) -> u64 {
    let status = gateway.status().await;
    let worker = &status["pools"][0]["workers"][0];
    worker["requests"].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_frees_its_workers_place() {
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let worker = Worker::start(silent()).await;
        let gateway = Edge::to(&worker)
            .pool("worker_in_flight_max: 1, abort_on_close: on")
            .start()
            .await;
        for https in [false, true] {
            let mut client = if https {
                gateway.https().await
            } else {
                gateway.http().await
            };
            client.send(request).await;
            eventually("the worker has the request", || async {
                (requests_at_the_worker(&gateway).await == 1).then_some(())
            })
            .await;
            client.half_close().await;
            eventually("its place is free", || async {
                (requests_at_the_worker(&gateway).await == 0).then_some(())
            })
            .await;
        }
        let line = gateway.access_log(2).await.remove(1);
        assert_eq!(
            (&line["end"], &line["status"]),
            (&"client_gone".into(), &0.into()),
            "{line}"
        );
        let counted = r#"portcullis_requests_failed_total{end="client_gone",listener="http"}"#;
        assert_eq!(gateway.metric(counted).await, Some(1.0));
    }
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_is_not_served_any_more() {
    let gate = Gate::new();
    let worker = Worker::start(held(&gate)).await;
    let gateway = Edge::to(&worker)
        .pool("worker_in_flight_max: 1, abort_on_close: on")
        .start()
        .await;
    let mut first = gateway.http().await;
    first.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await;
    worker.until_seen(1).await;
    let mut second = gateway.http().await;
    second.send("GET /second HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let queued = || async { gateway.status().await["pools"][0]["queued"].as_u64() };
    eventually("it is queued", || async {
        (queued().await == Some(1)).then_some(())
    })
    .await;
    second.half_close().await;
    eventually("it has left the queue", || async {
        (queued().await == Some(0)).then_some(())
    })
    .await;
    gate.open();
    assert_eq!(first.reply().await.status(), 200);
    assert_eq!(worker.count(), 1);
}

#[tokio::test]
async fn who_only_ends_its_side_is_served_by_default() {
    let gate = Gate::new();
    let worker = Worker::start(held(&gate)).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.half_close().await;
    worker.until_seen(1).await;
    gate.open();
    assert_eq!(client.reply().await.status(), 200);
}

#[tokio::test]
async fn what_a_watched_client_sends_ahead_is_its_next_request() {
    let gate = Gate::new();
    let worker = Worker::start(held(&gate)).await;
    let gateway = Edge::to(&worker).pool("abort_on_close: on").start().await;
    for first in [
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
    ] {
        let before = worker.count();
        let mut client = gateway.http().await;
        client.send(first).await;
        worker.until_seen(before + 1).await;
        client.send("GET /2 HTTP/1.1\r\nHo").await;
        client.send("st: a\r\n\r\n").await;
        gate.open();
        assert_eq!(client.reply().await.status(), 200);
        assert_eq!(client.reply().await.status(), 200);
        let targets: Vec<_> = worker.requests()[before..]
            .iter()
            .map(|r| r.target().to_owned())
            .collect();
        assert_eq!(targets, ["/1", "/2"]);
    }
}
