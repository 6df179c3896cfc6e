//! Is the newer form of the API what its description says? Every operation succeeds with what is described and no
//! more, and refuses whatever the description rules out.

use std::collections::BTreeSet;

use e2e::person::{EMAIL, PASSWORD, escaped};
use e2e::{Agent, House, Rest};
use serde_json::{Map, Value, json};

use crate::backends_api::Described;

/// A house where every operation has something to do.
struct Full {
    house: House,
    described: Described,
    /// Two computers that are accepted and two that wait.
    computers: [i64; 4],
    /// A WSL host that waits, by its own identity.
    host: String,
}

impl Full {
    async fn there() -> Full {
        let house = House::start().await;
        let (_, first) = house.computer("web-1").await;
        let (_, second) = house.computer("web-2").await;
        for title in ["new", "unwanted"] {
            Agent::new(title).set_up(&house.way(), None).await;
        }
        let database = &house.database;
        let number = |title: &str| -> i64 {
            let id = database.sql(&format!("select id from computer where title = '{title}'"));
            id.parse().expect("a number")
        };
        let computers = [first, second, number("new"), number("unwanted")];
        // `bye` has a newer version, `hello` can be installed.
        database.sql(&format!(
            "insert into package (hash, kind, name, version, section, summary, description) \
                 select decode(lpad(place::text, 40, '0'), 'hex'), 65537, name, version, '', '', '' \
                 from (values ('bye', '1.0', 1), ('bye', '1.1', 2), ('hello', '1', 3)) \
                     as told (name, version, place) order by place; \
             insert into computer_packages (computer_id, installed, available, upgrades, reported_at) \
                 select {first}, int8multirange(int8range(min(id), min(id), '[]')), \
                     int8multirange(int8range(min(id) + 1, min(id) + 2, '[]')), \
                     int8multirange(int8range(min(id) + 1, min(id) + 1, '[]')), now() from package; \
             insert into wsl_host (account_id, accepted, hostname) values (1, false, 'laptop'); \
             insert into wsl_instance (host_uid, id, name, version_id, running, managed) \
                 select uid, 'Ubuntu', 'Ubuntu', '24.04', true, true from wsl_host"
        ));
        let host = database.sql("select uid from wsl_host");
        let described = Described::by(&house).await;
        Full {
            house,
            described,
            computers,
            host,
        }
    }
}

/// A caller who has asked for some of what is described.
struct Asker<'a> {
    described: &'a Described,
    rest: Rest<'a>,
    asked: BTreeSet<String>,
}

impl Asker<'_> {
    /// Asks for an operation with a body, or none; what it answers, which is a success and as described.
    async fn with(&mut self, operation: &str, id: impl ToString, body: Option<Value>) -> Value {
        let (method, path, described) = self.described.operation(operation);
        let described_body = described.get("requestBody");
        match &body {
            Some(_) => assert!(described_body.is_some(), "{operation} takes no body"),
            None => {
                let needed = described_body.and_then(|body| body.get("required"));
                assert_ne!(needed, Some(&json!(true)), "{operation} needs a body");
            }
        }
        let id = id.to_string();
        let mut path = path.replace("{id}", &id).replace("{access_key}", &id);
        // All that can be told beyond the usual.
        let parameters = described["parameters"].as_array().into_iter().flatten();
        let names = parameters.filter_map(|one| one["name"].as_str());
        let switches: Vec<String> = names
            .filter(|name| name.starts_with("with_"))
            .map(|name| format!("{name}=true"))
            .collect();
        if !switches.is_empty() {
            path = format!("{path}?{}", switches.join("&"));
        }
        let (status, answer) = self.rest.ask(&method, &path, body.as_ref()).await;
        assert!(
            (200..300).contains(&status),
            "{operation}: {status} {answer}"
        );
        self.described.check(&method, &path, status, &answer);
        self.asked.insert(operation.to_owned());
        answer
    }

    /// Asks without a body, of nothing in particular.
    async fn plainly(&mut self, operation: &str) -> Value {
        self.with(operation, "", None).await
    }
}

