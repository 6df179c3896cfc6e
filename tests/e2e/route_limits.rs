//! Can one route be kept from taking everything, without touching the others?

use e2e::grpc::{call, frame};
use e2e::h2_client::request;
use e2e::h2_scripts::{h2_mirroring, h2_silent};
use e2e::scripts::{held, mirroring, upgrading};
use e2e::websocket::opening;
use e2e::{Gate, Gateway, Script, Worker, eventually};

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none, limits: { body_bytes_max: 1000 } }
  https: { bind: "127.0.0.1:0", limits: { body_bytes_max: 1000 }, tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
  grpc:  { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] }, protocol: grpc }
pools:
  app: { ports: <app> }
  agents: { ports: <agents>, protocol: h2c }
routes:
  - { path: /, to: app, on: [http, https] }
  - { path: /two, name: two, to: app, on: [http, https], in_flight_max: 2 }
  - { path: /small, name: small, to: app, on: [http, https], body_bytes_max: 100 }
  - { path: /large, name: large, to: app, on: [http, https], body_bytes_max: 10KiB }
  - { path: /any, name: any, to: app, on: [http, https], body_bytes_max: 0 }
  - { path: /up, name: up, to: agents, on: [grpc], body_bytes_max: 100 }
  - { path: /, name: agents, to: agents, on: [grpc], in_flight_max: 1 }
"#;

async fn start(app: Script, agents: Script) -> (Worker, Worker, Gateway) {
    let (app, agents) = (Worker::start(app).await, Worker::start(agents).await);
    let gateway = Gateway::with(YAML)
        .ports("app", [app.port()])
        .ports("agents", [agents.port()])
        .start()
        .await;
    (app, agents, gateway)
}

fn refused(listener: &str, route: &str, limit: &str) -> String {
    format!(
        r#"portcullis_requests_refused_total{{limit="{limit}",listener="{listener}",route="{route}"}}"#
    )
}

