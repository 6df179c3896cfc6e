//! Is a registration one computer, whoever tells it, how often and after what?

use e2e::bpickle::{Pickle, d, i, u};
use e2e::{Agent, Database, Service, Way};

fn type_of(message: &Pickle) -> &str {
    message.at("type").expect("a type").text()
}

fn with(message: Pickle, fields: &[(&str, Pickle)]) -> Pickle {
    let Pickle::Dict(mut entries) = message else {
        panic!("no message: {message:?}");
    };
    let told = |key: &Pickle| fields.iter().any(|(name, _)| *key == u(name));
    entries.retain(|(key, _)| !told(key));
    entries.extend(fields.iter().map(|(name, value)| (u(name), value.clone())));
    Pickle::Dict(entries)
}

/// Registers in one request without numbers, as the set-up program does, and gets an identity.
async fn set_up(way: &Way<'_>, shown: Option<&str>, message: Pickle) -> Vec<Pickle> {
    let fields: Vec<String> = shown
        .iter()
        .map(|id| format!("X-Computer-ID: {id}"))
        .collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let body = d([("messages", Pickle::List(vec![message]))]).write();
    let (status, body) = way.post("/message-system", &fields, &body).await;
    assert_eq!(status, 200);
    let answer = Pickle::read(&body);
    answer.at("messages").expect("messages").list().to_vec()
}

const ROWS: &str = "select accepted, machine_id from computer order by id";

#[tokio::test]
async fn who_waits_and_loses_its_identity_waits_on_as_the_same() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let agent = Agent::new("lost");
    let told = |machine: &str| with(agent.register(None), &[("machine_id", u(machine))]);
    set_up(&way, None, told("m-1")).await;
    assert_eq!(database.sql(ROWS), "f|m-1");
    // The daemon registers by itself, and its message does not say what machine it is.
    let mut daemon = Agent::new("lost");
    daemon.report(daemon.register(None));
    daemon.exchange(&way).await.expect("an exchange");
    assert_eq!(database.sql(ROWS), "f|m-1");
    daemon.exchange(&way).await.expect("its identity is good");
    assert!(daemon.secure.is_some());
    // The same names on another machine are another computer, and the first one finds itself again.
    set_up(&way, None, told("m-2")).await;
    set_up(&way, None, told("m-1")).await;
    assert_eq!(database.sql(ROWS), "f|m-1\nf|m-2");
    // Another account, another name in the network: others, too.
    database.sql("insert into account (name, title) values ('other', 'Other')");
    let elsewhere = [("account_name", u("other")), ("machine_id", u("m-1"))];
    set_up(&way, None, with(agent.register(None), &elsewhere)).await;
    let renamed = [("hostname", u("new.test")), ("machine_id", u("m-1"))];
    set_up(&way, None, with(agent.register(None), &renamed)).await;
    assert_eq!(database.sql(ROWS), "f|m-1\nf|m-2\nf|m-1\nf|m-1");
}

#[tokio::test]
async fn names_alone_take_nobodys_place() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let machine = |id: &str| vec![("machine_id".to_owned(), id.to_owned())];
    // What it told of its machine, and what somebody tells who knows its names.
    for (title, own, others) in [
        ("a", machine("m-1"), vec![]),
        ("b", vec![], machine("m-2")),
        ("c", vec![], vec![]),
        ("d", machine("m-1"), machine("m-2")),
    ] {
        let mut agent = Agent::new(title);
        agent.says = own;
        agent.set_up(&way, None).await;
        agent.exchange(&way).await.expect("it waits");
        let first = database.sql(&format!("select id from computer where title = '{title}'"));
        let mut stranger = Agent::new(title);
        stranger.says = others;
        stranger.set_up(&way, None).await;
        stranger.exchange(&way).await.expect("it waits, too");
        agent.exchange(&way).await.expect("an exchange");
        assert!(agent.secure.is_some(), "{title}: its identity is good");
        assert_ne!(agent.secure, stranger.secure);
        let rows = database.sql(&format!(
            "select count(*) from computer where title = '{title}'"
        ));
        assert_eq!(rows, "2", "{title}");
        // Whoever is accepted as the first is the first.
        database.sql(&format!(
            "update computer set accepted = true where id = {first}"
        ));
        stranger.exchange(&way).await.expect("an exchange");
        assert_eq!(stranger.types, ["register"], "{title}");
    }
}

