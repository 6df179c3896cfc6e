//! Is a response compressed on its way, and how? RFC 9110 sections 8.4 and 12.5.3.
//!
//! Promises: only what the configuration names is touched, never streams of events, calls, parts, what is packed already
//! or what forbids it; nothing that a worker has said is held back for more of it; caches are told what the answer depends
//! on. Does not: unpack anything.

use std::task::{Context as Task, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};

use crate::compress::Encoder;
use crate::config::model::{Algorithm, Compress};
use crate::exchange::accept;
use crate::exchange::flow::{Cause, Frame, Pull, Straight};
use crate::exchange::forward;
use crate::message::{BodyKind, Request, Response, Version};
use crate::plan::Packer;

/// Output is handed on from this many bytes.
const PIECE: usize = 16 * 1024;
/// Pieces taken in a row without anything to hand on, before others of the data thread have their turn.
const PIECES_MAX: u32 = 8;

/// Decides, and changes the head of a response that is compressed.
pub(super) fn begin(
    packer: Packer<'_>,
    request: &Request,
    response: &mut Response,
) -> Option<Encoder> {
    let Packer { compress, places } = packer;
    if !is_eligible(compress, response) {
        return None;
    }
    let map = forward::into_map(response);
    // Whatever this client takes, others get something else (RFC 9110 section 12.5.5).
    let varies = map
        .get_all(header::VARY)
        .iter()
        .any(|value| has_token(value.as_bytes(), b"accept-encoding") || value == "*");
    if !varies {
        map.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    // HTTP/1.0 would lose the end of the body, and a HEAD has none.
    if request.method == Method::HEAD || request.version == Version::Http10 {
        return None;
    }
    let names: Vec<&str> = compress.algorithms.iter().map(|a| a.name()).collect();
    let best = *accept::encodings(&request.fields, &names).first()?;
    let algorithm: Algorithm = *compress.algorithms.iter().find(|a| a.name() == best)?;
    let place = places.enter()?;
    let encoder = Encoder::new(algorithm, compress.effort, place).ok()?;
    map.insert(header::CONTENT_ENCODING, HeaderValue::from_static(best));
    map.remove(header::CONTENT_LENGTH);
    // Parts would be parts of something else.
    map.remove(header::ACCEPT_RANGES);
    weaken(map);
    response.body = BodyKind::Open;
    Some(encoder)
}

/// Another representation has another strong validator; a weak one they may share (RFC 9110 section 8.8.1).
fn weaken(map: &mut HeaderMap) {
    let Some(tag) = map.get(header::ETAG) else {
        return;
    };
    if tag.as_bytes().starts_with(b"\"") {
        let weak = [b"W/", tag.as_bytes()].concat();
        match HeaderValue::from_bytes(&weak) {
            Ok(weak) => map.insert(header::ETAG, weak),
            Err(_) => map.remove(header::ETAG),
        };
    }
}

fn is_eligible(compress: &Compress, response: &Response) -> bool {
    let long_enough = match response.body {
        BodyKind::Empty => false,
        BodyKind::Length(length) => length >= compress.min_bytes,
        BodyKind::Open | BodyKind::UntilClose => true,
    };
    if !long_enough || response.status < 200 || matches!(response.status, 204..=206 | 304) {
        return false;
    }
    let fields = &response.fields;
    // A digest covers the bytes as they are (RFC 9530).
    let untouchable = [
        "content-encoding",
        "content-range",
        "content-digest",
        "repr-digest",
        "digest",
        "content-md5",
    ];
    if untouchable.iter().any(|name| fields.get(name).is_some()) {
        return false;
    }
    let mut transforms = true;
    fields.for_each(|_, name, value| {
        transforms &=
            !(name.eq_ignore_ascii_case(b"cache-control") && has_token(value, b"no-transform"));
    });
    let kind = fields.get("content-type").unwrap_or_default();
    transforms && compress.covers(kind)
}

fn has_token(list: &[u8], token: &[u8]) -> bool {
    crate::message::list_has(list, token)
}

/// A body, compressed as it passes if there is an encoder.
pub(super) struct Packed<P> {
    inner: P,
    /// Boxed: most bodies pass as they are.
    state: Option<Box<State>>,
}

struct State {
    /// None behind the end.
    encoder: Option<Encoder>,
    /// Put in since the last flush.
    unflushed: bool,
    /// The end, once it has come and the last bytes were handed on before it.
    end: Option<Frame>,
}

impl<P: Pull> Packed<P> {
    /// `inner` as it is, or compressed.
    pub(super) fn new(inner: P, encoder: Option<Encoder>) -> Packed<P> {
        let state = |encoder| {
            Box::new(State {
                encoder: Some(encoder),
                unflushed: false,
                end: None,
            })
        };
        Packed {
            inner,
            state: encoder.map(state),
        }
    }
}

impl State {
    fn pull(&mut self, inner: &mut impl Pull, cx: &mut Task<'_>) -> Poll<Result<Frame, Cause>> {
        if let Some(end) = self.end.take() {
            return Poll::Ready(Ok(end));
        }
        let mut ready: Vec<Bytes> = Vec::new();
        let mut length = 0;
        for _ in 0..PIECES_MAX {
            let Some(encoder) = &mut self.encoder else {
                return Poll::Ready(Ok(Frame::End(None)));
            };
            let mut pause = false;
            let out = match inner.poll_pull(cx) {
                Poll::Ready(Ok(Frame::Data(data))) => {
                    self.unflushed = true;
                    encoder.put(&data)
                }
                Poll::Ready(Ok(end @ Frame::End(_))) => {
                    self.end = Some(end);
                    match self.encoder.take() {
                        Some(encoder) => encoder.finish(),
                        None => Ok(Bytes::new()),
                    }
                }
                Poll::Ready(Err(cause)) => return Poll::Ready(Err(cause)),
                // The worker has no more for now: the client gets what there is.
                Poll::Pending if self.unflushed => {
                    self.unflushed = false;
                    pause = true;
                    encoder.flush()
                }
                Poll::Pending if length == 0 => return Poll::Pending,
                Poll::Pending => break,
            };
            let out = out.map_err(Cause::Io)?;
            length += out.len();
            if !out.is_empty() {
                ready.push(out);
            }
            if length >= PIECE || pause || self.end.is_some() {
                break;
            }
        }
        if length > 0 {
            return Poll::Ready(Ok(Frame::Data(joined(ready))));
        }
        if let Some(end) = self.end.take() {
            return Poll::Ready(Ok(end));
        }
        // Much went in and nothing came out: others first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn joined(mut pieces: Vec<Bytes>) -> Bytes {
    match pieces.len() {
        1 => pieces.swap_remove(0),
        _ => pieces.concat().into(),
    }
}

impl<P: Pull> Pull for Packed<P> {
    fn poll_pull(&mut self, cx: &mut Task<'_>) -> Poll<Result<Frame, Cause>> {
        match &mut self.state {
            None => self.inner.poll_pull(cx),
            Some(state) => state.pull(&mut self.inner, cx),
        }
    }

    fn is_last(&self) -> bool {
        self.state.is_none() && self.inner.is_last()
    }

    fn straight(&mut self) -> Option<Straight<'_>> {
        match &self.state {
            None => self.inner.straight(),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::Read;
    use std::sync::Arc;
    use std::task::Waker;

    use super::*;
    use crate::compress::Places;
    use crate::config::model::Effort;
    use crate::message::Fields;

    fn compress() -> Compress {
        Compress {
            types: Compress::TYPES.map(str::to_owned).to_vec(),
            ..Compress::default()
        }
    }

    fn response(status: u16, fields: &[(&'static str, &str)], body: BodyKind) -> Response {
        let mut map = HeaderMap::new();
        map.insert("content-type", "text/html; charset=utf-8".parse().unwrap());
        for (name, value) in fields {
            map.insert(*name, value.parse().unwrap());
        }
        Response {
            status,
            fields: Fields::Http2(map),
            body,
        }
    }

    #[test]
    fn only_what_is_worth_it_and_may_be_touched_is() {
        let long = BodyKind::Length(5000);
        for (status, fields, body, want) in [
            (200, &[][..], long, true),
            (200, &[], BodyKind::Open, true),
            (503, &[], long, true),
            (
                200,
                &[("content-type", "Application/Vnd.Api+JSON")],
                long,
                true,
            ),
            (200, &[("cache-control", "public, max-age=5")], long, true),
            (200, &[], BodyKind::Length(1023), false),
            (200, &[], BodyKind::Empty, false),
            (204, &[], long, false),
            (206, &[], long, false),
            (304, &[], long, false),
            (200, &[("content-type", "image/png")], long, false),
            (200, &[("content-type", "")], long, false),
            (
                200,
                &[("content-type", "text/event-stream")],
                BodyKind::Open,
                false,
            ),
            (
                200,
                &[("content-type", "application/grpc+json")],
                long,
                false,
            ),
            (200, &[("content-encoding", "gzip")], long, false),
            (200, &[("content-range", "bytes 0-1/2")], long, false),
            (200, &[("content-digest", "sha-256=:x:")], long, false),
            (
                200,
                &[("cache-control", "max-age=5, No-Transform")],
                long,
                false,
            ),
        ] {
            let answer = response(status, fields, body);
            assert_eq!(
                is_eligible(&compress(), &answer),
                want,
                "{status} {fields:?} {body:?}"
            );
        }
    }

    /// Pieces with pauses between them, then the end.
    struct Slowly(VecDeque<Option<&'static [u8]>>);

    impl Pull for Slowly {
        fn poll_pull(&mut self, _: &mut Task<'_>) -> Poll<Result<Frame, Cause>> {
            match self.0.pop_front() {
                Some(Some(data)) => Poll::Ready(Ok(Frame::Data(Bytes::from_static(data)))),
                Some(None) => Poll::Pending,
                None => Poll::Ready(Ok(Frame::End(None))),
            }
        }
    }

    fn packed(pieces: &[Option<&'static [u8]>]) -> Packed<Slowly> {
        let place = Arc::new(Places::default()).enter().unwrap();
        let encoder = Encoder::new(Algorithm::Gzip, Effort::Fast, place).unwrap();
        Packed::new(Slowly(pieces.iter().copied().collect()), Some(encoder))
    }

    fn unpacked(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let _ = flate2::read::GzDecoder::new(bytes).read_to_end(&mut out);
        out
    }

    #[test]
    fn what_the_worker_has_said_is_not_held_back() {
        let mut cx = Task::from_waker(Waker::noop());
        let mut body = packed(&[Some(b"one"), None, Some(b" two"), None, None]);
        let mut seen = Vec::new();
        for want in [&b"one"[..], b"one two"] {
            let Poll::Ready(Ok(Frame::Data(data))) = body.poll_pull(&mut cx) else {
                panic!("a flushed piece");
            };
            seen.extend_from_slice(&data);
            assert_eq!(unpacked(&seen), want);
        }
        assert!(body.poll_pull(&mut cx).is_pending());
        let Poll::Ready(Ok(Frame::Data(data))) = body.poll_pull(&mut cx) else {
            panic!("the last bytes");
        };
        seen.extend_from_slice(&data);
        let end = body.poll_pull(&mut cx);
        assert!(matches!(end, Poll::Ready(Ok(Frame::End(None)))));
        let mut whole = String::new();
        flate2::read::GzDecoder::new(&seen[..])
            .read_to_string(&mut whole)
            .expect("a whole stream");
        assert_eq!(whole, "one two");
    }

    #[test]
    fn much_that_becomes_little_lets_others_have_their_turn() {
        let mut cx = Task::from_waker(Waker::noop());
        static ZEROS: [u8; 60_000] = [0; 60_000];
        let mut body = packed(&[Some(&ZEROS[..]); 40]);
        let mut turns = 0;
        loop {
            turns += 1;
            match body.poll_pull(&mut cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(Frame::End(_))) => break,
                Poll::Ready(Ok(Frame::Data(data))) => assert!(!data.is_empty()),
                Poll::Ready(Err(cause)) => panic!("{cause:?}"),
            }
        }
        assert!(
            turns > 40 / PIECES_MAX,
            "no more than {PIECES_MAX} in a row"
        );
    }
}
