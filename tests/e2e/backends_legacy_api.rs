//! Are signed calls understood byte for byte, and no others, behind the edge?

use e2e::person::{EMAIL, Signed, time_of};
use e2e::{AccessKey, House, eventually};
use serde_json::{Value, json};

async fn house() -> (House, AccessKey) {
    let house = House::start().await;
    let key = AccessKey::of(&house.database, &house.settings(), EMAIL);
    (house, key)
}

/// Code of a refusal; it has its two fields and no others.
fn code(answer: &Value) -> &str {
    let fields = answer.as_object().expect("an object");
    assert!(
        fields.len() == 2 && answer["message"].is_string(),
        "{answer}"
    );
    answer["error"].as_str().expect("a code")
}

#[tokio::test]
async fn a_signed_call_counts_in_every_spelling_that_clients_use() {
    let (house, key) = house().await;
    house.computer("web-1").await;
    let gateway = &house.gateway;
    let arguments = [("query", "title:\"web-1\" OR tag:a/b+c~é"), ("limit", "10")];
    let call = Signed::new(gateway, "GetComputers", &arguments);
    let form = key.form(&call);
    assert!(
        form.contains("%20OR%20") && form.contains("%2Bc~%C3%A9"),
        "{form}"
    );
    let (status, answer) = call.post(gateway, &form).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer[0]["title"], "web-1");

    // Lower-case escapes, an order that is not sorted, an escaped slash: what is decoded counts.
    let (arguments_part, signature) = form.split_once("&signature=").expect("it is last");
    let mut pairs: Vec<&str> = arguments_part.split('&').collect();
    pairs.reverse();
    let loose = format!(
        "signature={}&{}",
        signature.replace('/', "%2f").replace("%3D", "%3d"),
        pairs.join("&").replace("%2B", "%2b").replace("%C3", "%c3")
    );
    let (status, answer) = call.post(gateway, &loose).await;
    assert_eq!(status, 200, "{answer}");

    // A host that was lowered before it was signed, and one that was not.
    for host in ["EDGE.test", "edge.test"] {
        let port = gateway.port("https");
        let mut call = Signed::new(gateway, "GetScripts", &[]);
        call.host = format!("{host}:{port}");
        let form = key.form(&call);
        let request = format!(
            "POST /api/ HTTP/1.1\r\nHost: EDGE.test:{port}\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        let mut raw = gateway.https().await;
        raw.send(request).await;
        assert_eq!(raw.final_reply_to("POST").await.status(), 200, "{host}");
    }

    // A GET, and the path without its slash, which is another string to sign.
    for path in ["/api/", "/api"] {
        let mut call = Signed::new(gateway, "GetComputers", &[]);
        (call.method, call.path) = ("GET", path);
        let target = format!("{path}?{}", key.form(&call));
        let mut raw = gateway.https().await;
        raw.send(format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n",
            call.host
        ))
        .await;
        let reply = raw.final_reply_to("GET").await;
        assert_eq!(reply.status(), 200, "{path}: {}", reply.text());
    }
}

