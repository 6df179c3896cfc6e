//! Does each exchange leave one line that says what happened?

use e2e::h2_client::request;
use e2e::scripts::{echoing_head, mirroring, replying, saying_and_closing};
use e2e::{Edge, Message, Worker, grpc};
use serde_json::Value;

const FIELDS: [&str; 17] = [
    "time",
    "listener",
    "client",
    "protocol",
    "method",
    "host",
    "path",
    "status",
    "route",
    "pool",
    "worker",
    "request_id",
    "bytes_in",
    "bytes_out",
    "duration_ms",
    "retries",
    "end",
];

fn has_all(line: &Value) {
    for field in FIELDS {
        assert!(line.get(field).is_some(), "`{field}` is missing in {line}");
    }
}

#[tokio::test]
async fn an_exchange_is_told_from_end_to_end() {
    let worker = Worker::start(mirroring()).await;
    let gateway = Edge::to(&worker).start().await;
    gateway
        .http()
        .await
        .ask("POST", "/a/b?c=d", &["X-Request-ID: my-id"], b"12345")
        .await;
    let line = gateway.access_log(1).await.remove(0);
    has_all(&line);
    for (field, value) in [
        ("listener", "http"),
        ("client", "127.0.0.1"),
        ("protocol", "HTTP/1.1"),
        ("method", "POST"),
        ("host", "edge.test"),
        ("pool", "app"),
        ("request_id", "my-id"),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert!(
        line["path"]
            .as_str()
            .is_some_and(|path| path.starts_with("/a/b")),
        "{line}"
    );
    assert!(
        line["worker"]
            .as_str()
            .is_some_and(|at| at.ends_with(&worker.port().to_string())),
        "{line}"
    );
    for (field, value) in [
        ("status", 200),
        ("bytes_in", 5),
        ("bytes_out", 5),
        ("retries", 0),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert!(line["duration_ms"].is_number(), "{line}");
}

#[tokio::test]
async fn http2_and_grpc_exchanges_are_told_alike() {
    let worker = Worker::start(e2e::h2_scripts::h2_mirroring()).await;
    let gateway = Edge::to(&worker).h2c().start().await;
    gateway
        .h2("https")
        .await
        .fetch(request("PUT", "/x"), "abc")
        .await;
    gateway
        .h2("grpc")
        .await
        .fetch(grpc::call("/s/Unary"), grpc::frame("abc"))
        .await;
    let lines = gateway.access_log(2).await;
    // Lines of different connections come in no order of their own.
    for (listener, bytes) in [("https", 3), ("grpc", 8)] {
        let line = lines.iter().find(|line| line["listener"] == listener);
        let line = line.unwrap_or_else(|| panic!("no line of `{listener}` in {lines:?}"));
        has_all(line);
        assert_eq!(
            (&line["listener"], &line["protocol"]),
            (&listener.into(), &"HTTP/2.0".into()),
            "{line}"
        );
        assert_eq!(
            (&line["bytes_in"], &line["bytes_out"]),
            (&bytes.into(), &bytes.into()),
            "{line}"
        );
    }
}

#[tokio::test]
async fn the_workers_request_id_is_the_one_in_the_log() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let seen = Message {
        head: gateway.http().await.get("/").await.text(),
        ..Message::default()
    };
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(line["request_id"].as_str(), seen.field("x-request-id"));
}

#[tokio::test]
async fn each_exchange_of_a_connection_has_a_line_of_its_own() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    for n in 0..10 {
        client.get(&format!("/{n}")).await;
    }
    let lines = gateway.access_log(10).await;
    assert_eq!(lines.len(), 10);
    for (n, line) in lines.iter().enumerate() {
        assert_eq!(line["path"], format!("/{n}"), "{line}");
    }
}

#[tokio::test]
async fn what_the_gateway_answered_itself_is_told_too() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    gateway.http().await.get("/metrics").await;
    let mut bad = gateway.http().await;
    bad.send("GET / HTTP/1.1\r\n\r\n").await;
    bad.to_end().await;
    let lines = gateway.access_log(2).await;
    let mut statuses: Vec<_> = lines.iter().map(|line| line["status"].as_u64()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [Some(400), Some(403)]);
    for line in &lines {
        assert!(
            line["worker"].as_str().unwrap_or_default().is_empty(),
            "no worker was asked: {line}"
        );
    }
}

#[tokio::test]
async fn ends_of_different_kinds_are_told_apart() {
    let whole = Worker::start(replying(200)).await;
    let torn = Worker::start(saying_and_closing(
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
    ))
    .await;
    let mut ends = Vec::new();
    for worker in [&whole, &torn] {
        let gateway = Edge::to(worker).start().await;
        let mut client = gateway.http().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.reply_or_end().await;
        ends.push(gateway.access_log(1).await[0]["end"].to_string());
    }
    // A client of HTTP/1 that leaves looks like one that has only ended its sending; HTTP/2 tells.
    let silent = Worker::start(e2e::scripts::silent()).await;
    let gateway = Edge::to(&silent).start().await;
    let mut call = gateway
        .h2("https")
        .await
        .call(request("GET", "/"), true)
        .await;
    silent.until_seen(1).await;
    call.cancel();
    ends.push(gateway.access_log(1).await[0]["end"].to_string());
    assert!(
        ends[0] != ends[1] && ends[1] != ends[2] && ends[0] != ends[2],
        "{ends:?}"
    );
}

#[tokio::test]
async fn retries_are_counted() {
    let first = e2e::free_range(2);
    let _dying = Worker::start_on(first, e2e::scripts::closing()).await;
    let _good = Worker::start_on(first + 1, replying(200)).await;
    let gateway = Edge::to_ports([first, first + 1])
        .pool("balance: round-robin")
        .start()
        .await;
    for _ in 0..4 {
        gateway.http().await.get("/").await;
    }
    let lines = gateway.access_log(4).await;
    assert!(
        lines.iter().any(|line| line["retries"].as_u64() > Some(0)),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_client_cannot_write_lines_of_its_own() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let target = "/%0a{%22time%22:1}?x=\"}";
    gateway
        .http()
        .await
        .ask(
            "GET",
            target,
            &["X-Request-ID: \"}{\"", "User-Agent: \"}\u{7f}"],
            b"",
        )
        .await;
    gateway.http().await.get("/next").await;
    // Every line is JSON, or this panics; and there are exactly two.
    assert_eq!(gateway.access_log(2).await.len(), 2);
}
