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
async fn a_reader_that_went_away_is_no_failure() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let socket = gateway.socket().display().to_string();
    let file = gateway.file("routes.yaml").display().to_string();
    for words in [
        &["status", "--admin", &socket][..],
        &["workers", "--admin", &socket],
        &["check", &file],
        &["check", "--schema"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = e2e::gateway::command();
        command.args(words).stdout(writer);
        let told = e2e::gateway::tell(command).await;
        assert_eq!(told.code, DONE, "{words:?}: {told:?}");
    }
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

#[tokio::test]
async fn diff_tells_what_a_reload_would_change_and_changes_nothing() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    assert_eq!(client.get("/").await.status(), 200);
    let file = gateway.file("routes.yaml");
    let same = gateway.cli(&["diff", &file.display().to_string()]).await;
    assert_eq!((same.code, same.out.as_str()), (DONE, ""), "{same:?}");

    let text = std::fs::read_to_string(&file).unwrap();
    let new = gateway.file("new.yaml");
    let changed = text
        .replace(
            "  app: {",
            "  spare: { ports: 1025 }\n  app: { connect_timeout: 2s,",
        )
        .replace("threads: 2", "threads: 1")
        .replace("  http:  { bind:", "  plain: { bind:")
        .replace("on: [http,", "on: [plain,")
        + "\n  - { path: /closed, deny: 403 }\n";
    std::fs::write(&new, changed).unwrap();
    let new = new.display().to_string();
    let told = gateway.cli(&["diff", &new]).await;
    assert_eq!(told.code, REFUSED, "{told:?}");
    for part in [
        "- listener http, closes 127.0.0.1:0, 1 open connections",
        "+ listener plain, opens 127.0.0.1:0",
        "+ pool spare",
        "~ pool app",
        "connect_timeout: not written -> 2s",
        "+ route /closed -> deny 403",
        "! threads is read at start only",
    ] {
        assert!(told.out.contains(part), "{part} in\n{}", told.out);
    }
    assert_eq!(client.get("/closed").await.status(), 200, "nothing changed");
    let json = gateway.cli(&["diff", "--json", &new]).await;
    assert_eq!(json.json()["differs"], true);
    let old = file.display().to_string();
    let offline = gateway.cli(&["diff", "--from", &old, &new]).await;
    assert_eq!(offline.code, REFUSED, "{offline:?}");
    assert!(offline.out.contains("+ pool spare"), "{}", offline.out);
    assert_eq!(
        gateway.cli(&["diff", "--from", &old, &old]).await.code,
        DONE
    );
}

#[tokio::test]
async fn diff_of_a_bad_file_is_trouble_and_not_a_difference() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let file = gateway.file("routes.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let bad = gateway.file("bad.yaml");
    std::fs::write(&bad, text + "\n  - { path: /x, to: nobody }\n").unwrap();
    let (bad, old) = (bad.display().to_string(), file.display().to_string());
    for words in [&["diff", &bad][..], &["diff", "--from", &old, &bad][..]] {
        let told = gateway.cli(words).await;
        assert_eq!(told.code, USAGE, "{told:?}");
        for part in ["no pool `nobody`", "bad.yaml:", "help:"] {
            assert!(told.err.contains(part), "{part} in {}", told.err);
        }
    }
    assert_eq!(gateway.cli(&["diff", "/nonexistent"]).await.code, USAGE);
}

#[tokio::test]
async fn a_secret_is_not_told_by_diff() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let file = gateway.file("routes.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let new = gateway.file("new.yaml");
    let token = "bind: \"127.0.0.1:0\", token: this-is-a-secret-word }\nlisteners";
    let changed = text.replacen("bind: \"127.0.0.1:0\" }\n\nlisteners", token, 1);
    assert!(changed.contains("this-is-a-secret"), "{changed}");
    std::fs::write(&new, changed).unwrap();
    let told = gateway.cli(&["diff", &new.display().to_string()]).await;
    assert_eq!(told.code, REFUSED, "{told:?}");
    assert!(
        told.out.contains("admin.token: not written -> (hidden"),
        "{}",
        told.out
    );
    assert!(!told.out.contains("this-is-a-secret"), "{}", told.out);
}

#[tokio::test]
async fn the_log_level_is_set_while_the_gateway_runs() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker)
        .env("PORTCULLIS_LOG", "info")
        .start()
        .await;
    assert_eq!(gateway.cli(&["log-level"]).await.out, "info\n");
    assert_eq!(gateway.cli(&["log-level", "error"]).await.out, "error\n");
    let before = gateway.stderr().len();
    assert_eq!(gateway.cli(&["reload"]).await.code, DONE);
    let told = gateway.stderr().split_off(before);
    assert!(!told.contains("reloaded"), "{told}");
    assert_eq!(gateway.cli(&["log-level", "default"]).await.code, DONE);
    assert_eq!(gateway.cli(&["reload"]).await.code, DONE);
    let told = || async {
        let told = gateway.stderr().split_off(before);
        told.contains("reloaded").then_some(())
    };
    e2e::eventually("events are told again", told).await;
    let told = gateway.cli(&["log-level", "loud"]).await;
    assert_eq!(told.code, REFUSED);
    assert!(
        told.err.contains("neither a level nor a filter"),
        "{}",
        told.err
    );
}

/// In the usual place there may be another gateway, which nobody meant.
#[tokio::test]
async fn a_configuration_with_mistakes_still_leads_to_its_own_gateway_and_to_no_other() {
    let worker = Worker::start(replying(200)).await;
    // The command line would find this one in the usual place.
    let usual = Edge::to(&worker).start().await;
    let other = e2e::Gateway::with(
        "admin: { socket: <dir>/own.sock, bind: off }\nlisteners:\n  http: { bind: \"127.0.0.1:0\", redirect_https: none }\npools:\n  other: { ports: <app> }\nroutes:\n  - { path: /, to: other }\n",
    )
    .ports("app", [worker.port()])
    .start()
    .await;
    let file = other.file("routes.yaml");
    let ask = async || {
        let mut command = e2e::gateway::command();
        command.arg("workers").arg("-c").arg(&file);
        command.env("RUNTIME_DIRECTORY", usual.file(""));
        e2e::gateway::tell(command).await
    };
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{good}\n  - {{ path: /x, to: nobody }}\n")).unwrap();
    let told = ask().await;
    assert_eq!(told.code, DONE, "{told:?}");
    assert!(told.out.contains("other"), "{}", told.out);
    for broken in [
        "{ no yaml",
        "admin: { socket: off, token: short }",
        "- a list",
    ] {
        std::fs::write(&file, broken).unwrap();
        let told = ask().await;
        assert_eq!(told.code, USAGE, "{broken}: {told:?}");
        assert!(told.err.contains("--admin"), "{}", told.err);
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(
        ask().await.code,
        USAGE,
        "a file that was named and is not there"
    );
}