#[tokio::test]
async fn one_request_more_than_the_route_takes_is_503_until_one_ends() {
    let gate = Gate::new();
    let (app, _agents, gateway) = start(held(&gate), h2_mirroring()).await;
    let (mut first, mut second) = (gateway.http().await, gateway.https().await);
    let ask = "GET /two HTTP/1.1\r\nHost: a\r\n\r\n";
    first.send(ask).await;
    second.send(ask).await;
    app.until_seen(2).await;

    let mut third = gateway.http().await;
    let reply = third.get("/two/x").await;
    assert_eq!(reply.status(), 503);
    assert!(reply.field("retry-after").is_some(), "{}", reply.head);
    assert_eq!(
        gateway
            .metric(&refused("http", "two", "in_flight_max"))
            .await,
        Some(1.0)
    );
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(
        (&line["status"], &line["end"], &line["route"]),
        (&503.into(), &"route_full".into(), &"two".into()),
        "{line}"
    );
    assert_eq!(app.count(), 2);
    // The other route goes on, also on this connection.
    third.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    app.until_seen(3).await;

    gate.open();
    for client in [&mut first, &mut second, &mut third] {
        assert_eq!(client.reply().await.status(), 200);
    }
    eventually("a place is free again", || async {
        let reply = gateway.http().await.get("/two").await;
        (reply.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_place_back() {
    let (app, _agents, gateway) = start(e2e::scripts::silent(), h2_mirroring()).await;
    let mut calls = Vec::new();
    let mut client = gateway.h2("https").await;
    for _ in 0..2 {
        let request = request("GET", "/two");
        calls.push(client.call(request, true).await);
    }
    let asked = |connections| {
        let app = &app;
        move || async move { (app.connections() >= connections).then_some(()) }
    };
    eventually("the worker is asked", asked(2)).await;
    assert_eq!(gateway.http().await.get("/two").await.status(), 503);
    for call in &mut calls {
        call.cancel();
    }
    eventually("another request reaches the worker", || async {
        let mut client = gateway.http().await;
        client.send("GET /two HTTP/1.1\r\nHost: a\r\n\r\n").await;
        asked(3)().await
    })
    .await;
}

#[tokio::test]
async fn a_websocket_holds_its_place_for_as_long_as_it_lives() {
    let (_app, _agents, gateway) = start(upgrading(), h2_mirroring()).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut client = gateway.http().await;
        client.send(opening("/two")).await;
        assert_eq!(client.head().await.status(), 101);
        open.push(client);
    }
    let mut late = gateway.http().await;
    late.send(opening("/two")).await;
    assert_eq!(late.reply().await.status(), 503);
    open.pop();
    eventually("its place is free", || async {
        let mut client = gateway.http().await;
        client.send(opening("/two")).await;
        (client.head().await.status() == 101).then_some(client)
    })
    .await;
}

#[tokio::test]
async fn a_call_too_many_is_unavailable() {
    let (_app, agents, gateway) = start(mirroring(), h2_silent()).await;
    let mut client = gateway.h2("grpc").await;
    let _open = client.call(call("/s/Connect"), false).await;
    agents.until_seen(1).await;
    let reply = client.fetch(call("/s/Connect"), frame("x")).await;
    assert_eq!(
        (reply.status.as_u16(), reply.grpc_status()),
        (200, Some("14"))
    );
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(line["end"], "route_full", "{line}");
    let counted = refused("grpc", "agents", "in_flight_max");
    assert_eq!(gateway.metric(&counted).await, Some(1.0));
    assert_eq!(agents.count(), 1);
}

#[tokio::test]
async fn a_reload_still_counts_who_is_there() {
    let gate = Gate::new();
    let (app, _agents, gateway) = start(held(&gate), h2_mirroring()).await;
    let mut first = gateway.http().await;
    first.send("GET /two HTTP/1.1\r\nHost: a\r\n\r\n").await;
    app.until_seen(1).await;
    let told = gateway
        .reload(|text| text.replace("in_flight_max: 2", "in_flight_max: 1"))
        .await;
    assert!(told.contains("reloaded"), "{told}");
    assert_eq!(gateway.http().await.get("/two").await.status(), 503);
    gate.open();
    assert_eq!(first.reply().await.status(), 200);
}

#[tokio::test]
async fn a_routes_bound_of_bodies_takes_the_place_of_the_listeners() {
    let (app, _agents, gateway) = start(mirroring(), h2_mirroring()).await;
    for (target, bytes, status) in [
        ("/", 1000, 200),
        ("/", 1001, 413),
        ("/small", 100, 200),
        ("/small", 101, 413),
        ("/large", 10 * 1024, 200),
        ("/large", 10 * 1024 + 1, 413),
        ("/any", 50_000, 200),
    ] {
        let before = app.count();
        let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n");
        let sent = [head.into_bytes(), vec![b'x'; bytes]].concat();
        let reply = gateway.http().await.exchange("POST", sent).await;
        assert_eq!(reply.status(), status, "{bytes} to {target}");
        let reply = gateway
            .h2("https")
            .await
            .try_fetch(request("POST", target), vec![b'x'; bytes])
            .await;
        let seen = reply.as_ref().map_or(413, |reply| reply.status.as_u16());
        assert_eq!(seen, status, "{bytes} to {target} over HTTP/2");
        let served = if status == 200 { 2 } else { 0 };
        assert_eq!(app.count() - before, served, "{bytes} to {target}");
    }
}

#[tokio::test]
async fn a_length_that_is_announced_is_refused_before_a_byte_goes_on() {
    let (app, _agents, gateway) = start(mirroring(), h2_mirroring()).await;
    let mut client = gateway.http().await;
    client
        .send(
            "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\
             Expect: 100-continue\r\n\r\n",
        )
        .await;
    let reply = client.reply().await;
    assert_eq!(reply.status(), 413, "and no 100 before it");
    assert!(
        client.ended().await,
        "the body may come or not: nobody knows"
    );
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(
        (&line["status"], &line["end"], &line["route"]),
        (&413.into(), &"body_too_large".into(), &"small".into()),
        "{line}"
    );
    let counted = refused("http", "small", "body_bytes_max");
    assert_eq!(gateway.metric(&counted).await, Some(1.0));
    assert_eq!((app.connections(), app.bytes()), (0, Vec::new()));
}

#[tokio::test]
async fn a_body_without_a_length_is_stopped_and_counted() {
    let (app, _agents, gateway) = start(mirroring(), h2_mirroring()).await;
    let mut client = gateway.http().await;
    let chunk = format!("3c\r\n{}\r\n", "x".repeat(60));
    client
        .send(format!(
            "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}"
        ))
        .await;
    assert_eq!(client.reply().await.status(), 413);
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(line["end"], "body_too_large", "{line}");
    let counted = refused("http", "small", "body_bytes_max");
    assert_eq!(gateway.metric(&counted).await, Some(1.0));
    assert_eq!(app.count(), 0, "no whole request came");
}

#[tokio::test]
async fn a_call_that_is_too_large_is_unavailable() {
    let (_app, agents, gateway) = start(mirroring(), h2_mirroring()).await;
    let mut announced = call("/up/Call");
    announced
        .headers_mut()
        .insert("content-length", "205".parse().unwrap());
    let mut client = gateway.h2("grpc").await;
    let reply = client.fetch(announced, frame([7; 200])).await;
    assert_eq!(
        (reply.status.as_u16(), reply.grpc_status()),
        (200, Some("14"))
    );
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(line["end"], "body_too_large", "{line}");
    let counted = refused("grpc", "up", "body_bytes_max");
    assert_eq!(gateway.metric(&counted).await, Some(1.0));
    assert_eq!(agents.count(), 0);
}
