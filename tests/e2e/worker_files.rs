//! Are files of TLS towards workers that were replaced on the disk used by themselves, and only sound ones?

use e2e::scripts::{replying, upgrading};
use e2e::tls_front::{Front, TlsFront};
use e2e::websocket::{opening, text_frame};
use e2e::{Authority, Gateway, Leaf, Worker, eventually};

const YAML: &str = r#"
admin: { bind: "127.0.0.1:0" }
threads: 1
listeners:
  http: { bind: "127.0.0.1:0", redirect_https: none }
pools:
  app: { ports: <app>, retry: off, tls: { ca: <dir>/workers.pem<tls> } }
routes:
  - { path: /, to: app }
"#;

const OWN: &str = ", client_certificate: { chain: <dir>/own.pem, key: <dir>/own.key }";
const SERVER: [&str; 1] = ["127.0.0.1"];

async fn count(gateway: &Gateway, result: &str) -> f64 {
    let line = format!(r#"portcullis_pool_tls_pickups_total{{pool="app",result="{result}"}}"#);
    gateway.metric(&line).await.unwrap_or(0.0)
}

async fn counted(gateway: &Gateway, result: &str, least: f64) {
    eventually(&format!("{least} {result}"), || async {
        (count(gateway, result).await >= least).then_some(())
    })
    .await;
}

async fn told(gateway: &Gateway, parts: &[&str]) {
    eventually(&format!("the log says {parts:?}"), || async {
        let told = gateway.stderr();
        let has = |line: &str| parts.iter().all(|part| line.contains(part));
        told.lines().any(has).then_some(())
    })
    .await;
}

#[tokio::test]
async fn another_authority_is_trusted_once_its_file_is_there_and_a_broken_one_changes_nothing() {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    // Closes after each answer, so that each request shakes hands.
    let worker = Worker::start(e2e::scripts::answering(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok".to_vec()
    }))
    .await;
    let shown = new.issue(&Leaf::server(&SERVER));
    let front = TlsFront::start(worker.port(), &shown, Front::default()).await;
    let gateway = Gateway::with(YAML)
        .ports("app", [front.port()])
        .text("tls", "")
        .file("workers.pem", &old.pem)
        .start()
        .await;
    assert_eq!(gateway.http().await.get("/").await.status(), 503);
    gateway.put("workers.pem", &new.pem);
    counted(&gateway, "done", 1.0).await;
    assert_eq!(gateway.http().await.get("/").await.status(), 200);
    told(
        &gateway,
        &["INFO", "TLS to workers picked up", "pool=\"app\""],
    )
    .await;
    for (text, why) in [
        ("nothing", "has no certificate"),
        (
            &new.pem[..new.pem.len() / 2],
            "ends in the midst of a PEM block",
        ),
    ] {
        let refused = count(&gateway, "refused").await;
        gateway.put("workers.pem", text);
        counted(&gateway, "refused", refused + 1.0).await;
        let said = "replaced file of TLS to workers refused, the old one stays";
        told(&gateway, &["ERROR", said, "workers.pem", why]).await;
        assert_eq!(gateway.http().await.get("/").await.status(), 200, "{why}");
    }
    assert_eq!(count(&gateway, "done").await, 1.0);
    // What was good once more is no news.
    gateway.put("workers.pem", &new.pem);
    gateway.put("workers.pem", &format!("{}{}", old.pem, new.pem));
    counted(&gateway, "done", 2.0).await;
    assert_eq!(gateway.http().await.get("/").await.status(), 200);
}

#[tokio::test]
async fn workers_are_shown_a_replaced_certificate_and_streams_live_on_with_the_old() {
    let (workers, clients) = (Authority::new("Workers"), Authority::new("Gateways"));
    let worker = Worker::start(upgrading()).await;
    let [one, two, three] = ["edge-1", "edge-2", "edge-3"].map(|name| {
        clients.issue(&Leaf {
            until: (2080, 1, 1),
            ..Leaf::client(name)
        })
    });
    let front = Front {
        clients: Some(&clients),
        ..Front::default()
    };
    let shown = workers.issue(&Leaf::server(&SERVER));
    let front = TlsFront::start(worker.port(), &shown, front).await;
    let gateway = Gateway::with(YAML)
        .ports("app", [front.port()])
        .text("tls", OWN)
        .file("workers.pem", &workers.pem)
        .file("own.pem", &one.chain)
        .file("own.key", &one.key)
        .start()
        .await;
    let open = async || {
        let mut stream = gateway.http().await;
        stream.send(opening("/")).await;
        assert_eq!(stream.head().await.status(), 101);
        stream
    };
    let mut old = open().await;
    // The key of another: refused, and the old one is shown.
    gateway.put("own.key", &three.key);
    counted(&gateway, "refused", 1.0).await;
    told(
        &gateway,
        &[
            "ERROR",
            "the old one stays",
            "does not belong to the certificate",
        ],
    )
    .await;
    let _same = open().await;
    gateway.put("own.key", &two.key);
    gateway.put("own.pem", &two.chain);
    counted(&gateway, "done", 1.0).await;
    let _new = open().await;
    let seen: Vec<_> = front.seen().into_iter().map(|it| it.certificate).collect();
    let expected = [&one, &one, &two].map(|issued| Some(issued.der.to_vec()));
    assert_eq!(seen, expected);
    let frame = text_frame("hello");
    old.send(&frame).await;
    assert_eq!(old.exact(frame.len()).await, frame);
    let expiry = format!(
        r#"portcullis_pool_certificate_expiry_timestamp_seconds{{pool="app",certificate="{}"}}"#,
        gateway.file("own.pem").display()
    );
    assert_eq!(gateway.metric(&expiry).await, Some(3_471_292_800.0));
}

#[tokio::test]
async fn nothing_is_picked_up_where_the_file_says_so_but_by_a_reload() {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let worker = Worker::start(replying(200)).await;
    let shown = new.issue(&Leaf::server(&SERVER));
    let front = TlsFront::start(worker.port(), &shown, Front::default()).await;
    let gateway = Gateway::with(YAML)
        .ports("app", [front.port()])
        .text("tls", ", watch: off")
        .file("workers.pem", &old.pem)
        .start()
        .await;
    gateway.put("workers.pem", &new.pem);
    assert_eq!(gateway.http().await.get("/").await.status(), 503);
    let told = gateway.reload(|yaml| yaml).await;
    assert!(told.contains("reloaded"), "{told}");
    assert_eq!(gateway.http().await.get("/").await.status(), 200);
    assert_eq!(count(&gateway, "done").await, 0.0);
}
