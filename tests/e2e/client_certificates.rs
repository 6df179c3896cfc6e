//! Are clients known by their certificates, and nobody else taken for them?

use e2e::grpc::{call, frame};
use e2e::h2_scripts::h2_echoing_head;
use e2e::raw::Session;
use e2e::scripts::echoing_head;
use e2e::{Authority, Gateway, H2, Issued, Leaf, Message, Raw, Tls, Worker, eventually};

const YAML: &str = r#"
admin: { bind: "127.0.0.1:0" }
upgrade: { socket: <dir>/run/upgrade.sock }
listeners:
  http:   { bind: "127.0.0.1:0", redirect_https: none }
  https:  { bind: "127.0.0.1:0", tls: { certificates: [ <edge> ] } }
  must:   { bind: "127.0.0.1:0", tls: { certificates: [ <edge> ], client_certificates: { mode: required, ca: <dir>/clients.pem, crl: [<dir>/clients.crl] } } }
  may:    { bind: "127.0.0.1:0", tls: { certificates: [ <edge> ], client_certificates: { mode: optional, ca: <dir>/clients.pem } } }
  grpc:   { bind: "127.0.0.1:0", protocol: grpc, tls: { certificates: [ <edge> ], client_certificates: { mode: required, ca: <dir>/clients.pem } } }
pools:
  app:    { ports: <app> }
  agents: { ports: <agents>, protocol: h2c }
routes:
  - { path: /, to: app, on: [http, https, must, may] }
  - { path: /limited, name: limited, to: app, on: [may], rate: { per: certificate, requests: 1/h, burst: 1 } }
  - { path: /, to: agents, on: [grpc], rate: { per: certificate, requests: 1/h, burst: 2 } }
"#;

struct World {
    gateway: Gateway,
    clients: Authority,
    worker: Worker,
    agents: Worker,
}

impl World {
    async fn new() -> World {
        let worker = Worker::start(echoing_head()).await;
        let agents = Worker::start(h2_echoing_head()).await;
        let clients = Authority::new("Client CA");
        let gateway = Gateway::with(YAML)
            .text("edge", "{ chain: <dir>/edge.pem, key: <dir>/edge.key }")
            .file("clients.pem", &clients.pem)
            .file("clients.crl", &clients.revoking(&[]))
            .ports("app", [worker.port()])
            .ports("agents", [agents.port()])
            .start()
            .await;
        World {
            gateway,
            clients,
            worker,
            agents,
        }
    }

    fn client(&self, leaf: &Issued) -> Tls {
        self.gateway.tls().showing(leaf)
    }

    async fn failures(&self, listener: &str, reason: &str) -> f64 {
        let line = format!(
            r#"portcullis_tls_handshake_failures_total{{listener="{listener}",reason="{reason}"}}"#
        );
        self.gateway.metric(&line).await.unwrap_or(-1.0)
    }

    /// What the client is told: with TLS 1.3 it comes after its side of the handshake.
    async fn refused(&self, tls: Tls, listener: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let asked = async {
            let mut stream = tls.connect(self.gateway.port(listener)).await?;
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                .await?;
            stream.flush().await?;
            stream.read_u8().await
        };
        match e2e::within("an end", asked).await {
            Ok(_) => "no error".to_owned(),
            Err(error) => error.to_string(),
        }
    }
}

const SUBJECT: &str = "x-client-cert-subject";
const FINGERPRINT: &str = "x-client-cert-fingerprint";

/// The fields that the worker saw under a name.
fn seen(reply: &Message, name: &str) -> Vec<String> {
    let text = reply.text();
    let mut values = Vec::new();
    for line in text.lines() {
        if let Some((n, value)) = line.split_once(": ")
            && n.to_ascii_lowercase().replace('_', "-") == name
        {
            values.push(value.to_owned());
        }
    }
    values
}

