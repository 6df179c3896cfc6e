//! Are services told over the broker, and does nothing get lost where it, or a relay, dies?

use std::time::Duration;

use e2e::bpickle::{Pickle, d, i, l, u};
use e2e::{Agent, Broker, Database, Node, Raw, Service, Way, eventually};

/// Nothing is found by looking: whatever is noticed was told.
const BY_NOTES_ALONE: [(&str, &str); 2] =
    [("PINGSERVER__REFRESH", "1h"), ("PINGSERVER__RELOAD", "1h")];

fn service(name: &str, database: &Database, settings: &[(&str, &str)]) -> Service {
    Service::at(name, database, e2e::free_range(1), settings)
}

async fn health(service: &Service) -> String {
    Raw::tcp(service.port()).await.get("/health").await.text()
}

async fn until_told(database: &Database, what: &str) {
    eventually(what, || async {
        let alive = database.sql("select seen_at > now() - interval '1 minute' from outbox_relay");
        (alive == "t" && database.sql("select count(*) from outbox") == "0").then_some(())
    })
    .await;
}

/// Accepts everybody, as a page does: note and deed in one transaction.
async fn accept(pages: &Service, database: &Database, title: &str) {
    let id = database.sql(&format!("select id from computer where title = '{title}'"));
    let somebody = database.signed_in();
    let fields = [
        somebody.cookie.as_str(),
        "Content-Type: application/x-www-form-urlencoded",
    ];
    let form = format!("id={id}&decision=accept&form_token={}", somebody.form_token);
    let mut raw = Raw::tcp(pages.port()).await;
    let reply = raw
        .ask("POST", "/pending/decide", &fields, form.as_bytes())
        .await;
    assert_eq!(reply.status(), 303);
}

/// A computer that waits, with an exchange behind it.
async fn waiting(way: &Way<'_>, title: &str) -> Agent {
    let mut agent = on_its_machine(title);
    agent.set_up(way, None).await;
    agent.exchange(way).await.expect("an exchange");
    agent
}

/// An agent that says which machine it is on, so that it is the same when it registers again.
fn on_its_machine(title: &str) -> Agent {
    let machine = ("machine_id".to_owned(), format!("machine of {title}"));
    let mut agent = Agent::new(title);
    agent.says.push(machine);
    agent
}

async fn until_called(agent: &Agent, pings: &Way<'_>, what: &str) {
    eventually(what, || async { agent.ping(pings).await.then_some(()) }).await;
}

async fn until_left_alone(agent: &Agent, pings: &Way<'_>, what: &str) {
    eventually(what, || async { (!agent.ping(pings).await).then_some(()) }).await;
}

#[tokio::test]
async fn a_pingserver_is_told_whom_something_waits_for() {
    let (database, broker) = (Database::fresh(), Broker::fresh());
    let _relay = service("outbox-relay", &database, &broker.with(&[]));
    let pings = service("pingserver", &database, &broker.with(&BY_NOTES_ALONE));
    let messages = service("message-server", &database, &broker.with(&[]));
    let pages = service("appserver", &database, &broker.with(&[]));
    let (way, ping) = (Way::Port(messages.port()), Way::Port(pings.port()));
    until_told(&database, "a relay works").await;
    eventually("the pingserver is connected", || async {
        health(&pings)
            .await
            .contains("broker: connected")
            .then_some(())
    })
    .await;

    let mut agent = waiting(&way, "told").await;
    accept(&pages, &database, "told").await;
    until_called(&agent, &ping, "it hears that it was accepted").await;
    agent.exchange(&way).await.expect("it is told its types");
    until_left_alone(&agent, &ping, "nothing waits any more").await;
    // What the services order by themselves is told, too.
    agent.exchange(&way).await.expect("they are acknowledged");
    agent.report(d([("devices", l([i(1)])), ("type", u("network-device"))]));
    let orders = agent
        .exchange(&way)
        .await
        .expect("an order to report again");
    assert_eq!(orders.len(), 1);
    // Its new identity is known and its old one is void, both without a look at the whole.
    let old = agent.clone();
    database.sql("update computer set accepted = false");
    let mut again = on_its_machine("told");
    again.set_up(&way, None).await;
    accept(&pages, &database, "told").await;
    again.exchange(&way).await.expect("an exchange");
    accept_again(&database, &pages, &again, &ping).await;
    assert!(!old.ping(&ping).await);
}

