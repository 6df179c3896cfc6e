//! Do thousands of streams fit into one worker, and what becomes of them when it stops?

use std::collections::HashMap;

use e2e::hostagent::Cmd;
use e2e::{Database, H2, HostAgent, Raw, Service, eventually, grpc, within};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;

use super::{HOSTS, House, STATES, started};

/// Streams of one worker.
const HELD: usize = 10_000;
/// Streams of one connection: an edge shares connections to its workers.
const EACH: usize = 100;
/// Most memory of the worker for each stream, bytes: more than three times what is seen, with what the allocator keeps back.
const BYTES_MAX: usize = 24 * 1024;

/// The call that is a host's stream.
const CONNECT: &str = "/landscapehostagentapi.LandscapeHostAgent/Connect";
/// How far an order is.
const STATUS: &str = "/landscapehostagentapi.LandscapeHostAgent/SendCommandStatus";

/// Opens the streams of hosts that are known, `count` of them.
async fn streams(database: &Database, port: u16, count: usize) -> HashMap<String, HostAgent> {
    database.sql(&format!(
        "insert into wsl_host (account_id, accepted, hostname) \
         select 1, true, 'host' || lpad(n::text, 5, '0') from generate_series(1, {count}) n"
    ));
    let sql = "select uid, hostname from wsl_host where hostname like 'host%'";
    let known = database.sql(sql);
    let known: Vec<(&str, &str)> = known
        .lines()
        .filter_map(|line| line.split_once('|'))
        .collect();
    let mut hosts = HashMap::with_capacity(count);
    for some in known.chunks(EACH) {
        let h2 = H2::tcp(port).await;
        let opened = some.iter().map(|(uid, hostname)| {
            let (h2, mut info) = (h2.clone(), HostAgent::info(hostname, Some("right")));
            (*uid).clone_into(&mut info.uid);
            async move { ((*uid).to_owned(), HostAgent::connect(h2, info).await) }
        });
        hosts.extend(join_all(opened).await);
        // Not all at once: that one is told to come later when too many come is not what is asked here.
        if hosts.len() % (5 * EACH) == 0 {
            until_connected(database, hosts.len()).await;
        }
    }
    hosts
}

async fn until_connected(database: &Database, count: usize) {
    eventually(&format!("{count} are connected"), || async {
        let sql = "select count(*) from wsl_host where stream is not null and hostname <> 'win'";
        (database.sql(sql) == count.to_string()).then_some(())
    })
    .await;
}

