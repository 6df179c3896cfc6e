//! Do packages get from agents into tables, answers and pages, and do all who look for them agree?

use std::collections::BTreeSet;

use e2e::bpickle::{Pickle, d, i, l, s, t, u};
use e2e::scripts::{answering, reply};
use e2e::{
    Agent, Broker, Database, Message, Raw, Service, SignedIn, Way, Worker, eventually, free_range,
};
use serde_json::{Value, json};

/// `[65537 hello 1.0][262148 libc6]`, SHA-1, by another program.
const HELLO: &str = "00c06f4f4b93504e0701e1f9f6a2b9c7ce127436";

fn bytes(hex: &str) -> Pickle {
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(pair, 16).expect("hexadecimal")
    };
    Pickle::Bytes(digits.map(byte).collect())
}

fn hello() -> Pickle {
    d([
        ("description", u("It says hello.")),
        ("installed-size", Pickle::Null),
        ("name", u("hello")),
        ("relations", l([t([i(262_148), u("libc6")])])),
        ("section", u("net")),
        ("size", i(1000)),
        ("summary", u("says hello")),
        ("type", i(65_537)),
        ("version", u("1.0")),
    ])
}

fn hashes(request: i64, hashes: Vec<Pickle>) -> Pickle {
    d([
        ("hashes", Pickle::List(hashes)),
        ("request-id", i(request)),
        ("type", u("unknown-package-hashes")),
    ])
}

async fn accepted(database: &Database, way: &Way<'_>, title: &str) -> Agent {
    database.sql("update account set registration_key = 'right'");
    let mut agent = Agent::new(title);
    agent.understands.push("package-ids".into());
    agent.understands.push("change-packages".into());
    agent.set_up(way, Some("right")).await;
    agent.exchange(way).await.expect("it is told its types");
    assert!(
        agent.types.contains(&"packages".into()),
        "{:?}",
        agent.types
    );
    agent
}

/// The answer to a question for numbers among messages.
fn ids(messages: &[Pickle], request: i64) -> Vec<Pickle> {
    let is = |message: &&Pickle| {
        message.at("type") == Some(&u("package-ids"))
            && message.at("request-id") == Some(&i(request))
    };
    let message = messages.iter().find(is);
    let message = message.unwrap_or_else(|| panic!("no answer to {request}: {messages:?}"));
    message.at("ids").expect("ids").list().to_vec()
}

#[tokio::test]
async fn a_package_is_asked_for_by_digest_described_once_and_then_spoken_of_by_number() {
    let database = Database::fresh();
    let worker = Service::start("message-server", &database);
    let way = Way::Port(worker.port());
    let mut agent = accepted(&database, &way, "first").await;
    let nobody = bytes(&"00".repeat(20));
    agent.report(hashes(1, vec![bytes(HELLO), nobody.clone()]));
    let messages = agent.exchange(&way).await.expect("an exchange");
    assert_eq!(ids(&messages, 1), [Pickle::Null, Pickle::Null]);

    agent.report(d([
        ("packages", l([hello(), hello()])),
        ("request-id", i(2)),
        ("type", u("add-packages")),
    ]));
    let messages = agent.exchange(&way).await.expect("an exchange");
    let told = ids(&messages, 2);
    let [Pickle::Int(id), again] = &told[..] else {
        panic!("two numbers: {told:?}");
    };
    assert_eq!(again, &i(*id));
    let stored =
        database.sql("select name, version, size, summary, encode(hash, 'hex') from package");
    assert_eq!(stored, format!("hello|1.0|1000|says hello|{HELLO}"));
    let relations = database.sql("select kind, expression from package_relation");
    assert_eq!(relations, "262148|libc6");

    // Another computer need not describe it.
    let mut other = accepted(&database, &way, "second").await;
    other.report(hashes(7, vec![nobody, bytes(HELLO)]));
    let messages = other.exchange(&way).await.expect("an exchange");
    assert_eq!(ids(&messages, 7), [Pickle::Null, i(*id)]);

    // What is malformed stops nothing and is asked for again.
    other.report(hashes(8, vec![s("short")]));
    other.report(d([
        ("code", i(0)),
        ("err", u("")),
        ("type", u("package-reporter-result")),
    ]));
    other.exchange(&way).await.expect("an exchange");
    let report = "select code from package_report join computer on id = computer_id \
                  where title = 'second'";
    assert_eq!(database.sql(report), "0");
    let asked = "select summary from activity where type = 'resynchronize'";
    assert_eq!(database.sql(asked), "Report package again");
}

