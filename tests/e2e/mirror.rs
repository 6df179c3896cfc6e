//! Do copies of requests go to another pool without anybody noticing?

use e2e::grpc::{call, frame};
use e2e::h2_client::request;
use e2e::h2_scripts::{h2_mirroring, h2_replying};
use e2e::scripts::{held, mirroring, named, upgrading};
use e2e::websocket::opening;
use e2e::{Gate, Gateway, Script, Worker, eventually};

const YAML: &str = r#"
threads: 1
admin: { bind: "127.0.0.1:0" }
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none }
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  app:    { ports: <app> }
  calls:  { ports: <calls>, protocol: h2c }
  shadow: { ports: <shadow>, protocol: <protocol> }
routes:
  - { path: /, name: all, to: app, on: [http, https], set_headers: { X-Route: all }, mirror: { to: shadow, <mirror> } }
  - { path: /calls, name: calls, to: calls, on: [http, https], mirror: { to: shadow } }
"#;

struct Setup {
    gateway: Gateway,
    app: Worker,
    shadow: Worker,
    _calls: Worker,
}

async fn start(app: Script, shadow: Script, protocol: &str, mirror: &str) -> Setup {
    let (app, calls) = (
        Worker::start(app).await,
        Worker::start(h2_mirroring()).await,
    );
    let shadow = Worker::start(shadow).await;
    let gateway = Gateway::with(YAML)
        .ports("app", [app.port()])
        .ports("calls", [calls.port()])
        .ports("shadow", [shadow.port()])
        .text("protocol", protocol)
        .text("mirror", mirror)
        .start()
        .await;
    Setup {
        gateway,
        app,
        shadow,
        _calls: calls,
    }
}

async fn sent(gateway: &Gateway) -> Option<f64> {
    let sent = r#"portcullis_mirror_sent_total{route="all"}"#;
    gateway.metric(sent).await
}

async fn dropped(gateway: &Gateway, reason: &str) -> Option<f64> {
    let line = format!(r#"portcullis_mirror_dropped_total{{reason="{reason}",route="all"}}"#);
    gateway.metric(&line).await
}

#[tokio::test]
async fn a_copy_is_the_request_with_a_mark() {
    let setup = start(named("app"), named("shadow"), "http1", "share: 100%").await;
    let Setup {
        gateway,
        app,
        shadow,
        ..
    } = &setup;
    let mut client = gateway.http().await;
    let fields = ["X-Portcullis-Mirror: 7", "Cookie: a=b", "X-Request-ID: abc"];
    let reply = client.ask("POST", "/x?y=z", &fields, b"hello").await;
    assert_eq!(reply.text(), "app");
    assert_eq!(client.get("/bare").await.text(), "app");
    shadow.until_seen(2).await;
    let (original, copy) = (app.requests().remove(0), shadow.requests().remove(0));
    assert_eq!(copy.first_line(), original.first_line());
    assert_eq!(copy.body, original.body);
    for field in [
        "host",
        "cookie",
        "x-request-id",
        "x-forwarded-for",
        "x-route",
    ] {
        assert_eq!(copy.field(field), original.field(field), "{field}");
        assert!(copy.field(field).is_some(), "{field}");
    }
    assert_eq!(copy.fields("x-portcullis-mirror"), ["1"]);
    eventually("both are counted", || async {
        (sent(gateway).await == Some(2.0)).then_some(())
    })
    .await;
    // One line each: copies are no exchanges.
    assert_eq!(gateway.access_log(2).await.len(), 2);
}

#[tokio::test]
async fn copies_go_over_http2_and_from_http2() {
    let setup = start(mirroring(), h2_replying("shadow"), "h2c", "share: 100%").await;
    let Setup {
        gateway, shadow, ..
    } = &setup;
    let mut client = gateway.h2("https").await;
    let reply = client.fetch(request("POST", "/x"), vec![7; 50_000]).await;
    assert_eq!(reply.body.len(), 50_000);
    shadow.until_seen(1).await;
    let copy = shadow.requests().remove(0);
    assert_eq!(copy.field("<authority>"), Some("edge.test"));
    assert_eq!(copy.field("x-portcullis-mirror"), Some("1"));
}

#[tokio::test]
async fn a_mirror_that_hangs_fails_or_is_gone_hurts_nobody() {
    let gate = Gate::new();
    let Setup {
        gateway,
        shadow,
        app: _app,
        _calls,
    } = start(named("app"), held(&gate), "http1", "in_flight_max: 2").await;
    let mut client = gateway.http().await;
    for _ in 0..6 {
        assert_eq!(client.get("/").await.text(), "app");
    }
    shadow.until_seen(2).await;
    eventually("the rest is dropped", || async {
        (dropped(&gateway, "in_flight_max").await == Some(4.0)).then_some(())
    })
    .await;
    shadow.kill().await;
    eventually("nobody is there for a copy", || async {
        assert_eq!(gateway.http().await.get("/").await.text(), "app");
        (dropped(&gateway, "no_worker").await >= Some(1.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_body_that_is_too_long_is_not_copied() {
    let setup = start(
        mirroring(),
        named("shadow"),
        "http1",
        "body_bytes_max: 1KiB",
    )
    .await;
    let Setup {
        gateway, shadow, ..
    } = &setup;
    let chunks = format!("258\r\n{0}\r\n258\r\n{0}\r\n0\r\n\r\n", "x".repeat(600));
    for bytes in [
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n{}",
            "x".repeat(1025)
        ),
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"),
    ] {
        let reply = gateway.http().await.exchange("POST", bytes.into()).await;
        assert!(reply.body.len() > 1024, "the original is served");
    }
    assert_eq!(dropped(gateway, "body_bytes_max").await, Some(2.0));
    let reply = gateway
        .http()
        .await
        .ask("POST", "/", &[], &[b'x'; 1024])
        .await;
    assert_eq!(reply.body.len(), 1024);
    shadow.until_seen(1).await;
    assert_eq!(shadow.requests()[0].body.len(), 1024);
    assert_eq!(shadow.count(), 1);
}

#[tokio::test]
async fn a_share_is_a_share() {
    let setup = start(named("app"), named("shadow"), "http1", "share: 20%").await;
    let Setup {
        gateway, shadow, ..
    } = &setup;
    let mut client = gateway.http().await;
    for _ in 0..300 {
        client.get("/").await;
    }
    eventually("what was copied has arrived", || async {
        (sent(gateway).await == Some(shadow.count() as f64)).then_some(())
    })
    .await;
    // 60 are expected; less than 15 or more than 120 come once in a billion runs.
    let count = shadow.count();
    assert!((15..=120).contains(&count), "{count}");
}

#[tokio::test]
async fn streams_and_calls_are_not_copied() {
    let setup = start(upgrading(), named("shadow"), "http1", "share: 100%").await;
    let Setup {
        gateway, shadow, ..
    } = &setup;
    let mut client = gateway.http().await;
    client.send(opening("/")).await;
    assert_eq!(client.head().await.status(), 101);
    let reply = gateway
        .h2("https")
        .await
        .fetch(call("/calls/Call"), frame("x"))
        .await;
    assert_eq!(reply.grpc_status(), Some("0"));
    // What comes now is copied; had the others been, they would have come before it.
    assert_eq!(gateway.http().await.get("/plain").await.status(), 426);
    shadow.until_seen(1).await;
    assert_eq!(shadow.requests()[0].target(), "/plain");
}
