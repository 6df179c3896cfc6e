//! Do WebSockets work, opened as HTTP/1.1 upgrades or as HTTP/2 streams (RFC 6455, RFC 8441)?

use std::time::Duration;

use e2e::h2_client::request;
use e2e::scripts::{by_hand, replying, upgrading};
use e2e::websocket::{KEY, accept_of, opening, text_frame};
use e2e::{Edge, Gateway, Worker, eventually, for_a_while};
use http::{Method, Request};

#[tokio::test]
async fn an_upgrade_is_agreed_by_the_worker_and_bytes_flow_both_ways() {
    let worker = Worker::start(upgrading()).await;
    let gateway = Edge::to(&worker).start().await;
    for mut client in [gateway.http().await, gateway.https().await] {
        client.send(opening("/ws?x=1")).await;
        let reply = client.reply().await;
        assert_eq!(reply.status(), 101);
        assert_eq!(
            reply.field("sec-websocket-accept"),
            Some(accept_of(KEY).as_str())
        );
        assert!(
            reply
                .field("upgrade")
                .is_some_and(|v| v.eq_ignore_ascii_case("websocket"))
        );
        assert!(
            reply
                .field("connection")
                .is_some_and(|v| v.eq_ignore_ascii_case("upgrade"))
        );
        for n in 0..20 {
            let frame = text_frame(&format!("hello {n}"));
            client.send(&frame).await;
            assert_eq!(client.exact(frame.len()).await, frame);
        }
        client.half_close().await;
        assert!(client.ended().await, "the worker's end is passed on");
    }
    let seen = worker.requests().remove(0);
    assert_eq!(seen.target(), "/ws?x=1");
    assert_eq!(seen.field("sec-websocket-key"), Some(KEY));
    assert!(seen.field("upgrade").is_some() && seen.field("connection").is_some());
    assert_eq!(seen.fields("x-forwarded-for"), ["127.0.0.1"]);
}