#[tokio::test]
async fn what_is_not_signed_as_it_must_be_is_refused_with_its_code() {
    let (house, key) = house().await;
    let gateway = &house.gateway;
    let right = Signed::new(gateway, "GetComputers", &[("limit", "5")]);
    let form = key.form(&right);

    let others = form.replace("limit=5", "limit=6");
    let (status, answer) = right.post(gateway, &others).await;
    assert_eq!((status, code(&answer)), (403, "SignatureDoesNotMatch"));

    let mut without_port = Signed::new(gateway, "GetComputers", &[]);
    without_port.host = "edge.test".to_owned();
    let (status, answer) = without_port.post(gateway, &key.form(&without_port)).await;
    assert_eq!((status, code(&answer)), (403, "SignatureDoesNotMatch"));

    let stranger = AccessKey {
        access: "NOBODY".to_owned(),
        ..key.clone()
    };
    let (status, answer) = stranger.call(gateway, "GetComputers", &[]).await;
    assert_eq!((status, code(&answer)), (403, "InvalidCredentials"));
    let other = AccessKey {
        secret: "other".to_owned(),
        ..key.clone()
    };
    let (status, answer) = other.call(gateway, "GetComputers", &[]).await;
    assert_eq!((status, code(&answer)), (403, "SignatureDoesNotMatch"));

    for parameter in [
        "access_key_id",
        "signature",
        "signature_method",
        "signature_version",
        "timestamp",
        "version",
        "action",
    ] {
        let pairs = form
            .split('&')
            .filter(|pair| !pair.starts_with(&format!("{parameter}=")));
        let rest = pairs.collect::<Vec<_>>().join("&");
        let (status, answer) = right.post(gateway, &rest).await;
        assert_eq!(
            (status, code(&answer)),
            (400, "MissingParameter"),
            "{parameter}"
        );
        assert!(
            answer["message"]
                .as_str()
                .expect("text")
                .contains(parameter),
            "{answer}"
        );
    }
    for (from, to) in [
        ("HmacSHA256", "HmacMD5"),
        ("signature_version=2", "signature_version=1"),
        ("2011-08-01", "latest"),
    ] {
        let (status, answer) = right.post(gateway, &form.replace(from, to)).await;
        assert_eq!((status, code(&answer)), (400, "InvalidParameter"), "{to}");
    }

    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seconds = seconds.expect("after 1970").as_secs();
    for (at, expected) in [
        (seconds - 1000, 403),
        (seconds + 1000, 403),
        (seconds - 600, 200),
    ] {
        let timestamp = time_of(at);
        let mut call = Signed::new(gateway, "GetComputers", &[]);
        call.timestamp = &timestamp;
        let (status, answer) = call.post(gateway, &key.form(&call)).await;
        assert_eq!(status, expected, "{answer}");
        assert!(status == 200 || code(&answer) == "AuthFailure", "{answer}");
    }
    let (status, answer) = key.call(gateway, "MakeCoffee", &[]).await;
    assert_eq!((status, code(&answer)), (400, "UnknownAction"));
    let (status, answer) = right.post(gateway, "action=%ff").await;
    assert_eq!((status, code(&answer)), (400, "InvalidParameter"));
}

#[tokio::test]
async fn a_call_that_changes_something_counts_once() {
    let (house, key) = house().await;
    house.computer("web-1").await;
    let gateway = &house.gateway;
    let arguments = [("query", "web-1"), ("tags.1", "a")];
    let call = Signed::new(gateway, "AddTagsToComputers", &arguments);
    let form = key.form(&call);
    assert_eq!(call.post(gateway, &form).await.0, 200);
    let (status, answer) = call.post(gateway, &form).await;
    assert_eq!((status, code(&answer)), (403, "AuthFailure"));
    // What only looks may be asked twice in a second.
    let call = Signed::new(gateway, "GetComputers", &[]);
    let form = key.form(&call);
    for _ in 0..2 {
        assert_eq!(call.post(gateway, &form).await.0, 200);
    }
}

#[tokio::test]
async fn a_token_stands_in_place_of_a_signature() {
    let (house, _) = house().await;
    let rest = house.rest().await;
    let bearer = format!("Authorization: Bearer {}", rest.token.expect("a token"));
    let mut raw = house.gateway.https().await;
    let path = "/api/?action=GetComputers&version=2011-08-01";
    let reply = raw.ask("GET", path, &[&bearer], b"").await;
    assert_eq!((reply.status(), reply.text().as_str()), (200, "[]"));
    let mut raw = house.gateway.https().await;
    let reply = raw
        .ask("GET", path, &["Authorization: Bearer x"], b"")
        .await;
    assert_eq!(reply.status(), 401);
}

