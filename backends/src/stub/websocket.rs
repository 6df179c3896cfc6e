//! How does a WebSocket echo live? Every message goes back as it came, until one side closes.
//!
//! When the worker stops, the client is told with a close frame (1001, going away).

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;

use crate::worker::Worker;

/// The sub-protocol that is agreed to when a client offers it.
const SUBPROTOCOL: &str = "echo";

/// Accepts the upgrade and echoes.
pub fn echo(upgrade: WebSocketUpgrade, worker: Worker) -> Response {
    upgrade
        .protocols([SUBPROTOCOL])
        .on_upgrade(move |socket| live(socket, worker))
}

async fn live(mut socket: WebSocket, worker: Worker) {
    let stopping = worker.stopping();
    tokio::pin!(stopping);
    loop {
        let message = tokio::select! {
            message = socket.recv() => message,
            () = &mut stopping => return say_goodbye(socket).await,
        };
        match message {
            // Ping is answered and Close completed by the library while it is read.
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
}

async fn say_goodbye(mut socket: WebSocket) {
    let frame = CloseFrame {
        code: close_code::AWAY,
        reason: "worker stops".into(),
    };
    // A client that is gone already needs no goodbye.
    let _ = socket.send(Message::Close(Some(frame))).await;
}