#[tokio::test]
async fn every_operation_succeeds_with_what_is_described_and_a_body_only_where_one_is() {
    let full = Full::there().await;
    let (house, [web, other, new, unwanted]) = (&full.house, full.computers);
    let mut asker = Asker {
        described: &full.described,
        rest: Rest::stranger(&house.gateway),
        asked: BTreeSet::new(),
    };
    let asker = &mut asker;
    asker.plainly("openapi").await;
    let password = json!({"email": EMAIL, "password": PASSWORD});
    let told = asker.with("login", "", Some(password.clone())).await;
    asker.rest.token = told["token"].as_str().map(str::to_owned);
    let key = asker.plainly("makeCredential").await;
    let both = json!({"access_key": key["access_key"], "secret_key": key["secret_key"]});
    asker.with("loginAccessKey", "", Some(both)).await;
    let account = json!({"account": "standalone"});
    asker.with("switchAccount", "", Some(account)).await;
    for operation in ["credentials", "person", "alerts", "alertsSummary"] {
        asker.plainly(operation).await;
    }
    let key = key["access_key"].as_str().expect("a key");
    asker.with("removeCredential", key, None).await;

    looked_at(asker, web).await;
    let waiting = asker.plainly("pendingComputers").await;
    assert_eq!(waiting["count"], 2);
    let ids = |id: i64| Some(json!({"computer_ids": [id]}));
    asker.with("acceptPendingComputers", "", ids(new)).await;
    asker
        .with("rejectPendingComputers", "", ids(unwanted))
        .await;
    ordered(asker, house, web).await;
    scripted(asker).await;
    hosted(asker, &full.host).await;
    asker.with("removeComputers", "", ids(other)).await;
    for operation in ["invalidateMe", "invalidateAccount", "invalidateSystem"] {
        asker.plainly(operation).await;
        let told = asker.with("login", "", Some(password.clone())).await;
        asker.rest.token = told["token"].as_str().map(str::to_owned);
    }
    let described = full.described.operations();
    let described: BTreeSet<String> = described.into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        asker.asked, described,
        "all that is described was asked for"
    );
}

/// Looks at computers and their packages.
async fn looked_at(asker: &mut Asker<'_>, web: i64) {
    let list = asker.plainly("computers").await;
    assert_eq!(list["count"], 2);
    asker.with("computer", web, None).await;
    let list = asker.with("computerPackages", web, None).await;
    assert_eq!(list["count"], 3);
    assert_eq!(asker.plainly("packages").await["count"], 3);
}

/// Orders, and looks at what became of it.
async fn ordered(asker: &mut Asker<'_>, house: &House, web: i64) {
    let group = asker.with("restartComputer", web, None).await;
    asker.with("shutdownComputer", web, None).await;
    let of = |group: &Value| Some(json!({"activity_ids": [group["id"]]}));
    asker.with("cancelActivities", "", of(&group)).await;
    asker.with("reapplyActivities", "", of(&group)).await;
    asker.with("activity", &group["id"], None).await;
    let install = json!({"computer_ids": [web], "packages": ["hello"]});
    let group = asker.with("installPackages", "", Some(install)).await;
    house.database.sql(&format!(
        "update activity set status = 'succeeded' where parent_id = {}",
        group["id"]
    ));
    asker.with("revertActivities", "", of(&group)).await;
    let remove = json!({"query": "title:web-1", "packages": ["bye"]});
    asker.with("removePackages", "", Some(remove)).await;
    let upgrade = json!({"all_computers": true});
    asker.with("upgradePackages", "", Some(upgrade)).await;
    asker.plainly("activities").await;
    asker.plainly("activityGroups").await;
}

/// Keeps a script, has it run, and forgets it.
async fn scripted(asker: &mut Asker<'_>) {
    let script = json!({"title": "x", "code": "#!/bin/sh\nid"});
    let made = asker.with("makeScript", "", Some(script)).await;
    let id = &made["id"];
    asker.plainly("scripts").await;
    asker.with("script", id, None).await;
    let change = Some(json!({"title": "y"}));
    asker.with("changeScript", id, change).await;
    let everywhere = Some(json!({"all_computers": true}));
    let group = asker.with("executeScript", id, everywhere).await;
    assert_eq!(group["computer_count"], 3);
    asker.with("removeScript", id, None).await;
}

