//! Is what goes to workers protected where it is asked for, and does it reach only those that prove who they are?

use e2e::grpc::{call, frame};
use e2e::h2_scripts::h2_mirroring;
use e2e::scripts::{echoing_head, mirroring, replying};
use e2e::tls_front::{Front, TlsFront};
use e2e::{Authority, Gateway, Leaf, Worker, eventually};

const YAML: &str = r#"
admin: { bind: "127.0.0.1:0" }
threads: 1
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none }
  grpc:  { bind: "127.0.0.1:0", protocol: grpc, tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  app:   { ports: <app>, <pool> }
routes:
  - { path: /, to: app, on: [http, grpc] }
"#;

const SERVER: [&str; 2] = ["worker.test", "127.0.0.1"];

fn plan(port: u16, pool: &str, workers: &Authority) -> e2e::gateway::Plan {
    Gateway::with(YAML)
        .ports("app", [port])
        .text("pool", pool)
        .file("workers.pem", &workers.pem)
}

const TRUSTING: &str = "tls: { ca: <dir>/workers.pem }";

#[tokio::test]
async fn requests_go_through_tls_and_connections_are_kept() {
    let workers = Authority::new("Workers");
    let worker = Worker::start(mirroring()).await;
    let shown = workers.issue(&Leaf::server(&SERVER));
    let front = TlsFront::start(worker.port(), &shown, Front::default()).await;
    let gateway = plan(front.port(), TRUSTING, &workers).start().await;
    let mut client = gateway.http().await;
    // More than a record, and more than the gateway's buffers.
    for size in [0, 10, 300_000] {
        let body = vec![b'x'; size];
        let reply = client.ask("POST", "/", &[], &body).await;
        assert_eq!((reply.status(), reply.body.len()), (200, size));
    }
    let seen = front.seen();
    assert_eq!(seen.len(), 1, "one connection for all: {seen:?}");
    assert_eq!(seen[0].name, None, "an address is no name");
    assert!(seen[0].certificate.is_none());
}

#[tokio::test]
async fn a_worker_is_asked_for_by_name_and_must_prove_it() {
    let workers = Authority::new("Workers");
    let worker = Worker::start(replying(200)).await;
    let shown = workers.issue(&Leaf::server(&["worker.test"]));
    let front = TlsFront::start(worker.port(), &shown, Front::default()).await;
    let pool = "tls: { ca: <dir>/workers.pem, name: worker.test }";
    let gateway = plan(front.port(), pool, &workers).start().await;
    assert_eq!(gateway.http().await.get("/").await.status(), 200);
    assert_eq!(front.seen()[0].name.as_deref(), Some("worker.test"));
}

#[tokio::test]
async fn a_worker_that_cannot_prove_itself_gets_no_request() {
    let workers = Authority::new("Workers");
    let worker = Worker::start(replying(200)).await;
    let stranger = Authority::new("Strangers");
    for (shown, pool) in [
        (stranger.issue(&Leaf::server(&SERVER)), TRUSTING),
        (workers.issue(&Leaf::server(&["another.test"])), TRUSTING),
        (
            workers.issue(&Leaf {
                until: (2021, 1, 1),
                ..Leaf::server(&SERVER)
            }),
            TRUSTING,
        ),
    ] {
        let front = TlsFront::start(worker.port(), &shown, Front::default()).await;
        let pool = format!("retry: off, {pool}");
        let gateway = plan(front.port(), &pool, &workers).start().await;
        let reply = gateway.http().await.ask("POST", "/", &[], b"secret").await;
        assert_eq!(reply.status(), 503);
        let line = gateway.access_log(1).await.pop().unwrap();
        assert_eq!(
            (&line["status"], &line["end"]),
            (&503.into(), &"connect".into()),
            "{line}"
        );
        let told = gateway.stderr();
        assert!(told.contains("TLS with a worker failed"), "{told}");
    }
    assert_eq!(worker.count(), 0);
    // Told so, the gateway takes whoever answers.
    let shown = stranger.issue(&Leaf::server(&["another.test"]));
    let front = TlsFront::start(worker.port(), &shown, Front::default()).await;
    let gateway = plan(front.port(), "tls: { verify: off }", &workers)
        .start()
        .await;
    assert!(
        gateway.stderr().contains("verify: off"),
        "{}",
        gateway.stderr()
    );
    assert_eq!(gateway.http().await.get("/").await.status(), 200);
}

#[tokio::test]
async fn a_request_goes_to_another_worker_where_one_cannot_prove_itself() {
    let workers = Authority::new("Workers");
    let worker = Worker::start(replying(200)).await;
    let good = workers.issue(&Leaf::server(&SERVER));
    let bad = Authority::new("Strangers").issue(&Leaf::server(&SERVER));
    let good = TlsFront::start(worker.port(), &good, Front::default()).await;
    let bad = TlsFront::start(worker.port(), &bad, Front::default()).await;
    let gateway = Gateway::with(YAML)
        .ports("app", [good.port(), bad.port()])
        .text("pool", &format!("balance: round-robin, {TRUSTING}"))
        .file("workers.pem", &workers.pem)
        .start()
        .await;
    let mut client = gateway.http().await;
    for _ in 0..4 {
        // Nothing was sent, so even a POST may be tried again.
        assert_eq!(client.ask("POST", "/", &[], b"x").await.status(), 200);
    }
    assert!(!bad.failed().is_empty(), "it was tried");
}

#[tokio::test]
async fn the_gateway_shows_a_certificate_where_workers_ask_for_one() {
    let (workers, clients) = (Authority::new("Workers"), Authority::new("Gateways"));
    let worker = Worker::start(replying(200)).await;
    let own = clients.issue(&Leaf::client("edge-1"));
    let front = Front {
        clients: Some(&clients),
        ..Front::default()
    };
    let front = TlsFront::start(worker.port(), &workers.issue(&Leaf::server(&SERVER)), front).await;
    let pool = "tls: { ca: <dir>/workers.pem, client_certificate: { chain: <dir>/own.pem, key: <dir>/own.key } }";
    let gateway = plan(front.port(), pool, &workers)
        .file("own.pem", &own.chain)
        .file("own.key", &own.key)
        .start()
        .await;
    assert_eq!(gateway.http().await.get("/").await.status(), 200);
    assert_eq!(
        front.seen()[0].certificate.as_deref(),
        Some(own.der.as_ref())
    );
}

#[tokio::test]
async fn sessions_with_workers_are_resumed() {
    let workers = Authority::new("Workers");
    // Closes after each answer.
    let worker = Worker::start(e2e::scripts::answering(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok".to_vec()
    }))
    .await;
    let shown = workers.issue(&Leaf::server(&SERVER));
    let front = TlsFront::start(worker.port(), &shown, Front::default()).await;
    let gateway = plan(front.port(), TRUSTING, &workers).start().await;
    let mut client = gateway.http().await;
    eventually("a session is resumed", || async {
        assert_eq!(gateway.http().await.get("/").await.status(), 200);
        front
            .seen()
            .iter()
            .any(|shaken| shaken.resumed)
            .then_some(())
    })
    .await;
    assert_eq!(client.get("/").await.status(), 200);
}