/// With which code the stream of a host ends.
async fn end_of(mut host: HostAgent) -> String {
    loop {
        if let Err(end) = host.command().await {
            return end;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_streams_on_one_worker_cost_little_and_each_is_reached() {
    let database = Database::fresh();
    database.sql("update account set registration_key = 'right'");
    let port = e2e::free_range(1);
    let messenger = Service::at(
        "hostagent-messenger",
        &database,
        port,
        &[("HOSTAGENT_MESSENGER__POLL", "1s")],
    );
    let before = messenger.memory();
    let mut hosts = streams(&database, port, HELD).await;
    until_connected(&database, HELD).await;
    let each = messenger.memory().saturating_sub(before) / HELD;
    println!("{each} bytes for each of {HELD} streams");
    assert!(each < BYTES_MAX, "{each} bytes for each stream");
    // They live: every thousandth is given an order, and nobody else hears of it.
    database.sql(
        "insert into wsl_command (host_uid, kind, instance_id) \
         select uid, 'start', uid::text from wsl_host where hostname like 'host%000'",
    );
    let wanted = database.sql("select host_uid from wsl_command");
    assert_eq!(wanted.lines().count(), 10);
    for uid in wanted.lines() {
        let host = hosts.get_mut(uid).expect("one of them");
        let command = host.command().await.expect("an order");
        assert_eq!(started(&command), uid);
        assert_eq!(host.status(&command.request_id, 2, "").await, "0");
    }
    assert_eq!(
        database.sql("select count(*) from wsl_command where state = 'succeeded'"),
        "10"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_streams_of_a_worker_that_stops_end_so_that_agents_come_again_and_no_order_is_lost() {
    const MANY: usize = 400;
    const UNAVAILABLE: &str = "14";
    let mut house = House::with(2).await;
    let (first, second) = (house.first, house.first + 1);
    let mut host = HostAgent::new(H2::tcp(first).await, "win", Some("right")).await;
    house.until(HOSTS, "win|t|t").await;
    let others = streams(&house.database, first, MANY).await;
    until_connected(&house.database, MANY).await;
    // One that the agent has said it has, one that it was sent and has not, and one that comes while nobody holds it.
    let order = |instance: &str| format!("what=start&instance={instance}");
    assert_eq!(house.order(&host.info.uid, &order("One")).await, 303);
    let one = host.command().await.expect("an order");
    assert_eq!(host.status(&one.request_id, 0, "").await, "0");
    assert_eq!(house.order(&host.info.uid, &order("Two")).await, 303);
    house.until(STATES, "queued|\nsent|").await;

    // One that has not said a word yet.
    let mut silent = H2::tcp(first).await.call(grpc::call(CONNECT), false).await;
    silent.head().await.expect("it is heard");

    let mut leaving = house.messengers.remove(0);
    let stopped = tokio::task::spawn_blocking(move || {
        leaving.stop();
        leaving.log()
    });
    let mut ends: FuturesUnordered<_> = others.into_values().map(end_of).collect();
    while let Some(end) = within("a stream ends", ends.next()).await {
        assert_eq!(end, UNAVAILABLE);
    }
    assert_eq!(
        started(&host.command().await.expect("on its way before")),
        "Two"
    );
    assert_eq!(host.command().await.expect_err("its end"), UNAVAILABLE);
    let end = within("the silent one ends", silent.rest()).await;
    assert_eq!(end.expect("its end").grpc_status(), Some(UNAVAILABLE));
    let log = within("the worker ends", stopped).await;
    let log = log.expect("it ended well");
    assert!(!log.contains("the drain deadline has passed"), "{log}");
    // Nobody counts as connected to whom no stream leads.
    assert_eq!(
        house.rows("select count(*) from wsl_host where stream is not null"),
        "0"
    );
    assert_eq!(house.order(&host.info.uid, &order("Three")).await, 303);

    let mut host = HostAgent::connect(H2::tcp(second).await, host.info.clone()).await;
    for instance in ["Two", "Three"] {
        let command = host.command().await.expect("an order");
        let Some(Cmd::Start(named)) = &command.cmd else {
            panic!("{command:?}");
        };
        assert_eq!(named.id, instance);
        assert_eq!(host.status(&command.request_id, 2, "").await, "0");
    }
    assert_eq!(host.status(&one.request_id, 2, "").await, "0");
    assert_eq!(house.rows(STATES), ["succeeded|"; 3].join("\n"));
}

#[tokio::test]
async fn the_end_of_a_worker_leaves_the_streams_alone_of_the_next_one_in_its_place() {
    let database = Database::fresh();
    let port = e2e::free_range(1);
    let start = || Service::patient("hostagent-messenger", &database, port, &[]);
    let mut old = start();
    // A call that is not finished keeps it.
    let mut h2 = H2::tcp(port).await;
    let mut call = h2.call(grpc::call(STATUS), false).await;
    // Heard one after the other.
    let health = h2
        .fetch(e2e::h2_client::request("GET", "/health"), "")
        .await;
    assert_eq!(health.status, 200);
    old.terminate();
    eventually("it listens no more", || async {
        let socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
        socket.is_err().then_some(())
    })
    .await;
    let next = start();
    let _hosts = streams(&database, port, 1).await;
    until_connected(&database, 1).await;
    call.finish_sending(grpc::frame([])).await;
    eventually("the old one has ended", || {
        let ended = old.ended();
        async move { ended.then_some(()) }
    })
    .await;
    until_connected(&database, 1).await;
    let held = Raw::tcp(next.port()).await.get("/metrics").await.text();
    assert!(held.contains("backends_host_streams 1"), "{held}");
}
