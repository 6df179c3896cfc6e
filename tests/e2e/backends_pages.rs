//! Do people see what computers report, behind the edge, and only those who may?

use std::path::Path;

use e2e::bpickle::{Pickle, d, i, l, s, t, u};
use e2e::{Agent, Database, Gateway, Message, Service, Way, eventually};

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  appserver:      { ports: <appserver> }
  pingserver:     { ports: <pingserver> }
  message-system: { ports: <messages> }
routes:
  - { path: /,               to: appserver }
  - { path: /ping,           to: pingserver }
  - { path: /message-system, to: message-system }
"#;

/// `admin:secret`
const SIGNED: &str = "Authorization: Basic YWRtaW46c2VjcmV0";

struct House {
    database: Database,
    gateway: Gateway,
    _services: Vec<Service>,
}

async fn house() -> House {
    let database = Database::fresh();
    let one = |program: &str, settings: &[(&str, &str)]| {
        Service::at(program, &database, e2e::free_range(1), settings)
    };
    let services = vec![
        one("appserver", &[("APPSERVER__PASSWORD", "secret")]),
        one(
            "pingserver",
            &[
                ("PINGSERVER__REFRESH", "50ms"),
                ("PINGSERVER__WRITE", "50ms"),
            ],
        ),
        one("message-server", &[]),
    ];
    let gateway = Gateway::with(YAML)
        .ports("appserver", [services[0].port()])
        .ports("pingserver", [services[1].port()])
        .ports("messages", [services[2].port()])
        .start()
        .await;
    House {
        database,
        gateway,
        _services: services,
    }
}

impl House {
    async fn get(&self, path: &str) -> Message {
        self.ask("GET", path, &[SIGNED], "").await
    }

    async fn ask(&self, method: &str, path: &str, fields: &[&str], body: &str) -> Message {
        let mut raw = self.gateway.https().await;
        raw.ask(method, path, fields, body.as_bytes()).await
    }

    async fn decide(&self, form: &str, more: &[&str]) -> Message {
        let kind = "Content-Type: application/x-www-form-urlencoded";
        let fields = [&[SIGNED, kind], more].concat();
        self.ask("POST", "/pending/decide", &fields, form).await
    }
}

fn devices(address: &str) -> Pickle {
    let eth0 = d([
        ("broadcast_address", s("192.0.2.255")),
        ("flags", i(4163)),
        ("interface", s("eth0")),
        ("ip_address", s(address)),
        ("mac_address", s("02:fc:00:00:00:01")),
        ("netmask", s("255.255.255.0")),
    ]);
    let speed = d([
        ("duplex", Pickle::Bool(true)),
        ("interface", s("eth0")),
        ("speed", i(1000)),
    ]);
    d([
        ("device-speeds", l([speed])),
        ("devices", l([eth0])),
        ("type", u("network-device")),
    ])
}

/// The part of a page between two marks.
fn part<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let rest = page
        .split_once(from)
        .unwrap_or_else(|| panic!("no {from}: {page}"))
        .1;
    rest.split_once(to).expect("its end").0
}

#[tokio::test]
async fn a_computer_is_seen_with_its_network_and_what_that_was_before() {
    let house = house().await;
    let way = Way::Edge(&house.gateway);
    let mut agent = Agent::new("<b>web-1");
    agent.set_up(&way, None).await;
    let page = house.get("/pending").await.text();
    assert!(
        page.contains("&lt;b&gt;web-1") && !page.contains("<b>web"),
        "{page}"
    );
    let id = part(&page, "name=\"id\" value=\"", "\"").to_owned();
    let done = house.decide(&format!("id={id}&decision=accept"), &[]).await;
    assert_eq!(
        (done.status(), done.field("location")),
        (303, Some("/pending"))
    );
    assert!(house.get("/pending").await.text().contains("Nobody waits"));

    agent.exchange(&way).await.expect("it is told its types");
    agent.report(devices("192.0.2.2"));
    agent.exchange(&way).await.expect("an exchange");
    agent.report(devices("192.0.2.9"));
    let traffic = Pickle::Dict(vec![(
        s("eth0"),
        l([t([i(1_795_406_100), i(1 << 20), i(0)])]),
    )]);
    agent.report(d([
        ("activities", traffic),
        ("type", u("network-activity")),
    ]));
    agent.exchange(&way).await.expect("an exchange");

    let page = house.get(&format!("/computers/{id}")).await.text();
    let interfaces = part(&page, "<table id=\"interfaces\">", "</table>");
    for cell in [
        "<td>eth0</td>",
        "<td>192.0.2.9</td>",
        "<td>02:fc:00:00:00:01</td>",
        "<td>192.0.2.255</td>",
        "<td>255.255.255.0</td>",
        ">UP BROADCAST RUNNING MULTICAST</td>",
        "<td>1000 Mbit/s, full duplex</td>",
    ] {
        assert!(interfaces.contains(cell), "{cell}: {interfaces}");
    }
    let changes = part(&page, "<table id=\"changes\">", "</table>");
    assert!(
        changes.contains("<td>192.0.2.2</td>") && changes.contains("then changed"),
        "{changes}"
    );
    assert!(page.contains("received 1.0 MiB"), "{page}");
    eventually("the list shows its address, tags and last ping", || async {
        // A pingserver learns of a new computer by and by, and takes no note of a ping before.
        agent.ping(&way).await;
        let page = house.get("/computers?tag=blue").await.text();
        let row = part(&page, "<tbody>", "</tbody>").to_owned();
        let seen = row.contains("192.0.2.9") && row.contains(">green</a>");
        let today = house
            .database
            .sql("select to_char(now() at time zone 'UTC', 'YYYY-MM-DD')");
        (seen && row.matches(&today).count() == 2).then_some(())
    })
    .await;
    let page = house.get("/computers?tag=red").await.text();
    assert!(page.contains("<p>None.</p>"), "{page}");
    assert_eq!(house.get("/computers/77").await.status(), 404);
    assert_eq!(house.get("/computers/x").await.status(), 404);
}

