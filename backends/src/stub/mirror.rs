//! What did the worker see? The request as it arrived, as JSON.
//!
//! Fields stand in the order in which they arrived, as far as the HTTP library keeps it: values of
//! one name are together, names are in lower case. A body of any size is read and counted; the text
//! is repeated only where it is small and UTF-8. `body_fnv1a` (FNV-1a, 64 bits) lets a client check
//! that a large body came through whole.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::worker::Worker;

/// Bodies up to this many bytes are repeated in the answer.
const BODY_TEXT_MAX: usize = 64 * 1024;

/// Reads the whole request and tells what it was.
pub async fn tell(worker: &Worker, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let peer = head
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0.to_string());
    let seen = match read(body).await {
        Ok(seen) => seen,
        Err(problem) => return refuse(StatusCode::BAD_REQUEST, &problem.to_string()),
    };
    let target = match head.uri.path_and_query() {
        Some(target) => target.to_string(),
        None => head.uri.to_string(),
    };
    json_of(&json!({
        "service": worker.service,
        "port": worker.address.port(),
        "pid": worker.pid,
        "peer": peer,
        "method": head.method.as_str(),
        "target": target,
        "authority": head.uri.authority().map(|authority| authority.as_str()),
        "version": format!("{:?}", head.version),
        "headers": fields(&head.headers),
        "trailers": seen.trailers.as_ref().map(fields),
        "body_bytes": seen.bytes,
        "body_fnv1a": format!("{:016x}", seen.hash),
        "body": seen.text(),
    }))
}

/// An error of the worker's own, as JSON.
pub fn refuse(status: StatusCode, reason: &str) -> Response {
    (status, json_of(&json!({ "error": reason }))).into_response()
}

fn json_of(value: &Value) -> Response {
    let mut text = value.to_string();
    text.push('\n');
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn fields(headers: &HeaderMap) -> Vec<[String; 2]> {
    headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            [name.to_string(), value]
        })
        .collect()
}

/// What is kept of a body.
struct Seen {
    bytes: u64,
    hash: u64,
    start: Vec<u8>,
    trailers: Option<HeaderMap>,
}

impl Seen {
    /// The whole body where it is small, text and not empty.
    fn text(&self) -> Option<&str> {
        let whole = self.bytes == self.start.len() as u64 && self.bytes > 0;
        whole
            .then(|| std::str::from_utf8(&self.start).ok())
            .flatten()
    }
}

async fn read(mut body: Body) -> Result<Seen, axum::Error> {
    let mut seen = Seen {
        bytes: 0,
        hash: 0xcbf2_9ce4_8422_2325,
        start: Vec::new(),
        trailers: None,
    };
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                seen.bytes += data.len() as u64;
                seen.hash = fnv1a(seen.hash, &data);
                let room = BODY_TEXT_MAX - seen.start.len();
                seen.start.extend_from_slice(&data[..data.len().min(room)]);
            }
            Err(frame) => seen.trailers = frame.into_trailers().ok(),
        }
    }
    Ok(seen)
}

fn fnv1a(hash: u64, data: &[u8]) -> u64 {
    data.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_small_text_is_repeated_and_a_large_or_binary_body_is_only_counted() {
        for (body, text) in [
            (b"hello".to_vec(), Some("hello")),
            (vec![], None),
            (vec![0xff, 0xfe], None),
            (vec![b'a'; BODY_TEXT_MAX + 1], None),
        ] {
            let length = body.len() as u64;
            let seen = read(Body::from(body)).await.expect("a body in memory");
            assert_eq!((seen.bytes, seen.text()), (length, text));
        }
    }

    #[test]
    fn the_hash_is_the_published_one() {
        let hash = fnv1a(0xcbf2_9ce4_8422_2325, b"foobar");
        assert_eq!(hash, 0x8594_4171_f739_67e8);
    }
}
