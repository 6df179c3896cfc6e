//! Does a certificate that was replaced on the disk get to clients by itself, and only a good one?

use std::os::unix::fs::symlink;

use e2e::raw::Session;
use e2e::scripts::replying;
use e2e::{Authority, Gateway, Leaf, Raw, Tls, Worker, eventually};

const YAML: &str = r#"
admin: { bind: "127.0.0.1:0" }
listeners:
  https:  { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ]<tls> } }
  other:  { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/other.pem, key: <dir>/other.key } ] } }
pools:
  app: { ports: <app> }
routes:
  - { path: /, to: app }
"#;

async fn gateway(worker: &Worker, tls: &str) -> Gateway {
    let plan = Gateway::with(YAML).ports("app", [worker.port()]);
    plan.text("tls", tls).start().await
}

/// The certificate that a client gets.
async fn shown(gateway: &Gateway) -> Vec<u8> {
    let stream = gateway.tls().connect(gateway.port("https")).await;
    Session::of(&stream.expect("a handshake")).leaf
}

async fn is_shown(gateway: &Gateway, expected: &[u8]) {
    eventually("the new certificate is shown", || async {
        (shown(gateway).await == expected).then_some(())
    })
    .await;
}

fn pickups(result: &str) -> String {
    format!(r#"portcullis_certificate_pickups_total{{listener="https",result="{result}"}}"#)
}

async fn count(gateway: &Gateway, result: &str) -> f64 {
    gateway.metric(&pickups(result)).await.unwrap_or(0.0)
}

fn new_edge(authority: &Authority) -> e2e::Issued {
    authority.issue(&Leaf::server(&["edge.test"]))
}

#[tokio::test]
async fn files_that_are_renamed_into_place_are_picked_up() {
    let worker = Worker::start(replying(200)).await;
    let gateway = gateway(&worker, "").await;
    let mut open = gateway.https().await;
    assert_eq!(open.get("/").await.status(), 200);
    let new = gateway.certs().authority.issue(&Leaf {
        until: (2080, 1, 1),
        ..Leaf::server(&["edge.test"])
    });
    gateway.put("edge.key", &new.key);
    gateway.put("edge.pem", &new.chain);
    is_shown(&gateway, &new.der).await;
    assert_eq!(open.get("/").await.status(), 200, "connections go on");
    assert_eq!(count(&gateway, "done").await, 1.0);
    let expiry = format!(
        r#"portcullis_certificate_expiry_timestamp_seconds{{listener="https",certificate="{}"}}"#,
        gateway.file("edge.pem").display()
    );
    assert_eq!(gateway.metric(&expiry).await, Some(3_471_292_800.0));
    let told = || async {
        gateway
            .stderr()
            .contains("certificate picked up")
            .then_some(())
    };
    eventually("the log tells of it", told).await;
    let other = r#"portcullis_certificate_pickups_total{listener="other",result="done"}"#;
    assert_eq!(
        gateway.metric(other).await,
        None,
        "the other listener kept its own"
    );
}

#[tokio::test]
async fn files_that_are_written_in_place_are_picked_up() {
    let worker = Worker::start(replying(200)).await;
    let gateway = gateway(&worker, "").await;
    let new = new_edge(&gateway.certs().authority);
    std::fs::write(gateway.file("edge.key"), &new.key).unwrap();
    std::fs::write(gateway.file("edge.pem"), &new.chain).unwrap();
    is_shown(&gateway, &new.der).await;
}

#[tokio::test]
async fn another_target_of_a_symbolic_link_is_picked_up() {
    let worker = Worker::start(replying(200)).await;
    let gateway = gateway(&worker, "").await;
    // As Kubernetes mounts secrets: files are links into `..data`, which is a link that is replaced by a rename.
    let new = [
        new_edge(&gateway.certs().authority),
        new_edge(&gateway.certs().authority),
    ];
    for (at, new) in new.iter().enumerate() {
        let data = gateway.file(&format!("..{at}"));
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("edge.pem"), &new.chain).unwrap();
        std::fs::write(data.join("edge.key"), &new.key).unwrap();
        symlink(&data, gateway.file("..data_tmp")).unwrap();
        std::fs::rename(gateway.file("..data_tmp"), gateway.file("..data")).unwrap();
        if at == 0 {
            for name in ["edge.pem", "edge.key"] {
                symlink(format!("..data/{name}"), gateway.file("link")).unwrap();
                std::fs::rename(gateway.file("link"), gateway.file(name)).unwrap();
            }
        }
        is_shown(&gateway, &new.der).await;
    }
}