/// Makes it wait once more, so that its ping says yes, and no to whoever shows its old number.
async fn accept_again(database: &Database, pages: &Service, agent: &Agent, ping: &Way<'_>) {
    database.sql("update computer set accepted = false");
    accept(pages, database, &agent.title).await;
    until_called(agent, ping, "its new number is known").await;
}

#[tokio::test]
async fn without_a_broker_everything_works_by_looking_and_the_outbox_stays_empty() {
    let database = Database::fresh();
    let pings = service("pingserver", &database, &[("PINGSERVER__REFRESH", "50ms")]);
    let messages = service("message-server", &database, &[]);
    let (way, ping) = (Way::Port(messages.port()), Way::Port(pings.port()));
    assert!(health(&pings).await.contains("broker: none"));
    let agent = waiting(&way, "looked").await;
    database.sql("update computer set accepted = true, accepted_at = now()");
    until_called(&agent, &ping, "it is found").await;
    assert_eq!(database.sql("select count(*) from outbox"), "0");
}

#[tokio::test]
async fn a_broker_that_is_killed_under_traffic_loses_nothing_and_all_converges() {
    let mut node = Node::start();
    let (database, broker) = (Database::fresh(), node.broker());
    let _relay = service("outbox-relay", &database, &broker.with(&[]));
    let pings = service("pingserver", &database, &broker.with(&BY_NOTES_ALONE));
    let messages = service("message-server", &database, &broker.with(&[]));
    let pages = service("appserver", &database, &broker.with(&[]));
    let (way, ping) = (Way::Port(messages.port()), Way::Port(pings.port()));
    until_told(&database, "a relay works").await;
    let before = waiting(&way, "before").await;
    accept(&pages, &database, "before").await;
    until_called(&before, &ping, "told while all is well").await;

    node.kill();
    // Agents and people notice nothing: what they did is stored and answered.
    let during = waiting(&way, "during").await;
    accept(&pages, &database, "during").await;
    assert!(before.ping(&ping).await, "answered from memory");
    eventually("the services say that it is away", || async {
        let said = health(&pings).await;
        (said.starts_with("ok\n") && said.contains("broker: away")).then_some(())
    })
    .await;
    assert_ne!(database.sql("select count(*) from outbox"), "0", "it waits");
    assert!(!during.ping(&ping).await, "nobody could tell");

    node.restart();
    until_called(&during, &ping, "told as soon as it is back").await;
    until_told(&database, "nothing waits in the outbox").await;
    assert!(health(&pings).await.contains("broker: connected"));
}