#[tokio::test]
async fn what_a_computer_has_changes_by_numbers_and_spans_and_begins_anew() {
    let database = Database::fresh();
    let worker = Service::start("message-server", &database);
    let way = Way::Port(worker.port());
    let mut agent = accepted(&database, &way, "web-1").await;
    let sets = "select installed, available, upgrades, held, autoremovable, security \
                from computer_packages";
    agent.report(d([
        ("available", l([t([i(1), i(50)]), i(60)])),
        ("available-upgrades", l([i(5)])),
        ("autoremovable", l([i(3)])),
        ("installed", l([t([i(1), i(9)]), i(20)])),
        ("locked", l([i(4)])),
        ("security", l([i(5)])),
        ("type", u("packages")),
    ]));
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!(
        database.sql(sets),
        "{[1,10),[20,21)}|{[1,51),[60,61)}|{[5,6)}|{[4,5)}|{[3,4)}|{[5,6)}"
    );
    agent.report(d([
        ("installed", l([i(10)])),
        ("not-available-upgrades", l([i(5)])),
        ("not-installed", l([t([i(2), i(4)])])),
        ("not-locked", l([t([i(0), i(100)])])),
        ("type", u("packages")),
    ]));
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!(
        database.sql(sets),
        "{[1,2),[5,11),[20,21)}|{[1,51),[60,61)}|{}|{}|{[3,4)}|{[5,6)}"
    );
    // A span that ends before it begins is not stored, and what comes with it is not lost.
    agent.report(d([
        ("installed", l([t([i(9), i(1)])])),
        ("type", u("packages")),
    ]));
    agent.report(d([("installed", l([i(99)])), ("type", u("packages"))]));
    agent.exchange(&way).await.expect("an exchange");
    assert!(
        database
            .sql(sets)
            .starts_with("{[1,2),[5,11),[20,21),[99,100)}|")
    );

    // The agent lost what it knew: it tells everything that it has, and nothing that it has not.
    agent.report(d([("type", u("resynchronize"))]));
    agent.report(d([("installed", l([i(7)])), ("type", u("packages"))]));
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!(database.sql(sets), "{[7,8)}|{}|{}|{}|{}|{}");
    // One that was ordered for its network alone leaves the packages.
    let order = |scope: &str| {
        database.sql(&format!(
            "insert into activity (computer_id, type, summary, fields) \
             select id, 'resynchronize', 'x', 'du6:scopeslu{}:{scope};;' from computer returning id",
            scope.len()
        ))
    };
    for (scope, left) in [("network", "{[7,8)}"), ("package", "{}")] {
        let operation: i64 = order(scope).parse().expect("a number");
        agent.exchange(&way).await.expect("it fetches the order");
        agent.report(d([
            ("operation-id", i(operation)),
            ("type", u("resynchronize")),
        ]));
        agent.exchange(&way).await.expect("an exchange");
        assert_eq!(
            database.sql("select installed from computer_packages"),
            left,
            "{scope}"
        );
    }
}

#[tokio::test]
async fn an_order_to_change_packages_ends_with_what_it_would_have_needed() {
    let database = Database::fresh();
    let worker = Service::start("message-server", &database);
    let way = Way::Port(worker.port());
    let mut agent = accepted(&database, &way, "web-1").await;
    let operation = database.sql(
        "insert into activity (computer_id, type, summary, fields) \
         select id, 'change-packages', 'x', 'du7:installli9;;u6:policyi0;;' from computer returning id",
    );
    let operation: i64 = operation.parse().expect("a number");
    let orders = agent.exchange(&way).await.expect("it fetches the order");
    let order = orders
        .iter()
        .find(|one| one.at("type") == Some(&u("change-packages")));
    let order = order.expect("the order");
    assert_eq!(order.at("install"), Some(&l([i(9)])));
    assert_eq!(order.at("operation-id"), Some(&i(operation)));
    let result = |must_install| {
        d([
            ("must-install", must_install),
            ("must-remove", l([Pickle::Null])),
            ("operation-id", i(operation)),
            ("result-code", i(101)),
            ("type", u("change-packages-result")),
        ])
    };
    agent.report(result(l([i(11), i(12)])));
    agent.exchange(&way).await.expect("an exchange");
    // What is over is over.
    agent.report(result(l([i(13)])));
    agent.exchange(&way).await.expect("an exchange");
    let ended = database.sql("select status, result_code from activity");
    assert_eq!(ended, "failed|101");
    let needs = database.sql("select must_install, must_remove from change_packages_result");
    assert_eq!(needs, "{11,12}|{}");
}

