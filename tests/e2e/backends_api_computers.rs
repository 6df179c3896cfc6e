//! Do programs find the computers that they mean, with what they ask of them, over both forms of the API?

use std::collections::BTreeSet;

use e2e::bpickle::{Pickle, d, l, u};
use e2e::house::network;
use e2e::person::EMAIL;
use e2e::{AccessKey, Agent, House, Rest};
use serde_json::{Value, json};

use crate::backends_api::Described;

/// What `lshw` tells of a small machine.
const LSHW: &str = r#"<?xml version="1.0" standalone="yes" ?>
<list><node id="web-1" class="system"><description>Computer</description><product>Box</product><vendor>Maker &amp; Sons</vendor>
 <node id="core" class="bus">
  <node id="memory" class="memory"><size units="bytes">2147483648</size></node>
  <node id="cpu" class="processor"><product>Fast One</product><width units="bits">64</width></node>
  <node id="network" class="network"><serial>02:fc:00:00:00:01</serial></node>
 </node></node></list>"#;

/// Two computers: `web-1` has something of everything, `db` tells nothing and pings no more.
struct Two {
    house: House,
    key: AccessKey,
    web: (Agent, i64),
    db: i64,
}

impl Two {
    async fn there() -> Two {
        let house = House::start().await;
        let key = AccessKey::of(&house.database, &house.settings(), EMAIL);
        let (mut agent, web) = house.computer("web-1").await;
        let (_, db) = house.computer("db").await;
        agent.report(network("192.0.2.77"));
        agent.report(d([("data", u(LSHW)), ("type", u("hardware-info"))]));
        agent.report(d([
            ("flag", Pickle::Bool(true)),
            ("packages", l([u("linux")])),
            ("type", u("reboot-required-info")),
        ]));
        agent.report(d([
            ("code-name", u("jammy")),
            ("description", u("Ubuntu 22.04.5 LTS")),
            ("distributor-id", u("Ubuntu")),
            ("release", u("22.04")),
            ("type", u("distribution-info")),
        ]));
        agent.exchange(&house.way()).await.expect("an exchange");
        // `bye` has two newer versions, one of which mends a weakness; `kept` has one.
        house.database.sql(&format!(
            "insert into package (hash, kind, name, version, section, summary, description) \
                 select sha1, 65537, name, version, '', '', '' from (values \
                     ('bye', '1.0', 1), ('bye', '1.1', 2), ('bye', '1.2', 3), ('kept', '2', 4)) \
                     as told (name, version, place), \
                     lateral (select decode(lpad(place::text, 40, '0'), 'hex') as sha1) hash \
                 order by place; \
             insert into computer_packages (computer_id, installed, upgrades, security, reported_at) \
                 select {web}, int8multirange(int8range(min(id), min(id), '[]')), \
                     int8multirange(int8range(min(id) + 1, max(id), '[]')), \
                     int8multirange(int8range(min(id) + 1, min(id) + 1, '[]')), now() from package; \
             insert into package_report values ({web}, 100, 'apt is broken', now()); \
             insert into computer_annotation values ({web}, 'room', 'B 7'); \
             insert into computer_tag values ({web}, 'server'); \
             update computer set access_group = 'lab' where id = {web}; \
             insert into computer_ping values ({db}, now() - interval '1 hour') \
                 on conflict (computer_id) do update set last_at = excluded.last_at"
        ));
        Two {
            key,
            web: (agent, web),
            db,
            house,
        }
    }

    async fn signed(&self, action: &str, arguments: &[(&str, &str)]) -> (u16, Value) {
        self.key.call(&self.house.gateway, action, arguments).await
    }
}

/// The titles of computers.
fn titles(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().expect("a list").iter();
    list.map(|one| one["title"].as_str().expect("a title").to_owned())
        .collect()
}

