//! Are responses compressed for who takes it, and is everything else left alone?

use std::io::Read;

use e2e::grpc::{call, frame};
use e2e::h2_client::request;
use e2e::h2_scripts::h2_mirroring;
use e2e::scripts::{answering, by_hand, upgrading};
use e2e::websocket::opening;
use e2e::{Gate, Gateway, H2Reply, Message, Script, Worker};

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none, compress: { types: ["text/*"], level: fast } }
  https: { bind: "127.0.0.1:0", compress: on, tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  app: { ports: <app> <protocol> }
routes:
  - { path: /, to: app }
  - { path: /off, to: app, compress: off }
  - { path: /gzip, to: app, compress: { algorithms: gzip, min_bytes: 10 } }
  - { path: /fixed, respond: { body: "<text>" }, compress: { min_bytes: 100 } }
  - { path: /files, static: { root: <dir> }, compress: { types: [application/x-x509-ca-cert, application/octet-stream], min_bytes: 0 } }
"#;

async fn start(worker: &Worker, protocol: &str) -> Gateway {
    Gateway::with(YAML)
        .ports("app", [worker.port()])
        .text("protocol", protocol)
        .text("text", &text(50))
        .start()
        .await
}

fn text(lines: usize) -> String {
    "the quick brown fox jumps over the lazy dog, again and again. ".repeat(lines)
}

/// 200 with this body, and fields of its own.
fn html(fields: &'static str, body: String) -> Script {
    answering(move |_| {
        let length = body.len();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
        )
        .into_bytes()
    })
}

fn unpacked(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // What was flushed can be read before the end has come.
    let _ = match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out),
        "zstd" => zstd::stream::read::Decoder::new(bytes)
            .unwrap()
            .read_to_end(&mut out),
        other => panic!("{other}"),
    };
    out
}

async fn old(gateway: &Gateway, target: &str, fields: &[&str]) -> Message {
    gateway.http().await.ask("GET", target, fields, b"").await
}

async fn new(gateway: &Gateway, target: &str, fields: &[&str]) -> H2Reply {
    let mut asked = request("GET", target);
    for field in fields {
        let (name, value) = field.split_once(": ").unwrap();
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        asked.headers_mut().insert(name, value.parse().unwrap());
    }
    gateway.h2("https").await.fetch(asked, "").await
}

#[tokio::test]
async fn a_client_gets_the_coding_that_it_likes_best() {
    let body = text(100_000 / 62);
    let worker = Worker::start(html(
        "ETag: \"x\"\r\nAccept-Ranges: bytes\r\n",
        body.clone(),
    ))
    .await;
    let gateway = start(&worker, "").await;
    for (accept, coding) in [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br;q=0.9", "gzip"),
        ("br, gzip", "br"),
    ] {
        let field = format!("Accept-Encoding: {accept}");
        let reply = old(&gateway, "/", &[&field]).await;
        assert_eq!(reply.fields("content-encoding"), [coding], "{accept}");
        assert_eq!(reply.fields("vary"), ["accept-encoding"]);
        assert_eq!(reply.fields("etag"), ["W/\"x\""]);
        assert_eq!(reply.field("content-length"), None);
        assert_eq!(reply.field("accept-ranges"), None);
        assert!(reply.body.len() < body.len() / 10, "{}", reply.body.len());
        assert!(unpacked(coding, &reply.body) == body.as_bytes(), "{accept}");
        let reply = new(&gateway, "/", &[&field]).await;
        assert_eq!(reply.headers["content-encoding"], coding, "{accept}");
        assert_eq!(reply.headers["etag"], "W/\"x\"");
        assert!(!reply.headers.contains_key("content-length"));
        assert!(unpacked(coding, &reply.body) == body.as_bytes(), "{accept}");
    }
    let line = gateway.access_log(1).await.remove(0);
    let sent = line["bytes_out"].as_u64().unwrap();
    assert!(sent > 0 && sent < body.len() as u64 / 10, "{line}");
    // The connections go on, the client's and the worker's.
    let mut client = gateway.http().await;
    for _ in 0..3 {
        let reply = client
            .ask("GET", "/", &["Accept-Encoding: gzip"], b"")
            .await;
        assert!(unpacked("gzip", &reply.body) == body.as_bytes());
    }
}

