//! How is the client answered? The two kinds of downstream, as an exchange needs them.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue};

use crate::exchange::failure::{Answer, GrpcStatus};
use crate::exchange::fields::Made;
use crate::exchange::flow::{Cause, Framing, Sink};
use crate::exchange::forward::{After, http1_response, http2_response};
use crate::heap::{self, What};
use crate::http1::write;
use crate::io::Stream;
use crate::message::{BodyKind, Request, Response, Version};

/// Bytes that a watched client may send beyond its request before it is not watched any more.
const EARLY_MAX: usize = 16 * 1024;

/// The client's side of an exchange.
pub enum Client {
    /// An HTTP/1 connection.
    Http1 {
        /// The connection.
        stream: Rc<Stream>,
        /// What it speaks.
        version: Version,
        /// It may carry another request afterwards.
        keep_alive: bool,
        /// Read beyond the request, where the client is watched; see [`Client::watch`].
        early: Option<BytesMut>,
    },
    /// A stream of an HTTP/2 connection.
    Http2 {
        /// Where the response goes.
        respond: SendResponse<Bytes>,
    },
}

impl Client {
    /// Passes a 1xx response on (RFC 9110 section 15.2).
    pub async fn inform(&mut self, response: Response) -> Result<(), Cause> {
        match self {
            // HTTP/1.0 knows no 1xx.
            Client::Http1 {
                version: Version::Http10,
                ..
            } => Ok(()),
            Client::Http1 {
                stream, version, ..
            } => {
                let mut out = BytesMut::new();
                http1_response(&mut out, &response, *version, false, After::Keep, None);
                stream.write_all(&out).await.map_err(Cause::Io)
            }
            Client::Http2 { respond } => respond
                .send_informational(http2_response(response, false, None))
                .map_err(|e| Cause::of(&e)),
        }
    }

    /// Begins the final response, changed as `made` says. The head goes out with the first bytes of the body, or when the sink is flushed.
    pub fn start(
        &mut self,
        response: Response,
        to_head: bool,
        after: After,
        made: Option<&Made<'_>>,
    ) -> Result<(Sink, After), Cause> {
        match self {
            Client::Http1 {
                stream, version, ..
            } => {
                let mut out = BytesMut::new();
                let (framing, after) =
                    http1_response(&mut out, &response, *version, to_head, after, made);
                let framing = if after == After::Upgrade {
                    Framing::Raw
                } else {
                    framing
                };
                Ok((
                    Sink::Http1 {
                        stream: stream.clone(),
                        out,
                        framing,
                    },
                    after,
                ))
            }
            Client::Http2 { respond } => {
                let bodiless = response.body == BodyKind::Empty
                    || to_head
                    || response.status == 204
                    || response.status == 304;
                let end = bodiless && after != After::Upgrade;
                let head = http2_response(response, to_head, made);
                // The first one makes a table of the connection's.
                let send = heap::packed(What::All, || respond.send_response(head, end))
                    .map_err(|e| Cause::of(&e))?;
                Ok((
                    if end {
                        Sink::None
                    } else {
                        Sink::Http2 { send }
                    },
                    After::Keep,
                ))
            }
        }
    }

    /// Answers by ourselves, with a short text or, on gRPC, as trailers only. Returns the bytes of the body.
    pub async fn answer(
        &mut self,
        request: Option<&Request>,
        answer: Answer<'_>,
        location: Option<&str>,
        grpc: bool,
        close: bool,
    ) -> Result<u64, Cause> {
        match self {
            Client::Http2 { respond } if grpc => {
                respond
                    .send_response(grpc_answer(answer), true)
                    .map_err(|e| Cause::of(&e))?;
                Ok(0)
            }
            Client::Http2 { respond } => http2_answer(respond, request, answer, location),
            Client::Http1 {
                stream,
                version,
                keep_alive,
                ..
            } => {
                let to_head = request.is_some_and(|request| request.method == http::Method::HEAD);
                let keep = *keep_alive && !close;
                *keep_alive = keep;
                let out = http1_answer(answer, location, *version, to_head, keep);
                stream.write_all(&out).await.map_err(Cause::Io)?;
                Ok(if to_head {
                    0
                } else {
                    body_of(answer).len() as u64
                })
            }
        }
    }

    /// From now on an HTTP/1 client that ends its side has left. For a client whose request was read to its end: what it
    /// sends beyond is kept for [`Client::take_early`].
    pub fn watch(&mut self) {
        if let Client::Http1 { early, .. } = self {
            early.get_or_insert_default();
        }
    }

