//! Do programs find WSL hosts behind the edge, and does what they order reach the host and come back?

use e2e::hostagent::{Cmd, Install, Instance, Named, Nothing};
use e2e::person::EMAIL;
use e2e::{
    AccessKey, Agent, Broker, Database, Gateway, HostAgent, Raw, Rest, Service, Way, eventually,
    free_range,
};
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
    let id = host["uid"].as_str().expect("an identity");
    assert_eq!(id, agent.info.uid);
    let path = format!("/computers/wsl-hosts/{id}");
    let (_, whole) = described.get(&rest, &path).await;
    let (_, children) = described
        .get(&rest, &format!("/computers/{id}/children"))
        .await;
    assert_eq!(whole["instances"], children["children"]);
    assert_eq!(whole["children"], json!([]), "none has registered");
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
        (whole["instances"][0]["is_running"] == true && whole["num_running"] == 1).then_some(())
    })
    .await;

    // An instance is installed with its first configuration, which comes in base64, and two go.
    let children = format!("/computers/{id}/children");
    let body = json!({"computer_name": "Ubuntu-24.04", "cloud_init": "I2Nsb3Vk\nLWNvbmZpZwo=\n",
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

    // In pages, the last one first.
    let (_, page) = described.get(&rest, &format!("{orders}?limit=2")).await;
    assert_eq!(
        (&page["count"], &page["results"][0]["request_id"]),
        (&json!(5), &json!(command.request_id))
    );
    let next = page["next"].as_str().expect("more");
    let next = next.strip_prefix("https://edge.test/api/v2");
    let (_, page) = described.get(&rest, next.expect("of this site")).await;
    let what: Vec<&Value> = [0_usize, 1]
        .map(|at| &page["results"][at]["instance"])
        .into();
    assert_eq!(what, [&json!("Ubuntu"), &json!("Ubuntu-24.04")]);
    assert!(page["next"].is_string() && page["previous"].is_string());
}

#[tokio::test]
async fn a_host_that_waits_is_accepted_and_forgotten_by_those_who_may() {
    let house = House::start().await;
    let described = Described::behind(&house.gateway).await;
    let rest = Rest::log_in(&house.gateway, EMAIL).await;
    let mut agent = house.host("stranger", None).await;
    let host = seen(&rest, &described, "stranger", true).await;
    assert_eq!(host["accepted"], false);
    let id = host["uid"].as_str().expect("an identity");
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

/// A computer registers with what a host agent wrote into its configuration; its number.
async fn registered(house: &House, way: &Way<'_>, title: &str, says: &[(&str, &str)]) -> i64 {
    let mut agent = Agent::new(title);
    let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    agent.says = says.iter().map(owned).collect();
    agent.set_up(way, Some("right")).await;
    let sql = format!("select id from computer where accepted and title = '{title}'");
    house.database.sql(&sql).parse().expect("a number")
}

/// The titles of a list, and how many it says there are.
async fn titles(rest: &Rest<'_>, described: &Described, switches: &str) -> (i64, String) {
    let (status, page) = described.get(rest, &format!("/computers?{switches}")).await;
    assert_eq!(status, 200, "{switches}: {page}");
    let results = page["results"].as_array().expect("results").iter();
    let titles: Vec<&str> = results
        .map(|one| one["title"].as_str().expect("a title"))
        .collect();
    (page["count"].as_i64().expect("a count"), titles.join(" "))
}

/// A host with an instance that its order installed, one that it did not, and two computers that live nowhere here.
struct Family {
    house: House,
    _messages: Service,
    agent: HostAgent,
    host: i64,
    installed: i64,
    by_hand: i64,
    stray: i64,
    server: i64,
}

impl Family {
    async fn there() -> Family {
        let house = House::start().await;
        let messages = Service::at("message-server", &house.database, free_range(1), &[]);
        let way = Way::Port(messages.port());
        let described = Described::behind(&house.gateway).await;
        let rest = Rest::log_in(&house.gateway, EMAIL).await;
        let mut agent = house.host("laptop", Some("right")).await;
        let host = seen(&rest, &described, "laptop", true).await;
        let number = host["id"].as_i64().expect("a number");
        let body = json!({"computer_name": "Ubuntu-24.04"});
        let path = format!("/computers/{number}/children");
        let (status, order) = described.post(&rest, &path, &body).await;
        assert_eq!(status, 201, "{order}");
        let command = agent.command().await.expect("an order");
        let uid = agent.info.uid.clone();
        let on_it = ("hostagent_uid", uid.as_str());
        let by_order = [on_it, ("installation_request_id", &command.request_id)];
        let elsewhere = [("hostagent_uid", "5f0f3c4e-0000-4000-8000-000000000000")];
        let installed = registered(&house, &way, "dev", &by_order).await;
        let by_hand = registered(&house, &way, "scratch", &[on_it]).await;
        let stray = registered(&house, &way, "stray", &elsewhere).await;
        let server = registered(&house, &way, "server", &[]).await;
        agent.info.default_instance_id = Some("Ubuntu-24.04".to_owned());
        agent.info.instances.push(Instance {
            id: "Ubuntu-24.04".to_owned(),
            name: "Ubuntu 24.04".to_owned(),
            version_id: "24.04".to_owned(),
            state: 1,
        });
        agent.tell().await;
        eventually("the host has told of its instance", || async {
            let (_, told) = described.get(&rest, &format!("/computers/{number}")).await;
            (told["num_child"] == 2 && told["default_child"] == "Ubuntu-24.04").then_some(())
        })
        .await;
        Family {
            house,
            _messages: messages,
            agent,
            host: number,
            installed,
            by_hand,
            stray,
            server,
        }
    }
}

#[tokio::test]
async fn a_host_is_the_parent_of_the_computers_that_registered_on_it() {
    let family = Family::there().await;
    let gateway = &family.house.gateway;
    let described = Described::behind(gateway).await;
    let rest = Rest::log_in(gateway, EMAIL).await;
    let computer = async |id: i64| {
        let (status, told) = described.get(&rest, &format!("/computers/{id}")).await;
        assert_eq!(status, 200, "{told}");
        told
    };
    let host = computer(family.host).await;
    let children = |host: &Value| -> Value {
        let all = host["children"].as_array().expect("children").iter();
        all.map(|one| json!([one["id"], one["title"], one["is_default_child"]]))
            .collect()
    };
    let expected = json!([
        [family.installed, "dev", true],
        [family.by_hand, "scratch", null]
    ]);
    assert_eq!(children(&host), expected, "{host}");
    assert_eq!(
        (
            &host["title"],
            &host["parent"],
            &host["is_wsl_instance"],
            &host["is_default_child"]
        ),
        (&json!("laptop"), &Value::Null, &json!(false), &Value::Null)
    );
    for path in [
        format!("/computers?query=id:{}", family.host),
        "/computers/wsl-hosts".to_owned(),
    ] {
        let (_, page) = described.get(&rest, &path).await;
        assert_eq!(page["results"][0]["children"], host["children"], "{path}");
        assert_eq!(page["results"][0]["id"], family.host, "{path}");
    }
    // A path names a host by its number or its own identity.
    let by_number = format!("/computers/wsl-hosts/{}", family.host);
    let by_identity = format!("/computers/wsl-hosts/{}", family.agent.info.uid);
    let (_, whole) = described.get(&rest, &by_number).await;
    assert_eq!(whole, described.get(&rest, &by_identity).await.1);
    assert_eq!(whole["uid"], family.agent.info.uid);
    assert_eq!(whole["instances"][1]["computer_id"], family.installed);

    for (id, parent, default, instance) in [
        (family.installed, json!(family.host), json!(true), true),
        (family.by_hand, json!(family.host), Value::Null, true),
        // Nobody knows the host that it names.
        (family.stray, Value::Null, Value::Null, true),
        (family.server, Value::Null, Value::Null, false),
    ] {
        let told = computer(id).await;
        assert_eq!(told["parent"]["id"], parent, "{told}");
        assert_eq!(told["is_default_child"], default, "{told}");
        assert_eq!(told["is_wsl_instance"], instance, "{told}");
        assert_eq!(
            (&told["children"], &told["num_child"]),
            (&json!([]), &json!(0))
        );
    }
    // Another default instance.
    let (mut agent, installed) = (family.agent, family.installed);
    agent.info.default_instance_id = Some("Ubuntu".to_owned());
    agent.tell().await;
    eventually("it is the default no more", || async {
        let (_, told) = described
            .get(&rest, &format!("/computers/{}", installed))
            .await;
        (told["is_default_child"] == false && told["parent"]["default_child"] == "Ubuntu")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn lists_hold_roots_of_families_or_whichever_members_are_asked_for() {
    let family = Family::there().await;
    let gateway = &family.house.gateway;
    let described = Described::behind(gateway).await;
    let rest = Rest::log_in(gateway, EMAIL).await;
    for (switches, expected) in [
        ("", "laptop server stray"),
        ("root_only=true", "laptop server stray"),
        ("root_only=false", "dev laptop scratch server stray"),
        (
            "root_only=False&wsl_parents=false",
            "dev laptop scratch server stray",
        ),
        ("wsl_parents=true", "laptop"),
        ("wsl_parents=true&root_only=false", "laptop"),
        ("wsl_children=true&root_only=false", "dev scratch stray"),
        (
            "wsl_children=true&wsl_parents=true&root_only=false",
            "dev laptop scratch stray",
        ),
        // Conditions are of hosts, too.
        ("query=lap", "laptop"),
        (
            "query=title:laptop+hostname:laptop+access-group:global",
            "laptop",
        ),
        ("query=NOT+lap", "server stray"),
        ("query=lap+tag:blue", ""),
        (
            "query=lap+OR+tag:blue&root_only=false",
            "dev laptop scratch server stray",
        ),
        ("query=alert:computer-offline&root_only=false", ""),
        ("query=dev", ""),
        ("query=dev&root_only=false", "dev"),
    ] {
        let told = titles(&rest, &described, switches).await;
        let count = expected.split_whitespace().count();
        assert_eq!(
            told,
            (count.try_into().expect("few"), expected.to_owned()),
            "{switches}"
        );
    }
    // In pages, across both.
    let (_, page) = described
        .get(&rest, "/computers?root_only=false&limit=2&offset=1")
        .await;
    assert_eq!(
        (&page["count"], &page["results"][0]["title"]),
        (&json!(5), &json!("laptop"))
    );
    assert_eq!(page["results"][1]["parent"]["id"], family.host);
    assert!(
        page["next"]
            .as_str()
            .expect("more")
            .contains("root%5Fonly=false"),
        "{page}"
    );
    for (wrong, told) in [
        ("wsl_children=true", "`root_only=false`"),
        ("wsl_children=true&wsl_parents=true", "`root_only=false`"),
        ("root_only=1", "`root_only` is true or false, not `1`"),
        ("wsl_parents=yes", "`wsl_parents` is true or false"),
    ] {
        let (status, answer) = described.get(&rest, &format!("/computers?{wrong}")).await;
        assert_eq!(
            (status, &answer["error"]),
            (400, &json!("InvalidParameter")),
            "{wrong}"
        );
        assert!(
            answer["message"].as_str().expect("text").contains(told),
            "{answer}"
        );
    }

    // The older form knows computers alone, whoever's children they are.
    let key = AccessKey::of(&family.house.database, &[], EMAIL);
    let (status, list) = key.call(gateway, "GetComputers", &[]).await;
    assert_eq!(status, 200, "{list}");
    let list = list.as_array().expect("a list").iter();
    let list: Vec<&str> = list
        .map(|one| one["title"].as_str().expect("a title"))
        .collect();
    assert_eq!(list, ["dev", "scratch", "server", "stray"]);

    // A host that went is an alert after a while.
    let offline = "/computers?query=alert:computer-offline&with_alerts=true&wsl_parents=true";
    let (_, page) = described
        .get(&rest, "/computers?wsl_parents=true&with_alerts=true")
        .await;
    assert_eq!(page["results"][0]["alerts"], json!([]));
    family
        .house
        .database
        .sql("update wsl_host set stream = null, disconnected_at = now() - interval '6 minutes'");
    let (_, page) = described.get(&rest, offline).await;
    assert_eq!(
        page["results"][0]["alerts"][0]["type"], "ComputerOfflineAlert",
        "{page}"
    );
    // One that is not accepted, or not any more, is nobody's parent.
    family
        .house
        .database
        .sql("update wsl_host set accepted = false");
    let told = titles(&rest, &described, "").await;
    assert_eq!(told, (4, "dev scratch server stray".to_owned()));
    let (_, told) = described
        .get(&rest, &format!("/computers/{}", family.installed))
        .await;
    assert_eq!(told["parent"], Value::Null);
}

#[tokio::test]
async fn nobody_sees_a_family_of_another_account_or_puts_a_computer_into_one() {
    let family = Family::there().await;
    let (house, gateway) = (&family.house, &family.house.gateway);
    house.database.schema(&[], &["account", "acme"], "");
    house
        .database
        .person_of("acme", "eve@edge.test", "administrator");
    // Of another account, and says that it lives on the host.
    house.database.sql(
        "update computer set account_id = (select id from account where name = 'acme') \
         where title = 'scratch'",
    );
    let described = Described::behind(gateway).await;
    let ada = Rest::log_in(gateway, EMAIL).await;
    let eve = Rest::log_in(gateway, "eve@edge.test").await;
    let (_, host) = described
        .get(&ada, &format!("/computers/{}", family.host))
        .await;
    assert_eq!(host["children"].as_array().map(Vec::len), Some(1), "{host}");
    assert_eq!(host["children"][0]["id"], family.installed);
    let told = titles(&eve, &described, "root_only=false").await;
    assert_eq!(told, (1, "scratch".to_owned()));
    let (_, hers) = described
        .get(&eve, &format!("/computers/{}", family.by_hand))
        .await;
    assert_eq!(
        (&hers["parent"], &hers["title"]),
        (&Value::Null, &json!("scratch"))
    );
    let number = family.host;
    for path in [
        format!("/computers/{number}"),
        format!("/computers/{number}/children"),
        format!("/computers/wsl-hosts/{number}"),
        format!("/computers/wsl-hosts/{number}/orders"),
    ] {
        assert_eq!(described.get(&eve, &path).await.0, 404, "{path}");
    }
    let before = house.database.sql("select count(*) from wsl_command");
    for (path, body) in [
        (
            format!("/computers/{number}/children"),
            json!({"computer_name": "a"}),
        ),
        (
            format!("/computers/{number}/delete-children"),
            json!({"computer_names": ["Ubuntu"]}),
        ),
        (
            format!("/computers/wsl-hosts/{number}/orders"),
            json!({"order": "shutdown_host"}),
        ),
        (format!("/computers/wsl-hosts/{number}/accept"), json!({})),
    ] {
        let (status, answer) = described.post(&eve, &path, &body).await;
        assert_eq!(status, 404, "{path}: {answer}");
    }
    let path = format!("/computers/wsl-hosts/{number}");
    assert_eq!(eve.ask("DELETE", &path, Some(&json!({}))).await.0, 404);
    let after = house.database.sql("select count(*) from wsl_command");
    assert_eq!(
        (after, house.database.sql("select count(*) from wsl_host")),
        (before, "1".to_owned())
    );
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
