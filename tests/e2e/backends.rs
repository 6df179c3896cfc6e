//! Does the message system keep its promises, at its own port, with a real database behind it?

use e2e::bpickle::{Pickle, d, i, l, s, t, u};
use e2e::{Agent, Database, Postgres, Raw, Service, Way, eventually};

/// Takes what waits, as an administrator does.
fn accept_all(database: &Database) {
    database.sql("update computer set accepted = true, accepted_at = now() where not accepted");
}

fn set_key(database: &Database, key: &str) {
    database.sql(&format!("update account set registration_key = '{key}'"));
}

fn device(name: &str, address: &str) -> Pickle {
    d([
        ("broadcast_address", s("192.0.2.255")),
        ("flags", i(4163)),
        ("interface", s(name)),
        ("ip_address", s(address)),
        ("mac_address", s("02:fc:00:00:00:01")),
        ("netmask", s("255.255.255.0")),
    ])
}

fn network(devices: Vec<Pickle>) -> Pickle {
    d([
        ("api", s("3.3")),
        (
            "device-speeds",
            l([d([
                ("duplex", Pickle::Bool(true)),
                ("interface", s("eth0")),
                ("speed", i(1000)),
            ])]),
        ),
        ("devices", Pickle::List(devices)),
        ("timestamp", i(1_795_405_897)),
        ("type", u("network-device")),
    ])
}

fn tagged(tags: &str) -> Pickle {
    d([
        ("api", s("3.3")),
        ("tags", u(tags)),
        ("timestamp", i(1_795_405_897)),
        ("type", u("computer-tags")),
    ])
}

fn type_of(message: &Pickle) -> &str {
    message.at("type").expect("a type").text()
}

#[tokio::test]
async fn a_stranger_is_asked_to_register_and_waits_until_it_is_accepted() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::new("daemon");
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!(agent.types, ["register"]);
    agent.report(agent.register(None));
    let said = agent.exchange(&way).await.expect("an exchange");
    assert_eq!(said.iter().map(type_of).collect::<Vec<_>>(), ["set-id"]);
    assert!(agent.secure.is_some() && agent.insecure.is_some());
    // Its numbers go on from there: one for `accepted-types`, one for `set-id`.
    assert_eq!((agent.sequence, agent.wanted), (1, 2));

    assert!(agent.exchange(&way).await.expect("an exchange").is_empty());
    assert_eq!(agent.types, ["register"]);
    accept_all(&database);
    agent.exchange(&way).await.expect("an exchange");
    assert!(agent.types.len() > 1 && !agent.types.contains(&"register".to_owned()));
    assert!(agent.exchange(&way).await.expect("an exchange").is_empty());
    let tags = "select string_agg(tag, ' ' order by tag) from computer_tag";
    assert_eq!(database.sql(tags), "blue green");
}

#[tokio::test]
async fn the_set_up_program_gets_its_ids_in_the_same_answer() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::new("setup");
    let said = agent.set_up(&way, None).await;
    assert_eq!(said.iter().map(type_of).collect::<Vec<_>>(), ["set-id"]);
    assert_eq!(database.sql("select accepted from computer"), "f");
    agent.exchange(&way).await.expect("its first exchange");
    assert_eq!(agent.types, ["register"]);
}

#[tokio::test]
async fn the_key_decides_who_waits_and_who_is_refused() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    set_key(&database, "right");
    let said = Agent::new("a").set_up(&way, Some("wrong")).await;
    assert_eq!(said[0].at("info"), Some(&u("unknown-account")));
    Agent::new("b").set_up(&way, None).await;
    Agent::new("c").set_up(&way, Some("right")).await;
    let found = database.sql("select title, accepted from computer order by title");
    assert_eq!(found, "b|f\nc|t");
    database.sql("update account set pending_max = 1");
    let said = Agent::new("d").set_up(&way, None).await;
    assert_eq!(said[0].at("info"), Some(&u("max-pending-computers")));
}

