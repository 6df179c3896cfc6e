//! Are bad certificates told, and does each client get the right one?

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ED25519,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

use super::*;
use crate::config::model::{Certificate, UnknownNames};
use crate::config::problem::Severity;

/// A directory that goes when the test ends.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "portcullis-tls-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory for the test");
        Dir(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file for the test");
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

const PLACE: Place = Place {
    line: 7,
    column: 3,
    length: 9,
};

fn noon(year: i32) -> SystemTime {
    let seconds = rcgen::date_time_ymd(year, 6, 1).unix_timestamp();
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).expect("after 1970"))
}

/// An authority, what it issues, all valid from 2020 to 2040.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: rustls::pki_types::CertificateDer<'static>,
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    params
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Authority {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    fn issue(&self, params: &CertificateParams, key: &KeyPair) -> String {
        params
            .signed_by(key, &self.issuer)
            .expect("a certificate")
            .pem()
    }

    /// Leaf and key in one text.
    fn pair(&self, names: &[&str]) -> String {
        let key = KeyPair::generate().expect("a key");
        self.issue(&params(names), &key) + &key.serialize_pem()
    }
}

/// The settings and what is doubtful.
fn server_config(
    tls: &Tls,
    protocol: Protocol,
    now: SystemTime,
) -> Result<(Arc<ServerConfig>, Vec<Problem>), Vec<Problem>> {
    ready(tls, protocol, now).map(|ready| (Arc::new(ready.config), ready.warnings))
}

fn tls(certificates: &[(&Path, &Path)]) -> Tls {
    let certificate = |(chain, key): &(&Path, &Path)| Certificate {
        chain: (*chain).to_owned(),
        key: (*key).to_owned(),
        ocsp: None,
        place: PLACE,
    };
    Tls {
        certificates: certificates.iter().map(certificate).collect(),
        unknown_names: UnknownNames::DefaultCertificate,
        min_version: TlsVersion::Tls12,
        watch: true,
        client_certificates: None,
    }
}

#[test]
fn certificates_that_clients_would_refuse_are_told() {
    let dir = Dir::new();
    let (root, other) = (Authority::new("root"), Authority::new("other"));
    let key = KeyPair::generate().expect("a key");
    let leaf = root.issue(&params(&["a.example"]), &key);
    let key = key.serialize_pem();
    let good = root.pair(&["b.example"]);
    let cut = leaf[..leaf.len() / 2].to_owned();
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let sealed =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let garbled = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let many = leaf.repeat(20);
    let cases = [
        (
            "empty",
            String::new(),
            2030,
            vec!["has no certificate", "has no private key"],
        ),
        (
            "der",
            "\u{1}\u{2}".to_owned(),
            2030,
            vec!["has no certificate", "has no private key"],
        ),
        ("no-key", leaf.clone(), 2030, vec!["has no private key"]),
        (
            "sealed",
            format!("{leaf}{sealed}"),
            2030,
            vec!["has no private key"],
        ),
        (
            "no-certificate",
            key.clone(),
            2030,
            vec!["has no certificate"],
        ),
        (
            "cut",
            format!("{cut}{key}"),
            2030,
            vec!["in the midst of a PEM block", "in the midst of a PEM block"],
        ),
        (
            "damaged",
            format!("{damaged}{key}"),
            2030,
            vec!["is damaged"],
        ),
        (
            "garbled",
            format!("{leaf}{garbled}"),
            2030,
            vec!["cannot be used"],
        ),
        (
            "other-key",
            leaf.clone() + &KeyPair::generate().expect("a key").serialize_pem(),
            2030,
            vec!["does not belong"],
        ),
        (
            "upside-down",
            format!("{}{leaf}{key}", root.pem),
            2030,
            vec!["belongs to certificate 2"],
        ),
        (
            "stranger",
            format!("{leaf}{}{key}", other.pem),
            2030,
            vec!["certificate 2 of"],
        ),
        (
            "early",
            format!("{leaf}{key}"),
            2019,
            vec!["is not valid before"],
        ),
        (
            "late",
            format!("{leaf}{}{key}", root.pem),
            2041,
            vec!["expired on", "expired on"],
        ),
        (
            "many",
            format!("{many}{key}"),
            2030,
            vec!["more than 16 certificates"],
        ),
        ("good", good, 2030, vec![]),
        (
            "with-root",
            format!("{leaf}{}{key}", root.pem),
            2030,
            vec![],
        ),
    ];
    for (name, text, year, want) in cases {
        let path = dir.file(name, &text);
        let told = match server_config(&tls(&[(&path, &path)]), Protocol::Http, noon(year)) {
            Ok((_, warnings)) => warnings,
            Err(problems) => problems,
        };
        assert_eq!(told.len(), want.len(), "{name}: {told:?}");
        for (problem, want) in told.iter().zip(want) {
            assert!(
                problem.what.contains(want) && problem.what.contains(name)
                    || problem.what.contains("the key belongs"),
                "{name}: {problem:?}"
            );
            assert_eq!(
                (problem.place, problem.severity),
                (PLACE, Severity::Error),
                "{name}"
            );
            assert!(problem.hint.is_some(), "{name}");
        }
    }
    let nowhere = dir.0.join("nowhere.pem");
    let told = server_config(&tls(&[(&nowhere, &nowhere)]), Protocol::Http, noon(2030))
        .expect_err("no file");
    assert!(
        told[0].what.contains("cannot read") && told.len() == 1,
        "{told:?}"
    );
}

