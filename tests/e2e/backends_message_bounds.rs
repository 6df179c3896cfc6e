//! Does a stranger cost the message system no more than is documented? Memory, places and time.

use e2e::bpickle::{Pickle, d, i, t, u};
use e2e::{Agent, Database, Raw, Service, Way, eventually};
use futures_util::future::join_all;

const PATH: &str = "/message-system";
const MIB: usize = 1 << 20;
/// What is small in writing, and was large in memory.
const SMALL: &[u8] = b"di0;n;";

fn many(count: usize) -> Vec<u8> {
    [b"l", SMALL.repeat(count).as_slice(), b";"].concat()
}

fn request(messages: &[u8]) -> Vec<u8> {
    [b"du8:messages", messages, b";"].concat()
}

async fn metrics(service: &Service) -> String {
    let mut raw = Raw::tcp(service.port()).await;
    raw.get("/metrics").await.text()
}

#[tokio::test]
async fn many_small_dictionaries_take_little_memory() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let before = service.memory_peak();
    let one_message = |count| request(&[b"l", many(count).as_slice(), b";"].concat());
    let twice = [many(166_666), b"u8:messages".to_vec(), many(166_666)].concat();
    // Too many in one message, as many as fit, too many messages, and messages that another list takes the place of.
    for body in [
        one_message(499_999),
        one_message(160_000),
        request(&many(333_333)),
        request(&twice),
    ] {
        let (status, _) = way.post(PATH, &[], &body).await;
        assert_eq!(status, 200, "{} bytes", body.len());
    }
    let taken = service.memory_peak() - before;
    assert!(taken < 128 * MIB, "{} MiB", taken / MIB);
}

#[tokio::test]
async fn what_is_long_once_and_told_often_takes_little_memory() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "hostile").await;
    let before = service.memory_peak();
    // A long list of tags in one text, members of a group and steps of an interface with long names.
    let long = "\u{10ffff}".repeat(255);
    let tags = (0..3_000_000).fold(String::new(), |tags, tag| tags + &format!("{tag:x},"));
    let members = (0..160_000).map(|member| u(&format!("{member:x}")));
    let members = Pickle::List(members.collect());
    let steps = (0..60_000).map(|step| t([i(step * 300), i(1), i(2)]));
    let steps = Pickle::List(steps.collect());
    for (message_type, field, value) in [
        ("computer-tags", "tags", u(&tags)),
        ("users", "create-group-members", d([(&*long, members)])),
        ("network-activity", "activities", d([(&*long, steps)])),
    ] {
        agent.report(d([("type", u(message_type)), (field, value)]));
        agent.exchange(&way).await.expect("an exchange");
    }
    let taken = service.memory_peak() - before;
    assert!(taken < 128 * MIB, "{} MiB", taken / MIB);
    let stored = |table: &str| database.sql(&format!("select count(*) from {table}"));
    let counts = ["computer_tag", "system_group_member", "network_traffic"].map(stored);
    assert_eq!(
        counts,
        ["2", "160000", "60000"],
        "the long list of tags is none"
    );
}

#[tokio::test]
async fn whoever_registers_again_and_acknowledges_nothing_hears_it_once() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::new("deaf");
    agent.set_up(&way, None).await;
    for _ in 0..5 {
        agent.report(agent.register(None));
        agent.wanted = 0;
        agent.exchange(&way).await.expect("an exchange");
    }
    let kept = "select type, count(*) from outgoing_message group by 1 order by 1";
    assert_eq!(database.sql(kept), "accepted-types|1\nset-id|1");
}

