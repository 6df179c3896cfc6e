//! Does nobody of one account see or change what another has?

use e2e::bpickle::{Pickle, d, i, l, u};
use e2e::house::network;
use e2e::websocket::KEY;
use e2e::{AccessKey, Agent, Browser, House, Rest};
use serde_json::{Value, json};

/// Somebody of the second account.
const EVE: &str = "eve@edge.test";

/// What the first account has, each with `secret` in its name where it has one.
struct Others {
    house: House,
    computer: i64,
    waiting: i64,
    host: String,
    script: i64,
    group: i64,
}

impl Others {
    async fn there() -> Others {
        let house = House::start().await;
        let said = house
            .database
            .schema(&[], &["account", "acme", "--title", "Acme"], "");
        assert_eq!(said, "schema: account acme is there");
        house.database.person_of("acme", EVE, "administrator");
        let (mut agent, computer) = house.computer("secret-web").await;
        agent.report(network("192.0.2.77"));
        agent.report(d([
            ("packages", l([secret_package()])),
            ("request-id", i(1)),
            ("type", u("add-packages")),
        ]));
        agent.report(d([
            ("available", l([i(1)])),
            ("installed", l([i(1)])),
            ("type", u("packages")),
        ]));
        agent.exchange(&house.way()).await.expect("an exchange");
        Agent::new("secret-waiting")
            .set_up(&house.way(), None)
            .await;
        let rest = house.rest().await;
        let body = json!({"title": "secret-script", "code": "#!/bin/sh\nid"});
        let (status, script) = rest.post("/scripts", &body).await;
        assert_eq!(status, 201, "{script}");
        let path = format!("/scripts/{}/execute", script["id"]);
        let (_, group) = rest.post(&path, &json!({"computer_ids": [computer]})).await;
        house.database.sql(
            "insert into wsl_host (account_id, accepted, hostname) values (1, true, 'secret-host'); \
             insert into wsl_instance (host_uid, id, name, version_id, running, managed) \
             select uid, 'secret-instance', 'x', '24.04', true, true from wsl_host",
        );
        let one = |sql: &str| house.database.sql(sql);
        let waiting = one("select id from computer where not accepted");
        let host = one("select uid from wsl_host");
        Others {
            computer,
            waiting: waiting.parse().expect("a number"),
            host,
            script: script["id"].as_i64().expect("a number"),
            group: group["id"].as_i64().expect("a number"),
            house,
        }
    }

    /// All that somebody could have changed.
    fn state(&self) -> String {
        self.house.database.sql(
            "select (select string_agg(c::text, ' ' order by id) from ( \
                    select id, title, accepted, access_group, comment from computer) c), \
                 (select string_agg(tag, ' ' order by computer_id, tag) from computer_tag), \
                 (select string_agg(a::text, ' ' order by id) from ( \
                    select id, status from activity) a), \
                 (select string_agg(s::text, ' ' order by id) from ( \
                    select id, title from script) s), \
                 (select string_agg(h::text, ' ' order by uid) from ( \
                    select uid, accepted from wsl_host) h), \
                 (select count(*) from wsl_command), (select count(*) from computer_annotation)",
        )
    }
}

fn secret_package() -> Pickle {
    d([
        ("description", u("")),
        ("name", u("secret-package")),
        ("relations", l([])),
        ("section", u("")),
        ("summary", u("secret")),
        ("type", i(65_537)),
        ("version", u("1")),
    ])
}

