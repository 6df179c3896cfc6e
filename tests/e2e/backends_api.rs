//! Do programs find and change behind the edge what they may, and do answers look as they are described?

use e2e::bpickle::{Pickle, d, i, u};
use e2e::house::network;
use e2e::person::EMAIL;
use e2e::{Agent, Gateway, House, Rest, eventually, within};
use serde_json::{Value, json};

/// The description that is served, and what it says of answers.
pub struct Described(Value);

impl Described {
    pub async fn by(house: &House) -> Described {
        Described::behind(&house.gateway).await
    }

    pub async fn behind(gateway: &Gateway) -> Described {
        let (status, document) = Rest::stranger(gateway).get("/openapi.json").await;
        assert_eq!(status, 200);
        Described(document)
    }

    /// All operations by their names.
    pub fn operations(&self) -> Vec<(String, Value)> {
        let paths = self.0["paths"].as_object().expect("paths").values();
        let all = paths.flat_map(|path| path.as_object().expect("operations").values());
        let named = |one: &Value| {
            let name = one["operationId"].as_str().expect("a name");
            (name.to_owned(), one.clone())
        };
        all.map(named).collect()
    }

    /// What answers are made of, by name.
    pub fn schemas(&self) -> Vec<(String, Value)> {
        let all = self.0["components"]["schemas"].as_object();
        let all = all.expect("schemas").iter();
        all.map(|(name, schema)| (name.clone(), schema.clone()))
            .collect()
    }

    /// Method, path and description of the operation of this name.
    pub fn operation(&self, name: &str) -> (String, String, Value) {
        for (path, operations) in self.0["paths"].as_object().expect("paths") {
            for (method, one) in operations.as_object().expect("operations") {
                if one["operationId"] == name {
                    return (method.to_uppercase(), path.clone(), one.clone());
                }
            }
        }
        panic!("{name} is not described")
    }

    /// The described path that a path is, which may have a query.
    fn path(&self, path: &str) -> String {
        let path = path.split('?').next().expect("a path");
        let paths = self.0["paths"].as_object().expect("paths");
        let parts: Vec<&str> = path.split('/').collect();
        let fits = |template: &&String| {
            let own: Vec<&str> = template.split('/').collect();
            let same = |(own, part): (&&str, &&str)| own == part || own.starts_with('{');
            own.len() == parts.len() && own.iter().zip(&parts).all(same)
        };
        // A path without a variable is meant rather than one with.
        let mut found: Vec<&String> = paths.keys().filter(fits).collect();
        found.sort_by_key(|template| template.matches('{').count());
        let first = found.first();
        first
            .unwrap_or_else(|| panic!("{path} is not described"))
            .to_string()
    }

    /// Panics where an answer is not as it is described.
    pub fn check(&self, method: &str, path: &str, status: u16, answer: &Value) {
        let operation = &self.0["paths"][self.path(path)][method.to_lowercase()];
        assert!(operation.is_object(), "{method} {path} is not described");
        let responses = &operation["responses"];
        let described = match responses.get(status.to_string()) {
            Some(described) => described,
            None if (200..300).contains(&status) => panic!("{method} {path}: {status}"),
            None => &self.0["components"]["responses"]["Refused"],
        };
        let Some(content) = described.get("content") else {
            assert_eq!(
                answer,
                &Value::Null,
                "{method} {path}: no body is described"
            );
            return;
        };
        let mut schema = content["application/json"]["schema"].clone();
        schema["components"] = self.0["components"].clone();
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let problems: Vec<String> = validator
            .iter_errors(answer)
            .map(|problem| format!("{}: {problem}", problem.instance_path()))
            .collect();
        assert!(
            problems.is_empty(),
            "{method} {path} {status}: {problems:?}\n{answer:#}"
        );
    }

    pub async fn get(&self, rest: &Rest<'_>, path: &str) -> (u16, Value) {
        let (status, answer) = rest.get(path).await;
        self.check("GET", path, status, &answer);
        (status, answer)
    }

    pub async fn post(&self, rest: &Rest<'_>, path: &str, body: &Value) -> (u16, Value) {
        let (status, answer) = rest.post(path, body).await;
        self.check("POST", path, status, &answer);
        (status, answer)
    }
}

