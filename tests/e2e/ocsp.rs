//! Is what the authority says of a certificate shown with it, as long as it counts?

use std::path::Path;
use std::process::{Command, Stdio};

use e2e::scripts::replying;
use e2e::{Authority, Gateway, Leaf, TempDir, Worker, eventually};

const YAML: &str = r#"
admin: { bind: "127.0.0.1:0" }
listeners:
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key, ocsp: <dir>/edge.ocsp } ] } }
pools:
  app: { ports: <app> }
routes:
  - { path: /, to: app }
"#;

/// Makes responses with `openssl ocsp`, as an authority does.
struct Responder {
    dir: TempDir,
}

impl Responder {
    fn new(authority: &Authority) -> Responder {
        let dir = TempDir::new();
        dir.write("ca.pem", &authority.pem);
        dir.write("ca.key", &authority.key_pem());
        Responder { dir }
    }

    /// A response about a certificate; `status` is `V` (good) or `R` (revoked).
    fn say(&self, chain: &Path, serial: u64, status: &str, minutes: &str) -> Vec<u8> {
        let revoked = if status == "R" { "240101000000Z" } else { "" };
        let line =
            format!("{status}\t900101000000Z\t{revoked}\t{serial:02X}\tunknown\t/CN=edge.test\n");
        self.dir.write("index.txt", &line);
        let made = Command::new("openssl")
            .current_dir(self.dir.path())
            .args([
                "ocsp",
                "-index",
                "index.txt",
                "-CA",
                "ca.pem",
                "-issuer",
                "ca.pem",
            ])
            .args([
                "-rsigner",
                "ca.pem",
                "-rkey",
                "ca.key",
                "-nmin",
                minutes,
                "-noverify",
            ])
            .args(["-respout", "out.der", "-cert"])
            .arg(chain)
            .output()
            .expect("openssl is installed");
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(made.status.success(), "{said}");
        std::fs::read(self.dir.path().join("out.der")).expect("a response was made")
    }
}

/// What `openssl s_client -status` is shown.
fn stapled(gateway: &Gateway) -> String {
    let said = Command::new("openssl")
        .args([
            "s_client",
            "-status",
            "-servername",
            "edge.test",
            "-connect",
        ])
        .arg(format!("127.0.0.1:{}", gateway.port("https")))
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed");
    String::from_utf8_lossy(&said.stdout).into_owned()
}

const GOOD: &str = "Cert Status: good";
const NONE: &str = "OCSP response: no response sent";

struct World {
    gateway: Gateway,
    responder: Responder,
    _worker: Worker,
}

impl World {
    async fn new() -> World {
        let worker = Worker::start(replying(200)).await;
        let authority = Authority::new("OCSP CA");
        let responder = Responder::new(&authority);
        let edge = authority.issue(&Leaf {
            serial: 0x4711,
            ..Leaf::server(&["edge.test"])
        });
        let chain = responder.dir.write("edge.pem", &edge.chain);
        let response = responder.say(&chain, 0x4711, "V", "60");
        let gateway = Gateway::with(YAML)
            .ports("app", [worker.port()])
            .file("edge.pem", &edge.chain)
            .file("edge.key", &edge.key)
            .bytes("edge.ocsp", &response)
            .start()
            .await;
        World {
            gateway,
            responder,
            _worker: worker,
        }
    }

    fn respond(&self, response: &[u8]) {
        let fresh = self.gateway.file(".new.ocsp");
        std::fs::write(&fresh, response).unwrap();
        std::fs::rename(fresh, self.gateway.file("edge.ocsp")).unwrap();
    }

    async fn told(&self, what: &str) {
        eventually(what, || async {
            self.gateway.stderr().contains(what).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_response_is_stapled_where_a_client_asks_for_it() {
    let world = World::new().await;
    let said = stapled(&world.gateway);
    assert!(said.contains(GOOD), "{said}");
}

#[tokio::test]
async fn what_is_wrong_with_a_response_is_told_and_the_old_one_stays() {
    let world = World::new().await;
    let chain = world.gateway.file("edge.pem");
    let revoked = world.responder.say(&chain, 0x4711, "R", "60");
    for (response, why) in [
        (&b"nonsense"[..], "not a response of OCSP"),
        (&revoked[..], "the authority has revoked the certificate"),
    ] {
        world.respond(response);
        world.told(why).await;
        assert!(world.gateway.stderr().contains("the old one stays"));
        let said = stapled(&world.gateway);
        assert!(said.contains(GOOD), "{why}: {said}");
    }
}

#[tokio::test]
async fn a_response_about_another_certificate_is_refused() {
    let world = World::new().await;
    let authority = Authority::new("OCSP CA");
    let responder = Responder::new(&authority);
    let other = authority.issue(&Leaf {
        serial: 0x4712,
        ..Leaf::server(&["edge.test"])
    });
    let chain = responder.dir.write("edge.pem", &other.chain);
    world.respond(&responder.say(&chain, 0x4712, "V", "60"));
    world
        .told("the response is about another certificate")
        .await;
}

#[tokio::test]
async fn a_response_is_not_shown_any_more_when_it_is_out_of_date() {
    let world = World::new().await;
    let chain = world.gateway.file("edge.pem");
    // The shortest that can be made counts for a minute: one of the past stands for it.
    let mut old = world.responder.say(&chain, 0x4711, "V", "1");
    age(&mut old);
    world.respond(&old);
    world.told("out of date and not shown").await;
    let said = stapled(&world.gateway);
    assert!(said.contains(NONE), "{said}");
}

/// Puts every time of a response into the past; nobody here looks at its signature.
fn age(response: &mut [u8]) {
    let year = b"20";
    for at in 0..response.len().saturating_sub(16) {
        let time = &response[at..at + 17];
        // GeneralizedTime of 15 characters that ends in Z.
        if time[0] == 0x18 && time[1] == 15 && time[16] == b'Z' && &time[2..4] == year {
            response[at + 4..at + 6].copy_from_slice(b"01");
        }
    }
}
