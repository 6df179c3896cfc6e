//! Does an open page hear, behind the edge, that it is old?

use e2e::websocket::KEY;
use e2e::{Agent, Broker, Database, Gateway, Raw, Service, Way, eventually};

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  appserver:      { ports: <appserver> }
  message-system: { ports: <messages> }
routes:
  - { path: /,               to: appserver }
  - { path: /message-system, to: message-system }
"#;

async fn open(gateway: &Gateway, page: &str, fields: &[&str]) -> (Raw, u16) {
    let mut raw = gateway.https().await;
    let mut head = format!(
        "GET /live?page={page} HTTP/1.1\r\nHost: edge.test\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
    );
    for field in fields {
        head.push_str(field);
        head.push_str("\r\n");
    }
    raw.send(format!("{head}\r\n")).await;
    let status = raw.reply().await.status();
    (raw, status)
}

/// First byte and payload of a short frame of the server's (RFC 6455 section 5.2).
async fn frame(raw: &mut Raw) -> (u8, Vec<u8>) {
    let head = raw.exact(2).await;
    (head[0], raw.exact(head[1].into()).await)
}

#[tokio::test]
async fn an_open_page_is_told_of_what_it_shows_and_only_to_those_who_may_see_it() {
    let (database, broker) = (Database::fresh(), Broker::fresh());
    let one = |name: &str, more: &[(&str, &str)]| {
        Service::at(name, &database, e2e::free_range(1), &broker.with(more))
    };
    let _relay = one("outbox-relay", &[]);
    let mut pages = one("appserver", &[]);
    let messages = one("message-server", &[]);
    let gateway = Gateway::with(YAML)
        .ports("appserver", [pages.port()])
        .ports("messages", [messages.port()])
        .start()
        .await;
    let way = Way::Edge(&gateway);
    eventually("the page's worker listens and a relay works", || async {
        let said = Raw::tcp(pages.port()).await.get("/health").await.text();
        let alive = database.sql("select seen_at > now() - interval '1 minute' from outbox_relay");
        (said.contains("broker: connected") && alive == "t").then_some(())
    })
    .await;

    let somebody = database.signed_in();
    let signed = somebody.cookie.as_str();
    // To the page to sign in on.
    assert_eq!(open(&gateway, "/computers", &[]).await.1, 303);
    let evil = [signed, "Origin: https://evil.test"];
    assert_eq!(open(&gateway, "/computers", &evil).await.1, 403);
    let changed = (0x81, b"changed".to_vec());
    let ours = [signed, "Origin: https://edge.test"];
    let (mut list, status) = open(&gateway, "/pending", &ours).await;
    assert_eq!(status, 101);
    let (mut hosts, status) = open(&gateway, "/hosts", &ours).await;
    assert_eq!(status, 101);

    let mut agent = Agent::new("seen");
    agent.set_up(&way, None).await;
    assert_eq!(frame(&mut list).await, changed);
    // Every page says how many computers wait.
    assert_eq!(frame(&mut hosts).await, changed);
    database.sql(
        "insert into wsl_host (account_id, accepted, hostname) values (1, true, 'h'); \
         insert into outbox (topic, subject) values ('host.changed', 'x')",
    );
    assert_eq!(frame(&mut hosts).await, changed);
    let (mut all, status) = open(&gateway, "/computers", &ours).await;
    assert_eq!(status, 101);
    database.sql("insert into outbox (topic, subject) values ('computer.changed', '1')");
    assert_eq!(frame(&mut all).await, changed);

    // The page names its one script, and the script is there.
    let mut raw = gateway.https().await;
    let page = raw.ask("GET", "/hosts", &[signed], b"").await;
    let policy = page.field("content-security-policy").expect("a policy");
    assert!(
        policy.contains("script-src edge.test/static/live.js;"),
        "{policy}"
    );
    assert!(page.text().contains("<script src=\"/static/live.js?"));
    let script = raw.ask("GET", "/static/live.js", &[], b"").await;
    assert_eq!(
        script.field("content-type"),
        Some("text/javascript; charset=utf-8")
    );

    // A worker that stops says so: 1001, and the page comes back to another.
    pages.stop();
    let goodbye = loop {
        let (kind, said) = frame(&mut list).await;
        if kind == 0x88 {
            break said;
        }
    };
    assert_eq!(goodbye[..2], [0x03, 0xe9]);
}

#[tokio::test]
async fn without_a_broker_a_page_is_what_it_was() {
    let database = Database::fresh();
    let pages = Service::start("appserver", &database);
    let somebody = database.signed_in();
    let signed = somebody.cookie.as_str();
    let gateway = Gateway::with(YAML)
        .ports("appserver", [pages.port()])
        .ports("messages", [e2e::free_range(1)])
        .start()
        .await;
    assert_eq!(open(&gateway, "/computers", &[signed]).await.1, 503);
    let mut raw = gateway.https().await;
    assert_eq!(
        raw.ask("GET", "/computers", &[signed], b"").await.status(),
        200
    );
}
