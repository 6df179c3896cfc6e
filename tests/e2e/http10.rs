//! Are clients of HTTP/1.0 served: answered, then closed?

use e2e::scripts::{echoing_head, mirroring, saying};
use e2e::{Edge, Message, Worker};

#[tokio::test]
async fn it_is_answered_and_the_connection_is_closed() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    for head in [
        "GET /x HTTP/1.0\r\nHost: a\r\n\r\n",
        "GET /x HTTP/1.0\r\nHost: a\r\nConnection: close\r\n\r\n",
    ] {
        let mut client = gateway.http().await;
        client.send(head).await;
        let reply = client.reply().await;
        assert_eq!(reply.status(), 200, "{head:?}");
        let seen = Message {
            head: reply.text(),
            ..Message::default()
        };
        assert_eq!(
            seen.first_line(),
            "GET /x HTTP/1.1",
            "the worker is spoken to in 1.1"
        );
        assert!(client.ended().await, "{head:?}");
    }
}

#[tokio::test]
async fn it_needs_no_host() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!(reply.status(), 200);
    // RFC 9112 section 3.2: what goes on as 1.1 must have exactly one.
    let seen = Message {
        head: reply.text(),
        ..Message::default()
    };
    assert_eq!(seen.fields("host").len(), 1);
}

#[tokio::test]
async fn it_gets_no_chunks() {
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let worker = Worker::start(saying(chunked)).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!(reply.field("transfer-encoding"), None);
    assert_eq!(reply.text(), "abcde");
    assert!(client.ended().await);
}

#[tokio::test]
async fn its_body_is_passed_on() {
    let worker = Worker::start(mirroring()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client
        .send("POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
        .await;
    assert_eq!(client.reply().await.text(), "body");
    assert!(client.ended().await);
}
