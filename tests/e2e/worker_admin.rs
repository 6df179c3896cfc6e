//! Can an operator take workers out and let them back, without a request lost?

use std::collections::BTreeSet;

use e2e::scripts::{held, named, reply, upgrading};
use e2e::websocket::{opening, text_frame};
use e2e::worker::{Gate, by_hand};
use e2e::{Edge, Gateway, Worker, eventually};

/// Two workers `one` and `two` on consecutive ports.
async fn two() -> (u16, [Worker; 2]) {
    let first = e2e::free_range(2);
    let one = Worker::start_on(first, named("one")).await;
    let two = Worker::start_on(first + 1, named("two")).await;
    (first, [one, two])
}

async fn answers(gateway: &Gateway, times: usize) -> Vec<String> {
    let mut client = gateway.http().await;
    let mut answers = Vec::new();
    for _ in 0..times {
        answers.push(client.get("/").await.text());
    }
    answers
}

async fn names(gateway: &Gateway) -> BTreeSet<String> {
    answers(gateway, 40).await.into_iter().collect()
}

fn only(name: &str) -> BTreeSet<String> {
    BTreeSet::from([name.to_owned()])
}

#[tokio::test]
async fn a_drained_worker_gets_nothing_new_and_comes_back() {
    let (first, workers) = two().await;
    let gateway = Edge::to_all(&workers).start().await;
    assert_eq!(names(&gateway).await.len(), 2);
    let told = gateway.cli(&["drain", &format!("127.0.0.1:{first}")]).await;
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.out.contains("drained by an operator"), "{}", told.out);
    assert_eq!(names(&gateway).await, only("two"));
    let shown = gateway.cli(&["workers", "--json"]).await.json();
    let shown = &shown["workers"][0];
    assert_eq!(shown["state"], "draining");
    assert_eq!(shown["reason"], "drained by an operator");
    assert!(shown["drained_seconds"].is_u64(), "{shown}");
    let told = gateway.cli(&["undrain", &first.to_string()]).await;
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(names(&gateway).await.len(), 2);
}

#[tokio::test]
async fn what_is_in_flight_finishes_and_is_waited_for() {
    let gate = Gate::new();
    let worker = Worker::start(held(&gate)).await;
    let gateway = Edge::to(&worker).pool("hold: off").start().await;
    let mut client = gateway.http().await;
    let address = worker.port().to_string();
    let ask = async { client.get("/").await };
    let drain = async {
        worker.until_seen(1).await;
        let told = gateway
            .cli(&["drain", &address, "--wait", "--timeout", "0"])
            .await;
        assert_eq!(told.code, 1, "{told:?}");
        assert!(told.err.contains("1 still in flight"), "{}", told.err);
        assert!(
            told.err.contains("pool `app` has no worker left"),
            "{}",
            told.err
        );
        gate.open();
        gateway.cli(&["drain", &address, "--wait"]).await
    };
    let (answer, told) = tokio::join!(ask, drain);
    assert_eq!(answer.status(), 200, "what was in flight is answered");
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(gateway.http().await.get("/").await.status(), 503);
}

#[tokio::test]
async fn kept_connections_to_a_drained_worker_are_closed() {
    let gone = Gate::new();
    let worker = {
        let gone = gone.clone();
        Worker::start(by_hand(move |mut conn| {
            let gone = gone.clone();
            async move {
                while conn.request().await?.is_some() {
                    conn.wire.write(reply(200, "ok")).await?;
                }
                gone.open();
                Ok(())
            }
        }))
        .await
    };
    let gateway = Edge::to(&worker).pool("idle_timeout: 1h").start().await;
    assert_eq!(gateway.http().await.get("/").await.status(), 200);
    gateway.cli(&["drain", &worker.port().to_string()]).await;
    e2e::within("the kept connection is closed", gone.passed()).await;
}

#[tokio::test]
async fn keyed_traffic_moves_and_comes_back() {
    let (first, workers) = two().await;
    let gateway = Edge::to_all(&workers)
        .pool("balance: hash, hash: { header: X-Key }")
        .start()
        .await;
    let owners = async || {
        let mut client = gateway.http().await;
        let mut owners = Vec::new();
        for key in 0..30 {
            let field = format!("X-Key: key-{key}");
            let answer = client.ask("GET", "/", &[&field], b"").await;
            owners.push(answer.text());
        }
        owners
    };
    let before = owners().await;
    assert!(before.contains(&"one".to_owned()), "{before:?}");
    gateway.cli(&["drain", &first.to_string()]).await;
    assert!(owners().await.iter().all(|owner| owner == "two"));
    gateway.cli(&["undrain", &first.to_string()]).await;
    assert_eq!(owners().await, before);
}

