//! Can an operator ask how the gateway fares, and nobody else?

use e2e::scripts::{echoing_head, replying};
use e2e::{Edge, Worker, eventually};

#[tokio::test]
async fn it_is_alive_and_ready() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    assert_eq!(gateway.admin("/healthz").await.status(), 200);
    assert_eq!(gateway.admin("/readyz").await.status(), 200);
    assert_eq!(gateway.admin("/nothing").await.status(), 404);
}

#[tokio::test]
async fn the_status_names_listeners_pools_and_workers() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).h2c().start().await;
    let status = gateway.status().await;
    assert!(
        status.get("listeners").is_some() && status.get("pools").is_some(),
        "{status}"
    );
    let text = status.to_string();
    for name in ["http", "https", "grpc", "app", &worker.port().to_string()] {
        assert!(text.contains(name), "{name} in {text}");
    }
}

#[tokio::test]
async fn the_status_follows_a_worker_that_goes() {
    let port = e2e::free_range(1);
    let worker = Worker::start_on(port, replying(200)).await;
    let gateway = Edge::to_ports([port]).start().await;
    let pools = || async { gateway.status().await["pools"].to_string() };
    let up = eventually("the worker is shown", || async {
        let shown = pools().await;
        shown.contains(&port.to_string()).then_some(shown)
    })
    .await;
    worker.kill().await;
    eventually("the worker is shown otherwise", || async {
        (pools().await != up).then_some(())
    })
    .await;
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    for _ in 0..5 {
        gateway.http().await.get("/secret-path").await;
    }
    gateway.access_log(5).await;
    let reply = gateway.admin("/metrics").await;
    assert_eq!(reply.status(), 200);
    assert!(
        reply
            .field("content-type")
            .is_some_and(|kind| kind.starts_with("text/plain")),
        "{}",
        reply.head
    );
    let text = reply.text();
    assert!(
        text.lines().any(|line| line.starts_with("# TYPE ")),
        "{text}"
    );
    let counted = text
        .lines()
        .any(|line| !line.starts_with('#') && line.contains("app") && line.ends_with(" 5"));
    assert!(counted, "five requests of pool `app` in\n{text}");
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        let value = line.rsplit(' ').next().unwrap_or_default();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    assert!(
        !text.contains("secret-path"),
        "no label comes from a request"
    );
}

#[tokio::test]
async fn what_the_admin_serves_is_not_served_to_strangers() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    assert_eq!(gateway.http().await.get("/metrics").await.status(), 403);
    for path in ["/healthz", "/readyz", "/status"] {
        // These are paths like any other there: the worker answers.
        let text = gateway.http().await.get(path).await.text();
        assert!(
            text.starts_with(&format!("GET {path} HTTP/1.1")),
            "{path}: {text}"
        );
    }
}

#[tokio::test]
async fn the_admin_survives_nonsense() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    for bytes in [
        "\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "\0\0\0\0",
        "POST /status HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    ] {
        let mut client = e2e::Raw::tcp(gateway.port("admin")).await;
        client.send(bytes).await;
        client.half_close().await;
        client.to_end().await;
    }
    assert_eq!(gateway.admin("/healthz").await.status(), 200);
}