#[tokio::test]
async fn a_script_goes_from_the_api_over_ping_and_exchange_to_its_result() {
    let house = House::start().await;
    let described = Described::by(&house).await;
    let rest = house.rest().await;
    let (mut agent, id) = house.computer("web-1").await;

    let script = json!({"title": "Who", "code": "#!/bin/sh\nid\n", "username": "agent",
                        "time_limit": 60});
    let (status, script) = described.post(&rest, "/scripts", &script).await;
    assert_eq!(status, 201, "{script}");
    let path = format!("/scripts/{}/execute", script["id"]);
    let (status, group) = described
        .post(&rest, &path, &json!({"query": "web-1"}))
        .await;
    assert_eq!(status, 200, "{group}");
    assert_eq!(group["type"], "ActivityGroup");
    assert_eq!(group["activity_status"], "undelivered");

    eventually("a ping says yes", || async {
        agent.ping(&house.way()).await.then_some(())
    })
    .await;
    let orders = agent.exchange(&house.way()).await.expect("an exchange");
    let order = &orders[0];
    assert_eq!(order.at("type").expect("a type").text(), "execute-script");
    assert_eq!(order.at("interpreter").expect("one").text(), "/bin/sh");
    assert_eq!(order.at("code").expect("code").text(), "id\n");
    assert_eq!(order.at("username").expect("a user").text(), "agent");
    assert_eq!(order.at("time-limit").expect("a limit").int(), 60);
    let operation = order.at("operation-id").expect("a number").int();
    let path = format!("/activities/{}", group["id"]);
    let (_, seen) = described.get(&rest, &path).await;
    assert_eq!(seen["activity_status"], "delivered");
    assert_eq!(seen["children"][0]["id"], operation);
    assert_eq!(seen["children"][0]["computer_id"], id);

    agent.report(d([
        ("operation-id", i(operation)),
        ("result-text", u("uid=995(agent) <b>\n")),
        ("status", i(6)),
        ("type", u("operation-result")),
    ]));
    agent.exchange(&house.way()).await.expect("an exchange");
    let (_, seen) = described.get(&rest, &path).await;
    assert_eq!(seen["activity_status"], "succeeded");
    let child = &seen["children"][0];
    assert_eq!(child["activity_status"], "succeeded");
    assert_eq!(child["result_text"], "uid=995(agent) <b>\n");
    assert_eq!(child["type"], "ExecuteScriptRequest");
    assert_eq!(child["creator"]["email"], EMAIL);
    let (_, parents) = described.get(&rest, "/activities/parents").await;
    assert_eq!(
        parents["results"][0]["children_statuses"],
        json!({"succeeded": 1})
    );
    // And on the pages.
    let browser = house.browser().await;
    let page = browser.get(&path).await.text();
    assert!(page.contains("uid=995(agent) &lt;b&gt;"), "{page}");
    let page = browser.get("/activities").await.text();
    assert!(
        page.contains("Run script: Who") && page.contains("1 succeeded"),
        "{page}"
    );
}

#[tokio::test]
async fn interfaces_are_the_same_in_the_api_in_the_database_and_on_the_page() {
    let house = House::start().await;
    let described = Described::by(&house).await;
    let rest = house.rest().await;
    let (mut agent, id) = house.computer("web-1").await;
    for address in ["192.0.2.2", "192.0.2.9"] {
        agent.report(network(address));
        agent.exchange(&house.way()).await.expect("an exchange");
        let eth0 = json!([{
            "interface": "eth0",
            "ip_address": address,
            "mac_address": "02:fc:00:00:00:01",
            "broadcast_address": "192.0.2.255",
            "netmask": "255.255.255.0",
        }]);
        let path = format!("/computers?query=ip:{address}&with_network=true");
        let (_, found) = described.get(&rest, &path).await;
        assert_eq!(found["count"], 1, "{found}");
        assert_eq!(found["results"][0]["network_devices"], eth0);
        let one = format!("/computers/{id}?with_network=true");
        let (_, found) = described.get(&rest, &one).await;
        assert_eq!(found["network_devices"], eth0);
        let sql = "select host(ip_address), host(netmask), speed from network_interface";
        let row = format!("{address}|255.255.255.0|1000");
        assert_eq!(house.database.sql(sql), row);
        let page = house
            .browser()
            .await
            .get(&format!("/computers/{id}"))
            .await
            .text();
        assert!(page.contains(&format!(">{address}</td>")), "{page}");
    }
    let (_, found) = described.get(&rest, "/computers?query=ip:192.0.2.2").await;
    assert_eq!(found["count"], 0, "it was before");
    let (_, found) = described.get(&rest, "/computers").await;
    assert_eq!(found["results"][0].get("network_devices"), None);
}