#[tokio::test]
async fn whoever_tells_no_machine_finds_its_place_again_when_nobody_is_there_any_more() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::new("moved");
    agent.says = vec![("machine_id".to_owned(), "m-1".to_owned())];
    agent.set_up(&way, None).await;
    agent.exchange(&way).await.expect("it waits");
    let silent = |table: &str| format!("update {table} set last_at = now() - interval '2 hours'");
    // It does not exchange, and pings still.
    database.sql(&silent("exchange"));
    database.sql("insert into computer_ping select id, now() from computer");
    Agent::new("moved").set_up(&way, None).await;
    assert_eq!(database.sql("select count(*) from computer"), "2");
    database.sql("delete from computer where machine_id is null");
    database.sql(&silent("computer_ping"));
    let mut again = Agent::new("moved");
    again.set_up(&way, None).await;
    assert_eq!(database.sql(ROWS), "f|m-1");
    again.exchange(&way).await.expect("an exchange");
    assert!(again.secure.is_some());
    agent.exchange(&way).await.expect("an answer");
    assert_eq!(agent.secure, None, "the old identity is void");
}

#[tokio::test]
async fn a_stranger_registers_one_computer_in_a_request() {
    let database = Database::fresh();
    let settings = [("MESSAGE_SYSTEM__MESSAGES_MAX", "8")];
    let service = Service::at("message-server", &database, e2e::free_range(1), &settings);
    let way = Way::Port(service.port());
    database.sql("update account set registration_key = 'right'");
    let many = |titles: std::ops::Range<usize>, key| {
        let one = |title: usize| Agent::new(&format!("n{title}")).register(key);
        let messages = titles.map(one).collect();
        d([("messages", Pickle::List(messages))]).write()
    };
    let said = |answer: &[u8]| {
        let answer = Pickle::read(answer);
        let messages = answer.at("messages").expect("messages").list();
        messages
            .iter()
            .map(|one| type_of(one).to_owned())
            .collect::<Vec<_>>()
    };
    let titles = "select string_agg(title, ' ' order by title) from computer";
    let (status, answer) = way.post("/message-system", &[], &many(0..6, None)).await;
    assert_eq!((status, said(&answer)), (200, vec!["set-id".to_owned()]));
    // The last is what counts, and what comes after as many as are taken at once is not looked at.
    assert_eq!(database.sql(titles), "n5");
    let (status, answer) = way.post("/message-system", &[], &many(10..30, None)).await;
    assert_eq!((status, said(&answer)), (200, vec!["set-id".to_owned()]));
    assert_eq!(database.sql(titles), "n17 n5");
    // A wrong key is wrong wherever it stands.
    let (status, answer) = way
        .post("/message-system", &[], &many(40..46, Some("wrong")))
        .await;
    assert_eq!(
        (status, said(&answer)),
        (200, vec!["registration".to_owned()])
    );
    assert_eq!(database.sql(titles), "n17 n5");
    // One that has its identity is described once.
    let secure = database.sql("select secure_id from computer where title = 'n5'");
    let shown = format!("X-Computer-ID: {secure}");
    let (status, answer) = way
        .post("/message-system", &[&shown], &many(60..66, None))
        .await;
    assert_eq!((status, said(&answer)), (200, vec!["set-id".to_owned()]));
    assert_eq!(database.sql(titles), "n17 n65");
    let metrics = e2e::Raw::tcp(service.port())
        .await
        .get("/metrics")
        .await
        .text();
    let line = "backends_messages_total{end=\"not_taken\"} 34";
    assert!(metrics.contains(line), "{metrics}");
    let line = "backends_messages_total{end=\"stored\"} 4";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn a_computer_that_registers_again_does_not_wait_for_others_of_its_account() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "known").await;
    let held = database.hold("select from account for no key update");
    let renamed = [("computer_title", u("renamed"))];
    agent.report(with(agent.register(Some("right")), &renamed));
    let said = agent.exchange(&way).await.expect("an exchange");
    assert_eq!(said.iter().map(type_of).collect::<Vec<_>>(), ["set-id"]);
    drop(held);
    assert_eq!(database.sql("select title from computer"), "renamed");
}