#[test]
fn doubtful_certificates_are_shown_with_a_warning() {
    let dir = Dir::new();
    let root = Authority::new("root");
    let key = KeyPair::generate().expect("a key");
    let mut nameless = params(&[]);
    nameless
        .distinguished_name
        .push(DnType::CommonName, "old.example");
    let path = dir.file(
        "nameless",
        &(root.issue(&nameless, &key) + &key.serialize_pem()),
    );
    let (_, warnings) = server_config(&tls(&[(&path, &path)]), Protocol::Http, noon(2030))
        .expect("it can be shown");
    assert!(
        warnings.len() == 1 && warnings[0].what.contains("no subject alternative name"),
        "{warnings:?}"
    );

    let path = dir.file("ending", &root.pair(&["a.example"]));
    let almost = noon(2039) + Duration::from_secs((214 - 10) * 24 * 60 * 60);
    let (_, warnings) =
        server_config(&tls(&[(&path, &path)]), Protocol::Http, almost).expect("it can be shown");
    assert!(
        warnings.len() == 1 && warnings[0].what.contains("expires in 10 days"),
        "{warnings:?}"
    );
}

#[test]
fn all_listeners_are_checked_at_once() {
    let text = "listeners:\n  a: { bind: \":1\", tls: { certificates: [/nowhere/a.pem, /nowhere/b.pem] } }\n  b: { bind: \":2\", tls: { certificates: /nowhere/c.pem } }\npools: {}\nroutes: [{ path: /, deny: 403 }]\n";
    let source = crate::config::Source {
        name: "t".to_owned(),
        text: text.to_owned(),
    };
    let config = crate::config::parse(&source, &|_| None)
        .config
        .expect("sound");
    let told = check(&config, noon(2030));
    let places: Vec<_> = told
        .iter()
        .map(|problem| (problem.place.line, problem.place.column))
        .collect();
    assert_eq!(places, [(2, 42), (2, 58), (3, 41)]);
}

/// What a client saw.
#[derive(Debug)]
struct Seen {
    alpn: Option<Vec<u8>>,
    leaf: Vec<u8>,
    version: Option<rustls::ProtocolVersion>,
    resumed: bool,
}

/// A client of an authority.
fn client(root: &Authority, alpn: &[&str]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(root.der.clone()).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let mut config = builder
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|alpn| alpn.as_bytes().to_vec()).collect();
    config
}

/// A handshake in memory.
fn shake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<Seen, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let mut server = ServerConnection::new(Arc::clone(server))?;
    let mut wire = Vec::new();
    for _ in 0..10 {
        wire.clear();
        client.write_tls(&mut wire).expect("memory");
        server.read_tls(&mut wire.as_slice()).expect("memory");
        let told = server.process_new_packets();
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("memory");
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("memory");
            client.process_new_packets()?;
        }
        told?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Seen {
        alpn: server.alpn_protocol().map(<[u8]>::to_vec),
        leaf: client.peer_certificates().expect("a certificate")[0].to_vec(),
        version: client.protocol_version(),
        resumed: client.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
    })
}

fn leaf(path: &Path) -> Vec<u8> {
    use rustls_pki_types::pem::PemObject;
    rustls_pki_types::CertificateDer::from_pem_file(path)
        .expect("a certificate")
        .to_vec()
}

#[test]
fn names_get_their_certificate_and_strangers_the_default() {
    let dir = Dir::new();
    let root = Authority::new("root");
    let a = dir.file("a.pem", &root.pair(&["a.example", "default.example"]));
    let wild = dir.file("wild.pem", &root.pair(&["*.b.example"]));
    let exact = dir.file("exact.pem", &root.pair(&["x.b.example"]));
    let mut tls = tls(&[(&a, &a), (&wild, &wild), (&exact, &exact)]);
    let (server, warnings) = server_config(&tls, Protocol::Http, noon(2030)).expect("sound");
    assert_eq!(warnings, []);
    let client = Arc::new(client(&root, &["h2", "http/1.1"]));
    for (name, want) in [
        ("a.example", &a),
        ("A.Example", &a),
        ("y.b.example", &wild),
        ("x.b.example", &exact),
    ] {
        assert_eq!(
            shake(&server, &client, name).expect(name).leaf,
            leaf(want),
            "{name}"
        );
    }
    // A name nobody covers gets the default, which the client then refuses; not one of two labels below.
    for name in ["c.example", "z.y.b.example", "b.example"] {
        let told = shake(&server, &client, name).expect_err(name);
        assert!(
            matches!(told, rustls::Error::InvalidCertificate(_)),
            "{name}: {told}"
        );
    }
    tls.unknown_names = UnknownNames::Refuse;
    let (server, _) = server_config(&tls, Protocol::Http, noon(2030)).expect("sound");
    assert!(shake(&server, &client, "a.example").is_ok());
    for name in ["c.example", "127.0.0.1"] {
        let told = shake(&server, &client, name).expect_err(name);
        assert!(
            matches!(told, rustls::Error::AlertReceived(_)),
            "{name}: {told}"
        );
    }
}

