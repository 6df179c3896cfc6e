//! Are requests that were sent without waiting answered in their order?

use e2e::scripts::{answering, by_hand, reply, replying};
use e2e::{Edge, Gate, Worker};

#[tokio::test]
async fn answers_come_in_the_order_of_the_requests() {
    let worker = Worker::start(answering(|request| reply(200, request.target()))).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    let requests: String = (0..20)
        .map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    client.send(requests).await;
    for n in 0..20 {
        assert_eq!(client.reply().await.text(), format!("/{n}"));
    }
}

#[tokio::test]
async fn a_slow_first_answer_is_not_overtaken() {
    let gate = Gate::new();
    let hold = gate.clone();
    let worker = Worker::start(by_hand(move |mut conn| {
        let hold = hold.clone();
        async move {
            while let Some(request) = conn.request().await? {
                if request.target() == "/slow" {
                    hold.passed().await;
                }
                conn.wire.write(reply(200, request.target())).await?;
            }
            Ok(())
        }
    }))
    .await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client
        .send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /fast HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    worker.until_seen(1).await;
    gate.open();
    assert_eq!(client.reply().await.text(), "/slow");
    assert_eq!(client.reply().await.text(), "/fast");
}

#[tokio::test]
async fn bodies_in_a_row_are_kept_apart() {
    let worker = Worker::start(e2e::scripts::mirroring()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.https().await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none\
             POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n\
             GET / HTTP/1.1\r\nHost: a\r\n\r\n\
             POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nthree",
        )
        .await;
    for body in ["one", "two", "", "three"] {
        assert_eq!(client.reply().await.text(), body);
    }
    assert!(client.ended().await, "the last one asked for it");
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let worker = Worker::start(e2e::scripts::mirroring()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    for byte in b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nT: 1\r\n\r\n" {
        client.send([*byte]).await;
    }
    assert_eq!(client.reply().await.text(), "hi");
}

#[tokio::test]
async fn empty_lines_before_a_request_are_forgiven() {
    // RFC 9112 section 2.2: at least one CRLF before the request line is ignored.
    let worker = Worker::start(e2e::scripts::replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client.send("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.reply().await.status(), 200);
}

#[tokio::test]
async fn an_empty_line_after_a_request_begins_no_other() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker)
        .limits("head_timeout: 200ms, idle_timeout: 60s")
        .start()
        .await;
    let mut client = gateway.http().await;
    // Old clients end a body with a line break that its length does not count.
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\r\n")
        .await;
    assert_eq!(client.reply().await.status(), 200);
    e2e::for_a_while(std::time::Duration::from_secs(1)).await;
    assert_eq!(client.get("/").await.status(), 200, "not 408");
}