#[tokio::test]
async fn workers_and_the_log_know_the_client_by_its_certificate() {
    let world = World::new().await;
    let leaf = world.clients.issue(&Leaf {
        organization: "Example, Inc.\r\nX-Evil: 1",
        ..Leaf::client("agent-7")
    });
    let mut lines = 0;
    for listener in ["must", "may"] {
        let mut client = Raw::tls(world.gateway.port(listener), &world.client(&leaf)).await;
        let lies = [
            "X-Client-Cert-Subject: CN=admin",
            "X_Client_Cert_Fingerprint: 00",
            "x-client-cert-anything: 1",
        ];
        let reply = client.ask("GET", "/", &lies, b"").await;
        assert_eq!(reply.status(), 200);
        assert_eq!(
            seen(&reply, SUBJECT),
            ["CN=agent-7,O=Example\\, Inc.\\0D\\0AX-Evil: 1"],
            "{listener}"
        );
        let fingerprint = seen(&reply, FINGERPRINT);
        assert!(
            fingerprint.len() == 1 && fingerprint[0].len() == 64,
            "{fingerprint:?}"
        );
        assert!(!reply.text().contains("anything"), "{}", reply.text());
        lines += 1;
        let line = world.gateway.access_log(lines).await.pop().unwrap();
        assert_eq!(
            line["client_subject"],
            "CN=agent-7,O=Example\\, Inc.\\0D\\0AX-Evil: 1"
        );
        assert_eq!(line["client_fingerprint"], fingerprint[0].as_str());
    }
}

#[tokio::test]
async fn what_strangers_send_under_these_names_is_dropped_everywhere() {
    let world = World::new().await;
    let lies = [
        "X-Client-Cert-Subject: CN=admin",
        "x_client_cert_fingerprint: 00",
    ];
    for listener in ["http", "https", "may"] {
        let port = world.gateway.port(listener);
        let mut client = match listener {
            "http" => Raw::tcp(port).await,
            _ => Raw::tls(port, &world.gateway.tls()).await,
        };
        let reply = client.ask("GET", "/", &lies, b"").await;
        assert_eq!(reply.status(), 200, "{listener}");
        assert!(
            seen(&reply, SUBJECT).is_empty(),
            "{listener}: {}",
            reply.text()
        );
        assert!(
            seen(&reply, FINGERPRINT).is_empty(),
            "{listener}: {}",
            reply.text()
        );
    }
    for line in world.gateway.access_log(3).await {
        assert!(line.get("client_subject").is_none(), "{line}");
    }
}

#[tokio::test]
async fn a_client_that_cannot_be_trusted_is_told_why_by_an_alert() {
    let world = World::new().await;
    let stranger = Authority::new("Stranger CA");
    let client = |leaf: &Issued| world.client(leaf);
    let cases = [
        (
            world.gateway.tls(),
            "CertificateRequired",
            "client_certificate_missing",
        ),
        (
            client(&stranger.issue(&Leaf::client("x"))),
            "UnknownCA",
            "client_certificate_unknown_ca",
        ),
        (
            client(&world.clients.issue(&Leaf {
                until: (2021, 1, 1),
                ..Leaf::client("x")
            })),
            "CertificateExpired",
            "client_certificate_expired",
        ),
        (
            client(&world.clients.issue(&Leaf::server(&["edge.test"]))),
            "Certificate",
            "client_certificate_bad",
        ),
    ];
    for (tls, alert, reason) in cases {
        assert_eq!(world.failures("must", reason).await, 0.0, "{reason}");
        let error = world.refused(tls, "must").await;
        assert!(error.contains(alert), "{reason}: {error}");
        // The client hears of it before it is counted.
        eventually(reason, || async {
            (world.failures("must", reason).await == 1.0).then_some(())
        })
        .await;
    }
    assert_eq!(world.worker.count(), 0, "nothing reached a worker");
    let told = world.gateway.stderr();
    assert!(
        told.contains("client certificate refused") && told.contains("listener=must"),
        "{told}"
    );
    // Where it is optional, a wrong one is still refused.
    let wrong = stranger.issue(&Leaf::client("x"));
    let error = world.refused(world.client(&wrong), "may").await;
    assert!(error.contains("UnknownCA"), "{error}");
}

