//! Does a gateway that is told to stop finish what it has begun?

use std::time::Duration;

use e2e::grpc;
use e2e::h2_client::request;
use e2e::h2_scripts::h2_mirroring;
use e2e::scripts::{held, replying, silent, upgrading};
use e2e::websocket::opening;
use e2e::{Edge, Gate, Gateway, Worker, eventually, for_a_while};
use tokio::net::TcpStream;

async fn until_closed(gateway: &Gateway, listener: &str) {
    let port = gateway.port(listener);
    let refused = || async {
        TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
            .then_some(())
    };
    eventually(&format!("{listener} takes no more connections"), refused).await;
}

#[tokio::test]
async fn with_nothing_in_flight_it_exits_with_0_at_once() {
    let worker = Worker::start(replying(200)).await;
    let mut gateway = Edge::to(&worker).start().await;
    // An idle connection is nothing in flight.
    let mut idle = gateway.http().await;
    assert_eq!(idle.get("/").await.status(), 200);
    let mut idle_h2 = gateway.h2("https").await;
    idle_h2.fetch(request("GET", "/"), "").await;
    let unused = gateway.http().await;
    gateway.terminate();
    assert_eq!(gateway.exit().await.code(), Some(0));
    assert!(idle.ended().await);
    idle_h2.until_closed_by_peer().await;
    drop(unused);
}