    /// What a watched client has sent beyond its request goes behind what was read before.
    pub fn take_early(&mut self, ahead: &mut BytesMut) {
        if let Client::Http1 { early, .. } = self
            && let Some(early) = early.take()
            && !early.is_empty()
        {
            ahead.extend_from_slice(&early);
        }
    }

    /// Ready when the client has reset its stream. An HTTP/1 client is seen leaving only while it is watched.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Cause> {
        match self {
            Client::Http1 { early: None, .. } => Poll::Pending,
            Client::Http1 {
                stream,
                early: Some(early),
                ..
            } => loop {
                // Who sends so much beyond its request waits for its answer.
                if early.len() >= EARLY_MAX {
                    return Poll::Pending;
                }
                match ready!(stream.poll_fill(cx, early)) {
                    Ok(0) => return Poll::Ready(Cause::Lost),
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(Cause::Io(error)),
                }
            },
            Client::Http2 { respond } => match ready!(respond.poll_reset(cx)) {
                Ok(reason) => Poll::Ready(Cause::Reset(reason)),
                Err(error) => Poll::Ready(Cause::of(&error)),
            },
        }
    }

    /// Ends the stream with an error before any response was begun.
    pub fn reset(&mut self, reason: Reason) {
        if let Client::Http2 { respond } = self {
            respond.send_reset(reason);
        }
    }
}

/// Methods that are served, as `Allow` lists them.
pub(super) const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH";

/// The body of an answer of our own.
pub(super) fn body_of(answer: Answer) -> String {
    if answer.status == 302 || answer.status == 308 {
        String::new()
    } else {
        format!("{}\n", answer.text)
    }
}

/// A whole HTTP/1 response of our own.
pub fn http1_answer(
    answer: Answer<'_>,
    location: Option<&str>,
    version: Version,
    to_head: bool,
    keep: bool,
) -> BytesMut {
    let mut out = BytesMut::with_capacity(256);
    let body = body_of(answer);
    write::status_line(&mut out, answer.status);
    if let Some(location) = location {
        write::field(&mut out, b"location", location.as_bytes());
    }
    if let Some(seconds) = answer.retry_after {
        write::number_field(&mut out, b"retry-after", u64::from(seconds));
    }
    if answer.status == 405 {
        write::field(&mut out, b"allow", METHODS.as_bytes());
    }
    if !body.is_empty() {
        write::field(&mut out, b"content-type", b"text/plain; charset=utf-8");
    }
    write::number_field(&mut out, b"content-length", body.len() as u64);
    if !keep {
        write::field(&mut out, b"connection", b"close");
    } else if version == Version::Http10 {
        write::field(&mut out, b"connection", b"keep-alive");
    }
    out.extend_from_slice(b"\r\n");
    if !to_head {
        out.extend_from_slice(body.as_bytes());
    }
    out
}

fn http2_answer(
    respond: &mut SendResponse<Bytes>,
    request: Option<&Request>,
    answer: Answer<'_>,
    location: Option<&str>,
) -> Result<u64, Cause> {
    let body = body_of(answer);
    let mut head = http::Response::new(());
    *head.status_mut() =
        http::StatusCode::from_u16(answer.status).unwrap_or(http::StatusCode::BAD_GATEWAY);
    let map = head.headers_mut();
    if let Some(location) = location.and_then(|location| HeaderValue::from_str(location).ok()) {
        map.insert(http::header::LOCATION, location);
    }
    if let Some(seconds) = answer.retry_after {
        map.insert(http::header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    map.insert(http::header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let to_head = request.is_some_and(|request| request.method == http::Method::HEAD);
    if body.is_empty() || to_head {
        respond
            .send_response(head, true)
            .map_err(|e| Cause::of(&e))?;
        return Ok(0);
    }
    map.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    let mut send = respond
        .send_response(head, false)
        .map_err(|e| Cause::of(&e))?;
    let length = body.len() as u64;
    send.send_data(Bytes::from(body), true)
        .map_err(|e| Cause::of(&e))?;
    Ok(length)
}

/// A trailers-only response (gRPC over HTTP/2, "Responses").
fn grpc_answer(answer: Answer) -> http::Response<()> {
    let mut head = http::Response::new(());
    let map = head.headers_mut();
    map.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    grpc_status(map, answer.grpc, answer.text);
    head
}

/// `grpc-status` and its message.
pub fn grpc_status(map: &mut HeaderMap, status: GrpcStatus, text: &str) {
    map.insert("grpc-status", HeaderValue::from_static(status.code()));
    if let Ok(text) = HeaderValue::from_str(text) {
        map.insert("grpc-message", text);
    }
}
