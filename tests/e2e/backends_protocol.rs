//! Do agents get, through the edge and byte for byte, what breaks them where it is otherwise?

use e2e::agent::{self, md5};
use e2e::bpickle::{Pickle, d, s, u};
use e2e::h2_client::request;
use e2e::{Agent, Database, Gateway, House, Raw, Service, Way};
use serde_json::json;

/// Largest body of an exchange, as it is documented.
const BODY_BYTES_MAX: usize = 30_000_000;

/// A database, a worker each, and the edge before them.
struct Place {
    database: Database,
    messages: Service,
    _pings: Service,
    gateway: Gateway,
}

impl Place {
    async fn new() -> Place {
        let database = Database::fresh();
        let messages = Service::start("message-server", &database);
        let fresh = [("PINGSERVER__REFRESH", "50ms")];
        let pings = Service::at("pingserver", &database, e2e::free_range(1), &fresh);
        let gateway = Gateway::with(agent::EDGE)
            .ports("pings", [pings.port()])
            .ports("messages", [messages.port()])
            .start()
            .await;
        Place {
            database,
            messages,
            _pings: pings,
            gateway,
        }
    }

    fn way(&self) -> Way<'_> {
        Way::Edge(&self.gateway)
    }

    async fn say(&self, fields: &[&str], body: &[u8]) -> Vec<u8> {
        say(&self.gateway, fields, body).await
    }

    fn server(&self) -> String {
        server(&self.database)
    }
}

fn server(database: &Database) -> String {
    database.sql("select uuid from server_identity")
}

/// One request as agents send it, with these fields besides; the body of the answer.
async fn say(gateway: &Gateway, fields: &[&str], body: &[u8]) -> Vec<u8> {
    let always = [
        "Accept: */*",
        "Accept-Encoding: gzip,deflate",
        "Content-Type: application/octet-stream",
        "User-Agent: landscape-client/26.08~beta.4-0landscape0",
    ];
    let mut raw = gateway.https().await;
    let fields = [&always[..], fields].concat();
    let reply = raw.ask("POST", "/message-system", &fields, body).await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let kind = reply.field("content-type");
    assert_eq!(kind, Some("application/octet-stream"));
    assert_eq!(reply.field("content-encoding"), None);
    reply.body.clone()
}

/// An exchange of an agent that is known: these messages as they were seen on the wire, and around the messages of the
/// answer all that is said to one that is known.
async fn says_and_is_told(
    gateway: &Gateway,
    database: &Database,
    agent: &mut Agent,
    said: &[&str],
    told: &str,
) {
    let (sequence, wanted, count) = (agent.sequence, agent.wanted, said.len());
    let body = format!(
        "du14:accepted-typess16:{{}}u10:client-apis3:3.8u8:messagesl{};\
         u22:next-expected-sequencei{wanted};u8:sequencei{sequence};u10:server-apis3:3.3\
         u14:total-messagesi{count};;",
        said.concat()
    );
    let body = filled(&body, &[&md5(agent.types.join(";").as_bytes())]);
    let fields = [
        format!("X-Computer-ID: {}", agent.secure.as_deref().expect("one")),
        format!("X-Exchange-Token: {}", agent.token.as_deref().expect("one")),
        "X-Message-API: 3.3".to_owned(),
    ];
    let answer = say(gateway, &fields.each_ref().map(String::as_str), &body).await;
    let token = database.sql("select token from exchange");
    agent.sequence += i64::try_from(count).expect("few");
    let want = format!(
        "du26:client-accepted-types-hashs16:{{}}u8:messagesl{told};\
         u19:next-exchange-tokens36:{token}u22:next-expected-sequencei{};\
         u10:server-apis3:3.3u11:server-uuids36:{};",
        agent.sequence,
        server(database)
    );
    let understood = md5(agent.understands.join(";").as_bytes());
    assert_bytes(&answer, &filled(&want, &[&understood]));
    agent.token = Some(token);
}

