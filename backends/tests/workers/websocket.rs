//! How do WebSockets live at a worker?

use backends::service::{api, appserver};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::running::{Running, within};

async fn open(worker: &Running, path: &str) -> WebSocketStream<TcpStream> {
    let url = format!("ws://{}{path}", worker.address);
    let stream = worker.connect().await;
    let (socket, _) = within(tokio_tungstenite::client_async(url, stream))
        .await
        .expect("an upgrade");
    socket
}

#[tokio::test]
async fn messages_come_back_as_they_were_sent_on_any_path() {
    let worker = Running::start(appserver::SERVICE).await;
    for path in ["/ws", "/", "/some/where?x=1"] {
        let mut socket = open(&worker, path).await;
        for message in [
            Message::text("grüße"),
            Message::text(""),
            Message::binary(vec![0, 255, 7]),
            Message::binary(vec![9; 1 << 20]),
        ] {
            within(socket.send(message.clone())).await.expect("sent");
            let back = within(socket.next()).await.expect("an echo");
            assert_eq!(back.expect("a frame"), message, "{path}");
        }
        within(socket.close(None)).await.expect("closed");
    }
}

#[tokio::test]
async fn a_worker_that_stops_says_goodbye() {
    let worker = Running::start(api::SERVICE).await;
    let mut socket = open(&worker, "/api/events").await;
    within(socket.send(Message::text("x"))).await.expect("sent");
    within(socket.next())
        .await
        .expect("an echo")
        .expect("a frame");
    worker.say_stop();
    match within(socket.next()).await {
        Some(Ok(Message::Close(Some(frame)))) => assert_eq!(frame.code, CloseCode::Away),
        other => panic!("no close frame: {other:?}"),
    }
}