/// Packages and computers as a test knows them: nothing but lists.
struct Model {
    /// Name, version, summary by number.
    packages: Vec<(String, String, String)>,
    computers: Vec<Holder>,
}

struct Holder {
    id: i64,
    account: i64,
    accepted: bool,
    /// Installed, available, upgrades, held, security.
    sets: [BTreeSet<i64>; 5],
}

impl Model {
    /// Random ones, written into the database.
    fn random(database: &Database, dice: &mut fastrand::Rng, computers: i64) -> Model {
        database.sql("insert into account (name, title) values ('other', 'Other')");
        let mut packages = Vec::new();
        let mut sql = String::new();
        for number in 1..=40 {
            let name = dice.choice(["alpha", "Beta", "gamma-lib", "delta+", "\u{e9}psilon"]);
            let version = format!("{}.{}", dice.u8(0..3), dice.u8(0..3));
            let summary = dice.choice(["a Server", "tool's tool", "gamma rays", "\u{c9}tude"]);
            let (name, summary) = (name.expect("some"), summary.expect("some"));
            sql += &format!(
                "insert into package (hash, kind, name, version, section, summary, description) \
                 values (decode(lpad('{number}', 40, '0'), 'hex'), 65537, '{name}', '{version}', '', \
                 '{}', '');",
                summary.replace('\'', "''")
            );
            packages.push((name.to_owned(), version, summary.to_owned()));
        }
        let mut holders = Vec::new();
        for id in 1..=computers {
            let (account, accepted) = (dice.i64(1..=2), dice.u8(..) > 40);
            sql += &format!(
                "insert into computer (account_id, accepted, title, hostname) \
                 values ({account}, {accepted}, 'c{id}', 'c{id}');"
            );
            let sets = std::array::from_fn(|_| {
                let share = dice.f64();
                // Numbers that nobody has described may occur.
                (0..45).filter(|_| dice.f64() < share * share).collect()
            });
            let holder = Holder {
                id,
                account,
                accepted,
                sets,
            };
            sql += &holder.sql();
            holders.push(holder);
        }
        database.sql(&sql);
        Model {
            packages,
            computers: holders,
        }
    }

    fn answer(&self, question: &Value) -> (usize, Vec<Value>) {
        let asked = |key: &str| question.get(key).filter(|value| !value.is_null());
        let named = |key: &str| asked(key).map(|value| value.as_array().expect("a list").clone());
        let (ids, names) = (named("computer_ids"), named("names"));
        let scope: Vec<&Holder> = self
            .computers
            .iter()
            .filter(|one| one.accepted && json!(one.account) == question["account_id"])
            .filter(|one| ids.as_ref().is_none_or(|ids| ids.contains(&json!(one.id))))
            .collect();
        let mut found = Vec::new();
        for (id, (name, version, summary)) in (1..).zip(&self.packages) {
            let on = |state: usize| -> Vec<i64> {
                let with = scope.iter().filter(|one| one.sets[state].contains(&id));
                with.map(|one| one.id).collect()
            };
            let text = asked("text").map(|text| text.as_str().expect("text").to_ascii_lowercase());
            let holds = |whole: &str| {
                text.as_ref()
                    .is_none_or(|text| whole.to_ascii_lowercase().contains(text))
            };
            let fits = ["installed", "available", "upgrade", "held", "security"]
                .iter()
                .enumerate()
                .all(|(state, key)| asked(key).is_none_or(|want| *want == !on(state).is_empty()));
            let known = (0..4).any(|state| !on(state).is_empty());
            let right = names
                .as_ref()
                .is_none_or(|names| names.contains(&json!(name)));
            if known && fits && right && (holds(name) || holds(summary)) {
                let most = asked("computers_max").map(|most| most.as_u64().expect("a number"));
                let most = most.map_or(usize::MAX, |most| usize::try_from(most).expect("small"));
                let some = |state| -> Vec<i64> { on(state).into_iter().take(most).collect() };
                let computers = json!({ "installed": some(0), "available": some(1),
                                        "upgrades": some(2), "held": some(3) });
                let mut package = json!({ "id": id, "name": name, "version": version,
                                          "summary": summary, "computers": computers });
                if asked("computers_max").is_some() {
                    package["counts"] = json!({ "installed": on(0).len(), "held": on(3).len(),
                                                "available": on(1).len(),
                                                "upgrades": on(2).len() });
                }
                found.push((name, version, id, package));
            }
        }
        found.sort_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)));
        let page = |key: &str| {
            let number = question[key].as_u64().expect("a number");
            usize::try_from(number).expect("small")
        };
        let shown = found.iter().skip(page("offset")).take(page("limit"));
        (found.len(), shown.map(|one| one.3.clone()).collect())
    }
}

