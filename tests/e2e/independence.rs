//! Do the two directions of a stream never wait for each other?
//!
//! One side holds still while 64 MiB wait for it; no buffer on the way is that large, so its direction
//! stands. The other direction must go on as if nothing were the matter.

use e2e::grpc::{call, frame};
use e2e::h2_scripts::{h2_deaf, h2_flooding_and_hearing};
use e2e::scripts::{switching, upgrading_deaf, write_zeros};
use e2e::websocket::opening;
use e2e::{Edge, Gate, Script, Worker, scripts::by_hand, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const FLOOD: usize = 64 << 20;

/// Sends a flood that nobody takes, and counts what it hears meanwhile.
fn flooding_and_hearing() -> Script {
    by_hand(|mut conn| async move {
        let Some(request) = conn.request().await? else {
            return Ok(());
        };
        conn.wire.write(switching(&request, "websocket")).await?;
        let (io, ahead) = conn.wire.into_parts();
        let (mut read, mut write) = tokio::io::split(io);
        let hearing = async {
            let (mut heard, mut piece) = (ahead.len(), vec![0; 64 * 1024]);
            loop {
                match read.read(&mut piece).await? {
                    0 => return std::io::Result::Ok(heard),
                    count => heard += count,
                }
                if heard >= 8 << 20 {
                    conn.seen.note(e2e::Message {
                        head: "heard it all\r\n\r\n".into(),
                        ..Default::default()
                    });
                }
            }
        };
        tokio::try_join!(hearing, write_zeros(&mut write, FLOOD)).map(drop)
    })
}

#[tokio::test]
async fn a_websocket_client_that_does_not_listen_can_still_speak() {
    let worker = Worker::start(flooding_and_hearing()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client.send(opening("/")).await;
    assert_eq!(client.head().await.status(), 101);
    // Not a byte is read from here on; 8 MiB are more than the buffers on the way.
    for _ in 0..128 {
        client.send(vec![1; 64 * 1024]).await;
    }
    worker.until_seen(2).await;
}

#[tokio::test]
async fn a_websocket_worker_that_does_not_listen_can_still_speak() {
    let gate = Gate::new();
    let worker = Worker::start(upgrading_deaf(FLOOD, &gate)).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client.send(opening("/")).await;
    assert_eq!(client.head().await.status(), 101);
    let (io, ahead) = client.into_wire().into_parts();
    let (mut read, mut write) = tokio::io::split(io);
    let flood = tokio::spawn(async move { write_zeros(&mut write, FLOOD).await.map(|()| write) });
    // The worker reads nothing until the gate opens, which is after its own flood has arrived here.
    let mut left = FLOOD - ahead.len();
    let mut piece = vec![0; 64 * 1024];
    while left > 0 {
        left -= within("the worker's flood arrives", read.read(&mut piece))
            .await
            .unwrap();
    }
    gate.open();
    let mut write = within("the client's flood is taken, too", flood)
        .await
        .unwrap()
        .unwrap();
    write.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_websocket_over_http2_that_does_not_listen_can_still_speak() {
    let worker = Worker::start(flooding_and_hearing()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.h2("https").await;
    client.until_extended_connect().await;
    let mut request = e2e::h2_client::request("GET", "/");
    *request.method_mut() = http::Method::CONNECT;
    request
        .headers_mut()
        .insert("sec-websocket-version", "13".parse().unwrap());
    request
        .extensions_mut()
        .insert(h2::ext::Protocol::from_static("websocket"));
    let mut call = client.call(request, false).await;
    assert_eq!(call.head().await.unwrap().status(), 200);
    for _ in 0..129 {
        call.send(vec![1; 64 * 1024]).await;
    }
    worker.until_seen(2).await;
}

#[tokio::test]
async fn a_grpc_client_that_does_not_listen_can_still_speak() {
    let worker = Worker::start(h2_flooding_and_hearing(FLOOD)).await;
    let gateway = Edge::to(&worker).h2c().start().await;
    let mut call = gateway
        .h2("grpc")
        .await
        .call(call("/s/Connect"), false)
        .await;
    for n in 0..200 {
        call.send(frame(vec![1; 50_000])).await;
        // Heard while the client has not taken a byte.
        worker.until_seen(1 + n / 10).await;
    }
}

#[tokio::test]
async fn a_grpc_worker_that_does_not_listen_can_still_speak() {
    let gate = Gate::new();
    let worker = Worker::start(h2_deaf(FLOOD, &gate)).await;
    let gateway = Edge::to(&worker).h2c().start().await;
    let mut client = gateway.h2("grpc").await;
    let (mut tx, response) = client.call(call("/s/Connect"), false).await.into_halves();
    let flood =
        tokio::spawn(
            async move { e2e::h2_client::push(&mut tx, vec![1; FLOOD].into(), true).await },
        );
    let mut body = within("the head", response).await.unwrap().into_body();
    let mut left = FLOOD;
    while left > 0 {
        let piece = within("the worker's flood arrives", body.data())
            .await
            .unwrap()
            .unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        left -= piece.len();
    }
    gate.open();
    within("the client's flood is taken, too", flood)
        .await
        .unwrap()
        .unwrap();
    let trailers = within("the end", body.trailers()).await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
}

#[tokio::test]
async fn a_client_that_does_not_read_does_not_stop_another_clients_stream_to_the_same_worker() {
    let worker = Worker::start(h2_flooding_and_hearing(FLOOD)).await;
    let gateway = Edge::to(&worker).h2c().start().await;
    let mut still = gateway.h2("grpc").await.call(call("/s/Still"), true).await;
    assert_eq!(still.head().await.unwrap().status(), 200);
    let mut others = gateway.h2("grpc").await;
    for _ in 0..5 {
        let mut call = others.call(call("/s/Other"), true).await;
        assert!(call.data().await.expect("data").is_ok(), "data");
    }
}

#[tokio::test]
async fn an_upload_goes_on_while_its_answer_is_not_read() {
    let worker = Worker::start(h2_flooding_and_hearing(FLOOD)).await;
    let gateway = Edge::to(&worker).h2c().start().await;
    let mut client = gateway.https().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    for _ in 0..128 {
        let piece = [&b"10000\r\n"[..], &[1; 0x10000], b"\r\n"].concat();
        client.send(piece).await;
    }
    worker.until_seen(20).await;
}