#[tokio::test]
async fn computers_are_changed_and_found_by_what_was_changed() {
    let (house, key) = house().await;
    let gateway = &house.gateway;
    let (_, web) = house.computer("web-1").await;
    let (_, db) = house.computer("db").await;
    let call =
        async |action: &str, arguments: &[(&str, &str)]| key.call(gateway, action, arguments).await;

    let arguments = [("query", "web-1"), ("tags.1", "server"), ("tags.2", "red")];
    let (status, answer) = call("AddTagsToComputers", &arguments).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer[0]["tags"], json!(["blue", "green", "red", "server"]));
    let (_, answer) = call(
        "RemoveTagsFromComputers",
        &[("query", "web-1"), ("tags.1", "red")],
    )
    .await;
    assert_eq!(answer[0]["tags"], json!(["blue", "green", "server"]));
    let titles = format!("computer_titles.{db}");
    let (status, answer) = call("RenameComputers", &[(&titles, "database 1")]).await;
    assert_eq!((status, &answer[0]["title"]), (200, &json!("database 1")));
    let arguments = [("query", "web-1"), ("key", "room"), ("value", "B 7")];
    assert_eq!(call("AddAnnotationToComputers", &arguments).await.0, 200);
    assert_eq!(
        call(
            "ChangeComputersAccessGroup",
            &[("query", "web-1"), ("access_group", "lab")]
        )
        .await
        .0,
        200
    );
    house.database.sql(&format!(
        "update computer set release = '22.04', code_name = 'jammy', reboot_required = true where id = {web}"
    ));

    let both = ["database 1", "web-1"];
    let cases: &[(&str, &[&str])] = &[
        ("", &both[..]),
        ("tag:blue", &both),
        ("server", &[]),
        ("web", &["web-1"]),
        ("WEB-1.test", &["web-1"]),
        ("tag:server", &["web-1"]),
        ("NOT tag:server", &["database 1"]),
        ("tag:server OR title:\"database 1\"", &both),
        ("tag:blue tag:server OR distribution:focal", &["web-1"]),
        ("distribution:jammy", &["web-1"]),
        ("NOT distribution:jammy", &["database 1"]),
        ("distribution:22.04", &["web-1"]),
        ("hostname:db.test", &["database 1"]),
        ("hostname:db", &["database 1"]),
        ("title:web", &[]),
        ("access-group:lab", &["web-1"]),
        ("access-group:global", &["database 1"]),
        ("needs:reboot", &["web-1"]),
        ("alert:computer-reboot", &["web-1"]),
        ("annotation:room", &["web-1"]),
        ("annotation:room:b", &["web-1"]),
        ("annotation:room:c", &[]),
        ("needs:license", &[]),
        ("'; drop table computer; --", &[]),
    ];
    for (query, titles) in cases {
        let (status, answer) = call("GetComputers", &[("query", *query)]).await;
        assert_eq!(status, 200, "{query}: {answer}");
        let found = answer.as_array().expect("a list").iter();
        let found: Vec<&str> = found
            .map(|one| one["title"].as_str().expect("a title"))
            .collect();
        assert_eq!(found, *titles, "{query}");
    }
    let query = format!("id:{web}");
    let (_, answer) = call(
        "GetComputers",
        &[("query", &query), ("with_annotations", "true")],
    )
    .await;
    let one = &answer[0];
    assert_eq!(one["annotations"], json!({"room": "B 7"}));
    assert_eq!(
        (&one["distribution"], &one["reboot_required_flag"]),
        (&json!("22.04"), &json!(true))
    );
    assert_eq!(
        (&one["vm_info"], &one["hostname"]),
        (&json!("kvm"), &json!("web-1.test"))
    );
}