#[tokio::test]
async fn lists_come_in_pages_that_name_the_next_and_the_previous() {
    let house = House::start().await;
    let described = Described::by(&house).await;
    let rest = house.rest().await;
    for number in 0..5 {
        house.computer(&format!("web-{number}")).await;
    }
    house.computer("db").await;
    let mut path = "/computers?query=web+tag:blue&limit=2".to_owned();
    let mut titles = Vec::new();
    let mut pages = 0;
    loop {
        let (status, page) = described.get(&rest, &path).await;
        assert_eq!((status, &page["count"]), (200, &json!(5)), "{page}");
        assert_eq!(page["previous"].is_null(), pages == 0, "{page}");
        for one in page["results"].as_array().expect("results") {
            titles.push(one["title"].as_str().expect("a title").to_owned());
        }
        pages += 1;
        let Some(next) = page["next"].as_str() else {
            break;
        };
        let rest = next.strip_prefix("https://edge.test/api/v2");
        path = rest
            .unwrap_or_else(|| panic!("of this site: {next}"))
            .to_owned();
    }
    assert_eq!(
        (pages, titles.join(" ")),
        (3, "web-0 web-1 web-2 web-3 web-4".to_owned())
    );
    for wrong in [
        "limit=0",
        "limit=x",
        "offset=-1",
        "query=colour:red",
        "query=%22",
    ] {
        let (status, _) = described.get(&rest, &format!("/computers?{wrong}")).await;
        assert_eq!(status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn tokens_end_when_they_are_voided_and_say_who_somebody_is() {
    let house = House::start().await;
    let described = Described::by(&house).await;
    let (first, second) = (house.rest().await, house.rest().await);
    let (_, me) = described.get(&first, "/person").await;
    assert_eq!(
        (me["email"].as_str(), me["role"].as_str()),
        (Some(EMAIL), Some("administrator"))
    );

    // The documented claims, in a token that anybody can read.
    let token = first.token.clone().expect("a token");
    let claims = token.split('.').nth(1).expect("three parts");
    use base64::Engine as _;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims);
    let claims: Value = serde_json::from_slice(&claims.expect("base64")).expect("JSON");
    assert_eq!(
        (claims["sub"].as_str(), claims["acc"].as_str()),
        (Some(EMAIL), Some("standalone"))
    );
    assert_eq!(claims["id"], me["id"]);
    let life = claims["exp"].as_i64().expect("exp") - claims["iat"].as_i64().expect("iat");
    assert_eq!(life, 24 * 3600);

    for path in [
        "/tokens/invalidate-me",
        "/tokens/invalidate-account",
        "/tokens/invalidate-system",
    ] {
        let rest = house.rest().await;
        let other = house.rest().await;
        let (status, _) = described.post(&rest, path, &json!({})).await;
        assert_eq!(status, 204, "{path}");
        for void in [&rest, &other, &first, &second] {
            let (status, _) = described.get(void, "/computers").await;
            assert_eq!(status, 401, "{path}");
        }
        // Who logs in at once has a token that counts.
        let (status, _) = described.get(&house.rest().await, "/computers").await;
        assert_eq!(status, 200, "{path}");
    }
}

#[tokio::test]
async fn nobody_gets_in_without_a_token_of_ours_or_beyond_their_role() {
    let house = House::start().await;
    let described = Described::by(&house).await;
    let (_, id) = house.computer("web-1").await;
    let mut stranger = Rest::stranger(&house.gateway);
    for token in [None, Some("x"), Some("a.b.c"), Some("")] {
        stranger.token = token.map(str::to_owned);
        let (status, _) = described.get(&stranger, "/computers").await;
        assert_eq!(status, 401, "{token:?}");
    }
    stranger.token = None;
    for (body, expected) in [
        (json!({"email": EMAIL, "password": "wrong horse"}), 401),
        (
            json!({"email": "nobody@edge.test", "password": "correct horse"}),
            401,
        ),
        (json!({"email": EMAIL}), 400),
        (json!({"email": 7, "password": "x"}), 400),
        (
            json!({"email": EMAIL, "password": "correct horse", "account": "other"}),
            403,
        ),
        (
            json!({"email": EMAIL, "password": "correct horse", "expiry_minutes": 0}),
            400,
        ),
        (
            json!({"identity": "ADA@edge.test", "password": "correct horse"}),
            200,
        ),
    ] {
        let (status, answer) = described.post(&stranger, "/login", &body).await;
        assert_eq!(status, expected, "{body} {answer}");
    }

    house.database.person("vera@edge.test", "viewer");
    let viewer = Rest::log_in(&house.gateway, "vera@edge.test").await;
    let (status, _) = described.get(&viewer, "/computers").await;
    assert_eq!(status, 200);
    for (path, body) in [
        (format!("/computers/{id}/restart"), json!({})),
        (
            "/computers:delete".to_owned(),
            json!({"computer_ids": [id]}),
        ),
        (
            "/scripts".to_owned(),
            json!({"title": "x", "code": "#!/bin/sh\nid"}),
        ),
        (
            "/pending-computers/accept".to_owned(),
            json!({"computer_ids": [id]}),
        ),
        ("/tokens/invalidate-system".to_owned(), json!({})),
    ] {
        let (status, answer) = described.post(&viewer, &path, &body).await;
        assert_eq!(
            (status, answer["error"].as_str()),
            (403, Some("Unauthorised")),
            "{path}"
        );
    }
    assert_eq!(house.database.sql("select count(*) from activity"), "0");
    // A form, as a page of another site could send it, changes nothing.
    let rest = house.rest().await;
    let bearer = format!(
        "Authorization: Bearer {}",
        rest.token.clone().expect("a token")
    );
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let path = format!("/api/v2/computers/{id}/restart");
    for (fields, body) in [
        (vec![bearer.as_str(), kind], b"a=b".as_slice()),
        (vec![&bearer, kind], b""),
        (vec![&bearer, "Content-Type: text/plain"], b""),
        (vec![&bearer], b"{}"),
    ] {
        let mut raw = house.gateway.https().await;
        let reply = raw.ask("POST", &path, &fields, body).await;
        assert_eq!(reply.status(), 415, "{fields:?}");
    }
    let (status, answer) = rest.get("/nothing").await;
    assert_eq!((status, answer["error"].as_str()), (404, Some("NotFound")));
    let (status, answer) = rest.ask("DELETE", "/computers", Some(&json!({}))).await;
    assert_eq!(
        (status, answer["error"].as_str()),
        (405, Some("MethodNotAllowed"))
    );
}

#[tokio::test]
async fn whoever_guesses_passwords_waits_and_learns_not_even_who_is_known() {
    let house = House::start().await;
    house.database.person("gone@edge.test", "viewer");
    house
        .database
        .sql("update person set disabled = true where email = 'gone@edge.test'");
    let stranger = Rest::stranger(&house.gateway);
    let nobody = house.browser().await.with_cookie("X-None: 1");
    // What is answered, over the API and on the page, to tries at an address.
    let tries = async |email: &str, password: &str, count: usize| {
        let mut told = Vec::new();
        for _ in 0..count {
            let body = json!({"email": email, "password": password});
            told.push(stranger.post("/login", &body).await);
        }
        let form = format!(
            "email={email}&password={}&next=/",
            password.replace(' ', "+")
        );
        let page = nobody.send("/login", &form, &[]).await;
        let text = page.text().replace(email, "");
        (told, page.status(), text)
    };
    let told = async |email: &str| {
        (
            tries(email, "wrong horse", 9).await,
            tries(email, "wrong horse", 2).await,
            tries(email, "correct horse", 1).await,
        )
    };
    let known = told(EMAIL).await;
    let statuses = |(answers, page, _): &(Vec<(u16, Value)>, u16, String)| {
        let answers: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
        (answers, *page)
    };
    assert_eq!(statuses(&known.0), (vec![401; 9], 403));
    // The eleventh is not judged any more, right or wrong.
    assert_eq!(statuses(&known.1), (vec![429; 2], 429));
    assert_eq!(statuses(&known.2), (vec![429], 429));
    assert_eq!(known.1.0[0].1["error"], "TooManyTries");
    for email in ["nobody@edge.test", "gone@edge.test"] {
        assert_eq!(told(email).await, known, "{email}");
    }
    // An address is the same in any case.
    let body = json!({"email": "NOBODY@edge.test", "password": "x"});
    assert_eq!(stranger.post("/login", &body).await.0, 429);

    // A minute later who knows the password gets in, and begins anew; nothing names whoever was tried.
    let past = |minutes: f64| {
        house.database.sql(&format!(
            "update sign_in_try set wrong_at = now() - interval '1 minute' * {minutes}"
        ))
    };
    past(1.1);
    let right = json!({"email": EMAIL, "password": "correct horse"});
    assert_eq!(stranger.post("/login", &right).await.0, 200);
    let rows = "select count(*), bool_and(octet_length(address) = 32) from sign_in_try";
    assert_eq!(house.database.sql(rows), "2|t");
    // One more within the quarter of an hour and it is closed again; what is older is forgotten.
    let more = json!({"email": "nobody@edge.test", "password": "x"});
    assert_eq!(stranger.post("/login", &more).await.0, 401);
    assert_eq!(stranger.post("/login", &more).await.0, 429);
    past(16.0);
    for _ in 0..10 {
        assert_eq!(stranger.post("/login", &more).await.0, 401);
    }
    assert_eq!(house.database.sql(rows), "1|t");
    // A new password lets in at once.
    let wrong = json!({"email": EMAIL, "password": "wrong horse"});
    for _ in 0..10 {
        stranger.post("/login", &wrong).await;
    }
    assert_eq!(stranger.post("/login", &right).await.0, 429);
    house.database.administrator();
    assert_eq!(stranger.post("/login", &right).await.0, 200);
}

#[tokio::test]
async fn those_who_wait_are_accepted_take_a_place_or_are_rejected() {
    let house = House::start().await;
    let described = Described::by(&house).await;
    let rest = house.rest().await;
    let (mut old, old_id) = house.computer("old").await;
    old.report(network("192.0.2.2"));
    old.exchange(&house.way()).await.expect("an exchange");
    let mut waiting = Vec::new();
    for title in ["new", "instead", "unwanted"] {
        let mut agent = e2e::Agent::new(title);
        agent.set_up(&house.way(), None).await;
        waiting.push(agent);
    }
    let (_, page) = described.get(&rest, "/pending-computers").await;
    assert_eq!(page["count"], 3);
    let ids: Vec<i64> = page["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|one| one["id"].as_i64().expect("a number"))
        .collect();

    // Two cannot take one place.
    let both = json!({ids[0].to_string(): old_id, ids[1].to_string(): old_id});
    let body = json!({"computer_ids": [ids[0], ids[1]], "existing_ids": both});
    let (status, answer) = described
        .post(&rest, "/pending-computers/accept", &body)
        .await;
    assert_eq!(
        (status, answer["error"].as_str()),
        (400, Some("InvalidParameter"))
    );
    let body = json!({"computer_ids": [ids[0], 777]});
    let (status, answer) = described
        .post(&rest, "/pending-computers/accept", &body)
        .await;
    assert_eq!(
        (status, answer["error"].as_str()),
        (404, Some("UnknownComputers"))
    );
    let sql = "select count(*) from computer where not accepted";
    assert_eq!(house.database.sql(sql), "3", "all or nothing");

    // Under way when the computer before goes.
    house.database.sql(&format!(
        "insert into activity (computer_id, type, summary, fields, status) \
         values ({old_id}, 'shutdown', 'x', 'd;', 'delivered')"
    ));
    listen(&house);
    let body = json!({"computer_ids": [ids[0], ids[1]], "existing_ids": {ids[1].to_string(): old_id},
                      "access_group": "lab"});
    let (status, answer) = described
        .post(&rest, "/pending-computers/accept", &body)
        .await;
    assert_eq!(status, 200, "{answer}");
    let of = |at: usize| {
        (
            answer["results"][at]["id"].clone(),
            answer["results"][at]["access_group"].clone(),
        )
    };
    assert_eq!(of(0), (json!(ids[0]), json!("lab")));
    assert_eq!(of(1), (json!(old_id), json!("lab")));
    let (new, instead) = (ids[0], ids[1]);
    assert_eq!(
        notes(&house),
        format!(
            "computer.accepted|{new}\nactivity.changed|{old_id}\ncomputer.removed|{instead}\n\
             computer.accepted|{old_id}\nactivity.ordered|{old_id}\n\
             computer.changed|{new}\ncomputer.changed|{old_id}"
        )
    );
    let named = format!("select title, hostname from computer where id = {old_id}");
    let title_stays = "old|instead.test";
    assert_eq!(house.database.sql(&named), title_stays);
    let body = json!({"computer_ids": [ids[2]]});
    let (status, _) = described
        .post(&rest, "/pending-computers/reject", &body)
        .await;
    assert_eq!(status, 204);

    // The one that took a place reports under its number; the one before is nobody any more.
    waiting[1]
        .exchange(&house.way())
        .await
        .expect("an exchange");
    assert!(waiting[1].types.contains(&"network-device".to_owned()));
    waiting[1].report(network("192.0.2.7"));
    waiting[1]
        .exchange(&house.way())
        .await
        .expect("an exchange");
    let (_, seen) = described
        .get(&rest, &format!("/computers/{old_id}?with_network=true"))
        .await;
    assert_eq!(seen["network_devices"][0]["ip_address"], "192.0.2.7");
    old.exchange(&house.way()).await.expect("an exchange");
    assert_eq!(old.secure, None);
    waiting[2]
        .exchange(&house.way())
        .await
        .expect("an exchange");
    assert_eq!(waiting[2].secure, None);
}

/// As if a relay were there: notes are kept from now on.
fn listen(house: &House) {
    let database = &house.database;
    database.sql("delete from outbox; update outbox_relay set seen_at = now()");
}

/// What a relay would tell, but for pings, which come by themselves.
fn notes(house: &House) -> String {
    let sql = "select topic, subject from outbox where topic <> 'pings.heard' order by id";
    house.database.sql(sql)
}

#[tokio::test]
async fn orders_wait_for_their_time_are_taken_back_and_given_again() {
    let house = House::start().await;
    let described = Described::by(&house).await;
    let rest = house.rest().await;
    let (mut agent, id) = house.computer("web-1").await;
    agent.understands.push("shutdown".to_owned());
    let restart = format!("/computers/{id}/restart");
    let later = json!({"deliver_after": "2099-01-01T00:00:00Z"});
    let (_, group) = described.post(&rest, &restart, &later).await;
    let (_, seen) = described
        .get(&rest, &format!("/activities/{}", group["id"]))
        .await;
    assert_eq!(seen["children"][0]["activity_status"], "scheduled");
    assert_eq!(
        seen["children"][0]["deliver_after_time"],
        "2099-01-01T00:00:00Z"
    );
    eventually("a ping says no", || async {
        (!agent.ping(&house.way()).await).then_some(())
    })
    .await;

    let ids = json!({"activity_ids": [group["id"]]});
    listen(&house);
    let (status, _) = described.post(&rest, "/activities/cancel", &ids).await;
    assert_eq!(status, 200);
    assert_eq!(notes(&house), format!("activity.changed|{id}"));
    let (status, answer) = described.post(&rest, "/activities/cancel", &ids).await;
    assert_eq!(
        (status, answer["error"].as_str()),
        (400, Some("InvalidActivityStatusChange"))
    );
    let (_, seen) = described
        .get(&rest, &format!("/activities/{}", group["id"]))
        .await;
    assert_eq!(seen["activity_status"], "canceled");

    let (_, again) = described.post(&rest, "/activities/reapply", &ids).await;
    assert_eq!(again["results"][0]["activity_status"], "undelivered");
    // It tells anew what it understands.
    house
        .database
        .sql("update exchange set client_types = array['shutdown']");
    let orders = agent.exchange(&house.way()).await.expect("an exchange");
    let order = orders
        .iter()
        .find(|one| one.at("type").expect("a type").text() == "shutdown");
    assert_eq!(
        order.expect("the order").at("reboot"),
        Some(&Pickle::Bool(true))
    );
    let (status, answer) = described
        .post(&rest, &restart, &json!({"deliver_after": "soon"}))
        .await;
    assert_eq!(
        (status, answer["error"].as_str()),
        (400, Some("InvalidTime"))
    );
    let (status, _) = described
        .post(&rest, "/computers/777/restart", &json!({}))
        .await;
    assert_eq!(status, 404);
    listen(&house);
    let (status, _) = described
        .post(&rest, "/computers:delete", &json!({"computer_ids": [id]}))
        .await;
    assert_eq!(status, 204);
    assert_eq!(notes(&house), format!("computer.removed|{id}"));
    assert_eq!(
        described.get(&rest, &format!("/computers/{id}")).await.0,
        404
    );
}

#[tokio::test]
async fn a_restart_and_a_shutdown_are_delivered_and_their_results_kept() {
    let house = House::start().await;
    let described = Described::by(&house).await;
    let rest = house.rest().await;
    let mut agent = Agent::new("web-1");
    agent.understands.push("shutdown".to_owned());
    agent.set_up(&house.way(), None).await;
    house
        .database
        .sql("update computer set accepted = true, accepted_at = now()");
    agent.exchange(&house.way()).await.expect("an exchange");
    let id = house.database.sql("select id from computer");
    for (order, kind, reboot, status, code, ends) in [
        ("restart", "RestartRequest", true, 6, None, "succeeded"),
        ("shutdown", "ShutdownRequest", false, 6, None, "succeeded"),
        ("shutdown", "ShutdownRequest", false, 5, Some(1), "failed"),
    ] {
        let path = format!("/computers/{id}/{order}");
        let (answered, group) = described.post(&rest, &path, &json!({})).await;
        assert_eq!(
            (answered, &group["activity_status"]),
            (200, &json!("undelivered")),
            "{group}"
        );
        assert_eq!(group["type"], "ActivityGroup");
        eventually("a ping says yes", || async {
            agent.ping(&house.way()).await.then_some(())
        })
        .await;
        let told = agent.exchange(&house.way()).await.expect("an exchange");
        let is = |one: &&Pickle| one.at("type") == Some(&u("shutdown"));
        let told = told.iter().find(is).expect("the order");
        assert_eq!(told.at("reboot"), Some(&Pickle::Bool(reboot)), "{order}");
        let operation = told.at("operation-id").expect("a number").int();
        let path = format!("/activities/{}", group["id"]);
        let (_, seen) = described.get(&rest, &path).await;
        assert_eq!(
            (&seen["activity_status"], &seen["children"][0]["type"]),
            (&json!("delivered"), &json!(kind))
        );

        let mut result = vec![
            (u("operation-id"), i(operation)),
            (u("result-text"), u("so it was")),
            (u("status"), i(status)),
            (u("type"), u("operation-result")),
        ];
        result.extend(code.map(|code| (u("result-code"), i(code))));
        agent.report(Pickle::Dict(result));
        agent.exchange(&house.way()).await.expect("an exchange");
        let (_, seen) = described.get(&rest, &path).await;
        assert_eq!(seen["activity_status"], ends, "{seen}");
        let child = &seen["children"][0];
        assert_eq!(child["id"], operation);
        assert_eq!(
            (&child["activity_status"], &child["result_text"]),
            (&json!(ends), &json!("so it was"))
        );
        assert_eq!(child["result_code"], json!(code));
        assert!(child["delivery_time"].is_string() && child["completion_time"].is_string());
        let stored = format!("select status, result_text from activity where id = {operation}");
        assert_eq!(house.database.sql(&stored), format!("{ends}|so it was"));
    }
    // Later, and each at a moment of its own, as the body says or the URL.
    let when = json!({"deliver_after": "2099-01-01T00:00", "deliver_delay_window": 60});
    let path = format!("/computers/{id}/restart");
    let by_url = format!("{path}?deliver_after=2099-01-01T00:00:00Z&deliver_delay_window=60");
    for (path, body) in [(&path, &when), (&by_url, &json!({}))] {
        let (status, group) = described.post(&rest, path, body).await;
        assert_eq!(status, 200, "{group}");
        assert_eq!(
            (
                &group["activity_status"],
                &group["deliver_delay_window"],
                &group["deliver_after_time"]
            ),
            (
                &json!("scheduled"),
                &json!(60),
                &json!("2099-01-01T00:00:00Z")
            )
        );
    }
    let wrong = format!("{path}?deliver_delay_window=soon");
    let (status, answer) = described.post(&rest, &wrong, &json!({})).await;
    assert_eq!(
        (status, &answer["error"]),
        (400, &json!("InvalidParameter"))
    );
}

#[tokio::test]
async fn a_person_logs_in_at_both_paths_and_switches_only_to_the_account_that_is_theirs() {
    let house = House::start().await;
    let described = Described::by(&house).await;
    let right = json!({"email": EMAIL, "password": "correct horse"});
    let stranger = Rest::stranger(&house.gateway);
    let (status, answer) = described.post(&stranger, "/login", &right).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        (
            &answer["email"],
            &answer["name"],
            &answer["current_account"]
        ),
        (&json!(EMAIL), &json!("Ada"), &json!("standalone"))
    );
    let account = json!([{"name": "standalone", "title": "Standalone", "default": true}]);
    assert_eq!(answer["accounts"], account);

    // The path of older clients answers the same.
    let older = async |body: &Value| {
        let kind = "Content-Type: application/json";
        let mut raw = house.gateway.https().await;
        let reply = raw
            .ask("POST", "/api/login", &[kind], body.to_string().as_bytes())
            .await;
        let answer: Value = serde_json::from_slice(&reply.body).expect("JSON");
        described.check("POST", "/login", reply.status(), &answer);
        (reply.status(), answer)
    };
    let (status, told) = older(&right).await;
    assert_eq!((status, &told["accounts"]), (200, &account));
    let token = told["token"].as_str().expect("a token").to_owned();
    for (body, expected) in [
        (
            json!({"email": EMAIL, "password": "wrong horse"}),
            (401, "InvalidCredentials"),
        ),
        (
            json!({"email": "nobody@edge.test", "password": "correct horse"}),
            (401, "InvalidCredentials"),
        ),
        (json!({"email": EMAIL}), (400, "MissingParameter")),
        (
            json!({"password": "correct horse"}),
            (400, "MissingParameter"),
        ),
        (
            json!({"email": EMAIL, "password": 7}),
            (400, "InvalidParameter"),
        ),
    ] {
        let (status, answer) = older(&body).await;
        assert_eq!(
            (status, answer["error"].as_str().expect("a code")),
            expected,
            "{body}"
        );
    }

    let mut rest = Rest::stranger(&house.gateway);
    rest.token = Some(token);
    assert_eq!(described.get(&rest, "/person").await.0, 200);
    house
        .database
        .schema(&[], &["account", "acme", "--title", "Acme"], "");
    for name in ["account", "account_name"] {
        let body = json!({name: "standalone", "expiry_minutes": 5});
        let (status, switched) = described.post(&rest, "/switch-account", &body).await;
        assert_eq!(
            (status, &switched["current_account"]),
            (200, &json!("standalone")),
            "{switched}"
        );
        let mut other = Rest::stranger(&house.gateway);
        other.token = switched["token"].as_str().map(str::to_owned);
        let (status, me) = described.get(&other, "/person").await;
        assert_eq!((status, &me["email"]), (200, &json!(EMAIL)));
        for account in ["acme", "nowhere"] {
            let body = json!({name: account});
            let (status, answer) = described.post(&rest, "/switch-account", &body).await;
            assert_eq!(
                (status, &answer["error"]),
                (403, &json!("Unauthorised")),
                "{account}"
            );
        }
    }
    for (body, expected) in [
        (json!({}), (400, "MissingParameter")),
        (json!({"account": 7}), (400, "InvalidParameter")),
        (
            json!({"account": "standalone", "expiry_minutes": 44_641}),
            (400, "InvalidParameter"),
        ),
    ] {
        let (status, answer) = described.post(&rest, "/switch-account", &body).await;
        assert_eq!(
            (status, answer["error"].as_str().expect("a code")),
            expected,
            "{body}"
        );
    }
    // Voided, the token switches to nothing.
    described
        .post(&rest, "/tokens/invalidate-me", &json!({}))
        .await;
    let (status, _) = described
        .post(&rest, "/switch-account", &json!({"account": "standalone"}))
        .await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn an_access_key_is_told_once_and_opens_until_it_is_removed() {
    let house = House::start().await;
    let described = Described::by(&house).await;
    let rest = house.rest().await;
    let (status, made) = described
        .post(&rest, "/credentials", &json!({"title": "ci"}))
        .await;
    assert_eq!(status, 201, "{made}");
    let (_, list) = described.get(&rest, "/credentials").await;
    assert_eq!(list["results"][0]["access_key"], made["access_key"]);
    assert!(
        !list
            .to_string()
            .contains(made["secret_key"].as_str().expect("a secret"))
    );

    let stranger = Rest::stranger(&house.gateway);
    let mut body = json!({"access_key": made["access_key"], "secret_key": made["secret_key"]});
    let (status, answer) = described.post(&stranger, "/login/access-key", &body).await;
    assert_eq!(status, 200, "{answer}");
    body["secret_key"] = json!("wrong");
    let (status, _) = described.post(&stranger, "/login/access-key", &body).await;
    assert_eq!(status, 401);
    body["secret_key"] = made["secret_key"].clone();
    let path = format!(
        "/credentials/{}",
        made["access_key"].as_str().expect("a key")
    );
    let (status, answer) = rest.ask("DELETE", &path, Some(&json!({}))).await;
    described.check("DELETE", &path, status, &answer);
    assert_eq!(status, 204);
    let (status, _) = described.post(&stranger, "/login/access-key", &body).await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn scripts_are_kept_changed_and_forgotten() {
    let house = House::start().await;
    let described = Described::by(&house).await;
    let rest = house.rest().await;
    let make = |title: &str, code: &str| json!({"title": title, "code": code});
    for (body, code) in [
        (make("x", "echo hi"), "EmptyScriptInterpreter"),
        (make("x", ""), "EmptyScriptCode"),
        (make("", "#!/bin/sh\nid"), "InvalidTitle"),
        (json!({"title": "x"}), "MissingParameter"),
        (
            json!({"title": "x", "code": "#!/bin/sh\nid", "time_limit": 0}),
            "InvalidParameter",
        ),
    ] {
        let (status, answer) = described.post(&rest, "/scripts", &body).await;
        assert_eq!(
            (status, answer["error"].as_str()),
            (400, Some(code)),
            "{body}"
        );
    }
    let (_, made) = described
        .post(&rest, "/scripts", &make("x", "#!/bin/sh\nid"))
        .await;
    let (status, answer) = described
        .post(&rest, "/scripts", &make("x", "#!/bin/sh\nid"))
        .await;
    assert_eq!(
        (status, answer["error"].as_str()),
        (400, Some("DuplicateScript"))
    );
    let path = format!("/scripts/{}", made["id"]);
    let change = json!({"title": "y", "code": "#!/usr/bin/python3\nprint(1)"});
    let (status, answer) = rest.ask("PATCH", &path, Some(&change)).await;
    described.check("PATCH", &path, status, &answer);
    assert_eq!(
        (status, answer["interpreter"].as_str()),
        (200, Some("/usr/bin/python3"))
    );
    let (_, seen) = described.get(&rest, &path).await;
    assert_eq!(
        (seen["title"].as_str(), seen["code"].as_str()),
        (Some("y"), Some("print(1)"))
    );
    let (_, list) = described.get(&rest, "/scripts").await;
    assert_eq!(list["count"], 1);
    assert_eq!(rest.ask("DELETE", &path, None).await.0, 204);
    assert_eq!(described.get(&rest, &path).await.0, 404);
}

#[tokio::test]
async fn whatever_is_refused_is_told_in_json() {
    let house = House::start().await;
    let api = house.services[3].port();
    for (method, path, status) in [
        ("GET", "/api/v2/computers/%ff", 400),
        ("GET", "/api/v2/scripts/%c3", 400),
        ("GET", "/api/v2/nothing", 404),
        ("GET", "/nothing", 404),
        ("PUT", "/api/v2/computers", 405),
        ("PUT", "/api/", 405),
        ("GET", "/api/?action=%ff", 400),
        ("GET", "/api/v2/computers", 401),
        ("POST", "/api/v2/login", 415),
    ] {
        let mut raw = e2e::Raw::tcp(api).await;
        let reply = raw.ask(method, path, &[], b"").await;
        assert_eq!(reply.status(), status, "{method} {path}");
        assert_eq!(
            reply.field("content-type"),
            Some("application/json"),
            "{path}"
        );
        let told: Value = serde_json::from_slice(&reply.body).expect("JSON");
        let text = |field: &str| told[field].as_str().is_some_and(|text| !text.is_empty());
        assert!(text("error") && text("message"), "{path}: {told}");
    }
}

#[tokio::test]
async fn an_api_without_anybody_who_keeps_secrets_does_not_start() {
    let database = e2e::Database::fresh();
    let mut child = tokio::process::Command::new(e2e::stack::program("api"))
        .args(["--port", "0"])
        .env("BACKENDS_STORE__URL", database.url())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program can be started");
    let status = within("it ends", child.wait()).await.expect("a status");
    assert!(!status.success());
    let output = within("its words", child.wait_with_output())
        .await
        .expect("words");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("secret.key_file or secret.vault_url"),
        "{error}"
    );
}
