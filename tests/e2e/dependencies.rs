//! Does the edge tell whether the database, the broker and the Vault are there, and leave its pools alone?

use e2e::scripts::replying;
use e2e::tls_front::{Front, TlsFront};
use e2e::{Authority, Edge, Gateway, Leaf, Node, Postgres, Vault, Worker, eventually, free_range};
use serde_json::Value;

/// Checks that follow each other closely, and have time on a busy machine.
const OFTEN: &str = "interval: 50ms, interval_failing: 50ms, timeout: 10s";

/// The same for servers that may wait for more.
const SHORT: &str = "interval: 50ms, interval_failing: 50ms, timeout: 200ms";

async fn edge(worker: &Worker, checks: &str) -> Gateway {
    Edge::to(worker)
        .top(&format!("checks: {{ {checks} }}"))
        .start()
        .await
}

async fn told(gateway: &Gateway, name: &str) -> Value {
    let status = gateway.status().await;
    let all = status["dependencies"].as_array().expect("a list");
    let found = all.iter().find(|it| it["name"] == name);
    found.cloned().unwrap_or(Value::Null)
}

/// Waits until one is in this state for this reason, and until that was found often enough to be no accident. Requests are
/// served all the while.
async fn until(gateway: &Gateway, name: &str, state: &str, reason: &str) -> Value {
    eventually(&format!("`{name}` is {state}: {reason}"), || async {
        assert_eq!(gateway.http().await.get("/").await.status(), 200);
        assert_eq!(gateway.admin("/readyz").await.status(), 200);
        let told = told(gateway, name).await;
        let so = told["state"] == state
            && told["reason"].as_str()?.contains(reason)
            && (state != "down" || told["failures"].as_u64()? > 3);
        so.then_some(told)
    })
    .await
}