#[tokio::test]
async fn a_call_that_means_nothing_is_refused_with_its_code() {
    let (house, key) = house().await;
    house.computer("web-1").await;
    for (action, arguments, expected) in [
        (
            "GetComputers",
            vec![("query", "colour:red")],
            (400, "InvalidQuery"),
        ),
        (
            "GetComputers",
            vec![("limit", "x")],
            (400, "InvalidParameter"),
        ),
        (
            "GetComputers",
            vec![("with_network", "maybe")],
            (400, "InvalidParameter"),
        ),
        (
            "AddTagsToComputers",
            vec![("query", ""), ("tags.1", "a b")],
            (400, "InvalidTag"),
        ),
        (
            "AddTagsToComputers",
            vec![("query", "")],
            (400, "MissingParameter"),
        ),
        (
            "AddTagsToComputers",
            vec![("tags.1", "a")],
            (400, "MissingParameter"),
        ),
        (
            "RenameComputers",
            vec![("computer_titles.777", "x")],
            (404, "UnknownComputers"),
        ),
        (
            "RemoveComputers",
            vec![("computer_ids.1", "777")],
            (404, "UnknownComputers"),
        ),
        (
            "RemoveComputers",
            vec![("computer_ids.1", "x")],
            (400, "InvalidParameter"),
        ),
        (
            "RebootComputers",
            vec![("computer_ids.1", "1"), ("deliver_after", "soon")],
            (400, "InvalidTime"),
        ),
        (
            "ExecuteScript",
            vec![("query", ""), ("script_id", "7")],
            (404, "UnknownScript"),
        ),
        (
            "GetActivities",
            vec![("query", "status:x")],
            (400, "InvalidQuery"),
        ),
    ] {
        let (status, answer) = key.call(&house.gateway, action, &arguments).await;
        assert_eq!(
            (status, code(&answer)),
            expected,
            "{action} {arguments:?}: {answer}"
        );
    }
}

#[tokio::test]
async fn notes_and_computers_are_removed() {
    let (house, key) = house().await;
    house.computer("web-1").await;
    let (_, db) = house.computer("db").await;
    let call = async |action: &str, arguments: &[(&str, &str)]| {
        key.call(&house.gateway, action, arguments).await
    };
    let arguments = [("query", "web-1"), ("key", "room"), ("value", "B 7")];
    assert_eq!(call("AddAnnotationToComputers", &arguments).await.0, 200);
    let annotations = async || {
        let arguments = [("query", "web-1"), ("with_annotations", "true")];
        call("GetComputers", &arguments).await.1[0]["annotations"].clone()
    };
    assert_eq!(annotations().await, json!({"room": "B 7"}));
    let arguments = [("query", "web-1"), ("key", "room")];
    assert_eq!(
        call("RemoveAnnotationFromComputers", &arguments).await.0,
        200
    );
    assert_eq!(annotations().await, json!({}));
    let (status, answer) = call("RemoveComputers", &[("computer_ids.1", &db.to_string())]).await;
    assert_eq!((status, answer), (200, Value::Null));
    assert_eq!(house.database.sql("select title from computer"), "web-1");
}

#[tokio::test]
async fn those_who_wait_are_decided_on() {
    let (house, key) = house().await;
    let gateway = &house.gateway;
    for title in ["yes", "no"] {
        e2e::Agent::new(title).set_up(&house.way(), None).await;
    }
    let (_, waiting) = key.call(gateway, "GetPendingComputers", &[]).await;
    assert_eq!(waiting[0]["hostname"], "yes.test");
    assert_eq!(waiting[0]["client_tags"], json!(["blue", "green"]));
    let (yes, no) = (waiting[0]["id"].to_string(), waiting[1]["id"].to_string());
    let arguments = [("computer_ids.1", yes.as_str()), ("access_group", "lab")];
    let (status, answer) = key
        .call(gateway, "AcceptPendingComputers", &arguments)
        .await;
    assert_eq!(
        (status, &answer[0]["title"]),
        (200, &json!("yes")),
        "{answer}"
    );
    assert_eq!(answer[0]["access_group"], "lab");
    let (status, _) = key
        .call(
            gateway,
            "RejectPendingComputers",
            &[("computer_ids.1", &no)],
        )
        .await;
    assert_eq!(status, 200);
    assert_eq!(house.database.sql("select title from computer"), "yes");

    house.database.person("omar@edge.test", "operator");
    let operator = AccessKey::of(&house.database, &house.settings(), "omar@edge.test");
    let (status, answer) = operator
        .call(gateway, "AcceptPendingComputers", &arguments)
        .await;
    assert_eq!((status, code(&answer)), (403, "Unauthorised"));
}

