//! Do programs find packages, and do orders to change them reach agents byte for byte and come back?

use std::collections::BTreeMap;

use e2e::bpickle::{Pickle, d, i, l, u};
use e2e::person::EMAIL;
use e2e::{AccessKey, Agent, House, Raw, Rest, Service, eventually, free_range};
use serde_json::{Value, json};

use crate::backends_api::Described;

/// A computer whose agent knows how to change packages.
async fn computer(house: &House, title: &str) -> (Agent, i64) {
    let mut agent = Agent::new(title);
    for kind in ["change-packages", "package-ids"] {
        agent.understands.push(kind.to_owned());
    }
    agent.set_up(&house.way(), None).await;
    house
        .database
        .sql("update computer set accepted = true, accepted_at = now() where not accepted");
    agent.exchange(&house.way()).await.expect("an exchange");
    let sql = format!("select id from computer where title = '{title}'");
    let id = house.database.sql(&sql).parse().expect("a number");
    (agent, id)
}

fn package(name: &str, version: &str) -> Pickle {
    d([
        ("description", u("")),
        ("installed-size", Pickle::Null),
        ("name", u(name)),
        ("relations", l([])),
        ("section", u("misc")),
        ("size", i(1000)),
        ("summary", u(&format!("the package {name}"))),
        ("type", i(65_537)),
        ("version", u(version)),
    ])
}

/// Numbers of packages by `name version`.
type Numbers = BTreeMap<&'static str, i64>;