#[tokio::test]
async fn what_is_in_flight_is_finished() {
    let gate = Gate::new();
    let worker = Worker::start(held(&gate)).await;
    let mut gateway = Edge::to(&worker)
        .top("drain: { deadline: 60s }")
        .start()
        .await;
    let mut old = gateway.http().await;
    old.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut client = gateway.h2("https").await;
    let call = client.call(request("GET", "/"), true).await;
    worker.until_seen(2).await;
    gateway.terminate();
    until_closed(&gateway, "http").await;
    until_closed(&gateway, "https").await;
    assert!(gateway.is_running());
    gate.open();
    let reply = old.reply().await;
    assert_eq!((reply.status(), reply.text().as_str()), (200, "ok"));
    assert!(old.ended().await, "the connection is not kept");
    assert_eq!(call.rest().await.unwrap().text(), "ok");
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn while_draining_it_is_alive_and_not_ready() {
    let gate = Gate::new();
    let worker = Worker::start(held(&gate)).await;
    let mut gateway = Edge::to(&worker)
        .top("drain: { deadline: 60s }")
        .start()
        .await;
    assert_eq!(gateway.admin("/readyz").await.status(), 200);
    let mut client = gateway.http().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    worker.until_seen(1).await;
    gateway.terminate();
    let unready = || async { (gateway.admin("/readyz").await.status() == 503).then_some(()) };
    eventually("not ready", unready).await;
    assert_eq!(gateway.admin("/healthz").await.status(), 200);
    gate.open();
    assert_eq!(client.reply().await.status(), 200);
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn an_http2_client_is_told_to_go_elsewhere_and_its_calls_go_on() {
    let worker = Worker::start(h2_mirroring()).await;
    let mut gateway = Edge::to(&worker)
        .h2c()
        .top("drain: { deadline: 60s }")
        .start()
        .await;
    let mut client = gateway.h2("grpc").await;
    let mut call = client.call(grpc::call("/s/Connect"), false).await;
    call.send(grpc::frame("one")).await;
    assert_eq!(call.exact(8).await, grpc::frame("one"));
    gateway.terminate();
    until_closed(&gateway, "grpc").await;
    let told = || {
        let mut client = client.clone();
        async move {
            client
                .try_call(grpc::call("/s/Late"), true)
                .await
                .is_err()
                .then_some(())
        }
    };
    eventually("GOAWAY has come", told).await;
    call.send(grpc::frame("two")).await;
    assert_eq!(call.exact(8).await, grpc::frame("two"));
    call.finish();
    assert_eq!(call.rest().await.unwrap().grpc_status(), Some("0"));
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn what_does_not_end_is_cut_at_the_deadline() {
    let worker = Worker::start(silent()).await;
    let mut gateway = Edge::to(&worker)
        .top("drain: { deadline: 300ms }")
        .start()
        .await;
    let mut client = gateway.http().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
        .await;
    worker.until_seen(1).await;
    gateway.terminate();
    gateway.exit().await;
    client.to_end().await;
}

#[tokio::test]
async fn a_websocket_does_not_hold_the_drain_beyond_its_deadline() {
    let worker = Worker::start(upgrading()).await;
    let mut gateway = Edge::to(&worker)
        .top("drain: { deadline: 500ms }")
        .start()
        .await;
    let mut client = gateway.http().await;
    client.send(opening("/")).await;
    assert_eq!(client.reply().await.status(), 101);
    gateway.terminate();
    gateway.exit().await;
    client.to_end().await;
}

/// The Close frame of a server that goes away (RFC 6455 section 7.4.1).
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];
/// A client's answer to it, masked with zeros.
const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];

async fn open_websocket(gateway: &Gateway) -> e2e::Raw {
    let mut client = gateway.http().await;
    client.send(opening("/")).await;
    assert_eq!(client.reply().await.status(), 101);
    client
}

#[tokio::test]
async fn a_websocket_is_told_to_go_and_its_worker_hears_the_clients_answer() {
    let worker = Worker::start(upgrading()).await;
    let mut gateway = Edge::to(&worker)
        .top("drain: { deadline: 60s, spread: 1s }")
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(open_websocket(&gateway).await);
    }
    gateway.terminate();
    for client in &mut clients {
        assert_eq!(client.exact(4).await, GOING_AWAY);
        client.send(CLOSE).await;
        client.half_close().await;
        // The worker echoes the Close frame: after ours there is none.
        assert!(client.ended().await);
    }
    for line in gateway.access_log(10).await {
        assert_eq!(line["end"], "stopping", "{line}");
        assert_eq!(line["bytes_in"], 8, "the worker was told: {line}");
    }
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_frame_that_is_cut_through_is_finished_before_the_last() {
    let worker = Worker::start(upgrading()).await;
    let mut gateway = Edge::to(&worker)
        .top("drain: { deadline: 60s, spread: off }")
        .start()
        .await;
    let mut client = open_websocket(&gateway).await;
    // The worker sends back what it gets: half a frame.
    let frame = e2e::websocket::text_frame("a frame in two halves");
    let (half, rest) = frame.split_at(9);
    client.send(half).await;
    assert_eq!(client.exact(half.len()).await, half);
    gateway.terminate();
    until_closed(&gateway, "http").await;
    for_a_while(Duration::from_millis(500)).await;
    client.send(rest).await;
    let mut expected = rest.to_vec();
    expected.extend(GOING_AWAY);
    assert_eq!(client.exact(expected.len()).await, expected);
    client.half_close().await;
    assert!(client.ended().await);
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_websocket_over_http2_is_told_to_go() {
    let worker = Worker::start(upgrading()).await;
    let mut gateway = Edge::to(&worker)
        .top("drain: { deadline: 60s, spread: off }")
        .start()
        .await;
    let mut call = crate::websocket::open_h2(&gateway).await;
    gateway.terminate();
    assert_eq!(call.exact(4).await, GOING_AWAY);
    call.finish_sending(CLOSE.to_vec()).await;
    assert_eq!(call.rest().await.unwrap().text(), "");
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn calls_that_do_not_end_hear_that_they_may_come_again() {
    let worker = Worker::start(h2_mirroring()).await;
    let silent = Worker::start(e2e::h2_scripts::h2_silent()).await;
    for (worker, answered) in [(&worker, true), (&silent, false)] {
        let mut gateway = Edge::to(worker)
            .h2c()
            .top("drain: { deadline: 3s, spread: 500ms }")
            .start()
            .await;
        let mut client = gateway.h2("grpc").await;
        let mut call = client.call(grpc::call("/s/Connect"), false).await;
        call.send(grpc::frame("one")).await;
        if answered {
            assert_eq!(call.exact(8).await, grpc::frame("one"));
        } else {
            worker.until_seen(1).await;
        }
        gateway.terminate();
        assert_eq!(call.rest().await.unwrap().grpc_status(), Some("14"));
        let line = gateway.access_log(1).await.remove(0);
        assert_eq!(line["end"], "stopping", "{line}");
        assert_eq!(gateway.exit().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_held_request_is_not_forgotten() {
    let port = e2e::free_range(1);
    let mut gateway = Edge::to_ports([port])
        .pool("hold: 30s")
        .top("drain: { deadline: 60s }")
        .start()
        .await;
    let mut client = gateway.http().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    for_a_while(Duration::from_millis(500)).await;
    gateway.terminate();
    until_closed(&gateway, "http").await;
    let _worker = Worker::start_on(port, replying(200)).await;
    assert_eq!(client.reply().await.status(), 200);
    assert_eq!(gateway.exit().await.code(), Some(0));
}

/// Asks without a pause until the gateway says that the connection ends; what was sent must be answered.
async fn ask_until_told_to_go(mut client: e2e::Raw) -> Result<usize, String> {
    let mut answered = 0;
    loop {
        client
            .try_send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
            .await;
        let Some(reply) = client.reply_or_end().await else {
            return Err(format!("no answer to a request after {answered} others"));
        };
        answered += 1;
        match (reply.status(), reply.field("connection")) {
            (200, Some("close")) => return Ok(answered),
            (200, _) => {}
            (status, _) => return Err(format!("status {status}")),
        }
    }
}

/// The same over HTTP/2, where GOAWAY says it, and which streams were not begun.
async fn call_until_told_to_go(mut client: e2e::H2) -> Result<usize, String> {
    let mut answered = 0;
    loop {
        match client.try_fetch(request("POST", "/"), "x").await {
            Ok(reply) if reply.status == 200 => answered += 1,
            Ok(reply) => return Err(format!("status {}", reply.status)),
            Err(error) if error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR) => {
                return Ok(answered);
            }
            Err(error) => return Err(format!("{error:?} after {answered} answers")),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_drains_under_load_cost_no_request() {
    let worker = Worker::start(replying(200)).await;
    let mut drains = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut gateway = Edge::to(&worker).start().await;
        drains.spawn(async move {
            let mut clients = tokio::task::JoinSet::new();
            for _ in 0..3 {
                clients.spawn(ask_until_told_to_go(gateway.http().await));
                clients.spawn(ask_until_told_to_go(gateway.https().await));
            }
            clients.spawn(call_until_told_to_go(gateway.h2("https").await));
            gateway.access_log(200).await;
            gateway.terminate();
            while let Some(client) = clients.join_next().await {
                client.unwrap().unwrap();
            }
            assert_eq!(gateway.exit().await.code(), Some(0));
        });
    }
    while let Some(drained) = drains.join_next().await {
        drained.unwrap();
    }
}

#[tokio::test]
async fn other_signals_do_no_harm_to_what_is_in_flight() {
    let gate = Gate::new();
    let worker = Worker::start(held(&gate)).await;
    let mut gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    worker.until_seen(1).await;
    for (signal, said) in [("HUP", "reloaded")] {
        gateway.signal(signal);
        let says = || async { gateway.stderr().contains(said).then_some(()) };
        eventually("it says what the signal does", says).await;
    }
    gate.open();
    assert_eq!(client.reply().await.status(), 200);
    assert_eq!(client.get("/").await.status(), 200);
    assert_eq!(gateway.admin("/readyz").await.status(), 200);
    assert!(gateway.is_running());
}

/// Opens a connection for each request until the gateway listens no more.
async fn connect_until_refused(port: u16) -> Result<usize, String> {
    let mut answered = 0;
    loop {
        let Ok(tcp) = TcpStream::connect(("127.0.0.1", port)).await else {
            return Ok(answered);
        };
        let mut client = e2e::Raw::over(tcp);
        client
            .try_send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await;
        match client.reply_or_end().await {
            Some(reply) if reply.status() == 200 => answered += 1,
            other => return Err(format!("{other:?} after {answered}")),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_while_the_doors_are_closed_is_served_or_refused() {
    let worker = Worker::start(replying(200)).await;
    let mut drains = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut gateway = Edge::to(&worker).start().await;
        drains.spawn(async move {
            let mut clients = tokio::task::JoinSet::new();
            for _ in 0..4 {
                clients.spawn(connect_until_refused(gateway.port("http")));
            }
            gateway.access_log(200).await;
            gateway.terminate();
            let mut cut = Vec::new();
            while let Some(client) = clients.join_next().await {
                cut.extend(client.unwrap().err());
            }
            assert_eq!(gateway.exit().await.code(), Some(0));
            cut
        });
    }
    let mut cut = Vec::new();
    while let Some(drained) = drains.join_next().await {
        cut.extend(drained.unwrap());
    }
    assert!(cut.is_empty(), "{} of 80: {cut:?}", cut.len());
}
