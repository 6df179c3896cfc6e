//! Does the worker see the path that the route says, and never one that nobody checked?

use e2e::h2_client::request;
use e2e::scripts::echoing_head;
use e2e::{Gateway, Message, Worker};

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none }
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  app: { ports: <app> }
routes:
  - { path: /, to: app }
  - { path: /upload, to: app, strip_prefix: true }
  - { path: /old, to: app, rewrite: /new }
  - { exact: /one, to: app, rewrite: /two/three }
  - { path: /v, name: pattern, to: app, rewrite: { match: "^/v/([0-9]+)/(.*)$", to: "/api/$2/$1" } }
  - { path: /w, to: app, rewrite: { match: "^/w/[0-9]+", to: "/" } }
"#;

async fn start() -> (Worker, Gateway) {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Gateway::with(YAML)
        .ports("app", [worker.port()])
        .start()
        .await;
    (worker, gateway)
}

#[tokio::test]
async fn the_worker_sees_the_path_that_the_route_makes_of_it() {
    let (_worker, gateway) = start().await;
    let mut old = gateway.http().await;
    let mut new = gateway.h2("https").await;
    for (target, want) in [
        ("/upload/x?q=1", "/x?q=1"),
        ("/upload", "/"),
        ("/old/x/y?a=/old", "/new/x/y?a=/old"),
        ("/old", "/new"),
        ("/old/", "/new/"),
        ("/%6fld/a%20b", "/new/a%20b"),
        ("/old//a/./b/../c", "/new/a/c"),
        ("/one/?x", "/two/three?x"),
        ("/v/12/a/b?c", "/api/a/b/12?c"),
        ("/v/12/a%2fb", "/api/a%2Fb/12"),
        ("/v/none/%7e", "/v/none/%7e"),
        ("/other", "/other"),
    ] {
        for head in [
            old.get(target).await.text(),
            new.fetch(request("GET", target), "").await.text(),
        ] {
            let seen = Message {
                head,
                ..Message::default()
            };
            assert_eq!(seen.target(), want, "{target}");
        }
    }
}

#[tokio::test]
async fn what_a_rewrite_brings_to_the_front_is_denied_like_anything_else() {
    let (worker, gateway) = start().await;
    let denied = [
        "/upload/metrics/x",
        "/upload/%6detrics",
        "/upload//metrics/x",
        "/w/1/metrics/x",
    ];
    for (at, target) in denied.iter().enumerate() {
        let reply = gateway.http().await.get(target).await;
        assert_eq!(reply.status(), 403, "{target}");
        let line = gateway.access_log(at + 1).await.remove(at);
        assert_eq!(line["end"], "denied", "{line}");
    }
    assert_eq!(worker.count(), 0);
    let reply = gateway.http().await.get("/old/metrics/x").await;
    assert_eq!(reply.status(), 200, "in the middle it is harmless");
}