#[tokio::test]
async fn http2_is_agreed_by_alpn_and_carries_grpc() {
    let workers = Authority::new("Workers");
    let worker = Worker::start(h2_mirroring()).await;
    let shown = workers.issue(&Leaf::server(&SERVER));
    let front = Front {
        alpn: &["h2"],
        ..Front::default()
    };
    let front = TlsFront::start(worker.port(), &shown, front).await;
    let pool = format!("protocol: h2, {TRUSTING}");
    let gateway = plan(front.port(), &pool, &workers).start().await;
    let mut h2 = gateway.h2("grpc").await;
    for _ in 0..3 {
        let reply = h2.fetch(call("/s/Unary"), frame("hello")).await;
        assert_eq!(reply.grpc_status(), Some("0"));
    }
    let seen = front.seen();
    assert_eq!(seen.len(), 1, "one session for all: {seen:?}");
    assert_eq!(seen[0].alpn.as_deref(), Some("h2"));
    assert!(
        worker.requests()[0].head.contains("<scheme>: https"),
        "{}",
        worker.requests()[0].head
    );
}

#[tokio::test]
async fn a_worker_that_speaks_no_http2_is_found_out_by_alpn() {
    let workers = Authority::new("Workers");
    let worker = Worker::start(replying(200)).await;
    let shown = workers.issue(&Leaf::server(&SERVER));
    let front = TlsFront::start(worker.port(), &shown, Front::default()).await;
    let pool = format!("protocol: h2, retry: off, {TRUSTING}");
    let gateway = plan(front.port(), &pool, &workers).start().await;
    assert_eq!(gateway.http().await.get("/").await.status(), 503);
    assert!(
        gateway.stderr().contains("does not agree to HTTP/2"),
        "{}",
        gateway.stderr()
    );
    assert_eq!(worker.count(), 0);
}

