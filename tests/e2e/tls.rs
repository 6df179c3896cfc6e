//! Does a client get the certificate, the protocol and the version it may have?

use e2e::raw::Session;
use e2e::scripts::replying;
use e2e::{Authority, Certs, Edge, Gateway, H2, Raw, Tls, Worker, eventually, frames};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const YAML: &str = r#"
admin: { bind: "127.0.0.1:0" }
listeners:
  https: { bind: "127.0.0.1:0", tls: { certificates: [ <edge>, <other>, <wild> ]<tls> } }
  grpc:  { bind: "127.0.0.1:0", protocol: grpc, tls: { certificates: [ <edge> ] } }
pools:
  app:    { ports: <app> }
  agents: { ports: <agents>, protocol: h2c }
routes:
  - { path: /, to: app }
  - { path: /, to: agents, on: [grpc] }
"#;

async fn gateway(worker: &Worker, tls: &str) -> Gateway {
    let mut plan = Gateway::with(YAML)
        .ports("app", [worker.port()])
        .ports("agents", [e2e::free_range(1)])
        .text("tls", tls);
    for name in ["edge", "other", "wild"] {
        plan = plan.text(
            name,
            &format!("{{ chain: <dir>/{name}.pem, key: <dir>/{name}.key }}"),
        );
    }
    plan.start().await
}