#[tokio::test]
async fn a_registration_that_is_repeated_is_one_computer() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut first = Agent::new("again");
    first.set_up(&way, None).await;
    let mut second = Agent::new("again");
    second.set_up(&way, None).await;
    assert_eq!(database.sql("select count(*) from computer"), "1");
    // The identity that was given first is void, so nobody who heard it can use it.
    first.exchange(&way).await.expect("an exchange");
    assert_eq!(first.secure, None);
    second.exchange(&way).await.expect("an exchange");
    assert!(second.secure.is_some());

    // With the key: the answer with the ids was lost, and the program tries again.
    set_key(&database, "right");
    Agent::new("keyed").set_up(&way, Some("right")).await;
    let mut keyed = Agent::new("keyed");
    keyed.set_up(&way, Some("right")).await;
    let keyed_rows = "select count(*) from computer where title = 'keyed'";
    assert_eq!(database.sql(keyed_rows), "1");
    keyed.exchange(&way).await.expect("an exchange");
    // It lives: another of this name is another computer.
    Agent::new("keyed").set_up(&way, Some("right")).await;
    assert_eq!(database.sql(keyed_rows), "2");
}

#[tokio::test]
async fn interfaces_are_replaced_on_every_report_and_what_they_were_is_kept() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "net").await;
    let devices = vec![device("eth0", "192.0.2.2"), device("eth1", "192.0.2.3")];
    agent.report(network(devices));
    agent.exchange(&way).await.expect("an exchange");
    assert!(agent.pending.is_empty());
    let now = "select name, host(ip_address), mac_address, host(broadcast_address), \
               host(netmask), flags, speed, full_duplex from network_interface order by name";
    let same = "|02:fc:00:00:00:01|192.0.2.255|255.255.255.0|4163|";
    let (eth0, eth1) = (
        format!("eth0|192.0.2.2{same}1000|t"),
        format!("eth1|192.0.2.3{same}|"),
    );
    assert_eq!(database.sql(now), format!("{eth0}\n{eth1}"));

    let devices = vec![device("eth0", "192.0.2.9")];
    agent.report(network(devices.clone()));
    agent.exchange(&way).await.expect("an exchange");
    let moved = eth0.replace("2.2|", "2.9|");
    assert_eq!(database.sql(now), moved);
    let before = "select name, host(ip_address), gone from network_interface_history order by name";
    assert_eq!(database.sql(before), "eth0|192.0.2.2|f\neth1|192.0.2.3|t");

    // The same again changes nothing.
    agent.report(network(devices));
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!(database.sql(now), moved);
    let rows = "select count(*) from network_interface_history";
    assert_eq!(database.sql(rows), "2");
}

#[tokio::test]
async fn a_repeat_after_a_lost_answer_changes_nothing() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "lost").await;
    // Taken twice, these two would leave more behind than once.
    agent.report(network(vec![device("eth0", "192.0.2.2")]));
    agent.report(network(vec![device("eth0", "192.0.2.3")]));
    let mut before = agent.clone();
    agent.exchange(&way).await.expect("an answer that is lost");
    // It erased its token before it sent, so it comes without one.
    before.token = None;
    before.report(network(vec![device("eth0", "192.0.2.4")]));
    before.exchange(&way).await.expect("the repeat");
    assert!(before.pending.is_empty());
    assert_eq!(before.sequence, agent.sequence + 1);
    let history = "select host(ip_address) from network_interface_history order by id";
    assert_eq!(database.sql(history), "192.0.2.2\n192.0.2.3");
}

#[tokio::test]
async fn an_agent_that_is_ahead_or_behind_finds_the_way_back() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "numbers").await;
    let at = agent.sequence;
    // Ahead: something in between is lost, so nothing is taken and the agent is told where we are.
    agent.sequence = at + 5;
    agent.report(tagged("red"));
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!((agent.sequence, agent.pending.len()), (at, 1));
    let tag = "select string_agg(tag, ' ' order by tag) from computer_tag";
    assert_eq!(database.sql(tag), "blue green");
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!(database.sql(tag), "red");

    // Restored from a copy, it wants numbers that we gave long ago: what is kept is numbered anew.
    let order = "insert into activity (computer_id, type, summary, fields) \
                 select id, 'execute-script', 'x', 'd;' from computer";
    database.sql(order);
    let said = agent.exchange(&way).await.expect("an exchange");
    assert_eq!(said.len(), 1);
    agent.wanted = 0;
    let again = agent.exchange(&way).await.expect("an exchange");
    assert_eq!(again, said);
    assert_eq!(agent.wanted, 1);
    assert!(agent.exchange(&way).await.expect("an exchange").is_empty());
}