/// A script with an attachment is kept; its number.
async fn with_attachment(house: &House, key: &AccessKey) -> String {
    let gateway = &house.gateway;
    // In lines, as programs write it.
    let code = "IyEvYmluL3NoCmNh\ndCBmaWxlCg==\n";
    let arguments = [
        ("title", "Cat"),
        ("time_limit", "60"),
        ("code", code),
        ("username", "root"),
    ];
    let (status, script) = key.call(gateway, "CreateScript", &arguments).await;
    assert_eq!(status, 200, "{script}");
    let script_id = script["id"].to_string();
    let arguments = [
        ("script_id", script_id.as_str()),
        ("file", "file$$aGVsbG8="),
    ];
    assert_eq!(
        key.call(gateway, "CreateScriptAttachment", &arguments)
            .await
            .0,
        200
    );
    script_id
}

#[tokio::test]
async fn a_script_is_kept_copied_and_changed_with_its_attachments() {
    let (house, key) = house().await;
    let gateway = &house.gateway;
    let script_id = with_attachment(&house, &key).await;
    let (_, text) = key
        .call(gateway, "GetScriptCode", &[("script_id", &script_id)])
        .await;
    assert_eq!(text, "#!/bin/sh\ncat file\n");
    let arguments = [
        ("script_id", script_id.as_str()),
        ("destination_title", "Copy"),
    ];
    let (_, copy) = key.call(gateway, "CopyScript", &arguments).await;
    assert_eq!(copy["attachments"], json!(["file"]));
    let copied = copy["id"].to_string();
    let arguments = [
        ("script_id", copied.as_str()),
        ("title", "Changed"),
        ("time_limit", "5"),
    ];
    let (status, changed) = key.call(gateway, "EditScript", &arguments).await;
    assert_eq!(
        (status, &changed["title"], &changed["time_limit"]),
        (200, &json!("Changed"), &json!(5)),
        "{changed}"
    );
    for (filename, expected) in [("file", 200), ("other", 404)] {
        let arguments = [("script_id", copied.as_str()), ("filename", filename)];
        let (status, answer) = key
            .call(gateway, "RemoveScriptAttachment", &arguments)
            .await;
        assert_eq!(status, expected, "{answer}");
    }
    let (_, scripts) = key.call(gateway, "GetScripts", &[]).await;
    let titles: Vec<_> = scripts
        .as_array()
        .expect("a list")
        .iter()
        .map(|script| (script["title"].clone(), script["attachments"].clone()))
        .collect();
    assert!(
        titles.contains(&(json!("Changed"), json!([]))),
        "{titles:?}"
    );
}

