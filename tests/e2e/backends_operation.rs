//! Is an operator told what is wrong, whether a service can do its work, and what was given up?

use std::process::Command;

use e2e::bpickle::u;
use e2e::{Agent, Broker, Database, Postgres, Raw, Service, TempDir, Way, eventually, free_range};

/// Most notes that wait for the broker.
const NOTES_MAX: u32 = 200_000;

/// Starts a program that must not start; how it ended, and what it said.
fn refused(name: &str, words: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = Command::new(e2e::stack::program(name))
        .args(words)
        .env_remove("RUST_LOG")
        .envs(settings.iter().copied())
        .output()
        .expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{name}: {said}");
    (output.status.code(), said)
}

#[test]
fn every_mistake_that_can_be_known_is_told_in_one_message_before_anything_is_connected() {
    let dir = TempDir::new();
    let file = dir.write(
        "services.conf",
        "[store]\nurl = postgres://u:s3cret@h:port/d\n[broker]\nurl = amqp://u:s3cret@h:port/v\n\
         [secret]\nkey_file = KEY\n[repository]\nsigning_key = SIGNING\nhash_id_databases = KEY\n\
         [package_search]\nurl = ftp://x\ntimeout = soon\n",
    );
    let key = dir.write("key", "not hexadecimal\n");
    let text = std::fs::read_to_string(&file).expect("it was written");
    let text = text.replace("KEY", &key.display().to_string());
    std::fs::write(&file, text.replace("SIGNING", &key.display().to_string())).expect("a file");
    let config = file.display().to_string();
    let words = ["--config", &config, "--port", "99999", "--colour", "red"];
    let settings = [
        ("RUST_LOG", "backends=loud"),
        ("BACKENDS_API__REQUESTS_MAX", "none"),
    ];
    let (code, said) = refused("package-upload", &words, &settings);
    assert_eq!(code, Some(2), "{said}");
    let at = |line: u32| format!("{config}:{line}: ");
    for told in [
        "command line: unexpected argument '--colour' found",
        "command line: --port is a number from 0 to 65535, not `99999`",
        "RUST_LOG: `backends=loud`",
        &format!("{}`url` is no address of a database", at(2)),
        &format!("{}`url` is no address of the form amqp://", at(4)),
        &format!("{}secret.key: line 1 is no key", at(6)),
        &format!("{}`signing_key`: ", at(8)),
        &format!("{}`hash_id_databases`: ", at(9)),
        &format!("{}`url` is of the form http://", at(11)),
        &format!("{}`timeout` is a duration", at(12)),
        "BACKENDS_API__REQUESTS_MAX: `requests_max` is a number",
        "repository.directory is not set: give it by BACKENDS_REPOSITORY__DIRECTORY",
    ] {
        assert!(said.contains(told), "{told}\n{said}");
    }
    assert_eq!(said.trim_end().lines().count(), 12, "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}

#[test]
fn what_a_service_needs_and_was_not_given_is_told_with_the_rest() {
    for (program, told) in [
        ("message-server", &["store.url is not set"][..]),
        (
            "outbox-relay",
            &[
                "store.url is not set",
                "broker.url is not set",
                "broker.hostagent_url is not set",
            ],
        ),
        ("api", &["store.url is not set", "nobody keeps secrets"]),
        (
            "package-upload",
            &["store.url is not set", "repository.directory is not set"],
        ),
    ] {
        let (code, said) = refused(program, &["--port", "0"], &[]);
        assert_eq!(code, Some(2), "{said}");
        for part in told {
            assert!(said.contains(part), "{program}: {part}\n{said}");
        }
        assert_eq!(said.trim_end().lines().count(), told.len(), "{said}");
    }
    // The operator's program reads the same settings.
    let (_, said) = refused("schema", &["migrate"], &[("BACKENDS_SECRET__KEY", "x")]);
    for told in ["store.url is not set", "BACKENDS_SECRET__KEY: secret.key"] {
        assert!(said.contains(told), "{told}\n{said}");
    }
}

#[tokio::test]
async fn an_operator_says_who_counts_at_once_and_how_many_may_wait() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    database.schema(&[], &["registration-key", "right"], "");
    let accepted = async |title: &str| {
        let said = Agent::new(title).set_up(&way, Some("right")).await;
        let sql = format!("select accepted from computer where title = '{title}'");
        (database.sql(&sql), said)
    };
    assert_eq!(accepted("first").await.0, "t");
    let account = |more: &[&str]| {
        let words = [&["account", "standalone"], more].concat();
        database.schema(&[], &words, "")
    };
    let said = account(&["--auto-accept", "off", "--pending-max", "1"]);
    assert!(
        said.contains("counts when an administrator accepts it; 1 may wait"),
        "{said}"
    );
    assert_eq!(accepted("second").await.0, "f");
    let (row, said) = accepted("third").await;
    assert_eq!(
        (row.as_str(), said[0].at("info")),
        ("", Some(&u("max-pending-computers")))
    );
    // What is not said stays.
    let said = account(&["--auto-accept", "on"]);
    assert!(said.contains("counts at once; 1 may wait"), "{said}");
    assert_eq!(accepted("fourth").await.0, "t");
    let said = account(&["--title", "Ours"]);
    assert_eq!(said, "schema: account standalone has another title");
    let rows = "select title, auto_accept, pending_max from account";
    assert_eq!(database.sql(rows), "Ours|t|1");

    for wrong in [
        ["--auto-accept", "maybe"],
        ["--pending-max", "0"],
        ["--pending-max", "many"],
    ] {
        let words = [&["account", "standalone"][..], &wrong].concat();
        let (code, said) = refused("schema", &words, &[("BACKENDS_STORE__URL", database.url())]);
        assert!(code == Some(2) && said.contains(wrong[0]), "{said}");
    }
    assert_eq!(database.sql(rows), "Ours|t|1");
}

async fn health(service: &Service) -> (u16, String) {
    let reply = Raw::tcp(service.port()).await.get("/health").await;
    (reply.status(), reply.text())
}

async fn until_health(name: &str, service: &Service, status: u16, text: &str) {
    eventually(
        &format!("/health of {name} is {status}: {text}"),
        || async {
            let told = health(service).await;
            (told.0 == status && told.1.starts_with(text)).then_some(())
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_503_without_the_database_and_for_nothing_else() {
    let mut server = Postgres::start();
    let database = server.database();
    let dir = TempDir::new();
    let folder = dir.path().display().to_string();
    // Nobody listens there: a broker that is away is told, and no reason to be ill.
    let broker = format!("amqp://x:y@127.0.0.1:{}/v", free_range(1));
    let settings = [
        ("BROKER__URL", broker.as_str()),
        ("BROKER__HOSTAGENT_URL", &broker),
        ("REPOSITORY__DIRECTORY", &folder),
    ];
    let names = [
        "appserver",
        "pingserver",
        "message-server",
        "api",
        "package-upload",
        "hostagent-messenger",
        "outbox-relay",
        "package-search",
    ];
    let services = names.map(|name| Service::at(name, &database, free_range(1), &settings));
    for (name, service) in names.iter().zip(&services) {
        until_health(name, service, 200, "ok\n").await;
    }
    // Whoever listens to it says so.
    for name in ["appserver", "pingserver", "outbox-relay", "package-search"] {
        let at = names
            .iter()
            .position(|other| *other == name)
            .expect("one of them");
        eventually(&format!("{name} says that the broker is away"), || async {
            let (status, text) = health(&services[at]).await;
            (status == 200 && text.contains("broker: away")).then_some(())
        })
        .await;
    }
    server.kill();
    let [rest @ .., search] = &services;
    for (name, service) in names.iter().zip(rest) {
        until_health(name, service, 503, "no database\n").await;
    }
    // It answers from memory, for a minute.
    assert_eq!(health(search).await.0, 200);
    server.restart();
    for (name, service) in names.iter().zip(&services) {
        until_health(name, service, 200, "ok\n").await;
    }
}

#[tokio::test]
async fn package_search_is_not_healthy_before_its_copy_is_loaded() {
    let database = Database::fresh();
    let held = database.hold("lock table package in access exclusive mode");
    let search = Service::start("package-search", &database);
    until_health("package-search", &search, 503, "not loaded\n").await;
    drop(held);
    until_health("package-search", &search, 200, "ok\n").await;
}

/// A number that a service counts.
async fn metric(service: &Service, name: &str) -> Option<f64> {
    let text = Raw::tcp(service.port()).await.get("/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line?.trim().parse().ok()
}

#[tokio::test]
async fn an_outbox_that_grows_while_the_broker_is_away_keeps_within_its_bound() {
    let database = Database::fresh();
    // A relay had the broker a moment ago.
    database.sql("update outbox_relay set seen_at = now()");
    database.sql(&format!(
        "insert into outbox (topic, subject) \
         select 'computer.reported', n from generate_series(1, {NOTES_MAX} + 10) n"
    ));
    let nobody = format!("amqp://x:y@127.0.0.1:{}/v", free_range(1));
    let settings = [
        ("BROKER__URL", nobody.as_str()),
        ("BROKER__HOSTAGENT_URL", &nobody),
    ];
    let mut relay = Service::at("outbox-relay", &database, free_range(1), &settings);
    let (all, oldest) = (
        "select count(*) from outbox",
        "select min(subject::int) from outbox where topic = 'computer.reported'",
    );
    eventually("the oldest are given up", || async {
        (database.sql(all) == NOTES_MAX.to_string()).then_some(())
    })
    .await;
    // With one more, in the place of which stands that anything may have happened.
    assert_eq!(database.sql(oldest), "12");
    let anything = "select count(*) from outbox where topic = 'anything'";
    assert_eq!(database.sql(anything), "1");
    eventually("it is counted", || async {
        let lost = metric(&relay, "backends_outbox_notes_total{end=\"lost\"}").await;
        let waiting = metric(&relay, "backends_outbox_waiting").await;
        (lost == Some(11.0) && waiting == Some(NOTES_MAX.into())).then_some(())
    })
    .await;
    // What is full gives up as many as come.
    database.sql("insert into outbox (topic, subject) values ('computer.reported', '0')");
    eventually("one more is too many", || async {
        (metric(&relay, "backends_outbox_notes_total{end=\"lost\"}").await == Some(13.0))
            .then_some(())
    })
    .await;
    // That anything may have happened waits once, and is said once, for as long as that lasts.
    assert_eq!(database.sql(all), (NOTES_MAX - 1).to_string());
    assert_eq!(database.sql(anything), "1");
    let log = relay.log();
    assert_eq!(log.matches("too many notes wait").count(), 1, "{log}");
    relay.stop();

    // With the broker back, it is told.
    database.sql("delete from outbox where topic <> 'anything'");
    let broker = Broker::fresh();
    let relay = Service::at("outbox-relay", &database, free_range(1), &broker.with(&[]));
    eventually("it is told", || async {
        (metric(&relay, "backends_outbox_notes_total{end=\"told\"}").await == Some(1.0))
            .then_some(())
    })
    .await;
    assert_eq!(database.sql(all), "0");
}

#[tokio::test]
async fn after_ten_minutes_without_a_relay_nothing_waits_and_the_next_one_has_everybody_look() {
    let (database, broker) = (Database::fresh(), Broker::fresh());
    let messages = Service::start("message-server", &database);
    let way = Way::Port(messages.port());
    let all = "select count(*) from outbox";
    database.sql("update outbox_relay set seen_at = now() - interval '500 s'");
    Agent::new("kept").set_up(&way, None).await;
    assert_ne!(database.sql(all), "0");
    database.sql("delete from outbox");
    database.sql("update outbox_relay set seen_at = now() - interval '601 s'");
    let mut agent = Agent::new("lost");
    agent.set_up(&way, None).await;
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!(database.sql(all), "0", "nobody would take it out");

    let by_notes_alone = [("PINGSERVER__REFRESH", "1h"), ("PINGSERVER__RELOAD", "1h")];
    let settings = broker.with(&by_notes_alone);
    let pings = Service::at("pingserver", &database, free_range(1), &settings);
    let ping = Way::Port(pings.port());
    until_health("pingserver", &pings, 200, "ok\nbroker: connected").await;
    database.sql("update computer set accepted = true, accepted_at = now() where title = 'lost'");
    let relay = Service::at("outbox-relay", &database, free_range(1), &broker.with(&[]));
    eventually("that anything may have happened is told", || async {
        (metric(&relay, "backends_outbox_notes_total{end=\"told\"}").await == Some(1.0))
            .then_some(())
    })
    .await;
    eventually("who hears it looks", || async {
        agent.ping(&ping).await.then_some(())
    })
    .await;
}
