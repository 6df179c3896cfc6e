//! How does an HTTP/2 connection live? Streams served side by side, over the `h2` crate.
//!
//! Promises: floods end the connection, not the gateway; an idle connection is closed, one with streams is not; when
//! the gateway stops, streams that run are finished (GOAWAY, RFC 9113 section 6.8).

use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use http::Method;

use crate::config::model::ListenerLimits;
use crate::exchange::client::Client;
use crate::exchange::failure::{Answer, Failure};
use crate::exchange::flow::Source;
use crate::exchange::{Context, serve as serve_request};
use crate::heap::{self, Packed, What};
use crate::http1::head::{BadHead, valid_authority};
use crate::io::timer::Slot;
use crate::io::{Carrier, Progress};
use crate::listener::http1::linger;
use crate::message::{BodyKind, Fields, Request, Upgrade, Version};
use crate::shard::Refusal;

/// Tiny DATA frames that may wait to be read, by the measure of the `h2` crate: bursts of small gRPC messages are
/// normal, the crate's own default is 25 600.
const DATA_FRAME_BUDGET: usize = 16 * 1024 * 1024;

/// Streams that we ended early and of which more may still come, remembered for the 30 s of the `h2` crate: what comes for one
/// that is forgotten counts as an error of the client's, and it did nothing wrong. Below half a kilobyte each.
const RESETS_REMEMBERED: usize = 2_048;

/// A connection that has ended is read this long for what was written to arrive: a slow client still takes the end of its
/// last answer, and its window updates, left unread, would make the kernel reset the connection.
const LINGER: Duration = Duration::from_secs(10);

/// What a connection needs of its listener's limits after it has begun: all of them would weigh on it while it is idle.
#[derive(Clone, Copy)]
struct Kept {
    head_timeout: Duration,
    idle_timeout: Duration,
    body_timeout: Duration,
    heads: HeadLimits,
}

/// Bounds of a head: fields, bytes of the target, bytes of a field.
type HeadLimits = (usize, usize, Option<usize>);

impl Kept {
    fn of(limits: &ListenerLimits) -> Kept {
        Kept {
            head_timeout: limits.head_timeout,
            idle_timeout: limits.idle_timeout,
            body_timeout: limits.body_timeout,
            heads: (
                limits.fields_max,
                limits.target_bytes_max,
                limits.field_bytes_max,
            ),
        }
    }
}

/// Serves a connection to its end, and until the client has taken the end.
pub async fn serve(cx: Rc<Context>, carrier: Carrier) {
    let stream = carrier.stream();
    converse(&cx, carrier).await;
    linger(&stream, &cx.shard.timers.slot(), LINGER).await;
}

