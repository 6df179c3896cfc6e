//! Does a new process take over without anybody noticing, and does a bad one change nothing?

use e2e::grpc;
use e2e::h2_scripts::h2_mirroring;
use e2e::raw::{Raw, Session};
use e2e::scripts::{held, replying, upgrading};
use e2e::streams::{Events, Kind, carry};
use e2e::websocket::{opening, text_frame};
use e2e::{Edge, Gate, Gateway, H2, Load, Worker, eventually};
use tokio::net::TcpStream;

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
drain: { deadline: 2s, spread: 1s }
upgrade: { socket: <dir>/run/upgrade.sock, <upgrade> }
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none }
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
  grpc:  { bind: "127.0.0.1:0", protocol: grpc, tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  app: { ports: <app> }
  ws: { ports: <ws> }
  events: { ports: <events> }
  agents: { ports: <agents>, protocol: h2c }
routes:
  - { path: /, to: app, on: [http, https] }
  - { path: /ws, to: ws, on: [http, https] }
  - { path: /events, to: events, on: [https] }
  - { path: /, to: agents, on: [grpc] }
"#;

struct House {
    gateway: Gateway,
    events: Events,
    _workers: [Worker; 4],
}

async fn house(start_timeout: &str) -> House {
    house_with(&format!("deadline: off, start_timeout: {start_timeout}")).await
}

async fn house_with(upgrade: &str) -> House {
    let app = Worker::start(replying(200)).await;
    let ws = Worker::start(upgrading()).await;
    let agents = Worker::start(h2_mirroring()).await;
    let events = Events::new();
    let streaming = Worker::start(events.script()).await;
    let gateway = Gateway::with(YAML)
        .ports("app", [app.port()])
        .ports("ws", [ws.port()])
        .ports("agents", [agents.port()])
        .ports("events", [streaming.port()])
        .text("upgrade", upgrade)
        .by_link()
        .start()
        .await;
    House {
        gateway,
        events,
        _workers: [app, ws, agents, streaming],
    }
}

/// A WebSocket and a gRPC stream that echo.
struct Streams {
    socket: Raw,
    call: e2e::h2_client::Call,
    _connection: H2,
}

impl Streams {
    async fn open(gateway: &Gateway) -> Streams {
        let mut socket = gateway.http().await;
        socket.send(opening("/ws")).await;
        assert_eq!(socket.reply().await.status(), 101);
        let mut connection = gateway.h2("grpc").await;
        let call = connection.call(grpc::call("/a/Stream"), false).await;
        let mut streams = Streams {
            socket,
            call,
            _connection: connection,
        };
        streams.echo("first").await;
        streams
    }

    async fn echo(&mut self, text: &str) {
        let frame = text_frame(text);
        self.socket.send(&frame).await;
        assert_eq!(self.socket.exact(frame.len()).await, frame);
        let frame = grpc::frame(text);
        self.call.send(frame.clone()).await;
        assert_eq!(self.call.exact(frame.len()).await, frame);
    }
}

async fn until_alone(gateway: &Gateway) {
    let alone = || async { (gateway.alive() == [gateway.pid()]).then_some(()) };
    eventually("old processes end when they are empty", alone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_upgrades_fail_no_request_and_close_no_stream() {
    let House {
        mut gateway,
        events,
        _workers,
    } = house("10m").await;
    let mut load = Load::on(&gateway);
    let mut streams = Vec::new();
    for n in 0..20 {
        for kind in Kind::ALL {
            streams.extend(kind.open(&gateway, &events, 1).await);
        }
        load.goes_on(10).await;
        if n % 4 == 3 {
            gateway.upgrade_by_signal().await;
        } else {
            let (done, said) = gateway.upgrade().await;
            assert!(done, "upgrade {n}: {said}");
        }
        carry(&mut streams, &events, &format!("after {n}")).await;
    }
    load.goes_on(10).await;
    load.end().await;
    assert_eq!(gateway.admin("/readyz").await.status(), 200);
    carry(&mut streams, &events, "to the end").await;
    assert_eq!(gateway.alive().len(), 21, "each has streams");
    drop(streams);
    // A client of HTTP/1.1 that is gone is found out when the next piece of its answer is there: it may have ended its
    // side only.
    let alone = || async {
        events.tell("nobody");
        (gateway.alive() == [gateway.pid()]).then_some(())
    };
    eventually("old processes end when they are empty", alone).await;
    assert_eq!(gateway.exit().await.code(), Some(0));
    assert_eq!(gateway.http().await.get("/").await.status(), 200);
}

/// The gateway goes on as before: the same process, connections and streams.
async fn nothing_changed(change: impl FnOnce(&Gateway), start_timeout: &str, why: &str) {
    let House {
        mut gateway,
        events: _events,
        _workers,
    } = house(start_timeout).await;
    let mut load = Load::on(&gateway);
    let mut streams = Streams::open(&gateway).await;
    let good = std::fs::read_to_string(gateway.file("routes.yaml")).unwrap();
    change(&gateway);
    // Asked where the socket is, by the configuration as it was.
    let broken = std::fs::read_to_string(gateway.file("routes.yaml")).unwrap();
    let before = gateway.pid();
    for by_command in [good == broken, false] {
        load.goes_on(5).await;
        if by_command {
            let (done, said) = gateway.upgrade().await;
            assert!(!done && said.contains(why), "{said}");
        } else {
            let said_before = gateway.stderr().len();
            gateway.signal("QUIT");
            let told = || async {
                let told = gateway.stderr().split_off(said_before);
                told.contains("upgrade failed, nothing changed")
                    .then_some(told)
            };
            let told = eventually("it says why", told).await;
            assert!(told.contains(why), "{told}");
        }
        load.goes_on(5).await;
    }
    load.end().await;
    let failed = gateway.metric("portcullis_upgrades_failed_total").await;
    assert_eq!(failed, Some(2.0));
    streams.echo("still here").await;
    assert_eq!(gateway.alive(), [before], "the failed one is gone");
    assert_eq!(gateway.admin("/readyz").await.status(), 200);
    // And it can still do all that it could.
    let _ = std::fs::remove_file(gateway.file("portcullis"));
    std::os::unix::fs::symlink(
        e2e::gateway::binary("portcullis"),
        gateway.file("portcullis"),
    )
    .unwrap();
    let patient = good.replace("start_timeout: 3s", "start_timeout: 10m");
    let told = gateway.reload(|_| patient).await;
    assert!(told.contains("reloaded"), "{told}");
    let (done, said) = gateway.upgrade().await;
    assert!(done, "{said}");
    streams.echo("still here").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_that_crashes_changes_nothing() {
    nothing_changed(|gateway| gateway.install("exit 3"), "10m", "exit status: 3").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_that_hangs_is_given_up() {
    let hang = |gateway: &Gateway| gateway.install("exec sleep 300");
    nothing_changed(hang, "3s", "did not serve in time").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_that_is_not_there_changes_nothing() {
    let remove = |gateway: &Gateway| std::fs::remove_file(gateway.file("portcullis")).unwrap();
    nothing_changed(remove, "10m", "cannot be started").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_that_refuses_its_configuration_says_why() {
    let spoil = |gateway: &Gateway| {
        let file = gateway.file("routes.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text + "\n  - { path: /x, to: nobody }\n").unwrap();
    };
    nothing_changed(spoil, "10m", "there is no pool `nobody`").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_that_cannot_have_a_port_says_which() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let spoil = |gateway: &Gateway| {
        let file = gateway.file("routes.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let new = format!("listeners:\n  new: {{ bind: \"{address}\", redirect_https: none }}");
        std::fs::write(&file, text.replace("listeners:", &new)).unwrap();
    };
    nothing_changed(spoil, "10m", "is taken by another process").await;
}

#[tokio::test]
async fn sockets_follow_the_configuration_over_an_upgrade() {
    let worker = Worker::start(replying(200)).await;
    let (late, gone) = (e2e::free_range(1), e2e::free_range(1));
    let gone_line = format!("\n  gone: {{ bind: \"127.0.0.1:{gone}\", redirect_https: none }}");
    let late_line = format!("\n  late: {{ bind: \"127.0.0.1:{late}\", redirect_https: none }}");
    let mut gateway = Edge::to(&worker)
        .top("upgrade: { socket: <dir>/u.sock }")
        .start()
        .await;
    gateway
        .reload(|text| {
            text.replace("listeners:", &format!("listeners:{gone_line}{late_line}"))
                .replace("on: [http,", "on: [gone, late, http,")
        })
        .await;
    for port in [late, gone] {
        assert_eq!(Raw::tcp(port).await.get("/").await.status(), 200);
    }
    let file = gateway.file("routes.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace(&gone_line, "").replace("[gone, ", "[");
    // A listener may have another name.
    std::fs::write(&file, text.replace("late", "renamed")).unwrap();
    let (done, said) = gateway.upgrade().await;
    assert!(done, "{said}");
    until_alone(&gateway).await;
    assert_eq!(Raw::tcp(late).await.get("/").await.status(), 200);
    assert_eq!(gateway.http().await.get("/").await.status(), 200);
    assert!(TcpStream::connect(("127.0.0.1", gone)).await.is_err());
}

#[tokio::test]
async fn what_is_in_flight_at_the_old_process_is_finished_within_its_deadline() {
    let gate = Gate::new();
    let worker = Worker::start(held(&gate)).await;
    let mut gateway = Edge::to(&worker)
        .top("upgrade: { socket: <dir>/u.sock, deadline: 60s }")
        .start()
        .await;
    let mut idle = gateway.http().await;
    let mut busy = gateway.http().await;
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    worker.until_seen(1).await;
    let (done, said) = gateway.upgrade().await;
    assert!(done, "{said}");
    assert!(gateway.is_running());
    // A connection that was idle is not cut off: its client hears with the next answer that it ends.
    idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    worker.until_seen(2).await;
    gate.open();
    for client in [&mut busy, &mut idle] {
        assert_eq!(client.reply().await.status(), 200);
        assert!(client.ended().await);
    }
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn the_old_process_has_a_deadline_and_obeys_signals() {
    let worker = Worker::start(upgrading()).await;
    for (deadline, signal) in [("500ms", None), ("1h", Some("TERM")), ("1h", Some("INT"))] {
        let mut gateway = Edge::to(&worker)
            .top(&format!(
                "upgrade: {{ socket: <dir>/u.sock, deadline: {deadline} }}"
            ))
            .top("drain: { deadline: 200ms }")
            .start()
            .await;
        let first = gateway.pid();
        let mut client = gateway.http().await;
        client.send(opening("/")).await;
        assert_eq!(client.reply().await.status(), 101);
        let (done, said) = gateway.upgrade().await;
        assert!(done, "{said}");
        if let Some(signal) = signal {
            gateway.signal_to(first, signal);
        }
        assert_eq!(gateway.exit().await.code(), Some(0));
        client.to_end().await;
        assert_eq!(gateway.admin("/readyz").await.status(), 200);
    }
}

#[tokio::test]
async fn operators_find_the_new_process_where_the_old_one_was() {
    let House {
        mut gateway,
        events: _events,
        _workers,
    } = house("10m").await;
    let file = |gateway: &Gateway| {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(gateway.socket()).unwrap().ino()
    };
    let before = file(&gateway);
    for _ in 0..2 {
        let (done, said) = gateway.upgrade().await;
        assert!(done, "{said}");
        until_alone(&gateway).await;
        assert_eq!(file(&gateway), before, "the socket itself was handed over");
        let told = gateway.cli(&["status"]).await;
        assert!(told.out.contains("ready for"), "{told:?}");
        assert_eq!(gateway.admin("/readyz").await.status(), 200);
    }
    gateway.terminate();
    until_gone(&gateway).await;
    assert!(!gateway.socket().exists(), "the last one takes it along");
}

async fn until_gone(gateway: &Gateway) {
    let gone = || async { gateway.alive().is_empty().then_some(()) };
    eventually("the last process ends", gone).await;
}

#[tokio::test]
async fn tls_sessions_are_resumed_at_the_new_process() {
    let House {
        mut gateway,
        events: _events,
        _workers,
    } = house("10m").await;
    let tls = gateway.tls();
    let resumed = async |gateway: &Gateway| {
        let stream = tls.connect(gateway.port("https")).await.unwrap();
        let session = Session::of(&stream);
        assert_eq!(Raw::over(stream).get("/").await.status(), 200);
        session.resumed
    };
    assert!(!resumed(&gateway).await, "the first session is new");
    assert!(resumed(&gateway).await);
    for _ in 0..2 {
        let (done, said) = gateway.upgrade().await;
        assert!(done, "{said}");
        assert!(resumed(&gateway).await);
    }
}

#[tokio::test]
async fn streams_of_the_old_process_are_told_to_go_before_its_deadline() {
    let House {
        mut gateway,
        events: _events,
        _workers,
    } = house_with("deadline: 5s").await;
    let mut streams = Streams::open(&gateway).await;
    let (done, said) = gateway.upgrade().await;
    assert!(done, "{said}");
    streams.echo("still here").await;
    assert_eq!(streams.socket.exact(4).await, [0x88, 0x02, 0x03, 0xe9]);
    streams.socket.half_close().await;
    assert!(streams.socket.ended().await);
    let status = streams.call.rest().await.unwrap();
    assert_eq!(status.grpc_status(), Some("14"));
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_signal_that_stops_ends_an_upgrade_that_goes_on() {
    let House {
        mut gateway,
        events: _events,
        _workers,
    } = house("10m").await;
    gateway.install("echo started >&2; exec sleep 300");
    gateway.signal("QUIT");
    let started = || async { gateway.stderr().contains("started\n").then_some(()) };
    eventually("the new process has begun", started).await;
    gateway.terminate();
    assert_eq!(gateway.exit().await.code(), Some(0));
    assert!(gateway.alive().is_empty());
}
