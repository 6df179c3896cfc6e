//! Is the client the one that a trusted balancer names before TLS or HTTP begins, and nobody else?

use std::net::SocketAddr;

use e2e::h2_client::request;
use e2e::h2_scripts::h2_echoing_head;
use e2e::raw::tcp;
use e2e::scripts::{by_hand, echoing_head, reply, replying};
use e2e::{Conn, Gateway, H2, Message, Raw, Script, Worker, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// `http` and `https` trust this machine; `strangers` and `secure-strangers` another network.
const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none, proxy_protocol: { from: [127.0.0.0/8] }, limits: { <limits> } }
  https: { bind: "127.0.0.1:0", proxy_protocol: { from: [10.0.0.0/8, 127.0.0.1] }, limits: { <limits> }, <tls> }
  strangers: { bind: "127.0.0.1:0", redirect_https: none, proxy_protocol: { from: [10.0.0.0/8, "::1"] } }
  secure-strangers: { bind: "127.0.0.1:0", proxy_protocol: { from: 10.0.0.0/8 }, <tls> }
  picky: { bind: "127.0.0.1:0", redirect_https: none, proxy_protocol: { from: [127.0.0.0/8] }, allow: [192.0.2.0/24], deny: [192.0.2.9] }
pools:
  app: { ports: <app><pool> }
routes:
  - { path: /, to: app, on: [http, https, strangers, secure-strangers, picky] }
"#;

async fn edge(workers: &[Worker], pool: &str, limits: &str) -> Gateway {
    Gateway::with(YAML)
        .ports("app", workers.iter().map(Worker::port))
        .text("pool", pool)
        .text("limits", limits)
        .text(
            "tls",
            "tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] }",
        )
        .start()
        .await
}

async fn echoing() -> (Worker, Gateway) {
    let worker = Worker::start(echoing_head()).await;
    let gateway = edge(std::slice::from_ref(&worker), "", "").await;
    (worker, gateway)
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n";
const V1_FOUR: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 8443\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, body].concat()
}

fn v2_four(client: [u8; 4]) -> Vec<u8> {
    let rest = [198, 51, 100, 1, 0xdc, 0x04, 0x20, 0xfb];
    v2(0x21, 0x11, &[&client[..], &rest].concat())
}

fn v2_six() -> Vec<u8> {
    let mut body = [0; 36];
    (body[0], body[1], body[15], body[34], body[35]) = (0xfd, 0, 9, 0x20, 0xfb);
    v2(0x21, 0x21, &body)
}

fn largest() -> Vec<u8> {
    let mut body = v2_four([192, 0, 2, 7])[16..].to_vec();
    body.resize(4096 - 16, 7);
    v2(0x21, 0x11, &body)
}

fn seen(reply: &Message) -> Message {
    assert_eq!(reply.status(), 200, "{}", reply.head);
    Message {
        head: reply.text(),
        ..Message::default()
    }
}

async fn refused(gateway: &Gateway, listener: &str, limit: &str) -> u64 {
    let name = format!(
        "portcullis_connections_refused_total{{limit=\"{limit}\",listener=\"{listener}\"}} "
    );
    let text = gateway.admin("/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("{name} in {text}"))
        .parse()
        .unwrap()
}

/// A client in plain text behind these bytes.
async fn plain(gateway: &Gateway, listener: &str, header: &[u8]) -> Raw {
    let mut client = Raw::tcp(gateway.port(listener)).await;
    client.try_send(header).await;
    client
}

/// A client with TLS whose hello comes in one segment with the header.
async fn tls(gateway: &Gateway, header: &[u8], alpn: &str) -> impl e2e::wire::Io + 'static {
    tls_cut(gateway, header, 0, alpn).await
}

