//! Can a pool be closed to all but a few, without ending what is open?

use e2e::grpc::{call, frame};
use e2e::h2_scripts::h2_mirroring;
use e2e::scripts::{named, upgrading};
use e2e::websocket::{opening, text_frame};
use e2e::{Edge, Gateway, Worker, eventually};

const CLOSED: &str = "maintenance: { retry_after: 90s, text: back at noon }";

async fn closed(gateway: &Gateway) -> Option<f64> {
    let counted = r#"portcullis_pool_maintenance_refused_total{pool="app"}"#;
    gateway.metric(counted).await
}

#[tokio::test]
async fn a_closed_pool_answers_503_and_says_when_to_come_back() {
    let worker = Worker::start(named("w")).await;
    let gateway = Edge::to(&worker).pool(CLOSED).start().await;
    let mut client = gateway.http().await;
    for _ in 0..2 {
        // On the same connection: it goes on.
        let reply = client.get("/").await;
        assert_eq!(
            (
                reply.status(),
                reply.field("retry-after"),
                &reply.text()[..]
            ),
            (503, Some("90"), "back at noon\n")
        );
    }
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(
        (&line["status"], &line["end"], &line["pool"]),
        (&503.into(), &"maintenance".into(), &"app".into()),
        "{line}"
    );
    assert_eq!(closed(&gateway).await, Some(2.0));
    assert_eq!(worker.count(), 0);
    // Its workers are still found.
    eventually("the worker is found", || async {
        let live = r#"portcullis_pool_workers_live{pool="app"}"#;
        (gateway.metric(live).await == Some(1.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn some_networks_are_served_nevertheless() {
    let worker = Worker::start(named("w")).await;
    let gateway = Edge::to(&worker)
        .pool("maintenance: { allow: [127.0.0.0/8] }")
        .start()
        .await;
    assert_eq!(gateway.http().await.get("/").await.text(), "w");
    let gateway = Edge::to(&worker)
        .pool("maintenance: { allow: [192.0.2.0/24] }")
        .start()
        .await;
    assert_eq!(gateway.http().await.get("/").await.status(), 503);
}

#[tokio::test]
async fn a_call_is_unavailable() {
    let worker = Worker::start(h2_mirroring()).await;
    let gateway = Edge::to(&worker).h2c().pool(CLOSED).start().await;
    let mut client = gateway.h2("grpc").await;
    let reply = client.fetch(call("/s/Call"), frame("x")).await;
    assert_eq!(
        (reply.status.as_u16(), reply.grpc_status()),
        (200, Some("14"))
    );
    assert_eq!(reply.headers["grpc-message"], "back at noon");
    assert_eq!(closed(&gateway).await, Some(1.0));
    assert_eq!(worker.count(), 0);
}

#[tokio::test]
async fn open_streams_live_on_when_a_reload_closes_the_pool() {
    let worker = Worker::start(upgrading()).await;
    let gateway = Edge::to(&worker).pool("hold: 9s").start().await;
    let mut stream = gateway.http().await;
    stream.send(opening("/")).await;
    assert_eq!(stream.head().await.status(), 101);
    let told = gateway
        .reload(|text| text.replace("hold: 9s", "hold: 9s, maintenance: on"))
        .await;
    assert!(told.contains("reloaded"), "{told}");
    assert_eq!(gateway.http().await.get("/").await.status(), 503);
    let frame = text_frame("hello");
    stream.send(&frame).await;
    assert_eq!(stream.exact(frame.len()).await, frame);
    gateway
        .reload(|text| text.replace("hold: 9s, maintenance: on", "hold: 9s"))
        .await;
    assert_eq!(gateway.http().await.get("/").await.status(), 426);
}

async fn is_closed(gateway: &Gateway) -> Option<f64> {
    let gauge = r#"portcullis_pool_maintenance{pool="app"}"#;
    gateway.metric(gauge).await
}

#[tokio::test]
async fn an_operator_closes_a_pool_and_opens_it_without_ending_what_is_open() {
    let worker = Worker::start(upgrading()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut stream = gateway.http().await;
    stream.send(opening("/")).await;
    assert_eq!(stream.head().await.status(), 101);
    assert_eq!(is_closed(&gateway).await, Some(0.0));
    let words = ["maintenance", "app", "on", "--retry-after", "90"];
    let told = gateway
        .cli(&[&words[..], &["--text", "back at noon"]].concat())
        .await;
    assert_eq!(
        (told.code, told.out.as_str()),
        (0, "pool `app` is in maintenance by an operator\n"),
        "{told:?}"
    );
    let reply = gateway.http().await.get("/").await;
    assert_eq!(
        (
            reply.status(),
            reply.field("retry-after"),
            &reply.text()[..]
        ),
        (503, Some("90"), "back at noon\n")
    );
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(
        (&line["status"], &line["end"], &line["pool"]),
        (&503.into(), &"maintenance".into(), &"app".into()),
        "{line}"
    );
    assert_eq!(closed(&gateway).await, Some(1.0));
    assert_eq!(is_closed(&gateway).await, Some(1.0));
    let said = gateway.stderr();
    assert!(
        said.contains("maintenance set by an operator") && said.contains("pool=\"app\""),
        "{said}"
    );
    let shown = gateway.cli(&["status"]).await.out;
    assert!(shown.contains("in maintenance by an operator"), "{shown}");
    let shown = &gateway.status().await["pools"][0]["maintenance"];
    assert_eq!(
        shown,
        &serde_json::json!({ "closed": true, "order": "on", "retry_after": 90, "text": "back at noon", "allow": [] })
    );
    let again = gateway
        .cli(&[&words[..], &["--text", "back at noon"]].concat())
        .await;
    assert!(again.out.contains("as before"), "{again:?}");
    let frame = text_frame("hello");
    stream.send(&frame).await;
    assert_eq!(stream.exact(frame.len()).await, frame);
    let told = gateway.cli(&["maintenance", "app", "as-configured"]).await;
    assert_eq!(told.out, "pool `app` is open\n", "{told:?}");
    assert_eq!(gateway.http().await.get("/").await.status(), 426);
    assert_eq!(is_closed(&gateway).await, Some(0.0));
}

#[tokio::test]
async fn an_operators_word_goes_before_the_files_and_holds_over_reloads_and_upgrades() {
    let worker = Worker::start(named("w")).await;
    let mut gateway = Edge::to(&worker)
        .pool("hold: 9s")
        .top("upgrade: { socket: <dir>/upgrade.sock }")
        .start()
        .await;
    let status = async |gateway: &Gateway| gateway.http().await.get("/").await.status();
    let words = ["maintenance", "app", "on", "--text", "later"];
    let allow = ["--allow", "192.0.2.0/24", "--allow", "2001:db8::/32"];
    let told = gateway.cli(&[&words[..], &allow].concat()).await;
    assert_eq!(told.code, 0, "{told:?}");
    // The pool stays as it is, and is built anew.
    for (from, to) in [("/", "/"), ("hold: 9s", "hold: 8s")] {
        let told = gateway.reload(|text| text.replace(from, to)).await;
        assert!(told.contains("reloaded"), "{told}");
        assert_eq!(status(&gateway).await, 503);
    }
    let before = gateway.status().await["pools"][0]["maintenance"].clone();
    let (done, said) = gateway.upgrade().await;
    assert!(done, "{said}");
    assert_eq!(gateway.http().await.get("/").await.text(), "later\n");
    let after = &gateway.status().await["pools"][0]["maintenance"];
    assert_eq!(after, &before);
    assert_eq!(
        after["allow"],
        serde_json::json!(["192.0.2.0/24", "2001:db8::/32"])
    );
    // Kept open, whatever the file says.
    let told = gateway.cli(&["maintenance", "app", "off"]).await;
    assert_eq!(
        told.out, "pool `app` is kept open by an operator\n",
        "{told:?}"
    );
    gateway
        .reload(|text| text.replace("hold: 8s", "hold: 8s, maintenance: on"))
        .await;
    assert_eq!(status(&gateway).await, 200);
    let (done, said) = gateway.upgrade().await;
    assert!(done, "{said}");
    assert_eq!(status(&gateway).await, 200);
    let told = gateway.cli(&["maintenance", "app", "as-configured"]).await;
    assert_eq!(told.out, "pool `app` is in maintenance\n", "{told:?}");
    assert_eq!(status(&gateway).await, 503);
}

#[tokio::test]
async fn an_operator_is_served_while_the_rest_is_not() {
    let worker = Worker::start(named("w")).await;
    let gateway = Edge::to(&worker).start().await;
    let words = ["maintenance", "app", "on", "--allow"];
    for (network, status) in [("192.0.2.0/24", 503), ("127.0.0.0/8", 200)] {
        let told = gateway.cli(&[&words[..], &[network]].concat()).await;
        assert_eq!(told.code, 0, "{told:?}");
        let reply = gateway.http().await.get("/").await;
        assert_eq!(reply.status(), status, "{network}");
    }
}

#[tokio::test]
async fn an_order_needs_what_a_drain_needs_and_names_what_is_wrong() {
    let worker = Worker::start(named("w")).await;
    let gateway = Edge::to(&worker).start().await;
    let path = "/v1/pools/maintenance";
    let reply = gateway
        .admin_with("POST", path, "Content-Length: 0\r\n")
        .await;
    assert_eq!(reply.status(), 403, "over TCP without a token");
    for (body, status, error) in [
        ("", 400, "no JSON"),
        ("{}", 400, "`pool` is missing"),
        (r#"{"pool":"app"}"#, 400, "`state` is missing"),
        (r#"{"pool":"apo","state":"on"}"#, 404, "pools are app"),
        (
            r#"{"pool":"app","state":"on","retry_after":"1h"}"#,
            400,
            "whole seconds",
        ),
        (
            r#"{"pool":"app","state":"on","allow":["10.0.0.1/8"]}"#,
            400,
            "10.0.0.0/8",
        ),
    ] {
        let reply = gateway.ask("POST", path, "", body).await;
        assert_eq!(reply.status(), status, "{body}");
        assert!(reply.text().contains(error), "{body}: {}", reply.text());
    }
    assert_eq!(gateway.ask("GET", path, "", "").await.status(), 405);
    let told = gateway.cli(&["maintenance", "app", "later"]).await;
    assert_eq!(told.code, 2, "{told:?}");
    let told = gateway.cli(&["maintenance", "apo", "on"]).await;
    assert!(told.code == 1 && told.err.contains("no pool"), "{told:?}");
    assert_eq!(is_closed(&gateway).await, Some(0.0));
    assert_eq!(gateway.http().await.get("/").await.status(), 200);
}