#[tokio::test]
async fn orders_are_delivered_until_acknowledged_and_their_results_are_taken_once() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "orders").await;
    database.sql(
        "insert into activity (computer_id, type, summary, fields) select id, type, 'x', \
         convert_to('du4:codeu4:true;', 'UTF8') \
         from computer, unnest(array['execute-script', 'release-upgrade']) as type",
    );
    let mut lost = agent.clone();
    let said = lost.exchange(&way).await.expect("an answer that is lost");
    agent.token = None;
    let again = agent.exchange(&way).await.expect("an exchange");
    assert_eq!(said, again);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].at("code"), Some(&u("true")));
    let operation = again[0].at("operation-id").expect("a number").int();
    let status = "select type, status from activity order by type";
    // What the agent does not understand is not sent.
    assert_eq!(
        database.sql(status),
        "execute-script|delivered\nrelease-upgrade|failed"
    );
    let result = |status, text: &str| {
        d([
            ("operation-id", i(operation)),
            ("result-text", u(text)),
            ("status", i(status)),
            ("type", u("operation-result")),
        ])
    };
    agent.report(result(6, "done\0"));
    agent.report(result(5, "too late"));
    assert!(agent.exchange(&way).await.expect("an exchange").is_empty());
    let ended = "select status, result_text from activity where type = 'execute-script'";
    assert_eq!(database.sql(ended), "succeeded|done\u{fffd}");
    assert_eq!(database.sql("select count(*) from outgoing_message"), "0");
}

#[tokio::test]
async fn a_message_that_fails_validation_does_not_stop_the_stream() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "wrong").await;
    let wrong = d([("devices", l([i(1)])), ("type", u("network-device"))]);
    agent.report(wrong.clone());
    agent.report(d([("type", u("of-nobody"))]));
    agent.report(Pickle::Null);
    agent.report(tagged("after"));
    let said = agent.exchange(&way).await.expect("an exchange");
    assert!(agent.pending.is_empty());
    assert_eq!(database.sql("select tag from computer_tag"), "after");
    assert_eq!(database.sql("select refused_messages from exchange"), "2");
    // What was lost is asked for again, once.
    assert_eq!(
        said.iter().map(type_of).collect::<Vec<_>>(),
        ["resynchronize"]
    );
    assert_eq!(said[0].at("scopes"), Some(&l([u("network")])));
    agent.report(wrong);
    assert!(agent.exchange(&way).await.expect("an exchange").is_empty());
    let answer = [
        (
            "operation-id",
            said[0].at("operation-id").expect("a number").clone(),
        ),
        ("type", u("resynchronize")),
    ];
    agent.report(d(answer));
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!(database.sql("select status from activity"), "succeeded");
    let metrics = Raw::tcp(service.port()).await.get("/metrics").await.text();
    for line in [
        "backends_messages_total{end=\"invalid\"} 3",
        "backends_messages_total{end=\"not_taken\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(service.log().contains("not stored"), "{}", service.log());
}

