//! What becomes of an exchange whose worker is told to stop while its body is still on the way?

use e2e::bpickle::{Pickle, d, i, l, s, u};
use e2e::{Agent, Database, Raw, Service, Way, eventually, free_range};

/// Each report changes the address, so that one that counted twice, or not at all, shows in the history.
fn report(number: i64) -> Pickle {
    let device = d([
        ("broadcast_address", s("10.0.255.255")),
        ("flags", i(4163)),
        ("interface", s("eth0")),
        ("ip_address", s(&format!("10.0.0.{number}"))),
        ("mac_address", s("02:fc:00:00:00:01")),
        ("netmask", s("255.255.0.0")),
    ]);
    d([("devices", l([device])), ("type", u("network-device"))])
}

const ADDRESSES: &str = "select string_agg(address, ' ') from ( \
     select host(ip_address) as address from network_interface_history order by id) as before";
const NOW: &str = "select host(ip_address) from network_interface";

/// Begins to send what the agent would send now, half of it. The worker has asked for it then; the rest.
async fn begin(agent: &Agent, port: u16) -> (Raw, Vec<u8>) {
    let body = agent.payload();
    let mut raw = Raw::tcp(port).await;
    raw.send(format!(
        "POST /message-system HTTP/1.1\r\nHost: edge.test\r\nX-Computer-ID: {}\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        agent.secure.as_deref().expect("an identity"),
        body.len()
    ))
    .await;
    // Said when the exchange has its place and waits for its body.
    assert_eq!(raw.head().await.status(), 100);
    let (half, rest) = body.split_at(body.len() / 2);
    raw.send(half).await;
    (raw, rest.to_vec())
}

async fn until_it_takes_nobody(service: &Service) {
    eventually("nobody is let in any more", || async {
        let tcp = tokio::net::TcpStream::connect(("127.0.0.1", service.port()));
        tcp.await.is_err().then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_exchange_whose_body_is_on_the_way_is_finished_and_answered() {
    let database = Database::fresh();
    let mut service = Service::patient("message-server", &database, free_range(1), &[]);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "slow").await;
    for number in [1, 2] {
        agent.report(report(number));
    }
    let (mut raw, rest) = begin(&agent, service.port()).await;
    service.terminate();
    until_it_takes_nobody(&service).await;
    assert!(!service.ended(), "it has an exchange to finish");
    raw.send(rest).await;
    let reply = raw.reply().await;
    assert_eq!(reply.status(), 200);
    let answer = Pickle::read(&reply.body);
    let expected = answer.at("next-expected-sequence").expect("a number");
    assert_eq!(expected.int(), agent.sequence + 2);
    assert!(raw.ended().await);
    eventually("the worker ends", || {
        let ended = service.ended();
        async move { ended.then_some(()) }
    })
    .await;
    assert_eq!(
        (database.sql(ADDRESSES), database.sql(NOW)),
        ("10.0.0.1".into(), "10.0.0.2".into())
    );

    // Had the answer been lost, the agent would say it all again: nothing counts twice.
    let next = Service::start("message-server", &database);
    agent.token = None;
    agent.report(report(3));
    let way = Way::Port(next.port());
    agent
        .exchange(&way)
        .await
        .expect("another worker serves it");
    assert!(agent.pending.is_empty());
    let before = "10.0.0.1 10.0.0.2";
    assert_eq!(
        (database.sql(ADDRESSES), database.sql(NOW)),
        (before.into(), "10.0.0.3".into())
    );
}

#[tokio::test]
async fn an_exchange_whose_body_never_comes_is_not_begun_and_keeps_no_worker() {
    let database = Database::fresh();
    let mut service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "stuck").await;
    let (sequence, state) = (
        agent.sequence,
        "select expected, next_out, token from exchange",
    );
    let before = database.sql(state);
    for number in [1, 2] {
        agent.report(report(number));
    }
    let (mut raw, _) = begin(&agent, service.port()).await;
    service.terminate();
    // The drain deadline ends it.
    eventually("the worker ends", || {
        let ended = service.ended();
        async move { ended.then_some(()) }
    })
    .await;
    assert!(raw.ended().await, "no answer");
    assert_eq!(database.sql(state), before, "nothing was begun");
    assert_eq!(
        (database.sql(ADDRESSES), database.sql(NOW)),
        (String::new(), String::new())
    );

    let next = Service::start("message-server", &database);
    agent.token = None;
    let way = Way::Port(next.port());
    agent
        .exchange(&way)
        .await
        .expect("another worker serves it");
    assert_eq!((agent.pending.len(), agent.sequence), (0, sequence + 2));
    assert_eq!(
        (database.sql(ADDRESSES), database.sql(NOW)),
        ("10.0.0.1".into(), "10.0.0.2".into())
    );
}
