//! Does SIGHUP change what should change, and nothing else?

use e2e::raw::{Raw, Session};
use e2e::scripts::replying;
use e2e::{Edge, Gateway, Worker, eventually};
use tokio::net::TcpStream;

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none }
  grpc:  { bind: "127.0.0.1:0", protocol: grpc, tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  app: { ports: <app> }
  ws: { ports: <ws> }
  agents: { ports: <agents>, protocol: h2c }
routes:
  - { path: /, to: app, on: [http] }
  - { path: /ws, to: ws, on: [http] }
  - { path: /, to: agents, on: [grpc] }
"#;

#[tokio::test]
async fn a_new_route_is_served_at_once_also_on_connections_that_are_open() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    assert_eq!(client.get("/closed").await.status(), 200);
    let told = gateway
        .reload(|text| text + "\n  - { path: /closed, deny: 403, on: [http, https] }\n")
        .await;
    assert!(told.contains("reloaded"), "{told}");
    assert_eq!(client.get("/closed").await.status(), 403);
    assert_eq!(client.get("/open").await.status(), 200);
    let metrics = gateway.admin("/metrics").await.text();
    assert!(
        metrics.contains(r#"portcullis_reloads_total{result="done"} 1"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_file_with_a_mistake_changes_nothing_and_is_told() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    for (mistake, told_of) in [
        ("\n  - { path: /x, to: nobody }\n", "nobody"),
        ("\n  - { path: /x, deny: 403", "error"),
    ] {
        let file = gateway.file("routes.yaml");
        let good = std::fs::read_to_string(&file).unwrap();
        let told = gateway.reload(|text| text + mistake).await;
        assert!(told.contains("reload refused"), "{told}");
        assert!(told.contains(told_of), "{told}");
        std::fs::write(&file, good).unwrap();
        assert_eq!(client.get("/x").await.status(), 200);
        assert_eq!(gateway.http().await.get("/").await.status(), 200);
    }
}

#[tokio::test]
async fn listeners_come_and_go_and_a_taken_port_stops_the_reload() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Gateway::with(YAML)
        .ports("app", [worker.port()])
        .ports("ws", [worker.port() + 1])
        .ports("agents", [worker.port() + 2])
        .start()
        .await;
    let new = e2e::free_range(1);
    let mut kept = gateway.http().await;
    assert_eq!(kept.get("/").await.status(), 200);
    let line = format!("listeners:\n  new: {{ bind: \"127.0.0.1:{new}\", redirect_https: none }}");
    gateway
        .reload(|text| {
            text.replace("listeners:", &line)
                .replace("on: [http]", "on: [http, new]")
        })
        .await;
    let mut client = Raw::tcp(new).await;
    assert_eq!(client.get("/").await.status(), 200);
    assert_eq!(kept.get("/").await.status(), 200, "an old listener stays");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = gateway.file("routes.yaml");
    let good = std::fs::read_to_string(&file).unwrap();
    let told = gateway
        .reload(|text| text.replace(&format!("127.0.0.1:{new}"), &address))
        .await;
    assert!(told.contains("is taken"), "{told}");
    assert_eq!(client.get("/").await.status(), 200);
    std::fs::write(&file, good).unwrap();

    gateway
        .reload(|text| {
            text.replace(&line, "listeners:")
                .replace("on: [http, new]", "on: [http]")
        })
        .await;
    let refused = || async {
        TcpStream::connect(("127.0.0.1", new))
            .await
            .is_err()
            .then_some(())
    };
    eventually("the removed listener takes no connection", refused).await;
    assert!(client.ended().await, "its idle connections end");
    assert_eq!(kept.get("/").await.status(), 200);
}

#[tokio::test]
async fn workers_of_a_new_pool_are_known_from_the_first_request() {
    let (old, new) = (
        Worker::start(replying(200)).await,
        Worker::start(replying(201)).await,
    );
    let gateway = Edge::to(&old).pool("hold: off").start().await;
    let mut client = gateway.http().await;
    assert_eq!(client.get("/").await.status(), 200);
    let port = |worker: &Worker| worker.port().to_string();
    gateway
        .reload(|text| text.replace(&port(&old), &port(&new)))
        .await;
    assert_eq!(client.get("/").await.status(), 201);
}

#[tokio::test]
async fn counters_survive_a_reload_that_changes_their_pool() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).pool("hold: 9s").start().await;
    let mut client = gateway.http().await;
    assert_eq!(client.get("/").await.status(), 200);
    let told = gateway.reload(|text| text.replace("9s", "8s")).await;
    assert!(told.contains("pools_built=1"), "{told}");
    assert_eq!(client.get("/").await.status(), 200);
    for (line, count) in [
        (r#"portcullis_pool_picks_total{pool="app"}"#, 2.0),
        (r#"portcullis_pool_workers_up_total{pool="app"}"#, 1.0),
        (r#"portcullis_pool_workers_down_total{pool="app"}"#, 0.0),
        (r#"portcullis_reloads_total{result="done"}"#, 1.0),
    ] {
        let told = async || gateway.metric(line).await.filter(|told| *told == count);
        eventually(line, told).await;
    }
}

#[tokio::test]
async fn tls_sessions_are_resumed_over_a_reload() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let tls = gateway.tls();
    let resumed = async || {
        let stream = tls.connect(gateway.port("https")).await.unwrap();
        let session = Session::of(&stream);
        // A ticket comes after the handshake, with the first answer at the latest.
        assert_eq!(Raw::over(stream).get("/").await.status(), 200);
        session.resumed
    };
    assert!(!resumed().await, "the first session is new");
    assert!(resumed().await);
    gateway.reload(|text| text).await;
    assert!(resumed().await);
}

/// The plan of before goes when the last exchange that began with it has ended; there is none here.
#[tokio::test]
async fn plans_that_are_replaced_are_freed() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let memory = async || {
        gateway
            .metric("process_resident_memory_bytes ")
            .await
            .unwrap()
    };
    let mut client = gateway.http().await;
    let small = memory().await;
    let routes: String = (0..5_000)
        .map(|n| format!("  - {{ path: /route/{n}, deny: 403, on: [http, https] }}\n"))
        .collect();
    gateway.reload(|text| text + "\n" + &routes).await;
    assert_eq!(client.get("/route/77").await.status(), 403);
    let large = memory().await;
    let plan = large - small;
    assert!(plan > 1e6, "{small} {large}");
    for _ in 0..60 {
        gateway.reload(|text| text).await;
        assert_eq!(client.get("/").await.status(), 200);
    }
    let grown = memory().await - large;
    assert!(grown < 8.0 * plan, "{grown} bytes more, a plan is {plan}");
}