#[tokio::test]
async fn a_computer_that_is_rejected_is_forgotten() {
    let house = house().await;
    let way = Way::Edge(&house.gateway);
    let mut agent = Agent::new("unwanted");
    agent.set_up(&way, None).await;
    let id = house.database.sql("select id from computer");
    let done = house.decide(&format!("id={id}&decision=reject"), &[]).await;
    assert_eq!(done.status(), 303);
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!(agent.secure, None);
    assert_eq!(house.database.sql("select count(*) from computer"), "0");
}

#[tokio::test]
async fn nobody_sees_or_changes_anything_without_the_password_or_from_another_site() {
    let house = house().await;
    let way = Way::Edge(&house.gateway);
    Agent::new("web-1").set_up(&way, None).await;
    let id = house.database.sql("select id from computer");
    // `admin:wrong`
    for fields in [&[][..], &["Authorization: Basic YWRtaW46d3Jvbmc="]] {
        for path in ["/", "/computers", "/pending", "/nothing"] {
            let reply = house.ask("GET", path, fields, "").await;
            assert_eq!(reply.status(), 401, "{path}");
            assert!(reply.field("www-authenticate").is_some());
        }
        let form = format!("id={id}&decision=accept");
        let reply = house.ask("POST", "/pending/decide", fields, &form).await;
        assert_eq!(reply.status(), 401);
    }
    let form = format!("id={id}&decision=accept");
    for field in ["Origin: https://evil.test", "Sec-Fetch-Site: cross-site"] {
        assert_eq!(house.decide(&form, &[field]).await.status(), 403, "{field}");
    }
    assert_eq!(house.database.sql("select accepted from computer"), "f");
    let ours = house.decide(&form, &["Origin: https://edge.test"]).await;
    assert_eq!(ours.status(), 303);
    assert_eq!(house.database.sql("select accepted from computer"), "t");
    let page = house.get("/computers").await;
    assert!(
        page.field("content-security-policy")
            .is_some_and(|value| value.contains("'none'"))
    );

    // Without a password in the settings nobody gets in.
    let closed = Service::start("appserver", &house.database);
    let mut raw = e2e::Raw::tcp(closed.port()).await;
    let reply = raw
        .ask("GET", "/computers", &["Authorization: Basic YWRtaW46"], b"")
        .await;
    assert_eq!(reply.status(), 403);
}

#[tokio::test]
async fn an_agent_that_others_could_have_written_is_at_home() {
    let house = house().await;
    house
        .database
        .sql("update account set registration_key = 'right'");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a workspace");
    let output = tokio::process::Command::new("python3")
        .arg(root.join("tests/clients/agent.py"))
        .args([
            "--rounds", "3", "--pause", "0", "--title", "python", "--key", "right",
        ])
        .arg(format!("localhost:{}", house.gateway.port("https")))
        .arg(house.gateway.file("ca.pem"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .kill_on_drop(true)
        .output()
        .await
        .expect("Python can be started: `make test` installs it");
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{error}");
    assert!(said.contains("accepted; orders wait"), "{said}");
    // Its registration came without the numbers of a computer; its report is the first that counts.
    let taken = house.database.sql("select expected from exchange");
    assert_ne!(taken, "0", "{said}");
}