#[tokio::test]
async fn what_clients_would_refuse_is_not_taken_over() {
    let worker = Worker::start(replying(200)).await;
    let gateway = gateway(&worker, "").await;
    let authority = &gateway.certs().authority;
    let first = shown(&gateway).await;
    let good = new_edge(authority);
    let expired = authority.issue(&Leaf {
        until: (2021, 1, 1),
        ..Leaf::server(&["edge.test"])
    });
    let half = good.chain[..good.chain.len() / 2].to_owned();
    let wrong_order = format!("{}{}", authority.pem, good.chain);
    for (at, (chain, key, why)) in [
        (
            &good.chain,
            new_edge(authority).key,
            "does not belong to the certificate",
        ),
        (&half, good.key.clone(), "ends in the midst of a PEM block"),
        (&expired.chain, expired.key.clone(), "expired on"),
        (&wrong_order, good.key.clone(), "must stand first"),
        (&String::new(), good.key.clone(), "has no certificate"),
    ]
    .into_iter()
    .enumerate()
    {
        let before = gateway.stderr().len();
        gateway.put("edge.key", &key);
        gateway.put("edge.pem", chain);
        eventually(&format!("the log says: {why}"), || async {
            let told = gateway.stderr().split_off(before);
            let told = told.lines().any(|line| {
                line.contains("replaced certificate refused, the old one stays")
                    && line.contains(why)
                    && line.contains("edge.")
                    && line.contains("fix=")
            });
            told.then_some(())
        })
        .await;
        assert_eq!(shown(&gateway).await, first, "{why}");
        assert!(count(&gateway, "refused").await > at as f64, "{why}");
    }
    assert_eq!(count(&gateway, "done").await, 0.0);
    gateway.put("edge.key", &good.key);
    gateway.put("edge.pem", &good.chain);
    is_shown(&gateway, &good.der).await;
}

#[tokio::test]
async fn sessions_are_resumed_over_a_replacement() {
    let worker = Worker::start(replying(200)).await;
    let gateway = gateway(&worker, "").await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = Tls::versions(gateway.certs(), &[version]);
        let stream = client.connect(gateway.port("https")).await.unwrap();
        // A ticket of TLS 1.3 comes after the handshake.
        assert_eq!(Raw::over(stream).get("/").await.status(), 200);
        let new = new_edge(&gateway.certs().authority);
        gateway.put("edge.key", &new.key);
        gateway.put("edge.pem", &new.chain);
        is_shown(&gateway, &new.der).await;
        let stream = client.connect(gateway.port("https")).await.unwrap();
        assert!(Session::of(&stream).resumed, "{version:?}");
    }
}

#[tokio::test]
async fn nothing_is_picked_up_where_the_file_says_so_but_by_a_reload() {
    let worker = Worker::start(replying(200)).await;
    let gateway = gateway(&worker, ", watch: off").await;
    let (first, new) = (shown(&gateway).await, new_edge(&gateway.certs().authority));
    gateway.put("edge.key", &new.key);
    gateway.put("edge.pem", &new.chain);
    // The other listener picks up what came later: then this one would have had its time.
    let later = gateway
        .certs()
        .authority
        .issue(&Leaf::server(&["other.test"]));
    gateway.put("other.key", &later.key);
    gateway.put("other.pem", &later.chain);
    let done = r#"portcullis_certificate_pickups_total{listener="other",result="done"}"#;
    eventually("the other listener's is picked up", || async {
        gateway.metric(done).await
    })
    .await;
    assert_eq!(shown(&gateway).await, first);
    let told = gateway.reload(|yaml| yaml).await;
    assert!(told.contains("reloaded"), "{told}");
    assert_eq!(shown(&gateway).await, new.der.to_vec());
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_told_of() {
    let worker = Worker::start(replying(200)).await;
    let gateway = gateway(&worker, "").await;
    let ends = time_in(5);
    let ending = gateway.certs().authority.issue(&Leaf {
        until: ends,
        ..Leaf::server(&["edge.test"])
    });
    assert!(!gateway.stderr().contains("expires soon"));
    gateway.put("edge.key", &ending.key);
    gateway.put("edge.pem", &ending.chain);
    eventually("the log tells of it", || async {
        let told = gateway.stderr();
        told.lines()
            .any(|line| {
                line.contains("ERROR")
                    && line.contains("certificate expires soon")
                    && line.contains("edge.pem")
            })
            .then_some(())
    })
    .await;
}

/// The date in so many days.
fn time_in(days: u64) -> (i32, u8, u8) {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let then =
        rcgen::date_time_ymd(1970, 1, 1) + since + std::time::Duration::from_secs(days * 86_400);
    (then.year(), u8::from(then.month()), then.day())
}
