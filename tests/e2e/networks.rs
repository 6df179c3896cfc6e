//! Are strangers kept out by their address, before they cost anything, and is it told?

use std::net::Ipv4Addr;

use e2e::grpc::{call, frame};
use e2e::h2_client::request;
use e2e::h2_scripts::h2_mirroring;
use e2e::raw::tcp_from;
use e2e::scripts::replying;
use e2e::{Gateway, H2, Raw, Worker, eventually};

const TLS: &str = "tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] }";

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  http:   { bind: "127.0.0.1:0", redirect_https: none }
  inside: { bind: "127.0.0.1:0", redirect_https: none, allow: [127.0.0.0/8], deny: [127.0.0.2] }
  closed: { bind: "127.0.0.1:0", <tls>, allow: [10.0.0.0/8, 127.0.0.2] }
  grpc:   { bind: "127.0.0.1:0", <tls>, protocol: grpc }
pools:
  app: { ports: <app> }
  agents: { ports: <agents>, protocol: h2c }
routes:
  - { path: /, to: app, on: [http, inside, closed] }
  - { path: /office, name: office, to: app, on: [http], allow: [127.0.0.0/8], deny: [127.0.0.1] }
  - { path: /, name: agents, to: agents, on: [grpc], deny: [127.0.0.1] }
"#;

async fn start() -> (Worker, Worker, Gateway) {
    let worker = Worker::start(replying(200)).await;
    let agents = Worker::start(h2_mirroring()).await;
    let gateway = Gateway::with(YAML)
        .text("tls", TLS)
        .ports("app", [worker.port()])
        .ports("agents", [agents.port()])
        .start()
        .await;
    (worker, agents, gateway)
}

fn refused(listener: &str) -> String {
    format!(r#"portcullis_connections_refused_total{{limit="network",listener="{listener}"}}"#)
}

#[tokio::test]
async fn a_listener_closes_connections_of_others_before_a_byte_is_read() {
    let (worker, _agents, gateway) = start().await;
    let stranger = Ipv4Addr::new(127, 0, 0, 2);
    let mut client = Raw::tcp(gateway.port("inside")).await;
    assert_eq!(client.get("/").await.status(), 200, "who may is served");
    for _ in 0..2 {
        let mut client = Raw::over(tcp_from(stranger, gateway.port("inside")).await);
        assert!(client.ended().await, "closed without being asked");
    }
    let counted = gateway.metric(&refused("inside")).await;
    assert_eq!(counted, Some(2.0));
    assert_eq!(worker.count(), 1);
    // No request was made; who was turned away is told.
    let lines = gateway.access_log(3).await;
    let denied = lines.iter().filter(|line| {
        line["end"] == "connection_denied" && line["client"] == "127.0.0.2" && line["status"] == 0
    });
    assert_eq!((denied.count(), lines.len()), (2, 3), "{lines:#?}");
}

#[tokio::test]
async fn a_stranger_costs_no_handshake() {
    let (_worker, _agents, gateway) = start().await;
    let tls = gateway.tls();
    assert!(tls.connect(gateway.port("closed")).await.is_err());
    assert_eq!(gateway.metric(&refused("closed")).await, Some(1.0));
    let metrics = gateway.admin("/metrics").await.text();
    let handshakes = metrics.lines().filter(|line| {
        line.starts_with("portcullis_tls_handshake")
            && line.contains("\"closed\"")
            && !line.ends_with(" 0")
    });
    assert_eq!(handshakes.count(), 0, "{metrics}");
}

#[tokio::test]
async fn a_route_refuses_requests_of_others_with_403() {
    let (worker, _agents, gateway) = start().await;
    let mut client = gateway.http().await;
    let reply = client.get("/office/x").await;
    assert_eq!(reply.status(), 403);
    assert_eq!(
        reply.field("retry-after"),
        None,
        "trying again does not help"
    );
    assert_eq!(client.get("/").await.status(), 200, "the connection stays");
    let lines = gateway.access_log(2).await;
    let line = lines.iter().find(|line| line["route"] == "office").unwrap();
    assert_eq!(
        (&line["status"], &line["end"]),
        (&403.into(), &"denied".into()),
        "{line}"
    );
    let counted =
        r#"portcullis_requests_refused_total{limit="network",listener="http",route="office"}"#;
    assert_eq!(gateway.metric(counted).await, Some(1.0));
    assert_eq!(worker.count(), 1);

    let other = tcp_from(Ipv4Addr::new(127, 0, 0, 2), gateway.port("http")).await;
    assert_eq!(Raw::over(other).get("/office").await.status(), 200);
    assert_eq!(gateway.metric(counted).await, Some(1.0));
}

#[tokio::test]
async fn a_call_of_others_is_unavailable_and_never_a_bare_403() {
    let (_worker, agents, gateway) = start().await;
    let reply = gateway
        .h2("grpc")
        .await
        .fetch(call("/s/Unary"), frame("x"))
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.grpc_status()),
        (200, Some("14"))
    );
    assert!(reply.trailers.is_empty(), "trailers only");
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(
        (&line["status"], &line["end"], &line["route"]),
        (&200.into(), &"denied".into(), &"agents".into()),
        "{line}"
    );
    let counted =
        r#"portcullis_requests_refused_total{limit="network",listener="grpc",route="agents"}"#;
    assert_eq!(gateway.metric(counted).await, Some(1.0));
    assert_eq!(agents.count(), 0);
}

#[tokio::test]
async fn a_reload_opens_and_closes_for_new_connections() {
    let (_worker, _agents, gateway) = start().await;
    let from = Ipv4Addr::new(127, 0, 0, 2);
    let mut kept = H2::over(
        gateway
            .tls()
            .alpn(&["h2"])
            .connect_over(tcp_from(from, gateway.port("closed")).await)
            .await
            .expect("it may"),
    )
    .await;
    let told = gateway
        .reload(|text| text.replace("[10.0.0.0/8, 127.0.0.2]", "[127.0.0.1]"))
        .await;
    assert!(told.contains("reloaded"), "{told}");
    eventually("the other address may now", || async {
        gateway.tls().connect(gateway.port("closed")).await.ok()
    })
    .await;
    let mut late = Raw::over(tcp_from(from, gateway.port("closed")).await);
    assert!(late.ended().await);
    let reply = kept.fetch(request("GET", "/"), "").await;
    assert_eq!(reply.status, 200, "who is in stays in");
}