/// Bytes with `{}` in them, in whose places go these.
fn filled(form: &str, values: &[&[u8]]) -> Vec<u8> {
    let mut parts = form.split("{}");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for (value, part) in values.iter().zip(parts) {
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

fn assert_bytes(got: &[u8], want: &[u8]) {
    assert_eq!(
        got.escape_ascii().to_string(),
        want.escape_ascii().to_string()
    );
}

#[tokio::test]
async fn a_daemon_registers_and_is_answered_byte_for_byte() {
    let place = Place::new().await;
    place
        .database
        .sql("update account set registration_key = 'right'");
    let server = place.server();
    // Its first words, as they were seen on the wire.
    let types = "lu14:accepted-typesu12:registrationu13:resynchronizeu6:set-idu13:set-intervalsu10:unknown-id;";
    let first = format!(
        "du14:accepted-typess16:{{}}u21:client-accepted-types{types}u10:client-apis3:3.8u8:messagesl;\
         u22:next-expected-sequencei0;u8:sequencei0;u10:server-apis3:3.2u14:total-messagesi0;;"
    );
    let first = filled(&first, &[&md5(b"")]);
    assert_eq!(first.len(), 275);
    let answer = place.say(&["X-Message-API: 3.2"], &first).await;
    let want = format!(
        "du8:messagesldu4:typeu14:accepted-typesu5:typeslu8:register;;;u10:server-apis3:3.3u11:server-uuids36:{server};"
    );
    assert_bytes(&answer, want.as_bytes());

    // At once, its registration. It has counted our message.
    let second = format!(
        "du14:accepted-typess16:{{}}u21:client-accepted-types{types}u10:client-apis3:3.8u8:messagesl\
         du12:account_nameu10:standaloneu3:apis3:3.3u14:computer_titleu2:z1u14:container-infou0:\
         u8:hostnameu10:vm.exampleu21:registration_passwordu5:rightu4:tagsu10:blue,green\
         u9:timestampi1795405897;u4:typeu8:registeru15:ubuntu_pro_infou2:{{}}u7:vm-infos3:kvm;;\
         u22:next-expected-sequencei1;u8:sequencei0;u10:server-apis3:3.3u14:total-messagesi1;;"
    );
    let registered = md5(b"register");
    let second = filled(&second, &[&registered, b"{}"]);
    let answer = place.say(&["X-Message-API: 3.3"], &second).await;
    let ids = place
        .database
        .sql("select secure_id, insecure_id from computer");
    let (secure, insecure) = ids.split_once('|').expect("one computer");
    let want = format!(
        "du8:messagesldu2:ids36:{secure}u11:insecure-idi{insecure};u4:typeu6:set-id;;\
         u10:server-apis3:3.3u11:server-uuids36:{server};"
    );
    assert_bytes(&answer, want.as_bytes());
    let row = "select title, hostname, vm_info, container_info, ubuntu_pro_info, accepted, machine_id from computer";
    assert_eq!(place.database.sql(row), "z1|vm.example|kvm||{}|t|");
    let tags = "select string_agg(tag, ' ' order by tag) from computer_tag";
    assert_eq!(place.database.sql(tags), "blue green");

    // As itself, with the numbers that it has come to: one message said, two heard.
    let third = format!(
        "du14:accepted-typess16:{{}}u21:client-accepted-types{types}u10:client-apis3:3.8u8:messagesl;\
         u22:next-expected-sequencei2;u8:sequencei1;u10:server-apis3:3.3u14:total-messagesi0;;"
    );
    let third = filled(&third, &[&registered]);
    let shown = format!("X-Computer-ID: {secure}");
    let answer = place.say(&[&shown, "X-Message-API: 3.3"], &third).await;
    let token = place.database.sql("select token from exchange");
    let taken = "u19:active-process-infou12:add-packagesu22:change-packages-resultu13:computer-info\
                 u13:computer-tagsu17:distribution-infou10:free-spaceu13:hardware-infou12:load-average\
                 u11:memory-infou10:mount-infou16:network-activityu14:network-deviceu16:operation-result\
                 u23:package-reporter-resultu8:packagesu14:processor-infou20:reboot-required-info\
                 u13:resynchronizeu15:ubuntu-pro-infou22:unknown-package-hashesu5:users";
    let known = b"accepted-types;registration;resynchronize;set-id;set-intervals;unknown-id";
    let want = format!(
        "du26:client-accepted-types-hashs16:{{}}u8:messagesldu4:typeu14:accepted-typesu5:typesl{taken};;;\
         u19:next-exchange-tokens36:{token}u22:next-expected-sequencei1;u10:server-apis3:3.3\
         u11:server-uuids36:{server};"
    );
    assert_bytes(&answer, &filled(&want, &[&md5(known)]));
}

#[tokio::test]
async fn the_set_up_program_registers_and_is_answered_byte_for_byte() {
    let place = Place::new().await;
    let server = place.server();
    let body = "du8:messagesldu12:access_groupu0:u12:account_nameu10:standaloneu14:computer_titleu2:z2\
                u14:container_infou0:u8:hostnameu2:vmu10:machine_idu36:5923867a-0000-5000-8000-000000000001\
                u4:typeu8:registeru15:ubuntu_pro_infou2:{}u7:vm_infos0:;;;";
    let answer = place.say(&["X-Message-API: 3.3"], body.as_bytes()).await;
    let ids = place
        .database
        .sql("select secure_id, insecure_id from computer");
    let (secure, insecure) = ids.split_once('|').expect("one computer");
    // The identity comes at once, also to one that waits, and nothing else does.
    let want = format!(
        "du8:messagesldu2:ids36:{secure}u11:insecure-idi{insecure};u4:typeu6:set-id;;\
         u10:server-apis3:3.3u11:server-uuids36:{server};"
    );
    assert_bytes(&answer, want.as_bytes());
    let row = "select title, hostname, machine_id, accepted from computer";
    let want = "z2|vm|5923867a-0000-5000-8000-000000000001|f";
    assert_eq!(place.database.sql(row), want);
    // The word that it stores while it has no identity is none.
    let again = place
        .say(&["X-Computer-ID: registering"], body.as_bytes())
        .await;
    let again = Pickle::read(&again);
    let again = again.at("messages").expect("messages").list();
    assert_eq!(again[0].at("type"), Some(&u("set-id")));
    assert_eq!(place.database.sql("select count(*) from computer"), "1");
}

fn tagged(tags: &str) -> Pickle {
    d([
        ("api", s("3.3")),
        ("tags", u(tags)),
        ("type", u("computer-tags")),
    ])
}

#[tokio::test]
async fn the_numbers_that_a_computer_has_at_first_contact_are_taken_over() {
    let place = Place::new().await;
    place
        .database
        .sql("update account set registration_key = 'right'");
    let way = place.way();
    // Registered by the daemon, by the set-up program, after waiting, after it was forgotten.
    for (sequence, wanted) in [(1, 2), (0, 0), (3, 2), (9, 5)] {
        let title = format!("n{sequence}-{wanted}");
        let mut agent = Agent::new(&title);
        agent.set_up(&way, Some("right")).await;
        (agent.sequence, agent.wanted) = (sequence, wanted);
        agent.report(tagged(&title));
        let said = agent.exchange(&way).await.expect("an exchange");
        assert_eq!(said.len(), 1, "its types: {said:?}");
        let numbers = (agent.sequence, agent.wanted);
        assert_eq!(numbers, (sequence + 1, wanted + 1), "{title}");
        agent.report(tagged("next"));
        assert!(agent.exchange(&way).await.expect("an exchange").is_empty());
        assert_eq!((agent.sequence, agent.pending.len()), (sequence + 2, 0));
        let state = format!(
            "select expected, next_out, string_agg(tag, ' ') from computer \
             join exchange on exchange.computer_id = id \
             join computer_tag on computer_tag.computer_id = id \
             where title = '{title}' group by expected, next_out"
        );
        let want = format!("{}|{}|next", sequence + 2, wanted + 1);
        assert_eq!(place.database.sql(&state), want);
    }
}

#[tokio::test]
async fn a_computer_that_was_forgotten_comes_back_under_its_numbers() {
    let place = Place::new().await;
    let way = place.way();
    let mut agent = Agent::accepted(&place.database, &way, "back").await;
    for tags in ["one", "two"] {
        agent.report(tagged(tags));
        agent.exchange(&way).await.expect("an exchange");
    }
    place.database.sql("delete from computer");
    agent.report(tagged("nobodys"));
    let said = agent.exchange(&way).await.expect("an exchange");
    assert_eq!(said, [d([("type", u("unknown-id"))])]);
    // What it said counts as taken, and is nobody's: it must not come again under the new identity.
    assert!(agent.pending.is_empty());
    agent.exchange(&way).await.expect("as a stranger");
    assert_eq!(agent.types, ["register"]);
    agent.report(agent.register(Some("right")));
    agent.exchange(&way).await.expect("it registers");
    let numbers = (agent.sequence, agent.wanted);
    assert!(
        agent.secure.is_some() && numbers.0 > 3 && numbers.1 > 3,
        "{numbers:?}"
    );
    agent.report(tagged("again"));
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!(
        (agent.sequence, agent.wanted),
        (numbers.0 + 1, numbers.1 + 1)
    );
    assert!(!agent.types.contains(&"register".to_owned()) && agent.types.len() > 1);
    assert_eq!(place.database.sql("select tag from computer_tag"), "again");
}

#[tokio::test]
async fn agents_of_every_api_are_offered_the_newest_and_understood_in_their_own() {
    let place = Place::new().await;
    place.database.sql("update account set pending_max = 1");
    Agent::new("first").set_up(&place.way(), None).await;
    let body = |server: &str, client: &str| {
        let message = Agent::new("more").register(None);
        d([
            ("client-api", s(client)),
            ("messages", Pickle::List(vec![message])),
            ("sequence", Pickle::Int(0)),
            ("server-api", s(server)),
        ])
        .write()
    };
    // Too many wait. Who does not know that word is told another.
    for (server, client, info) in [
        ("3.2", "3.7", "unknown-account"),
        ("3.3", "3.7", "unknown-account"),
        ("3.2", "3.8", "max-pending-computers"),
        ("3.3", "3.10", "max-pending-computers"),
    ] {
        let api = format!("X-Message-API: {server}");
        let answer = Pickle::read(&place.say(&[&api], &body(server, client)).await);
        assert_eq!(
            answer.at("server-api"),
            Some(&s("3.3")),
            "{server} {client}"
        );
        let messages = answer.at("messages").expect("messages").list();
        let want = d([("info", u(info)), ("type", u("registration"))]);
        assert_eq!(messages, [want], "{server} {client}");
    }
    // What was written for the older API before the newer was offered is taken.
    place.database.sql("update account set pending_max = 10");
    let way = place.way();
    let mut agent = Agent::accepted(&place.database, &way, "older").await;
    for api in ["3.2", "3.3"] {
        agent.report(d([
            ("api", s(api)),
            ("tags", u(api)),
            ("type", u("computer-tags")),
        ]));
        agent.exchange(&way).await.expect("an exchange");
        assert!(agent.pending.is_empty());
        let tag = "select tag from computer_tag join computer on id = computer_id \
                   where title = 'older'";
        assert_eq!(place.database.sql(tag), api);
    }
    let told = "select client_api from exchange where client_api is not null";
    assert_eq!(place.database.sql(told), "3.8");
}

#[tokio::test]
async fn what_a_real_host_told_of_its_network_is_taken_as_it_was() {
    let place = Place::new().await;
    let mut agent = Agent::accepted(&place.database, &place.way(), "real").await;
    let device = "du3:apis3:3.3u13:device-speedsldu6:duplexb0u9:interfaces4:eth0u5:speedi0;;;u7:devicesl\
        du17:broadcast_addresss11:192.0.2.255u5:flagsi4163;u9:interfaces4:eth0u10:ip_addresss9:192.0.2.2\
        u11:mac_addresss17:02:fc:00:00:00:01u7:netmasks13:255.255.255.0;;u9:timestampi1795405897;u4:typeu14:network-device;";
    let activity = "du10:activitiesds4:eth0lti1795406100;i12709911;i128967;;;s2:lolti1795406100;i47556;i47556;;;;\
        u3:apis3:3.3u9:timestampi1795406113;u4:typeu16:network-activity;";
    let said = [device, activity];
    says_and_is_told(&place.gateway, &place.database, &mut agent, &said, "").await;
    let interfaces = "select name, host(ip_address), mac_address, host(broadcast_address), host(netmask), \
                      flags, speed, full_duplex from network_interface";
    assert_eq!(
        place.database.sql(interfaces),
        "eth0|192.0.2.2|02:fc:00:00:00:01|192.0.2.255|255.255.255.0|4163|0|f"
    );
    let traffic = "select interface, extract(epoch from at)::bigint, received, sent \
                   from network_traffic order by interface";
    assert_eq!(
        place.database.sql(traffic),
        "eth0|1795406100|12709911|128967\nlo|1795406100|47556|47556"
    );
}

#[tokio::test]
async fn a_script_is_delivered_and_its_result_is_taken_byte_for_byte() {
    let house = House::start().await;
    let rest = house.rest().await;
    let (mut agent, _) = house.computer("real").await;
    let code = "#!/bin/sh\nid\npwd\necho $FOO-bar\n";
    let script = json!({"title": "Who", "code": code, "username": "agent", "time_limit": 60});
    let (status, script) = rest.post("/scripts", &script).await;
    assert_eq!(status, 201, "{script}");
    // The group is the one before.
    house
        .database
        .sql("alter table activity alter column id restart with 76");
    let path = format!("/scripts/{}/execute", script["id"]);
    let (status, group) = rest.post(&path, &json!({"query": "real"})).await;
    assert_eq!((status, &group["id"]), (200, &json!(76)), "{group}");
    let (gateway, database) = (&house.gateway, &house.database);
    let order = "du11:attachmentsd;u4:codeu21:id\npwd\necho $FOO-bar\nu3:envd;u11:interpreteru7:/bin/sh\
                 u12:operation-idi77;u10:time-limiti60;u4:typeu14:execute-scriptu8:usernameu5:agent;";
    says_and_is_told(gateway, database, &mut agent, &[], order).await;
    agent.wanted += 1;
    let states = "select id, status, coalesce(result_text, '') from activity where id = 77";
    assert_eq!(database.sql(states), "77|delivered|");

    let text = "uid=995(agent) gid=995(agent) groups=995(agent)\n/root\nhello-bar\n";
    let result = format!(
        "du3:apis3:3.3u12:operation-idi77;u11:result-textu64:{text}u6:statusi6;\
         u9:timestampi1795405897;u4:typeu16:operation-result;"
    );
    says_and_is_told(gateway, database, &mut agent, &[&result], "").await;
    let want = format!("77|succeeded|{}", text.trim_end());
    assert_eq!(database.sql(states), want);
}

#[tokio::test]
async fn a_ping_as_agents_send_it_is_answered() {
    let place = Place::new().await;
    Agent::accepted(&place.database, &place.way(), "ping").await;
    place.database.sql(
        "update computer set insecure_id = 1000; \
         insert into activity (computer_id, type, summary, fields) \
         select id, 'execute-script', 'x', 'd;' from computer",
    );
    e2e::eventually("it is told to come", || async {
        let mut raw = place.gateway.http().await;
        raw.send(
            "POST /ping HTTP/1.1\r\nHost: localhost:38080\r\nAccept: */*\r\n\
             Accept-Encoding: gzip,deflate\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\
             User-Agent: landscape-client/26.08~beta.4-0landscape0\r\n\
             Content-Length: 16\r\n\r\ninsecure_id=1000",
        )
        .await;
        let reply = raw.reply().await;
        assert_eq!(reply.status(), 200);
        assert_eq!(reply.field("content-encoding"), None);
        match reply.text().as_str() {
            "du8:messagesb1;" => Some(()),
            "du8:messagesb0;" => None,
            other => panic!("{other}"),
        }
    })
    .await;
}

#[tokio::test]
async fn a_ping_is_answered_by_one_word_on_both_ports() {
    let place = Place::new().await;
    let agent = Agent::accepted(&place.database, &place.way(), "ping").await;
    place.database.sql(
        "insert into activity (computer_id, type, summary, fields) \
         select id, 'execute-script', 'x', 'd;' from computer",
    );
    e2e::eventually("something waits", || async {
        agent.ping(&place.way()).await.then_some(())
    })
    .await;
    let own = agent.insecure.expect("an identity");
    for (id, want) in [(own, "du8:messagesb1;"), (own + 1, "du8:messagesb0;")] {
        let body = format!("insecure_id={id}");
        for mut raw in [place.gateway.http().await, place.gateway.https().await] {
            let fields = ["Content-Type: application/x-www-form-urlencoded"];
            let reply = raw.ask("POST", "/ping", &fields, body.as_bytes()).await;
            assert_eq!((reply.status(), reply.text().as_str()), (200, want));
        }
    }
}

/// A long report of hardware, bytes.
const REPORT_BYTES: usize = 1_000_000;

/// How many reports of hardware make a body so long: long ones, and one that fills what is left.
fn reports(bytes: usize) -> usize {
    bytes / (REPORT_BYTES + 100) + 1
}

/// What this agent would send with reports of its hardware that make it exactly so long.
fn exactly(agent: &Agent, bytes: usize) -> Vec<u8> {
    let payload = |filler: usize| {
        let mut agent = agent.clone();
        let long = std::iter::repeat_n(REPORT_BYTES, reports(bytes) - 1);
        for length in long.chain([filler]) {
            agent.report(d([
                ("data", u(&"x".repeat(length))),
                ("type", u("hardware-info")),
            ]));
        }
        agent.payload()
    };
    // What the length of the length adds is known when there is one.
    let near = bytes - payload(0).len();
    let body = payload(near + bytes - payload(near).len());
    assert_eq!(body.len(), bytes);
    body
}

fn posted(agent: &Agent, length: usize, more: &str) -> String {
    let secure = agent.secure.as_deref().expect("an identity");
    format!(
        "POST /message-system HTTP/1.1\r\nHost: edge.test\r\nAccept: */*\r\n\
         Content-Type: application/octet-stream\r\nX-Computer-ID: {secure}\r\n\
         X-Message-API: 3.3\r\nContent-Length: {length}\r\n{more}\r\n"
    )
}

/// The reports of a body of so many bytes are stored, the last one as it was said, and they count as taken.
fn check_taken(database: &Database, agent: &mut Agent, answer: &[u8], bytes: usize) {
    let answer = Pickle::read(answer);
    let expected = answer.at("next-expected-sequence").expect("a number").int();
    agent.sequence += i64::try_from(reports(bytes)).expect("few");
    assert_eq!(expected, agent.sequence);
    let stored = database.sql("select length(hardware_info) from computer");
    let stored: usize = stored.parse().expect("a length");
    let all = stored + (reports(bytes) - 1) * REPORT_BYTES;
    assert!(
        all < bytes && bytes - all < 1000 + 100 * reports(bytes),
        "{all} of {bytes}"
    );
    let same = "select hardware_info = repeat('x', length(hardware_info)) from computer";
    assert_eq!(database.sql(same), "t");
    assert_eq!(database.sql("select refused_messages from exchange"), "0");
}

#[tokio::test]
async fn a_body_of_the_documented_length_is_taken_and_one_byte_more_is_too_large() {
    let place = Place::new().await;
    let mut agent = Agent::accepted(&place.database, &place.way(), "large").await;
    for edge in [false, true] {
        let connect = || async {
            match edge {
                false => Raw::tcp(place.messages.port()).await,
                true => place.gateway.https().await,
            }
        };
        let body = exactly(&agent, BODY_BYTES_MAX);
        let head = posted(&agent, body.len(), "");
        let bytes = [head.as_bytes(), &body].concat();
        let reply = connect().await.exchange("POST", bytes).await;
        assert_eq!(reply.status(), 200, "edge: {edge}");
        check_taken(&place.database, &mut agent, &reply.body, body.len());
        place
            .database
            .sql("update computer set hardware_info = null");

        // One byte more: the length that is told is enough, and nothing need be sent.
        let head = posted(&agent, BODY_BYTES_MAX + 1, "Expect: 100-continue\r\n");
        let reply = connect().await.exchange("POST", head.into_bytes()).await;
        assert_eq!(reply.status(), 413, "edge: {edge}");
        // Who sends it all the same is told the same, and so is who tells no length.
        let body = exactly(&agent, BODY_BYTES_MAX + 1);
        let head = posted(&agent, body.len(), "");
        let bytes = [head.as_bytes(), &body].concat();
        let reply = connect().await.exchange("POST", bytes).await;
        assert_eq!(reply.status(), 413, "edge: {edge}");
        let head = posted(&agent, 0, "").replace("Content-Length: 0", "Transfer-Encoding: chunked");
        let size = format!("{:x}\r\n", body.len());
        let bytes = [head.as_bytes(), size.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
        let reply = connect().await.exchange("POST", bytes).await;
        assert_eq!(reply.status(), 413, "edge: {edge}");
        let stored = "select count(hardware_info) from computer";
        assert_eq!(place.database.sql(stored), "0");
    }
}

#[tokio::test]
async fn an_exchange_over_a_mebibyte_waits_for_the_word_to_go_on() {
    let place = Place::new().await;
    let mut agent = Agent::accepted(&place.database, &place.way(), "expects").await;
    // What the agents' library announces so: anything above 1 MiB.
    let body = exactly(&agent, 1024 * 1024 + 1);
    let mut raw = place.gateway.https().await;
    raw.send(posted(&agent, body.len(), "Expect: 100-continue\r\n"))
        .await;
    assert_eq!(raw.head().await.status(), 100);
    let length = body.len();
    let reply = raw.exchange("POST", body).await;
    assert_eq!(reply.status(), 200);
    check_taken(&place.database, &mut agent, &reply.body, length);
}

#[tokio::test]
async fn exchanges_over_http_2_are_the_same() {
    let place = Place::new().await;
    let mut agent = Agent::accepted(&place.database, &place.way(), "h2").await;
    let mut h2 = place.gateway.h2("https").await;
    // A small one and one that fills windows, on one connection.
    for bytes in [5_000, 5_000_000] {
        let body = exactly(&agent, bytes);
        let mut asked = request("POST", "/message-system");
        let fields = asked.headers_mut();
        let secure = agent.secure.as_deref().expect("an identity");
        for (name, value) in [("x-computer-id", secure), ("x-message-api", "3.3")] {
            let name: http::HeaderName = name.parse().expect("a name");
            fields.insert(name, value.parse().expect("a value"));
        }
        let reply = h2.fetch(asked, body).await;
        assert_eq!((reply.status.as_u16(), &reply.interim), (200, &vec![]));
        check_taken(&place.database, &mut agent, &reply.body, bytes);
    }
    let mut asked = request("POST", "/message-system");
    let length = (BODY_BYTES_MAX + 1).to_string();
    asked
        .headers_mut()
        .insert("content-length", length.parse().expect("a value"));
    let mut call = h2.call(asked, false).await;
    let head = call.head().await.expect("an answer");
    assert_eq!(head.status().as_u16(), 413);
}