async fn converse(cx: &Rc<Context>, carrier: Carrier) {
    let limits = {
        let plan = cx.shard.shared.plan.load();
        Kept::of(&plan.listener(cx.listener).limits)
    };
    let slot = cx.shard.timers.slot();
    carrier.watch_refusals();
    let (progress, mut seen) = (carrier.progress(), 0);
    // What a connection needs to begin is not kept while it is idle.
    let begun = Packed::new(Box::pin(begin(cx, carrier, &slot))).await;
    let Some(mut connection) = begun else {
        return;
    };
    // The first request makes the connection's tables.
    let (mut what, mut asked) = (What::All, false);
    let open = Rc::new(Cell::new(0u32));
    let (mut stopping, mut armed) = (false, false);
    loop {
        let accepted = std::future::poll_fn(|task| {
            let accepted = heap::packed(what, || connection.poll_accept(task));
            tell_refused(cx, &progress);
            if accepted.is_ready() {
                return accepted;
            }
            if !stopping && cx.is_ending() {
                stopping = true;
                connection.graceful_shutdown();
                armed = false;
                task.waker().wake_by_ref();
            }
            if open.get() > 0 {
                if armed {
                    slot.clear();
                    armed = false;
                }
            } else if !armed {
                // A client that is told to go answers once more, or it is not there.
                slot.set(if stopping {
                    limits.head_timeout
                } else {
                    limits.idle_timeout
                });
                armed = true;
            }
            match slot.poll_expired(task) {
                Poll::Ready(()) if open.get() == 0 && progress.goes_on(&mut seen) => {
                    // All is answered, but a slow client is still taking it: cut now, it would lose the end.
                    slot.set(limits.body_timeout.max(limits.idle_timeout));
                    task.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Ready(()) if !stopping => {
                    // Idle: the client hears that it should open another connection, then this one ends.
                    stopping = true;
                    connection.graceful_shutdown();
                    slot.set(limits.head_timeout);
                    task.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Ready(()) if open.get() == 0 => Poll::Ready(None),
                _ => Poll::Pending,
            }
        })
        .await;
        match accepted {
            Some(Ok((request, respond))) => {
                if std::mem::replace(&mut asked, true) {
                    what = What::Buffers;
                }
                let is_alone = open.get() == 0;
                let (open, cx) = (Open::new(&open), cx.clone());
                let (head, recv) = request.into_parts();
                let request = request_of(head, &recv, limits.heads);
                let (mut source, mut client) = (Source::http2(recv), Client::Http2 { respond });
                let mut ahead = BytesMut::new();
                // Boxed, and written where it stays: a task is moved half a dozen times before it stands still, and this
                // one is long.
                let room = match is_alone {
                    // Likely the one long stream of its connection.
                    true => heap::packed(What::All, Box::new_uninit),
                    false => Box::new_uninit(),
                };
                let served = Box::write(room, async move {
                    let _open = &open;
                    match &request {
                        Ok(request) => {
                            serve_request(&cx, request, &mut source, &mut client, &mut ahead).await;
                        }
                        Err(bad) => refuse(&cx, &mut client, *bad).await,
                    }
                });
                tokio::task::spawn_local(Box::into_pin(served));
            }
            Some(Err(error)) => {
                tracing::debug!(%error, client = %cx.client, "HTTP/2 connection ended");
                if let Some(reason) = error.reason().filter(|_| error.is_library()) {
                    let plan = cx.shard.shared.plan.load();
                    let listener = &plan.listeners[usize::from(cx.listener.0)];
                    listener.metrics.end_http2(word(reason));
                }
                return;
            }
            None => return,
        }
    }
}

/// Tells of streams over `streams_max`: the library refuses them by itself.
fn tell_refused(cx: &Context, progress: &Progress) {
    let refused = progress.take_refused();
    if refused == 0 {
        return;
    }
    let plan = cx.shard.shared.plan.load();
    let listener = &plan.listeners[usize::from(cx.listener.0)];
    listener.metrics.refuse_streams(refused);
    let why = Refusal {
        tls_name: cx.tls_name.as_deref(),
        ..Refusal::of("streams_max")
    };
    for _ in 0..refused {
        cx.shard.tell_refused(cx.listener, cx.client, why);
    }
}

/// Waits for the client's preface.
async fn begin(
    cx: &Context,
    carrier: Carrier,
    slot: &Slot,
) -> Option<Box<h2::server::Connection<Carrier, Bytes>>> {
    let plan = cx.shard.shared.plan.load_full();
    let listener = plan.listener(cx.listener);
    let grpc = listener.protocol == crate::config::model::Protocol::Grpc;
    let limits = &listener.limits;
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(limits.http2.stream_window)
        // All streams' windows together: a stream whose worker is slow holds up no other.
        .initial_connection_window_size(limits.http2.connection_window.unwrap_or_else(|| {
            let all = limits
                .http2
                .stream_window
                .saturating_mul(limits.streams_max);
            all.clamp(1 << 20, 1 << 30)
        }))
        .max_concurrent_streams(limits.streams_max)
        .max_send_buffer_size(limits.http2.send_bytes_max)
        .max_frame_size(limits.http2.frame_bytes_max)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_reset_streams(limits.http2.resets_max.max(RESETS_REMEMBERED))
        .max_pending_accept_reset_streams(limits.http2.resets_max)
        .max_local_error_reset_streams(Some(limits.http2.errors_max))
        .data_frame_budget(DATA_FRAME_BUDGET);
    if !grpc {
        builder.enable_connect_protocol();
    }
    let preface = slot
        .within(
            limits.first_byte_timeout,
            builder.handshake::<_, Bytes>(carrier),
        )
        .await;
    match preface {
        Ok(Ok(connection)) => Some(Box::new(connection)),
        Ok(Err(error)) => {
            tracing::debug!(%error, client = %cx.client, "no HTTP/2 preface");
            None
        }
        Err(_) => None,
    }
}

/// The word for the metrics.
fn word(reason: h2::Reason) -> &'static str {
    match reason {
        h2::Reason::ENHANCE_YOUR_CALM => "enhance_your_calm",
        h2::Reason::PROTOCOL_ERROR => "protocol_error",
        h2::Reason::FRAME_SIZE_ERROR => "frame_size_error",
        h2::Reason::FLOW_CONTROL_ERROR => "flow_control_error",
        h2::Reason::COMPRESSION_ERROR => "compression_error",
        _ => "other",
    }
}

/// One stream more, until dropped.
struct Open(Rc<Cell<u32>>);

impl Open {
    fn new(open: &Rc<Cell<u32>>) -> Open {
        open.set(open.get() + 1);
        Open(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The head in the form that all exchanges share, under the same rules as HTTP/1 where both have them.
fn request_of(
    head: http::request::Parts,
    recv: &RecvStream,
    (fields_max, target_max, field_max): HeadLimits,
) -> Result<Request, BadHead> {
    let protocol = head
        .extensions
        .get::<h2::ext::Protocol>()
        .map(|protocol| protocol.as_str().to_owned());
    if head.method == Method::TRACE || (head.method == Method::CONNECT && protocol.is_none()) {
        return Err(BadHead::Method);
    }
    if head.headers.len() > fields_max {
        return Err(BadHead::TooLarge);
    }
    let host = head
        .headers
        .get(http::header::HOST)
        .map(|host| Bytes::copy_from_slice(host.as_bytes()));
    let authority = match (head.uri.authority(), host) {
        // RFC 9113 section 8.3.1: both may be there, but they say the same.
        (Some(authority), Some(host))
            if !host.eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            return Err(BadHead::Malformed("Host is not the authority"));
        }
        (Some(authority), _) => Bytes::copy_from_slice(authority.as_str().as_bytes()),
        (None, Some(host)) => host,
        (None, None) => return Err(BadHead::Malformed("no authority")),
    };
    if !valid_authority(&authority)
        || head
            .headers
            .get_all(http::header::HOST)
            .iter()
            .nth(1)
            .is_some()
    {
        return Err(BadHead::Malformed("authority"));
    }
    let target = head
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let target = Bytes::copy_from_slice(if target.is_empty() {
        b"/"
    } else {
        target.as_bytes()
    });
    if target.len() > target_max {
        return Err(BadHead::TargetTooLong);
    }
    if target.iter().any(|c| !(0x21..0x7f).contains(c))
        || !(target[0] == b'/' || &target[..] == b"*")
    {
        return Err(BadHead::Malformed("character in the target"));
    }
    let length = head
        .headers
        .get(http::header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse().ok());
    let body = match length {
        _ if recv.is_end_stream() => BodyKind::Empty,
        Some(length) => BodyKind::Length(length),
        None => BodyKind::Open,
    };
    let fields = Fields::Http2(head.headers);
    if field_max.is_some_and(|max| fields.longest(max) > max) {
        return Err(BadHead::TooLarge);
    }
    Ok(Request {
        method: head.method,
        authority,
        target,
        version: Version::Http2,
        expects_continue: false,
        fields,
        body,
        upgrade: protocol.map(Upgrade::Connect),
    })
}

async fn refuse(cx: &Context, client: &mut Client, bad: BadHead) {
    let plan = cx.shard.shared.plan.load_full();
    let grpc = plan.listener(cx.listener).protocol == crate::config::model::Protocol::Grpc;
    let mut summary = crate::exchange::finish::Summary::new(cx, &plan, "".into());
    let failure = Failure::BadHead(bad);
    let answer: Answer = failure.answer();
    summary.status = if grpc { 200 } else { answer.status };
    summary.end = failure.word();
    summary.detail = failure.detail();
    let _ = client.answer(None, answer, None, grpc, true).await;
    summary.finish_headless("HTTP/2.0");
}