#[tokio::test]
async fn pages_show_nothing_of_another_account() {
    let others = Others::there().await;
    let house = &others.house;
    let (ada, eve) = (
        house.browser().await,
        Browser::sign_in(&house.gateway, EVE).await,
    );
    let lists = [
        "/computers",
        "/computers?tag=blue",
        "/pending",
        "/activities",
        "/packages?state=installed",
        "/packages?state=available",
        "/hosts",
    ];
    for path in lists {
        let (hers, ours) = (eve.get(path).await, ada.get(path).await);
        assert_eq!((hers.status(), ours.status()), (200, 200), "{path}");
        assert!(ours.text().contains("secret"), "{path}: {}", ours.text());
        let hers = hers.text();
        assert!(!hers.contains("secret"), "{path}: {hers}");
        let counts = ["Computers", "Pending"]
            .iter()
            .all(|list| hers.contains(&format!("{list} <span class=\"count\">0<")));
        assert!(counts, "{path}: {hers}");
    }
    let (computer, host, group) = (others.computer, &others.host, others.group);
    for path in [
        format!("/computers/{computer}"),
        format!("/computers/{}", others.waiting),
        format!("/computers/{computer}/packages"),
        format!("/hosts/{host}"),
        format!("/activities/{group}"),
        format!("/activities/{}", group + 1),
    ] {
        assert_eq!(ada.get(&path).await.status(), 200, "{path}");
        let hers = eve.get(&path).await;
        assert_eq!(hers.status(), 404, "{path}");
        assert!(!hers.text().contains("secret"), "{path}");
    }
    // A page may not be listened to, either; for lack of a broker nobody hears anything here.
    for (page, status) in [
        (format!("/computers/{computer}"), 404),
        (format!("/hosts/{host}"), 404),
        ("/computers".to_owned(), 503),
    ] {
        let mut raw = house.gateway.https().await;
        raw.send(format!(
            "GET /live?page={page} HTTP/1.1\r\nHost: edge.test\r\n{}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {KEY}\r\n\r\n",
            eve.cookie
        ))
        .await;
        let reply = raw.reply().await;
        assert_eq!(reply.status(), status, "{page}");
    }

    let before = others.state();
    let waiting = others.waiting;
    for (path, form) in [
        (format!("/computers/{computer}/order"), "order=restart"),
        (
            format!("/hosts/{host}/order"),
            "what=start&instance=secret-instance",
        ),
        (format!("/hosts/{host}/order"), "what=forget"),
        (format!("/hosts/{host}/order"), "what=accept"),
    ] {
        assert_eq!(eve.submit(&path, form).await.status(), 404, "{path} {form}");
    }
    for decision in ["accept", "reject"] {
        let form = format!("id={waiting}&decision={decision}");
        assert_eq!(eve.submit("/pending/decide", &form).await.status(), 303);
    }
    eve.submit(&format!("/activities/{group}/cancel"), "x=y")
        .await;
    assert_eq!(others.state(), before);
}

#[tokio::test]
async fn the_newer_api_tells_and_changes_nothing_of_another_account() {
    let others = Others::there().await;
    let house = &others.house;
    let (ada, eve) = (house.rest().await, Rest::log_in(&house.gateway, EVE).await);
    for path in [
        "/computers?with_network=true&with_annotations=true",
        "/computers?query=secret",
        "/computers?root_only=false&with_alerts=true&with_upgrades=true",
        "/computers?wsl_parents=true",
        "/pending-computers",
        "/activities",
        "/activities/parents",
        "/scripts",
        "/packages",
        "/packages?query=tag:blue",
        "/computers/wsl-hosts",
    ] {
        let (status, ours) = ada.get(path).await;
        assert_eq!(status, 200, "{path}");
        assert!(ours["count"] != 0, "{path}: {ours}");
        let (status, hers) = eve.get(path).await;
        assert_eq!((status, &hers["count"]), (200, &json!(0)), "{path}: {hers}");
        assert_eq!(hers["results"], json!([]), "{path}");
    }
    let (computer, host) = (others.computer, &others.host);
    let (group, script, waiting) = (others.group, others.script, others.waiting);
    for path in [
        format!("/computers/{computer}"),
        format!("/computers/{computer}/packages"),
        format!("/computers/wsl-hosts/{host}"),
        format!("/computers/wsl-hosts/{host}/orders"),
        format!("/computers/{host}/children"),
        format!("/activities/{group}"),
        format!("/scripts/{script}"),
    ] {
        assert_eq!(ada.get(&path).await.0, 200, "{path}");
        let (status, hers) = eve.get(&path).await;
        assert_eq!(status, 404, "{path}: {hers}");
        assert!(!hers.to_string().contains("secret"), "{path}: {hers}");
    }

    let before = others.state();
    let ids = json!({"computer_ids": [computer]});
    let packages = json!({"computer_ids": [computer], "packages": ["secret-package"]});
    let empty = json!({});
    for (method, path, body) in [
        ("POST", format!("/computers/{computer}/restart"), &empty),
        ("POST", format!("/computers/{computer}/shutdown"), &empty),
        ("POST", "/computers:delete".to_owned(), &ids),
        ("POST", "/packages/install".to_owned(), &packages),
        ("POST", "/packages/remove".to_owned(), &packages),
        ("POST", "/packages/upgrade".to_owned(), &ids),
        ("POST", format!("/scripts/{script}/execute"), &ids),
        (
            "PATCH",
            format!("/scripts/{script}"),
            &json!({"title": "mine"}),
        ),
        ("DELETE", format!("/scripts/{script}"), &empty),
        (
            "POST",
            "/pending-computers/accept".to_owned(),
            &json!({"computer_ids": [waiting]}),
        ),
        (
            "POST",
            "/pending-computers/reject".to_owned(),
            &json!({"computer_ids": [waiting]}),
        ),
        (
            "POST",
            "/activities/reapply".to_owned(),
            &json!({"activity_ids": [group]}),
        ),
        (
            "POST",
            format!("/computers/wsl-hosts/{host}/accept"),
            &empty,
        ),
        (
            "POST",
            "/activities/revert".to_owned(),
            &json!({"activity_ids": [group]}),
        ),
        ("DELETE", format!("/computers/wsl-hosts/{host}"), &empty),
        (
            "POST",
            format!("/computers/wsl-hosts/{host}/orders"),
            &json!({"order": "shutdown_host"}),
        ),
        (
            "POST",
            format!("/computers/{host}/children"),
            &json!({"computer_name": "Ubuntu"}),
        ),
        (
            "POST",
            format!("/computers/{host}/delete-children"),
            &json!({"computer_names": ["secret-instance"]}),
        ),
    ] {
        let (status, answer) = eve.ask(method, &path, Some(body)).await;
        assert_eq!(status, 404, "{method} {path}: {answer}");
    }
    let body = json!({"activity_ids": [group, group + 1]});
    let (status, answer) = eve.post("/activities/cancel", &body).await;
    assert_eq!(status, 400, "{answer}");
    let body = json!({"email": EVE, "password": "correct horse", "account": "standalone"});
    assert_eq!(eve.post("/login", &body).await.0, 403);
    // Of the first account alone: what ends for all.
    let (status, _) = eve.post("/tokens/invalidate-system", &empty).await;
    assert_eq!(status, 403);
    let (status, _) = eve.post("/tokens/invalidate-account", &empty).await;
    assert_eq!(status, 204);
    assert_eq!(eve.get("/computers").await.0, 401);
    assert_eq!(ada.get("/computers").await.0, 200);
    assert_eq!(others.state(), before);
}

