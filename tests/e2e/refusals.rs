//! Is every refusal told three times, and alike: to the client, in the access log, and in the metrics?
//!
//! Limits with more to them have files of their own (`rates`, `networks`, `route_limits`); here is the variety behind one
//! word over HTTP/1. `words` has each word in each protocol, `handshakes` each reason of TLS.

use e2e::scripts::{closing, replying, saying, silent};
use e2e::{Edge, Gateway, Raw, Worker, eventually};

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
