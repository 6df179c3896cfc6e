//! Is what was acknowledged stored exactly once, whoever is killed while many agents report?

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::bpickle::{Pickle, d, i, l, s, u};
use e2e::{Agent, Gateway, Node, Postgres, Service, Way, eventually, for_a_while};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  pingserver:     { ports: <pings> }
  message-system: { ports: <messages> }
routes:
  - { path: /ping,           to: pingserver }
  - { path: /message-system, to: message-system }
"#;

const AGENTS: usize = 60;
const REPORTS: usize = 40;
/// After a failure.
const PAUSE: Duration = Duration::from_millis(200);

fn address(number: usize) -> String {
    format!("10.0.{}.{}", number / 250, number % 250 + 1)
}

/// Each report changes the address, so that one that counted twice, or not at all, shows in the history.
fn report(number: usize) -> Pickle {
    let device = d([
        ("broadcast_address", s("10.0.255.255")),
        ("flags", i(4163)),
        ("interface", s("eth0")),
        ("ip_address", s(&address(number))),
        ("mac_address", s("02:fc:00:00:00:01")),
        ("netmask", s("255.255.0.0")),
    ]);
    d([("devices", l([device])), ("type", u("network-device"))])
}

/// Reports all, and tries again whatever fails, as an agent does.
async fn live(gateway: Arc<Gateway>, mut agent: Agent, done: Arc<AtomicUsize>) -> Agent {
    let way = Way::Edge(&gateway);
    for number in 0..REPORTS {
        agent.report(report(number));
        // One exchange for each at least, some with more where the ones before failed.
        if agent.exchange(&way).await.is_err() {
            for_a_while(PAUSE).await;
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
    let end = Instant::now() + e2e::patience() * 2;
    while agent.exchange(&way).await.is_err() || !agent.pending.is_empty() {
        assert!(Instant::now() < end, "{} is never heard", agent.title);
        for_a_while(PAUSE).await;
    }
    agent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_stored_once_when_database_broker_and_workers_are_killed() {
    let (mut postgres, mut node) = (Postgres::start(), Node::start());
    let (database, broker) = (postgres.database(), node.broker());
    database.sql("update account set registration_key = 'right'");
    let settings = broker.with(&[
        ("PINGSERVER__REFRESH", "1h"),
        ("PINGSERVER__WRITE", "200ms"),
    ]);
    let (pings, messages) = (e2e::free_range(1), e2e::free_range(2));
    let _relay = Service::at("outbox-relay", &database, e2e::free_range(1), &settings);
    let _pings = Service::at("pingserver", &database, pings, &settings);
    let worker = |port| Service::at("message-server", &database, port, &settings);
    let mut workers = [worker(messages), worker(messages + 1)];
    let gateway = Gateway::with(YAML)
        .ports("pings", [pings])
        .ports("messages", messages..messages + 2)
        .start()
        .await;

    let gateway = Arc::new(gateway);
    let new = |number| {
        let gateway = &gateway;
        async move {
            let mut agent = Agent::new(&format!("agent-{number}"));
            agent.set_up(&Way::Edge(gateway), Some("right")).await;
            agent
        }
    };
    // A few at a time: all at once would wait for connections to the database longer than they may.
    let agents: Vec<Agent> = stream::iter((0..AGENTS).map(new))
        .buffered(8)
        .collect()
        .await;

    let done = Arc::new(AtomicUsize::new(0));
    let reached = |share: usize| {
        let done = &done;
        eventually("the agents get on", move || async move {
            (done.load(Ordering::Relaxed) >= AGENTS * REPORTS * share / 100).then_some(())
        })
    };
    // Tasks of their own: what starts servers anew waits without giving way.
    let agents: Vec<_> = agents
        .into_iter()
        .map(|agent| tokio::spawn(live(Arc::clone(&gateway), agent, Arc::clone(&done))))
        .collect();
    reached(10).await;
    postgres.kill();
    for_a_while(Duration::from_millis(500)).await;
    postgres.restart();
    reached(40).await;
    node.kill();
    workers[0].kill();
    workers[0] = worker(messages);
    reached(60).await;
    node.restart();
    reached(70).await;
    workers[1].kill();
    postgres.kill();
    postgres.restart();
    workers[1] = worker(messages + 1);
    let agents = join_all(agents).await;
    let agents: Vec<Agent> = agents
        .into_iter()
        .map(|agent| agent.expect("it lived"))
        .collect();

    // In order, each once: what was before is the whole history, what was last is now.
    let history: Vec<String> = (0..REPORTS - 1).map(address).collect();
    let history = history.join(" ");
    let now = address(REPORTS - 1);
    let wrong = database.sql(&format!(
        "select title from computer where \
         (select string_agg(host(ip_address), ' ' order by id) from network_interface_history \
          where computer_id = computer.id) is distinct from '{history}' \
         or (select host(ip_address) from network_interface where computer_id = computer.id) \
          is distinct from '{now}'"
    ));
    assert_eq!(wrong, "", "computers with a report too many or too few");
    assert_eq!(
        database.sql("select count(*) from computer"),
        AGENTS.to_string()
    );

    // All converges: every computer's ping is known, and nothing waits to be told.
    eventually("every ping is known and written", || async {
        for agent in &agents {
            agent.ping(&Way::Edge(&gateway)).await;
        }
        let heard = database.sql("select count(*) from computer_ping");
        let waiting = database.sql("select count(*) from outbox");
        (heard == AGENTS.to_string() && waiting == "0").then_some(())
    })
    .await;
}
