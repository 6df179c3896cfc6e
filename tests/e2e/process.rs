//! Is a gateway that was started by root left with what it needs, and no more?

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use e2e::scripts::replying;
use e2e::{Certs, Edge, Gateway, Raw, TempDir, Worker};

/// The user and group that every Debian has, and their number.
const NOBODY: &str = "user: nobody, group: nogroup";
const NOBODYS_NUMBER: &str = "65534";
/// CAP_NET_BIND_SERVICE as the kernel writes a set of capabilities.
const LOW_PORTS_ALONE: &str = "0000000000000400";
const NONE: &str = "0000000000000000";

fn as_root() {
    let root = std::fs::metadata("/proc/self").unwrap();
    let uid = std::os::unix::fs::MetadataExt::uid(&root);
    assert_eq!(uid, 0, "only root can become somebody else: run as root");
}

/// What the kernel says of every thread of a process, by a key of `/proc/PID/status`.
fn of_every_thread(pid: u32, key: &str) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let statuses = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("status")));
    let value = |status: std::io::Result<String>| {
        let status = status.unwrap();
        let line = status.lines().find(|line| line.starts_with(key));
        line.unwrap().split_once(':').unwrap().1.trim().to_owned()
    };
    let mut values: Vec<_> = statuses.map(value).collect();
    assert!(values.len() > 3, "data threads, access log, control");
    values.dedup();
    values
}

fn is_nobody(pid: u32, capabilities: &str) {
    let number = [NOBODYS_NUMBER; 4].join("\t");
    for (key, value) in [
        ("Uid", number.as_str()),
        ("Gid", number.as_str()),
        ("Groups", NOBODYS_NUMBER),
        ("NoNewPrivs", "1"),
        ("CapEff", capabilities),
        ("CapPrm", capabilities),
    ] {
        assert_eq!(of_every_thread(pid, key), [value], "{key}");
    }
}

async fn start(process: &str) -> (Worker, Gateway) {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker)
        .top(&format!("process: {{ {process} }}"))
        .top("upgrade: { socket: <dir>/u.sock }")
        .start()
        .await;
    (worker, gateway)
}

#[tokio::test]
async fn root_becomes_another_user_and_can_still_reload_and_upgrade() {
    as_root();
    let (_worker, mut gateway) = start(NOBODY).await;
    is_nobody(gateway.pid(), NONE);
    assert_eq!(gateway.https().await.get("/").await.status(), 200);
    let told = gateway
        .reload(|text| text + "\n  - { path: /x, deny: 403, on: [http] }\n")
        .await;
    assert!(told.contains("reloaded"), "{told}");
    let (done, said) = gateway.upgrade().await;
    assert!(done, "{said}");
    is_nobody(gateway.pid(), NONE);
    assert_eq!(gateway.http().await.get("/x").await.status(), 403);
    let told = gateway.cli(&["status"]).await;
    assert!(told.out.contains("ready for"), "{told:?}");
    let said = gateway.stderr();
    assert!(said.contains("privileges dropped"), "{said}");
    assert!(!said.contains("cannot be read any more"), "{said}");
}

/// A port below 1024 that nobody has at this moment.
fn low_port() -> u16 {
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (700..1000).rev().find(free).expect("one of 300 ports")
}

#[tokio::test]
async fn a_port_of_root_can_be_opened_later_where_that_was_asked_for() {
    as_root();
    for (low_ports, capabilities) in [("on", LOW_PORTS_ALONE), ("off", NONE)] {
        let (_worker, mut gateway) = start(&format!("{NOBODY}, low_ports: {low_ports}")).await;
        is_nobody(gateway.pid(), capabilities);
        let port = low_port();
        let new =
            format!("listeners:\n  new: {{ bind: \"127.0.0.1:{port}\", redirect_https: none }}");
        let told = gateway
            .reload(|text| {
                text.replace("listeners:", &new)
                    .replace("on: [http,", "on: [new, http,")
            })
            .await;
        if low_ports == "off" {
            assert!(told.contains("is not permitted"), "{told}");
            continue;
        }
        assert!(told.contains("reloaded"), "{told}");
        assert_eq!(Raw::tcp(port).await.get("/").await.status(), 200);
        let (done, said) = gateway.upgrade().await;
        assert!(done, "{said}");
        is_nobody(gateway.pid(), capabilities);
    }
}

