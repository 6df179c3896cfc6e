//! How is a wish granted? One response per wish; bodies are streamed, never built in memory.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::BodyExt;

use super::mirror;
use super::wish::Wish;

/// One piece of a large body: a power of two, so that lines of 64 bytes never break across pieces.
const PIECE: usize = 16 * 1024;
static PIECE_BYTES: [u8; PIECE] = piece();

/// Answers a wish.
pub async fn grant(wish: Wish, request: Request) -> Response {
    match wish {
        Wish::Health => "ok\n".into_response(),
        Wish::Sleep(time) => {
            tokio::time::sleep(time).await;
            format!("slept {} ms\n", time.as_millis()).into_response()
        }
        Wish::Bytes(length) => with_length(length, Body::from_stream(pieces(length))),
        Wish::Chunked(length) => Body::from_stream(pieces(length)).into_response(),
        Wish::Drip { lines, pause } => Body::from_stream(drip(lines, pause)).into_response(),
        Wish::Status(status) => (status, format!("{status}\n")).into_response(),
        Wish::Header(length) => large_field(length),
        Wish::Trailers => trailers(),
        Wish::Early(status) => early(status, request),
        Wish::Abort(length) => abort(length),
        Wish::Refused(reason) => mirror::refuse(StatusCode::BAD_REQUEST, &reason),
    }
}

/// Lines of 64 bytes, so that a body can be looked at and cut bytes are seen.
const fn piece() -> [u8; PIECE] {
    let mut bytes = [0; PIECE];
    let mut at = 0;
    while at < PIECE {
        bytes[at] = if at % 64 == 63 {
            b'\n'
        } else {
            b'a' + (at % 64 % 26) as u8
        };
        at += 1;
    }
    bytes
}

fn pieces(length: u64) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::iter((0..length).step_by(PIECE)).map(move |from| {
        let left = usize::try_from(length - from).unwrap_or(PIECE);
        Ok(Bytes::from_static(&PIECE_BYTES[..left.min(PIECE)]))
    })
}

fn with_length(length: u64, body: Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

fn drip(lines: u64, pause: Duration) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::iter(0..lines).then(move |index| async move {
        if index > 0 {
            tokio::time::sleep(pause).await;
        }
        Ok(Bytes::from(format!("{index}\n")))
    })
}

fn large_field(length: u64) -> Response {
    let filler = "x".repeat(usize::try_from(length).unwrap_or(0));
    let value = HeaderValue::from_str(&filler).expect("letters are a field value");
    ([(HeaderName::from_static("x-filler"), value)], "ok\n").into_response()
}

fn trailers() -> Response {
    let mut fields = HeaderMap::new();
    fields.insert("x-checksum", HeaderValue::from_static("none"));
    fields.insert("x-pieces", HeaderValue::from_static("3"));
    let body = Body::from_stream(drip(3, Duration::ZERO));
    let body = Body::new(body.with_trailers(async move { Some(Ok(fields)) }));
    // RFC 9110 section 6.6.2: the names are told ahead, or they may be dropped on the way.
    ([(header::TRAILER, "x-checksum, x-pieces")], body).into_response()
}

fn early(status: StatusCode, request: Request) -> Response {
    // The body is dropped unread on purpose: this is the worker that has heard enough.
    drop(request);
    (status, "not read\n").into_response()
}

fn abort(length: u64) -> Response {
    let broken = stream::once(async {
        // One turn of waiting makes the HTTP library send what it has before the end.
        tokio::task::yield_now().await;
        Err(io::Error::other("broken off as wished"))
    });
    with_length(length + 1, Body::from_stream(pieces(length).chain(broken)))
}
