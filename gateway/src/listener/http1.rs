//! How does an HTTP/1 connection live? One request after the other, answered in order.
//!
//! Promises: while idle it holds no buffer and a small task; a head has one deadline from its first byte to its last;
//! a connection that is closed with bytes of the client unread is closed so that the answer still arrives.

use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::BytesMut;

use crate::config::model::ListenerLimits;
use crate::exchange::client::{Client, http1_answer};
use crate::exchange::failure::Failure;
use crate::exchange::finish::Summary;
use crate::exchange::flow::Source;
use crate::exchange::forward::After;
use crate::exchange::{Context, serve as serve_request};
use crate::http1::body::Decoder;
use crate::http1::head::{BadHead, Limits, ParsedRequest, parse_request};
use crate::io::Stream;
use crate::io::timer::Slot;
use crate::message::{BodyKind, Version};

/// A connection being closed is read this long, and so far, for the answer to arrive (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1024 * 1024;
/// A connection that was opened as the gateway began to stop may still bring its first request, and one that was just
/// answered and told that it is kept may still bring another: closed at once, it would fail who sends it.
const LAST_CALL: Duration = Duration::from_secs(1);

enum Next {
    Request(Box<ParsedRequest>),
    /// Nothing more will come, or it took too long while idle.
    End,
    Bad(BadHead),
    /// The head did not come to its end in time.
    Slow,
}

/// Serves a connection to its end.
pub async fn serve(cx: Rc<Context>, stream: Rc<Stream>) {
    let slot = cx.shard.timers.slot();
    let mut buf = BytesMut::new();
    let mut first = true;
    loop {
        if buf.is_empty() {
            // Given up while idle.
            buf = BytesMut::new();
        }
        let next = next_request(&cx, &stream, &mut buf, &slot, first).await;
        first = false;
        let after = match next {
            Next::Request(parsed) => {
                // The box comes first, so that what goes into it is not built elsewhere and moved.
                let room = Box::new_uninit();
                Box::into_pin(Box::write(room, exchange(&cx, &stream, &mut buf, parsed))).await
            }
            Next::End => break,
            Next::Bad(bad) => {
                refuse(&cx, &stream, Failure::BadHead(bad)).await;
                After::Close
            }
            Next::Slow => {
                refuse(&cx, &stream, Failure::ClientTimeout).await;
                After::Close
            }
        };
        if after != After::Keep {
            linger(&stream, &slot, LINGER).await;
            return;
        }
    }
    let _ = slot
        .within(
            LINGER,
            std::future::poll_fn(|task| stream.poll_shutdown(task)),
        )
        .await;
}

fn limits_of(limits: &ListenerLimits) -> Limits {
    Limits {
        head_bytes: limits.head_bytes_max,
        target_bytes: limits.target_bytes_max,
        fields: limits.fields_max,
    }
}

async fn next_request(
    cx: &Context,
    stream: &Stream,
    buf: &mut BytesMut,
    slot: &Slot,
    first: bool,
) -> Next {
    let (limits, field_max, idle, head_timeout) = {
        let plan = cx.shard.shared.plan.load();
        let limits = &plan.listener(cx.listener).limits;
        let idle = if first {
            limits.first_byte_timeout
        } else {
            limits.idle_timeout
        };
        (
            limits_of(limits),
            limits.field_bytes_max,
            idle,
            limits.head_timeout,
        )
    };
    let mut begun = false;
    slot.set(idle);
    let since = cx.shard.timers.coarse_now();
    let mut called = false;
    // Bytes that were looked at and did not end a head.
    let mut seen = 0;
    let next = std::future::poll_fn(|task| {
        loop {
            // Only an LF ends anything: a head that drips in byte by byte is not read again at each of them.
            let worth =
                seen == 0 || seen > buf.len() || memchr::memchr(b'\n', &buf[seen..]).is_some();
            if !buf.is_empty() && (worth || buf.len() > limits.target_bytes) {
                match parse_request(buf, &limits) {
                    Ok(Some(parsed)) => {
                        let fields = &parsed.request.fields;
                        if field_max.is_some_and(|max| fields.longest(max) > max) {
                            return Poll::Ready(Next::Bad(BadHead::TooLarge));
                        }
                        return Poll::Ready(Next::Request(Box::new(parsed)));
                    }
                    Ok(None) => {}
                    Err(bad) => return Poll::Ready(Next::Bad(bad)),
                }
            }
            seen = buf.len();
            match stream.poll_fill(task, buf) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(Next::End),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    // Empty lines were taken off: they begin nothing (RFC 9112 section 2.2).
                    if !begun && !buf.is_empty() {
                        begun = true;
                        slot.set(head_timeout);
                    }
                    if !begun && !called && cx.is_ending() && !cx.shard.shared.is_handed_over() {
                        let waited = cx.shard.timers.coarse_now().duration_since(since);
                        let left = if first {
                            LAST_CALL
                        } else {
                            LAST_CALL.saturating_sub(waited)
                        };
                        if left.is_zero() {
                            return Poll::Ready(Next::End);
                        }
                        called = true;
                        slot.set(left);
                    }
                    ready!(slot.poll_expired(task));
                    return Poll::Ready(if begun { Next::Slow } else { Next::End });
                }
            }
        }
    })
    .await;
    slot.clear();
    next
}

async fn exchange(
    cx: &Context,
    stream: &Rc<Stream>,
    buf: &mut BytesMut,
    parsed: Box<ParsedRequest>,
) -> After {
    let request = &parsed.request;
    let mut source = match request.body {
        BodyKind::Empty => Source::Empty,
        kind => {
            let plan = cx.shard.shared.plan.load();
            let limits = limits_of(&plan.listener(cx.listener).limits);
            Source::Http1 {
                stream: stream.clone(),
                buf: std::mem::take(buf),
                decoder: Decoder::new(kind, limits),
            }
        }
    };
    let draining = cx.is_ending();
    let mut client = Client::Http1 {
        stream: stream.clone(),
        version: request.version,
        keep_alive: parsed.keep_alive && !draining,
        early: None,
    };
    serve_request(cx, request, &mut source, &mut client, buf).await
}

/// Answers a request whose head could not be taken, and tells the log.
async fn refuse(cx: &Context, stream: &Stream, failure: Failure) {
    let plan = cx.shard.shared.plan.load_full();
    let mut summary = Summary::new(cx, &plan, "".into());
    let answer = failure.answer();
    summary.status = answer.status;
    summary.end = failure.word();
    summary.detail = failure.detail();
    let out = http1_answer(answer, None, Version::Http11, false, false);
    let _ = cx
        .shard
        .timers
        .slot()
        .within(LINGER, stream.write_all(&out))
        .await;
    summary.finish_headless("HTTP/1.1");
}

/// Closes the sending side and reads what still comes: closing with bytes unread would make the kernel reset the
/// connection, and the client would lose the answer.
pub(super) async fn linger(stream: &Stream, slot: &Slot, patience: Duration) {
    let mut buf = BytesMut::new();
    let mut total = 0;
    let _ = slot
        .within(
            patience,
            std::future::poll_fn(|task| {
                if ready!(stream.poll_shutdown(task)).is_err() {
                    return Poll::Ready(());
                }
                loop {
                    buf.clear();
                    match ready!(stream.poll_fill(task, &mut buf)) {
                        Ok(n) if n > 0 && total < LINGER_BYTES => total += n,
                        _ => return Poll::Ready(()),
                    }
                }
            }),
        )
        .await;
}