/// The same, where so much of the header came before.
async fn tls_cut(
    gateway: &Gateway,
    header: &[u8],
    cut: usize,
    alpn: &str,
) -> impl e2e::wire::Io + 'static {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (mut from_gateway, mut to_gateway) = tcp(gateway.port("https")).await.into_split();
    let (mut from_client, mut to_client) = tokio::io::split(far);
    to_gateway.write_all(&header[..cut]).await.unwrap();
    let mut first = header[cut..].to_vec();
    tokio::spawn(async move {
        from_client.read_buf(&mut first).await?;
        to_gateway.write_all(&first).await?;
        tokio::io::copy(&mut from_client, &mut to_gateway).await
    });
    tokio::spawn(async move { tokio::io::copy(&mut from_gateway, &mut to_client).await });
    let handshake = gateway.tls().alpn(&[alpn]).connect_over(near).await;
    handshake.expect("TLS begins right behind the header")
}

#[tokio::test]
async fn the_client_is_the_one_the_header_names() {
    let (_worker, gateway) = echoing().await;
    let with_tlv = v2(
        0x21,
        0x11,
        &[&v2_four([192, 0, 2, 7])[16..], &[4, 0, 2, 0, 0]].concat(),
    );
    let mut lines = 0;
    for (header, client) in [
        (V1_FOUR.to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 fd00::9 ::1 1 8443\r\n".to_vec(), "fd00::9"),
        (
            b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 8443\r\n".to_vec(),
            "192.0.2.7",
        ),
        (v2_four([192, 0, 2, 7]), "192.0.2.7"),
        (v2_six(), "fd00::9"),
        (with_tlv, "192.0.2.7"),
        (largest(), "192.0.2.7"),
    ] {
        let mut old = plain(&gateway, "http", &[&header, REQUEST].concat()).await;
        let first = seen(&old.reply().await);
        let second = seen(&old.get("/").await);
        let mut secure = Raw::over(tls(&gateway, &header, "http/1.1").await);
        let third = seen(&secure.get("/").await);
        let mut new = H2::over(tls(&gateway, &header, "h2").await).await;
        let fourth = new.fetch(request("GET", "/"), "").await;
        let fourth = Message {
            head: fourth.text(),
            ..Message::default()
        };
        for seen in [first, second, third, fourth] {
            assert_eq!(seen.fields("x-forwarded-for"), [client], "{}", seen.head);
            assert_eq!(seen.fields("x-forwarded-port"), ["8443"], "{}", seen.head);
        }
        lines += 4;
        for line in &gateway.access_log(lines).await[lines - 4..] {
            assert_eq!(line["client"], client, "{line}");
        }
    }
    assert_eq!(refused(&gateway, "http", "proxy_protocol").await, 0);
    assert_eq!(refused(&gateway, "https", "proxy_protocol").await, 0);
}

#[tokio::test]
async fn a_header_may_come_in_any_pieces() {
    let (_worker, gateway) = echoing().await;
    for header in [V1_FOUR.to_vec(), v2_four([192, 0, 2, 7]), v2_six()] {
        let all = [&header, REQUEST].concat();
        let mut client = plain(&gateway, "http", b"").await;
        for byte in &all {
            client.send([*byte]).await;
        }
        let whole = seen(&client.reply().await);
        for cut in 1..all.len() {
            let mut client = plain(&gateway, "http", &all[..cut]).await;
            client.send(&all[cut..]).await;
            let cut = seen(&client.reply().await);
            assert_eq!(
                cut.fields("x-forwarded-for"),
                whole.fields("x-forwarded-for")
            );
        }
        for cut in 1..=header.len() {
            let mut client = Raw::over(tls_cut(&gateway, &header, cut, "http/1.1").await);
            let cut = seen(&client.get("/").await);
            assert_eq!(
                cut.fields("x-forwarded-for"),
                whole.fields("x-forwarded-for")
            );
        }
        let mut slow = tcp(gateway.port("https")).await;
        for byte in &header {
            slow.write_all(&[*byte]).await.unwrap();
        }
        let slow = gateway.tls().connect_over(slow).await.unwrap();
        let seen = seen(&Raw::over(slow).get("/").await);
        assert_eq!(
            seen.fields("x-forwarded-for"),
            whole.fields("x-forwarded-for")
        );
    }
}

#[tokio::test]
async fn without_a_good_header_a_trusted_peer_is_not_served() {
    let (worker, gateway) = echoing().await;
    let too_long = [&b"PROXY UNKNOWN "[..], &[b'x'; 200], b"\r\n"].concat();
    let bad: &[&[u8]] = &[
        REQUEST,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 8443 \r\n",
        b"PROXY TCP4 192.0.2.777 198.51.100.1 56324 8443\r\n",
        b"PROXY TCP4 fd00::9 fd00::9 1 2\r\n",
        b"PROXY TCP5 192.0.2.7 198.51.100.1 56324 8443\r\n",
        b"proxy tcp4 192.0.2.7 198.51.100.1 56324 8443\r\n",
        &too_long,
        &v2(0x11, 0x11, &[0; 12]),
        &v2(0x22, 0x11, &[0; 12]),
        &v2(0x21, 0x11, &[0; 11]),
        &v2(0x21, 0x99, &[0; 36]),
        &v2(0x21, 0x11, &[0; 4096]),
    ];
    let mut count = 0;
    for header in bad {
        for listener in ["http", "https"] {
            let bytes = [header, REQUEST].concat();
            let mut client = plain(&gateway, listener, &bytes).await;
            assert!(
                client.ended().await,
                "{:?}",
                String::from_utf8_lossy(header)
            );
        }
        count += 1;
        assert_eq!(refused(&gateway, "http", "proxy_protocol").await, count);
        assert_eq!(refused(&gateway, "https", "proxy_protocol").await, count);
    }
    // One that ends within its header.
    for header in [b"", &V1_FOUR[..20], SIGNATURE] {
        let mut client = plain(&gateway, "http", header).await;
        client.half_close().await;
        assert!(client.ended().await);
        count += 1;
        assert_eq!(refused(&gateway, "http", "proxy_protocol").await, count);
    }
    assert_eq!(worker.connections(), 0);
}

#[tokio::test]
async fn a_header_has_the_time_of_the_handshake() {
    let worker = Worker::start(echoing_head()).await;
    let workers = std::slice::from_ref(&worker);
    let gateway = edge(workers, "", "handshake_timeout: 300ms").await;
    for (listener, header) in [
        ("http", &b""[..]),
        ("http", b"PROXY TC"),
        ("https", SIGNATURE),
    ] {
        let before = refused(&gateway, listener, "proxy_protocol").await;
        let mut client = plain(&gateway, listener, header).await;
        assert!(client.ended().await);
        let after = refused(&gateway, listener, "proxy_protocol").await;
        assert_eq!(after, before + 1, "{listener} {header:?}");
    }
    // What follows it has no time of its own.
    let mut client = plain(&gateway, "https", V1_FOUR).await;
    assert!(client.ended().await);
    assert_eq!(refused(&gateway, "https", "proxy_protocol").await, 1);
}

#[tokio::test]
async fn a_strangers_header_is_no_header() {
    let (worker, gateway) = echoing().await;
    for header in [V1_FOUR.to_vec(), v2_four([192, 0, 2, 7])] {
        let bytes = [&header, REQUEST].concat();
        let mut client = plain(&gateway, "strangers", &bytes).await;
        assert_eq!(client.reply().await.status(), 400);
        let mut client = plain(&gateway, "secure-strangers", &bytes).await;
        let alert = client.to_end().await;
        assert!(!alert.starts_with(b"HTTP"), "{alert:?}");
    }
    assert_eq!(worker.connections(), 0);
    for line in gateway.access_log(4).await {
        assert_eq!(line["client"], "127.0.0.1", "{line}");
        let (listener, end) = (&line["listener"], &line["end"]);
        if listener == "strangers" {
            assert_eq!((&line["status"], end), (&400.into(), &"bad_head".into()));
        } else {
            assert_eq!(end, "handshake_failed", "{line}");
        }
    }
    let mut client = Raw::tcp(gateway.port("strangers")).await;
    let seen = seen(&client.get("/").await);
    assert_eq!(seen.fields("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(refused(&gateway, "strangers", "proxy_protocol").await, 0);
    assert_eq!(
        refused(&gateway, "secure-strangers", "proxy_protocol").await,
        0
    );
}

#[tokio::test]
async fn a_balancer_that_speaks_for_itself_is_itself() {
    let (_worker, gateway) = echoing().await;
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 192.0.2.7 198.51.100.1 56324 8443\r\n".to_vec(),
        v2(0x20, 0, b""),
        v2(0x20, 0x11, &[9; 12]),
        v2(0x21, 0, b""),
        v2(0x21, 0x31, &[b'/'; 216]),
    ] {
        let mut client = plain(&gateway, "http", &[&header, REQUEST].concat()).await;
        let seen = seen(&client.reply().await);
        assert_eq!(seen.fields("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(
            seen.fields("x-forwarded-port"),
            [gateway.port("http").to_string()]
        );
    }
}

#[tokio::test]
async fn connections_are_counted_by_the_client_and_not_by_its_balancer() {
    let worker = Worker::start(replying(200)).await;
    let workers = std::slice::from_ref(&worker);
    let gateway = edge(workers, "", "connections_per_client_max: 1").await;
    let come = async |header: &[u8]| {
        let mut client = plain(&gateway, "http", &[header, REQUEST].concat()).await;
        client.reply_or_end().await.map(|_| client)
    };
    let (a, b) = (v2_four([192, 0, 2, 1]), v2_four([192, 0, 2, 2]));
    let first = come(&a).await.expect("the first of one client");
    let _other = come(&b).await.expect("the first of another");
    assert!(come(&a).await.is_none(), "the second of one client");
    assert_eq!(
        refused(&gateway, "http", "connections_per_client_max").await,
        1
    );
    drop(first);
    let again = eventually("its place is free again", || come(&a)).await;
    let mut own = Vec::new();
    for _ in 0..3 {
        own.push(come(b"PROXY UNKNOWN\r\n").await.expect("its own checks"));
    }
    drop((again, own));
    assert_eq!(refused(&gateway, "http", "proxy_protocol").await, 0);
}

#[tokio::test]
async fn networks_are_asked_for_the_client_and_not_for_its_balancer() {
    let (_worker, gateway) = echoing().await;
    for (header, served) in [
        (v2_four([192, 0, 2, 7]), true),
        (v2_four([192, 0, 2, 9]), false),
        (v2_four([198, 51, 100, 7]), false),
        (b"PROXY UNKNOWN\r\n".to_vec(), false),
    ] {
        let mut client = plain(&gateway, "picky", &[&header, REQUEST].concat()).await;
        assert_eq!(client.reply_or_end().await.is_some(), served, "{header:?}");
    }
    assert_eq!(refused(&gateway, "picky", "network").await, 3);
    assert_eq!(refused(&gateway, "picky", "proxy_protocol").await, 0);
}

#[tokio::test]
async fn a_client_keeps_its_worker_behind_a_balancer() {
    let mut workers = Vec::new();
    for _ in 0..4 {
        workers.push(Worker::start(replying(200)).await);
    }
    let gateway = edge(&workers, ", balance: hash, hash: address", "").await;
    let counts = || workers.iter().map(Worker::count).collect::<Vec<_>>();
    let mut used = std::collections::HashSet::new();
    for client in 0..12 {
        let before = counts();
        for _ in 0..3 {
            let bytes = [&v2_four([192, 0, 2, client])[..], REQUEST].concat();
            let mut client = plain(&gateway, "http", &bytes).await;
            assert_eq!(client.reply().await.status(), 200);
        }
        let after = counts();
        let grown: Vec<_> = (0..4).filter(|i| after[*i] != before[*i]).collect();
        assert_eq!(grown.len(), 1, "client {client}: {before:?} {after:?}");
        used.extend(grown);
    }
    assert!(used.len() > 1, "twelve clients at one worker");
}

/// A worker that wants a header on each connection and then behaves like another.
fn behind_header(version: u8, script: Script) -> Script {
    by_hand(move |mut conn: Conn| {
        let script = script.clone();
        async move {
            if version == 1 {
                while conn.wire.exact(1).await? != b"\n" {}
            } else {
                let head = conn.wire.exact(16).await?;
                conn.wire.exact(usize::from(head[15])).await?;
            }
            script(conn).await
        }
    })
}

/// A header as the worker must see it.
fn header_of(version: u8, client: SocketAddr, came_to: SocketAddr) -> Vec<u8> {
    let (SocketAddr::V4(from), SocketAddr::V4(to)) = (client, came_to) else {
        panic!("IPv4 alone is used here");
    };
    if version == 1 {
        let (from_port, to_port) = (from.port(), to.port());
        return format!(
            "PROXY TCP4 {} {} {from_port} {to_port}\r\n",
            from.ip(),
            to.ip()
        )
        .into();
    }
    let body = [
        &from.ip().octets()[..],
        &to.ip().octets(),
        &from.port().to_be_bytes(),
        &to.port().to_be_bytes(),
    ];
    v2(0x21, 0x11, &body.concat())
}

fn count_of(all: &[u8], part: &[u8]) -> usize {
    all.windows(part.len())
        .filter(|bytes| *bytes == part)
        .count()
}

#[tokio::test]
async fn a_worker_is_told_of_the_client_on_each_connection() {
    for version in [1, 2] {
        let worker = Worker::start(behind_header(version, echoing_head())).await;
        let workers = std::slice::from_ref(&worker);
        let gateway = edge(workers, &format!(", send_proxy: v{version}"), "").await;
        // A client without a balancer.
        let tcp = tcp(gateway.port("strangers")).await;
        let own = header_of(version, tcp.local_addr().unwrap(), tcp.peer_addr().unwrap());
        let mut client = Raw::over(tcp);
        for _ in 0..2 {
            assert_eq!(client.get("/").await.status(), 200);
        }
        assert_eq!(count_of(&worker.bytes(), &own), 2, "v{version}");
        assert_eq!(worker.connections(), 2, "a connection for each exchange");
        // One with.
        let mut other = plain(&gateway, "http", V1_FOUR).await;
        let seen = seen(&other.get("/").await);
        assert_eq!(seen.fields("x-forwarded-for"), ["192.0.2.7"]);
        let told = header_of(
            version,
            "192.0.2.7:56324".parse().unwrap(),
            "198.51.100.1:8443".parse().unwrap(),
        );
        assert_eq!(count_of(&worker.bytes(), &told), 1, "v{version}");
    }
}

#[tokio::test]
async fn an_h2c_worker_is_told_of_the_client_on_each_connection() {
    let worker = Worker::start(behind_header(2, h2_echoing_head())).await;
    let workers = std::slice::from_ref(&worker);
    let gateway = edge(workers, ", send_proxy: v2, protocol: h2c", "").await;
    for client in [1, 2] {
        let header = v2_four([192, 0, 2, client]);
        let mut new = H2::over(tls(&gateway, &header, "h2").await).await;
        for _ in 0..2 {
            let reply = new.fetch(request("GET", "/"), "").await;
            assert_eq!(reply.status, 200);
        }
        let told = header_of(
            2,
            SocketAddr::from(([192, 0, 2, client], 56324)),
            "198.51.100.1:8443".parse().unwrap(),
        );
        assert_eq!(count_of(&worker.bytes(), &told), 2, "client {client}");
    }
    assert_eq!(worker.connections(), 4);
}

#[tokio::test]
async fn checks_of_a_worker_begin_with_a_header_that_names_nobody() {
    for (version, header) in [(1, b"PROXY UNKNOWN\r\n".to_vec()), (2, v2(0x20, 0, b""))] {
        let answer = by_hand(|mut conn: Conn| async move {
            while conn.request().await?.is_some() {
                conn.wire.write(reply(200, "up")).await?;
            }
            Ok(())
        });
        let worker = Worker::start(behind_header(version, answer)).await;
        let workers = std::slice::from_ref(&worker);
        let pool = format!(", send_proxy: v{version}, health: {{ http: /up }}");
        let gateway = edge(workers, &pool, "").await;
        worker.until_seen(1).await;
        assert!(worker.bytes().starts_with(&header), "v{version}");
        // It passes: requests are held for a worker whose checks fail.
        let mut client = Raw::tcp(gateway.port("strangers")).await;
        assert_eq!(client.get("/").await.text(), "up");
    }
}
