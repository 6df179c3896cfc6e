//! Do clients that others wrote get along with the gateway and the real workers behind it?
//!
//! Python's websockets and grpcio, and Chromium, by the scripts in `tests/clients`. What they need
//! is installed by `make test`; a missing one is a failure that says so.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use e2e::stack::program as built;
use e2e::{Gateway, eventually};

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
  grpc:  { bind: "127.0.0.1:0", protocol: grpc, tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  appserver:      { ports: <appserver> }
  pingserver:     { ports: <pingserver> }
  message-system: { ports: <message-server> }
  api:            { ports: <api> }
  package-upload: { ports: <package-upload> }
  hostagent:      { ports: <hostagent-messenger>, protocol: h2c }
routes:
  - { path: /,               to: appserver }
  - { path: /ping,           to: pingserver }
  - { path: /message-system, to: message-system }
  - { path: /attachment,     to: message-system }
  - { path: /api,            to: api }
  - { path: /upload,         to: package-upload, strip_prefix: true }
  - { path: /,               to: hostagent, on: [grpc] }
"#;

/// Programs of the crate `backends` and how many workers of each. One messenger: the client asks it how its calls ended.
const PROGRAMS: [(&str, u16); 6] = [
    ("appserver", 2),
    ("pingserver", 1),
    ("message-server", 1),
    ("api", 1),
    ("package-upload", 1),
    ("hostagent-messenger", 1),
];

/// A process of the test's own, killed on drop.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn start(program: &str, port: u16) -> Process {
    let child = Command::new(built(program))
        .args(["--stub", "--port", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a worker can be started");
    let process = Process(child);
    let up = || async {
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .ok()
    };
    eventually(&format!("`{program}` listens on {port}"), up).await;
    process
}

async fn deployment() -> (Gateway, Vec<Process>) {
    let (mut plan, mut workers) = (Gateway::with(YAML), Vec::new());
    for (program, count) in PROGRAMS {
        let first = e2e::free_range(count);
        for port in first..first + count {
            workers.push(start(program, port).await);
        }
        plan = plan.ports(program, first..first + count);
    }
    (plan.start().await, workers)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the workspace")
        .to_owned()
}

/// Runs a client against a listener; it says by its exit code whether all was well.
async fn client(gateway: &Gateway, script: &str, listener: &str) {
    let python = root().join(".venv/bin/python");
    let script = root().join("tests/clients").join(script);
    for file in [&python, &script] {
        assert!(
            file.exists(),
            "{} is missing: run `make test`, which installs it",
            file.display()
        );
    }
    let mut command = tokio::process::Command::new(python);
    command
        .arg(script)
        .arg(format!("127.0.0.1:{}", gateway.port(listener)))
        .arg(gateway.file("ca.pem"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .kill_on_drop(true);
    // Each script has a patience of its own, longer than the tests'.
    let output = command.output().await.expect("Python can be started");
    let (said, error) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{said}\n{error}\n(a missing program is installed by `make test`)"
    );
    println!("{said}");
}

#[tokio::test]
async fn pythons_websockets_is_at_home() {
    let (gateway, _workers) = deployment().await;
    client(&gateway, "ws_echo.py", "https").await;
}

#[tokio::test]
async fn pythons_grpcio_is_at_home() {
    let (gateway, _workers) = deployment().await;
    client(&gateway, "grpc_echo.py", "grpc").await;
}

#[tokio::test]
async fn curl_is_at_home_in_both_versions() {
    let (gateway, _workers) = deployment().await;
    let at = format!("https://127.0.0.1:{}", gateway.port("https"));
    for version in ["--http1.1", "--http2"] {
        for (path, service) in [
            ("/", "appserver"),
            ("/ping", "pingserver"),
            ("/message-system", "message-system"),
            ("/attachment/1", "message-system"),
            ("/api/v2/x", "api"),
            ("/upload/a/b", "package-upload"),
        ] {
            let output = tokio::process::Command::new("curl")
                .args(["--silent", "--show-error", "--max-time", "30", version])
                .args(["--write-out", "\n%{http_code} %{http_version}", "--cacert"])
                .arg(gateway.file("ca.pem"))
                .args(["--data", "said", &format!("{at}{path}")])
                .output()
                .await
                .expect("curl can be started: `make test` installs it");
            let said = String::from_utf8_lossy(&output.stdout);
            let (body, end) = said.rsplit_once('\n').unwrap_or_default();
            let mirror: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
            let spoken = if version == "--http2" { "2" } else { "1.1" };
            assert_eq!(end, format!("200 {spoken}"), "{path} {version}: {said}");
            assert_eq!(
                (&mirror["service"], &mirror["body"]),
                (&service.into(), &"said".into()),
                "{path} {version}"
            );
        }
    }
}

#[tokio::test]
async fn a_browser_is_at_home() {
    let (gateway, _workers) = deployment().await;
    client(&gateway, "browser.py", "https").await;
}
