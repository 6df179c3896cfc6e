//! How does an HTTP/1 worker behave? Each function is one behaviour, ready for `Worker::start`.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::message::{Framing, Message};
use crate::worker::{Gate, Script};

pub use crate::worker::by_hand;

/// A response with a `Content-Length`, kept alive.
pub fn reply(status: u16, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes = format!(
        "HTTP/1.1 {status} Scripted\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Each request is read to its end and answered with the bytes the closure makes of it.
pub fn answering<Answer>(answer: Answer) -> Script
where
    Answer: Fn(&Message) -> Vec<u8> + Send + Sync + 'static,
{
    let answer = Arc::new(answer);
    by_hand(move |mut conn| {
        let answer = answer.clone();
        async move {
            while let Some(request) = conn.request().await? {
                let mut bytes = answer(&request);
                if request.method() == "HEAD" {
                    let head = bytes
                        .windows(4)
                        .position(|w| w == b"\r\n\r\n")
                        .map(|at| at + 4);
                    bytes.truncate(head.unwrap_or(bytes.len()));
                }
                conn.wire.write(bytes).await?;
            }
            Ok(())
        }
    })
}

/// Always this status, with the body `ok`.
pub fn replying(status: u16) -> Script {
    answering(move |_| reply(status, "ok"))
}

/// 200 with a name as the body, to tell workers apart.
pub fn named(name: impl Into<String>) -> Script {
    let name = name.into();
    answering(move |_| reply(200, &name))
}

/// 200 with the request's head, as it came, as the body.
pub fn echoing_head() -> Script {
    answering(|request| reply(200, bytes_of(&request.head)))
}

/// 200 with the request's body as the body, in the framing in which it came, trailers included.
pub fn mirroring() -> Script {
    answering(|request| match request.request_framing() {
        Framing::Chunked => {
            let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for piece in request.body.chunks(16 * 1024) {
                bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                bytes.extend_from_slice(piece);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(format!("0\r\n{}\r\n", request.trailers).as_bytes());
            bytes
        }
        _ => reply(200, &request.body),
    })
}

/// The same bytes for every request, whatever they are.
pub fn saying(bytes: impl Into<Vec<u8>>) -> Script {
    let bytes = bytes.into();
    answering(move |_| bytes.clone())
}

/// Reads each request, then waits for the gate before it answers 200.
pub fn held(gate: &Gate) -> Script {
    let gate = gate.clone();
    by_hand(move |mut conn| {
        let gate = gate.clone();
        async move {
            while conn.request().await?.is_some() {
                gate.passed().await;
                conn.wire.write(reply(200, "ok")).await?;
            }
            Ok(())
        }
    })
}

/// Answers 200 with `name` after a while, as a worker does that has work to do.
pub fn slow(name: impl Into<String>, time: Duration) -> Script {
    let name = name.into();
    by_hand(move |mut conn| {
        let name = name.clone();
        async move {
            while conn.request().await?.is_some() {
                tokio::time::sleep(time).await;
                conn.wire.write(reply(200, &name)).await?;
            }
            Ok(())
        }
    })
}

/// Reads everything and never says a word.
pub fn silent() -> Script {
    by_hand(|mut conn| async move {
        while conn.request().await?.is_some() {}
        Ok(())
    })
}

/// Reads each request, then closes without an answer.
pub fn closing() -> Script {
    by_hand(|mut conn| async move { conn.request().await.map(drop) })
}

/// Answers with these bytes, then closes: a response cut short, or one that ends with the connection.
pub fn saying_and_closing(bytes: impl Into<Vec<u8>>) -> Script {
    let bytes = bytes.into();
    by_hand(move |mut conn| {
        let bytes = bytes.clone();
        async move {
            if conn.request().await?.is_some() {
                conn.wire.write(bytes).await?;
                conn.wire.half_close().await?;
            }
            Ok(())
        }
    })
}

/// Agrees to any upgrade, then sends every byte back as it comes; other requests get 426.
pub fn upgrading() -> Script {
    by_hand(|mut conn| async move {
        while let Some(request) = conn.request().await? {
            let Some(protocol) = request.field("upgrade") else {
                conn.wire.write(reply(426, "upgrade")).await?;
                continue;
            };
            conn.wire.write(switching(&request, protocol)).await?;
            let (io, ahead) = conn.wire.into_parts();
            let (mut read, mut write) = tokio::io::split(io);
            write.write_all(&ahead).await?;
            tokio::io::copy(&mut read, &mut write).await?;
            return write.shutdown().await;
        }
        Ok(())
    })
}

/// Agrees to an upgrade, then is flooded: it sends `flood` bytes without reading a single one until
/// the gate opens, and afterwards sends nothing and reads until the end.
pub fn upgrading_deaf(flood: usize, gate: &Gate) -> Script {
    let gate = gate.clone();
    by_hand(move |mut conn| {
        let gate = gate.clone();
        async move {
            let Some(request) = conn.request().await? else {
                return Ok(());
            };
            conn.wire.write(switching(&request, "websocket")).await?;
            let (io, _) = conn.wire.into_parts();
            let (mut read, mut write) = tokio::io::split(io);
            write_zeros(&mut write, flood).await?;
            gate.passed().await;
            let mut sink = vec![0; 64 * 1024];
            while read.read(&mut sink).await? != 0 {}
            Ok(())
        }
    })
}

/// The 101 that agrees to a request for an upgrade, with the WebSocket key's answer where one is due.
pub fn switching(request: &Message, protocol: &str) -> Vec<u8> {
    let accept = request
        .field("sec-websocket-key")
        .map(crate::websocket::accept_of);
    let accept = accept
        .map(|key| format!("Sec-WebSocket-Accept: {key}\r\n"))
        .unwrap_or_default();
    format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n{accept}\r\n")
        .into_bytes()
}

/// Writes so many zero bytes, in pieces.
pub async fn write_zeros(
    to: &mut (impl AsyncWriteExt + Unpin),
    count: usize,
) -> std::io::Result<()> {
    let piece = vec![0; 64 * 1024];
    let mut left = count;
    while left > 0 {
        let now = left.min(piece.len());
        to.write_all(&piece[..now]).await?;
        left -= now;
    }
    to.flush().await
}

/// A head back to the bytes it was read from.
pub fn bytes_of(head: &str) -> Vec<u8> {
    head.chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Raw, Worker};

    #[tokio::test]
    async fn a_worker_keeps_its_connection_and_remembers_what_it_was_asked() {
        let worker = Worker::start(mirroring()).await;
        let mut client = Raw::tcp(worker.port()).await;
        client
            .send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            .await;
        assert_eq!(client.reply().await.text(), "hi");
        client.send("POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nho\r\n0\r\nT: 1\r\n\r\n").await;
        let reply = client.reply().await;
        assert_eq!(
            (reply.text().as_str(), reply.trailer("t")),
            ("ho", Some("1"))
        );
        assert_eq!(worker.connections(), 1);
        let targets: Vec<_> = worker
            .requests()
            .iter()
            .map(|r| r.target().to_owned())
            .collect();
        assert_eq!(targets, ["/a", "/b"]);
    }

    #[tokio::test]
    async fn a_killed_worker_refuses_and_its_port_can_be_taken_again() {
        let port = crate::free_range(1);
        let worker = Worker::start_on(port, replying(200)).await;
        let mut client = Raw::tcp(port).await;
        worker.kill().await;
        assert!(client.ended().await);
        assert!(
            tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_err()
        );
        let worker = Worker::start_on(port, replying(204)).await;
        assert_eq!(Raw::tcp(worker.port()).await.get("/").await.status(), 204);
    }

    #[tokio::test]
    async fn an_upgraded_connection_echoes() {
        let worker = Worker::start(upgrading()).await;
        let mut client = Raw::tcp(worker.port()).await;
        client
            .send("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
            .await;
        assert_eq!(client.reply().await.status(), 101);
        client.send("hello").await;
        assert_eq!(client.exact(5).await, b"hello");
    }

    #[tokio::test]
    async fn a_gate_holds_an_answer_back() {
        let gate = Gate::new();
        let worker = Worker::start(held(&gate)).await;
        let mut client = Raw::tcp(worker.port()).await;
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        worker.until_seen(1).await;
        gate.open();
        assert_eq!(client.reply().await.status(), 200);
    }
}