#[tokio::test]
async fn a_script_with_an_attachment_runs_and_its_result_is_seen() {
    let (house, key) = house().await;
    let gateway = &house.gateway;
    let (mut agent, id) = house.computer("web-1").await;
    let script_id = with_attachment(&house, &key).await;
    let arguments = [("query", "tag:blue"), ("script_id", script_id.as_str())];
    let (status, group) = key.call(gateway, "ExecuteScript", &arguments).await;
    assert_eq!(
        (status, &group["type"]),
        (200, &json!("ActivityGroup")),
        "{group}"
    );
    eventually("a ping says yes", || async {
        agent.ping(&house.way()).await.then_some(())
    })
    .await;
    let orders = agent.exchange(&house.way()).await.expect("an exchange");
    let attached = orders[0].at("attachments").expect("attachments").at("file");
    let path = format!("/attachment/{}", attached.expect("the file").int());
    let mut raw = gateway.https().await;
    let secure = format!(
        "X-Computer-ID: {}",
        agent.secure.clone().expect("an identity")
    );
    let reply = raw.ask("GET", &path, &[&secure], b"").await;
    assert_eq!((reply.status(), reply.text().as_str()), (200, "hello"));

    // Forgotten meanwhile; what was ordered goes on.
    assert_eq!(
        key.call(gateway, "RemoveScript", &[("script_id", &script_id)])
            .await
            .0,
        200
    );
    agent.report(e2e::bpickle::d([
        (
            "operation-id",
            e2e::bpickle::i(orders[0].at("operation-id").expect("a number").int()),
        ),
        ("result-code", e2e::bpickle::i(103)),
        ("result-text", e2e::bpickle::u("no such file")),
        ("status", e2e::bpickle::i(5)),
        ("type", e2e::bpickle::u("operation-result")),
    ]));
    agent.exchange(&house.way()).await.expect("an exchange");
    let query = format!("parent-id:{}", group["id"]);
    let (_, seen) = key
        .call(gateway, "GetActivities", &[("query", &query)])
        .await;
    let one = &seen[0];
    assert_eq!(
        (&one["activity_status"], &one["result_code"]),
        (&json!("failed"), &json!(103))
    );
    assert_eq!(
        (&one["result_text"], &one["computer_id"]),
        (&json!("no such file"), &json!(id))
    );
    let query = format!("id:{}", group["id"]);
    let (_, seen) = key
        .call(gateway, "GetActivities", &[("query", &query)])
        .await;
    assert_eq!(
        (&seen[0]["activity_status"], &seen[0]["computer_id"]),
        (&json!("failed"), &Value::Null)
    );
}

#[tokio::test]
async fn orders_are_taken_back_and_none_waits_for_approval() {
    let (house, key) = house().await;
    let gateway = &house.gateway;
    let (_, id) = house.computer("web-1").await;
    let (_, types) = key.call(gateway, "GetActivityTypes", &[]).await;
    assert!(
        types
            .as_array()
            .expect("a list")
            .contains(&json!("ExecuteScriptRequest"))
    );
    let arguments = [("computer_ids.1", id.to_string())];
    let arguments = arguments
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let (_, group) = key.call(gateway, "RebootComputers", &arguments).await;
    let query = format!("parent-id:{}", group["id"]);
    let (status, canceled) = key
        .call(gateway, "CancelActivities", &[("query", &query)])
        .await;
    assert_eq!(
        (status, canceled.as_array().map(Vec::len)),
        (200, Some(1)),
        "{canceled}"
    );
    let (status, group) = key.call(gateway, "ShutdownComputers", &arguments).await;
    assert_eq!(status, 200, "{group}");
    // Nothing here waits for approval.
    let query = format!("parent-id:{}", group["id"]);
    let (status, answer) = key
        .call(gateway, "ApproveActivities", &[("query", &query)])
        .await;
    assert_eq!(
        (status, &answer["error"]),
        (400, &json!("InvalidActivityStatusChange"))
    );
    let (_, seen) = key
        .call(gateway, "GetActivities", &[("query", &query)])
        .await;
    assert_eq!(
        (&seen[0]["type"], &seen[0]["computer_id"]),
        (&json!("ShutdownRequest"), &json!(id)),
        "{seen}"
    );
}

#[tokio::test]
async fn a_wrong_script_is_refused_with_its_code() {
    let (house, key) = house().await;
    for (code_of, expected) in [
        ("", "EmptyScriptCode"),
        ("!", "ScriptEncoding"),
        // `echo hi`
        ("ZWNobyBoaQ==", "EmptyScriptInterpreter"),
        // `#!/bin/sh`
        ("IyEvYmluL3No", "EmptyScriptCode"),
    ] {
        let arguments = [("title", "x"), ("time_limit", "60"), ("code", code_of)];
        let (status, answer) = key.call(&house.gateway, "CreateScript", &arguments).await;
        assert_eq!((status, code(&answer)), (400, expected));
    }
}

