//! What was once wrong on the way of a byte, and must not come back? Each test names a fault that a peer could cause.

use e2e::h2_client::request;
use e2e::scripts::{answering, by_hand, held, reply, replying, switching};
use e2e::websocket::opening;
use e2e::{Edge, Gate, Gateway, Raw, Tls, Worker, eventually, for_a_while, frames, within};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

/// Waits until no client is connected and nothing is in flight.
async fn until_settled(gateway: &Gateway) {
    eventually("nothing is open or in flight", || async {
        let status = gateway.status().await;
        let listeners = status["listeners"].as_array().cloned().unwrap_or_default();
        let idle = listeners
            .iter()
            .all(|listener| listener["connections"] == 0);
        (idle && status["exchanges_in_flight"] == 0).then_some(())
    })
    .await;
}

/// A client that has next to no room for answers.
async fn narrow(port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = ([127, 0, 0, 1], port).into();
    within("a TCP connection", socket.connect(address))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_client_that_takes_no_refusals_is_cut() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker)
        .limits("body_timeout: 300ms")
        .start()
        .await;
    let mut client = narrow(gateway.port("http")).await;
    let requests = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    // Writes until the gateway closes; reads nothing.
    let sending = async { while client.write_all(requests.as_bytes()).await.is_ok() {} };
    within("the gateway closes", sending).await;
    until_settled(&gateway).await;
}

#[tokio::test]
async fn a_client_that_takes_no_interim_answers_is_cut() {
    let hints = format!(
        "HTTP/1.1 103 Early Hints\r\nLink: </{}>\r\n\r\n",
        "x".repeat(30_000)
    )
    .repeat(60);
    let worker = Worker::start(by_hand(move |mut conn| {
        let hints = hints.clone();
        async move {
            while conn.request().await?.is_some() {
                conn.wire.write(&hints).await?;
                conn.wire.write(reply(200, "ok")).await?;
            }
            Ok(())
        }
    }))
    .await;
    let gateway = Edge::to(&worker)
        .limits("body_timeout: 300ms")
        .start()
        .await;
    let mut client = narrow(gateway.port("http")).await;
    let requests = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20);
    client.write_all(requests.as_bytes()).await.unwrap();
    until_settled(&gateway).await;
    drop(client);
}

#[tokio::test]
async fn a_body_that_is_sent_again_is_counted_once() {
    // The first connection ends without an answer, so a PUT is sent again.
    let worker = Worker::start(by_hand(|mut conn| async move {
        while conn.request().await?.is_some() {
            if conn.number == 0 {
                return Ok(());
            }
            conn.wire.write(reply(200, "ok")).await?;
        }
        Ok(())
    }))
    .await;
    let gateway = Edge::to(&worker)
        .limits("body_bytes_max: 1000")
        .start()
        .await;
    let mut client = gateway.http().await;
    let reply = client.ask("PUT", "/", &[], &[b'x'; 600]).await;
    assert_eq!(reply.status(), 200, "600 bytes are below the limit of 1000");
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(
        (&line["bytes_in"], &line["retries"]),
        (&600.into(), &1.into()),
        "{line}"
    );
}

#[tokio::test]
async fn a_client_that_leaves_gives_up_its_place_among_the_held() {
    let port = e2e::free_range(1);
    let gateway = Edge::to_ports([port]).pool("hold: 300s").start().await;
    let held = |count: u64| {
        let gateway = &gateway;
        async move {
            eventually(&format!("{count} are held"), || async {
                let status = gateway.status().await;
                (status["pools"][0]["held"] == count).then_some(())
            })
            .await
        }
    };
    let mut client = gateway.h2("https").await;
    let mut cancelled = client.call(request("POST", "/"), true).await;
    let _other = client.call(request("POST", "/"), true).await;
    held(2).await;
    cancelled.cancel();
    held(1).await;
    client.vanish();
    held(0).await;
    until_settled(&gateway).await;
}

#[tokio::test]
async fn an_answer_given_while_draining_says_that_the_connection_ends() {
    let gate = Gate::new();
    let worker = Worker::start(held(&gate)).await;
    let mut gateway = Edge::to(&worker)
        .top("drain: { deadline: 60s }")
        .start()
        .await;
    let mut client = gateway.http().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
        .await;
    worker.until_seen(1).await;
    gateway.terminate();
    eventually("it drains", || async {
        (gateway.admin("/readyz").await.status() == 503).then_some(())
    })
    .await;
    gate.open();
    let reply = client.reply().await;
    // A client that was not told would send its next POST into a closing connection.
    assert_eq!(
        (reply.status(), reply.field("connection")),
        (200, Some("close"))
    );
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn the_last_lines_of_the_access_log_are_written_before_the_end() {
    let worker = Worker::start(replying(200)).await;
    for _ in 0..3 {
        let mut gateway = Edge::to(&worker).start().await;
        let mut client = gateway.http().await;
        let reply = client.ask("GET", "/", &["Connection: close"], b"").await;
        assert_eq!(reply.status(), 200);
        drop(client);
        gateway.terminate();
        assert_eq!(gateway.exit().await.code(), Some(0));
        gateway.access_log(1).await;
    }
}

#[tokio::test]
async fn the_status_in_the_log_is_the_one_that_a_grpc_client_over_http1_saw() {
    let port = e2e::free_range(1);
    let gateway = Edge::to_ports([port]).pool("hold: off").start().await;
    let fields = ["Content-Type: application/grpc"];
    let reply = gateway
        .http()
        .await
        .ask("POST", "/s/Unary", &fields, b"x")
        .await;
    assert_eq!(reply.status(), 503);
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(line["status"], 503, "{line}");
}

/// A port on which connections are neither taken nor refused; lives as long as what is returned.
async fn black_hole() -> (u16, Vec<TcpStream>, tokio::net::TcpListener) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    // The queue of connections nobody accepts fills up; from then on the kernel drops attempts.
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await
    {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the queue never fills up");
    }
    (address.port(), waiting, listener)
}