#[tokio::test]
async fn the_queues_of_the_host_agents_are_there_under_the_names_that_others_know() {
    let (database, broker) = (Database::fresh(), Broker::fresh());
    let names = ["task", "ping", "command-status"];
    let names = names.map(|name| format!("landscape-server-hostagent-{name}-queue"));
    for name in &names {
        assert!(!broker.hostagents_have(name).await, "{name}");
    }
    let _relay = service("outbox-relay", &database, &broker.with(&[]));
    until_told(&database, "a relay works").await;
    for name in &names {
        eventually(&format!("there is {name}"), || async {
            broker.hostagents_have(name).await.then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_relay_that_is_killed_is_replaced_by_the_one_that_stands_by() {
    let (database, broker) = (Database::fresh(), Broker::fresh());
    let mut first = service("outbox-relay", &database, &broker.with(&[]));
    until_told(&database, "the first works").await;
    let mut second = service("outbox-relay", &database, &broker.with(&[]));
    let pings = service("pingserver", &database, &broker.with(&BY_NOTES_ALONE));
    let messages = service("message-server", &database, &broker.with(&[]));
    let pages = service("appserver", &database, &broker.with(&[]));
    let (way, ping) = (Way::Port(messages.port()), Way::Port(pings.port()));
    // Many notes, so that it is killed in the middle of its work.
    let many = "insert into outbox (topic, subject) \
                select 'computer.reported', n from generate_series(1, 20000) n";
    database.sql(many);
    first.kill();
    let one = waiting(&way, "one").await;
    accept(&pages, &database, "one").await;
    until_called(&one, &ping, "told by the second").await;
    let _third = service("outbox-relay", &database, &broker.with(&[]));
    second.kill();
    let two = waiting(&way, "two").await;
    accept(&pages, &database, "two").await;
    until_called(&two, &ping, "told by the third").await;
    until_told(&database, "nothing waits in the outbox").await;
}

#[tokio::test]
async fn fifty_thousand_computers_ping_one_worker() {
    const COMPUTERS: i64 = 50_000;
    let (database, broker) = (Database::fresh(), Broker::fresh());
    database.sql(&format!(
        "insert into computer (account_id, accepted, insecure_id, title, hostname) \
         select 1, true, 1000000 + n, n, n from generate_series(1, {COMPUTERS}) n; \
         insert into activity (computer_id, type, summary, fields) \
         select id, 'execute-script', 'x', 'd;' from computer where insecure_id % 100 = 0"
    ));
    let pings = service(
        "pingserver",
        &database,
        &broker.with(&[("PINGSERVER__WRITE", "1s")]),
    );
    let before = pings.cpu_time();
    let mut yes = 0;
    let mut raw = Raw::tcp(pings.port()).await;
    for batch in 0..COMPUTERS / 100 {
        let mut requests = Vec::new();
        for n in batch * 100 + 1..=batch * 100 + 100 {
            let body = format!("insecure_id={}", 1_000_000 + n);
            let head = format!(
                "POST /ping HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            requests.extend_from_slice(head.as_bytes());
        }
        raw.send(requests).await;
        for _ in 0..100 {
            let reply = raw.reply().await;
            assert_eq!(reply.status(), 200);
            let said = Pickle::read(&reply.body);
            yes += i64::from(said == d([("messages", Pickle::Bool(true))]));
        }
    }
    assert_eq!(yes, COMPUTERS / 100);
    let took = pings.cpu_time().saturating_sub(before);
    println!("{took:?} of a processor for {COMPUTERS} pings");
    assert!(
        took < Duration::from_secs(30),
        "one worker stands {COMPUTERS} computers that ping every 30 s: it must not take {took:?} of a processor for them"
    );
    eventually("all of them are written down", || async {
        let written = database.sql("select count(*) from computer_ping");
        (written == COMPUTERS.to_string()).then_some(())
    })
    .await;
}

/// An outgoing connection of anybody could have such a port before the node does, which then does not start. And an edge
/// would take a node in the range of a pool for one of its workers.
#[test]
fn a_node_of_ours_takes_no_port_that_the_kernel_gives_to_others_and_none_of_workers() {
    let node = Node::that_avoids("30000-31999,32000-32699");
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let range = range.expect("it is told");
    let first: u16 = range
        .split_whitespace()
        .next()
        .and_then(|port| port.parse().ok())
        .expect("two ports");
    // Where they begin too low for anybody there is no other choice.
    let port = node.distribution_port();
    assert!(!(30_000..=32_699).contains(&port), "{port}");
    assert!(port < first || first < 4000, "{port}, {range}");
}

/// Else what waits in a durable queue would be lost as soon as somebody else has the port.
#[test]
fn a_node_of_ours_has_its_data_on_whatever_port_it_is_started_again() {
    let mut node = Node::start();
    let data = node.data();
    assert_eq!(data.len(), 1, "{data:?}");
    node.kill();
    node.restart_elsewhere();
    assert_eq!(node.data(), data);
}

#[test]
fn a_relay_without_a_broker_says_what_is_missing() {
    let database = Database::fresh();
    let output = std::process::Command::new(e2e::stack::program("outbox-relay"))
        .args(["--port", "0"])
        .env("BACKENDS_STORE__URL", database.url())
        .output()
        .expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("broker.hostagent_url"),
        "{said}"
    );
}