#[tokio::test]
async fn signed_calls_tell_and_change_nothing_of_another_account() {
    let others = Others::there().await;
    let house = &others.house;
    let gateway = &house.gateway;
    let eve = AccessKey::of(&house.database, &house.settings(), EVE);
    for (action, arguments) in [
        ("GetComputers", vec![]),
        ("GetComputers", vec![("query", "secret")]),
        ("GetPendingComputers", vec![]),
        ("GetActivities", vec![]),
        ("GetScripts", vec![]),
        ("GetPackages", vec![("query", "")]),
        // What changes all that is meant changes none.
        (
            "AddTagsToComputers",
            vec![("query", ""), ("tags.1", "hers")],
        ),
        (
            "ChangeComputersAccessGroup",
            vec![("query", ""), ("access_group", "hers")],
        ),
        (
            "AddAnnotationToComputers",
            vec![("query", ""), ("key", "a")],
        ),
        (
            "RemoveTagsFromComputers",
            vec![("query", ""), ("tags.1", "blue")],
        ),
        (
            "RemoveAnnotationFromComputers",
            vec![("query", ""), ("key", "a")],
        ),
    ] {
        let before = others.state();
        let (status, answer) = eve.call(gateway, action, &arguments).await;
        assert_eq!((status, answer), (200, json!([])), "{action}");
        assert_eq!(others.state(), before, "{action}");
    }
    let before = others.state();
    let (computer, waiting) = (others.computer.to_string(), others.waiting.to_string());
    let (script, title) = (
        others.script.to_string(),
        format!("computer_titles.{computer}"),
    );
    let existing = format!("existing_ids.{waiting}");
    for (action, arguments) in [
        (
            "RebootComputers",
            vec![("computer_ids.1", computer.as_str())],
        ),
        (
            "RemoveComputers",
            vec![("computer_ids.1", computer.as_str())],
        ),
        ("RenameComputers", vec![(title.as_str(), "hers")]),
        (
            "AcceptPendingComputers",
            vec![("computer_ids.1", waiting.as_str())],
        ),
        (
            "AcceptPendingComputers",
            vec![
                ("computer_ids.1", waiting.as_str()),
                (existing.as_str(), computer.as_str()),
            ],
        ),
        (
            "RejectPendingComputers",
            vec![("computer_ids.1", waiting.as_str())],
        ),
        (
            "ShutdownComputers",
            vec![("computer_ids.1", computer.as_str())],
        ),
        ("GetScriptCode", vec![("script_id", script.as_str())]),
        (
            "EditScript",
            vec![("script_id", script.as_str()), ("title", "hers")],
        ),
        (
            "CopyScript",
            vec![("script_id", script.as_str()), ("title", "hers")],
        ),
        (
            "CreateScriptAttachment",
            vec![("script_id", script.as_str()), ("file", "a$$aGk=")],
        ),
        (
            "RemoveScriptAttachment",
            vec![("script_id", script.as_str()), ("filename", "a")],
        ),
        (
            "RemovePackages",
            vec![("query", ""), ("packages.1", "secret-package")],
        ),
        ("UpgradePackages", vec![("query", "")]),
        ("RemoveScript", vec![("script_id", script.as_str())]),
        (
            "ExecuteScript",
            vec![("query", ""), ("script_id", script.as_str())],
        ),
        (
            "InstallPackages",
            vec![("query", ""), ("packages.1", "secret-package")],
        ),
    ] {
        let (status, answer) = eve.call(gateway, action, &arguments).await;
        assert_eq!(status, 404, "{action}: {answer}");
        assert!(!answer.to_string().contains("secret-web"), "{answer}");
    }
    let group = format!("id:{} id:{}", others.group, others.group + 1);
    for action in ["CancelActivities", "ApproveActivities"] {
        let (status, answer) = eve.call(gateway, action, &[("query", &group)]).await;
        assert_eq!(
            (status, &answer["error"]),
            (400, &json!("InvalidActivityStatusChange")),
            "{action}"
        );
    }
    assert_eq!(others.state(), before);
}

