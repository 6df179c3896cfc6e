//! Do the services keep their promises behind the edge, also when a worker is killed?

use e2e::agent;
use e2e::bpickle::{d, s, u};
use e2e::{Agent, Database, Gateway, Service, Way, eventually};
use serde_json::{Value, json};

fn tagged(tags: &str) -> e2e::bpickle::Pickle {
    d([
        ("api", s("3.3")),
        ("tags", u(tags)),
        ("type", u("computer-tags")),
    ])
}

#[tokio::test]
async fn a_computer_lives_behind_the_edge_and_loses_nothing_when_its_worker_is_killed() {
    let database = Database::fresh();
    database.sql("update account set registration_key = 'right'");
    let (pings, messages) = (e2e::free_range(2), e2e::free_range(2));
    let fresh = [("PINGSERVER__REFRESH", "50ms")];
    let _pings: Vec<_> = (pings..pings + 2)
        .map(|port| Service::at("pingserver", &database, port, &fresh))
        .collect();
    let mut workers: Vec<_> = (messages..messages + 2)
        .map(|port| Service::at("message-server", &database, port, &[]))
        .collect();
    let gateway = Gateway::with(agent::EDGE)
        .ports("pings", pings..pings + 2)
        .ports("messages", messages..messages + 2)
        .start()
        .await;
    let way = Way::Edge(&gateway);

    let mut agent = Agent::new("edge");
    agent.set_up(&way, Some("right")).await;
    for _ in 0..4 {
        agent.exchange(&way).await.expect("any worker serves it");
    }
    database.sql(
        "insert into activity (computer_id, type, summary, fields) \
         select id, 'execute-script', 'x', 'd;' from computer",
    );
    eventually("a ping says that something waits", || async {
        agent.ping(&way).await.then_some(())
    })
    .await;
    let orders = agent.exchange(&way).await.expect("it fetches the order");
    assert_eq!(orders.len(), 1);

    // The exchange hangs in the middle of its transaction; the worker that has it is killed.
    let held = database.hold("select from computer for update");
    agent.report(tagged("first"));
    let mut at_work = agent.clone();
    let lost = async {
        let way = Way::Edge(&gateway);
        at_work.exchange(&way).await
    };
    let killing = async {
        eventually("the exchange waits for the lock", || async {
            (database.waiting() == "1").then_some(())
        })
        .await;
        // Both, so that nobody can finish it.
        for worker in &mut workers {
            worker.kill();
        }
        drop(held);
        // They come back on their ports, as a supervisor does it.
        (messages..messages + 2)
            .map(|port| Service::at("message-server", &database, port, &[]))
            .collect::<Vec<_>>()
    };
    let (answer, _workers) = tokio::join!(lost, killing);
    assert!(answer.is_err(), "nobody could answer: {answer:?}");
    let tags = "select string_agg(tag, ' ' order by tag) from computer_tag";
    assert_eq!(database.sql(tags), "blue green", "nothing was half stored");

    // As the agent does: without its token, the same message and one more.
    agent.token = None;
    agent.report(tagged("second"));
    let sequence = agent.sequence;
    agent
        .exchange(&way)
        .await
        .expect("another worker serves it");
    assert_eq!((agent.pending.len(), agent.sequence), (0, sequence + 2));
    assert_eq!(database.sql(tags), "second");
    let numbers = "select expected from exchange";
    assert_eq!(database.sql(numbers), (sequence + 2).to_string());
}

#[tokio::test]
async fn the_request_id_of_the_edge_is_kept() {
    let database = Database::fresh();
    let worker = Service::start("message-server", &database);
    let gateway = Gateway::with(agent::EDGE)
        .ports("pings", [e2e::free_range(1)])
        .ports("messages", [worker.port()])
        .start()
        .await;
    let mut raw = gateway.https().await;
    let fields = ["X-Request-ID: from-the-client-1"];
    let reply = raw
        .ask("POST", "/message-system", &fields, b"du8:messagesl;;")
        .await;
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.field("x-request-id"), Some("from-the-client-1"));
    let event = eventually("the worker's log names the request", || async {
        let log = worker.log();
        let lines = log.lines().filter(|line| !line.starts_with("ready "));
        let mut events = lines.map(|line| -> Value {
            serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))
        });
        events.find(|event| event["span"]["id"] == "from-the-client-1")
    })
    .await;
    let told = [&event["message"], &event["path"], &event["status"]];
    assert_eq!(
        told,
        [&json!("answered"), &json!("/message-system"), &json!(200)],
        "{event}"
    );
}
