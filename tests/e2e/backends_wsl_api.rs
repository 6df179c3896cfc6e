//! Do programs find WSL hosts behind the edge, and does what they order reach the host and come back?

use e2e::hostagent::{Cmd, Install, Named, Nothing};
use e2e::person::EMAIL;
use e2e::{Broker, Database, Gateway, HostAgent, Raw, Rest, Service, eventually, free_range};
use serde_json::{Value, json};

use crate::backends_api::Described;

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
  grpc: { bind: "127.0.0.1:0", protocol: grpc, tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  api:                 { ports: <api> }
  hostagent-messenger: { ports: <messenger>, protocol: h2c }
routes:
  - { path: /api, to: api, on: [https] }
  - { path: /, to: hostagent-messenger, on: [grpc] }
"#;

struct House {
    gateway: Gateway,
    database: Database,
    _services: [Service; 3],
    _broker: Broker,
}

impl House {
    async fn start() -> House {
        let (database, broker) = (Database::fresh(), Broker::fresh());
        database.sql("update account set registration_key = 'right'");
        database.administrator();
        let one = |name: &str, more: &[(&str, &str)]| {
            Service::at(name, &database, free_range(1), &broker.with(more))
        };
        // Nothing is found by looking: whatever arrives was told.
        let messenger = one(
            "hostagent-messenger",
            &[("HOSTAGENT_MESSENGER__POLL", "1h")],
        );
        let (api, relay) = (one("api", &[]), one("outbox-relay", &[]));
        let gateway = Gateway::with(YAML)
            .ports("api", [api.port()])
            .ports("messenger", [messenger.port()])
            .start()
            .await;
        eventually("the messenger listens and a relay works", || async {
            let said = Raw::tcp(messenger.port()).await.get("/health").await.text();
            let alive = "select seen_at > now() - interval '1 minute' from outbox_relay";
            let listens = said.contains("broker-hostagent: connected");
            (listens && database.sql(alive) == "t").then_some(())
        })
        .await;
        House {
            gateway,
            database,
            _services: [messenger, api, relay],
            _broker: broker,
        }
    }

    async fn host(&self, name: &str, key: Option<&str>) -> HostAgent {
        HostAgent::new(self.gateway.h2("grpc").await, name, key).await
    }
}

/// The host of this name, as soon as it is there and as it should be.
async fn seen(rest: &Rest<'_>, described: &Described, name: &str, connected: bool) -> Value {
    eventually("a host is seen", || async {
        let (status, page) = described.get(rest, "/computers/wsl-hosts").await;
        assert_eq!(status, 200, "{page}");
        let results = page["results"].as_array().expect("results").clone();
        let is = |one: &Value| {
            one["hostname"] == name
                && one["connected"] == connected
                && !one["last_info_time"].is_null()
        };
        results.into_iter().find(is)
    })
    .await
}

fn named(id: &str) -> Named {
    Named { id: id.to_owned() }
}

#[tokio::test]
async fn a_host_is_found_with_its_instances_and_does_what_is_ordered() {
    let house = House::start().await;
    let described = Described::behind(&house.gateway).await;
    let rest = Rest::log_in(&house.gateway, EMAIL).await;
    let mut agent = house.host("laptop", Some("right")).await;
    let host = seen(&rest, &described, "laptop", true).await;
    assert_eq!(
        (&host["accepted"], &host["num_child"], &host["num_running"]),
        (&json!(true), &json!(1), &json!(0))
    );
    assert_eq!(host["default_child"], "Ubuntu");
    let id = host["id"].as_str().expect("an identity");
    assert_eq!(id, agent.info.uid);
    let path = format!("/computers/wsl-hosts/{id}");
    let (_, whole) = described.get(&rest, &path).await;
    let (_, children) = described
        .get(&rest, &format!("/computers/{id}/children"))
        .await;
    assert_eq!(whole["children"], children["children"]);
    let child = &children["children"][0];
    assert_eq!(
        (
            &child["name"],
            &child["is_running"],
            &child["default"],
            &child["computer_id"]
        ),
        (&json!("Ubuntu"), &json!(false), &json!(true), &Value::Null)
    );

    let orders = format!("{path}/orders");
    let body = json!({"order": "start", "instance": "Ubuntu"});
    let (status, order) = described.post(&rest, &orders, &body).await;
    assert_eq!(
        (status, &order["state"]),
        (201, &json!("waiting")),
        "{order}"
    );
    let command = agent.command().await.expect("an order");
    assert_eq!(command.cmd, Some(Cmd::Start(named("Ubuntu"))));
    assert_eq!(order["request_id"], command.request_id);
    for (state, error, told) in [
        (0, "", "queued"),
        (1, "", "in_progress"),
        (2, "no such thing", "failed"),
    ] {
        assert_eq!(agent.status(&command.request_id, state, error).await, "0");
        let (_, list) = described.get(&rest, &orders).await;
        assert_eq!(
            (&list["results"][0]["state"], &list["results"][0]["error"]),
            (&json!(told), &json!(error))
        );
    }
    agent.info.instances[0].state = 1;
    agent.tell().await;
    eventually("it is seen to run", || async {
        let (_, whole) = described.get(&rest, &path).await;
        (whole["children"][0]["is_running"] == true && whole["num_running"] == 1).then_some(())
    })
    .await;

    // An instance is installed with its first configuration, which comes in base64, and two go.
    let children = format!("/computers/{id}/children");
    let body = json!({"computer_name": "Ubuntu-24.04", "cloud_init": "I2Nsb3VkLWNvbmZpZwo=",
                      "rootfs_url": "https://files.test/rootfs.tar.gz"});
    let (status, order) = described.post(&rest, &children, &body).await;
    assert_eq!(
        (status, &order["order"]),
        (201, &json!("install")),
        "{order}"
    );
    let command = agent.command().await.expect("an order");
    let install = Install {
        id: "Ubuntu-24.04".to_owned(),
        cloudinit: Some("#cloud-config\n".to_owned()),
        rootfs_url: Some("https://files.test/rootfs.tar.gz".to_owned()),
    };
    assert_eq!(command.cmd, Some(Cmd::Install(install)));
    // The computer that registers under this order is the instance.
    house.database.sql(&format!(
        "insert into computer (account_id, accepted, title, hostname, hostagent_uid, \
             installation_request_id, wsl_instance_id) \
         values (1, true, 'inside', 'inside', '{id}', '{}', 'Ubuntu-24.04'); \
         insert into wsl_instance (host_uid, id, name, version_id, running, managed) \
         values ('{id}', 'Ubuntu-24.04', 'x', '24.04', true, true)",
        command.request_id
    ));
    let (_, list) = described.get(&rest, &children).await;
    let computer = house.database.sql("select id from computer");
    assert_eq!(list["children"][1]["computer_id"].to_string(), computer);
    // What one of another account says of itself counts nothing.
    house.database.sql(
        "insert into account (name, title) values ('other', 'Other'); \
         update computer set account_id = (select id from account where name = 'other')",
    );
    let (_, list) = described.get(&rest, &children).await;
    assert_eq!(list["children"][1]["registered"], false, "{list}");

    let body = json!({"computer_names": ["Ubuntu", "Ubuntu-24.04"]});
    let path = format!("/computers/{id}/delete-children");
    let (status, given) = described.post(&rest, &path, &body).await;
    assert_eq!((status, &given["count"]), (200, &json!(2)), "{given}");
    for (at, name) in ["Ubuntu", "Ubuntu-24.04"].into_iter().enumerate() {
        let command = agent.command().await.expect("an order");
        assert_eq!(command.cmd, Some(Cmd::Uninstall(named(name))));
        assert_eq!(given["results"][at]["request_id"], command.request_id);
    }
    let (_, order) = described
        .post(&rest, &orders, &json!({"order": "shutdown_host"}))
        .await;
    let command = agent.command().await.expect("an order");
    assert_eq!(command.cmd, Some(Cmd::ShutdownHost(Nothing {})));
    assert_eq!(order["request_id"], command.request_id);
}

#[tokio::test]
async fn a_host_that_waits_is_accepted_and_forgotten_by_those_who_may() {
    let house = House::start().await;
    let described = Described::behind(&house.gateway).await;
    let rest = Rest::log_in(&house.gateway, EMAIL).await;
    let mut agent = house.host("stranger", None).await;
    let host = seen(&rest, &described, "stranger", true).await;
    assert_eq!(host["accepted"], false);
    let id = host["id"].as_str().expect("an identity");
    let path = format!("/computers/wsl-hosts/{id}");
    let orders = format!("{path}/orders");
    let start = json!({"order": "start", "instance": "Ubuntu"});
    let (status, answer) = described.post(&rest, &orders, &start).await;
    assert_eq!(
        (status, &answer["error"]),
        (400, &json!("InvalidActivityStatusChange"))
    );

    for (email, role) in [("omar@edge.test", "operator"), ("vera@edge.test", "viewer")] {
        house.database.person(email, role);
        let other = Rest::log_in(&house.gateway, email).await;
        assert_eq!(described.get(&other, &path).await.0, 200, "{role}");
        let accept = format!("{path}/accept");
        let (status, _) = described.post(&other, &accept, &json!({})).await;
        assert_eq!(status, 403, "{role}");
        let (status, _) = other.ask("DELETE", &path, Some(&json!({}))).await;
        assert_eq!(status, 403, "{role}");
        let (status, _) = described.post(&other, &orders, &start).await;
        assert_eq!(status, if role == "viewer" { 403 } else { 400 }, "{role}");
    }
    let accept = format!("{path}/accept");
    let (status, _) = described.post(&rest, &accept, &json!({})).await;
    assert_eq!(status, 204);
    let (status, _) = described.post(&rest, &orders, &start).await;
    assert_eq!(status, 201);
    let command = agent.command().await.expect("an order");
    assert_eq!(command.cmd, Some(Cmd::Start(named("Ubuntu"))));

    for (path, body, expected) in [
        (&orders, json!({}), (400, "MissingParameter")),
        (
            &orders,
            json!({"order": "assign_host"}),
            (400, "InvalidParameter"),
        ),
        (
            &orders,
            json!({"order": "start"}),
            (400, "InvalidParameter"),
        ),
        (
            &orders,
            json!({"order": "install", "instance": "a", "cloud_init": "!"}),
            (400, "InvalidParameter"),
        ),
        (
            &format!("/computers/{id}/children"),
            json!({"computer_name": "a\nb"}),
            (400, "InvalidParameter"),
        ),
        (
            &format!("/computers/{id}/delete-children"),
            json!({"computer_names": []}),
            (400, "MissingParameter"),
        ),
        (
            &"/computers/7/children".to_owned(),
            json!({"computer_name": "a"}),
            (404, "UnknownComputer"),
        ),
    ] {
        let (status, answer) = described.post(&rest, path, &body).await;
        let told = answer["error"].as_str().expect("a code");
        assert_eq!((status, told), expected, "{path} {body}");
    }
    // Forgotten, its stream ends.
    let (status, answer) = rest.ask("DELETE", &path, Some(&json!({}))).await;
    described.check("DELETE", &path, status, &answer);
    assert_eq!(status, 204);
    agent.until_over().await;
    assert_eq!(described.get(&rest, &path).await.0, 404);
}

#[tokio::test]
async fn an_instance_that_takes_the_place_of_a_computer_is_that_computer() {
    let house = House::start().await;
    let described = Described::behind(&house.gateway).await;
    let rest = Rest::log_in(&house.gateway, EMAIL).await;
    let agent = house.host("laptop", Some("right")).await;
    seen(&rest, &described, "laptop", true).await;
    let uid = &agent.info.uid;
    // One that was something else before, and the instance, set up anew, which waits.
    house.database.sql(&format!(
        "insert into computer (account_id, accepted, title, hostname) values (1, true, 'old', 'old'); \
         insert into computer (account_id, accepted, title, hostname, hostagent_uid, wsl_instance_id) \
         values (1, false, 'Ubuntu', 'new', '{uid}', 'Ubuntu')"
    ));
    let number = |title: &str| -> i64 {
        let sql = format!("select id from computer where title = '{title}'");
        house.database.sql(&sql).parse().expect("a number")
    };
    let (old, new) = (number("old"), number("Ubuntu"));
    let child = async || {
        let path = format!("/computers/{uid}/children");
        described.get(&rest, &path).await.1["children"][0]["computer_id"].clone()
    };
    assert_eq!(child().await, json!(new));
    let body = json!({"computer_ids": [new], "existing_ids": {new.to_string(): old}});
    let path = "/pending-computers/accept";
    let (status, answer) = described.post(&rest, path, &body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(child().await, json!(old));
}
