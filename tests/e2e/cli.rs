//! Does the command line reach the running gateway, and are its exit codes to be trusted?

use e2e::scripts::replying;
use e2e::{Edge, Worker};

const DONE: i32 = 0;
const REFUSED: i32 = 1;
const USAGE: i32 = 2;
const UNREACHABLE: i32 = 3;

#[tokio::test]
async fn status_and_workers_are_tables_for_people_and_json_for_programs() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let address = format!("127.0.0.1:{}", worker.port());
    let told = gateway.cli(&["status"]).await;
    assert_eq!(told.code, DONE, "{told:?}");
    for part in ["ready for", "LISTENER", "https", "POOL", "app"] {
        assert!(told.out.contains(part), "{part} in {}", told.out);
    }
    let told = gateway.cli(&["workers", "app"]).await;
    assert_eq!(told.code, DONE, "{told:?}");
    let line = told.out.lines().find(|line| line.contains(&address));
    let line = line.unwrap_or_else(|| panic!("{address} in {}", told.out));
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[..3], ["app", &address, "up"], "{line}");
    let told = gateway.cli(&["workers", "--json"]).await;
    assert_eq!(told.json()["workers"][0]["address"], address.as_str());
    let told = gateway.cli(&["status", "--json"]).await;
    assert_eq!(told.json()["state"], "ready");
}

#[tokio::test]
async fn ports_without_a_worker_are_shown_where_that_is_asked_for() {
    let first = e2e::free_range(2);
    let _worker = Worker::start_on(first, replying(200)).await;
    let gateway = Edge::to_ports([first, first + 1]).start().await;
    let rows = async |words: &[&str]| gateway.cli(words).await.out.lines().count() - 1;
    assert_eq!(rows(&["workers"]).await, 1);
    assert_eq!(rows(&["workers", "--all"]).await, 2);
}

#[tokio::test]
async fn who_is_refused_hears_why_and_what_to_do() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let told = gateway.cli(&["workers", "nopool"]).await;
    assert_eq!(told.code, REFUSED);
    assert!(told.err.contains("no pool `nopool`"), "{}", told.err);
    assert!(told.err.contains("help: pools are app"), "{}", told.err);
    assert_eq!(gateway.cli(&["workers", "--nonsense"]).await.code, USAGE);
    let told = gateway.cli(&["status", "--admin", "ftp://x"]).await;
    assert_eq!(told.code, USAGE, "{told:?}");
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_told_with_its_place() {
    let worker = Worker::start(replying(200)).await;
    let mut gateway = Edge::to(&worker).start().await;
    let socket = gateway.socket();
    gateway.terminate();
    assert!(gateway.exit().await.success());
    let told = gateway
        .cli(&["status", "--admin", &socket.display().to_string()])
        .await;
    assert_eq!(told.code, UNREACHABLE);
    assert!(
        told.err.contains(&socket.display().to_string()),
        "{}",
        told.err
    );
    assert!(told.err.contains("help:"), "{}", told.err);
}

#[tokio::test]
async fn a_socket_or_an_address_can_be_named() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let socket = gateway.socket().display().to_string();
    let url = format!("http://127.0.0.1:{}", gateway.port("admin"));
    for named in [&socket, &url] {
        let told = gateway.cli(&["status", "--admin", named]).await;
        assert_eq!(told.code, DONE, "{told:?}");
    }
    let told = gateway.cli(&["reload", "--admin", &url]).await;
    assert_eq!(told.code, REFUSED);
    assert!(told.err.contains("unix socket"), "{}", told.err);
}

#[tokio::test]
async fn a_reload_is_waited_for_and_its_problems_are_shown() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    assert_eq!(client.get("/closed").await.status(), 200);
    let file = gateway.file("routes.yaml");
    let good = std::fs::read_to_string(&file).unwrap();
    let more = "\n  - { path: /closed, deny: 403, on: [http, https] }\n";
    std::fs::write(&file, good.clone() + more).unwrap();
    let told = gateway.cli(&["reload"]).await;
    assert_eq!(told.code, DONE, "{told:?}");
    assert!(told.out.contains("reloaded: 2 routes"), "{}", told.out);
    assert_eq!(
        client.get("/closed").await.status(),
        403,
        "once it is told, it is so"
    );

    std::fs::write(&file, good + "\n  - { path: /x, to: nobody }\n").unwrap();
    let told = gateway.cli(&["reload"]).await;
    assert_eq!(told.code, REFUSED);
    for part in ["no pool `nobody`", "routes.yaml:", "help:"] {
        assert!(told.err.contains(part), "{part} in {}", told.err);
    }
    assert_eq!(client.get("/closed").await.status(), 403);
    let told = gateway.cli(&["reload", "--json"]).await;
    assert_eq!(told.code, REFUSED);
    assert_eq!(told.json()["problems"][0]["severity"], "error");
}