#[tokio::test]
async fn a_message_that_cannot_be_read_does_not_stop_the_stream() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "spoilt").await;
    let at = agent.sequence;
    let deep = [vec![b'l'; 200_000], vec![b';'; 200_000]].concat();
    let spoilt: [&[u8]; 7] = [
        b"du12:total-memoryi99999999999999999999;u4:typeu13:computer-info;",
        b"du12:create-usersldu4:nameu2:\xc3\x28;;u4:typeu5:users;",
        b"du4:dataf1e400;u4:typeu13:hardware-info;",
        b"dnnu4:typeu5:users;",
        b"du4:typei1;;",
        b"du9:timestampu5:neveru4:typeu5:users;",
        &deep,
    ];
    for (place, bytes) in spoilt.iter().enumerate() {
        agent.report(tagged(&format!("t{place}")));
        agent.report(Pickle::Raw(bytes.to_vec()));
    }
    let mut lost = agent.clone();
    let said = lost.exchange(&way).await.expect("an answer that is lost");
    assert_eq!((lost.pending.len(), lost.sequence), (0, at + 14));
    assert_eq!(database.sql("select tag from computer_tag"), "t6");
    assert_eq!(database.sql("select refused_messages from exchange"), "7");
    // What was lost is asked for again where its type can still be told.
    let scopes: Vec<_> = said.iter().filter_map(|one| one.at("scopes")).collect();
    assert_eq!(scopes, [&l([u("computer")]), &l([u("users")])]);

    // The agent tries again, as it does for ever: now nothing is new, and it goes on.
    agent.token = None;
    agent.exchange(&way).await.expect("the repeat");
    assert_eq!((agent.pending.len(), agent.sequence), (0, at + 14));
    assert_eq!(database.sql("select refused_messages from exchange"), "7");
    let metrics = Raw::tcp(service.port()).await.get("/metrics").await.text();
    let line = "backends_messages_total{end=\"invalid\"} 7";
    assert!(metrics.contains(line), "{metrics}");
    let log = service.log();
    assert_eq!(log.matches("not stored").count(), 7, "{log}");
    assert!(log.contains("nested too deeply"), "{log}");

    // A stranger's, too: it is answered, and what else it said is heard.
    let body = b"du8:messagesldu12:account_nameu1:\xffu4:typeu8:register;n;u8:sequencei0;;";
    let (status, answer) = way.post("/message-system", &[], body).await;
    assert_eq!(status, 200);
    let answer = Pickle::read(&answer);
    let types = &answer.at("messages").expect("messages").list()[0];
    assert_eq!(types.at("types"), Some(&l([u("register")])));
}

#[tokio::test]
async fn more_than_can_be_read_at_once_is_taken_by_and_by() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "much").await;
    // Two fifths of what fits each: two fit, and one with more than half a million values never will.
    let list = |count: usize| [b"l".to_vec(), vec![b'n'; count], b";".to_vec()].concat();
    let much = |count, tags: &str| {
        d([
            ("more", Pickle::Raw(list(count))),
            ("tags", u(tags)),
            ("type", u("computer-tags")),
        ])
    };
    let at = agent.sequence;
    for tags in ["one", "two"] {
        agent.report(much(200_000, tags));
    }
    agent.report(much(500_001, "never"));
    agent.report(much(200_000, "three"));
    let tag = "select tag from computer_tag";
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!((agent.pending.len(), agent.sequence), (1, at + 3));
    assert_eq!(database.sql(tag), "two");
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!((agent.pending.len(), agent.sequence), (0, at + 4));
    assert_eq!(database.sql(tag), "three");
    assert_eq!(database.sql("select refused_messages from exchange"), "1");
}

#[tokio::test]
async fn an_order_is_not_delivered_before_its_time() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let settings = [("PINGSERVER__REFRESH", "50ms")];
    let pings = Service::at("pingserver", &database, e2e::free_range(1), &settings);
    let ping = Way::Port(pings.port());
    let mut agent = Agent::accepted(&database, &way, "later").await;
    database.sql(
        "insert into activity (computer_id, type, summary, fields, deliver_after) \
         select id, 'execute-script', wait, 'd;', now() + wait::interval \
         from computer, unnest(array['1 hour', '-1 second']) as wait",
    );
    eventually("the agent is told that something waits", || async {
        agent.ping(&ping).await.then_some(())
    })
    .await;
    assert_eq!(agent.exchange(&way).await.expect("an exchange").len(), 1);
    let waits = "select summary from activity where status = 'undelivered'";
    assert_eq!(database.sql(waits), "1 hour");
    eventually("nothing waits that is due", || async {
        (!agent.ping(&ping).await).then_some(())
    })
    .await;
    assert!(agent.exchange(&way).await.expect("an exchange").is_empty());
    // Its time comes, and nobody tells the ping server.
    database.sql("update activity set deliver_after = now() where status = 'undelivered'");
    eventually("the agent is told that something is due", || async {
        agent.ping(&ping).await.then_some(())
    })
    .await;
    assert_eq!(agent.exchange(&way).await.expect("an exchange").len(), 1);
    assert_eq!(database.sql(waits), "");
}