/// Accepts a WSL host, orders something from it, and forgets it.
async fn hosted(asker: &mut Asker<'_>, host: &str) {
    asker.plainly("wslHosts").await;
    asker.with("acceptWslHost", host, None).await;
    asker.with("wslHost", host, None).await;
    let order = Some(json!({"order": "shutdown_host"}));
    asker.with("orderWslHost", host, order).await;
    let install = Some(json!({"computer_name": "Ubuntu-24.04"}));
    asker.with("installWslChild", host, install).await;
    let uninstall = Some(json!({"computer_names": ["Ubuntu"]}));
    asker.with("uninstallWslChildren", host, uninstall).await;
    asker.with("wslChildren", host, None).await;
    let orders = asker.with("wslOrders", host, None).await;
    assert_eq!(orders["count"], 3);
    asker.with("forgetWslHost", host, None).await;
}

#[tokio::test]
async fn everything_that_is_described_is_there_and_closed_to_strangers() {
    let house = House::start().await;
    let described = Described::by(&house).await;
    let stranger = Rest::stranger(&house.gateway);
    for (name, operation) in described.operations() {
        let (method, path, _) = described.operation(&name);
        let path = path.replace("{id}", "1").replace("{access_key}", "A");
        let body = operation.get("requestBody").map(|_| json!({}));
        let (status, answer) = stranger.ask(&method, &path, body.as_ref()).await;
        described.check(&method, &path, status, &answer);
        let open = operation.get("security") == Some(&json!([]));
        match open {
            true => assert!([200, 400].contains(&status), "{name}: {status}"),
            false => assert_eq!(status, 401, "{name}"),
        }
    }
}

/// Panics where the description of an answer leaves open what may be in it.
fn closed(schema: &Value, name: &str) {
    if schema["type"] != "object" {
        return;
    }
    let fields = schema["properties"].as_object();
    let fields = fields.unwrap_or_else(|| panic!("{name} has no fields"));
    assert!(
        schema.get("additionalProperties").is_some(),
        "{name} is open"
    );
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for field in &required {
        let field = field.as_str().expect("a name");
        assert!(fields.contains_key(field), "{name} needs {field}");
    }
    for (field, schema) in fields {
        let inner = schema.get("items").unwrap_or(schema);
        if inner.get("properties").is_some() {
            closed(inner, &format!("{name}.{field}"));
        }
    }
}

#[tokio::test]
async fn the_description_of_an_answer_leaves_nothing_open() {
    let house = House::start().await;
    let described = Described::by(&house).await;
    for (name, schema) in described.schemas() {
        closed(&schema, &name);
    }
}

/// Something that is right for a property of this name; computers and activities that are not there.
fn example(name: &str) -> Value {
    match name {
        "computer_ids" | "activity_ids" => json!([777_777]),
        "packages" | "computer_names" => json!(["hello"]),
        "all_computers" => json!(true),
        "code" => json!("#!/bin/sh\nid"),
        "order" => json!("start"),
        "query" => json!("title:nobody"),
        _ => json!("x"),
    }
}

/// The properties that a body must have, where this one is among them or not.
fn needed<'a>(schema: &'a Value, property: &str) -> Vec<&'a str> {
    let names = |list: &'a Value| -> Vec<&'a str> {
        let list = list.as_array().into_iter().flatten();
        list.filter_map(Value::as_str).collect()
    };
    let mut all = names(&schema["required"]);
    for word in ["oneOf", "anyOf"] {
        let ways = schema[word].as_array().into_iter().flatten();
        let ways: Vec<Vec<&str>> = ways.map(|way| names(&way["required"])).collect();
        let way = ways.iter().find(|way| way.contains(&property));
        all.extend(way.or(ways.first()).into_iter().flatten());
    }
    all
}

