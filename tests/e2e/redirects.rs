//! Is a client sent where the route says, and never where the client says?

use e2e::grpc::{call, frame};
use e2e::h2_client::request;
use e2e::scripts::replying;
use e2e::{Gateway, Worker};

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
set_response_headers: { Strict-Transport-Security: "max-age=60" }
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none }
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  app: { ports: <app> }
routes:
  - { path: /, to: app }
  - { path: /old, redirect: { to: "https://{hostname}/new{rest}", status: 301 } }
  - { path: /here, redirect: "/there{rest}" }
  - { path: /same, redirect: { to: "{scheme}://{host}{path}/x?a=1&{query}", status: 307 } }
  - { path: /away, redirect: { to: "https://other.test", status: 308, keep_query: false } }
  - { path: /limited, name: limited, redirect: /x, rate: { requests: 1/h } }
"#;

async fn start() -> (Worker, Gateway) {
    let worker = Worker::start(replying(200)).await;
    let gateway = Gateway::with(YAML)
        .ports("app", [worker.port()])
        .start()
        .await;
    (worker, gateway)
}

#[tokio::test]
async fn a_client_is_sent_where_the_route_says() {
    let (worker, gateway) = start().await;
    let mut old = gateway.http().await;
    let mut new = gateway.h2("https").await;
    for (target, status, location) in [
        ("/old", 301, "https://edge.test/new"),
        ("/old/a/b?c=d", 301, "https://edge.test/new/a/b?c=d"),
        ("/old//evil.test", 301, "https://edge.test/new/evil.test"),
        ("/here?x", 302, "/there?x"),
        ("/here//evil.test/%2e%2e/x", 302, "/there/x"),
        ("/away/x?y", 308, "https://other.test"),
    ] {
        let reply = old.get(target).await;
        assert_eq!(
            (reply.status(), reply.fields("location")),
            (status, vec![location]),
            "{target}"
        );
        assert_eq!(reply.text(), "");
        let reply = new.fetch(request("GET", target), "").await;
        assert_eq!(reply.status.as_u16(), status, "{target} over HTTP/2");
        assert_eq!(reply.headers["location"], location, "{target} over HTTP/2");
    }
    let reply = old.get("/same/a?b").await;
    assert_eq!(
        (reply.status(), reply.field("location")),
        (307, Some("http://edge.test/same/a/x?a=1&b"))
    );
    assert!(reply.field("date").is_some(), "{}", reply.head);
    assert_eq!(worker.count(), 0);
    let lines = gateway.access_log(13).await;
    assert!(
        lines
            .iter()
            .all(|line| line["end"] == "ok" && line["pool"] == ""),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn transport_security_is_promised_over_tls_only() {
    let (_worker, gateway) = start().await;
    for target in ["/old", "/", "/metrics"] {
        let field = "strict-transport-security";
        let plain = gateway.http().await.get(target).await;
        assert_eq!(plain.field(field), None, "{target}: RFC 6797 section 7.2");
        let tls = gateway.https().await.get(target).await;
        assert_eq!(tls.field(field), Some("max-age=60"), "{target}");
        let new = gateway
            .h2("https")
            .await
            .fetch(request("GET", target), "")
            .await;
        assert_eq!(new.headers[field], "max-age=60", "{target} over HTTP/2");
    }
}

#[tokio::test]
async fn a_body_that_is_not_read_ends_the_connection() {
    let (_worker, gateway) = start().await;
    let mut client = gateway.http().await;
    client
        .send("POST /old HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nsome")
        .await;
    let reply = client.reply().await;
    assert_eq!(
        (reply.status(), reply.field("connection")),
        (301, Some("close"))
    );
    assert!(client.ended().await);
    let reply = gateway
        .h2("https")
        .await
        .fetch(request("POST", "/old"), vec![b'x'; 1000])
        .await;
    assert_eq!(reply.status.as_u16(), 301);
}

#[tokio::test]
async fn a_redirect_can_be_limited_and_a_host_is_needed() {
    let (_worker, gateway) = start().await;
    assert_eq!(gateway.http().await.get("/limited").await.status(), 302);
    assert_eq!(gateway.http().await.get("/limited").await.status(), 429);
    let mut client = gateway.http().await;
    client.send("GET /old HTTP/1.0\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!(reply.status(), 400);
    // Each data thread writes its lines in its own time.
    let lines = gateway.access_log(3).await;
    assert!(
        lines.iter().any(|line| line["end"] == "bad_host"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_call_is_told_in_its_own_words() {
    let (_worker, gateway) = start().await;
    let reply = gateway
        .h2("https")
        .await
        .fetch(call("/old/Method"), frame("x"))
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.grpc_status()),
        (200, Some("14"))
    );
}