#[tokio::test]
async fn health_checks_go_through_tls() {
    let workers = Authority::new("Workers");
    let worker = Worker::start(replying(200)).await;
    let good = TlsFront::start(
        worker.port(),
        &workers.issue(&Leaf::server(&SERVER)),
        Front::default(),
    )
    .await;
    let pool = format!("health: {{ http: /healthy, interval: 100ms }}, {TRUSTING}");
    let gateway = plan(good.port(), &pool, &workers).start().await;
    assert_eq!(gateway.http().await.get("/").await.status(), 200);
    let targets: Vec<_> = worker
        .requests()
        .iter()
        .map(|request| request.target().to_owned())
        .collect();
    assert!(targets.contains(&"/healthy".to_owned()), "{targets:?}");
    let bad = Authority::new("Strangers").issue(&Leaf::server(&SERVER));
    let bad = TlsFront::start(worker.port(), &bad, Front::default()).await;
    let gateway = plan(bad.port(), &format!("hold: off, {pool}"), &workers)
        .start()
        .await;
    eventually("the check fails", || async {
        let reason = gateway.status().await["pools"][0]["workers"][0]["reason"].to_string();
        reason.contains("TLS").then_some(())
    })
    .await;
    assert_eq!(gateway.http().await.get("/").await.status(), 503);
}

#[tokio::test]
async fn the_proxy_protocol_comes_before_tls() {
    let workers = Authority::new("Workers");
    let worker = Worker::start(echoing_head()).await;
    let shown = workers.issue(&Leaf::server(&SERVER));
    let front = Front {
        preface: true,
        ..Front::default()
    };
    let front = TlsFront::start(worker.port(), &shown, front).await;
    let pool = format!("send_proxy: v1, {TRUSTING}");
    let gateway = plan(front.port(), &pool, &workers).start().await;
    assert_eq!(gateway.http().await.get("/").await.status(), 200);
    let preface = front.seen()[0].preface.clone().unwrap();
    assert!(preface.starts_with("PROXY TCP4 127.0.0.1 "), "{preface}");
}

#[tokio::test]
async fn a_reload_that_changes_tls_uses_no_old_connection() {
    let workers = Authority::new("Workers");
    let worker = Worker::start(replying(200)).await;
    let shown = workers.issue(&Leaf::server(&["127.0.0.1", "one.test", "two.test"]));
    let front = TlsFront::start(worker.port(), &shown, Front::default()).await;
    let pool = "tls: { ca: <dir>/workers.pem, name: one.test }";
    let gateway = plan(front.port(), pool, &workers).start().await;
    let mut client = gateway.http().await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.status(), 200);
    }
    for (from, to) in [("/", "/"), ("one.test", "two.test")] {
        let told = gateway.reload(|yaml| yaml.replace(from, to)).await;
        assert!(told.contains("reloaded"), "{told}");
        assert_eq!(client.get("/").await.status(), 200);
    }
    let seen = front.seen().into_iter();
    let names: Vec<_> = seen.filter_map(|shaken| shaken.name).collect();
    assert_eq!(names, ["one.test", "two.test"]);
}

#[tokio::test]
async fn a_reload_with_an_authority_that_cannot_be_read_is_refused() {
    let workers = Authority::new("Workers");
    let worker = Worker::start(replying(200)).await;
    let shown = workers.issue(&Leaf::server(&SERVER));
    let front = TlsFront::start(worker.port(), &shown, Front::default()).await;
    let gateway = plan(front.port(), TRUSTING, &workers).start().await;
    let told = gateway
        .reload(|yaml| yaml.replace("workers.pem", "nowhere.pem"))
        .await;
    assert!(
        told.contains("reload refused") && told.contains("nowhere.pem"),
        "{told}"
    );
    assert_eq!(gateway.http().await.get("/").await.status(), 200);
}