#[tokio::test]
async fn frames_sent_right_behind_the_opening_are_not_lost() {
    let worker = Worker::start(upgrading()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    let frame = text_frame("eager");
    client
        .send([opening("/").into_bytes(), frame.clone()].concat())
        .await;
    assert_eq!(client.reply().await.status(), 101);
    assert_eq!(client.exact(frame.len()).await, frame);
}

#[tokio::test]
async fn frames_sent_right_behind_the_101_are_not_lost() {
    let worker = Worker::start(by_hand(|mut conn| async move {
        let Some(request) = conn.request().await? else {
            return Ok(());
        };
        let head = e2e::scripts::switching(&request, "websocket");
        conn.wire.write([&head[..], b"\x81\x02hi"].concat()).await?;
        conn.wire.to_end().await.map(drop)
    }))
    .await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client.send(opening("/")).await;
    assert_eq!(client.reply().await.status(), 101);
    assert_eq!(client.exact(4).await, b"\x81\x02hi");
    let mut call = open_h2(&gateway).await;
    assert_eq!(call.exact(4).await, b"\x81\x02hi");
}

#[tokio::test]
async fn a_worker_that_declines_answers_as_usual() {
    let worker = Worker::start(replying(404)).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client.send(opening("/")).await;
    assert_eq!(client.reply().await.status(), 404);
    assert_eq!(
        client.get("/").await.status(),
        404,
        "the connection goes on"
    );
    let mut h2 = gateway.h2("https").await;
    h2.until_extended_connect().await;
    let reply = h2.fetch(connect("/"), "").await;
    assert_eq!(reply.status, 404);
}

/// An extended CONNECT (RFC 8441 section 4).
fn connect(path: &str) -> Request<()> {
    let mut request = request("GET", path);
    *request.method_mut() = Method::CONNECT;
    request
        .headers_mut()
        .insert("sec-websocket-version", "13".parse().unwrap());
    request
        .extensions_mut()
        .insert(h2::ext::Protocol::from_static("websocket"));
    request
}

pub(crate) async fn open_h2(gateway: &Gateway) -> e2e::Call {
    let mut client = gateway.h2("https").await;
    client.until_extended_connect().await;
    let mut call = client.call(connect("/ws"), false).await;
    let head = call.head().await.unwrap();
    assert_eq!(head.status(), 200, "RFC 8441 section 5");
    assert_eq!(head.headers().get("sec-websocket-accept"), None);
    call
}

#[tokio::test]
async fn a_stream_of_http2_becomes_an_upgrade_at_the_worker() {
    let worker = Worker::start(upgrading()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut call = open_h2(&gateway).await;
    for n in 0..20 {
        let frame = text_frame(&format!("hello {n}"));
        call.send(frame.clone()).await;
        assert_eq!(call.exact(frame.len()).await, frame);
    }
    call.finish();
    assert!(
        call.rest().await.unwrap().body.is_empty(),
        "the worker's end is passed on"
    );
    let seen = worker.requests().remove(0);
    assert_eq!((seen.method(), seen.target()), ("GET", "/ws"));
    assert_eq!(seen.field("sec-websocket-version"), Some("13"));
    assert!(
        seen.field("sec-websocket-key")
            .is_some_and(|key| key.len() == 24),
        "the gateway makes one"
    );
    assert!(
        seen.field("upgrade")
            .is_some_and(|v| v.eq_ignore_ascii_case("websocket"))
    );
    assert_eq!(seen.field("host"), Some("edge.test"));
}

#[tokio::test]
async fn other_streams_of_the_connection_go_on_beside_a_websocket() {
    let worker = Worker::start(by_hand(|mut conn| async move {
        while let Some(request) = conn.request().await? {
            if request.field("upgrade").is_some() {
                conn.wire
                    .write(e2e::scripts::switching(&request, "websocket"))
                    .await?;
                return conn.wire.to_end().await.map(drop);
            }
            conn.wire.write(e2e::scripts::reply(200, "ok")).await?;
        }
        Ok(())
    }))
    .await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.h2("https").await;
    client.until_extended_connect().await;
    let mut socket = client.call(connect("/ws"), false).await;
    assert_eq!(socket.head().await.unwrap().status(), 200);
    for _ in 0..10 {
        assert_eq!(client.fetch(request("GET", "/"), "").await.text(), "ok");
    }
    socket.send(text_frame("still here")).await;
}

#[tokio::test]
async fn a_socket_that_is_dropped_is_closed_at_the_worker() {
    let worker = Worker::start(by_hand(|mut conn| async move {
        let Some(request) = conn.request().await? else {
            return Ok(());
        };
        conn.wire
            .write(e2e::scripts::switching(&request, "websocket"))
            .await?;
        let _ = conn.wire.to_end().await;
        conn.seen.note_reset("closed");
        Ok(())
    }))
    .await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client.send(opening("/")).await;
    assert_eq!(client.reply().await.status(), 101);
    drop(client);
    eventually("the worker sees it", || async {
        (worker.resets().len() == 1).then_some(())
    })
    .await;
    let mut call = open_h2(&gateway).await;
    call.cancel();
    eventually("the worker sees it, too", || async {
        (worker.resets().len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_dies_ends_the_socket() {
    let worker = Worker::start(upgrading()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client.send(opening("/")).await;
    assert_eq!(client.reply().await.status(), 101);
    let mut call = open_h2(&gateway).await;
    worker.kill().await;
    assert!(client.ended().await);
    assert!(!matches!(call.data().await, Some(Ok(bytes)) if !bytes.is_empty()));
}

#[tokio::test]
async fn a_long_silent_socket_is_not_cut() {
    let worker = Worker::start(upgrading()).await;
    let gateway = Edge::to(&worker)
        .limits("idle_timeout: 200ms, body_timeout: 200ms, head_timeout: 200ms")
        .pool("body_timeout: 200ms, idle_timeout: 200ms, response_timeout: 200ms")
        .start()
        .await;
    let mut client = gateway.http().await;
    client.send(opening("/")).await;
    assert_eq!(client.reply().await.status(), 101);
    let mut call = open_h2(&gateway).await;
    for_a_while(Duration::from_secs(2)).await;
    client.send("still here").await;
    assert_eq!(client.exact(10).await, b"still here");
    call.send("still here").await;
    assert_eq!(call.exact(10).await, b"still here");
}

#[tokio::test]
async fn an_upgrade_asked_for_by_post_is_answered_without_one() {
    let worker = Worker::start(e2e::scripts::echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi").await;
    let reply = client.reply().await;
    assert_ne!(reply.status(), 101);
    assert_ne!(reply.status(), 502);
}

#[tokio::test]
async fn a_socket_over_http2_to_an_h2c_worker_is_declined_and_the_connection_goes_on() {
    let worker = Worker::start(e2e::h2_scripts::h2_replying("ok")).await;
    let gateway = Edge::to(&worker).h2c().start().await;
    let mut client = gateway.h2("https").await;
    client.until_extended_connect().await;
    let mut call = client.call(connect("/ws"), false).await;
    assert_eq!(call.head().await.unwrap().status(), 501);
    assert_eq!(client.fetch(request("GET", "/"), "").await.text(), "ok");
    assert_eq!(worker.count(), 1, "{:?}", worker.requests());
    // An upgrade of HTTP/1 is not offered: the request is answered as if it had not asked.
    let mut client = gateway.http().await;
    client.send(opening("/ws")).await;
    assert_eq!(client.reply().await.status(), 200);
    assert_eq!(client.get("/").await.status(), 200);
}

#[tokio::test]
async fn a_socket_that_is_silent_for_too_long_is_closed_where_the_file_says_so() {
    let worker = Worker::start(upgrading()).await;
    let gateway = Edge::to(&worker)
        .limits("tunnel_timeout: 500ms")
        .start()
        .await;
    let mut client = gateway.http().await;
    client.send(opening("/")).await;
    assert_eq!(client.reply().await.status(), 101);
    let mut call = open_h2(&gateway).await;
    // Bytes either way keep it, longer than its time.
    for _ in 0..10 {
        for_a_while(Duration::from_millis(100)).await;
        client.send("x").await;
        assert_eq!(client.exact(1).await, b"x");
        call.send("x").await;
        assert_eq!(call.exact(1).await, b"x");
    }
    assert!(client.ended().await);
    assert!(!matches!(call.data().await, Some(Ok(bytes)) if !bytes.is_empty()));
    let ends: Vec<_> = gateway.access_log(2).await;
    assert!(
        ends.iter().all(|line| line["end"] == "client_timeout"),
        "{ends:?}"
    );
}
