//! What did a request wait for, and what else went on? In the access log, in HAProxy's words, and in the metrics.

use e2e::scripts::{held, replying, saying_and_closing, upgrading};
use e2e::websocket::opening;
use e2e::{Edge, Gate, Gateway, Raw, Worker, eventually};
use serde_json::Value;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends a request and returns once so many wait for this reason.
async fn waiting(gateway: &Gateway, reason: &str, count: usize) -> Raw {
    let mut client = gateway.http().await;
    client.send(GET).await;
    until_waiting(gateway, reason, count).await;
    client
}

async fn until_waiting(gateway: &Gateway, reason: &str, count: usize) {
    let gauge = format!(r#"portcullis_pool_waiting{{pool="app",reason="{reason}"}}"#);
    eventually(&format!("{count} wait"), || async {
        (gateway.metric(&gauge).await == Some(count as f64)).then_some(())
    })
    .await;
}

async fn waited(gateway: &Gateway, reason: &str) -> f64 {
    let count =
        format!(r#"portcullis_pool_wait_duration_seconds_count{{pool="app",reason="{reason}"}}"#);
    gateway.metric(&count).await.unwrap_or(0.0)
}

/// Waited, held and queued, in milliseconds.
fn times(line: &Value) -> [f64; 3] {
    ["wait_ms", "hold_ms", "queue_ms"].map(|field| {
        let time = line[field].as_f64();
        time.unwrap_or_else(|| panic!("{field} in {line}"))
    })
}

#[tokio::test]
async fn who_was_held_is_told_apart_from_who_was_queued() {
    let port = e2e::free_range(1);
    let gateway = Edge::to_ports([port])
        .pool("worker_in_flight_max: 1, queue: { time: 30s, requests_max: 3 }")
        .start()
        .await;
    let mut both = [
        waiting(&gateway, "hold", 1).await,
        waiting(&gateway, "hold", 2).await,
    ];
    let gate = Gate::new();
    let worker = Worker::start_on(port, held(&gate)).await;
    // One of them has the only place; the other waits on, for another reason.
    worker.until_seen(1).await;
    until_waiting(&gateway, "hold", 0).await;
    until_waiting(&gateway, "queue", 1).await;
    gate.open();
    for client in &mut both {
        assert_eq!(client.reply().await.status(), 200);
    }
    let lines = gateway.access_log(2).await;
    let [first, second] = [times(&lines[0]), times(&lines[1])];
    for [wait, hold, queue] in [first, second] {
        assert!(hold > 0.0, "{lines:#?}");
        assert!((wait - hold - queue).abs() < 0.01, "{lines:#?}");
    }
    let queued = [first, second]
        .into_iter()
        .filter(|[_, _, queue]| *queue > 0.0);
    assert_eq!(queued.count(), 1, "{lines:#?}");
    assert_eq!(waited(&gateway, "hold").await, 2.0);
    assert_eq!(waited(&gateway, "queue").await, 1.0);

    // Nobody waits now.
    assert_eq!(gateway.http().await.get("/").await.status(), 200);
    assert_eq!(times(&gateway.access_log(3).await[2]), [0.0; 3]);
}

/// The counts and the queues in HAProxy's lines, of which there are so many.
async fn counts(gateway: &Gateway, count: usize) -> Vec<(String, String)> {
    let path = gateway.file("access.log");
    let lines = eventually(&format!("{count} lines are written"), || async {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
    .await;
    let fields = lines.iter().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[10].to_owned(), words[11].to_owned())
    });
    fields.collect()
}

fn logging(edge: Edge) -> Edge {
    edge.top("access_log: { to: <dir>/access.log, format: haproxy }")
}

#[tokio::test]
async fn haproxys_log_counts_what_else_goes_on() {
    let worker = Worker::start(upgrading()).await;
    let gateway = logging(Edge::to(&worker)).start().await;
    let mut socket = gateway.http().await;
    socket.send(opening("/")).await;
    assert_eq!(socket.head().await.status(), 101);
    // Beside the open stream, at the same worker.
    let mut client = gateway.http().await;
    assert_eq!(client.get("/").await.status(), 426);
    let told = counts(&gateway, 1).await.remove(0);
    assert_eq!(told, ("2/2/1/1/0".to_owned(), "0/0".to_owned()));
}

#[tokio::test]
async fn haproxys_log_tells_the_place_in_the_queue() {
    let gate = Gate::new();
    let worker = Worker::start(held(&gate)).await;
    let gateway = logging(Edge::to(&worker))
        .pool("worker_in_flight_max: 1, queue: { time: 30s, requests_max: 3 }")
        .start()
        .await;
    let mut first = gateway.http().await;
    first.send(GET).await;
    worker.until_seen(1).await;
    let mut second = waiting(&gateway, "queue", 1).await;
    let mut third = waiting(&gateway, "queue", 2).await;
    gate.open();
    for client in [&mut first, &mut second, &mut third] {
        assert_eq!(client.reply().await.status(), 200);
    }
    let told = counts(&gateway, 3).await;
    let mut places: Vec<_> = told.iter().map(|(_, queues)| queues.as_str()).collect();
    places.sort_unstable();
    assert_eq!(places, ["0/0", "0/0", "0/1"], "{told:?}");
    for (connections, _) in &told {
        assert!(connections.starts_with("3/3/"), "{told:?}");
    }
}

#[tokio::test]
async fn haproxys_log_marks_who_was_sent_on_to_another_worker() {
    let first = e2e::free_range(2);
    let _dying = Worker::start_on(first, e2e::scripts::closing()).await;
    let _good = Worker::start_on(first + 1, replying(200)).await;
    let gateway = logging(Edge::to_ports([first, first + 1]))
        .pool("balance: round-robin")
        .start()
        .await;
    for _ in 0..4 {
        assert_eq!(gateway.http().await.get("/").await.status(), 200);
    }
    let told = counts(&gateway, 4).await;
    let marked = told.iter().any(|(counts, _)| counts.ends_with("/+1"));
    assert!(marked, "{told:?}");
}

#[tokio::test]
async fn refused_connections_are_counted_with_their_listener() {
    let worker = Worker::start(saying_and_closing("")).await;
    let gateway = logging(Edge::to(&worker)).start().await;
    let mut silent = Raw::tcp(gateway.port("https")).await;
    silent.half_close().await;
    silent.to_end().await;
    let path = gateway.file("access.log");
    let line = eventually("a line is written", || async {
        let text = std::fs::read_to_string(&path).ok()?;
        text.lines().next().map(str::to_owned)
    })
    .await;
    assert!(line.contains(" 1/1/0/0/0 0/0 "), "{line}");
}