/// A configuration whose certificate lies in a directory of its own.
async fn start_with_certificate_in(dir: &Path, process: &str) -> (Worker, Gateway) {
    let worker = Worker::start(replying(200)).await;
    let yaml = r#"
admin: { bind: "127.0.0.1:0" }
process: { <process> }
upgrade: { socket: <dir>/u.sock }
listeners:
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <certs>/edge.pem, key: <certs>/edge.key } ] } }
pools:
  app: { ports: <app> }
routes:
  - { path: /, to: app }
"#;
    let gateway = Gateway::with(yaml)
        .text("process", process)
        .text("certs", &dir.display().to_string())
        .ports("app", [worker.port()])
        .start()
        .await;
    (worker, gateway)
}

#[tokio::test]
async fn what_the_user_cannot_read_any_more_is_told_at_the_start() {
    as_root();
    let dir = TempDir::new();
    Certs::write(dir.path());
    let key = dir.path().join("edge.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (_worker, gateway) = start_with_certificate_in(dir.path(), NOBODY).await;
    let said = gateway.stderr();
    let told = said
        .lines()
        .find(|line| line.contains("cannot be read any more"));
    assert!(told.is_some_and(|line| line.contains("edge.key")), "{said}");
}

#[tokio::test]
async fn files_outside_the_configuration_are_out_of_reach() {
    let (inside, outside, really) = (TempDir::new(), TempDir::new(), TempDir::new());
    // As tools that renew certificates have it: links into another folder.
    Certs::write(really.path());
    for file in ["edge.pem", "edge.key"] {
        std::os::unix::fs::symlink(really.path().join(file), inside.path().join(file)).unwrap();
    }
    Certs::write(outside.path());
    let there = |dir: &TempDir| dir.path().display().to_string();
    for (more, result) in [
        (String::new(), "reload refused"),
        (format!(", readable: {}", there(&outside)), "reloaded"),
    ] {
        let process = format!("landlock: require{more}");
        let (_worker, mut gateway) = start_with_certificate_in(inside.path(), &process).await;
        let said = gateway.stderr();
        assert!(said.contains("landlock: read"), "{said}");
        assert!(said.contains(&there(&inside)), "{said}");
        // More of them than the kernel has layers would be refused.
        for _ in 0..3 {
            let (done, said) = gateway.upgrade().await;
            assert!(done, "{said}");
        }
        let told = gateway.reload(|text| text + "\n# again\n").await;
        assert!(told.contains("reloaded"), "{told}");
        let told = gateway
            .reload(|text| text.replace(&there(&inside), &there(&outside)))
            .await;
        // Its own list is in the file, too, and stays.
        assert!(told.contains(result), "{told}");
        if result == "reload refused" {
            assert!(told.contains("Permission denied"), "{told}");
        }
    }
}

#[tokio::test]
async fn a_user_that_is_not_there_is_told_and_nothing_is_served() {
    as_root();
    let (code, said) = run("process: { user: nobody-of-that-name }").await;
    assert_eq!(code, Some(1));
    assert!(said.contains("no user `nobody-of-that-name`"), "{said}");
}

async fn run(top: &str) -> (Option<i32>, String) {
    let dir = TempDir::new();
    let text = format!(
        "{top}\nadmin: off\nlisteners:\n  http: {{ bind: \"127.0.0.1:0\" }}\npools:\n  p: {{ ports: 1025 }}\nroutes:\n  - {{ path: /, to: p }}\n"
    );
    let file = dir.write("routes.yaml", &text);
    let mut command = e2e::gateway::command();
    command.args(["run", "-c"]).arg(file);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}
