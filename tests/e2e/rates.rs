//! Is a client that asks too often told so, and only that one?

use std::net::Ipv4Addr;

use e2e::grpc::{call, frame};
use e2e::h2_client::request;
use e2e::h2_scripts::h2_mirroring;
use e2e::raw::tcp_from;
use e2e::scripts::replying;
use e2e::{Gateway, Message, Raw, Worker, eventually};

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none }
  slow:  { bind: "127.0.0.1:0", redirect_https: none, rate: { requests: 2/h, burst: 3 } }
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
  grpc:  { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] }, protocol: grpc }
pools:
  app: { ports: <app> }
  agents: { ports: <agents>, protocol: h2c }
routes:
  - { path: /, to: app, on: [http, https, slow] }
  - { path: /login, name: login, to: app, on: [http, https], rate: { requests: 60/h, burst: 2 } }
  - { path: /key, name: key, to: app, on: [http], rate: { per: { header: X-Key }, requests: 60/h, burst: 1 } }
  - { path: /fast, name: fast, to: app, on: [http], rate: { requests: 1/s, burst: 1 } }
  - { path: /, name: agents, to: agents, on: [grpc], rate: { requests: 60/h, burst: 2 } }
"#;

async fn start() -> (Worker, Worker, Gateway) {
    let worker = Worker::start(replying(200)).await;
    let agents = Worker::start(h2_mirroring()).await;
    let gateway = Gateway::with(YAML)
        .ports("app", [worker.port()])
        .ports("agents", [agents.port()])
        .start()
        .await;
    (worker, agents, gateway)
}