impl Holder {
    /// What writes what it has.
    fn sql(&self) -> String {
        let sets = self.sets.each_ref().map(|set| {
            let spans: Vec<String> = set.iter().map(|id| format!("[{id},{id}]")).collect();
            format!("'{{{}}}'", spans.join(","))
        });
        format!(
            "insert into computer_packages (computer_id, installed, available, upgrades, held, \
                 security, reported_at) values ({}, {}, now()) \
             on conflict (computer_id) do update set installed = excluded.installed, \
                 available = excluded.available, upgrades = excluded.upgrades, \
                 held = excluded.held, security = excluded.security, \
                 written_by = pg_current_xact_id();",
            self.id,
            sets.join(", ")
        )
    }
}

fn question(dice: &mut fastrand::Rng) -> Value {
    let mut question = json!({ "account_id": dice.i64(1..=3), "computer_ids": null,
                               "limit": dice.u8(0..50), "offset": 0 });
    if dice.bool() {
        question["computer_ids"] = (0..dice.i64(0..6)).map(|_| dice.i64(0..12)).collect();
    }
    if dice.u8(..) < 80 {
        question["offset"] = json!(dice.u8(0..20));
    }
    if dice.u8(..) < 80 {
        let text = dice.choice(["GAMMA", "t", "\u{e9}", "TUDE", "'", "%", "nothing", ""]);
        question["text"] = json!(text.expect("some"));
    }
    if dice.u8(..) < 60 {
        question["names"] = json!([
            dice.choice(["alpha", "beta", "Beta"]).expect("some"),
            "delta+"
        ]);
    }
    for key in ["installed", "available", "upgrade", "held", "security"] {
        if dice.u8(..) < 60 {
            question[key] = json!(dice.bool());
        }
    }
    if dice.u8(..) < 80 {
        question["computers_max"] = json!(dice.u8(0..5));
    }
    question
}

/// The same for programs: the account is theirs, and they are told all computers.
fn path(question: &Value) -> String {
    let list = |key: &str, before: &str, between: &str| {
        let values = question[key].as_array()?.iter();
        let values: Vec<String> = values
            .map(|value| match value.as_str() {
                Some(text) => format!("{before}{text}"),
                None => format!("{before}{value}"),
            })
            .collect();
        Some(values.join(between))
    };
    let mut asked = vec![
        ("limit", question["limit"].to_string()),
        ("offset", question["offset"].to_string()),
    ];
    asked.extend(list("computer_ids", "id:", " OR ").map(|query| ("query", query)));
    asked.extend(list("names", "", ",").map(|names| ("names", names)));
    let text = question.get("text").and_then(Value::as_str);
    asked.extend(text.map(|text| ("search", text.to_owned())));
    for key in ["installed", "available", "upgrade", "held", "security"] {
        asked.extend(question.get(key).map(|value| (key, value.to_string())));
    }
    let asked: Vec<String> = asked
        .iter()
        .map(|(key, value)| {
            let bytes = value.bytes().map(|byte| format!("%{byte:02X}"));
            format!("{key}={}", bytes.collect::<String>())
        })
        .collect();
    format!("/api/v2/packages?{}", asked.join("&"))
}

async fn search(port: u16, question: &Value) -> Message {
    let mut raw = Raw::tcp(port).await;
    let kind = ["Content-Type: application/json"];
    raw.ask("POST", "/v1/search", &kind, question.to_string().as_bytes())
        .await
}

fn read(reply: &Message) -> Value {
    assert_eq!(reply.status(), 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).expect("JSON")
}