/// A body with what it must have beside this property.
fn body_beside(schema: &Value, property: &str) -> Map<String, Value> {
    let mut body: Map<String, Value> = needed(schema, property)
        .into_iter()
        .map(|name| (name.to_owned(), example(name)))
        .collect();
    // A word that only some orders need.
    if schema["properties"].get("instance").is_some() {
        body.insert("instance".to_owned(), json!("Ubuntu"));
    }
    body
}

/// What a schema rules out.
fn wrong_of(schema: &Value) -> Vec<Value> {
    let mut wrong = match schema["type"].as_str() {
        Some("string" | "array" | "object") => vec![json!(7)],
        _ => vec![json!("x")],
    };
    let count = |name: &str| schema[name].as_u64().and_then(|n| usize::try_from(n).ok());
    if let Some(most) = count("maxLength") {
        wrong.push(json!("x".repeat(most + 1)));
    }
    if count("minLength").is_some() || count("minItems").is_some() {
        let none = schema["type"] == "string";
        wrong.push(if none { json!("") } else { json!([]) });
    }
    if let Some(most) = count("maxItems") {
        let words = schema["items"]["type"] == "string";
        let item = |at| {
            if words {
                json!(format!("x{at}"))
            } else {
                json!(at)
            }
        };
        wrong.push((0..=most).map(item).collect());
    }
    match schema["enum"][0] {
        Value::Bool(only) => wrong.push(json!(!only)),
        Value::String(_) => wrong.push(json!("no such word")),
        _ => {}
    }
    wrong.extend(schema["minimum"].as_i64().map(|least| json!(least - 1)));
    wrong.extend(schema["maximum"].as_i64().map(|most| json!(most + 1)));
    wrong.extend((schema["format"] == "date-time").then(|| json!("soon")));
    wrong.extend((schema["contentEncoding"] == "base64").then(|| json!("!")));
    if schema.get("items").is_some() {
        wrong.extend(
            wrong_of(&schema["items"])
                .into_iter()
                .map(|one| json!([one])),
        );
    }
    if schema["additionalProperties"].is_object() {
        let inner = wrong_of(&schema["additionalProperties"]).into_iter();
        wrong.extend(inner.map(|one| json!({"777777": one})));
    }
    wrong
}

#[tokio::test]
async fn whatever_the_description_of_a_body_rules_out_is_refused() {
    let full = Full::there().await;
    let rest = full.house.rest().await;
    let script = json!({"title": "kept", "code": "#!/bin/sh\nid"});
    let (_, script) = full.described.post(&rest, "/scripts", &script).await;
    let sql = "update wsl_host set accepted = true";
    full.house.database.sql(sql);
    let (mut tried, mut taken) = (0, Vec::new());
    for (name, operation) in full.described.operations() {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let (method, path, _) = full.described.operation(&name);
        let id = match path.as_str() {
            path if path.contains("scripts") => script["id"].to_string(),
            path if path.contains("wsl") || path.contains("children") => full.host.clone(),
            _ => full.computers[0].to_string(),
        };
        let path = path.replace("{id}", &id);
        let ask = async |body: Map<String, Value>| {
            let body = Value::Object(body);
            let (status, answer) = rest.ask(&method, &path, Some(&body)).await;
            full.described.check(&method, &path, status, &answer);
            (status, answer)
        };
        for (property, of) in schema["properties"].as_object().into_iter().flatten() {
            let right = body_beside(schema, property);
            let (_, told) = ask(right.clone()).await;
            let mut bodies: Vec<Map<String, Value>> = Vec::new();
            for wrong in wrong_of(of) {
                let mut body = right.clone();
                body.insert(property.clone(), wrong);
                bodies.push(body);
            }
            if needed(schema, property).contains(&property.as_str()) {
                let mut body = right.clone();
                body.remove(property);
                bodies.push(body);
            }
            for body in bodies {
                let shown: String = Value::Object(body.clone()).to_string();
                let shown: String = shown.chars().take(200).collect();
                let (status, answer) = ask(body).await;
                let refused = status == 400 || answer["error"] == "UnknownPackages";
                // Told as the right one is, something else was wrong with both.
                if !refused || answer == told {
                    taken.push(format!("{name} {property}: {shown} {status} {answer}"));
                }
                tried += 1;
            }
        }
    }
    assert!(taken.is_empty(), "{taken:#?}");
    assert!(tried > 150, "{tried}");
}

