//! Does each request reach the pool that its route names?

use e2e::scripts::{answering, reply};
use e2e::{Gateway, Message, Worker, grpc};
use serde::Deserialize;

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: default, redirect_port: 8443 }
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
  grpc:  { bind: "127.0.0.1:0", protocol: grpc, tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  appserver:      { ports: <appserver> }
  pingserver:     { ports: <pingserver> }
  message-system: { ports: <message-system>, balance: least-loaded }
  api:            { ports: <api> }
  package-upload: { ports: <package-upload> }
  hostagent:      { ports: <hostagent>, protocol: h2c }
routes:
  - { path: /,                  to: appserver }
  - { path: /hash-id-databases, to: appserver }
  - { path: /repository,        to: appserver,      on: [http, https] }
  - { path: /ping,              to: pingserver,     on: [http, https] }
  - { path: /message-system,    to: message-system }
  - { path: /attachment,        to: message-system }
  - { path: /api,               to: api }
  - { path: /upload,            to: package-upload, strip_prefix: true }
  - { path: /,                  to: hostagent,      on: [grpc] }
"#;

const POOLS: [&str; 5] = [
    "appserver",
    "pingserver",
    "message-system",
    "api",
    "package-upload",
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    listener: String,
    request: String,
    expect: String,
    #[serde(default)]
    forwarded: Option<String>,
}

#[tokio::test]
async fn every_request_of_the_table_reaches_its_pool() {
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("../cases/routing/landscape.yaml"))
        .expect("the table is YAML");
    let mut plan = Gateway::with(YAML);
    let mut workers = Vec::new();
    for pool in POOLS {
        let script = answering(move |request| reply(200, format!("{pool} {}", request.target())));
        let worker = Worker::start(script).await;
        plan = plan.ports(pool, [worker.port()]);
        workers.push(worker);
    }
    let hostagent = Worker::start(e2e::h2_scripts::h2_replying("hostagent ")).await;
    let gateway = plan.ports("hostagent", [hostagent.port()]).start().await;
    let mut wrong = Vec::new();
    for case in &cases {
        let (found, detail) = ask(&gateway, case).await;
        let forwarded = case
            .forwarded
            .as_ref()
            .is_none_or(|target| *target == detail);
        if found != case.expect || !forwarded {
            wrong.push(format!("{case:?}\n    but: {found}, {detail}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

/// What became of a request: pool, redirect or denial; and the target the worker saw.
async fn ask(gateway: &Gateway, case: &Case) -> (String, String) {
    let (method, target) = case
        .request
        .split_once(' ')
        .expect("a case has a method and a target");
    let mut client = match case.listener.as_str() {
        "http" => gateway.http().await,
        "https" => gateway.https().await,
        _ => {
            let mut call = gateway
                .h2("grpc")
                .await
                .call(grpc::call(target), true)
                .await;
            let answer = call.data().await.expect("an answer").expect("an answer");
            return pool_of(&String::from_utf8_lossy(&answer));
        }
    };
    verdict(target, &client.ask(method, target, &[], b"").await)
}

fn verdict(target: &str, reply: &Message) -> (String, String) {
    match reply.status() {
        200 => pool_of(&reply.text()),
        403 => ("denied".into(), String::new()),
        status @ (302 | 308) => {
            let location = reply.field("location").unwrap_or("none").to_owned();
            let right = location == format!("https://edge.test:8443{target}");
            (
                format!("redirect {status}{}", if right { "" } else { " elsewhere" }),
                location,
            )
        }
        status => (format!("status {status}"), reply.text()),
    }
}

fn pool_of(body: &str) -> (String, String) {
    let (pool, target) = body.split_once(' ').unwrap_or((body, ""));
    (pool.to_owned(), target.to_owned())
}

/// The gateway with one real worker, behind the app server's pool, and nobody in the others.
async fn before(worker: &Worker, yaml: &str) -> Gateway {
    let mut plan = Gateway::with(yaml).ports("appserver", [worker.port()]);
    for pool in POOLS[1..].iter().chain(&["hostagent"]) {
        plan = plan.ports(pool, [e2e::free_range(1)]);
    }
    plan.start().await
}

#[tokio::test]
async fn with_redirect_all_nothing_is_served_in_plain_text() {
    let worker = Worker::start(e2e::scripts::replying(200)).await;
    let yaml = YAML.replace("redirect_https: default", "redirect_https: all");
    let gateway = before(&worker, &yaml).await;
    for target in ["/ping", "/repository/x", "/"] {
        assert_eq!(
            gateway.http().await.get(target).await.status(),
            302,
            "{target}"
        );
    }
    assert_eq!(worker.count(), 0);
}

#[tokio::test]
async fn the_redirect_replaces_the_port_of_the_host_and_keeps_the_query() {
    let worker = Worker::start(e2e::scripts::replying(200)).await;
    let gateway = before(&worker, YAML).await;
    for (host, location) in [
        ("edge.test:8080", "https://edge.test:8443/a?b=c"),
        ("edge.test", "https://edge.test:8443/a?b=c"),
        ("[::1]:8080", "https://[::1]:8443/a?b=c"),
    ] {
        let mut client = gateway.http().await;
        client
            .send(format!("GET /a?b=c HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        let reply = client.reply().await;
        assert_eq!(
            (reply.status(), reply.field("location")),
            (302, Some(location)),
            "{host}"
        );
    }
}
