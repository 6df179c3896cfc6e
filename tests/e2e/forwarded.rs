//! Are the hops that the operator trusts believed, and nobody else?

use e2e::h2_client::request;
use e2e::h2_scripts::h2_echoing_head;
use e2e::scripts::{echoing_head, replying};
use e2e::{Gateway, Message, Raw, Worker};

/// `http` and `https` trust this machine and 10/8; `strangers` only 10/8; `balanced` hears of its clients by the PROXY
/// protocol and trusts 10/8.
const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none, forwarded: { from: [10.0.0.0/8, 127.0.0.1] }<keys> }
  https: { bind: "127.0.0.1:0", forwarded: { from: [127.0.0.0/8, 10.0.0.0/8] }<keys>, tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
  strangers: { bind: "127.0.0.1:0", redirect_https: none, forwarded: { from: 10.0.0.0/8 }<keys> }
  balanced: { bind: "127.0.0.1:0", redirect_https: none, proxy_protocol: { from: 127.0.0.1 }, forwarded: { from: 10.0.0.0/8 }<keys> }
pools:
  app: { ports: <app><pool> }
routes:
  - { path: /inside, to: app, on: [http], deny: [192.0.2.9], rate: { per: address, requests: 1/h, burst: 1 } }
  - { path: /, to: app, on: [http, https, strangers, balanced], set_headers: { X-Client: "{client}" } }
"#;

async fn edge(workers: &[Worker], pool: &str, keys: &str) -> Gateway {
    Gateway::with(YAML)
        .ports("app", workers.iter().map(Worker::port))
        .text("pool", pool)
        .text("keys", keys)
        .start()
        .await
}

async fn echoing(keys: &str) -> (Worker, Gateway) {
    let worker = Worker::start(echoing_head()).await;
    let gateway = edge(std::slice::from_ref(&worker), "", keys).await;
    (worker, gateway)
}

/// What the worker saw of a request with these fields.
async fn seen(mut client: Raw, fields: &[&str]) -> Message {
    let reply = client.ask("GET", "/", fields, b"").await;
    assert_eq!(reply.status(), 200, "{fields:?}");
    Message {
        head: reply.text(),
        ..Message::default()
    }
}

#[tokio::test]
async fn the_client_is_the_last_address_that_is_not_trusted() {
    let (_worker, gateway) = echoing("").await;
    let many = format!("X-Forwarded-For: 192.0.2.1{}", ", 10.0.0.9".repeat(40));
    let kept = |chain: &str| format!("{chain}, 127.0.0.1");
    let mut lines = 0;
    for (fields, chain, client) in [
        (&[][..], "127.0.0.1".to_owned(), "127.0.0.1"),
        (
            &["X-Forwarded-For: 192.0.2.1"],
            kept("192.0.2.1"),
            "192.0.2.1",
        ),
        (
            &["x-forwarded-for: 6.6.6.6, 192.0.2.1, 10.0.0.2"],
            kept("6.6.6.6, 192.0.2.1, 10.0.0.2"),
            "192.0.2.1",
        ),
        (
            &["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 2001:db8::1"],
            kept("6.6.6.6, 2001:db8::1"),
            "2001:db8::1",
        ),
        (
            &["X-Forwarded-For: [2001:db8::1]:4711, ::ffff:10.0.0.2"],
            kept("[2001:db8::1]:4711, ::ffff:10.0.0.2"),
            "2001:db8::1",
        ),
        (
            &["X-Forwarded-For: 10.0.0.3, 10.0.0.2"],
            kept("10.0.0.3, 10.0.0.2"),
            "10.0.0.3",
        ),
        (
            &["X-Forwarded-For: 192.0.2.1, nonsense, 10.0.0.2"],
            kept("192.0.2.1, nonsense, 10.0.0.2"),
            "10.0.0.2",
        ),
        (
            &["X-Forwarded-For: nonsense"],
            kept("nonsense"),
            "127.0.0.1",
        ),
        (&["X-Forwarded-For:"], "127.0.0.1".to_owned(), "127.0.0.1"),
        (&[many.as_str()], kept(&many[17..]), "10.0.0.9"),
        // Not a name that a hop would use, and read by nobody.
        (
            &["X_Forwarded_For: 192.0.2.1"],
            "127.0.0.1".to_owned(),
            "127.0.0.1",
        ),
    ] {
        for client_of in [gateway.http().await, gateway.https().await] {
            let seen = seen(client_of, fields).await;
            assert_eq!(seen.fields("x-forwarded-for"), [&chain[..]]);
            assert_eq!(seen.fields("x-client"), [client], "{fields:?}");
        }
        lines += 2;
        for line in &gateway.access_log(lines).await[lines - 2..] {
            assert_eq!(line["client"], client, "{fields:?}: {line}");
        }
    }
}

#[tokio::test]
async fn what_a_trusted_hop_says_of_the_request_is_kept() {
    let (_worker, gateway) = echoing("").await;
    let port = gateway.port("http").to_string();
    let told = [
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: www.example.com",
        "X-Forwarded-Port: 443",
        "X-Forwarded-Server: inner",
        "Forwarded: for=192.0.2.1",
    ];
    for (fields, proto, host, at) in [
        (&[][..], "http", "edge.test", port.as_str()),
        (&told[..], "https", "www.example.com", "443"),
        (&told[..1], "https", "edge.test", port.as_str()),
        (
            &["X-Forwarded-Proto: gopher", "X-Forwarded-Proto: https"],
            "https",
            "edge.test",
            port.as_str(),
        ),
    ] {
        let seen = seen(gateway.http().await, fields).await;
        assert_eq!(seen.fields("x-forwarded-proto"), [proto], "{fields:?}");
        assert_eq!(seen.fields("x-forwarded-host"), [host], "{fields:?}");
        assert_eq!(seen.fields("x-forwarded-port"), [at], "{fields:?}");
        assert_eq!(seen.fields("host"), ["edge.test"]);
        assert_eq!(
            (seen.field("x-forwarded-server"), seen.field("forwarded")),
            (None, None)
        );
    }
}

#[tokio::test]
async fn a_stranger_is_dropped_as_ever() {
    let (_worker, gateway) = echoing("").await;
    let port = gateway.port("strangers").to_string();
    let lies = [
        "X-Forwarded-For: 192.0.2.1, 10.0.0.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil.test",
        "X-Forwarded-Port: 1",
        "Forwarded: for=192.0.2.1",
    ];
    let client = Raw::tcp(gateway.port("strangers")).await;
    let seen = seen(client, &lies).await;
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "edge.test"),
        ("x-forwarded-port", port.as_str()),
        ("x-client", "127.0.0.1"),
    ] {
        assert_eq!(seen.fields(name), [value], "{name}");
    }
    assert_eq!(seen.field("forwarded"), None);
    assert_eq!(gateway.access_log(1).await[0]["client"], "127.0.0.1");
}