#[tokio::test]
async fn whatever_the_description_of_a_url_rules_out_is_refused() {
    let full = Full::there().await;
    let rest = full.house.rest().await;
    let mut tried = 0;
    for (name, operation) in full.described.operations() {
        let (method, path, _) = full.described.operation(&name);
        let id = match path.contains("wsl") {
            true => full.host.clone(),
            false => full.computers[0].to_string(),
        };
        let path = path.replace("{id}", &id);
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let (schema, field) = (&parameter["schema"], &parameter["name"]);
            if parameter["in"] != "query" || field == "names" {
                continue;
            }
            let mut wrong: Vec<String> = wrong_of(schema)
                .iter()
                // In a URL all is text.
                .filter(|wrong| schema["type"] != "string" || wrong.is_string())
                .map(|wrong| wrong.as_str().map_or(wrong.to_string(), str::to_owned))
                .collect();
            if field == "query" {
                wrong.push("colour:red".to_owned());
            }
            for wrong in wrong {
                let field = field.as_str().expect("a name");
                let target = format!("{path}?{field}={}", escaped(&wrong));
                let (status, answer) = rest.ask(&method, &target, None).await;
                full.described.check(&method, &target, status, &answer);
                assert_eq!(status, 400, "{name}: {target} {answer}");
                tried += 1;
            }
        }
    }
    assert!(tried > 50, "{tried}");
}

#[tokio::test]
async fn which_computers_an_order_is_for_is_said_in_one_way() {
    let full = Full::there().await;
    let (described, house) = (&full.described, &full.house);
    let rest = house.rest().await;
    let script = json!({"title": "kept", "code": "#!/bin/sh\nid"});
    let (_, script) = described.post(&rest, "/scripts", &script).await;
    let execute = format!("/scripts/{}/execute", script["id"]);
    let ids = json!([full.computers[0]]);
    for path in [
        execute.as_str(),
        "/packages/install",
        "/packages/remove",
        "/packages/upgrade",
    ] {
        for (of, expected) in [
            (
                json!({"query": "", "computer_ids": ids}),
                "InvalidParameter",
            ),
            (
                json!({"query": "web", "computer_ids": ids}),
                "InvalidParameter",
            ),
            (
                json!({"query": "web", "all_computers": true}),
                "InvalidParameter",
            ),
            (
                json!({"computer_ids": ids, "all_computers": true}),
                "InvalidParameter",
            ),
            (json!({"query": ""}), "InvalidQuery"),
            (json!({"query": " \t"}), "InvalidQuery"),
            (json!({"all_computers": false}), "MissingParameter"),
            (
                json!({"query": null, "computer_ids": null}),
                "MissingParameter",
            ),
        ] {
            let mut body = of;
            body["packages"] = json!(["bye"]);
            let (status, answer) = described.post(&rest, path, &body).await;
            assert_eq!(
                (status, &answer["error"]),
                (400, &json!(expected)),
                "{path} {body}"
            );
            let told = answer["message"].as_str().expect("text");
            let names = ["`query`", "`computer_ids`", "`all_computers`"];
            let named = names.into_iter().filter(|name| told.contains(name)).count();
            assert!(named >= 2, "{told}");
        }
    }
    assert_eq!(house.database.sql("select count(*) from activity"), "0");
    let all = json!({"all_computers": true});
    let (status, group) = described.post(&rest, &execute, &all).await;
    assert_eq!(
        (status, &group["computer_count"]),
        (200, &json!(2)),
        "{group}"
    );
    // A number that is named twice is one computer.
    let twice = json!({"computer_ids": [full.computers[0], full.computers[0]]});
    let (status, group) = described.post(&rest, &execute, &twice).await;
    assert_eq!(
        (status, &group["computer_count"]),
        (200, &json!(1)),
        "{group}"
    );
}
