//! Is every client told of an error in words that it can read?

use e2e::grpc::{call, frame};
use e2e::h2_client::request;
use e2e::scripts::saying;
use e2e::{Gateway, Message, Worker, free_range};
use serde_json::Value;

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
errors:
  4xx: { text: "no: {message}" }
  5xx: { html: "<p>top {status} {request_id}</p>" }
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none, errors: { 503: { json: '{"listener":{status}}' } } }
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  app: { ports: <app> }
  none: { ports: <none>, hold: off }
routes:
  - { path: /, to: app }
  - { path: /none, to: none }
  - { path: /replaced, to: app, intercept_errors: [5xx], errors: { 503: { html: "<p>route {retry_after}</p>" } } }
  - { path: /closed, deny: 403 }
"#;

const BUSY: &str =
    "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nX-Inner: secret\r\nContent-Length: 5\r\n\r\ninner";

async fn start(worker: &Worker) -> Gateway {
    let none = free_range(1);
    Gateway::with(YAML)
        .ports("app", [worker.port()])
        .ports("none", [none])
        .start()
        .await
}

/// The answer over HTTP/1.1, and the same over HTTP/2: type and body.
async fn both(gateway: &Gateway, target: &str, fields: &[&str]) -> [(u16, String, String); 2] {
    let old = gateway.http().await.ask("GET", target, fields, b"").await;
    let mut asked = request("GET", target);
    for field in fields {
        let (name, value) = field.split_once(": ").unwrap();
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        asked.headers_mut().insert(name, value.parse().unwrap());
    }
    let new = gateway.h2("https").await.fetch(asked, "").await;
    let kind = |reply: &Message| reply.field("content-type").unwrap_or_default().to_owned();
    let seen = new.headers.get("content-type");
    let new_kind = seen.map_or("", |kind| kind.to_str().unwrap()).to_owned();
    [
        (old.status(), kind(&old), old.text()),
        (new.status.as_u16(), new_kind, new.text()),
    ]
}

#[tokio::test]
async fn without_a_wish_the_answer_is_the_short_text() {
    let worker = Worker::start(saying(BUSY)).await;
    let gateway = start(&worker).await;
    for fields in [&[][..], &["Accept: */*"], &["Accept: application/grpc"]] {
        for (status, kind, body) in both(&gateway, "/none", fields).await {
            assert_eq!(
                (status, kind.as_str(), body.as_str()),
                (503, "text/plain; charset=utf-8", "no worker is available\n"),
                "{fields:?}"
            );
        }
    }
    let reply = gateway.http().await.get("/none").await;
    assert_eq!(reply.fields("retry-after"), ["5"]);
    assert_eq!(reply.field("vary"), None, "what agents see is as it was");
}

#[tokio::test]
async fn a_browser_gets_a_page_and_a_program_json() {
    let worker = Worker::start(saying(BUSY)).await;
    let gateway = start(&worker).await;
    let fields = [BROWSER, "X-Request-ID: id-7"];
    for (status, kind, body) in both(&gateway, "/closed", &fields).await {
        assert_eq!((status, kind.as_str()), (403, "text/html; charset=utf-8"));
        assert!(
            body.contains("<h1>Forbidden</h1>") && body.contains("<code>id-7</code>"),
            "{body}"
        );
    }
    let fields = ["Accept: application/json", "X-Request-ID: id-8"];
    for (status, kind, body) in both(&gateway, "/closed", &fields).await {
        assert_eq!((status, kind.as_str()), (403, "application/json"));
        let told: Value = serde_json::from_str(&body).expect(&body);
        assert_eq!(
            (&told["status"], &told["title"], &told["request_id"]),
            (&403.into(), &"Forbidden".into(), &"id-8".into()),
            "{body}"
        );
        assert_eq!(told["retry_after"], Value::Null);
    }
    // What was sent speaks for a client that does not say what it takes.
    let mut client = gateway.http().await;
    let sent = ["Content-Type: application/json", "Content-Length: 2"];
    let head = format!(
        "POST /closed HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n{{}}",
        sent.join("\r\n")
    );
    client.send(head).await;
    let reply = client.reply().await;
    assert_eq!(reply.field("content-type"), Some("application/json"));
    assert_eq!(reply.fields("vary"), ["accept"]);
    let head = gateway
        .http()
        .await
        .ask("HEAD", "/closed", &[BROWSER], b"")
        .await;
    assert_eq!((head.status(), head.text().as_str()), (403, ""));
    assert!(head.field("content-length").is_some(), "{}", head.head);
}

