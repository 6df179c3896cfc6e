//! Is every refusal told three times, and alike: to the client, in the access log, and in the metrics?
//!
//! Limits with more to them have files of their own (`rates`, `networks`, `route_limits`); here is what they all share.

use e2e::h2_client::request;
use e2e::h2_scripts::{h2_mirroring, h2_silent};
use e2e::scripts::{closing, held, replying, saying, silent};
use e2e::{Edge, Gate, Gateway, Raw, Script, Worker, eventually, grpc};

/// The first line of the log, and the counter of its word.
async fn told(gateway: &Gateway, listener: &str, end: &str, status: u16) {
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(
        (&line["end"], &line["status"], &line["listener"]),
        (&end.into(), &status.into(), &listener.into()),
        "{line}"
    );
    let counter =
        format!(r#"portcullis_requests_failed_total{{end="{end}",listener="{listener}"}}"#);
    eventually(&counter, || async {
        (gateway.metric(&counter).await == Some(1.0)).then_some(())
    })
    .await;
}

/// Bytes a stranger sends, and what becomes of them.
struct Refused {
    what: &'static str,
    sent: String,
    status: u16,
    end: &'static str,
}

fn refused(what: &'static str, sent: impl Into<String>, status: u16, end: &'static str) -> Refused {
    let sent = sent.into();
    Refused {
        what,
        sent,
        status,
        end,
    }
}

#[tokio::test]
async fn what_a_request_is_refused_for_is_told_thrice() {
    let long = "a".repeat(3_000);
    let many: String = (0..30).map(|n| format!("X-{n}: 1\r\n")).collect();
    let post = "POST / HTTP/1.1\r\nHost: a\r\n";
    for case in [
        refused("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n", 400, "bad_head"),
        refused("no host", "GET / HTTP/1.1\r\n\r\n", 400, "bad_head"),
        refused(
            "a space before the colon",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            400,
            "bad_head",
        ),
        refused(
            "two lengths",
            format!("{post}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            400,
            "bad_head",
        ),
        refused(
            "too many fields",
            format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"),
            431,
            "bad_head",
        ),
        refused(
            "a field too long",
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}{long}\r\n\r\n"),
            431,
            "bad_head",
        ),
        refused(
            "a target too long",
            format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
            414,
            "bad_head",
        ),
        refused(
            "a path with a zero byte",
            "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
            400,
            "bad_path",
        ),
        refused(
            "a denied segment",
            "GET /api/%6detrics HTTP/1.1\r\nHost: a\r\n\r\n",
            403,
            "denied",
        ),
        refused(
            "a length over the bound",
            format!("{post}Content-Length: 1001\r\n\r\n"),
            413,
            "body_too_large",
        ),
        refused(
            "pieces over the bound",
            format!(
                "{post}Transfer-Encoding: chunked\r\n\r\n3e9\r\n{}",
                "x".repeat(1_001)
            ),
            413,
            "body_too_large",
        ),
        refused(
            "pieces that are none",
            format!("{post}Transfer-Encoding: chunked\r\n\r\nxyz\r\n"),
            400,
            "bad_body",
        ),
        refused(
            "a body that stops",
            format!("{post}Content-Length: 10\r\n\r\nhalf"),
            408,
            "client_timeout",
        ),
        refused(
            "a head that stops",
            "GET / HTTP/1.1\r\nHost:",
            408,
            "client_timeout",
        ),
    ] {
        let worker = Worker::start(replying(200)).await;
        let gateway = Edge::to(&worker)
            .limits(
                "head_bytes_max: 4096, target_bytes_max: 1024, fields_max: 20, body_bytes_max: 1000, \
                 head_timeout: 300ms, body_timeout: 300ms",
            )
            .start()
            .await;
        let mut client = gateway.http().await;
        client.try_send(&case.sent).await;
        let reply = client.reply().await;
        assert_eq!(reply.status(), case.status, "{}", case.what);
        told(&gateway, "http", case.end, case.status).await;
        assert_eq!(worker.count(), 0, "{}: no worker hears of it", case.what);
    }
}

#[tokio::test]
async fn what_workers_fail_is_told_thrice() {
    let nonsense = saying("what? no\r\n\r\n");
    let endless = saying(format!("HTTP/1.1 200 OK\r\nX: {}\r\n", "a".repeat(70_000)));
    for (what, script, pool, status, end, retry_after) in [
        ("it hangs up", closing(), "", 502, "worker_lost", false),
        (
            "it is silent",
            silent(),
            "response_timeout: 300ms",
            504,
            "worker_timeout",
            false,
        ),
        ("it talks nonsense", nonsense, "", 502, "bad_answer", false),
        ("its head has no end", endless, "", 502, "bad_answer", false),
        (
            "it is full",
            silent(),
            "worker_in_flight_max: 1, queue: 300ms",
            503,
            "busy",
            true,
        ),
        (
            "it is full and so is the queue",
            silent(),
            "worker_in_flight_max: 1, queue: off",
            503,
            "busy",
            true,
        ),
    ] {
        let worker = Worker::start(script).await;
        let edge = Edge::to(&worker).pool("outlier: off, retry: off");
        let edge = if pool.is_empty() {
            edge
        } else {
            edge.pool(pool)
        };
        let gateway = edge.start().await;
        let mut others: Option<Raw> = None;
        if end == "busy" {
            let mut first = gateway.http().await;
            first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            worker.until_seen(1).await;
            others = Some(first);
        }
        let reply = gateway.http().await.get("/").await;
        assert_eq!(reply.status(), status, "{what}");
        assert_eq!(reply.field("retry-after").is_some(), retry_after, "{what}");
        told(&gateway, "http", end, status).await;
        drop(others);
    }
}

#[tokio::test]
async fn an_empty_pool_is_told_thrice() {
    let nobody = e2e::free_range(1);
    for hold in ["off", "300ms"] {
        let gateway = Edge::to_ports([nobody])
            .pool(&format!("hold: {hold}"))
            .start()
            .await;
        let reply = gateway.http().await.get("/").await;
        assert_eq!(reply.status(), 503, "hold: {hold}");
        assert!(reply.field("retry-after").is_some(), "hold: {hold}");
        told(&gateway, "http", "no_worker", 503).await;
    }
}

#[tokio::test]
async fn calls_are_refused_in_the_form_of_grpc_and_told_alike() {
    let cases: [(&str, Script, &str, &str); 3] = [
        ("it is gone", h2_mirroring(), "hold: off", "no_worker"),
        (
            "it is full",
            h2_silent(),
            "worker_in_flight_max: 1, queue: off",
            "busy",
        ),
        ("the path is denied", h2_mirroring(), "hold: 1s", "denied"),
    ];
    for (what, script, pool, end) in cases {
        let worker = Worker::start(script).await;
        let gateway = Edge::to(&worker).h2c().pool(pool).start().await;
        let mut client = gateway.h2("grpc").await;
        let mut first = None;
        match end {
            "no_worker" => {
                worker.kill().await;
                eventually("nobody is up", || async {
                    let live = r#"portcullis_pool_workers_live{pool="app"}"#;
                    (gateway.metric(live).await == Some(0.0)).then_some(())
                })
                .await;
            }
            "busy" => {
                first = Some(client.call(grpc::call("/a.B/C"), true).await);
                eventually("the worker is asked", || async {
                    let at_it = r#"portcullis_pool_in_flight{pool="app",kind="request"}"#;
                    let streams = r#"portcullis_pool_in_flight{pool="app",kind="stream"}"#;
                    let sum = gateway.metric(at_it).await? + gateway.metric(streams).await?;
                    (sum == 1.0).then_some(())
                })
                .await;
            }
            _ => {}
        }
        let path = if end == "denied" {
            "/metrics/x"
        } else {
            "/a.B/C"
        };
        let reply = client.fetch(grpc::call(path), grpc::frame("hello")).await;
        assert_eq!(reply.status, 200, "{what}");
        assert_eq!(reply.grpc_status(), Some("14"), "{what}");
        told(&gateway, "grpc", end, 200).await;
        drop(first);
    }
}

#[tokio::test]
async fn a_request_that_the_pool_cannot_take_is_501_and_told() {
    let worker = Worker::start(h2_mirroring()).await;
    let gateway = Edge::to(&worker).h2c().start().await;
    let mut client = gateway.h2("https").await;
    client.until_extended_connect().await;
    let mut connect = request("CONNECT", "/chat");
    connect
        .extensions_mut()
        .insert(h2::ext::Protocol::from_static("websocket"));
    let mut call = client.call(connect, false).await;
    assert_eq!(call.head().await.unwrap().status(), 501);
    told(&gateway, "https", "not_implemented", 501).await;
}

#[tokio::test]
async fn a_client_that_leaves_is_told_as_such() {
    let gate = Gate::new();
    let worker = Worker::start(held(&gate)).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.h2("https").await;
    let mut call = client.call(request("GET", "/"), true).await;
    worker.until_seen(1).await;
    call.cancel();
    told(&gateway, "https", "client_gone", 0).await;
    gate.open();
}