#[tokio::test]
async fn weights_set_the_share_and_zero_takes_out() {
    let (first, workers) = two().await;
    let gateway = Edge::to_all(&workers)
        .pool("balance: round-robin")
        .start()
        .await;
    let ones = async || {
        let answers = answers(&gateway, 40).await;
        answers.iter().filter(|name| *name == "one").count()
    };
    let port = first.to_string();
    assert_eq!(ones().await, 20);
    for (weight, share) in [("300", 30), ("0", 0), ("33%", 10), ("default", 20)] {
        let told = gateway.cli(&["weight", &port, weight]).await;
        assert_eq!(told.code, 0, "{told:?}");
        let ones = ones().await;
        assert!(ones.abs_diff(share) <= 1, "{weight}: {ones} of 40");
    }
    let told = gateway.cli(&["weight", &port, "1001"]).await;
    assert_eq!(told.code, 1);
    assert!(told.err.contains("0 to 1000"), "{}", told.err);
}

#[tokio::test]
async fn an_operators_word_holds_over_reloads_and_restarts_of_the_worker() {
    let (first, workers) = two().await;
    let gateway = Edge::to_ports([first, first + 1]).start().await;
    gateway.cli(&["drain", &first.to_string()]).await;
    gateway.reload(|text| text).await;
    assert_eq!(names(&gateway).await, only("two"));
    gateway
        .reload(|text| text.replace("pools:\n  app: {", "pools:\n  app: { connect_timeout: 2s,"))
        .await;
    assert_eq!(
        names(&gateway).await,
        only("two"),
        "the pool was built anew"
    );
    let [one, _two] = workers;
    one.kill().await;
    let absent = || async {
        let shown = gateway.cli(&["workers", "--all"]).await.out;
        shown.contains("absent").then_some(())
    };
    eventually("the worker is gone", absent).await;
    let _one = Worker::start_on(first, named("one")).await;
    let back = || async {
        let shown = gateway.cli(&["workers"]).await.out;
        shown.contains("draining").then_some(())
    };
    eventually("the worker is back and out", back).await;
    assert_eq!(names(&gateway).await, only("two"));
}

#[tokio::test]
async fn a_host_a_range_or_one_pool_can_be_meant() {
    let (first, workers) = two().await;
    let gateway = Edge::to_all(&workers).pool("hold: off").start().await;
    for meant in [
        "127.0.0.1".to_owned(),
        format!("{first}-{}", first + 1),
        format!("127.0.0.1:{first}-{}", first + 1),
    ] {
        let told = gateway
            .cli(&["drain", &meant, "--pool", "app", "--json"])
            .await;
        assert_eq!(told.json()["changed"], 2, "{told:?}");
        assert_eq!(told.json()["emptied"][0], "app", "{told:?}");
        assert_eq!(gateway.http().await.get("/").await.status(), 503);
        let told = gateway.cli(&["undrain", &meant, "--json"]).await;
        assert_eq!(told.json()["changed"], 2, "{told:?}");
        assert_eq!(gateway.http().await.get("/").await.status(), 200);
    }
    for (words, part) in [
        (["drain", "10.9.9.9"], "no pool has a worker"),
        (["drain", "nonsense"], "names no worker"),
        (["undrain", "1"], "no pool has a worker"),
    ] {
        let told = gateway.cli(&words).await;
        assert_eq!(told.code, 1, "{told:?}");
        assert!(told.err.contains(part), "{}", told.err);
        assert!(told.err.contains("help:"), "{}", told.err);
    }
    let body = r#"{"worker": "127.0.0.1"}"#;
    let reply = gateway
        .admin_with("POST", "/v1/workers/drain", "Content-Length: 0\r\n")
        .await;
    assert_eq!(reply.status(), 403, "not over TCP without a token");
    let reply = gateway.ask("POST", "/v1/workers/drain", "", body).await;
    assert_eq!(reply.status(), 200);
    assert_eq!(
        gateway
            .ask("POST", "/v1/workers/drain", "", "no")
            .await
            .status(),
        400
    );
}

#[tokio::test]
async fn a_stream_that_began_before_a_reload_is_still_seen() {
    let worker = Worker::start(upgrading()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut socket = gateway.http().await;
    socket.send(opening("/")).await;
    assert_eq!(socket.reply().await.status(), 101);
    gateway
        .reload(|text| text.replace("pools:\n  app: {", "pools:\n  app: { connect_timeout: 2s,"))
        .await;
    let port = worker.port().to_string();
    let told = gateway.cli(&["drain", &port, "--json"]).await;
    assert_eq!(told.json()["workers"][0]["streams"], 1, "{told:?}");
    let frame = text_frame("still here");
    socket.send(&frame).await;
    assert_eq!(socket.exact(frame.len()).await, frame);
    drop(socket);
    let told = gateway.cli(&["drain", &port, "--wait"]).await;
    assert_eq!(told.code, 0, "{told:?}");
}