#[tokio::test]
async fn an_accepted_computer_keeps_its_group_and_tags_unless_it_tells_others() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let agent = Agent::accepted(&database, &way, "kept").await;
    database.sql(
        "update computer set access_group = 'lab'; delete from computer_tag; \
         insert into computer_tag select id, 'ours' from computer",
    );
    let secure = agent.secure.clone().expect("an identity");
    let row = "select title, access_group, string_agg(tag, ' ' order by tag) \
               from computer join computer_tag on computer_id = id group by id";
    let untold = [
        ("access_group", u("")),
        ("computer_title", u("new")),
        ("tags", Pickle::Null),
    ];
    set_up(&way, Some(&secure), with(agent.register(None), &untold)).await;
    assert_eq!(database.sql(row), "new|lab|ours");
    let told = [("access_group", u("web")), ("tags", u("red,blue"))];
    set_up(&way, Some(&secure), with(agent.register(None), &told)).await;
    assert_eq!(database.sql(row), "kept|web|blue red");
}

#[tokio::test]
async fn who_waits_and_registers_again_with_the_key_waits_no_more() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut first = Agent::new("key");
    first.set_up(&way, None).await;
    first.exchange(&way).await.expect("it waits");
    database.sql("update account set registration_key = 'right'");
    let mut agent = Agent::new("key");
    agent.set_up(&way, Some("right")).await;
    let found = "select accepted, accepted_at is not null from computer";
    assert_eq!(database.sql(found), "t|t");
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!(agent.types.len(), 22, "{:?}", agent.types);
    // A wrong key takes nobody's place.
    let mut waiting = Agent::new("waits");
    waiting.set_up(&way, None).await;
    let said = Agent::new("waits").set_up(&way, Some("wrong")).await;
    assert_eq!(said[0].at("info"), Some(&u("unknown-account")));
    waiting.exchange(&way).await.expect("an exchange");
    assert!(waiting.secure.is_some());
}

#[tokio::test]
async fn a_computer_that_is_at_work_is_not_taken_over_by_a_registration() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "works").await;
    for key in [None, Some("right")] {
        Agent::new("works").set_up(&way, key).await;
        agent.exchange(&way).await.expect("an exchange");
        assert!(agent.secure.is_some(), "{key:?}");
    }
    // With the key, the one that waited became one of ours; nobody waits.
    let rows = "select accepted from computer order by id";
    assert_eq!(database.sql(rows), "t\nt");
}

#[tokio::test]
async fn a_clone_is_known_by_its_original() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut original = Agent::accepted(&database, &way, "original").await;
    let mut clone = original.clone();
    let shared = original.secure.clone().expect("an identity");
    for _ in 0..2 {
        original.exchange(&way).await.expect("an exchange");
    }
    let said = clone.exchange(&way).await.expect("an exchange");
    assert_eq!(said[0].at("clone-of"), Some(&u("original")));
    // As the daemon does it then: it registers and names the identity that it had.
    clone.title = "clone".to_owned();
    let names = clone.clone();
    let message = |key| with(names.register(key), &[("clone_secure_id", u(&shared))]);
    clone.pending = vec![message(None)];
    clone.exchange(&way).await.expect("an exchange");
    let pairs = "select clone.title, original.title from computer clone \
                 join computer original on original.id = clone.clone_of";
    assert_eq!(database.sql(pairs), "clone|original");
    // The answer was lost, and it tries again: the same row, the same original.
    database.sql("update computer set clone_of = null");
    set_up(&way, None, message(Some("right"))).await;
    assert_eq!(database.sql(pairs), "clone|original");
    assert_eq!(database.sql("select count(*) from computer"), "2");
    // What is nobody's identity, or of another account, or no identity at all, names nobody.
    database.sql("insert into account (name, title) values ('other', 'Other')");
    for (title, fields) in [
        (
            "a",
            vec![("clone_secure_id", u("00000000-0000-0000-0000-000000000001"))],
        ),
        ("b", vec![("clone_secure_id", u("no identity"))]),
        (
            "c",
            vec![
                ("clone_secure_id", u(&shared)),
                ("account_name", u("other")),
            ],
        ),
    ] {
        set_up(&way, None, with(Agent::new(title).register(None), &fields)).await;
    }
    assert_eq!(database.sql(pairs), "clone|original");
    assert_eq!(database.sql("select count(*) from computer"), "5");
}