/// Waits for so many more checks of one.
async fn checked_again(gateway: &Gateway, name: &str, kind: &str, more: f64) {
    let line =
        format!(r#"portcullis_dependency_checks_total{{dependency="{name}",kind="{kind}"}}"#);
    let before = gateway.metric(&line).await.expect("it is counted");
    eventually("it is checked again", || async {
        (gateway.metric(&line).await? >= before + more).then_some(())
    })
    .await;
}

fn count(gateway: &Gateway, word: &str) -> usize {
    gateway.stderr().matches(word).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_stops_is_shown_down_and_the_pool_serves_on() {
    let worker = Worker::start(replying(200)).await;
    let mut server = Postgres::start();
    let address = format!("127.0.0.1:{}", server.port());
    let gateway = edge(
        &worker,
        &format!("database: {{ postgres: \"{address}\", {OFTEN} }}"),
    )
    .await;
    let told = until(&gateway, "database", "up", "").await;
    assert_eq!(told["kind"], "postgres");
    assert_eq!(told["address"], address.as_str());
    assert!(told["check_milliseconds"].as_f64().unwrap() > 0.0, "{told}");
    let up = r#"portcullis_dependency_up{dependency="database",kind="postgres"}"#;
    assert_eq!(gateway.metric(up).await, Some(1.0));
    // Checks are no news to the database, and to the log of the edge one that passes is none.
    let log = server.log();
    checked_again(&gateway, "database", "postgres", 5.0).await;
    assert_eq!(server.log(), log);
    assert_eq!(count(&gateway, "dependency up"), 1);

    // While a session is open, a server that stops takes no new one.
    let session = server.session();
    server.shut_down();
    let reason = "not ready: the database system is shutting down";
    until(&gateway, "database", "down", reason).await;
    assert_eq!(gateway.metric(up).await, Some(0.0));
    drop(session);
    until(
        &gateway,
        "database",
        "down",
        "no connection: Connection refused",
    )
    .await;
    assert_eq!(
        count(&gateway, "dependency down"),
        1,
        "a change is told once"
    );
    let pool = &gateway.status().await["pools"][0];
    assert_eq!(pool["live"], 1, "{pool}");
    assert!(pool["workers"][0]["state"] == "up", "{pool}");

    server.kill();
    server.restart();
    until(&gateway, "database", "up", "").await;
    assert_eq!(gateway.metric(up).await, Some(1.0));
    assert_eq!(count(&gateway, "dependency up"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_asked_for_tls_as_its_clients_do_and_must_prove_who_it_is() {
    let worker = Worker::start(replying(200)).await;
    let server = Postgres::start();
    let (servers, strangers) = (Authority::new("Servers"), Authority::new("Strangers"));
    let port = server.port();
    let check = |name: &str, ca: &str| {
        format!("{name}: {{ postgres: \"127.0.0.1:{port}\", tls: {{ ca: <dir>/{ca} }}, {OFTEN} }}")
    };
    let checks = format!(
        "checks: {{ {}, {} }}",
        check("trusted", "servers.pem"),
        check("stranger", "strangers.pem")
    );
    let gateway = Edge::to(&worker)
        .top(&checks)
        .plan()
        .file("servers.pem", &servers.pem)
        .file("strangers.pem", &strangers.pem)
        .start()
        .await;
    until(&gateway, "trusted", "down", "`ssl` is off there").await;
    server.speak_tls(&servers.issue(&Leaf::server(&["127.0.0.1"])));
    until(&gateway, "trusted", "up", "").await;
    until(
        &gateway,
        "stranger",
        "down",
        "TLS: invalid peer certificate",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_dies_is_shown_down_and_its_log_is_not_filled() {
    let worker = Worker::start(replying(200)).await;
    let mut node = Node::start();
    let port = node.port();
    let gateway = edge(
        &worker,
        &format!("broker: {{ amqp: \"127.0.0.1:{port}\", {OFTEN} }}"),
    )
    .await;
    until(&gateway, "broker", "up", "").await;
    // Whoever leaves a greeting is complained of: those who waited for the node, and the check once in half a minute.
    checked_again(&gateway, "broker", "amqp", 100.0).await;
    let complaints = node.log().matches("unexpectedly closed").count();
    assert!(
        complaints < 20,
        "{complaints} in 100 checks:\n{}",
        node.log()
    );
    node.kill();
    until(
        &gateway,
        "broker",
        "down",
        "no connection: Connection refused",
    )
    .await;
    node.restart();
    until(&gateway, "broker", "up", "").await;
    assert_eq!(count(&gateway, "dependency down"), 1);
}

#[tokio::test]
async fn a_vault_that_is_sealed_is_told_apart_from_one_that_is_gone() {
    let worker = Worker::start(replying(200)).await;
    let mut vault = Vault::start().await;
    let port = vault.port();
    let gateway = edge(
        &worker,
        &format!("secrets: {{ vault: \"127.0.0.1:{port}\", {OFTEN} }}"),
    )
    .await;
    until(&gateway, "secrets", "up", "").await;
    vault.seal().await;
    until(&gateway, "secrets", "down", "sealed").await;
    vault.unseal().await;
    until(&gateway, "secrets", "up", "").await;
    vault.kill();
    until(
        &gateway,
        "secrets",
        "down",
        "no connection: Connection refused",
    )
    .await;
    vault.up().await;
    until(&gateway, "secrets", "up", "").await;
    assert_eq!(count(&gateway, "dependency down"), 2);
}

#[tokio::test]
async fn a_vault_is_reached_over_tls_and_a_replaced_authority_is_picked_up() {
    let worker = Worker::start(replying(200)).await;
    let vault = Vault::start().await;
    let (servers, strangers) = (Authority::new("Servers"), Authority::new("Strangers"));
    let shown = servers.issue(&Leaf::server(&["vault.test"]));
    let front = TlsFront::start(vault.port(), &shown, Front::default()).await;
    let checks = format!(
        "checks: {{ vault: {{ address: \"127.0.0.1:{}\", tls: {{ ca: <dir>/vault.pem, name: vault.test }}, {OFTEN} }} }}",
        front.port()
    );
    let gateway = Edge::to(&worker)
        .top(&checks)
        .plan()
        .file("vault.pem", &strangers.pem)
        .start()
        .await;
    until(&gateway, "vault", "down", "TLS: invalid peer certificate").await;
    gateway.put("vault.pem", &servers.pem);
    until(&gateway, "vault", "up", "").await;
    vault.seal().await;
    until(&gateway, "vault", "down", "sealed").await;
    assert_eq!(front.seen()[0].name.as_deref(), Some("vault.test"));
}

#[tokio::test]
async fn whoever_else_answers_there_is_no_database_and_no_broker() {
    let worker = Worker::start(replying(200)).await;
    let other = Worker::start(replying(200)).await;
    let (port, nobody) = (other.port(), free_range(1));
    let gateway = edge(
        &worker,
        &format!(
            "database: {{ postgres: \"127.0.0.1:{port}\", {SHORT} }}, broker: {{ amqp: \"127.0.0.1:{port}\", {SHORT} }}, \
             secrets: {{ vault: \"127.0.0.1:{port}\", {OFTEN} }}, web: {{ tcp: \"127.0.0.1:{port}\", {OFTEN} }}, \
             nobody: {{ tcp: \"127.0.0.1:{nobody}\", {OFTEN} }}"
        ),
    )
    .await;
    until(&gateway, "web", "up", "").await;
    until(&gateway, "nobody", "down", "no connection").await;
    until(&gateway, "secrets", "down", "not as a Vault does").await;
    for name in ["database", "broker"] {
        until(&gateway, name, "down", "").await;
    }
    // The same for people.
    let table = gateway.cli(&["status"]).await;
    assert_eq!(table.code, 0, "{table:?}");
    for line in ["DEPENDENCY", "nobody", "no connection: Connection refused"] {
        assert!(table.out.contains(line), "{line}: {}", table.out);
    }
}

/// A Vault on 8200 lies within the range 8090-9079.
#[tokio::test]
async fn what_services_need_is_no_worker_though_a_range_covers_it() {
    let worker = Worker::start(replying(200)).await;
    let port = worker.port();
    let gateway = Edge::to(&worker)
        .pool("hold: off")
        .top(&format!("checks: {{ vault: \"127.0.0.1:{port}\" }}"))
        .start()
        .await;
    assert_eq!(gateway.http().await.get("/").await.status(), 503);
    gateway
        .reload(|text| text.replace("vault: \"", "tcp: \""))
        .await;
    eventually("what is only looked at may be one", || async {
        (gateway.http().await.get("/").await.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_reload_adds_and_removes_checks_and_leaves_the_others_alone() {
    let worker = Worker::start(replying(200)).await;
    let other = Worker::start(replying(200)).await;
    let port = other.port();
    let check =
        |name: &str, more: &str| format!("{name}: {{ tcp: \"127.0.0.1:{port}\", {more}{OFTEN} }}");
    let before = format!("{}, {}", check("kept", ""), check("gone", ""));
    let mut gateway = Edge::to(&worker)
        .top("upgrade: { socket: <dir>/upgrade.sock }")
        .top(&format!("checks: {{ {before} }}"))
        .start()
        .await;
    until(&gateway, "kept", "up", "").await;
    until(&gateway, "gone", "up", "").await;
    checked_again(&gateway, "kept", "tcp", 5.0).await;
    let after = format!("{}, {}", check("kept", ""), check("fresh", "fall: 9, "));
    gateway.reload(|text| text.replace(&before, &after)).await;
    let kept = told(&gateway, "kept").await;
    assert_eq!(kept["state"], "up", "nothing begins anew: {kept}");
    assert_eq!(told(&gateway, "gone").await, Value::Null);
    until(&gateway, "fresh", "up", "").await;
    assert_eq!(count(&gateway, "dependency up"), 3);
    let checks = r#"portcullis_dependency_checks_total{dependency="kept",kind="tcp"}"#;
    assert!(gateway.metric(checks).await.unwrap() > 5.0);
    // Another pace of the same: what is known holds on.
    gateway
        .reload(|text| text.replace("fall: 9, ", "fall: 8, "))
        .await;
    assert_eq!(told(&gateway, "fresh").await["state"], "up");
    checked_again(&gateway, "fresh", "tcp", 2.0).await;
    assert_eq!(count(&gateway, "dependency up"), 3);

    // A process that takes over looks for itself.
    let (done, said) = gateway.upgrade().await;
    assert!(done, "{said}");
    until(&gateway, "kept", "up", "").await;
    let refused = gateway
        .reload(|text| text.replace("kept: { tcp:", "kept: { mysql:"))
        .await;
    assert!(refused.contains("unknown key `mysql`"), "{refused}");
    until(&gateway, "fresh", "up", "").await;
}