#[tokio::test]
async fn a_clone_and_a_forgotten_computer_are_told_that_they_are_unknown() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "twin").await;
    let mut twin = agent.clone();
    agent.exchange(&way).await.expect("an exchange");
    agent.exchange(&way).await.expect("an exchange");
    let original = agent.secure.clone();
    let said = twin.exchange(&way).await.expect("an exchange");
    assert_eq!(said[0].at("clone-of"), Some(&u("twin")));
    assert_eq!(twin.secure, None);
    agent.exchange(&way).await.expect("the original goes on");
    assert_eq!(agent.secure, original);
    database.sql("delete from computer");
    let said = agent.exchange(&way).await.expect("an exchange");
    assert_eq!(type_of(&said[0]), "unknown-id");
    // What it still had to say is nobody's.
    agent.report(tagged("nobodys"));
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!(agent.types, ["register"]);
    assert_eq!(database.sql("select count(*) from computer_tag"), "0");
}

#[tokio::test]
async fn an_agent_of_another_server_is_told_that_it_is_unknown_and_registers() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    set_key(&database, "right");
    let mut agent = Agent::new("moved");
    // No UUID, and not ours: what it says is nobody's, and it is not counted as taken.
    agent.secure = Some("Qf3bZ+secure==".to_owned());
    let said = agent.exchange(&way).await.expect("an exchange");
    assert_eq!(said, [d([("type", u("unknown-id"))])]);
    assert_eq!(agent.secure, None);
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!(agent.types, ["register"]);
    agent.set_up(&way, Some("right")).await;
    let found = database.sql("select title, accepted from computer");
    assert_eq!(found, "moved|t");
}

