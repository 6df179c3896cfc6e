//! Is a client that makes the gateway wait cut off? Only that it is, never when exactly.

use std::time::Duration;

use e2e::h2_client::request;
use e2e::scripts::{held, replying};
use e2e::{Edge, Gate, Gateway, Raw, Worker, for_a_while, frames, within};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn a_silent_tcp_connection_is_closed() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker)
        .h2c()
        .limits("first_byte_timeout: 200ms, handshake_timeout: 200ms")
        .start()
        .await;
    for listener in ["http", "https", "grpc"] {
        Raw::tcp(gateway.port(listener)).await.to_end().await;
    }
}

#[tokio::test]
async fn a_handshake_that_stops_half_way_is_closed() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker)
        .limits("handshake_timeout: 200ms")
        .start()
        .await;
    let mut client = Raw::tcp(gateway.port("https")).await;
    client.send([22, 3, 1, 2, 0, 1, 0, 1]).await;
    client.to_end().await;
}

#[tokio::test]
async fn silence_after_the_handshake_is_closed() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker)
        .h2c()
        .limits("first_byte_timeout: 200ms")
        .start()
        .await;
    for (listener, alpn) in [("https", "http/1.1"), ("https", "h2"), ("grpc", "h2")] {
        let tls = gateway.tls().alpn(&[alpn]);
        Raw::tls(gateway.port(listener), &tls).await.to_end().await;
    }
}

#[tokio::test]
async fn half_a_head_is_cut() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker)
        .limits("head_timeout: 200ms")
        .start()
        .await;
    for head in ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let mut client = gateway.http().await;
        client.send(head).await;
        if let Some(reply) = client.reply_or_end().await {
            assert_eq!(reply.status(), 408, "{head:?}");
        }
        client.to_end().await;
    }
    assert_eq!(worker.count(), 0);
}

#[tokio::test]
async fn half_a_head_over_http2_is_cut() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker)
        .limits("head_timeout: 200ms, idle_timeout: 500ms")
        .start()
        .await;
    let mut client = Raw::tls(gateway.port("https"), &gateway.tls().alpn(&["h2"])).await;
    client.send(frames::hello()).await;
    // HEADERS without END_HEADERS: the continuation never comes.
    client
        .send(frames::frame(
            frames::HEADERS,
            frames::END_STREAM,
            1,
            &frames::block(&[(":method", "GET")]),
        ))
        .await;
    client.to_end().await;
}

#[tokio::test]
async fn a_head_that_drips_does_not_live_longer() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker)
        .limits("head_timeout: 500ms")
        .start()
        .await;
    let (io, _) = gateway.http().await.into_wire().into_parts();
    let (read, mut write) = tokio::io::split(io);
    let drip = tokio::spawn(async move {
        let _ = write.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: ").await;
        while write.write_all(b"x").await.is_ok() {
            for_a_while(Duration::from_millis(50)).await;
        }
    });
    let mut client = Raw::over(tokio::io::join(read, tokio::io::sink()));
    client.to_end().await;
    within("the drip is cut, too", drip).await.unwrap();
    assert_eq!(worker.count(), 0);
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_answer() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker)
        .limits("idle_timeout: 300ms")
        .start()
        .await;
    for mut client in [gateway.http().await, gateway.https().await] {
        assert_eq!(client.get("/").await.status(), 200);
        assert!(client.ended().await);
    }
    let mut client = gateway.h2("https").await;
    assert_eq!(client.fetch(request("GET", "/"), "").await.status, 200);
    client.until_closed_by_peer().await;
}

#[tokio::test]
async fn waiting_for_a_worker_is_not_idleness() {
    let gate = Gate::new();
    let worker = Worker::start(held(&gate)).await;
    let gateway = Edge::to(&worker)
        .limits("idle_timeout: 200ms, first_byte_timeout: 200ms, head_timeout: 200ms, body_timeout: 200ms")
        .start()
        .await;
    let (mut old, mut tls) = (gateway.http().await, gateway.https().await);
    let mut new = gateway.h2("https").await;
    for client in [&mut old, &mut tls] {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    }
    let mut call = new.call(request("GET", "/"), true).await;
    worker.until_seen(3).await;
    for_a_while(Duration::from_secs(1)).await;
    gate.open();
    assert_eq!(old.reply().await.status(), 200);
    assert_eq!(tls.reply().await.status(), 200);
    assert_eq!(call.head().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_body_that_stops_is_cut() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker)
        .limits("body_timeout: 200ms")
        .start()
        .await;
    for head in [
        "Content-Length: 10\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let mut client = gateway.http().await;
        client
            .send(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}"))
            .await;
        if let Some(reply) = client.reply_or_end().await {
            assert_eq!(reply.status(), 408, "{head:?}");
        }
        client.to_end().await;
    }
    let mut client = gateway.h2("https").await;
    let mut call = client.call(request("POST", "/"), false).await;
    call.send("half").await;
    let answer = call.head().await;
    assert!(
        answer.as_ref().map_or(true, |head| head.status() == 408),
        "{answer:?}"
    );
    assert_eq!(worker.count(), 0, "half a body is no request");
}

/// Sends a body a byte at a time, never silent for long, until that is not taken any more or it is whole.
async fn drip(gateway: &Gateway, bytes: usize) -> Raw {
    let (io, _) = gateway.http().await.into_wire().into_parts();
    let (read, mut write) = tokio::io::split(io);
    tokio::spawn(async move {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n");
        let _ = write.write_all(head.as_bytes()).await;
        for _ in 0..bytes {
            if write.write_all(b"x").await.is_err() {
                break;
            }
            for_a_while(Duration::from_millis(50)).await;
        }
    });
    Raw::over(tokio::io::join(read, tokio::io::sink()))
}

#[tokio::test]
async fn a_body_that_drips_does_not_hold_a_worker() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker)
        .limits("body_timeout: 500ms, body_rate_min: 1KiB")
        .start()
        .await;
    let mut client = drip(&gateway, 1_000_000).await;
    if let Some(reply) = client.reply_or_end().await {
        assert_eq!(reply.status(), 408);
    }
    client.to_end().await;
    let mut connection = gateway.h2("https").await;
    let mut call = connection.call(request("POST", "/"), false).await;
    let answer = within("it is cut", async {
        loop {
            if !call.try_send("x").await {
                break call.head().await;
            }
            for_a_while(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(
        answer.as_ref().map_or(true, |head| head.status() == 408),
        "{answer:?}"
    );
    for line in gateway.access_log(2).await {
        assert_eq!(line["end"], "client_timeout", "{line}");
    }
    assert_eq!(worker.count(), 0, "half a body is no request");
}

#[tokio::test]
async fn a_body_may_drip_where_the_configuration_says_so() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker)
        .limits("body_timeout: 1s, body_rate_min: off")
        .start()
        .await;
    let mut client = drip(&gateway, 30).await;
    assert_eq!(client.reply().await.status(), 200);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut() {
    let worker = Worker::start(e2e::scripts::saying(e2e::scripts::reply(
        200,
        vec![0; 64 << 20],
    )))
    .await;
    let gateway = Edge::to(&worker)
        .limits("body_timeout: 300ms")
        .start()
        .await;
    let mut client = gateway.http().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    // Not a byte is taken before the gateway has given the exchange up, which its log tells.
    let log = gateway.access_log(1).await;
    assert!(
        log[0]["bytes_out"]
            .as_u64()
            .is_some_and(|bytes| bytes < 64 << 20),
        "{}",
        log[0]
    );
    client.to_end().await;
}