#[test]
fn two_kinds_of_keys_can_serve_one_name() {
    let dir = Dir::new();
    let root = Authority::new("root");
    let pair = |algorithm| {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        root.issue(&params(&["a.example"]), &key) + &key.serialize_pem()
    };
    let edwards = dir.file("edwards.pem", &pair(&PKCS_ED25519));
    let ecdsa = dir.file("ecdsa.pem", &pair(&PKCS_ECDSA_P256_SHA256));
    let (server, _) = server_config(
        &tls(&[(&edwards, &edwards), (&ecdsa, &ecdsa)]),
        Protocol::Http,
        noon(2030),
    )
    .expect("sound");
    let all = Arc::new(client(&root, &[]));
    assert_eq!(
        shake(&server, &all, "a.example").expect("sound").leaf,
        leaf(&edwards)
    );
    let mut provider = aws_lc_rs::default_provider();
    let mapping: Vec<_> = provider
        .signature_verification_algorithms
        .mapping
        .iter()
        .filter(|(scheme, _)| *scheme != rustls::SignatureScheme::ED25519)
        .copied()
        .collect();
    provider.signature_verification_algorithms.mapping = Box::leak(mapping.into_boxed_slice());
    let mut roots = RootCertStore::empty();
    roots.add(root.der.clone()).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("versions");
    let old = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
    assert_eq!(
        shake(&server, &old, "a.example").expect("sound").leaf,
        leaf(&ecdsa)
    );
}

#[test]
fn protocols_and_versions_are_negotiated_as_configured() {
    let dir = Dir::new();
    let root = Authority::new("root");
    let a = dir.file("a.pem", &root.pair(&["a.example"]));
    let mut tls = tls(&[(&a, &a)]);
    let (http, _) = server_config(&tls, Protocol::Http, noon(2030)).expect("sound");
    let (grpc, _) = server_config(&tls, Protocol::Grpc, noon(2030)).expect("sound");
    for (server, alpn, want) in [
        (&http, &["h2", "http/1.1"][..], Some("h2")),
        (&http, &["http/1.1"], Some("http/1.1")),
        (&http, &[], None),
        (&grpc, &["h2"], Some("h2")),
        (&grpc, &["h2", "http/1.1"], Some("h2")),
    ] {
        let seen = shake(server, &Arc::new(client(&root, alpn)), "a.example").expect("sound");
        assert_eq!(seen.alpn.as_deref(), want.map(str::as_bytes), "{alpn:?}");
        assert_eq!(seen.version, Some(rustls::ProtocolVersion::TLSv1_3));
    }
    shake(&grpc, &Arc::new(client(&root, &["http/1.1"])), "a.example")
        .expect_err("no HTTP/1.1 for gRPC");

    let old = |root: &Authority| {
        let mut roots = RootCertStore::empty();
        roots.add(root.der.clone()).expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        Arc::new(
            builder
                .with_protocol_versions(&[&version::TLS12])
                .expect("versions")
                .with_root_certificates(roots)
                .with_no_client_auth(),
        )
    };
    assert_eq!(
        shake(&http, &old(&root), "a.example").expect("1.2").version,
        Some(rustls::ProtocolVersion::TLSv1_2)
    );
    tls.min_version = TlsVersion::Tls13;
    let (strict, _) = server_config(&tls, Protocol::Http, noon(2030)).expect("sound");
    shake(&strict, &old(&root), "a.example").expect_err("1.3 only");
}

#[test]
fn a_client_that_returns_resumes_its_session() {
    let dir = Dir::new();
    let root = Authority::new("root");
    let a = dir.file("a.pem", &root.pair(&["a.example"]));
    let (server, _) = server_config(&tls(&[(&a, &a)]), Protocol::Http, noon(2030)).expect("sound");
    let client = Arc::new(client(&root, &[]));
    assert!(!shake(&server, &client, "a.example").expect("sound").resumed);
    assert!(shake(&server, &client, "a.example").expect("sound").resumed);
    assert_eq!(
        (server.max_early_data_size, server.send_half_rtt_data),
        (0, false)
    );
}