#[tokio::test]
async fn a_known_computer_that_is_set_up_again_keeps_its_identity_and_is_described_anew() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::new("again");
    agent.set_up(&way, None).await;
    agent.exchange(&way).await.expect("it waits");
    let other = Agent::new("other").set_up(&way, None).await;
    let other = other[0].at("id").expect("an identity").bytes().to_vec();
    let other = String::from_utf8(other).expect("ASCII");
    let secure = agent.secure.clone().expect("an identity");
    let fields = [
        ("computer_title", u("renamed")),
        ("tags", u("red")),
        ("access_group", u("lab")),
        ("machine_id", u("m-1")),
        ("clone_secure_id", u(&other)),
    ];
    let message = with(agent.register(None), &fields);
    let said = set_up(&way, Some(&secure), message.clone()).await;
    assert_eq!(said.iter().map(type_of).collect::<Vec<_>>(), ["set-id"]);
    assert_eq!(
        said[0].at("id").expect("an identity").bytes(),
        secure.as_bytes()
    );
    assert_eq!(said[0].at("insecure-id").map(Pickle::int), agent.insecure);
    let row = "select computer.title, computer.access_group, computer.machine_id, \
               computer.accepted, original.title, string_agg(tag, ' ') \
               from computer join computer_tag on computer_id = computer.id \
               left join computer original on original.id = computer.clone_of \
               where computer.hostname = 'again.test' \
               group by computer.id, original.id";
    assert_eq!(database.sql(row), "renamed|lab|m-1|f|other|red");
    // With the wrong key, or that of another account, it waits on; with its own it waits no more.
    database.sql(
        "insert into account (name, title, registration_key) values ('elsewhere', 'E', 'theirs'); \
         update account set registration_key = 'right' where name = 'standalone'",
    );
    let keyed = |account: &str, key: &str| {
        let fields = [
            ("account_name", u(account)),
            ("registration_password", u(key)),
        ];
        with(message.clone(), &fields)
    };
    let accepted = "select accepted from computer where hostname = 'again.test'";
    for (account, key, want) in [
        ("standalone", "wrong", "f"),
        ("elsewhere", "theirs", "f"),
        ("standalone", "right", "t"),
    ] {
        let said = set_up(&way, Some(&secure), keyed(account, key)).await;
        assert_eq!(said.len(), 1);
        assert_eq!(database.sql(accepted), want, "{account} {key}");
    }
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!(agent.types.len(), 22, "{:?}", agent.types);
    assert_eq!(database.sql("select count(*) from computer"), "2");
    // What else stands in such a request is not taken: it has no number.
    let report = d([("tags", u("blue")), ("type", u("computer-tags"))]);
    assert!(set_up(&way, Some(&secure), report).await.is_empty());
    assert_eq!(database.sql(row), "renamed|lab|m-1|t|other|red");
}

#[tokio::test]
async fn a_registration_among_numbered_messages_is_answered_in_its_turn() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "daemon").await;
    let user = d([
        ("enabled", Pickle::Bool(true)),
        ("uid", i(1000)),
        ("username", u("ada")),
    ]);
    agent.report(d([
        ("create-users", Pickle::List(vec![user])),
        ("type", u("users")),
    ]));
    agent.report(d([
        ("installed", Pickle::List(vec![i(7)])),
        ("type", u("packages")),
    ]));
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!(database.sql("select username from system_user"), "ada");
    let (secure, wanted) = (agent.secure.clone(), agent.wanted);
    let renamed = [("computer_title", u("renamed"))];
    agent.report(with(agent.register(Some("right")), &renamed));
    let mut lost = agent.clone();
    let said = lost.exchange(&way).await.expect("an answer that is lost");
    assert_eq!(said.iter().map(type_of).collect::<Vec<_>>(), ["set-id"]);
    agent.token = None;
    let again = agent.exchange(&way).await.expect("the repeat");
    assert_eq!((again, agent.wanted), (said, wanted + 1));
    assert_eq!((&agent.secure, agent.pending.len()), (&secure, 0));
    assert_eq!(
        database.sql("select title, accepted from computer"),
        "renamed|t"
    );
    // It begins anew then and tells all that it has, so that what it told before is void.
    assert_eq!(database.sql("select count(*) from system_user"), "0");
    assert_eq!(
        database.sql("select installed from computer_packages"),
        "{}"
    );
}
