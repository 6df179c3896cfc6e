//! Does the service manager hear what it has to know?

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use e2e::scripts::replying;
use e2e::{Edge, Worker, eventually};

/// A service manager's end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    path: std::path::PathBuf,
}

impl Manager {
    fn new() -> Manager {
        let name = format!(
            "portcullis-notify-{}-{}",
            std::process::id(),
            fastrand::u64(..)
        );
        let path = std::env::temp_dir().join(name);
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_nonblocking(true).expect("not blocking");
        Manager { socket, path }
    }

    async fn hears(&self, word: &str) {
        let heard = || async {
            let mut bytes = [0u8; 4096];
            while let Ok(n) = self.socket.recv(&mut bytes) {
                if String::from_utf8_lossy(&bytes[..n])
                    .lines()
                    .any(|line| line == word)
                {
                    return Some(());
                }
            }
            None
        };
        eventually(&format!("the service manager hears {word}"), heard).await;
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[tokio::test]
async fn the_service_manager_hears_of_ready_reload_and_stop() {
    let manager = Arc::new(Manager::new());
    let worker = Worker::start(replying(200)).await;
    let mut gateway = Edge::to(&worker)
        .env("NOTIFY_SOCKET", &manager.path.display().to_string())
        .start()
        .await;
    manager.hears("READY=1").await;
    gateway.reload(|text| text).await;
    manager.hears("RELOADING=1").await;
    manager.hears("READY=1").await;
    gateway.terminate();
    manager.hears("STOPPING=1").await;
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_watchdog_is_fed() {
    let manager = Manager::new();
    let worker = Worker::start(replying(200)).await;
    let patience = Duration::from_millis(200);
    let _gateway = Edge::to(&worker)
        .env("NOTIFY_SOCKET", &manager.path.display().to_string())
        .env("WATCHDOG_USEC", &patience.as_micros().to_string())
        .start()
        .await;
    for _ in 0..3 {
        manager.hears("WATCHDOG=1").await;
    }
}

#[tokio::test]
async fn the_service_manager_hears_which_process_has_taken_over() {
    let manager = Arc::new(Manager::new());
    let worker = Worker::start(replying(200)).await;
    let mut gateway = Edge::to(&worker)
        .top("upgrade: { socket: <dir>/u.sock }")
        .env("NOTIFY_SOCKET", &manager.path.display().to_string())
        .env("WATCHDOG_USEC", "1000000")
        .start()
        .await;
    manager.hears("READY=1").await;
    let (done, said) = gateway.upgrade().await;
    assert!(done, "{said}");
    manager.hears(&format!("MAINPID={}", gateway.pid())).await;
    assert_eq!(gateway.exit().await.code(), Some(0));
    // It feeds the watchdog in the place of the old one.
    manager.hears("WATCHDOG=1").await;
    gateway.terminate();
    manager.hears("STOPPING=1").await;
}

#[tokio::test]
async fn a_socket_that_the_service_manager_opened_is_served_and_outlives_us() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // Who comes before the gateway runs is waiting when it does.
    let early = tokio::net::TcpStream::connect(address).await.unwrap();
    let worker = Worker::start(replying(200)).await;
    let yaml = r#"
admin: off
listeners:
  http: { bind: "<address>", redirect_https: none }
pools:
  app: { ports: <app> }
routes:
  - { path: /, to: app }
"#;
    let plan = || {
        e2e::Gateway::with(yaml)
            .text("address", &address.to_string())
            .ports("app", [worker.port()])
            .pass(&socket)
    };
    let mut gateway = plan().start().await;
    assert_eq!(gateway.port("http"), address.port());
    assert_eq!(e2e::Raw::over(early).get("/").await.status(), 200);
    gateway.terminate();
    assert_eq!(gateway.exit().await.code(), Some(0));
    // Nobody is turned away between two runs.
    let between = tokio::net::TcpStream::connect(address).await.unwrap();
    let _gateway = plan().start().await;
    assert_eq!(e2e::Raw::over(between).get("/").await.status(), 200);
}
