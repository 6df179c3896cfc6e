//! Has every reason for which a handshake fails a test of what the client saw, what the log says and what was counted?

use e2e::gateway::Gateway;
use e2e::scripts::replying;
use e2e::{Authority, Certs, Leaf, Raw, Tls, Worker, eventually, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  https:  { bind: "127.0.0.1:0", tls: { certificates: [ <edge> ] } }
  slow:   { bind: "127.0.0.1:0", tls: { certificates: [ <edge> ] }, limits: { handshake_timeout: 300ms } }
  modern: { bind: "127.0.0.1:0", tls: { certificates: [ <edge> ], min_version: "1.3", unknown_names: refuse } }
  must:   { bind: "127.0.0.1:0", tls: { certificates: [ <edge> ], client_certificates: { mode: required, ca: <dir>/clients.pem, crl: [<dir>/clients.crl] } } }
  late:   { bind: "127.0.0.1:0", tls: { certificates: [ <edge> ], client_certificates: { mode: required, ca: <dir>/clients.pem, crl: [<dir>/late.crl] } } }
pools:
  app: { ports: <app> }
routes:
  - { path: /, to: app }
"#;

/// What a client sees, in some of its words; it fails before TLS where the words are of the gateway's bytes.
enum Seen {
    /// Its TLS library says so.
    Error(&'static str),
    /// The connection ends, with a TLS alert at most.
    End,
    /// A 400 in plain text.
    Plain400,
}

/// What a client does.
enum Doing {
    Shaking(Tls),
    Sending(&'static [u8]),
    Nothing,
}

const REVOKED: u64 = 78;
/// The year 2020, when a list of revoked certificates ran out.
const ENDED: i64 = 1_577_836_800;
/// The year 2100, when the gateway's certificate has ended.
const LATE: u64 = 4_102_444_800;
/// A fatal alert, 40: handshake_failure (RFC 8446 section 6).
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 40];

fn cases(certs: &Certs, clients: &Authority) -> Vec<(&'static str, &'static str, Doing, Seen)> {
    let tls = || Tls::trusting(certs);
    let shaking = |tls| Doing::Shaking(tls);
    let stranger = Authority::new("Stranger CA");
    let trusting_another = Certs {
        roots: stranger.roots(),
        ..certs.clone()
    };
    let leaf = Leaf::client("agent");
    let showing = |leaf: &Leaf<'_>| shaking(tls().showing(&clients.issue(leaf)));
    let old = Tls::versions(certs, &[&rustls::version::TLS12]);
    // Our certificate's key is no RSA key.
    let rsa_only = Tls::suites(
        certs,
        &[rustls::crypto::aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256],
    );
    vec![
        ("lost", "https", Doing::Sending(&[22, 3]), Seen::End),
        ("timeout", "slow", Doing::Nothing, Seen::End),
        (
            "plain_http",
            "https",
            Doing::Sending(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            Seen::Plain400,
        ),
        ("protocol", "https", Doing::Sending(&[0x80; 64]), Seen::End),
        (
            "no_shared_version",
            "modern",
            shaking(old),
            Seen::Error("ProtocolVersion"),
        ),
        (
            "no_shared_cipher",
            "https",
            shaking(rsa_only),
            Seen::Error("HandshakeFailure"),
        ),
        (
            "no_shared_protocol",
            "https",
            shaking(tls().alpn(&["nonsense"])),
            Seen::Error("NoApplicationProtocol"),
        ),
        (
            "unknown_name",
            "modern",
            shaking(tls().name("stranger.test")),
            Seen::Error("received fatal alert"),
        ),
        (
            "unknown_ca",
            "https",
            shaking(Tls::trusting(&trusting_another)),
            Seen::Error("UnknownIssuer"),
        ),
        (
            "expired",
            "https",
            shaking(Tls::at(certs, LATE)),
            Seen::Error("xpired"),
        ),
        (
            "bad_certificate",
            "https",
            shaking(tls().name("stranger.test")),
            Seen::Error("not valid for name"),
        ),
        ("client_alert", "https", Doing::Sending(ALERT), Seen::End),
        (
            "client_certificate_missing",
            "must",
            shaking(tls()),
            Seen::Error("CertificateRequired"),
        ),
        (
            "client_certificate_unknown_ca",
            "must",
            shaking(tls().showing(&stranger.issue(&leaf))),
            Seen::Error("UnknownCA"),
        ),
        (
            "client_certificate_expired",
            "must",
            showing(&Leaf {
                until: (2021, 1, 1),
                ..Leaf::client("agent")
            }),
            Seen::Error("CertificateExpired"),
        ),
        (
            "client_certificate_revoked",
            "must",
            showing(&Leaf {
                serial: REVOKED,
                ..Leaf::client("agent")
            }),
            Seen::Error("CertificateRevoked"),
        ),
        (
            "client_certificate_crl_expired",
            "late",
            showing(&leaf),
            Seen::Error("received fatal alert"),
        ),
        (
            "client_certificate_bad",
            "must",
            showing(&Leaf::server(&["edge.test"])),
            Seen::Error("ertificate"),
        ),
    ]
}

/// With TLS 1.3 a client hears of what is wrong with its own part after the handshake.
async fn refused(tls: &Tls, port: u16) -> String {
    let asked = async {
        let mut stream = tls.connect(port).await?;
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await?;
        stream.flush().await?;
        stream.read_u8().await
    };
    match within("an end", asked).await {
        Ok(_) => panic!("it was served"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn each_reason_is_seen_by_the_client_told_in_the_log_and_counted() {
    let worker = Worker::start(replying(200)).await;
    let clients = Authority::new("Client CA");
    let gateway = Gateway::with(YAML)
        .text("edge", "{ chain: <dir>/edge.pem, key: <dir>/edge.key }")
        .file("clients.pem", &clients.pem)
        .file("clients.crl", &clients.revoking(&[REVOKED]))
        .file("late.crl", &clients.revoking_within(&[], 0, ENDED))
        .ports("app", [worker.port()])
        .start()
        .await;
    let cases = cases(gateway.certs(), &clients);
    let mut tested: Vec<&str> = cases.iter().map(|case| case.0).collect();
    tested.sort_unstable();
    assert_eq!(
        tested,
        documented(),
        "docs/tls.md has other reasons than this test"
    );
    assert_eq!(
        tested,
        counted(&gateway).await,
        "the metric has other reasons than this test"
    );
    for (reason, listener, doing, seen) in cases {
        let counter = format!(
            r#"portcullis_tls_handshake_failures_total{{listener="{listener}",reason="{reason}"}}"#
        );
        assert_eq!(gateway.metric(&counter).await, Some(0.0), "{reason}");
        let port = gateway.port(listener);
        match (doing, seen) {
            (Doing::Shaking(tls), Seen::Error(words)) => {
                let error = refused(&tls, port).await;
                assert!(error.contains(words), "{reason}: {error}");
            }
            (Doing::Sending(bytes), Seen::Plain400) => {
                let mut client = Raw::tcp(port).await;
                client.send(bytes).await;
                assert_eq!(client.reply().await.status(), 400);
                assert!(client.ended().await);
            }
            (Doing::Sending(bytes), _) => {
                let mut client = Raw::tcp(port).await;
                client.send(bytes).await;
                client.half_close().await;
                let said = client.to_end().await;
                assert!(
                    said.first().is_none_or(|kind| *kind == 21),
                    "{reason}: {said:?}"
                );
            }
            (_, _) => assert!(Raw::tcp(port).await.ended().await, "{reason}"),
        }
        let once = || async { (gateway.metric(&counter).await == Some(1.0)).then_some(()) };
        eventually(reason, once).await;
        let line = || async {
            let mut lines = gateway.access_log(0).await.into_iter();
            lines.find(|line| line["detail"] == reason)
        };
        let line = eventually(&format!("a line with `{reason}`"), line).await;
        assert_eq!(
            (&line["end"], &line["listener"], &line["status"]),
            (&"handshake_failed".into(), &listener.into(), &0.into()),
            "{line}"
        );
        assert_eq!(line["client"], "127.0.0.1", "{line}");
    }
    assert_eq!(worker.count(), 0, "nothing reached a worker");
}

/// The reasons in the table of docs/tls.md, sorted.
fn documented() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tls.md");
    let page = std::fs::read_to_string(page).unwrap();
    let table = page.split("## Failed handshakes").nth(1).unwrap();
    let rows = table.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    let words = rows.flat_map(|row| row.split('|').nth(1).unwrap().split(','));
    let words = words.map(|word| word.trim().trim_matches('`'));
    let mut words: Vec<String> = words
        .map(|word| match word.strip_prefix('_') {
            Some(_) => format!("client_certificate{word}"),
            None => word.to_owned(),
        })
        .collect();
    words.sort_unstable();
    words
}

/// The reasons that the metric has, sorted.
async fn counted(gateway: &Gateway) -> Vec<String> {
    let text = gateway.admin("/metrics").await.text();
    let start = r#"portcullis_tls_handshake_failures_total{listener="https",reason=""#;
    let words = text
        .lines()
        .filter_map(|line| line.strip_prefix(start)?.split('"').next());
    let mut words: Vec<String> = words.map(str::to_owned).collect();
    words.sort_unstable();
    words
}