fn limited(listener: &str, route: &str) -> String {
    format!(r#"portcullis_rate_limited_total{{listener="{listener}",route="{route}"}}"#)
}

fn seconds(reply: &Message) -> u64 {
    let seconds = reply.field("retry-after").expect("Retry-After");
    seconds.parse().expect("whole seconds")
}

#[tokio::test]
async fn over_the_rate_of_a_route_is_429_with_the_time_to_wait() {
    let (worker, _agents, gateway) = start().await;
    let mut client = gateway.http().await;
    for _ in 0..2 {
        assert_eq!(client.get("/login").await.status(), 200, "the burst");
    }
    let reply = client.ask("POST", "/login", &[], b"").await;
    assert_eq!(reply.status(), 429);
    assert!((1..=60).contains(&seconds(&reply)), "{}", reply.head);
    assert_eq!(
        client.get("/").await.status(),
        200,
        "the connection stays, and other routes know no rate"
    );
    // Another connection and another listener of the same route are the same client.
    let reply = gateway.https().await.get("/login").await;
    assert_eq!(reply.status(), 429);
    let reply = gateway
        .h2("https")
        .await
        .fetch(request("GET", "/login"), "")
        .await;
    assert_eq!(reply.status, 429);
    assert!(reply.headers.contains_key("retry-after"));
    // Another address is another client.
    let other = tcp_from(Ipv4Addr::new(127, 0, 0, 3), gateway.port("http")).await;
    assert_eq!(Raw::over(other).get("/login").await.status(), 200);

    assert_eq!(gateway.metric(&limited("http", "login")).await, Some(1.0));
    assert_eq!(gateway.metric(&limited("https", "login")).await, Some(2.0));
    assert_eq!(worker.count(), 4);
    let lines = gateway.access_log(7).await;
    let told = lines.iter().filter(|line| {
        line["end"] == "rate_limited" && line["status"] == 429 && line["route"] == "login"
    });
    assert_eq!(told.count(), 3, "{lines:?}");
}

#[tokio::test]
async fn the_rate_of_a_listener_counts_every_request_on_it() {
    let (worker, _agents, gateway) = start().await;
    let mut client = Raw::tcp(gateway.port("slow")).await;
    for target in ["/", "/login", "/metrics"] {
        assert_ne!(client.get(target).await.status(), 429, "{target}");
    }
    let reply = client.get("/").await;
    assert_eq!(reply.status(), 429);
    assert!((60..=1800).contains(&seconds(&reply)), "{}", reply.head);
    let lines = gateway.access_log(4).await;
    let line = lines
        .iter()
        .find(|line| line["end"] == "rate_limited")
        .expect("a line of the refusal");
    assert_eq!(
        (&line["status"], &line["listener"], &line["route"]),
        (&429.into(), &"slow".into(), &"".into()),
        "{line}"
    );
    assert_eq!(gateway.metric(&limited("slow", "")).await, Some(1.0));
    assert_eq!(worker.count(), 2);
}

#[tokio::test]
async fn a_field_tells_clients_apart_and_leaving_it_out_is_no_way_around() {
    let (_worker, _agents, gateway) = start().await;
    let mut client = gateway.http().await;
    for (fields, status) in [
        (&["X-Key: one"][..], 200),
        (&["X-Key: two"][..], 200),
        (&["x-key: one"][..], 429),
        (&[][..], 200),
        (&[][..], 429),
        (&["X-Key: three"][..], 200),
    ] {
        let reply = client.ask("GET", "/key", fields, b"").await;
        assert_eq!(reply.status(), status, "{fields:?}");
    }
    // The value is a stranger's: it is in no label.
    let metrics = gateway.admin("/metrics").await.text();
    assert!(!metrics.contains("three"), "{metrics}");
    assert_eq!(gateway.metric(&limited("http", "key")).await, Some(2.0));
}

#[tokio::test]
async fn a_client_that_waits_as_told_is_served() {
    let (_worker, _agents, gateway) = start().await;
    let mut client = gateway.http().await;
    // A machine that stands still for a second between two requests brings a token: then it is asked again.
    let reply = eventually("two requests within a second", || async {
        let reply = gateway.http().await.get("/fast").await;
        (reply.status() == 429).then_some(reply)
    })
    .await;
    assert!(seconds(&reply) >= 1);
    e2e::for_a_while(std::time::Duration::from_secs(seconds(&reply))).await;
    assert_eq!(client.get("/fast").await.status(), 200);
}

#[tokio::test]
async fn a_call_too_many_is_resource_exhausted_in_trailers_only() {
    let (_worker, agents, gateway) = start().await;
    let mut client = gateway.h2("grpc").await;
    for _ in 0..2 {
        let reply = client.fetch(call("/s/Unary"), frame("x")).await;
        assert_eq!(reply.grpc_status(), Some("0"));
    }
    let reply = client.fetch(call("/s/Unary"), frame("x")).await;
    assert_eq!(
        (reply.status.as_u16(), reply.grpc_status()),
        (200, Some("8"))
    );
    assert!(reply.trailers.is_empty() && reply.body.is_empty());
    assert_eq!(agents.count(), 2);
    let lines = gateway.access_log(3).await;
    let line = lines.iter().find(|line| line["end"] == "rate_limited");
    assert_eq!(line.expect("the refusal")["route"], "agents");
    assert_eq!(gateway.metric(&limited("grpc", "agents")).await, Some(1.0));
}

#[tokio::test]
async fn a_reload_forgets_only_what_it_changes() {
    let (_worker, _agents, gateway) = start().await;
    let mut client = gateway.http().await;
    for status in [200, 200, 429] {
        assert_eq!(client.get("/login").await.status(), status);
    }
    gateway
        .reload(|text| text + "\n  - { path: /new, to: app, on: [http] }\n")
        .await;
    assert_eq!(client.get("/login").await.status(), 429, "as before");
    gateway
        .reload(|text| text.replace("60/h, burst: 2", "60/h, burst: 3"))
        .await;
    for status in [200, 200, 200, 429] {
        assert_eq!(client.get("/login").await.status(), status);
    }
    assert_eq!(gateway.metric(&limited("http", "login")).await, Some(3.0));
}