#[tokio::test]
async fn every_type_that_is_taken_is_stored() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "all").await;
    let float = |text: &str| Pickle::Float(text.to_owned());
    let process = d([
        ("gid", i(0)),
        ("name", u("init")),
        ("percent-cpu", float("0.5")),
        ("pid", i(1)),
        ("start-time", i(1_795_405_000)),
        ("state", s("S")),
        ("uid", i(0)),
        ("vm-size", i(1024)),
    ]);
    let user = d([
        ("enabled", Pickle::Bool(true)),
        ("home-phone", Pickle::Null),
        ("location", Pickle::Null),
        ("name", u("Ada")),
        ("primary-gid", i(1000)),
        ("uid", i(1000)),
        ("username", u("ada")),
        ("work-phone", Pickle::Null),
    ]);
    let mount = d([
        ("device", u("/dev/vda")),
        ("filesystem", u("ext4")),
        ("mount-point", u("/")),
        ("total-space", i(1000)),
    ]);
    let traffic = Pickle::Dict(vec![(
        s("eth0"),
        l([
            t([i(1_795_406_100), i(12), i(34)]),
            t([i(1_795_406_400), i(1), i(2)]),
            // The interface was made anew, and its counters began at 0 again.
            t([i(1_795_406_700), i(-53_687_091), i(7)]),
        ]),
    )]);
    let members = d([("staff", l([u("ada")]))]);
    for (message_type, fields) in [
        ("resynchronize", vec![]),
        ("network-activity", vec![("activities", traffic)]),
        (
            "computer-info",
            vec![
                ("annotations", d([("rack", u("7"))])),
                ("hostname", u("all.example")),
                ("total-memory", i(2000)),
                ("total-swap", i(1)),
            ],
        ),
        (
            "distribution-info",
            vec![
                ("code-name", u("noble")),
                ("description", u("Ubuntu 24.04")),
            ],
        ),
        (
            "processor-info",
            vec![(
                "processors",
                l([d([("model", u("Fast")), ("processor-id", i(0))])]),
            )],
        ),
        (
            "memory-info",
            vec![("memory-info", l([t([float("1795406100.5"), i(5), i(6)])]))],
        ),
        (
            "load-average",
            vec![("load-averages", l([t([i(1_795_406_100), float("0.25")])]))],
        ),
        ("active-process-info", vec![("add-processes", l([process]))]),
        (
            "mount-info",
            vec![("mount-info", l([t([float("1795406100.0"), mount])]))],
        ),
        (
            "free-space",
            vec![("free-space", l([t([float("1795406100.0"), u("/"), i(9)])]))],
        ),
        (
            "users",
            vec![
                ("create-group-members", members),
                (
                    "create-groups",
                    l([d([("gid", i(50)), ("name", u("staff"))])]),
                ),
                ("create-users", l([user])),
            ],
        ),
        (
            "ubuntu-pro-info",
            vec![("ubuntu-pro-info", u("{\"a\": 1}"))],
        ),
        (
            "reboot-required-info",
            vec![("flag", Pickle::Bool(true)), ("packages", l([u("linux")]))],
        ),
        ("hardware-info", vec![("data", u("<list/>"))]),
        ("packages", vec![("installed", l([t([i(1), i(3)])]))]),
        (
            "package-reporter-result",
            vec![("code", i(2)), ("err", u("no network"))],
        ),
        (
            "change-packages-result",
            vec![("operation-id", i(1)), ("result-code", i(1))],
        ),
    ] {
        let mut entries: Vec<_> = fields
            .into_iter()
            .map(|(key, value)| (u(key), value))
            .collect();
        entries.push((u("type"), u(message_type)));
        agent.report(Pickle::Dict(entries));
    }
    agent.exchange(&way).await.expect("an exchange");
    assert!(agent.pending.is_empty());
    assert_eq!(database.sql("select refused_messages from exchange"), "0");
    for (sql, rows) in [
        ("select installed from computer_packages", "{[1,4)}"),
        ("select code, error from package_report", "2|no network"),
        (
            "select interface, received, sent from network_traffic order by at",
            "eth0|12|34\neth0|1|2\neth0|0|7",
        ),
        (
            "select hostname, total_memory_mib, total_swap_mib, code_name, reboot_required, \
             hardware_info, ubuntu_pro_info from computer",
            "all.example|2000|1|noble|t|<list/>|{\"a\": 1}",
        ),
        ("select name, value from computer_annotation", "rack|7"),
        ("select model from processor", "Fast"),
        (
            "select extract(epoch from at), free_mib from memory_sample",
            "1795406100.500000|5",
        ),
        ("select load from load_sample", "0.25"),
        (
            "select pid, name, state, percent_cpu from process",
            "1|init|S|0.5",
        ),
        ("select mount_point, total_mib from mount", "/|1000"),
        ("select free_mib from free_space_sample", "9"),
        ("select username, name from system_user", "ada|Ada"),
        ("select name, gid from system_group", "staff|50"),
        (
            "select group_name, username from system_group_member",
            "staff|ada",
        ),
        ("select name from reboot_package", "linux"),
    ] {
        assert_eq!(database.sql(sql), rows, "{sql}");
    }
    let gone = d([("delete-users", l([u("ada")])), ("type", u("users"))]);
    agent.report(gone);
    agent.report(d([
        ("kill-processes", l([i(1)])),
        ("type", u("active-process-info")),
    ]));
    agent.exchange(&way).await.expect("an exchange");
    for table in ["system_user", "system_group_member", "process"] {
        let rows = database.sql(&format!("select count(*) from {table}"));
        assert_eq!(rows, "0", "{table}");
    }
}