#[tokio::test]
async fn every_term_of_a_query_is_true_of_those_that_it_says_and_of_no_others() {
    let two = Two::there().await;
    let described = Described::behind(&two.house.gateway).await;
    let rest = two.house.rest().await;
    let (web, db) = (two.web.1, two.db);
    let all = ["db", "web-1"];
    let cases: &[(&str, &[&str])] = &[
        ("", &all),
        ("web", &["web-1"]),
        ("WEB-1.TEST", &["web-1"]),
        ("test", &all),
        ("tag:server", &["web-1"]),
        ("tag:serve", &[]),
        ("tag:blue", &all),
        ("distribution:jammy", &["web-1"]),
        ("distribution:22.04", &["web-1"]),
        ("distribution:22", &[]),
        ("hostname:web-1.test", &["web-1"]),
        ("hostname:db", &["db"]),
        ("hostname:test", &[]),
        ("title:db", &["db"]),
        ("title:d", &[]),
        ("access-group:lab", &["web-1"]),
        ("access-group:global", &["db"]),
        (&format!("id:{web}"), &["web-1"]),
        (&format!("id:{db} OR id:{web}"), &all),
        ("id:0", &[]),
        ("mac:02:fc:00:00:00:01", &["web-1"]),
        ("mac:02:FC", &["web-1"]),
        ("mac:00:00:01", &["web-1"]),
        ("mac:02:fc:00:00:00:02", &[]),
        ("ip:192.0.2.77", &["web-1"]),
        ("ip:0.2.7", &["web-1"]),
        ("ip:192.0.3", &[]),
        ("ip:0.0.0.0", &[]),
        ("needs:reboot", &["web-1"]),
        ("needs:license", &[]),
        ("license-id:none", &[]),
        ("license-id:7", &[]),
        ("alert:package-upgrades", &["web-1"]),
        ("alert:security-upgrades", &["web-1"]),
        ("alert:package-reporter", &["web-1"]),
        ("alert:package-profiles", &[]),
        ("alert:computer-offline", &["db"]),
        ("alert:computer-reboot", &["web-1"]),
        ("annotation:room", &["web-1"]),
        ("annotation:room:b", &["web-1"]),
        ("annotation:room:c", &[]),
        ("annotation:roo", &[]),
        ("\"tag:server\"", &[]),
        ("title:\"db\"", &["db"]),
        // OR binds closer than standing side by side.
        ("web tag:server OR title:db", &["web-1"]),
        ("title:db OR tag:server tag:blue", &all),
        ("NOT tag:server OR title:web-1", &all),
        ("NOT NOT tag:server", &["web-1"]),
        ("%", &[]),
        ("'; drop table computer; --", &[]),
    ];
    let asked = async |query: &str| -> BTreeSet<String> {
        let (status, list) = two.signed("GetComputers", &[("query", query)]).await;
        assert_eq!(status, 200, "{query}: {list}");
        let path = format!("/computers?query={}", e2e::person::escaped(query));
        let (status, page) = described.get(&rest, &path).await;
        assert_eq!(status, 200, "{query}: {page}");
        let found = titles(&list);
        assert_eq!(
            titles(&page["results"]),
            found,
            "{query}: both forms say the same"
        );
        assert_eq!(page["count"], found.len(), "{query}");
        found
    };
    for (query, expected) in cases {
        let expected: BTreeSet<String> = expected.iter().map(|one| (*one).to_owned()).collect();
        assert_eq!(asked(query).await, expected, "{query}");
        // A term alone and its contrary are all there are.
        if !query.is_empty() && !query.contains([' ', '"']) {
            let others = asked(&format!("NOT {query}")).await;
            let everybody: BTreeSet<String> = all.map(str::to_owned).into();
            assert!(others.is_disjoint(&expected), "NOT {query}");
            assert_eq!(&others | &expected, everybody, "NOT {query}");
        }
    }
    for wrong in [
        "alert:fire",
        "search:mine",
        "colour:red",
        "id:x",
        "needs:tea",
        "\"",
        "OR",
    ] {
        let (status, answer) = two.signed("GetComputers", &[("query", wrong)]).await;
        assert_eq!(
            (status, &answer["error"]),
            (400, &json!("InvalidQuery")),
            "{wrong}"
        );
        let path = format!("/computers?query={}", e2e::person::escaped(wrong));
        let (status, answer) = described.get(&rest, &path).await;
        assert_eq!(
            (status, &answer["error"]),
            (400, &json!("InvalidQuery")),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn words_are_found_in_whatever_letters_they_are_written() {
    let two = Two::there().await;
    let described = Described::behind(&two.house.gateway).await;
    let rest = two.house.rest().await;
    let title = "\u{dc}berwachung B\u{fc}cherei";
    let renamed = format!("computer_titles.{}", two.db);
    let (status, _) = two.signed("RenameComputers", &[(&renamed, title)]).await;
    assert_eq!(status, 200);
    let annotation = [
        ("query", "title:web-1"),
        ("key", "Ort"),
        ("value", "K\u{d6}LN"),
    ];
    assert_eq!(
        two.signed("AddAnnotationToComputers", &annotation).await.0,
        200
    );
    for (query, found) in [
        ("\u{dc}berwachung", title),
        ("\"\u{dc}BER\" b\u{fc}CHEREI", title),
        ("\u{dc}BERWACHUNG", title),
        ("b\u{fc}cher", title),
        ("annotation:Ort:\u{d6}", "web-1"),
        ("annotation:Ort:k\u{d6}ln", "web-1"),
    ] {
        let path = format!("/computers?query={}", e2e::person::escaped(query));
        let (_, page) = described.get(&rest, &path).await;
        let expected: BTreeSet<String> = [found.to_owned()].into();
        assert_eq!(titles(&page["results"]), expected, "{query}");
    }
    let script = json!({"title": "Pr\u{fc}fung \u{c4}", "code": "#!/bin/sh\nid\n"});
    let (_, script) = described.post(&rest, "/scripts", &script).await;
    let path = format!("/scripts/{}/execute", script["id"]);
    described
        .post(&rest, &path, &json!({"computer_ids": [two.web.1]}))
        .await;
    let path = format!(
        "/activities?query={}",
        e2e::person::escaped("pr\u{fc}FUNG \u{c4}")
    );
    let (_, page) = described.get(&rest, &path).await;
    assert_eq!(page["count"], 2, "the group and its child: {page}");
}

#[tokio::test]
async fn what_is_asked_of_computers_beyond_the_usual_is_told() {
    let two = Two::there().await;
    let described = Described::behind(&two.house.gateway).await;
    let rest = two.house.rest().await;
    let one = async |title: &str, switches: &str| {
        let path = format!("/computers?query=title:{title}&{switches}");
        let (status, page) = described.get(&rest, &path).await;
        assert_eq!(status, 200, "{page}");
        let id = &page["results"][0]["id"];
        let (status, alone) = described
            .get(&rest, &format!("/computers/{id}?{switches}"))
            .await;
        assert_eq!(status, 200, "{alone}");
        let listed = page["results"][0].clone();
        // Alone it tells the same, and more.
        for (field, value) in listed.as_object().expect("an object") {
            assert_eq!(&alone[field], value, "{field}");
        }
        listed
    };
    let bare = one("web-1", "").await;
    for field in [
        "alerts",
        "upgrades",
        "grouped_hardware",
        "hardware",
        "annotations",
        "network_devices",
    ] {
        assert_eq!(bare.get(field), None, "{field} was not asked for");
        assert_eq!(
            one("web-1", &format!("with_{field}=false")).await,
            bare,
            "{field}"
        );
    }

    let told = one("web-1", "with_alerts=true").await;
    let alerts = told["alerts"].as_array().expect("alerts").iter();
    let alerts: Vec<(&str, &str)> = alerts
        .map(|one| {
            (
                one["type"].as_str().expect("text"),
                one["severity"].as_str().expect("text"),
            )
        })
        .collect();
    assert_eq!(
        alerts,
        [
            ("PackageUpgradesAlert", "info"),
            ("SecurityUpgradesAlert", "danger"),
            ("PackageReporterAlert", "danger"),
            ("ComputerRebootAlert", "warning"),
        ]
    );
    let told = one("db", "with_alerts=true").await;
    assert_eq!(told["alerts"].as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!(told["alerts"][0]["type"], "ComputerOfflineAlert");

    // And of all of them at once, of an account.
    let (status, all) = described.get(&rest, "/alerts").await;
    let states: Vec<(&str, &str)> = all
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| {
            (
                one["label"].as_str().expect("text"),
                one["status"].as_str().expect("text"),
            )
        })
        .collect();
    assert_eq!((status, states.len()), (200, 5), "{all}");
    assert!(
        states.iter().all(|(_, status)| *status == "Alerted"),
        "{states:?}"
    );
    let active = async |rest: &Rest<'_>| {
        let (status, told) = described.get(rest, "/alerts/summary").await;
        assert_eq!(status, 200, "{told}");
        let all = told["alerts_summary"].as_array().expect("a list").clone();
        all.iter()
            .map(|one| format!("{} {}", one["alert_type"], one["computer_count"]))
            .collect::<Vec<_>>()
            .join(", ")
            .replace('"', "")
    };
    assert_eq!(
        active(&rest).await,
        "PackageUpgradesAlert 1, SecurityUpgradesAlert 1, PackageReporterAlert 1, \
         ComputerOfflineAlert 1, ComputerRebootAlert 1"
    );
    two.house.database.schema(&[], &["account", "acme"], "");
    two.house
        .database
        .person_of("acme", "eve@edge.test", "viewer");
    let eve = Rest::log_in(&two.house.gateway, "eve@edge.test").await;
    assert_eq!(active(&eve).await, "", "nothing of another account");
    let (_, hers) = described.get(&eve, "/alerts").await;
    assert!(!hers.to_string().contains("Alerted"), "{hers}");

    // A package counts once, however many newer versions there are.
    let told = one("web-1", "with_upgrades=TRUE").await;
    assert_eq!(told["upgrades"], json!({"regular": 1, "security": 1}));
    assert_eq!(
        one("db", "with_upgrades=true").await["upgrades"],
        Value::Null
    );
    two.house
        .database
        .sql("update computer_packages set upgrades = '{}'");
    let told = one("web-1", "with_upgrades=true").await;
    assert_eq!(told["upgrades"], json!({"regular": 0, "security": 0}));

    let told = one("web-1", "with_grouped_hardware=true&with_hardware=true").await;
    let grouped = &told["grouped_hardware"];
    assert_eq!(
        (
            &grouped["cpu"][0]["model"],
            &grouped["memory"]["size"],
            &grouped["system"]["vendor"]
        ),
        (&json!("Fast One"), &json!("2 GiB"), &json!("Maker & Sons"))
    );
    assert_eq!(grouped["network"][0]["mac"], "02:fc:00:00:00:01");
    assert_eq!(told["hardware"], LSHW);
    assert_eq!(
        one("db", "with_grouped_hardware=true").await["grouped_hardware"],
        Value::Null
    );
    two.house
        .database
        .sql("update computer set hardware_info = '<list><node>'");
    let told = one("web-1", "with_grouped_hardware=true").await;
    assert_eq!(told["grouped_hardware"], Value::Null, "it cannot be read");

    let told = one("web-1", "with_all_network=true&with_annotations=true").await;
    assert_eq!(told["network_devices"][0]["ip_address"], "192.0.2.77");
    assert_eq!(told["annotations"], json!({"room": "B 7"}));
    let (_, page) = described.get(&rest, "/computers?archived_only=true").await;
    assert_eq!(page["count"], 0);
}

/// The codes of several mistakes that are told at once, in their order.
fn codes(answer: &Value) -> Vec<String> {
    assert_eq!(answer["error"], "MultiError", "{answer}");
    let errors = answer["errors"].as_array().expect("errors").iter();
    errors
        .map(|one| {
            assert_eq!(one.as_object().map(serde_json::Map::len), Some(2), "{one}");
            let whole = answer["message"].as_str().expect("text");
            assert!(
                whole.contains(one["message"].as_str().expect("text")),
                "{whole}"
            );
            one["error"].as_str().expect("a code").to_owned()
        })
        .collect()
}

#[tokio::test]
async fn a_switch_is_on_or_off_and_nothing_else() {
    let two = Two::there().await;
    let (described, rest) = (
        Described::behind(&two.house.gateway).await,
        two.house.rest().await,
    );
    for switch in [
        "with_network",
        "with_all_network",
        "with_hardware",
        "with_annotations",
        "with_grouped_hardware",
        "with_alerts",
        "with_upgrades",
        "archived_only",
        "root_only",
        "wsl_parents",
        "wsl_children",
    ] {
        let (status, answer) = described
            .get(&rest, &format!("/computers?{switch}=2"))
            .await;
        assert_eq!(
            (status, &answer["error"]),
            (400, &json!("InvalidParameter")),
            "{switch}"
        );
        let told = format!("`{switch}` is true or false, not `2`");
        assert_eq!(answer["message"], told, "{switch}");
    }
}

#[tokio::test]
async fn several_mistakes_of_one_call_are_told_at_once() {
    let two = Two::there().await;
    let (described, rest) = (
        Described::behind(&two.house.gateway).await,
        two.house.rest().await,
    );
    let wrong = "/computers?limit=0&offset=x&query=colour:red&with_alerts=yes&root_only=no";
    let (status, answer) = described.get(&rest, wrong).await;
    assert_eq!(status, 400, "{answer}");
    let expected = [
        "InvalidParameter",
        "InvalidParameter",
        "InvalidQuery",
        "InvalidParameter",
        "InvalidParameter",
    ];
    assert_eq!(codes(&answer), expected);

    for (path, body, expected) in [
        (
            "/login",
            json!({}),
            vec!["MissingParameter", "MissingParameter"],
        ),
        (
            "/login/access-key",
            json!({"expiry_minutes": 0}),
            vec!["MissingParameter", "MissingParameter", "InvalidParameter"],
        ),
        (
            "/scripts",
            json!({"title": 7, "time_limit": "x"}),
            vec!["InvalidParameter", "MissingParameter", "InvalidParameter"],
        ),
        (
            "/packages/install",
            json!({"deliver_after": "soon", "deliver_delay_window": -1}),
            vec!["InvalidTime", "InvalidParameter", "MissingParameter"],
        ),
        (
            "/pending-computers/accept",
            json!({"existing_ids": [1]}),
            vec!["MissingParameter", "InvalidParameter"],
        ),
        (
            &format!("/computers/{}/restart", two.web.1),
            json!({"deliver_after": 5, "deliver_delay_window": 99_999}),
            vec!["InvalidParameter", "InvalidParameter"],
        ),
    ] {
        let (status, answer) = described.post(&rest, path, &body).await;
        assert_eq!(status, 400, "{path}: {answer}");
        assert_eq!(codes(&answer), expected, "{path}");
    }
    let orders = "select count(*) from activity";
    assert_eq!(two.house.database.sql(orders), "0", "nothing was ordered");
}

#[tokio::test]
async fn several_mistakes_of_one_signed_call_are_told_at_once() {
    let two = Two::there().await;
    for (action, arguments, expected) in [
        (
            "GetComputers",
            vec![
                ("limit", "x"),
                ("offset", "-1"),
                ("query", "\""),
                ("with_network", "2"),
            ],
            vec![
                "InvalidQuery",
                "InvalidParameter",
                "InvalidParameter",
                "InvalidParameter",
            ],
        ),
        (
            "AddTagsToComputers",
            vec![("tags.1", "a b"), ("tags.2", "c,d")],
            vec!["MissingParameter", "InvalidTag", "InvalidTag"],
        ),
        (
            "RebootComputers",
            vec![("computer_ids.1", "x"), ("deliver_after", "soon")],
            vec!["InvalidParameter", "InvalidTime"],
        ),
        (
            "ExecuteScript",
            vec![("deliver_after", "soon"), ("script_id", "x")],
            vec!["MissingParameter", "InvalidTime", "InvalidParameter"],
        ),
        (
            "CreateScript",
            vec![("code", "!"), ("time_limit", "0")],
            vec!["MissingParameter", "ScriptEncoding", "InvalidParameter"],
        ),
        (
            "UpgradePackages",
            vec![
                ("security_only", "2"),
                ("deliver_after", "x"),
                ("deliver_delay_window", "x"),
            ],
            vec![
                "MissingParameter",
                "InvalidParameter",
                "InvalidTime",
                "InvalidParameter",
            ],
        ),
        (
            "GetPackages",
            vec![("held", "2"), ("names", "a")],
            vec!["MissingParameter", "InvalidParameter", "InvalidParameter"],
        ),
    ] {
        let (status, answer) = two.signed(action, &arguments).await;
        assert_eq!(status, 400, "{action}: {answer}");
        assert_eq!(codes(&answer), expected, "{action}");
    }
    // Whoever signs nothing is told all that a signature needs.
    let call = e2e::person::Signed::new(&two.house.gateway, "GetComputers", &[]);
    let bare = "action=GetComputers&version=2011-08-01";
    let (status, answer) = call.post(&two.house.gateway, bare).await;
    assert_eq!((status, codes(&answer).len()), (400, 5), "{answer}");
    let orders = "select count(*) from activity";
    assert_eq!(two.house.database.sql(orders), "0", "nothing was ordered");
}

#[tokio::test]
async fn signed_calls_list_computers_in_parts_with_what_is_asked_for() {
    let two = Two::there().await;
    for number in 0..3 {
        two.house.computer(&format!("node-{number}")).await;
    }
    let list = async |arguments: &[(&str, &str)]| {
        let (status, list) = two.signed("GetComputers", arguments).await;
        assert_eq!(status, 200, "{arguments:?}: {list}");
        list
    };
    let in_order = |list: &Value| -> Vec<String> {
        let list = list.as_array().expect("a list").iter();
        list.map(|one| one["title"].as_str().expect("a title").to_owned())
            .collect()
    };
    let all = ["db", "node-0", "node-1", "node-2", "web-1"];
    for (arguments, expected) in [
        (vec![], &all[..]),
        (vec![("limit", "2")], &all[..2]),
        (vec![("limit", "2"), ("offset", "2")], &all[2..4]),
        (vec![("offset", "4")], &all[4..]),
        (vec![("offset", "5")], &[]),
        (vec![("limit", "5000")], &all[..]),
        (vec![("limit", ""), ("offset", "")], &all[..]),
        (
            vec![("query", "node"), ("limit", "1"), ("offset", "1")],
            &all[2..3],
        ),
    ] {
        assert_eq!(in_order(&list(&arguments).await), expected, "{arguments:?}");
    }
    let web = ("query", "title:web-1");
    let bare = &list(&[web]).await[0];
    let fields: BTreeSet<&str> = bare
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    let expected = [
        "access_group",
        "cloud_instance_metadata",
        "comment",
        "container_info",
        "distribution",
        "hostname",
        "id",
        "last_exchange_time",
        "last_ping_time",
        "reboot_required_flag",
        "tags",
        "title",
        "total_memory",
        "total_swap",
        "update_manager_prompt",
        "vm_info",
    ];
    assert_eq!(fields, expected.into());
    assert_eq!(
        (
            &bare["distribution"],
            &bare["reboot_required_flag"],
            &bare["total_memory"]
        ),
        (&json!("22.04"), &json!(true), &Value::Null)
    );
    let told = &list(&[web, ("with_network", "true")]).await[0];
    assert_eq!(
        told["network_devices"],
        json!([{"interface": "eth0", "ip_address": "192.0.2.77", "mac_address": "02:fc:00:00:00:01",
                "broadcast_address": "192.0.2.255", "netmask": "255.255.255.0"}])
    );
    let told = &list(&[web, ("with_annotations", "True"), ("with_hardware", "true")]).await[0];
    assert_eq!(
        (&told["annotations"], &told["hardware"]),
        (&json!({"room": "B 7"}), &json!(LSHW))
    );
    assert_eq!(told.get("network_devices"), None);
    for switch in ["with_network", "with_annotations", "with_hardware"] {
        let (status, answer) = two.signed("GetComputers", &[(switch, "2")]).await;
        assert_eq!(
            (status, &answer["error"]),
            (400, &json!("InvalidParameter")),
            "{switch}"
        );
        let told = answer["message"].as_str().expect("text");
        assert!(
            told.contains(switch) && told.contains("true or false"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn signed_orders_wait_for_the_time_that_they_name() {
    let two = Two::there().await;
    let id = two.web.1.to_string();
    let code = "IyEvYmluL3NoCmlkCg==";
    let (_, script) = two
        .signed(
            "CreateScript",
            &[("title", "x"), ("time_limit", "60"), ("code", code)],
        )
        .await;
    let script = script["id"].to_string();
    let later = ("deliver_after", "2099-01-01T00:00:00Z");
    let web = ("query", "title:web-1");
    for (action, arguments, window) in [
        ("RebootComputers", vec![("computer_ids.1", id.as_str())], 0),
        (
            "ShutdownComputers",
            vec![("computer_ids.1", id.as_str())],
            0,
        ),
        (
            "ExecuteScript",
            vec![web, ("script_id", script.as_str())],
            0,
        ),
        (
            "RemovePackages",
            vec![web, ("packages.1", "bye"), ("deliver_delay_window", "30")],
            30,
        ),
        (
            "UpgradePackages",
            vec![web, ("packages.1", "kept"), ("deliver_delay_window", "0")],
            0,
        ),
    ] {
        let arguments = [&[later][..], &arguments].concat();
        let (status, group) = two.signed(action, &arguments).await;
        assert_eq!(status, 200, "{action}: {group}");
        assert_eq!(
            (
                &group["activity_status"],
                &group["deliver_delay_window"],
                &group["deliver_after_time"]
            ),
            (
                &json!("scheduled"),
                &json!(window),
                &json!("2099-01-01T00:00:00Z")
            ),
            "{action}"
        );
        let parent = format!("parent-id:{} status:scheduled", group["id"]);
        let (_, children) = two.signed("GetActivities", &[("query", &parent)]).await;
        assert_eq!(
            children.as_array().map(Vec::len),
            Some(1),
            "{action}: {children}"
        );
        let after = children[0]["deliver_after_time"].as_str().expect("a time");
        let within = ("2099-01-01T00:00:00Z"..="2099-01-01T00:30:00Z").contains(&after);
        assert!(
            within && (window > 0 || after == "2099-01-01T00:00:00Z"),
            "{action}: {after}"
        );
    }
    // Nothing of it is delivered before.
    let mut agent = two.web.0;
    agent
        .understands
        .extend(["shutdown", "change-packages"].map(str::to_owned));
    two.house.database.sql(
        "update exchange set client_types = array['shutdown', 'change-packages', 'execute-script']",
    );
    let orders = agent.exchange(&two.house.way()).await.expect("an exchange");
    assert!(
        orders.iter().all(|one| one.at("operation-id").is_none()),
        "{orders:?}"
    );
    // Activities come in parts, too, the latest first.
    let (_, all) = two.key.call(&two.house.gateway, "GetActivities", &[]).await;
    let (_, part) = two
        .key
        .call(
            &two.house.gateway,
            "GetActivities",
            &[("limit", "2"), ("offset", "3")],
        )
        .await;
    assert_eq!(
        part.as_array().expect("a list"),
        &all.as_array().expect("a list")[3..5]
    );
}

#[tokio::test]
async fn all_that_a_query_means_is_taken_back_however_much_it_is() {
    let two = Two::there().await;
    two.house.database.sql(&format!(
        "insert into activity (computer_id, type, summary, fields) \
         select {}, 'shutdown', 'Restart computer', 'd;' from generate_series(1, 1100)",
        two.web.1
    ));
    let query = [("query", "status:undelivered restart")];
    let (status, canceled) = two.signed("CancelActivities", &query).await;
    assert_eq!(
        (status, canceled.as_array().map(Vec::len)),
        (200, Some(1100))
    );
    let states = "select status, count(*) from activity group by 1";
    assert_eq!(two.house.database.sql(states), "canceled|1100");
    // Where it is too much nothing is left out silently.
    two.house.database.sql(&format!(
        "insert into activity (computer_id, type, summary, fields, status) \
         select {}, 'shutdown', 'Restart computer', 'd;', 'succeeded' from generate_series(1, 100001)",
        two.web.1
    ));
    let (status, answer) = two
        .signed("CancelActivities", &[("query", "restart")])
        .await;
    assert_eq!(
        (status, &answer["error"]),
        (400, &json!("InvalidParameter"))
    );
}

#[tokio::test]
async fn a_browser_that_is_signed_in_asks_without_a_token_and_no_other_site_does() {
    let two = Two::there().await;
    let gateway = &two.house.gateway;
    let browser = two.house.browser().await;
    let host = "Origin: https://edge.test";
    let evil = "Origin: https://evil.test";
    let kind = "Content-Type: application/json";
    let ask = async |method: &str, path: &str, fields: &[&str], body: &str| {
        let mut raw = gateway.https().await;
        let fields = [&[browser.cookie.as_str()][..], fields].concat();
        let reply = raw.ask(method, path, &fields, body.as_bytes()).await;
        (
            reply.status(),
            serde_json::from_slice::<Value>(&reply.body).unwrap_or_default(),
        )
    };
    let (status, me) = ask("GET", "/api/v2/person", &[], "").await;
    assert_eq!((status, &me["email"]), (200, &json!(EMAIL)));
    let version = "version=2011-08-01";
    let look = format!("/api/?action=GetComputers&{version}");
    let (status, list) = ask("GET", &look, &[evil], "").await;
    assert_eq!(
        (status, titles(&list).len()),
        (200, 2),
        "who looks changes nothing"
    );

    let restart = format!("/api/v2/computers/{}/restart", two.web.1);
    let form = format!(
        "action=RebootComputers&{version}&computer_ids.1={}",
        two.web.1
    );
    let by_link = format!("/api/?{form}");
    for (method, path, fields, body) in [
        ("POST", restart.as_str(), vec![kind, evil], "{}"),
        (
            "POST",
            &restart,
            vec![kind, "Sec-Fetch-Site: cross-site"],
            "{}",
        ),
        // A program may leave out the type where it sends nothing; another site may not.
        ("POST", &restart, vec![evil], ""),
        ("POST", "/api/", vec![evil], form.as_str()),
        ("POST", "/api/", vec!["Origin: null"], form.as_str()),
        // Under our name, but without TLS: it may be anybody's on the way.
        ("POST", "/api/", vec!["Origin: http://edge.test"], &form),
        ("GET", &by_link, vec![], ""),
        ("GET", &by_link, vec![host], ""),
    ] {
        let (status, answer) = ask(method, path, &fields, body).await;
        assert_eq!(
            (status, &answer["error"]),
            (403, &json!("Unauthorised")),
            "{method} {path} {fields:?}"
        );
    }
    // A browser of old does not say where a form comes from; the form cannot say that it is JSON.
    let form_kind = "Content-Type: application/x-www-form-urlencoded";
    for fields in [vec![], vec![form_kind], vec![form_kind, host]] {
        let (status, answer) = ask("POST", &restart, &fields, "").await;
        assert_eq!(
            (status, &answer["error"]),
            (415, &json!("UnsupportedMediaType")),
            "{fields:?}"
        );
    }
    let (status, answer) = ask("POST", "/api/", &[form_kind], &form).await;
    assert_eq!((status, &answer["error"]), (403, &json!("Unauthorised")));
    assert_eq!(two.house.database.sql("select count(*) from activity"), "0");
    for (path, fields, body) in [
        (restart.as_str(), vec![kind, host], "{}"),
        (&restart, vec![host], ""),
        (&restart, vec!["Sec-Fetch-Site: same-origin"], ""),
        ("/api/", vec![host], form.as_str()),
    ] {
        let (status, answer) = ask("POST", path, &fields, body).await;
        assert_eq!(
            (status, &answer["type"]),
            (200, &json!("ActivityGroup")),
            "{path}: {answer}"
        );
    }
    // Nothing is had that would outlive the session.
    for (path, body) in [
        ("/api/v2/switch-account", r#"{"account": "standalone"}"#),
        ("/api/v2/credentials", "{}"),
    ] {
        let (status, answer) = ask("POST", path, &[kind, host], body).await;
        assert_eq!(
            (status, &answer["error"]),
            (401, &json!("AuthFailure")),
            "{path}"
        );
    }
    // Its role counts, and a session that is over is none.
    two.house.database.sql("update person set role = 'viewer'");
    let (status, answer) = ask("POST", &restart, &[kind, host], "{}").await;
    assert_eq!((status, &answer["error"]), (403, &json!("Unauthorised")));
    two.house
        .database
        .sql("update web_session set expires_at = now()");
    assert_eq!(ask("GET", "/api/v2/person", &[], "").await.0, 401);
    let (status, answer) = ask("GET", &look, &[], "").await;
    assert_eq!(
        (status, &answer["error"]),
        (400, &json!("MultiError")),
        "it must be signed"
    );
    let nobody = Rest::stranger(gateway);
    assert_eq!(nobody.get("/person").await.0, 401);
}

#[tokio::test]
async fn whatever_a_program_changes_of_computers_is_noted_for_open_pages() {
    let two = Two::there().await;
    let (web, database) = (two.web.1, &two.house.database);
    let query = ("query", "title:web-1");
    let title = format!("computer_titles.{web}");
    let notes = "select topic, subject from outbox where topic <> 'pings.heard' order by id";
    for (action, arguments) in [
        ("AddTagsToComputers", vec![query, ("tags.1", "new")]),
        ("RemoveTagsFromComputers", vec![query, ("tags.1", "new")]),
        (
            "AddAnnotationToComputers",
            vec![query, ("key", "a"), ("value", "b")],
        ),
        ("RemoveAnnotationFromComputers", vec![query, ("key", "a")]),
        (
            "ChangeComputersAccessGroup",
            vec![query, ("access_group", "attic")],
        ),
        ("RenameComputers", vec![(title.as_str(), "other")]),
    ] {
        // As if a relay were there: notes are kept from now on.
        database.sql("delete from outbox; update outbox_relay set seen_at = now()");
        let (status, answer) = two.signed(action, &arguments).await;
        assert_eq!(status, 200, "{action}: {answer}");
        let expected = format!("computer.changed|{web}");
        assert_eq!(database.sql(notes), expected, "{action}");
    }
    // Many are told of together.
    database.sql(
        "insert into computer (account_id, accepted, title, hostname) \
         select 1, true, 'many', 'many' from generate_series(1, 101); \
         delete from outbox",
    );
    let many = [("query", "title:many"), ("tags.1", "new")];
    let (status, answer) = two.signed("AddTagsToComputers", &many).await;
    assert_eq!((status, answer.as_array().map(Vec::len)), (200, Some(101)));
    assert_eq!(database.sql(notes), "computer.changed|");
}

#[tokio::test]
async fn what_many_computers_are_made_of_is_told_in_smaller_parts() {
    let two = Two::there().await;
    let (described, rest) = (
        Described::behind(&two.house.gateway).await,
        two.house.rest().await,
    );
    two.house.database.sql(
        "insert into computer (account_id, accepted, title, hostname, hardware_info) \
         select 1, true, 'many-' || n, 'many', '<list/>' from generate_series(1, 51) as n",
    );
    for switch in ["with_hardware", "with_grouped_hardware"] {
        let mut path = format!("/computers?query=many&limit=1000&{switch}=true");
        let mut parts = Vec::new();
        loop {
            let (status, page) = described.get(&rest, &path).await;
            assert_eq!((status, &page["count"]), (200, &json!(51)), "{switch}");
            parts.push(page["results"].as_array().expect("results").len());
            let Some(next) = page["next"].as_str() else {
                break;
            };
            let next = next.strip_prefix("https://edge.test/api/v2");
            path = next.expect("of this site").to_owned();
        }
        assert_eq!(parts, [50, 1], "{switch}");
    }
    let (_, page) = described
        .get(&rest, "/computers?query=many&with_alerts=true")
        .await;
    assert_eq!(page["results"].as_array().map(Vec::len), Some(51));

    // A list of the older form does not say that it goes on: it is whole, or refused.
    let many = ("query", "many");
    let hardware = ("with_hardware", "true");
    two.house.database.sql(
        "insert into computer (account_id, accepted, title, hostname, hardware_info) \
         select 1, true, 'large-' || n, 'large', repeat('x', 1000000) \
         from generate_series(1, 68) as n",
    );
    let large = ("query", "hostname:large");
    for (arguments, expected) in [
        (vec![many, hardware], Some(51)),
        (vec![large], Some(68)),
        (vec![large, hardware], None),
        (vec![large, hardware, ("limit", "2")], Some(2)),
        (
            vec![large, hardware, ("limit", "2"), ("offset", "67")],
            Some(1),
        ),
    ] {
        let (status, list) = two.signed("GetComputers", &arguments).await;
        assert_eq!(list.as_array().map(Vec::len), expected, "{arguments:?}");
        if expected.is_none() {
            assert_eq!(
                (status, &list["error"]),
                (400, &json!("InvalidParameter")),
                "{list}"
            );
            let told = list["message"].as_str().expect("text");
            assert!(
                told.contains("64 MiB") && told.contains("`limit`"),
                "{told}"
            );
        }
    }
}

#[tokio::test]
async fn hardware_beyond_its_bound_is_told_as_if_it_were_not_known() {
    let two = Two::there().await;
    let (described, rest) = (
        Described::behind(&two.house.gateway).await,
        two.house.rest().await,
    );
    let path = format!(
        "/computers/{}?with_hardware=true&with_grouped_hardware=true",
        two.web.1
    );
    for (bytes, known) in [(1 << 20, true), ((1 << 20) + 1, false)] {
        two.house.database.sql(&format!(
            "update computer set hardware_info = rpad('<list/>', {bytes}) where id = {}",
            two.web.1
        ));
        let (status, told) = described.get(&rest, &path).await;
        assert_eq!(status, 200, "{told}");
        assert_eq!(told["hardware"].is_string(), known, "{bytes}");
        let arguments = [("query", "title:web-1"), ("with_hardware", "true")];
        let (_, list) = two.signed("GetComputers", &arguments).await;
        assert_eq!(list[0]["hardware"].is_string(), known, "{bytes}");
    }
}