#[tokio::test]
async fn the_nearest_page_is_shown() {
    let worker = Worker::start(saying(BUSY)).await;
    let gateway = start(&worker).await;
    let [old, new] = both(&gateway, "/none", &[BROWSER, "X-Request-ID: me"]).await;
    for (status, _, body) in [old, new] {
        assert_eq!((status, body.as_str()), (503, "<p>top 503 me</p>"));
    }
    let [old, new] = both(&gateway, "/none", &["Accept: application/json"]).await;
    assert_eq!(old.2, "{\"listener\":503}");
    assert!(new.2.contains("\"retry_after\":5"), "{}", new.2);
    let [old, _] = both(&gateway, "/closed", &[]).await;
    assert_eq!(old.2, "no: not available here");
    let fields = [BROWSER];
    let reply = gateway.http().await.ask("GET", "/none", &fields, b"").await;
    assert_eq!(reply.fields("retry-after"), ["5"], "in every form");
}

#[tokio::test]
async fn a_workers_error_is_replaced_only_where_that_is_asked_for() {
    let worker = Worker::start(saying(BUSY)).await;
    let gateway = start(&worker).await;
    for (_, _, body) in both(&gateway, "/", &[BROWSER]).await {
        assert_eq!(body, "inner");
    }
    for (status, _, body) in both(&gateway, "/replaced", &[BROWSER]).await {
        assert_eq!((status, body.as_str()), (503, "<p>route 7</p>"));
    }
    let reply = gateway.http().await.get("/replaced").await;
    assert_eq!(
        (
            reply.status(),
            reply.fields("retry-after"),
            reply.field("x-inner")
        ),
        (503, vec!["7"], None)
    );
    // Data threads hand their lines over each in its own time.
    let lines = gateway.access_log(5).await;
    let line = lines.iter().find(|l| l["path"] == "/replaced").unwrap();
    assert_eq!(
        (&line["status"], &line["end"], &line["retries"]),
        (&503.into(), &"intercepted".into(), &0.into()),
        "{line}"
    );
    // The client's connection goes on.
    let mut client = gateway.http().await;
    for _ in 0..3 {
        assert_eq!(client.get("/replaced").await.status(), 503);
    }
    assert_eq!(worker.count(), 8);
}

#[tokio::test]
async fn an_answer_that_tells_how_to_go_on_always_passes() {
    let worker = Worker::start(saying(
        "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
    ))
    .await;
    let gateway = Gateway::with(&YAML.replace("[5xx]", "[4xx]"))
        .ports("app", [worker.port()])
        .ports("none", [free_range(1)])
        .start()
        .await;
    let reply = gateway.http().await.get("/replaced").await;
    assert_eq!(
        (reply.status(), reply.field("www-authenticate")),
        (401, Some("Basic"))
    );
}

#[tokio::test]
async fn a_call_keeps_its_own_form() {
    let worker = Worker::start(saying(BUSY)).await;
    let gateway = start(&worker).await;
    let mut asked = call("/none/Method");
    asked
        .headers_mut()
        .insert("accept", "text/html".parse().unwrap());
    let reply = gateway.h2("https").await.fetch(asked, frame("x")).await;
    assert_eq!(
        (reply.status.as_u16(), reply.grpc_status(), reply.text()),
        (200, Some("14"), String::new())
    );
}

#[tokio::test]
async fn a_page_that_cannot_be_read_stops_the_start() {
    let yaml = r#"
listeners: { http: { bind: ":80", redirect_https: none } }
pools: { app: { ports: 8080 } }
routes:
  - { path: /, to: app, errors: { 503: { html: /nowhere/503.html } } }
"#;
    let (code, said) = e2e::gateway::check(yaml);
    assert_eq!(code, 1);
    assert!(
        said.contains("`/nowhere/503.html` cannot be used") && said.contains("routes.yaml:5"),
        "{said}"
    );
}