/// A registration in the daemon's form that names this account and key.
fn registration(agent: &Agent, account: &str, key: &str) -> Pickle {
    let mut agent = agent.clone();
    agent.account = account.to_owned();
    agent.register(Some(key))
}

#[tokio::test]
async fn a_computer_belongs_to_the_account_that_it_named_and_only_that_ones_key_lets_it_in() {
    let others = Others::there().await;
    let house = &others.house;
    let words = ["registration-key", "acme-key", "--account", "acme"];
    house.database.schema(&house.settings(), &words, "");
    let mut agent = Agent::new("hers");
    agent.account = "acme".to_owned();
    agent.set_up(&house.way(), Some("acme-key")).await;
    let eve = Rest::log_in(&house.gateway, EVE).await;
    let ada = house.rest().await;
    let titles = |answer: &Value| answer["results"][0]["title"].clone();
    assert_eq!(titles(&eve.get("/computers").await.1), "hers");
    // Its own computer, and its host.
    assert_eq!(ada.get("/computers").await.1["count"], 2);
    let browser = Browser::sign_in(&house.gateway, EVE).await;
    let page = browser.get("/computers").await.text();
    assert!(
        page.contains(">hers</a>") && page.contains("Computers <span class=\"count\">1<"),
        "{page}"
    );
    let ours = house.browser().await.get("/computers").await.text();
    assert!(!ours.contains(">hers</a>"), "{ours}");

    // One that waits in the first account shows the second's key: it waits on.
    let mut waiting = Agent::new("waits");
    waiting.set_up(&house.way(), None).await;
    waiting.report(registration(&waiting, "acme", "acme-key"));
    waiting.exchange(&house.way()).await.expect("an exchange");
    let sql = "select account_id, accepted from computer where title = 'waits'";
    assert_eq!(house.database.sql(sql), "1|f");
    // With its own account's it does not.
    let words = ["registration-key", "right"];
    house.database.schema(&house.settings(), &words, "");
    waiting.report(registration(&waiting, "standalone", "right"));
    waiting.exchange(&house.way()).await.expect("an exchange");
    assert_eq!(house.database.sql(sql), "1|t");
}

#[tokio::test]
async fn an_account_is_made_once_and_named_so_that_paths_can_hold_it() {
    let database = e2e::Database::fresh();
    let said = |words: &[&str]| database.schema(&[], words, "");
    assert_eq!(said(&["account", "acme"]), "schema: account acme is there");
    assert_eq!(
        said(&["account", "acme"]),
        "schema: account acme was there already"
    );
    assert_eq!(
        said(&["account", "acme", "--title", "Acme Ltd"]),
        "schema: account acme has another title"
    );
    let rows = "select name, title from account order by id";
    assert_eq!(database.sql(rows), "standalone|Standalone\nacme|Acme Ltd");
    for wrong in ["", "a/b", "../a", ".a", "a b", "-a"] {
        let output = std::process::Command::new(e2e::stack::program("schema"))
            .args(["account", "--", wrong])
            .env("BACKENDS_STORE__URL", database.url())
            .output()
            .expect("it can be started");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && error.contains("no name of an account"),
            "{wrong}: {error}"
        );
    }
    // Nobody is moved to another account with a new password, and nobody is of one that is not there.
    database.person_of("acme", EVE, "viewer");
    for (email, account, told) in [
        (EVE, "standalone", "is of the account acme"),
        ("new@edge.test", "nowhere", "no account nowhere"),
    ] {
        let mut command = std::process::Command::new(e2e::stack::program("schema"));
        let dir = e2e::TempDir::new();
        command
            .args(["person", email, "--account", account, "--password-file"])
            .arg(dir.write("password", "correct horse"))
            .env("BACKENDS_STORE__URL", database.url());
        let output = command.output().expect("it can be started");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && error.contains(told),
            "{email}: {error}"
        );
    }
}