#[tokio::test]
async fn a_worker_that_cannot_be_reached_makes_nobody_wait_in_line() {
    let (port, _waiting, _listener) = black_hole().await;
    for protocol in ["h2c", "http1"] {
        let gateway = Edge::to_ports([port])
            .pool(&format!(
                "protocol: {protocol}, discovery: static, connect_timeout: 500ms, retry: {{ attempts_max: 1 }}"
            ))
            .start()
            .await;
        let mut client = gateway.h2("https").await;
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..40 {
            calls.spawn(client.call(request("GET", "/"), true).await.rest());
        }
        while let Some(call) = calls.join_next().await {
            assert_eq!(call.unwrap().unwrap().status, 503);
        }
    }
}

#[tokio::test]
async fn a_session_that_a_worker_ends_gracefully_is_no_failure_of_the_worker() {
    // Says GOAWAY after the first stream of each connection, which goes on: so the connection stays open.
    let going_away = |conn: e2e::Conn| async move {
        let seen = conn.seen;
        let mut session = h2::server::handshake(conn.wire.into_parts().0)
            .await
            .map_err(std::io::Error::other)?;
        let mut open = Vec::new();
        while let Some(Ok((request, mut answer))) = session.accept().await {
            seen.note(e2e::h2_scripts::described(&request));
            let held = request.uri().path() == "/held";
            if let Ok(send) = answer.send_response(http::Response::new(()), !held) {
                open.push(send);
            }
            session.graceful_shutdown();
        }
        Ok(())
    };
    let workers = Worker::start_range(2, |_| by_hand(going_away)).await;
    let gateway = Edge::to_all(&workers)
        .h2c()
        .pool("outlier: { consecutive_failures: 1, rest: 60s }, retry: { attempts_max: 0 }")
        .start()
        .await;
    let mut client = gateway.h2("https").await;
    let mut calls = Vec::new();
    for _ in 0..20 {
        let mut held = client.call(request("POST", "/held"), true).await;
        assert_eq!(held.head().await.unwrap().status(), 200);
        calls.push(held);
    }
    let metrics = gateway.admin("/metrics").await.text();
    let line = r#"portcullis_pool_ejections_total{pool="app"} 0"#;
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn a_worker_that_breaks_a_websocket_is_named_as_the_one_who_did() {
    let worker = Worker::start(by_hand(|mut conn| async move {
        let Some(request) = conn.request().await? else {
            return Ok(());
        };
        conn.wire.write(switching(&request, "websocket")).await?;
        let (io, _) = conn.wire.into_parts();
        tokio::time::sleep(Duration::from_millis(300)).await;
        // Closed with bytes unread: the kernel resets the connection.
        drop(io);
        Ok(())
    }))
    .await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client.send(opening("/")).await;
    assert_eq!(client.reply().await.status(), 101);
    client.try_send(vec![0; 100_000]).await;
    client.to_end().await;
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(line["end"], "worker_lost", "{line}");
}

#[tokio::test]
async fn a_connection_that_will_not_be_kept_is_not_announced_as_kept() {
    // Answers before it has read the body, and reads on no more.
    let worker = Worker::start(by_hand(|mut conn| async move {
        conn.wire.head().await?;
        conn.wire
            .write("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
            .await?;
        Ok(())
    }))
    .await;
    let gateway = Edge::to(&worker).start().await;
    let mut client: Raw = gateway.http().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    let reply = client.reply().await;
    assert_eq!(
        (reply.status(), reply.field("connection")),
        (401, Some("close"))
    );
    assert!(client.ended().await);
}

#[tokio::test]
async fn a_client_of_http1_does_not_escape_its_deadlines_by_claiming_to_speak_grpc() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker)
        .limits("body_timeout: 200ms")
        .start()
        .await;
    let mut client = gateway.http().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nContent-Length: 10\r\n\r\nhalf")
        .await;
    assert_eq!(client.reply().await.status(), 408);
    assert!(client.ended().await);
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_the_end_of_its_answer_over_http2() {
    let worker = Worker::start(answering(|request| {
        let length = request.target().trim_start_matches('/').parse().unwrap();
        reply(200, vec![b'x'; length])
    }))
    .await;
    let gateway = Edge::to(&worker)
        .limits("idle_timeout: 200ms, head_timeout: 200ms")
        .start()
        .await;
    // What the kernel takes is not known beforehand: with one of these the rest lies in the gateway.
    let mut downloads = tokio::task::JoinSet::new();
    for length in (1..12).map(|n| n * 300_000) {
        let tls = gateway.tls().alpn(&["h2"]);
        let tcp = narrow(gateway.port("https")).await;
        downloads.spawn(async move { (length, slow_download(tls, tcp, length).await) });
    }
    while let Some(done) = downloads.join_next().await {
        let (length, taken) = done.unwrap();
        assert_eq!(taken, length);
    }
}

/// Asks for so many bytes, reads nothing for longer than an idle connection may live, then takes what comes.
async fn slow_download(tls: Tls, tcp: TcpStream, length: usize) -> usize {
    let stream = tls.connect_over(tcp).await.unwrap();
    let (mut send, mut connection) = h2::client::Builder::new()
        .initial_window_size(8 << 20)
        .initial_connection_window_size(8 << 20)
        .handshake::<_, bytes::Bytes>(stream)
        .await
        .unwrap();
    let (response, _) = send
        .send_request(request("GET", &format!("/{length}")), true)
        .unwrap();
    let head = tokio::select! {
        head = response => head.unwrap(),
        ended = &mut connection => panic!("{ended:?}"),
    };
    for_a_while(Duration::from_secs(1)).await;
    tokio::spawn(connection);
    let mut body = head.into_body();
    let mut taken = 0;
    while let Some(Ok(data)) = within("a piece", body.data()).await {
        taken += data.len();
        let _ = body.flow_control().release_capacity(data.len());
    }
    taken
}

#[tokio::test]
async fn an_http2_client_that_does_not_listen_holds_no_drain() {
    let worker = Worker::start(replying(200)).await;
    let mut gateway = Edge::to(&worker)
        .limits("head_timeout: 200ms")
        .top("drain: { deadline: 300s }")
        .start()
        .await;
    let mut client = Raw::tls(gateway.port("https"), &gateway.tls().alpn(&["h2"])).await;
    client.send(frames::hello()).await;
    // It never acknowledges anything, neither SETTINGS nor the PING behind the first GOAWAY.
    frames::next(&mut client).await;
    gateway.terminate();
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_client_that_takes_nothing_holds_little_memory_over_http2() {
    const STREAMS: usize = 64;
    let worker = Worker::start(answering(|_| reply(200, vec![0; 1 << 20]))).await;
    let gateway = Edge::to(&worker)
        .limits("body_timeout: 500ms")
        .start()
        .await;
    let tls = gateway.tls().alpn(&["h2"]);
    let tcp = narrow(gateway.port("https")).await;
    let (mut send, mut connection) = h2::client::Builder::new()
        .initial_window_size(16 << 20)
        .initial_connection_window_size(1 << 30)
        .handshake::<_, bytes::Bytes>(tls.connect_over(tcp).await.unwrap())
        .await
        .unwrap();
    let mut calls = Vec::new();
    for _ in 0..STREAMS {
        calls.push(send.send_request(request("GET", "/"), true).unwrap().0);
    }
    let first = calls.remove(0);
    tokio::select! {
        head = first => assert_eq!(head.unwrap().status(), 200),
        ended = &mut connection => panic!("{ended:?}"),
    };
    // From here on nothing is read. What the gateway took from the worker for it, it holds, or the kernel does.
    let log = gateway.access_log(STREAMS).await;
    let taken: u64 = log
        .iter()
        .filter_map(|line| line["bytes_out"].as_u64())
        .sum();
    assert!(taken < 20 << 20, "{taken} bytes for {STREAMS} streams");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_never_pauses_leaves_the_others_of_its_thread_their_turn() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Gateway::with(
        r#"
threads: 1
admin: { bind: "127.0.0.1:0" }
listeners:
  http: { bind: "127.0.0.1:0", redirect_https: none }
pools:
  app: { ports: <app> }
routes:
  - { path: /, to: app, on: [http] }
"#,
    )
    .ports("app", [worker.port()])
    .start()
    .await;
    // Requests without end that need nobody but the data thread, and answers that are read as fast as they come.
    let (mut read, mut write) = TcpStream::connect(("127.0.0.1", gateway.port("http")))
        .await
        .unwrap()
        .into_split();
    let hot = tokio::spawn(async move {
        let requests = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
        while write.write_all(requests.as_bytes()).await.is_ok() {}
    });
    let drain = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut read, &mut tokio::io::sink()).await;
    });
    for _ in 0..20 {
        assert_eq!(gateway.http().await.get("/").await.status(), 200);
    }
    assert!(!hot.is_finished(), "it went on all the while");
    hot.abort();
    drain.abort();
}