/// An agent describes packages and is told their numbers.
async fn described(house: &House, agent: &mut Agent, all: &[&'static str]) -> Numbers {
    let packages = all.iter().map(|one| {
        let (name, version) = one.split_once(' ').expect("a name and a version");
        package(name, version)
    });
    agent.report(d([
        ("packages", Pickle::List(packages.collect())),
        ("request-id", i(1)),
        ("type", u("add-packages")),
    ]));
    let messages = agent.exchange(&house.way()).await.expect("an exchange");
    let told = messages
        .iter()
        .find(|one| one.at("type") == Some(&u("package-ids")));
    let ids = told.expect("an answer").at("ids").expect("ids").list();
    let ids = ids.iter().map(Pickle::int);
    all.iter().copied().zip(ids).collect()
}

/// An agent reports numbers of packages by state.
async fn has(house: &House, agent: &mut Agent, states: &[(&str, &[i64])]) {
    let mut entries: Vec<(Pickle, Pickle)> = states
        .iter()
        .map(|(state, ids)| {
            let ids = ids.iter().map(|id| i(*id)).collect();
            (u(state), Pickle::List(ids))
        })
        .collect();
    entries.push((u("type"), u("packages")));
    agent.report(Pickle::Dict(entries));
    agent.exchange(&house.way()).await.expect("an exchange");
}

/// Fetches the one order that waits, after a ping has said so; its number and what was received.
async fn fetch(house: &House, agent: &mut Agent) -> (i64, String) {
    eventually("a ping says yes", || async {
        agent.ping(&house.way()).await.then_some(())
    })
    .await;
    let messages = agent.exchange(&house.way()).await.expect("an exchange");
    let is = |one: &&Pickle| one.at("type") == Some(&u("change-packages"));
    let orders: Vec<&Pickle> = messages.iter().filter(is).collect();
    assert_eq!(orders.len(), 1, "{messages:?}");
    let operation = orders[0].at("operation-id").expect("a number").int();
    // The reader keeps everything in its order, so that this is what came.
    let received = String::from_utf8(orders[0].write()).expect("ASCII");
    (operation, received)
}

async fn result(house: &House, agent: &mut Agent, operation: i64, code: i64, text: &str) {
    agent.report(d([
        ("operation-id", i(operation)),
        ("result-code", i(code)),
        ("result-text", u(text)),
        ("type", u("change-packages-result")),
    ]));
    agent.exchange(&house.way()).await.expect("an exchange");
}

/// Two computers: the first could have `hello` in three versions and has an old `bye` and a `kept`; the second has
/// `hello` and nothing to upgrade.
struct Two {
    house: House,
    first: (Agent, i64),
    second: (Agent, i64),
    ids: Numbers,
}

impl Two {
    async fn with(settings: &[(&str, &str)]) -> Two {
        let house = House::with(settings).await;
        let (mut first, first_id) = computer(&house, "web-1").await;
        let (mut second, second_id) = computer(&house, "web-2").await;
        let all = [
            "hello 1.9-1",
            "hello 1.10-1",
            "hello 1.10~rc1-1",
            "bye 1.0",
            "bye 1.1",
            "bye 1.2",
            "kept 1",
            "kept 2",
        ];
        let ids = described(&house, &mut first, &all).await;
        let upgrades = [ids["bye 1.1"], ids["bye 1.2"], ids["kept 2"]];
        let mut available = vec![
            ids["hello 1.9-1"],
            ids["hello 1.10-1"],
            ids["hello 1.10~rc1-1"],
        ];
        available.extend(upgrades);
        let states: &[(&str, &[i64])] = &[
            ("available", &available),
            ("available-upgrades", &upgrades),
            ("installed", &[ids["bye 1.0"], ids["kept 1"]]),
            ("locked", &[ids["kept 1"]]),
            ("security", &[ids["bye 1.1"]]),
        ];
        has(&house, &mut first, states).await;
        let states: &[(&str, &[i64])] = &[("installed", &[ids["hello 1.9-1"]])];
        has(&house, &mut second, states).await;
        Two {
            house,
            first: (first, first_id),
            second: (second, second_id),
            ids,
        }
    }
}

/// A list of numbers in order, in bpickle.
fn numbers<const N: usize>(mut ids: [i64; N]) -> String {
    ids.sort_unstable();
    let list = l(ids.map(i)).write();
    String::from_utf8(list).expect("ASCII")
}

/// Code of a refusal.
fn code(answer: &Value) -> &str {
    let fields = answer.as_object().expect("an object");
    assert!(
        fields.len() == 2 && answer["message"].is_string(),
        "{answer}"
    );
    answer["error"].as_str().expect("a code")
}

#[tokio::test]
async fn a_signed_call_installs_packages_over_ping_and_exchange() {
    let mut two = Two::with(&[]).await;
    let (house, ids) = (&two.house, &two.ids);
    let gateway = &house.gateway;
    let key = AccessKey::of(&house.database, &house.settings(), EMAIL);
    let arguments = [("query", "tag:blue"), ("packages.1", "hello")];
    let (status, group) = key.call(gateway, "InstallPackages", &arguments).await;
    assert_eq!(status, 200, "{group}");
    assert_eq!(
        (&group["type"], &group["summary"], &group["computer_id"]),
        (
            &json!("ActivityGroup"),
            &json!("Install package hello"),
            &Value::Null
        )
    );
    assert_eq!(group["activity_status"], "undelivered");

    // The one that has it in some version is left alone; the newest is the one that dpkg calls so.
    let parent = format!("parent-id:{}", group["id"]);
    let (_, seen) = key
        .call(gateway, "GetActivities", &[("query", &parent)])
        .await;
    assert_eq!(seen.as_array().map(Vec::len), Some(1), "{seen}");
    let (agent, id) = &mut two.first;
    let (operation, received) = fetch(house, agent).await;
    let hello = ids["hello 1.10-1"];
    assert_eq!(
        received,
        format!(
            "du7:installli{hello};;u12:operation-idi{operation};u6:policyi1;\
             u4:typeu15:change-packages;"
        )
    );
    result(house, agent, operation, 1, "Setting up hello (1.10-1)\n").await;
    let (_, seen) = key
        .call(gateway, "GetActivities", &[("query", &parent)])
        .await;
    let one = &seen[0];
    assert_eq!(one["id"], operation);
    assert_eq!(one["computer_id"], *id);
    assert_eq!(one["type"], "ChangePackagesRequest");
    assert_eq!(one["activity_status"], "succeeded");
    assert_eq!(one["result_code"], 1);
    assert_eq!(one["result_text"], "Setting up hello (1.10-1)\n");
    assert_eq!(one["creator"]["email"], EMAIL);
    let stored = format!("select status, result_code from activity where id = {operation}");
    assert_eq!(house.database.sql(&stored), "succeeded|1");
}

#[tokio::test]
async fn packages_are_removed_and_upgraded_by_their_numbers_on_each_computer() {
    let mut two = Two::with(&[]).await;
    let (house, ids) = (&two.house, &two.ids);
    let gateway = &house.gateway;
    let key = AccessKey::of(&house.database, &house.settings(), EMAIL);
    let (old, safe, new) = (ids["bye 1.0"], ids["bye 1.1"], ids["bye 1.2"]);
    for (action, arguments, fields) in [
        (
            "RemovePackages",
            vec![("packages.1", "bye")],
            format!("u6:policyi1;u6:removeli{old};;"),
        ),
        (
            "UpgradePackages",
            vec![("packages.1", "bye")],
            // What is replaced goes: an agent takes the two as two changes, and makes none that it was not told.
            format!("u7:installli{new};;u6:policyi1;u6:removeli{old};;"),
        ),
        (
            "UpgradePackages",
            vec![("security_only", "true")],
            format!("u7:installli{safe};;u6:policyi1;u6:removeli{old};;"),
        ),
        (
            "UpgradePackages",
            vec![("packages.1", "bye"), ("packages.2", "kept")],
            format!(
                "u7:install{}u6:policyi1;u6:remove{}",
                numbers([new, ids["kept 2"]]),
                numbers([old, ids["kept 1"]])
            ),
        ),
        (
            "UpgradePackages",
            vec![],
            // With less it does nothing: whatever is replaced goes.
            "u6:policyi2;u11:upgrade-allb1".to_owned(),
        ),
    ] {
        let arguments = [&[("query", "")][..], &arguments].concat();
        let (status, group) = key.call(gateway, action, &arguments).await;
        assert_eq!(status, 200, "{action} {arguments:?}: {group}");
        let agent = &mut two.first.0;
        let (operation, received) = fetch(house, agent).await;
        // What the bytes hold, but for the number and the type, which stand among them in order.
        let rest = received
            .replacen(&format!("u12:operation-idi{operation};"), "", 1)
            .replacen("u4:typeu15:change-packages", "", 1);
        assert_eq!(rest, format!("d{fields};"), "{action} {arguments:?}");
        result(house, agent, operation, 1, "").await;
    }
    let count = format!(
        "select count(*) from activity where computer_id = {} and type = 'change-packages'",
        two.second.1
    );
    assert_eq!(house.database.sql(&count), "0", "it had nothing to do");
}

#[tokio::test]
async fn security_upgrades_of_whatever_there_is_leave_out_what_is_held() {
    let mut two = Two::with(&[]).await;
    let (house, ids) = (&two.house, &two.ids);
    let agent = &mut two.first.0;
    has(house, agent, &[("security", &[ids["kept 2"]])]).await;
    let key = AccessKey::of(&house.database, &house.settings(), EMAIL);
    let all = [("query", ""), ("security_only", "true")];
    let gateway = &house.gateway;
    let (status, group) = key.call(gateway, "UpgradePackages", &all).await;
    assert_eq!(status, 200, "{group}");
    let (operation, received) = fetch(house, agent).await;
    let (safe, old) = (ids["bye 1.1"], ids["bye 1.0"]);
    assert_eq!(
        received,
        format!(
            "du7:installli{safe};;u12:operation-idi{operation};u6:policyi1;u6:removeli{old};;\
             u4:typeu15:change-packages;"
        ),
        "an agent that is told to replace what is held does nothing at all"
    );
    // And with nothing else to do there is nothing to do.
    has(house, agent, &[("not-security", &[safe])]).await;
    let again = [("query", "tag:blue"), ("security_only", "true")];
    let (status, answer) = key.call(gateway, "UpgradePackages", &again).await;
    assert_eq!((status, code(&answer)), (404, "UnknownPackages"));
}

#[tokio::test]
async fn what_cannot_be_ordered_is_refused_with_its_code_and_changes_nothing() {
    let two = Two::with(&[]).await;
    let (house, gateway) = (&two.house, &two.house.gateway);
    let key = AccessKey::of(&house.database, &house.settings(), EMAIL);
    let all = ("query", "");
    for (action, arguments, expected) in [
        (
            "InstallPackages",
            vec![all, ("packages.1", "no-such")],
            (404, "UnknownPackages"),
        ),
        // One of two is enough.
        (
            "InstallPackages",
            vec![all, ("packages.1", "hello"), ("packages.2", "no-such")],
            (404, "UnknownPackages"),
        ),
        (
            "InstallPackages",
            vec![all, ("packages.1", "kept")],
            (404, "UnknownPackages"),
        ),
        (
            "UpgradePackages",
            vec![("query", "title:web-2")],
            (404, "UnknownPackages"),
        ),
        (
            "RemovePackages",
            vec![("query", "title:web-2"), ("packages.1", "bye")],
            (404, "UnknownPackages"),
        ),
        ("InstallPackages", vec![all], (400, "MissingParameter")),
        ("RemovePackages", vec![all], (400, "MissingParameter")),
        (
            "InstallPackages",
            vec![("packages.1", "hello")],
            (400, "MissingParameter"),
        ),
        (
            "InstallPackages",
            vec![("query", "nobody"), ("packages.1", "hello")],
            (404, "UnknownComputers"),
        ),
        (
            "InstallPackages",
            vec![("query", "colour:red"), ("packages.1", "hello")],
            (400, "InvalidQuery"),
        ),
        (
            "InstallPackages",
            vec![
                all,
                ("packages.1", "hello"),
                ("deliver_delay_window", "10081"),
            ],
            (400, "InvalidParameter"),
        ),
        (
            "InstallPackages",
            vec![all, ("packages.1", "hello"), ("deliver_after", "soon")],
            (400, "InvalidTime"),
        ),
        (
            "UpgradePackages",
            vec![all, ("security_only", "maybe")],
            (400, "InvalidParameter"),
        ),
        ("GetPackages", vec![], (400, "MissingParameter")),
        (
            "GetPackages",
            vec![all, ("installed", "maybe")],
            (400, "InvalidParameter"),
        ),
    ] {
        let (status, answer) = key.call(gateway, action, &arguments).await;
        assert_eq!(
            (status, code(&answer)),
            expected,
            "{action} {arguments:?}: {answer}"
        );
    }
    house.database.person("vera@edge.test", "viewer");
    let viewer = AccessKey::of(&house.database, &house.settings(), "vera@edge.test");
    for action in ["InstallPackages", "RemovePackages", "UpgradePackages"] {
        let arguments = [all, ("packages.1", "bye")];
        let (status, answer) = viewer.call(gateway, action, &arguments).await;
        assert_eq!((status, code(&answer)), (403, "Unauthorised"), "{action}");
    }
    let (status, _) = viewer.call(gateway, "GetPackages", &[all]).await;
    assert_eq!(status, 200, "who looks may look");
    let orders = "select count(*) from activity where type in ('group', 'change-packages')";
    assert_eq!(house.database.sql(orders), "0");

    // A call that was seen before counts once.
    let arguments = [all, ("packages.1", "hello")];
    let call = e2e::person::Signed::new(gateway, "InstallPackages", &arguments);
    let form = key.form(&call);
    assert_eq!(call.post(gateway, &form).await.0, 200);
    let (status, answer) = call.post(gateway, &form).await;
    assert_eq!((status, code(&answer)), (403, "AuthFailure"));
    assert_eq!(house.database.sql(orders), "2");
}

#[tokio::test]
async fn packages_are_found_the_same_with_package_search_and_without() {
    let port = free_range(1);
    let url = format!("http://127.0.0.1:{port}/v1/search");
    // However long an answer takes here, it is the index's.
    let settings = [
        ("PACKAGE_SEARCH__URL", url.as_str()),
        ("PACKAGE_SEARCH__TIMEOUT", "60s"),
    ];
    let two = Two::with(&settings).await;
    let (house, gateway, ids) = (&two.house, &two.house.gateway, &two.ids);
    let key = AccessKey::of(&house.database, &house.settings(), EMAIL);
    let (web_1, web_2) = (two.first.1, two.second.1);
    let ask = async || {
        let mut answers = Vec::new();
        for arguments in [
            vec![("query", "")],
            vec![("query", "title:web-2")],
            vec![("query", "nobody")],
            vec![("query", ""), ("names.1", "hello"), ("names.2", "kept")],
            vec![("query", ""), ("search", "PACKAGE BYE")],
            vec![("query", ""), ("installed", "true")],
            vec![("query", ""), ("installed", "false"), ("upgrade", "false")],
            vec![("query", ""), ("upgrade", "true"), ("available", "true")],
            vec![("query", ""), ("held", "true")],
            vec![("query", ""), ("limit", "2"), ("offset", "3")],
        ] {
            let (status, answer) = key.call(gateway, "GetPackages", &arguments).await;
            assert_eq!(status, 200, "{arguments:?}: {answer}");
            answers.push(answer);
        }
        answers
    };
    // Nobody listens there yet: the database answers.
    let by_sql = ask().await;
    assert_eq!(by_sql[0].as_array().map(Vec::len), Some(8));
    assert_eq!(
        by_sql[1],
        json!([{
            "name": "hello",
            "version": "1.9-1",
            "summary": "the package hello",
            "computers": {"installed": [web_2], "available": [], "upgrades": [], "held": []},
        }])
    );
    assert_eq!(by_sql[2], json!([]));
    let versions = |answer: &Value| -> Vec<String> {
        let list = answer.as_array().expect("a list").iter();
        let text = |one: &Value, key: &str| one[key].as_str().expect("text").to_owned();
        list.map(|one| format!("{} {}", text(one, "name"), text(one, "version")))
            .collect()
    };
    assert_eq!(versions(&by_sql[5]), ["bye 1.0", "hello 1.9-1", "kept 1"]);
    assert_eq!(versions(&by_sql[8]), ["kept 1"]);
    assert_eq!(by_sql[8][0]["computers"]["held"], json!([web_1]));

    let search = Service::at("package-search", &house.database, port, &[]);
    eventually("it is loaded", || async {
        let reply = Raw::tcp(search.port()).await.get("/health").await;
        (reply.status() == 200).then_some(())
    })
    .await;
    assert_eq!(ask().await, by_sql);
    let mut raw = Raw::tcp(house.services[3].port()).await;
    let metrics = raw.get("/metrics").await.text();
    let questions = by_sql.len();
    for by in ["index", "sql"] {
        let line = format!("backends_package_questions_total{{by=\"{by}\"}} {questions}");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }

    // The newer form has numbers, counts and pages; and what one computer has.
    let described = Described::behind(gateway).await;
    let rest = house.rest().await;
    let path = "/packages?query=tag:blue&names=hello,kept&limit=2&installed=true";
    let (status, page) = described.get(&rest, path).await;
    assert_eq!((status, &page["count"]), (200, &json!(2)), "{page}");
    assert_eq!(page["results"][0]["id"], ids["hello 1.9-1"]);
    let path = "/packages?names.1=hello&names.2=kept&installed=true&limit=1";
    let (_, page) = described.get(&rest, path).await;
    let next = page["next"].as_str().expect("another page");
    let next = next.strip_prefix("https://edge.test/api/v2");
    let (_, page) = described.get(&rest, next.expect("of this site")).await;
    assert_eq!(page["results"][0]["name"], "kept", "{page}");
    assert_eq!(page["next"], Value::Null);
    let path = format!("/computers/{web_1}/packages?search=kept");
    let (_, page) = described.get(&rest, &path).await;
    assert_eq!(
        page["results"][0],
        json!({
            "id": ids["kept 1"], "name": "kept", "version": "1", "summary": "the package kept",
            "installed": true, "available": false, "upgrade": false, "held": true,
        })
    );
    assert_eq!(page["results"][1]["upgrade"], true);
    for wrong in ["installed=maybe", "limit=0", "query=colour:red"] {
        let (status, _) = described.get(&rest, &format!("/packages?{wrong}")).await;
        assert_eq!(status, 400, "{wrong}");
    }
    let (status, _) = described.get(&rest, "/computers/777/packages").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn the_newer_form_orders_the_same_and_says_what_else_may_be_done() {
    let mut two = Two::with(&[]).await;
    let (house, ids) = (&two.house, &two.ids);
    let described = Described::behind(&house.gateway).await;
    let rest = house.rest().await;
    let (web_1, web_2) = (two.first.1, two.second.1);
    let (hello, bye, kept) = (ids["hello 1.10-1"], ids["bye 1.0"], ids["kept 1"]);
    for (path, body, fields) in [
        (
            "/packages/install",
            json!({"query": "web", "packages": ["hello"]}),
            format!("u7:installli{hello};;u6:policyi1;"),
        ),
        (
            "/packages/install",
            json!({"computer_ids": [web_1, web_2], "packages": ["hello"], "policy": "strict"}),
            format!("u7:installli{hello};;u6:policyi0;"),
        ),
        (
            "/packages/remove",
            json!({"computer_ids": [web_1], "packages": ["kept", "bye"], "policy": "allow-all"}),
            format!("u6:policyi2;u6:remove{}", numbers([bye, kept])),
        ),
        (
            "/packages/upgrade",
            json!({"computer_ids": [web_1], "security_only": true}),
            format!(
                "u7:installli{};;u6:policyi1;u6:removeli{bye};;",
                ids["bye 1.1"]
            ),
        ),
        (
            "/packages/upgrade",
            json!({"all_computers": true}),
            "u6:policyi2;u11:upgrade-allb1".to_owned(),
        ),
        (
            "/packages/upgrade",
            json!({"all_computers": true, "policy": "strict"}),
            "u6:policyi0;u11:upgrade-allb1".to_owned(),
        ),
    ] {
        let (status, group) = described.post(&rest, path, &body).await;
        assert_eq!(
            (status, &group["computer_count"]),
            (200, &json!(1)),
            "{path} {body}: {group}"
        );
        let agent = &mut two.first.0;
        let (operation, received) = fetch(house, agent).await;
        let rest_of = received
            .replacen(&format!("u12:operation-idi{operation};"), "", 1)
            .replacen("u4:typeu15:change-packages", "", 1);
        assert_eq!(rest_of, format!("d{fields};"), "{path} {body}");
        // It needs more than it may do: what is stored, and seen by who ordered it.
        agent.report(d([
            ("must-install", l([i(kept)])),
            ("must-remove", l([])),
            ("operation-id", i(operation)),
            ("result-code", i(101)),
            ("type", u("change-packages-result")),
        ]));
        agent.exchange(&house.way()).await.expect("an exchange");
        let path = format!("/activities/{}", group["id"]);
        let (_, seen) = described.get(&rest, &path).await;
        assert_eq!(seen["activity_status"], "failed", "{seen}");
        let child = &seen["children"][0];
        assert_eq!(
            (&child["id"], &child["result_code"]),
            (&json!(operation), &json!(101))
        );
        let path = format!("/activities/{operation}");
        let (_, seen) = described.get(&rest, &path).await;
        let needed = json!([{"id": kept, "name": "kept", "version": "1"}]);
        assert_eq!(
            (&seen["must_install"], &seen["must_remove"]),
            (&needed, &json!([]))
        );
    }
    // On the page, too.
    let browser = house.browser().await;
    let page = browser.get("/activities").await.text();
    assert!(page.contains("Remove packages kept, bye"), "{page}");
}

#[tokio::test]
async fn upgrades_of_the_newer_form_are_spread_over_an_hour_from_a_time_on() {
    let two = Two::with(&[]).await;
    let house = &two.house;
    let described = Described::behind(&house.gateway).await;
    let rest = house.rest().await;
    let body = json!({"all_computers": true, "deliver_delay_window": 60,
                      "deliver_after": "2099-01-01T00:00:00Z"});
    let (_, group) = described.post(&rest, "/packages/upgrade", &body).await;
    assert_eq!(group["deliver_delay_window"], 60);
    let (_, seen) = described
        .get(&rest, &format!("/activities/{}", group["id"]))
        .await;
    let child = &seen["children"][0];
    assert_eq!(child["activity_status"], "scheduled");
    let after = child["deliver_after_time"].as_str().expect("a time");
    assert!(
        ("2099-01-01T00:00:00Z".."2099-01-01T01:00:01Z").contains(&after),
        "{after}"
    );
}

#[tokio::test]
async fn the_newer_form_refuses_what_is_no_order_and_whoever_may_not_give_one() {
    let two = Two::with(&[]).await;
    let house = &two.house;
    let described = Described::behind(&house.gateway).await;
    let rest = house.rest().await;
    for (path, body, expected) in [
        (
            "/packages/install",
            json!({"query": ""}),
            (400, "MissingParameter"),
        ),
        (
            "/packages/install",
            json!({"packages": ["hello"]}),
            (400, "MissingParameter"),
        ),
        (
            "/packages/install",
            json!({"query": "", "packages": "hello"}),
            (400, "InvalidParameter"),
        ),
        (
            "/packages/install",
            json!({"query": "", "packages": [7]}),
            (400, "InvalidParameter"),
        ),
        (
            "/packages/install",
            json!({"query": "", "packages": ["hello"], "policy": "any"}),
            (400, "InvalidParameter"),
        ),
        (
            "/packages/install",
            json!({"query": "", "packages": ["hello"], "deliver_delay_window": -1}),
            (400, "InvalidParameter"),
        ),
        (
            "/packages/install",
            json!({"query": "", "packages": ["a b"]}),
            (404, "UnknownPackages"),
        ),
        (
            "/packages/remove",
            json!({"computer_ids": [777], "packages": ["bye"]}),
            (404, "UnknownComputers"),
        ),
        (
            "/packages/upgrade",
            json!({"query": "", "security_only": "yes"}),
            (400, "InvalidParameter"),
        ),
    ] {
        let (status, answer) = described.post(&rest, path, &body).await;
        assert_eq!((status, code(&answer)), expected, "{path} {body}");
    }
    house.database.person("vera@edge.test", "viewer");
    let viewer = Rest::log_in(&house.gateway, "vera@edge.test").await;
    let body = json!({"query": "", "packages": ["bye"]});
    for path in ["/packages/install", "/packages/remove", "/packages/upgrade"] {
        let (status, answer) = described.post(&viewer, path, &body).await;
        assert_eq!((status, code(&answer)), (403, "Unauthorised"), "{path}");
    }
    assert_eq!(described.get(&viewer, "/packages").await.0, 200);
}

#[tokio::test]
async fn what_was_installed_is_removed_again_and_what_was_removed_is_installed() {
    let mut two = Two::with(&[]).await;
    let (house, ids) = (&two.house, &two.ids);
    let described = Described::behind(&house.gateway).await;
    let rest = house.rest().await;
    let (hello, bye) = (ids["hello 1.10-1"], ids["bye 1.0"]);
    for (path, name, done, undone, summary) in [
        (
            "/packages/install",
            "hello",
            "install",
            format!("u6:policyi1;u6:removeli{hello};;"),
            "Remove package hello",
        ),
        (
            "/packages/remove",
            "bye",
            "remove",
            format!("u7:installli{bye};;u6:policyi1;"),
            "Install package bye",
        ),
    ] {
        let body = json!({"query": "web", "packages": [name]});
        let (_, group) = described.post(&rest, path, &body).await;
        let activity = json!({"activity_ids": [group["id"]]});
        let (status, answer) = described.post(&rest, "/activities/revert", &activity).await;
        let expected = (400, &json!("InvalidActivityStatusChange"));
        assert_eq!(
            (status, &answer["error"]),
            expected,
            "it is not done: {answer}"
        );
        let agent = &mut two.first.0;
        let (operation, received) = fetch(house, agent).await;
        assert!(received.contains(done), "{received}");
        result(house, agent, operation, 1, "").await;

        let (status, answer) = described.post(&rest, "/activities/revert", &activity).await;
        assert_eq!((status, &answer["count"]), (200, &json!(1)), "{answer}");
        let reverted = &answer["results"][0];
        assert_eq!(
            (&reverted["summary"], &reverted["activity_status"]),
            (&json!(summary), &json!("undelivered"))
        );
        let (operation, received) = fetch(house, agent).await;
        let rest_of = received
            .replacen(&format!("u12:operation-idi{operation};"), "", 1)
            .replacen("u4:typeu15:change-packages", "", 1);
        assert_eq!(rest_of, format!("d{undone};"));
        result(house, agent, operation, 1, "").await;
        let (_, seen) = described
            .get(&rest, &format!("/activities/{}", reverted["id"]))
            .await;
        assert_eq!(seen["activity_status"], "succeeded");
    }
    let count = || house.database.sql("select count(*) from activity");
    let before = count();
    // What replaced what is not known, and a restart is over: nothing is ordered, also not the rest of the call.
    let upgrade = json!({"query": "web", "packages": ["bye"]});
    has(house, &mut two.first.0, &[("installed", &[bye])]).await;
    let (_, upgrade) = described.post(&rest, "/packages/upgrade", &upgrade).await;
    let agent = &mut two.first.0;
    let (operation, _) = fetch(house, agent).await;
    result(house, agent, operation, 1, "").await;
    let path = format!("/computers/{}/restart", two.first.1);
    let (_, restart) = described.post(&rest, &path, &json!({})).await;
    let done = house.database.sql("select parent_id from activity where summary = 'Remove package hello' and parent_id is not null");
    let done: i64 = done.parse().expect("a number");
    let grown = count();
    assert_ne!(before, grown);
    for (ids, expected) in [
        (json!([upgrade["id"]]), (400, "InvalidActivityType")),
        (json!([done, restart["id"]]), (400, "InvalidActivityType")),
        (json!([done, 777_777]), (404, "UnknownActivity")),
        (json!([]), (400, "MissingParameter")),
        (json!("x"), (400, "InvalidParameter")),
    ] {
        let body = json!({"activity_ids": ids});
        let (status, answer) = described.post(&rest, "/activities/revert", &body).await;
        assert_eq!((status, code(&answer)), expected, "{body}");
    }
    house.database.person("vera@edge.test", "viewer");
    house.database.schema(&[], &["account", "acme"], "");
    house
        .database
        .person_of("acme", "eve@edge.test", "administrator");
    for (email, expected) in [("vera@edge.test", 403), ("eve@edge.test", 404)] {
        let other = Rest::log_in(&house.gateway, email).await;
        let body = json!({"activity_ids": [done]});
        assert_eq!(
            described.post(&other, "/activities/revert", &body).await.0,
            expected,
            "{email}"
        );
    }
    assert_eq!(count(), grown);
}

#[tokio::test]
async fn a_package_search_that_takes_questions_and_answers_none_leaves_the_answer_to_the_database()
{
    // It takes connections and says nothing; how long it is waited for is what the settings say by themselves.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let url = format!("http://127.0.0.1:{port}/v1/search");
    let two = Two::with(&[("PACKAGE_SEARCH__URL", url.as_str())]).await;
    let (house, gateway) = (&two.house, &two.house.gateway);
    let key = AccessKey::of(&house.database, &house.settings(), EMAIL);
    let arguments = [("query", "title:web-2"), ("installed", "true")];
    let (status, answer) = key.call(gateway, "GetPackages", &arguments).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        (&answer[0]["name"], &answer[0]["version"]),
        (&json!("hello"), &json!("1.9-1"))
    );
    let described = Described::behind(gateway).await;
    let (status, page) = described
        .get(&house.rest().await, "/packages?names=kept&held=true")
        .await;
    assert_eq!((status, &page["count"]), (200, &json!(1)), "{page}");
    assert_eq!(page["results"][0]["id"], two.ids["kept 1"]);
    let api = &house.services[3];
    let metrics = Raw::tcp(api.port()).await.get("/metrics").await.text();
    assert!(
        metrics.contains("backends_package_questions_total{by=\"sql\"} 2"),
        "{metrics}"
    );
    assert!(!metrics.contains("{by=\"index\"}"), "{metrics}");
    assert_eq!(
        api.log().matches("no answer in time").count(),
        2,
        "{}",
        api.log()
    );
    // It was asked: each question waits in a connection of its own.
    silent.set_nonblocking(true).expect("a socket");
    assert!(silent.accept().is_ok() && silent.accept().is_ok());
}