#[tokio::test]
async fn what_is_no_exchange_is_refused_and_too_much_is_too_large() {
    let database = Database::fresh();
    let port = e2e::free_range(1);
    let settings = [("MESSAGE_SYSTEM__BODY_BYTES_MAX", "4096")];
    let service = Service::at("message-server", &database, port, &settings);
    let way = Way::Port(service.port());
    let deep = [vec![b'l'; 1000], vec![b';'; 1000]].concat();
    let large = vec![b'n'; 4097];
    for (body, status) in [
        (b"".as_slice(), 400),
        (b"hello", 400),
        (b"d;", 400),
        (b"du8:messagesi1;;", 400),
        (&deep, 400),
        (&large, 413),
        (b"du8:messagesl;;", 200),
    ] {
        let (got, _) = way.post("/message-system", &[], body).await;
        assert_eq!(got, status, "{}", body.escape_ascii());
    }
    let mut raw = Raw::tcp(port).await;
    let head = "POST /message-system HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
    raw.send(format!("{head}1001\r\n{}\r\n0\r\n\r\n", "n".repeat(0x1001)))
        .await;
    assert_eq!(raw.reply().await.status(), 413);
    assert_eq!(
        Raw::tcp(port).await.get("/message-system").await.status(),
        405
    );
}

#[tokio::test]
async fn an_attachment_is_given_to_a_computer_with_an_activity_that_names_it() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let agent = Agent::accepted(&database, &way, "script").await;
    let other = Agent::accepted(&database, &way, "other").await;
    database.sql(
        "insert into attachment (name, content) values ('a', 'hello'); \
         insert into activity (computer_id, type, summary, fields) \
             select id, 'execute-script', 'x', 'd;' from computer where title = 'script'; \
         insert into activity_attachment select activity.id, attachment.id \
             from activity, attachment",
    );
    let secure = |agent: &Agent| agent.secure.clone().expect("an identity");
    for (who, path, status) in [
        (secure(&agent), "/attachment/1", 200),
        (secure(&agent), "/attachments/1", 200),
        (secure(&agent), "/attachment/2", 404),
        (secure(&agent), "/attachment/x", 404),
        (secure(&other), "/attachment/1", 404),
        ("registering".to_owned(), "/attachment/1", 404),
    ] {
        let field = format!("X-Computer-ID: {who}");
        let mut raw = Raw::tcp(service.port()).await;
        let reply = raw.ask("GET", path, &[&field], b"").await;
        assert_eq!(reply.status(), status, "{path} {who}");
        assert!(status != 200 || reply.text() == "hello");
    }
}

#[tokio::test]
async fn a_ping_is_answered_from_memory_and_written_down_later() {
    let database = Database::fresh();
    let messages = Service::start("message-server", &database);
    let settings = [("PINGSERVER__REFRESH", "50ms"), ("PINGSERVER__WRITE", "1h")];
    let mut pings = Service::at("pingserver", &database, e2e::free_range(1), &settings);
    let (way, ping) = (Way::Port(messages.port()), Way::Port(pings.port()));
    let mut agent = Agent::accepted(&database, &way, "ping").await;
    agent
        .exchange(&way)
        .await
        .expect("the types are acknowledged");
    assert!(!Agent::new("nobody").ping(&ping).await);
    database.sql(
        "insert into activity (computer_id, type, summary, fields) \
         select id, 'execute-script', 'x', 'd;' from computer",
    );
    eventually("the agent is told that something waits", || async {
        agent.ping(&ping).await.then_some(())
    })
    .await;
    agent.exchange(&way).await.expect("the order is delivered");
    eventually("nothing waits any more", || async {
        (!agent.ping(&ping).await).then_some(())
    })
    .await;
    // Accepted while it waits for its next exchange: it is told to come.
    database.sql("update computer set accepted_at = now() + interval '1 hour'");
    eventually("the agent is told that it was accepted", || async {
        agent.ping(&ping).await.then_some(())
    })
    .await;
    let heard = "select count(*) from computer_ping where last_at > now() - interval '1 hour'";
    assert_eq!(database.sql(heard), "0");
    pings.stop();
    assert_eq!(database.sql(heard), "1");
}

