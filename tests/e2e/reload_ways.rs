//! Is the file read again when it changes, where that is wanted, and only then?

use std::path::Path;
use std::time::Duration;

use e2e::scripts::{replying, silent};
use e2e::{Edge, Gateway, Raw, Worker, eventually, for_a_while};

/// Several looks at the file, which is looked at once a second.
const LOOKS: Duration = Duration::from_secs(4);

const MORE: &str = "\n  - { path: /closed, deny: 403, on: [http, https] }\n";

async fn watched(worker: &Worker) -> Gateway {
    Edge::to(worker)
        .top("reload: { on_change: on }")
        .start()
        .await
}

async fn status(gateway: &Gateway, path: &str) -> u16 {
    gateway.http().await.get(path).await.status()
}

async fn until_closed(gateway: &Gateway) {
    let closed = || async { (status(gateway, "/closed").await == 403).then_some(()) };
    eventually("the new route is served", closed).await;
}

fn change(file: &Path, change: impl FnOnce(String) -> String) {
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, change(text)).unwrap();
}

fn count(gateway: &Gateway, word: &str) -> usize {
    gateway.stderr().matches(word).count()
}

#[tokio::test]
async fn a_changed_file_is_taken_over_without_anybody_asking() {
    let worker = Worker::start(replying(200)).await;
    let gateway = watched(&worker).await;
    assert_eq!(status(&gateway, "/closed").await, 200);
    change(&gateway.file("routes.yaml"), |text| text + MORE);
    until_closed(&gateway).await;
    // It is served before it is told.
    let told = || async { (count(&gateway, "by=\"file\"") == 1).then_some(()) };
    eventually("the log says by whom", told).await;
}

#[tokio::test]
async fn without_the_option_nothing_is_read() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    change(&gateway.file("routes.yaml"), |text| text + MORE);
    for_a_while(LOOKS).await;
    assert_eq!(status(&gateway, "/closed").await, 200);
    // It is turned on by the file itself, and from then on changes count.
    gateway
        .reload(|text| text.replace(MORE, "\n") + "\nreload: { on_change: on }\n")
        .await;
    assert_eq!(status(&gateway, "/closed").await, 200);
    change(&gateway.file("routes.yaml"), |text| {
        text.replace("\nreload:", &format!("{MORE}\nreload:"))
    });
    until_closed(&gateway).await;
}

#[tokio::test]
async fn a_file_behind_links_that_are_swapped_is_seen() {
    // As Kubernetes does it: the file is a link through a directory's link, which is exchanged.
    let worker = Worker::start(replying(200)).await;
    let gateway = watched(&worker).await;
    let file = gateway.file("routes.yaml");
    let good = std::fs::read_to_string(&file).unwrap();
    for (name, text) in [("one", good.clone()), ("two", good + MORE)] {
        std::fs::create_dir(gateway.file(name)).unwrap();
        std::fs::write(gateway.file(name).join("routes.yaml"), text).unwrap();
    }
    let link = |to: &str, at: &str| {
        std::os::unix::fs::symlink(to, gateway.file("next")).unwrap();
        std::fs::rename(gateway.file("next"), gateway.file(at)).unwrap();
    };
    link("one", "data");
    link("data/routes.yaml", "routes.yaml");
    let reloaded = || async { (count(&gateway, "reloaded by") == 1).then_some(()) };
    eventually("another file in its place is a change", reloaded).await;
    assert_eq!(status(&gateway, "/closed").await, 200);
    link("two", "data");
    until_closed(&gateway).await;
}

#[tokio::test]
async fn a_file_with_mistakes_is_told_once_and_read_again_when_it_is_mended() {
    let worker = Worker::start(replying(200)).await;
    let gateway = watched(&worker).await;
    let file = gateway.file("routes.yaml");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{good}\n  - {{ path: /x, to: nobody }}\n")).unwrap();
    let told = || async { (count(&gateway, "reload refused") > 0).then_some(()) };
    eventually("the mistake is told", told).await;
    for_a_while(LOOKS).await;
    assert_eq!(count(&gateway, "reload refused"), 1, "it is told once");
    assert_eq!(
        status(&gateway, "/x").await,
        200,
        "the old routes are served"
    );
    std::fs::write(&file, good + MORE).unwrap();
    until_closed(&gateway).await;
}

#[tokio::test]
async fn a_reload_that_was_asked_for_is_not_done_again_for_the_file() {
    let worker = Worker::start(replying(200)).await;
    let gateway = watched(&worker).await;
    let mut client: Raw = gateway.http().await;
    let told = gateway.reload(|text| text + MORE).await;
    assert!(
        told.contains("by=\"signal\"") || told.contains("by=\"file\""),
        "{told}"
    );
    assert_eq!(client.get("/closed").await.status(), 403);
    for_a_while(LOOKS).await;
    assert_eq!(count(&gateway, "reloaded by"), 1, "it is read once");
}

#[tokio::test]
async fn the_deadline_of_a_drain_is_the_one_of_the_running_configuration() {
    let worker = Worker::start(silent()).await;
    let mut gateway = Edge::to(&worker)
        .top("drain: { deadline: 1h }")
        .start()
        .await;
    let mut client = gateway.http().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    worker.until_seen(1).await;
    let told = gateway
        .reload(|text| text.replace("deadline: 1h", "deadline: 0s"))
        .await;
    assert!(!told.contains("restart to change"), "{told}");
    gateway.terminate();
    assert_eq!(gateway.exit().await.code(), Some(0));
    assert!(client.ended().await, "what was in flight is cut");
}