#[tokio::test]
async fn package_search_finds_what_there_is_and_follows_what_changes() {
    let database = Database::fresh();
    let mut dice = fastrand::Rng::with_seed(5);
    let mut model = Model::random(&database, &mut dice, 9);
    let fast = [("PACKAGE_SEARCH__REFRESH", "50ms")];
    let worker = Service::at("package-search", &database, free_range(1), &fast);
    let port = worker.port();
    eventually("it is loaded", || async {
        let reply = Raw::tcp(port).await.get("/health").await;
        (reply.status() == 200).then_some(())
    })
    .await;
    for round in 0..300 {
        let question = question(&mut dice);
        let answer = read(&search(port, &question).await);
        let (count, packages) = model.answer(&question);
        assert_eq!(answer["count"], json!(count), "{round}: {question}");
        assert_eq!(answer["packages"], json!(packages), "{round}: {question}");
    }
    // A transaction that began before others and ends after them is not overlooked.
    let everything = json!({ "account_id": 1, "computer_ids": null, "limit": 1000, "offset": 0 });
    let changed = |model: &mut Model, at: usize| {
        model.computers[at].sets[0].extend([1, 2, 3]);
        model.computers[at].sets[1].clear();
        model.computers[at].sql()
    };
    let mine = |one: &&Holder| one.account == 1 && one.accepted;
    let places: Vec<usize> = (0..9).filter(|at| mine(&&model.computers[*at])).collect();
    let [first, second, ..] = places[..] else {
        panic!("two computers of the first account");
    };
    let early = changed(&mut model, first);
    let held = database.hold(&early);
    database.sql(&changed(&mut model, second));
    let as_of = |answer: &Value| answer["as_of"].as_i64().expect("a time");
    let before = as_of(&read(&search(port, &everything).await));
    eventually("it has looked again", || async {
        let answer = read(&search(port, &everything).await);
        (as_of(&answer) > before + 200).then_some(())
    })
    .await;
    let answer = read(&search(port, &everything).await);
    assert_ne!(
        answer["packages"],
        json!(model.answer(&everything).1),
        "not committed yet"
    );
    held.commit();
    eventually("it has found both", || async {
        let answer = read(&search(port, &everything).await);
        (answer["packages"] == json!(model.answer(&everything).1)).then_some(())
    })
    .await;
    // A computer that is removed is gone from answers.
    let gone = model.computers.remove(first);
    database.sql(&format!("delete from computer where id = {}", gone.id));
    eventually("it is gone", || async {
        let answer = read(&search(port, &everything).await);
        (answer["packages"] == json!(model.answer(&everything).1)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_question_that_is_none_is_refused_and_a_hint_is_taken() {
    let database = Database::fresh();
    let slow = [("PACKAGE_SEARCH__REFRESH", "1h")];
    let worker = Service::at("package-search", &database, free_range(1), &slow);
    let port = worker.port();
    eventually("it is loaded", || async {
        let reply = Raw::tcp(port).await.get("/health").await;
        (reply.status() == 200).then_some(())
    })
    .await;
    for wrong in [
        json!({}),
        json!([]),
        json!({ "account_id": "x", "limit": 1, "offset": 0 }),
        json!({ "account_id": 1, "limit": 1, "offset": 0, "colour": 1 }),
    ] {
        let reply = search(port, &wrong).await;
        assert_eq!(reply.status(), 400, "{wrong}");
        let told: Value = serde_json::from_slice(&reply.body).expect("JSON");
        assert!(told["message"].is_string() && told["error"].is_string());
    }
    let all = json!({ "account_id": 1, "limit": 10, "offset": 0 });
    assert_eq!(read(&search(port, &all).await)["count"], 0);
    database.sql(
        "insert into computer (account_id, accepted, title, hostname) values (1, true, 'a', 'a'); \
         insert into package (hash, kind, name, version, section, summary, description) \
         values (decode(repeat('00', 20), 'hex'), 65537, 'x', '1', '', '', ''); \
         insert into computer_packages (computer_id, installed, reported_at) \
         select computer.id, '{[1,1]}', now() from computer",
    );
    assert_eq!(read(&search(port, &all).await)["count"], 0);
    let mut raw = Raw::tcp(port).await;
    let reply = raw
        .ask("POST", "/v1/invalidate", &[], br#"{"computer_ids":[1]}"#)
        .await;
    assert_eq!(reply.status(), 202);
    eventually("it has looked", || async {
        (read(&search(port, &all).await)["count"] == 1).then_some(())
    })
    .await;
    let metrics = Raw::tcp(port).await.get("/metrics").await.text();
    for line in [
        "backends_package_searches_total{end=\"malformed\"} 4",
        "backends_package_index{what=\"packages\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

/// A report that these are installed.
fn installed(first: i64, last: i64) -> Pickle {
    d([
        ("installed", l([t([i(first), i(last)])])),
        ("type", u("packages")),
    ])
}

#[tokio::test]
async fn one_note_tells_of_all_that_a_computer_reports_of_its_packages_in_an_exchange() {
    let database = Database::fresh();
    let worker = Service::start("message-server", &database);
    let way = Way::Port(worker.port());
    let mut agent = accepted(&database, &way, "web-1").await;
    // As if a relay were there: notes are kept from now on.
    database.sql("update outbox_relay set seen_at = now()");
    let notes = "select string_agg(subject, ' ') from outbox where topic = 'computer.packages'";
    for first in [1, 100, 200] {
        agent.report(installed(first, first + 50));
    }
    agent.exchange(&way).await.expect("an exchange");
    let id = database.sql("select id from computer");
    assert_eq!(database.sql(notes), id);
    // Who tells nothing of packages is not told of, and who begins anew is.
    agent.report(d([("data", u("<lshw/>")), ("type", u("hardware-info"))]));
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!(database.sql(notes), id);
    agent.report(d([("type", u("resynchronize"))]));
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!(database.sql(notes), format!("{id} {id}"));
}

#[tokio::test]
async fn package_search_knows_what_it_is_told_without_a_look_of_its_own() {
    let (database, broker) = (Database::fresh(), Broker::fresh());
    let one = |name: &str, more: &[(&str, &str)]| {
        Service::at(name, &database, free_range(1), &broker.with(more))
    };
    let _relay = one("outbox-relay", &[]);
    let messages = one("message-server", &[]);
    let searcher = one("package-search", &[("PACKAGE_SEARCH__REFRESH", "1h")]);
    let (way, port) = (Way::Port(messages.port()), searcher.port());
    eventually("a relay works and package search listens", || async {
        let alive = database.sql("select seen_at > now() - interval '1 minute' from outbox_relay");
        let listens = searcher.log().contains("the broker is there");
        let loaded = Raw::tcp(port).await.get("/health").await.status() == 200;
        (alive == "t" && listens && loaded).then_some(())
    })
    .await;
    let all = json!({ "account_id": 1, "limit": 10, "offset": 0 });
    assert_eq!(read(&search(port, &all).await)["count"], 0);

    // A computer that is new, a package that is new, and what it has.
    let mut agent = accepted(&database, &way, "web-1").await;
    agent.report(d([
        ("packages", l([hello()])),
        ("request-id", i(1)),
        ("type", u("add-packages")),
    ]));
    let messages = agent.exchange(&way).await.expect("an exchange");
    let [Pickle::Int(id)] = ids(&messages, 1)[..] else {
        panic!("a number: {messages:?}");
    };
    agent.report(installed(id, id));
    agent.exchange(&way).await.expect("an exchange");
    eventually("it is told", || async {
        (read(&search(port, &all).await)["count"] == 1).then_some(())
    })
    .await;
    // What it has no more, and a computer that is gone.
    let upgrades = json!({ "account_id": 1, "limit": 10, "offset": 0, "upgrade": true });
    agent.report(d([
        ("available-upgrades", l([i(id)])),
        ("not-installed", l([i(id)])),
        ("type", u("packages")),
    ]));
    agent.exchange(&way).await.expect("an exchange");
    eventually("it is told of the change", || async {
        (read(&search(port, &upgrades).await)["count"] == 1).then_some(())
    })
    .await;
    database.sql(
        "delete from computer; \
         insert into outbox (topic, subject) values ('computer.removed', '1')",
    );
    eventually("it is told that the computer is gone", || async {
        (read(&search(port, &all).await)["count"] == 0).then_some(())
    })
    .await;
}

async fn page(server: &Service, somebody: &SignedIn, path: &str) -> String {
    let mut raw = Raw::tcp(server.port()).await;
    let reply = raw.ask("GET", path, &[&somebody.cookie], b"").await;
    assert_eq!(reply.status(), 200, "{path}: {}", reply.text());
    reply.text()
}

#[tokio::test]
async fn pages_show_the_same_whether_package_search_answers_or_the_database() {
    let database = Database::fresh();
    let mut dice = fastrand::Rng::with_seed(6);
    let model = Model::random(&database, &mut dice, 60);
    let mut searcher = Service::start("package-search", &database);
    eventually("it is loaded", || async {
        let reply = Raw::tcp(searcher.port()).await.get("/health").await;
        (reply.status() == 200).then_some(())
    })
    .await;
    let url = format!("http://127.0.0.1:{}/v1/search", searcher.port());
    let somebody = database.signed_in();
    // However long an answer takes here, it is the index's.
    let by_index = [
        ("PACKAGE_SEARCH__URL", url.as_str()),
        ("PACKAGE_SEARCH__TIMEOUT", "60s"),
    ];
    let by_index = Service::at("appserver", &database, free_range(1), &by_index);
    let by_sql = Service::start("appserver", &database);
    let mut paths = Vec::new();
    for state in [
        "installed",
        "upgrade",
        "security",
        "held",
        "available",
        "nonsense",
    ] {
        for text in ["", "gamma", "%C3%A9", "%25", "tool%27s", "%00"] {
            paths.push(format!("/packages?state={state}&text={text}"));
            // Pages show what is of the account of whoever looks.
            let ours = model.computers.iter().filter(|one| one.account == 1);
            let id = dice.choice(ours.map(|one| one.id).collect::<Vec<_>>());
            let id = id.expect("a computer of the first account");
            paths.push(format!(
                "/computers/{id}/packages?state={state}&text={text}"
            ));
        }
    }
    paths.push("/packages?from=5".to_owned());
    for path in &paths {
        let pages = (
            page(&by_index, &somebody, path).await,
            page(&by_sql, &somebody, path).await,
        );
        assert_eq!(pages.0, pages.1, "{path}");
    }
    let count = paths.len();
    for (server, by) in [(&by_index, "index"), (&by_sql, "sql")] {
        let metrics = Raw::tcp(server.port()).await.get("/metrics").await.text();
        let line = format!("backends_package_questions_total{{by=\"{by}\"}} {count}");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    // What is shown is what there is.
    let installed = json!({ "account_id": 1, "limit": 100, "offset": 0, "installed": true });
    let (count, packages) = model.answer(&installed);
    let shown = page(&by_index, &somebody, "/packages").await;
    assert!(
        shown.contains(&format!(">{count} packages.</p>")),
        "{shown}"
    );
    for package in packages {
        let version = package["version"].as_str().expect("text");
        assert!(shown.contains(&format!(">{version}</td>")), "{version}");
    }

    // Without package search the page is the same, a little later.
    let wanted = page(&by_index, &somebody, "/packages").await;
    searcher.kill();
    assert_eq!(page(&by_index, &somebody, "/packages").await, wanted);
    let mut raw = Raw::tcp(by_index.port()).await;
    assert_eq!(raw.ask("GET", "/packages", &[], b"").await.status(), 303);
    let mut raw = Raw::tcp(by_index.port()).await;
    let reply = raw
        .ask("GET", "/computers/77/packages", &[&somebody.cookie], b"")
        .await;
    assert_eq!(reply.status(), 404);
}

#[tokio::test]
async fn the_database_finds_what_there_is() {
    for (seed, computers) in [(7, 9), (8, 40)] {
        let database = Database::fresh();
        let mut dice = fastrand::Rng::with_seed(seed);
        let model = Model::random(&database, &mut dice, computers);
        let api = Service::start("api", &database);
        let somebody = database.signed_in();
        for round in 0..200 {
            let mut question = question(&mut dice);
            question["account_id"] = json!(1);
            question["limit"] = json!(dice.u8(1..50));
            let fields = question.as_object_mut().expect("an object");
            fields.remove("computers_max");
            // An empty word is none, and no number is every computer.
            fields.retain(|_, value| *value != json!("") && *value != json!([]));
            let shown = page(&api, &somebody, &path(&question)).await;
            let answer: Value = serde_json::from_str(&shown).expect("JSON");
            let (count, packages) = model.answer(&question);
            assert_eq!(answer["count"], json!(count), "{seed} {round}: {question}");
            assert_eq!(
                answer["results"],
                json!(packages),
                "{seed} {round}: {question}"
            );
        }
    }
}

#[tokio::test]
async fn the_database_answers_for_a_fleet_too() {
    let database = Database::fresh();
    // What computers have is scattered: 2000 spans installed, a hundred holes in what is available.
    database.sql(
        "insert into package (hash, kind, name, version, section, summary, description) \
         select decode(lpad(id::text, 40, '0'), 'hex'), 65537, 'p' || lpad(id::text, 5, '0'), '1', \
             '', 'a package', '' from generate_series(1, 20000) id; \
         insert into computer (account_id, accepted, title, hostname) \
         select 1, true, 'c', 'c' from generate_series(1, 40); \
         insert into computer_packages \
             (computer_id, installed, available, upgrades, security, reported_at) \
         select computer.id, \
             range_agg(span) filter (where (7 * number + 3 * computer.id) % 10 = 0), \
             range_agg(span) filter (where (number + computer.id) % 200 <> 0), \
             range_agg(span) filter (where (number + computer.id) % 1000 = 0), \
             range_agg(span) filter (where (number + computer.id) % 1000 = 0), now() \
         from computer, generate_series(1, 20000) number, int8range(number, number, '[]') span \
         group by computer.id; \
         analyze",
    );
    let server = Service::start("appserver", &database);
    let somebody = database.signed_in();
    // More often than the database plans a statement anew.
    for (asked, count, shown) in [
        ("state=installed", "20000", "p00001"),
        ("state=installed&from=4900", "20000", "p04901"),
        ("state=available", "20000", "p00001"),
        ("state=available&from=4900", "20000", "p04901"),
        ("state=upgrade", "800", "p00960"),
        ("state=security&from=700", "800", "p17980"),
        ("state=held", "0", "No package"),
        ("state=installed&text=p0444", "10", "p04449"),
        ("state=upgrade&text=package", "800", "p00960"),
        ("state=security&text=p0096", "10", "p00969"),
    ] {
        let page = page(&server, &somebody, &format!("/packages?{asked}")).await;
        let found = format!(">{count} packages.</p>");
        assert!(page.contains(&found), "{asked}: {page}");
        assert!(page.contains(shown), "{asked}: {page}");
        // So many computers have it, and the first of them are named.
        let some = "title=\"1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, \
                    \u{2026}\">";
        assert_eq!(page.contains(some), count != "0", "{asked}: {page}");
    }
}

#[tokio::test]
async fn a_package_search_of_before_is_understood() {
    let database = Database::fresh();
    let found = json!({ "count": 1, "as_of": 1, "packages": [
        { "id": 7, "name": "hello", "version": "1", "summary": "", "computers":
          { "installed": (1..=25).collect::<Vec<_>>(), "available": [], "upgrades": [3], "held": [] } },
    ] });
    // It refuses whatever it does not know.
    let searcher = Worker::start(answering(move |question| {
        match question.text().contains("computers_max") {
            true => reply(400, "{}"),
            false => reply(200, found.to_string()),
        }
    }))
    .await;
    let url = format!("http://127.0.0.1:{}/v1/search", searcher.port());
    let settings = [("PACKAGE_SEARCH__URL", url.as_str())];
    let server = Service::at("appserver", &database, free_range(1), &settings);
    let shown = page(&server, &database.signed_in(), "/packages").await;
    assert!(shown.contains("18, 19, 20, \u{2026}\">25</td>"), "{shown}");
    assert!(shown.contains("title=\"3\">1</td>"), "{shown}");
}

#[tokio::test]
async fn a_package_search_that_does_not_answer_costs_no_more_than_its_timeout() {
    let database = Database::fresh();
    // It takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "http://{}/v1/search",
        silent.local_addr().expect("an address")
    );
    let settings = [
        ("PACKAGE_SEARCH__URL", url.as_str()),
        ("PACKAGE_SEARCH__TIMEOUT", "100ms"),
    ];
    let server = Service::at("appserver", &database, free_range(1), &settings);
    let shown = page(&server, &database.signed_in(), "/packages").await;
    assert!(shown.contains(">0 packages.</p>"), "{shown}");
    assert!(
        server.log().contains("no answer in time"),
        "{}",
        server.log()
    );
}