#[tokio::test]
async fn a_computer_that_is_named_twice_is_told_once() {
    let (house, key) = house().await;
    let (_, id) = house.computer("web-1").await;
    let id = id.to_string();
    let twice = [("computer_ids.1", id.as_str()), ("computer_ids.2", &id)];
    for action in ["RebootComputers", "ShutdownComputers"] {
        let (status, group) = key.call(&house.gateway, action, &twice).await;
        assert_eq!(status, 200, "{action}: {group}");
        let sql = format!(
            "select count(*) from activity where parent_id = {}",
            group["id"]
        );
        assert_eq!(house.database.sql(&sql), "1", "{action}");
    }
    // Also who waits.
    for title in ["yes", "no"] {
        e2e::Agent::new(title).set_up(&house.way(), None).await;
    }
    let number = |title: &str| {
        let sql = format!("select id from computer where title = '{title}'");
        house.database.sql(&sql)
    };
    let (yes, no) = (number("yes"), number("no"));
    let place = format!("existing_ids.{yes}");
    let arguments = [
        ("computer_ids.1", yes.as_str()),
        ("computer_ids.2", &yes),
        (&place, &id),
    ];
    let (status, answer) = key
        .call(&house.gateway, "AcceptPendingComputers", &arguments)
        .await;
    assert_eq!(
        (status, answer.as_array().map(Vec::len)),
        (200, Some(1)),
        "{answer}"
    );
    assert_eq!(answer[0]["id"].to_string(), id);
    let twice = [("computer_ids.1", no.as_str()), ("computer_ids.2", &no)];
    for (arguments, expected) in [(&twice[..], 200), (&twice[..1], 404)] {
        let (status, answer) = key
            .call(&house.gateway, "RejectPendingComputers", arguments)
            .await;
        assert_eq!(status, expected, "{answer}");
    }
}

#[tokio::test]
async fn one_call_is_about_so_many_computers_and_no_more() {
    let (house, key) = house().await;
    let (_, id) = house.computer("web-1").await;
    let named = |name: &str, count: i64| -> Vec<(String, String)> {
        (0..count)
            .map(|at| match name {
                "computer_titles" => (format!("{name}.{}", id + at), "x".to_owned()),
                _ => (format!("{name}.{}", at + 1), (id + at).to_string()),
            })
            .collect()
    };
    for (action, name) in [
        ("RebootComputers", "computer_ids"),
        ("ShutdownComputers", "computer_ids"),
        ("RemoveComputers", "computer_ids"),
        ("AcceptPendingComputers", "computer_ids"),
        ("RejectPendingComputers", "computer_ids"),
        ("RenameComputers", "computer_titles"),
    ] {
        for (count, expected) in [
            (10_000, (404, "UnknownComputers")),
            (10_001, (400, "InvalidParameter")),
        ] {
            let all = named(name, count);
            let all: Vec<(&str, &str)> = all
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let (status, answer) = key.call(&house.gateway, action, &all).await;
            assert_eq!((status, code(&answer)), expected, "{action} {count}");
        }
    }
    assert_eq!(house.database.sql("select title from computer"), "web-1");

    // What a query means is changed as a whole, or not at all.
    house.database.sql(
        "insert into computer (account_id, accepted, title, hostname) \
         select 1, true, 'many', 'many' from generate_series(1, 100001)",
    );
    let many = [("query", "many"), ("tags.1", "new")];
    let (status, answer) = key.call(&house.gateway, "AddTagsToComputers", &many).await;
    assert_eq!((status, code(&answer)), (400, "InvalidQuery"));
    let tagged = "select count(*) from computer_tag where tag = 'new'";
    assert_eq!(house.database.sql(tagged), "0");
}