#[tokio::test]
async fn forwarded_says_the_same_where_it_is_asked_for() {
    let (_worker, gateway) = echoing(", forwarded_header: on").await;
    for (listener, fields, forwarded) in [
        (
            "strangers",
            &["X-Forwarded-For: 192.0.2.1", "Forwarded: for=6.6.6.6"][..],
            "for=127.0.0.1;host=\"edge.test\";proto=http",
        ),
        (
            "http",
            &["Forwarded: for=6.6.6.6"],
            "for=127.0.0.1;host=\"edge.test\";proto=http",
        ),
        (
            "http",
            &[
                "X-Forwarded-For: 2001:db8::1, unknown, 10.0.0.2",
                "X-Forwarded-Proto: https",
                "X-Forwarded-Host: www.example.com:8443",
            ],
            "for=\"[2001:db8::1]\";host=\"www.example.com:8443\";proto=https, for=unknown, for=10.0.0.2, for=127.0.0.1",
        ),
    ] {
        let client = Raw::tcp(gateway.port(listener)).await;
        let seen = seen(client, fields).await;
        assert_eq!(seen.fields("forwarded"), [forwarded], "{fields:?}");
    }
}

#[tokio::test]
async fn an_h2c_worker_learns_the_same_of_an_http2_client() {
    let worker = Worker::start(h2_echoing_head()).await;
    let workers = std::slice::from_ref(&worker);
    let gateway = edge(workers, ", protocol: h2c", ", forwarded_header: on").await;
    let mut asked = request("GET", "/");
    for (name, value) in [
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-for", "10.0.0.2"),
        ("x-forwarded-proto", "http"),
    ] {
        asked.headers_mut().append(name, value.parse().unwrap());
    }
    let reply = gateway.h2("https").await.fetch(asked, "").await;
    let seen = Message {
        head: reply.text(),
        ..Message::default()
    };
    for (name, value) in [
        ("x-forwarded-for", "192.0.2.1, 10.0.0.2, 127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-client", "192.0.2.1"),
        (
            "forwarded",
            "for=192.0.2.1;host=\"edge.test\";proto=http, for=10.0.0.2, for=127.0.0.1",
        ),
    ] {
        assert_eq!(seen.fields(name), [value], "{name}");
    }
    assert_eq!(gateway.access_log(1).await[0]["client"], "192.0.2.1");
}