#[tokio::test]
async fn large_requests_at_once_find_only_so_much_room() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let before = service.memory_peak();
    let body = request(&[b"l", many(160_000).as_slice(), b";"].concat());
    let all = join_all((0..32).map(|_| way.post(PATH, &[], &body))).await;
    let count = |wanted: u16| all.iter().filter(|(status, _)| *status == wanted).count();
    assert!(count(200) > 0 && count(200) + count(503) == all.len());
    // What is documented, with what the allocator keeps.
    let taken = service.memory_peak() - before;
    assert!(taken < 320 * MIB, "{} MiB", taken / MIB);
    // All of it is given back.
    let (status, _) = way.post(PATH, &[], &body).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn whoever_trickles_takes_nobodys_place() {
    let database = Database::fresh();
    let settings = [("MESSAGE_SYSTEM__EXCHANGES_MAX", "2")];
    let service = Service::at("message-server", &database, e2e::free_range(1), &settings);
    let way = Way::Port(service.port());
    let mut slow = Vec::new();
    for _ in 0..8 {
        slow.push(service.begin(PATH, 30_000_000, b"du8:messages").await);
    }
    let mut agent = Agent::accepted(&database, &way, "quick").await;
    agent.exchange(&way).await.expect("an exchange");
    // They are not hindered either.
    let mut first = slow.swap_remove(0);
    first.send(vec![b'n'; 30_000_000 - 12]).await;
    assert_eq!(first.reply().await.status(), 400);
}

#[tokio::test]
async fn a_request_that_is_there_waits_a_moment_for_its_place() {
    let database = Database::fresh();
    let settings = [("MESSAGE_SYSTEM__EXCHANGES_MAX", "1")];
    let service = Service::at("message-server", &database, e2e::free_range(1), &settings);
    let (body, there) = (request(b"l;"), 3);
    let mut begun = Vec::new();
    for _ in 0..3 {
        begun.push(service.begin(PATH, body.len(), &body[..there]).await);
    }
    let [first, second, third] = begun.as_mut_slice() else {
        panic!("three have begun");
    };
    let held = database.hold("lock table server_identity in access exclusive mode");
    first.send(&body[there..]).await;
    eventually("the only place is taken", || async {
        (database.waiting() == "1").then_some(())
    })
    .await;
    // It does not become free.
    second.send(&body[there..]).await;
    let refused = second.reply().await;
    assert_eq!(refused.status(), 503);
    assert!(refused.field("retry-after").is_some());
    // It does.
    third.send(&body[there..]).await;
    drop(held);
    for served in [first, third] {
        assert_eq!(served.reply().await.status(), 200);
    }
    let metrics = metrics(&service).await;
    let line = "backends_exchanges_total{end=\"busy\"} 1";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn whoever_trickles_is_told_that_it_is_late() {
    let database = Database::fresh();
    let settings = [
        ("MESSAGE_SYSTEM__BODY_TIMEOUT", "100ms"),
        ("MESSAGE_SYSTEM__BODY_RATE", "1000000000"),
    ];
    let service = Service::at("message-server", &database, e2e::free_range(1), &settings);
    let mut raw = Raw::tcp(service.port()).await;
    let head = "POST /message-system HTTP/1.1\r\nHost: t\r\nContent-Length: 30000000\r\n\r\n";
    raw.send(format!("{head}du8:messages")).await;
    assert_eq!(raw.reply().await.status(), 408);
    let metrics = metrics(&service).await;
    let line = "backends_exchanges_total{end=\"late\"} 1";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn large_requests_that_fill_the_memory_leave_room_for_small_ones() {
    let database = Database::fresh();
    // As little as one of this length needs.
    let settings = [
        ("MESSAGE_SYSTEM__BODY_BYTES_MAX", "1000000"),
        ("MESSAGE_SYSTEM__MEMORY_BYTES_MAX", "66000000"),
    ];
    let service = Service::at("message-server", &database, e2e::free_range(1), &settings);
    let way = Way::Port(service.port());
    let (whole, part) = (vec![b'n'; 1_000_000], vec![b'n'; 999_999]);
    let begun = (0..100).map(|_| service.begin(PATH, whole.len(), &part));
    let waiting = join_all(begun).await;
    let ask = || async { way.post(PATH, &[], &whole).await.0 };
    eventually("there is no room for another", || async {
        (ask().await == 503).then_some(())
    })
    .await;
    let mut agent = Agent::accepted(&database, &way, "small").await;
    agent.exchange(&way).await.expect("an exchange");
    drop(waiting);
    eventually("there is room again", || async {
        (ask().await == 400).then_some(())
    })
    .await;
}
