//! Is a fixed answer the same for everybody?

use e2e::h2_client::request;
use e2e::scripts::replying;
use e2e::{Gateway, Worker};

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none }
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  app: { ports: <app> }
routes:
  - { path: /, to: app }
  - { exact: /robots.txt, respond: { body: "User-agent: *\nDisallow: /\n" }, set_response_headers: { Cache-Control: "max-age=60", X-Id: "{request_id}" } }
  - { path: /gone, respond: { status: 410, body: '{"gone":true}', content_type: application/json } }
  - { path: /none, respond: 204 }
  - { path: /pem, respond: { file: <dir>/edge.pem } }
"#;

async fn start() -> (Worker, Gateway) {
    let worker = Worker::start(replying(200)).await;
    let gateway = Gateway::with(YAML)
        .ports("app", [worker.port()])
        .start()
        .await;
    (worker, gateway)
}

#[tokio::test]
async fn the_answer_is_what_the_file_says() {
    let (worker, gateway) = start().await;
    let pem = std::fs::read_to_string(gateway.file("edge.pem")).unwrap();
    let (mut old, mut new) = (gateway.http().await, gateway.h2("https").await);
    for (target, status, kind, body) in [
        (
            "/robots.txt",
            200,
            Some("text/plain; charset=utf-8"),
            "User-agent: *\nDisallow: /\n",
        ),
        (
            "/gone/x?y",
            410,
            Some("application/json"),
            "{\"gone\":true}",
        ),
        ("/none", 204, None, ""),
        ("/pem", 200, Some("application/octet-stream"), pem.as_str()),
    ] {
        let reply = old.get(target).await;
        assert_eq!(
            (reply.status(), reply.field("content-type"), reply.text()),
            (status, kind, body.to_owned()),
            "{target}"
        );
        let reply = new.fetch(request("GET", target), "").await;
        let seen = reply.headers.get("content-type");
        assert_eq!(seen.map(|kind| kind.to_str().unwrap()), kind, "{target}");
        assert_eq!(
            (reply.status.as_u16(), reply.text()),
            (status, body.to_owned()),
            "{target} over HTTP/2"
        );
        let length = (status != 204).then(|| body.len().to_string());
        let head = old.ask("HEAD", target, &[], b"").await;
        assert_eq!(head.field("content-length"), length.as_deref(), "{target}");
        assert_eq!(head.text(), "");
        let head = new.fetch(request("HEAD", target), "").await;
        let seen = head.headers.get("content-length");
        assert_eq!(
            seen.map(|length| length.to_str().unwrap()),
            length.as_deref(),
            "{target} over HTTP/2"
        );
        assert_eq!(head.text(), "");
    }
    assert_eq!(worker.count(), 0);
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(
        (&line["status"], &line["end"], &line["bytes_out"]),
        (&200.into(), &"ok".into(), &26.into()),
        "{line}"
    );
}

#[tokio::test]
async fn fields_of_the_route_stand_beside_it() {
    let (_worker, gateway) = start().await;
    let fields = ["X-Request-ID: mine"];
    let reply = gateway
        .http()
        .await
        .ask("GET", "/robots.txt", &fields, b"")
        .await;
    assert_eq!(
        (reply.fields("cache-control"), reply.fields("x-id")),
        (vec!["max-age=60"], vec!["mine"])
    );
}

#[tokio::test]
async fn a_body_is_not_waited_for() {
    let (_worker, gateway) = start().await;
    let mut client = gateway.http().await;
    client
        .send("POST /gone HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome")
        .await;
    let reply = client.reply().await;
    assert_eq!(
        (reply.status(), reply.field("connection")),
        (410, Some("close"))
    );
    assert!(client.ended().await);
    // Without one, the connection goes on.
    let mut client = gateway.http().await;
    for _ in 0..2 {
        assert_eq!(client.get("/gone").await.status(), 410);
    }
}

#[tokio::test]
async fn a_reload_reads_the_file_again_and_refuses_one_that_is_gone() {
    let (_worker, gateway) = start().await;
    let named = |name: &str| {
        let name = name.to_owned();
        move |text: String| text.replace("file: ", &format!("file: {name}"))
    };
    let page = gateway.file("page.txt");
    std::fs::write(&page, "one").unwrap();
    let to = |path: &std::path::Path| {
        let path = path.display().to_string();
        let pem = gateway.file("edge.pem").display().to_string();
        move |text: String| text.replace(&format!("file: {pem}"), &format!("file: {path}"))
    };
    let told = gateway.reload(to(&page)).await;
    assert!(told.contains("reloaded"), "{told}");
    assert_eq!(gateway.http().await.get("/pem").await.text(), "one");
    std::fs::write(&page, "two").unwrap();
    let told = gateway.reload(|text| text).await;
    assert!(told.contains("reloaded"), "{told}");
    assert_eq!(gateway.http().await.get("/pem").await.text(), "two");
    let told = gateway.reload(named("/nowhere")).await;
    assert!(
        told.contains("refused") && told.contains("cannot be used"),
        "{told}"
    );
    assert_eq!(gateway.http().await.get("/pem").await.text(), "two");
}