#[tokio::test]
async fn nobody_is_accepted_as_new_who_was_to_take_a_place() {
    let (house, key) = house().await;
    let (_, old) = house.computer("old").await;
    e2e::Agent::new("new").set_up(&house.way(), None).await;
    let new = house
        .database
        .sql("select id from computer where not accepted");
    let other: i64 = new.parse::<i64>().expect("a number") + 9;
    let (old_text, place) = (old.to_string(), format!("existing_ids.{other}"));
    let arguments = [("computer_ids.1", new.as_str()), (&place, &old_text)];
    let (status, answer) = key
        .call(&house.gateway, "AcceptPendingComputers", &arguments)
        .await;
    assert_eq!((status, code(&answer)), (400, "InvalidParameter"));
    let told = answer["message"].as_str().expect("text");
    assert!(told.contains(&other.to_string()), "{told}");
    let id: i64 = new.parse().expect("a number");
    let body = json!({"computer_ids": [id], "existing_ids": {other.to_string(): old}});
    let rest = house.rest().await;
    let (status, answer) = rest.post("/pending-computers/accept", &body).await;
    assert_eq!((status, code(&answer)), (400, "InvalidParameter"));
    let waiting = "select count(*) from computer where not accepted";
    assert_eq!(house.database.sql(waiting), "1", "it still waits");
}

#[tokio::test]
async fn a_name_that_is_too_long_is_refused_wherever_it_is_given() {
    let (house, key) = house().await;
    house.computer("web-1").await;
    e2e::Agent::new("new").set_up(&house.way(), None).await;
    let waiting = house
        .database
        .sql("select id from computer where not accepted");
    let code_of = ("code", "IyEvYmluL3NoCmlkCg==");
    let (_, script) = key
        .call(&house.gateway, "CreateScript", &[("title", "x"), code_of])
        .await;
    let script = script["id"].to_string();
    let script = ("script_id", script.as_str());
    let (fits, long) = ("é".repeat(255), "é".repeat(256));
    for (action, arguments, name, expected) in [
        (
            "CreateScript",
            vec![("title", "y"), code_of],
            "username",
            "InvalidParameter",
        ),
        (
            "CreateScript",
            vec![("title", "z"), code_of],
            "access_group",
            "UnknownAccessGroup",
        ),
        ("CreateScript", vec![code_of], "title", "InvalidTitle"),
        ("EditScript", vec![script], "username", "InvalidParameter"),
        (
            "CopyScript",
            vec![script, ("title", "w")],
            "access_group",
            "UnknownAccessGroup",
        ),
        (
            "ExecuteScript",
            vec![script, ("query", "web-1")],
            "username",
            "InvalidParameter",
        ),
        (
            "ChangeComputersAccessGroup",
            vec![("query", "web-1")],
            "access_group",
            "UnknownAccessGroup",
        ),
        (
            "AddTagsToComputers",
            vec![("query", "web-1")],
            "tags.1",
            "InvalidTag",
        ),
        (
            "GetPackages",
            vec![("query", "web-1")],
            "search",
            "InvalidParameter",
        ),
        (
            "AcceptPendingComputers",
            vec![("computer_ids.1", waiting.as_str())],
            "access_group",
            "UnknownAccessGroup",
        ),
    ] {
        for (name_of, status_of) in [(&long, 400), (&fits, 200)] {
            let arguments = [&arguments[..], &[(name, name_of.as_str())]].concat();
            let (status, answer) = key.call(&house.gateway, action, &arguments).await;
            assert_eq!(status, status_of, "{action} {name}: {answer}");
            assert!(
                status == 200 || code(&answer) == expected,
                "{action}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn lists_of_tags_and_names_have_an_end() {
    let (house, key) = house().await;
    house.computer("web-1").await;
    let query = ("query".to_owned(), "web-1".to_owned());
    for (action, name, most) in [
        ("AddTagsToComputers", "tags", 100),
        ("RemoveTagsFromComputers", "tags", 100),
        ("GetPackages", "names", 1000),
    ] {
        for (count, expected) in [(most, 200), (most + 1, 400)] {
            let mut all = vec![query.clone()];
            all.extend((1..=count).map(|at| (format!("{name}.{at}"), format!("x{at}"))));
            let all: Vec<(&str, &str)> = all
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let (status, answer) = key.call(&house.gateway, action, &all).await;
            assert_eq!(status, expected, "{action} {count}: {answer}");
        }
    }
}
