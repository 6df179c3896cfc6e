//! Is nobody let in by a list of revoked certificates that has run out, and is that told before it happens?

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use e2e::gateway::command;
use e2e::raw::Session;
use e2e::scripts::replying;
use e2e::{Authority, Gateway, Leaf, Raw, Tls, Worker, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const YAML: &str = r#"
admin: { bind: "127.0.0.1:0" }
listeners:
  must: { bind: "127.0.0.1:0", tls: { certificates: [ <edge> ], client_certificates: { mode: required, ca: <dir>/clients.pem, crl: [<dir>/clients.crl]<expired> } } }
  may:  { bind: "127.0.0.1:0", tls: { certificates: [ <edge> ], client_certificates: { mode: optional, ca: <dir>/clients.pem, crl: [<dir>/clients.crl]<expired> } } }
pools:
  app: { ports: <app> }
routes:
  - { path: /, to: app }
"#;

const DAY: i64 = 86_400;

struct World {
    gateway: Gateway,
    clients: Authority,
    _worker: Worker,
}

impl World {
    /// With a list that counts until so many seconds from now.
    async fn new(expired: &str, seconds: i64) -> World {
        let worker = Worker::start(replying(200)).await;
        let clients = Authority::new("Client CA");
        let gateway = Gateway::with(YAML)
            .text("edge", "{ chain: <dir>/edge.pem, key: <dir>/edge.key }")
            .text("expired", expired)
            .file("clients.pem", &clients.pem)
            .file("clients.crl", &list(&clients, &[], seconds))
            .ports("app", [worker.port()])
            .start()
            .await;
        World {
            gateway,
            clients,
            _worker: worker,
        }
    }

    fn client(&self, serial: u64) -> Tls {
        let leaf = self.clients.issue(&Leaf {
            serial,
            ..Leaf::client("agent")
        });
        self.gateway.tls().showing(&leaf)
    }

    /// Whether a session was resumed; or why the client was refused.
    async fn ask(&self, tls: &Tls, listener: &str) -> Result<bool, String> {
        let asked = async {
            let mut stream = tls.connect(self.gateway.port(listener)).await?;
            let resumed = Session::of(&stream).resumed;
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                .await?;
            stream.read_u8().await.map(|_| resumed)
        };
        let asked = e2e::within("an end", asked).await;
        asked.map_err(|error: std::io::Error| error.to_string())
    }

    async fn refused(&self, listener: &str) -> f64 {
        let line = format!(
            r#"portcullis_tls_handshake_failures_total{{listener="{listener}",reason="client_certificate_crl_expired"}}"#
        );
        self.gateway.metric(&line).await.unwrap_or(-1.0)
    }

    async fn told(&self, parts: &[&str]) {
        eventually(&format!("the log says {parts:?}"), || async {
            let told = self.gateway.stderr();
            let has = |line: &str| parts.iter().all(|part| line.contains(part));
            told.lines().any(has).then_some(())
        })
        .await;
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// One that was made 40 days ago.
fn list(authority: &Authority, serials: &[u64], seconds: i64) -> String {
    authority.revoking_within(serials, now() - 40 * DAY, now() + seconds)
}

#[tokio::test]
async fn clients_are_refused_by_a_list_that_has_run_out_until_a_newer_one_is_there() {
    let world = World::new("", -DAY).await;
    let client = world.client(77);
    world
        .told(&[
            "ERROR",
            "has run out: clients with certificates are refused",
            "clients.crl",
        ])
        .await;
    for listener in ["must", "may"] {
        assert_eq!(world.refused(listener).await, 0.0);
        let error = world.ask(&client, listener).await.unwrap_err();
        assert!(error.contains("UnknownCA"), "{listener}: {error}");
        // The client hears of it first.
        eventually("it is counted", || async {
            (world.refused(listener).await == 1.0).then_some(())
        })
        .await;
    }
    world
        .told(&[
            "client certificate refused",
            "reason=\"client_certificate_crl_expired\"",
        ])
        .await;
    // Who shows none is served where he may.
    assert!(world.ask(&world.gateway.tls(), "may").await.is_ok());
    let file = world.gateway.file("clients.crl").display().to_string();
    let expiry = |listener: &str| {
        format!(r#"portcullis_crl_expiry_timestamp_seconds{{listener="{listener}",crl="{file}"}}"#)
    };
    let past = world.gateway.metric(&expiry("must")).await.unwrap();
    assert!(past < now() as f64, "{past}");
    // Both lists in one file: the newer one counts, wherever it stands.
    let both = [-DAY, 30 * DAY].map(|seconds| list(&world.clients, &[78], seconds));
    world.gateway.put("clients.crl", &both.concat());
    eventually("the client is served", || async {
        world.ask(&client, "must").await.ok()
    })
    .await;
    let error = world.ask(&world.client(78), "must").await.unwrap_err();
    assert!(error.contains("CertificateRevoked"), "{error}");
    let then = world.gateway.metric(&expiry("must")).await.unwrap();
    assert!(then > now() as f64, "{then}");
}

#[tokio::test]
async fn a_list_that_runs_out_ends_sessions_that_could_be_resumed() {
    let world = World::new("", 6).await;
    world.told(&["WARN", "runs out soon", "clients.crl"]).await;
    let (client, resumed) = (world.client(77), AtomicBool::new(false));
    let error = eventually("the client is refused", || async {
        match world.ask(&client, "must").await {
            Ok(again) => {
                resumed.fetch_or(again, Ordering::Relaxed);
                None
            }
            Err(error) => Some(error),
        }
    })
    .await;
    assert!(resumed.into_inner(), "it had a ticket that was good before");
    assert!(error.contains("UnknownCA"), "{error}");
    assert!(world.refused("must").await >= 1.0);
    world
        .told(&[
            "ERROR",
            "has run out: clients with certificates are refused",
        ])
        .await;
}

#[tokio::test]
async fn what_is_known_goes_on_being_used_where_the_file_says_so() {
    let world = World::new(", expired_crl: accept", 30 * DAY).await;
    assert!(!world.gateway.stderr().contains("run out"));
    let (good, bad) = (world.client(77), world.client(78));
    assert!(world.ask(&good, "must").await.is_ok());
    world
        .gateway
        .put("clients.crl", &list(&world.clients, &[78], -DAY));
    eventually("the revoked one is refused", || async {
        let error = world.ask(&bad, "must").await.err()?;
        error.contains("CertificateRevoked").then_some(())
    })
    .await;
    assert!(world.ask(&good, "must").await.is_ok());
    world
        .told(&["WARN", "has run out, and is used all the same"])
        .await;
    assert_eq!(world.refused("must").await, 0.0);
}

#[tokio::test]
async fn what_refuses_clients_soon_is_told_beforehand() {
    let world = World::new("", 5 * DAY - 600).await;
    let file = world.gateway.file("routes.yaml");
    let told = |verb: &str| {
        let output = command().arg(verb).arg(&file).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, text) = told("check");
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("warning") && text.contains("runs out on"),
        "{text}"
    );
    let (_, text) = told("certs");
    assert!(
        text.contains("list of what `CN=Client CA` has revoked (4 days 23 hours left)"),
        "{text}"
    );
    let list = list(&world.clients, &[], -DAY);
    world.gateway.put("clients.crl", &list);
    let (code, text) = told("check");
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("clients with its certificates are refused"),
        "{text}"
    );
    assert!(text.contains("`expired_crl: accept`"), "{text}");
    let (code, text) = told("certs");
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("(run out)") && text.contains("error: the list"),
        "{text}"
    );
}

#[tokio::test]
async fn what_has_begun_goes_on_when_the_list_has_run_out() {
    let world = World::new("", DAY).await;
    let mut open = Raw::tls(world.gateway.port("must"), &world.client(77)).await;
    assert_eq!(open.get("/").await.status(), 200);
    world
        .gateway
        .put("clients.crl", &list(&world.clients, &[], -DAY));
    let other = world.client(79);
    eventually("others are refused", || async {
        world.ask(&other, "must").await.err()
    })
    .await;
    assert_eq!(open.get("/").await.status(), 200);
}