#[tokio::test]
async fn who_does_not_ask_gets_the_bytes_as_they_are() {
    let body = text(50);
    let worker = Worker::start(html("ETag: \"x\"\r\nVary: Cookie\r\n", body.clone())).await;
    let gateway = start(&worker, "").await;
    for fields in [
        &[][..],
        &["Accept-Encoding: identity"],
        &["Accept-Encoding: gzip;q=0"],
    ] {
        let reply = old(&gateway, "/", fields).await;
        assert_eq!(
            (reply.text(), reply.field("content-encoding")),
            (body.clone(), None)
        );
        assert_eq!(reply.fields("etag"), ["\"x\""]);
        assert_eq!(
            reply.fields("vary"),
            ["Cookie", "accept-encoding"],
            "others get something else"
        );
        let reply = new(&gateway, "/", fields).await;
        assert_eq!(reply.text(), body);
        assert_eq!(
            reply.headers["content-length"],
            body.len().to_string().as_str()
        );
    }
    let reply = gateway
        .http()
        .await
        .ask("HEAD", "/", &["Accept-Encoding: gzip"], b"")
        .await;
    assert_eq!(reply.field("content-encoding"), None);
    let mut client = gateway.http().await;
    client
        .send("GET / HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        .await;
    assert_eq!(client.reply().await.text(), body);
}

#[tokio::test]
async fn what_must_not_or_need_not_be_touched_is_not() {
    let body = text(50);
    for (target, fields, body) in [
        ("/off", "", body.clone()),
        ("/", "Cache-Control: no-transform\r\n", body.clone()),
        ("/", "Content-Encoding: br\r\n", body.clone()),
        ("/", "Content-Digest: sha-256=:x:\r\n", body.clone()),
        ("/", "", "short".to_owned()),
    ] {
        let worker = Worker::start(html(fields, body.clone())).await;
        let gateway = start(&worker, "").await;
        let take = ["Accept-Encoding: gzip"];
        let reply = old(&gateway, target, &take).await;
        assert_eq!(reply.text(), body, "{target} {fields}");
        assert_eq!(reply.field("vary"), None, "{target} {fields}");
        assert_eq!(new(&gateway, target, &take).await.text(), body);
    }
    for kind in ["text/event-stream", "image/png"] {
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 3100\r\n\r\n");
        let whole = [head.as_bytes(), text(50).as_bytes()].concat();
        let worker = Worker::start(answering(move |_| whole.clone())).await;
        let gateway = start(&worker, "").await;
        let reply = old(&gateway, "/", &["Accept-Encoding: gzip"]).await;
        assert_eq!(reply.field("content-encoding"), None, "{kind}");
        assert_eq!(reply.text(), text(50));
    }
}

/// Sends a line, and another one once the gate is open.
fn in_two_pieces(gate: &Gate) -> Script {
    let gate = gate.clone();
    by_hand(move |mut conn| {
        let gate = gate.clone();
        async move {
            while conn.request().await?.is_some() {
                conn.wire
                    .write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst \r\n")
                    .await?;
                gate.passed().await;
                conn.wire
                    .write("6\r\nsecond\r\n0\r\nX-Sum: 1\r\n\r\n")
                    .await?;
            }
            Ok(())
        }
    })
}

#[tokio::test]
async fn what_a_worker_has_said_is_not_held_back() {
    for coding in ["gzip", "br", "zstd"] {
        let gate = Gate::new();
        let worker = Worker::start(in_two_pieces(&gate)).await;
        let gateway = start(&worker, "").await;
        let mut client = gateway.http().await;
        client
            .send(format!(
                "GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n"
            ))
            .await;
        let head = client.head().await;
        assert_eq!(head.fields("content-encoding"), [coding]);
        let mut asked = request("GET", "/");
        let accept = coding.parse().unwrap();
        asked.headers_mut().insert("accept-encoding", accept);
        let mut new = gateway.h2("https").await;
        let mut call = new.call(asked, true).await;
        let (mut one, mut two) = (Vec::new(), Vec::new());
        while unpacked(coding, &one) != b"first " {
            one.extend(client.chunk().await.expect("the first piece"));
        }
        while unpacked(coding, &two) != b"first " {
            two.extend(call.data().await.expect("the first piece").unwrap());
        }
        gate.open();
        while let Some(more) = client.chunk().await {
            one.extend(more);
        }
        let rest = call.rest().await.unwrap();
        two.extend(&rest.body);
        assert_eq!(unpacked(coding, &one), b"first second", "{coding}");
        assert_eq!(unpacked(coding, &two), b"first second", "{coding}");
        assert_eq!(rest.trailers["x-sum"], "1", "trailers pass");
    }
}

#[tokio::test]
async fn calls_and_websockets_are_left_alone() {
    let worker = Worker::start(h2_mirroring()).await;
    let gateway = start(&worker, ", protocol: h2c").await;
    let mut asked = call("/gzip/Call");
    asked
        .headers_mut()
        .insert("accept-encoding", "gzip".parse().unwrap());
    let sent = frame(text(50));
    let reply = gateway.h2("https").await.fetch(asked, sent.clone()).await;
    assert!(reply.body == sent, "{} bytes", reply.body.len());
    assert!(!reply.headers.contains_key("content-encoding"));
    let worker = Worker::start(upgrading()).await;
    let gateway = start(&worker, "").await;
    let mut client = gateway.http().await;
    let asked = opening("/gzip").replacen("\r\n", "\r\nAccept-Encoding: gzip\r\n", 1);
    client.send(asked).await;
    assert_eq!(client.head().await.status(), 101);
    client.send("every byte").await;
    assert_eq!(client.exact(10).await, b"every byte");
}

#[tokio::test]
async fn answers_of_our_own_are_compressed_like_a_workers() {
    let worker = Worker::start(upgrading()).await;
    let gateway = start(&worker, "").await;
    let take = ["Accept-Encoding: br"];
    let reply = old(&gateway, "/fixed", &take).await;
    assert_eq!(reply.fields("content-encoding"), ["br"]);
    assert_eq!(unpacked("br", &reply.body), text(50).as_bytes());
    let pem = std::fs::read(gateway.file("edge.pem")).unwrap();
    for target in ["/files/edge.pem"] {
        let reply = old(&gateway, target, &["Accept-Encoding: zstd"]).await;
        assert_eq!(reply.fields("content-encoding"), ["zstd"], "{}", reply.head);
        assert_eq!(unpacked("zstd", &reply.body), pem);
        let tag = format!("If-None-Match: {}", reply.field("etag").unwrap());
        let again = old(&gateway, target, &["Accept-Encoding: zstd", &tag]).await;
        assert_eq!(again.status(), 304, "a weak validator is enough for that");
        let part = old(
            &gateway,
            target,
            &["Accept-Encoding: zstd", "Range: bytes=0-9"],
        )
        .await;
        assert_eq!((part.status(), part.body.len()), (206, 10));
    }
    assert_eq!(
        gateway
            .metric("portcullis_compressions_skipped_total")
            .await,
        Some(0.0)
    );
}