#[tokio::test]
async fn a_hop_behind_a_balancer_is_asked_for_by_its_own_address() {
    let (_worker, gateway) = echoing("").await;
    for (hop, chain, client) in [
        ("10.0.0.5", "192.0.2.1, 10.0.0.5", "192.0.2.1"),
        ("192.0.2.9", "192.0.2.9", "192.0.2.9"),
    ] {
        let mut raw = Raw::tcp(gateway.port("balanced")).await;
        raw.send(format!("PROXY TCP4 {hop} 10.0.0.1 1 2\r\n")).await;
        let seen = seen(raw, &["X-Forwarded-For: 192.0.2.1"]).await;
        assert_eq!(seen.fields("x-forwarded-for"), [chain]);
        assert_eq!(seen.fields("x-client"), [client]);
    }
}

#[tokio::test]
async fn a_client_keeps_its_worker_behind_a_hop() {
    let mut workers = Vec::new();
    for _ in 0..4 {
        workers.push(Worker::start(replying(200)).await);
    }
    let gateway = edge(&workers, ", balance: hash, hash: address", "").await;
    let counts = || workers.iter().map(Worker::count).collect::<Vec<_>>();
    let mut used = std::collections::HashSet::new();
    // One connection, as hops share them between clients.
    let mut hop = gateway.http().await;
    for client in 0..12 {
        let before = counts();
        for lie in 0..3 {
            let field = format!("X-Forwarded-For: 6.6.6.{lie}, 192.0.2.{client}");
            assert_eq!(hop.ask("GET", "/", &[&field], b"").await.status(), 200);
        }
        let after = counts();
        let grown: Vec<_> = (0..4).filter(|i| after[*i] != before[*i]).collect();
        assert_eq!(grown.len(), 1, "client {client}: {before:?} {after:?}");
        used.extend(grown);
    }
    assert!(used.len() > 1, "twelve clients at one worker");
}

#[tokio::test]
async fn limits_of_a_route_mean_the_hops_client() {
    let (_worker, gateway) = echoing("").await;
    let mut hop = gateway.http().await;
    for (client, status) in [
        ("192.0.2.1", 200),
        ("192.0.2.2", 200),
        ("192.0.2.1", 429),
        ("192.0.2.9", 403),
        ("192.0.2.9, 192.0.2.3", 200),
    ] {
        let field = format!("X-Forwarded-For: {client}");
        let reply = hop.ask("GET", "/inside", &[&field], b"").await;
        assert_eq!(reply.status(), status, "{client}");
    }
}

#[tokio::test]
async fn a_worker_with_the_proxy_protocol_is_told_of_the_hops_client() {
    let worker = Worker::start(replying(200)).await;
    let workers = std::slice::from_ref(&worker);
    let gateway = edge(workers, ", send_proxy: v1", "").await;
    let field = ["X-Forwarded-For: 192.0.2.1"];
    let reply = gateway.http().await.ask("GET", "/", &field, b"").await;
    assert_eq!(reply.status(), 200);
    // The hop does not tell which port its client had.
    let port = gateway.port("http");
    let header = format!("PROXY TCP4 192.0.2.1 127.0.0.1 0 {port}\r\nGET / ");
    let bytes = worker.bytes();
    assert!(
        bytes.starts_with(header.as_bytes()),
        "{}",
        String::from_utf8_lossy(&bytes)
    );
}

#[tokio::test]
async fn a_reload_changes_who_is_believed_on_open_connections() {
    let (_worker, gateway) = echoing("").await;
    let mut client = gateway.http().await;
    let field = ["X-Forwarded-For: 192.0.2.1"];
    for (chain, from, to) in [
        ("192.0.2.1, 127.0.0.1", ", 127.0.0.1] }", "] }"),
        ("127.0.0.1", "", ""),
    ] {
        let reply = client.ask("GET", "/", &field, b"").await;
        assert!(
            reply
                .text()
                .contains(&format!("x-forwarded-for: {chain}\r\n"))
        );
        if !from.is_empty() {
            let told = gateway.reload(|text| text.replace(from, to)).await;
            assert!(told.contains("reloaded"), "{told}");
        }
    }
}
