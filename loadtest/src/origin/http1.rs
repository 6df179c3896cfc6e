//! How does a worker of HTTP/1.1 answer? By the path:
//!
//! | Path | Answer |
//! |---|---|
//! | `…/bytes/N` | N bytes |
//! | `…/work/MS/N` | N bytes after MS milliseconds in one of the worker's slots |
//! | with `Upgrade: websocket` | 101, then silence |
//! | any other | 64 bytes that name the port |
//!
//! Bodies of requests are read and dropped. Requests must come with `Content-Length`.

use std::rc::Rc;
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::head::Head;

/// Bytes of the usual answer's body.
pub const SMALL: usize = 64;
const BUFFER: usize = 64 * 1024;
/// The answer to the key that RFC 6455 section 1.3 uses, which is the only key the generator sends.
const ACCEPTED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// One port of a range.
pub struct Worker {
    small: Vec<u8>,
    zeros: Vec<u8>,
    slots: Semaphore,
}

impl Worker {
    /// Answers are made once.
    pub fn new(port: u16, slots: Semaphore) -> Worker {
        let mut small = head_of(SMALL);
        small.extend_from_slice(format!("worker {port} ").as_bytes());
        small.resize(head_of(SMALL).len() + SMALL, b'.');
        Worker {
            small,
            zeros: vec![b'x'; BUFFER],
            slots,
        }
    }
}

fn head_of(length: usize) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
         Content-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes()
}

/// Serves a connection until its end.
pub async fn serve(mut socket: TcpStream, worker: Rc<Worker>) {
    // An error is the end of the connection, whoever caused it.
    let _ = exchanges(&mut socket, &worker).await;
}

async fn exchanges(socket: &mut TcpStream, worker: &Worker) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    loop {
        let (size, wish, body) = loop {
            if let Some(end) = memmem::find(&buffer[..filled], b"\r\n\r\n") {
                let head = &buffer[..end + 2];
                break (
                    end + 4,
                    Wish::of(head),
                    Head::content_length(head).unwrap_or(0),
                );
            }
            let got = socket.read(&mut buffer[filled..]).await?;
            if got == 0 {
                return Ok(());
            }
            filled += got;
        };
        // The body, as far as it is here already; then the rest of it.
        let here = body.min((filled - size) as u64);
        let used = size + here as usize;
        buffer.copy_within(used..filled, 0);
        filled -= used;
        let mut missing = body - here;
        while missing > 0 {
            let room = missing.min(BUFFER as u64) as usize;
            let got = socket.read(&mut buffer[..room]).await?;
            if got == 0 {
                return Ok(());
            }
            missing -= got as u64;
        }
        match wish {
            Wish::Small => socket.write_all(&worker.small).await?,
            Wish::Bytes(length) => send(socket, worker, length).await?,
            Wish::Work(time, length) => {
                let _slot = worker.slots.acquire().await;
                tokio::time::sleep(time).await;
                send(socket, worker, length).await?;
            }
            Wish::WebSocket => {
                socket.write_all(ACCEPTED).await?;
                return silence(socket, buffer).await;
            }
        }
    }
}

async fn send(socket: &mut TcpStream, worker: &Worker, length: u64) -> std::io::Result<()> {
    let mut first = head_of(length as usize);
    let with_it = length.min((BUFFER / 2) as u64);
    first.extend_from_slice(&worker.zeros[..with_it as usize]);
    socket.write_all(&first).await?;
    let mut missing = length - with_it;
    while missing > 0 {
        let room = missing.min(BUFFER as u64) as usize;
        socket.write_all(&worker.zeros[..room]).await?;
        missing -= room as u64;
    }
    Ok(())
}

/// Waits for the end without a buffer of its own.
async fn silence(socket: &mut TcpStream, buffer: Vec<u8>) -> std::io::Result<()> {
    drop(buffer);
    let mut small = [0; 64];
    while socket.read(&mut small).await? > 0 {}
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Small,
    Bytes(u64),
    Work(Duration, u64),
    WebSocket,
}

impl Wish {
    fn of(head: &[u8]) -> Wish {
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let path = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        // The common case costs one search over a short path.
        if let Some(at) = memmem::find(path, b"/bytes/") {
            return Wish::Bytes(number(&path[at + 7..]).0);
        }
        if let Some(at) = memmem::find(path, b"/work/") {
            let (time, rest) = number(&path[at + 6..]);
            let (length, _) = number(rest.get(1..).unwrap_or_default());
            return Wish::Work(Duration::from_millis(time), length);
        }
        if path.ends_with(b"/ws") {
            return Wish::WebSocket;
        }
        Wish::Small
    }
}

/// The digits at the start, and what follows them.
fn number(text: &[u8]) -> (u64, &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = text[..digits].iter().fold(0_u64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    (value, &text[digits..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(path: &str) -> Wish {
        Wish::of(format!("GET {path} HTTP/1.1\r\nHost: a\r\n").as_bytes())
    }

    #[test]
    fn the_path_says_what_is_wanted() {
        assert_eq!(wish("/ping"), Wish::Small);
        assert_eq!(wish("/bytes/1048576"), Wish::Bytes(1_048_576));
        assert_eq!(wish("/api/bytes/0?x=1"), Wish::Bytes(0));
        assert_eq!(
            wish("/ping/work/20/300"),
            Wish::Work(Duration::from_millis(20), 300)
        );
        assert_eq!(wish("/work/20"), Wish::Work(Duration::from_millis(20), 0));
        assert_eq!(wish("/ws"), Wish::WebSocket);
        assert_eq!(Wish::of(b""), Wish::Small);
    }

    #[test]
    fn the_usual_answer_has_the_length_it_tells() {
        let worker = Worker::new(20_001, Semaphore::new(1));
        let end = memmem::find(&worker.small, b"\r\n\r\n").unwrap();
        let length = Head::content_length(&worker.small[..end + 2]).unwrap();
        assert_eq!(worker.small.len() - end - 4, length as usize);
        assert!(memmem::find(&worker.small, b"worker 20001 ").is_some());
    }
}