async fn error_of(tls: Tls, port: u16) -> String {
    match tls.connect(port).await {
        Ok(_) => "no error".into(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn the_name_a_client_asks_for_chooses_the_certificate() {
    let worker = Worker::start(replying(200)).await;
    let gateway = gateway(&worker, "").await;
    for name in [
        "edge.test",
        "localhost",
        "other.test",
        "a.wild.test",
        "OTHER.test",
    ] {
        // The client checks the certificate against the name, so a reply proves the choice.
        let mut client = Raw::tls(gateway.port("https"), &gateway.tls().name(name)).await;
        assert_eq!(client.get("/").await.status(), 200, "{name}");
    }
}

#[tokio::test]
async fn a_wildcard_covers_one_label() {
    let worker = Worker::start(replying(200)).await;
    let gateway = gateway(&worker, "").await;
    for name in ["a.b.wild.test", "wild.test"] {
        let error = error_of(gateway.tls().name(name), gateway.port("https")).await;
        assert!(error.contains("not valid for name"), "{name}: {error}");
    }
}

#[tokio::test]
async fn an_unknown_name_gets_the_first_certificate_by_default() {
    let worker = Worker::start(replying(200)).await;
    let gateway = gateway(&worker, "").await;
    let error = error_of(gateway.tls().name("stranger.test"), gateway.port("https")).await;
    assert!(
        error.contains("not valid for name") && error.contains("edge.test"),
        "{error}"
    );
    let without = gateway.tls().without_sni();
    assert_eq!(
        Raw::tls(gateway.port("https"), &without)
            .await
            .get("/")
            .await
            .status(),
        200
    );
}

#[tokio::test]
async fn an_unknown_name_is_refused_where_the_file_says_so() {
    let worker = Worker::start(replying(200)).await;
    let gateway = gateway(&worker, ", unknown_names: refuse").await;
    let error = error_of(gateway.tls().name("stranger.test"), gateway.port("https")).await;
    assert!(error.contains("AccessDenied"), "{error}");
    let error = error_of(gateway.tls().without_sni(), gateway.port("https")).await;
    assert!(error.contains("alert"), "{error}");
    assert_eq!(gateway.https().await.get("/").await.status(), 200);
}

#[tokio::test]
async fn alpn_settles_the_protocol() {
    let worker = Worker::start(replying(200)).await;
    let gateway = gateway(&worker, "").await;
    for (listener, offered, chosen) in [
        ("https", &["h2", "http/1.1"][..], Some("h2")),
        ("https", &["http/1.1", "h2"][..], Some("h2")),
        ("https", &["http/1.1"][..], Some("http/1.1")),
        ("https", &[][..], None),
        ("grpc", &["h2", "http/1.1"][..], Some("h2")),
    ] {
        let stream = gateway
            .tls()
            .alpn(offered)
            .connect(gateway.port(listener))
            .await
            .unwrap();
        assert_eq!(
            Session::of(&stream).alpn.as_deref(),
            chosen,
            "{listener} {offered:?}"
        );
    }
    for (listener, offered) in [("https", "acme-tls/1"), ("grpc", "http/1.1")] {
        let error = error_of(gateway.tls().alpn(&[offered]), gateway.port(listener)).await;
        assert!(
            error.contains("NoApplicationProtocol"),
            "{listener} {offered}: {error}"
        );
    }
}

#[tokio::test]
async fn http2_is_spoken_where_it_was_agreed() {
    let worker = Worker::start(replying(200)).await;
    let gateway = gateway(&worker, "").await;
    let stream = gateway
        .tls()
        .alpn(&["h2"])
        .connect(gateway.port("https"))
        .await
        .unwrap();
    let reply = H2::over(stream)
        .await
        .fetch(e2e::h2_client::request("GET", "/"), "")
        .await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn both_current_versions_are_spoken_and_resumed() {
    let worker = Worker::start(replying(200)).await;
    let gateway = gateway(&worker, "").await;
    for (version, name) in [
        (&rustls::version::TLS12, "TLSv1_2"),
        (&rustls::version::TLS13, "TLSv1_3"),
    ] {
        let tls = Tls::versions(gateway.certs(), &[version]);
        // A ticket of TLS 1.3 comes after the handshake, so each connection is used before the next.
        eventually(&format!("a {name} session is resumed"), || async {
            let stream = tls.connect(gateway.port("https")).await.unwrap();
            let session = Session::of(&stream);
            assert_eq!(session.version, name);
            assert_eq!(Raw::over(stream).get("/").await.status(), 200);
            session.resumed.then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn an_older_version_than_the_file_allows_is_refused() {
    let worker = Worker::start(replying(200)).await;
    let gateway = gateway(&worker, ", min_version: \"1.3\"").await;
    let old = Tls::versions(gateway.certs(), &[&rustls::version::TLS12]);
    let error = error_of(old, gateway.port("https")).await;
    assert!(error.contains("ProtocolVersion"), "{error}");
}

#[tokio::test]
async fn tls_1_1_is_refused() {
    let worker = Worker::start(replying(200)).await;
    let gateway = gateway(&worker, "").await;
    let mut client = Raw::tcp(gateway.port("https")).await;
    client.send(client_hello_1_1()).await;
    let record = client.to_end().await;
    assert_eq!(record.first(), Some(&21), "an alert record: {record:?}");
    assert_eq!(record[5], 2, "a fatal one: {record:?}");
}

/// A hello of a client that knows nothing newer than TLS 1.1 (RFC 4346 section 7.4.1.2).
fn client_hello_1_1() -> Vec<u8> {
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend([0, 4, 0xc0, 0x13, 0xc0, 0x09]);
    hello.extend([1, 0]);
    // supported_groups: secp256r1; ec_point_formats: uncompressed.
    hello.extend([0, 14, 0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0]);
    let mut record = vec![
        22,
        3,
        1,
        0,
        (hello.len() + 4) as u8,
        1,
        0,
        0,
        hello.len() as u8,
    ];
    record.extend(hello);
    record
}

#[tokio::test]
async fn a_request_in_one_segment_with_the_end_of_the_handshake_is_answered() {
    let worker = Worker::start(replying(200)).await;
    let gateway = gateway(&worker, "").await;
    // TLS 1.3, where the client's last flight is followed by its request at once.
    let tls = Tls::versions(gateway.certs(), &[&rustls::version::TLS13]);
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let stream = tls.connect_sending(gateway.port("https"), request).await;
    assert_eq!(Raw::over(stream).reply().await.status(), 200);
    for listener in ["https", "grpc"] {
        let tls = tls.clone().alpn(&["h2"]);
        let stream = tls
            .connect_sending(gateway.port(listener), &frames::hello())
            .await;
        let first = frames::next(&mut Raw::over(stream)).await;
        assert_eq!(first.kind, frames::SETTINGS, "{listener}");
    }
}

#[tokio::test]
async fn plain_text_on_a_tls_port_reaches_no_worker() {
    let worker = Worker::start(replying(200)).await;
    let gateway = gateway(&worker, "").await;
    let mut client = Raw::tcp(gateway.port("https")).await;
    client
        .send("GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n")
        .await;
    client.to_end().await;
    assert_eq!(worker.count(), 0);
}

#[tokio::test]
async fn who_speaks_plain_http_to_a_tls_port_is_told_so() {
    let worker = Worker::start(replying(200)).await;
    let gateway = gateway(&worker, "").await;
    let mut client = Raw::tcp(gateway.port("https")).await;
    let reply = client.get("/").await;
    assert_eq!(reply.status(), 400);
    assert!(reply.text().contains("https://"), "{}", reply.text());
    assert!(client.ended().await);
}

/// Bytes, and then the end of the sending side.
async fn sending(port: u16, bytes: &[u8]) {
    let mut client = Raw::tcp(port).await;
    client.send(bytes).await;
    client.half_close().await;
    client.to_end().await;
}

#[tokio::test]
async fn each_failed_handshake_is_counted_by_its_reason() {
    let worker = Worker::start(replying(200)).await;
    let settings = ", min_version: \"1.3\", unknown_names: refuse";
    let gateway = gateway(&worker, settings).await;
    let (port, tls) = (gateway.port("https"), gateway.tls());
    let stranger = Certs {
        roots: Authority::new("another").roots(),
        ..gateway.certs().clone()
    };
    let failing = async |tls: Tls| {
        let failed = tls.connect(port).await.is_err();
        assert!(failed, "a handshake that should fail did not");
    };
    for reason in [
        "plain_http",
        "protocol",
        "lost",
        "no_shared_version",
        "no_shared_protocol",
        "unknown_name",
        "unknown_ca",
    ] {
        let line = format!(
            r#"portcullis_tls_handshake_failures_total{{listener="https",reason="{reason}"}}"#
        );
        assert_eq!(gateway.metric(&line).await, Some(0.0), "{reason}");
        match reason {
            "plain_http" => sending(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await,
            "protocol" => sending(port, &[0x80; 64]).await,
            "lost" => sending(port, &[22, 3]).await,
            "no_shared_version" => {
                failing(Tls::versions(gateway.certs(), &[&rustls::version::TLS12])).await
            }
            "no_shared_protocol" => failing(tls.clone().alpn(&["acme-tls/1"])).await,
            "unknown_name" => failing(tls.clone().name("stranger.test")).await,
            _ => failing(Tls::trusting(&stranger)).await,
        }
        eventually(reason, || async {
            (gateway.metric(&line).await == Some(1.0)).then_some(())
        })
        .await;
    }
    assert_eq!(worker.count(), 0);
}

#[tokio::test]
async fn new_keys_in_the_middle_of_a_connection_are_agreed() {
    let worker = Worker::start(e2e::scripts::mirroring()).await;
    let gateway = Edge::to(&worker).start().await;
    let tls = gateway.tls().alpn(&["http/1.1"]);
    let mut stream = tls.connect(gateway.port("https")).await.unwrap();
    for n in 0..20usize {
        // The gateway must change its own keys in answer (RFC 8446 section 4.6.3), in the midst of large records.
        stream.get_mut().1.refresh_traffic_keys().unwrap();
        let body = vec![b'x'; 20_000 * n];
        let head = format!(
            "POST / HTTP/1.1\r\nHost: edge.test\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let answered = async {
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await?;
            stream.flush().await?;
            let mut answer = vec![0; 1];
            while !answer.ends_with(b"\r\n\r\n") {
                answer.push(stream.read_u8().await?);
            }
            let mut echo = vec![0; body.len()];
            stream.read_exact(&mut echo).await?;
            std::io::Result::Ok(echo == body)
        };
        assert!(e2e::within("an answer", answered).await.unwrap(), "{n}");
    }
}