#[tokio::test]
async fn a_certificate_is_refused_from_when_it_is_on_the_list() {
    let world = World::new().await;
    let lists = |serials: &[u64]| {
        let list = world.clients.revoking(serials);
        world.gateway.put("clients.crl", &list);
    };
    let leaf = |serial| {
        world.clients.issue(&Leaf {
            serial,
            ..Leaf::client("agent")
        })
    };
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        lists(&[]);
        let (good, bad) = (leaf(77), leaf(78));
        let [good, bad] = [&good, &bad]
            .map(|leaf| Tls::versions(world.gateway.certs(), &[version]).showing(leaf));
        eventually("both are served", || async {
            let served = world.refused(bad.clone(), "must").await == "no error"
                && world.refused(good.clone(), "must").await == "no error";
            served.then_some(())
        })
        .await;
        lists(&[78]);
        // It has a ticket: a session from before the list must not be resumed either.
        eventually("it is refused", || async {
            let error = world.refused(bad.clone(), "must").await;
            error.contains("CertificateRevoked").then_some(())
        })
        .await;
        assert_eq!(world.refused(good.clone(), "must").await, "no error");
        assert!(world.failures("must", "client_certificate_revoked").await >= 1.0);
    }
}

#[tokio::test]
async fn a_resumed_session_is_still_the_same_client() {
    let world = World::new().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let leaf = world.clients.issue(&Leaf::client("agent-8"));
        let tls = Tls::versions(world.gateway.certs(), &[version]).showing(&leaf);
        eventually("a session is resumed", || async {
            let stream = tls.connect(world.gateway.port("must")).await.unwrap();
            let resumed = Session::of(&stream).resumed;
            let reply = Raw::over(stream).get("/").await;
            assert_eq!(
                seen(&reply, SUBJECT),
                ["CN=agent-8"],
                "{version:?} {resumed}"
            );
            resumed.then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_session_from_before_certificates_were_asked_for_does_not_get_around_them() {
    let world = World::new().await;
    let tls = world.gateway.tls();
    for _ in 0..2 {
        assert_eq!(world.refused(tls.clone(), "may").await, "no error");
    }
    let told = world
        .gateway
        .reload(|yaml| yaml.replace("mode: optional", "mode: required"))
        .await;
    assert!(told.contains("reloaded"), "{told}");
    let error = world.refused(tls, "may").await;
    assert!(error.contains("CertificateRequired"), "{error}");
}

#[tokio::test]
async fn a_ticket_of_one_listener_is_none_at_another() {
    let world = World::new().await;
    let leaf = world.clients.issue(&Leaf::client("agent-9"));
    let resumed = async |tls: &Tls, listener: &str| {
        let stream = tls.connect(world.gateway.port(listener)).await.unwrap();
        let resumed = Session::of(&stream).resumed;
        assert_eq!(Raw::over(stream).get("/").await.status(), 200);
        resumed
    };
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        // Known to one listener by its certificate, at the others it is as any other.
        let known = Tls::versions(world.gateway.certs(), &[version]).showing(&leaf);
        for (from, to) in [("must", "may"), ("may", "must"), ("must", "https")] {
            eventually("the ticket is one where it is from", || async {
                resumed(&known, from).await.then_some(())
            })
            .await;
            assert!(!resumed(&known, to).await, "{version:?}: {from} {to}");
        }
        // And who has a ticket from where nobody is asked still has to show a certificate.
        let nobody = Tls::versions(world.gateway.certs(), &[version]);
        eventually("the ticket is one where it is from", || async {
            resumed(&nobody, "https").await.then_some(())
        })
        .await;
        let error = world.refused(nobody, "must").await;
        assert!(
            error.contains("CertificateRequired"),
            "{version:?}: {error}"
        );
    }
}

#[tokio::test]
async fn a_ticket_of_the_old_process_does_not_get_around_the_new_ones_list() {
    let mut world = World::new().await;
    let [good, bad] = [77, 78].map(|serial| {
        world.clients.issue(&Leaf {
            serial,
            ..Leaf::client("agent")
        })
    });
    let [good, bad] = [&good, &bad].map(|leaf| world.client(leaf));
    let resumed = async |gateway: &Gateway, tls: &Tls| {
        let stream = tls.connect(gateway.port("must")).await.unwrap();
        let resumed = Session::of(&stream).resumed;
        assert_eq!(Raw::over(stream).get("/").await.status(), 200);
        resumed
    };
    resumed(&world.gateway, &good).await;
    resumed(&world.gateway, &bad).await;
    let (done, said) = world.gateway.upgrade().await;
    assert!(done, "{said}");
    // The same list: the old process's sessions go on, and who they are of with them.
    assert!(resumed(&world.gateway, &good).await);
    assert!(resumed(&world.gateway, &bad).await);
    // Another list, which the new process alone has read when it begins to serve.
    let list = world.clients.revoking(&[78]);
    world.gateway.put("clients.crl", &list);
    let (done, said) = world.gateway.upgrade().await;
    assert!(done, "{said}");
    let error = world.refused(bad, "must").await;
    assert!(error.contains("CertificateRevoked"), "{error}");
    assert_eq!(world.refused(good, "must").await, "no error");
}

#[tokio::test]
async fn a_rate_per_certificate_counts_each_client() {
    let world = World::new().await;
    let status = async |tls: &Tls| {
        let mut client = Raw::tls(world.gateway.port("may"), tls).await;
        client.get("/limited").await.status()
    };
    let [one, two] = ["one", "two"].map(|name| world.clients.issue(&Leaf::client(name)));
    let [one, two] = [&one, &two].map(|leaf| world.client(leaf));
    // All of them come from one address.
    assert_eq!(status(&one).await, 200);
    assert_eq!(status(&two).await, 200);
    assert_eq!(status(&world.gateway.tls()).await, 200, "by its address");
    assert_eq!(status(&one).await, 429);
    assert_eq!(status(&world.gateway.tls()).await, 429);
    let line = r#"portcullis_rate_limited_total{listener="may",route="limited"}"#;
    assert_eq!(world.gateway.metric(line).await, Some(2.0));
    let lines = world.gateway.access_log(5).await;
    // Data threads hand their lines over as they come to it.
    let refused = |line: &&serde_json::Value| line["end"] == "rate_limited";
    let mut subjects = lines
        .iter()
        .filter(refused)
        .map(|line| &line["client_subject"]);
    assert!(subjects.any(|subject| subject == "CN=one"), "{lines:?}");
}

#[tokio::test]
async fn grpc_is_told_of_the_certificate_and_refused_in_its_own_form() {
    let world = World::new().await;
    let leaf = world.clients.issue(&Leaf::client("wsl-1"));
    let tls = world.client(&leaf).alpn(&["h2"]);
    let stream = tls.connect(world.gateway.port("grpc")).await.unwrap();
    let mut h2 = H2::over(stream).await;
    for _ in 0..2 {
        let mut request = call("/s/Unary");
        let lie = "CN=admin".parse().unwrap();
        request.headers_mut().insert(SUBJECT, lie);
        let reply = h2.fetch(request, frame("x")).await;
        assert!(reply.text().contains("CN=wsl-1"), "{}", reply.text());
        assert!(!reply.text().contains("CN=admin"), "{}", reply.text());
    }
    let reply = h2.fetch(call("/s/Unary"), frame("x")).await;
    assert_eq!(
        (reply.status.as_u16(), reply.grpc_status()),
        (200, Some("8"))
    );
    assert_eq!(world.agents.count(), 2);
    let error = world.gateway.tls().alpn(&["h2"]);
    let error = world.refused(error, "grpc").await;
    assert!(error.contains("CertificateRequired"), "{error}");
}
