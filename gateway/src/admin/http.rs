//! How do operators talk to us? HTTP/1.1 on a unix socket or TCP, one request after another.
//!
//! Promises: heads and bodies are bounded, and so is every wait; a body is read only from who may send one. Does not:
//! know what is asked.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::config::TEXT_BYTES_MAX;
use crate::http1::body::{Decoder, Piece};
use crate::http1::head::{BadHead, Limits, ParsedRequest, parse_request};
use crate::http1::write;
use crate::message::{BodyKind, Request};

/// An operator's connection that says or takes nothing is closed after this long.
const IDLE: Duration = Duration::from_secs(60);
/// Longest body, bytes: a whole configuration.
const BODY_BYTES_MAX: usize = TEXT_BYTES_MAX;

const LIMITS: Limits = Limits {
    head_bytes: 16 * 1024,
    target_bytes: 4096,
    fields: 100,
};

/// What operators are told.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Type of the body.
    pub kind: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// One field more.
    pub field: Option<(&'static str, &'static str)>,
}

impl Answer {
    /// In plain text.
    pub fn text(status: u16, text: &str) -> Answer {
        Answer::of(status, "text/plain", text.as_bytes().to_vec())
    }

    /// In JSON.
    pub fn json(status: u16, value: &Value) -> Answer {
        let mut body = value.to_string().into_bytes();
        body.push(b'\n');
        Answer::of(status, "application/json", body)
    }

    /// What was wrong and how it is mended.
    pub fn refused(status: u16, error: &str, fix: &str) -> Answer {
        Answer::json(status, &json!({ "error": error, "fix": fix }))
    }

    /// Of any type.
    pub fn of(status: u16, kind: &'static str, body: Vec<u8>) -> Answer {
        Answer {
            status,
            kind,
            body,
            field: None,
        }
    }

    fn bytes(&self, keep: bool, to_head: bool) -> BytesMut {
        let mut out = BytesMut::with_capacity(self.body.len() + 256);
        write::status_line(&mut out, self.status);
        write::field(&mut out, b"content-type", self.kind.as_bytes());
        write::number_field(&mut out, b"content-length", self.body.len() as u64);
        write::field(&mut out, b"cache-control", b"no-store");
        if let Some((name, value)) = self.field {
            write::field(&mut out, name.as_bytes(), value.as_bytes());
        }
        if !keep {
            write::field(&mut out, b"connection", b"close");
        }
        out.extend_from_slice(b"\r\n");
        if !to_head {
            out.extend_from_slice(&self.body);
        }
        out
    }
}

/// The next request on a connection; `None` where there is none.
pub async fn next<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    buf: &mut BytesMut,
) -> io::Result<Option<ParsedRequest>> {
    loop {
        match parse_request(buf, &LIMITS) {
            Ok(Some(parsed)) => return Ok(Some(parsed)),
            Ok(None) => {}
            Err(bad) => {
                last(stream, bad).await?;
                return Ok(None);
            }
        }
        if !more(stream, buf).await? {
            return Ok(None);
        }
    }
}

/// Sends an answer; `to_head` leaves its body out.
pub async fn send<S: AsyncWrite + Unpin>(
    stream: &mut S,
    answer: &Answer,
    keep: bool,
    to_head: bool,
) -> io::Result<()> {
    let out = answer.bytes(keep, to_head);
    // An operator who does not read must not keep the place of another.
    tokio::time::timeout(IDLE, stream.write_all(&out)).await??;
    if keep {
        Ok(())
    } else {
        stream.shutdown().await
    }
}

async fn last<S: AsyncWrite + Unpin>(stream: &mut S, bad: BadHead) -> io::Result<()> {
    let answer = Answer::refused(bad.status(), &bad.to_string(), "send a request of HTTP/1.1");
    send(stream, &answer, false, false).await
}

/// Reads once; false at the end, or when nothing came in time.
async fn more<S: AsyncRead + Unpin>(stream: &mut S, buf: &mut BytesMut) -> io::Result<bool> {
    match tokio::time::timeout(IDLE, stream.read_buf(buf)).await {
        Ok(read) => Ok(read? > 0),
        Err(_) => Ok(false),
    }
}

/// The whole body, or why it is refused.
pub async fn body<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    buf: &mut BytesMut,
    request: &Request,
) -> io::Result<Result<Vec<u8>, Answer>> {
    let mut body = Vec::new();
    if request.expects_continue && request.body != BodyKind::Empty {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let mut decoder = Decoder::new(request.body, LIMITS);
    loop {
        match decoder.decode(buf) {
            Ok(Piece::Data(data)) if body.len() + data.len() > BODY_BYTES_MAX => {
                let error = format!("the body has more than {BODY_BYTES_MAX} bytes");
                return Ok(Err(Answer::refused(413, &error, "send a configuration")));
            }
            Ok(Piece::Data(data)) => body.extend_from_slice(&data),
            Ok(Piece::End(_)) => return Ok(Ok(body)),
            Ok(Piece::More) => {
                if !more(stream, buf).await? {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Err(bad) => {
                let answer = Answer::refused(bad.status(), &bad.to_string(), "send HTTP/1.1");
                return Ok(Err(answer));
            }
        }
    }
}