#[tokio::test]
async fn a_ping_of_nobody_costs_no_work_in_the_database() {
    let database = Database::fresh();
    let settings = [("PINGSERVER__REFRESH", "1h"), ("PINGSERVER__WRITE", "50ms")];
    let service = Service::at("pingserver", &database, e2e::free_range(1), &settings);
    let way = Way::Port(service.port());
    // The database is away for everybody: whoever needed it would fail or wait.
    let _held = database.hold("lock table computer, computer_ping in access exclusive mode");
    for _ in 0..20 {
        assert!(!Agent::new("nobody").ping(&way).await);
    }
    assert_eq!(database.waiting(), "0");
    let (status, _) = way.post("/ping", &[], b"hello").await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_worker_that_is_started_while_the_database_is_away_serves_when_it_is_there() {
    let mut postgres = Postgres::start();
    let database = postgres.database();
    postgres.kill();
    let begin = |name: &str| Service::begun(name, &database, e2e::free_range(1), &[]);
    let (worker, mut stopped) = (begin("message-server"), begin("pingserver"));
    for service in [&worker, &stopped] {
        eventually("it waits", || async {
            let told = service.log();
            told.contains("waiting for the database").then_some(())
        })
        .await;
        // The edge finds workers by who listens.
        let tcp = tokio::net::TcpStream::connect(("127.0.0.1", service.port()));
        assert!(tcp.await.is_err(), "it lets nobody in before it serves");
    }
    stopped.stop();
    postgres.restart();
    eventually("it is ready", || async {
        worker.log().contains("ready message-system").then_some(())
    })
    .await;
    let way = Way::Port(worker.port());
    Agent::accepted(&database, &way, "late").await;
}

#[tokio::test]
async fn a_known_computers_ping_is_answered_while_the_database_is_away() {
    let mut postgres = Postgres::start();
    let database = postgres.database();
    let messages = Service::start("message-server", &database);
    let settings = [
        ("PINGSERVER__REFRESH", "50ms"),
        ("PINGSERVER__WRITE", "50ms"),
        ("STORE__CONNECT_TIMEOUT", "1s"),
    ];
    let pings = Service::at("pingserver", &database, e2e::free_range(1), &settings);
    let (way, ping) = (Way::Port(messages.port()), Way::Port(pings.port()));
    let agent = Agent::accepted(&database, &way, "away").await;
    database.sql(
        "insert into activity (computer_id, type, summary, fields) \
         select id, 'execute-script', 'x', 'd;' from computer",
    );
    eventually("the agent is told that something waits", || async {
        agent.ping(&ping).await.then_some(())
    })
    .await;
    let killed_at = database.sql("select clock_timestamp()");
    postgres.kill();
    eventually("the ping server has noticed", || async {
        pings
            .log()
            .contains("answering from an old copy")
            .then_some(())
    })
    .await;
    for _ in 0..20 {
        assert!(agent.ping(&ping).await, "it waits still");
        assert!(!Agent::new("nobody").ping(&ping).await);
    }
    postgres.restart();
    // Nobody pings any more: what was heard meanwhile was kept.
    eventually("when it was heard of is written", || async {
        let later = format!("select count(*) from computer_ping where last_at > '{killed_at}'");
        (database.sql(&later) == "1").then_some(())
    })
    .await;
}

#[test]
fn a_worker_refuses_a_database_that_is_not_its_own_and_tells_every_mistake() {
    let database = Database::empty();
    let run = |settings: &[(&str, &str)]| {
        let output = std::process::Command::new(e2e::stack::program("message-server"))
            .args(["--port", "0"])
            .envs(settings.iter().copied())
            .output()
            .expect("it can be started");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(run(&[]).contains("store.url is not set"));
    let said = run(&[("BACKENDS_STORE__URL", database.url())]);
    assert!(said.contains("run `schema migrate`"), "{said}");
    let said = run(&[
        ("BACKENDS_STORE__URRL", "x"),
        ("BACKENDS_PINGSERVER__WRITE", "0s"),
    ]);
    assert!(said.contains("URRL") && said.contains("`write`"), "{said}");
}
