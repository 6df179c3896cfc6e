//! How do long streams live once they have left HTTP? Bytes both ways until both sides have ended.
//!
//! Promises: no direction waits for the other; silence is limited only where the configuration says so. When the gateway
//! stops, a WebSocket's client is told so between two frames; its own Close frame, passed on, tells the worker.

use std::cell::Cell;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use h2::Reason;

use crate::exchange::client::Client;
use crate::exchange::failure::Failure;
use crate::exchange::flow::{Framing, Pace, Side, Sink, Source, pump};
use crate::exchange::forward::After;
use crate::exchange::job::{Done, Job};
use crate::exchange::leave::Leave;
use crate::exchange::reply::Reply;
use crate::exchange::websocket::Parting;
use crate::io::timer::Slot;
use crate::message::Response;
use crate::shard::StreamKind;

/// From the moment that a stream has to go: until the worker's frame is over, the client has answered and both sides have
/// closed.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// The worker has switched protocols: from here on bytes go both ways until both sides have ended.
pub(super) async fn tunnel(
    job: &Job<'_>,
    from_client: Source,
    ahead: &mut BytesMut,
    client: &mut Client,
    response: Response,
    reply: Reply,
) -> Done {
    let Reply::Http1 { stream, buf, .. } = reply else {
        return Done::failed(502, Failure::BadAnswer);
    };
    client.take_early(ahead);
    let mut from_client = match client {
        Client::Http1 { stream, .. } => Source::Raw {
            stream: stream.clone(),
            buf: std::mem::take(ahead),
        },
        Client::Http2 { .. } => from_client,
    };
    let http2 = matches!(client, Client::Http2 { .. });
    let response = if http2 {
        Response {
            status: 200,
            ..response
        }
    } else {
        response
    };
    let status = response.status;
    let Ok((mut to_client, _)) = client.start(response, false, After::Upgrade, job.made) else {
        return Done::failed(status, Failure::ClientGone);
    };
    let head = job
        .timers
        .slot()
        .within(job.bounds.patience, to_client.flush())
        .await;
    if !matches!(head, Ok(Ok(()))) {
        return Done::failed(status, Failure::ClientGone);
    }
    let asked = Cell::new(false);
    let from_worker = Source::Raw {
        stream: stream.clone(),
        buf,
    };
    let mut from_worker = Parting::new(from_worker, &asked);
    let mut to_worker = Sink::Http1 {
        stream,
        out: BytesMut::new(),
        framing: Framing::Raw,
    };
    let never = Pace {
        read: Duration::ZERO,
        write: Duration::ZERO,
        bytes_max: 0,
        read_rate_min: 0,
        write_rate_min: 0,
    };
    let (there_timer, back_timer, idle) = (job.timers.slot(), job.timers.slot(), job.timers.slot());
    let failure = {
        let mut there = pin!(pump(
            &mut from_client,
            &mut to_worker,
            never,
            &there_timer,
            &job.tally.bytes_in
        ));
        let mut back = pin!(pump(
            &mut from_worker,
            &mut to_client,
            never,
            &back_timer,
            &job.tally.bytes_out
        ));
        let (mut there_done, mut back_done) = (false, false);
        let mut moved = 0;
        let mut leave = Leave::new(StreamKind::Socket);
        let mut last: Option<Slot> = None;
        idle.set(job.bounds.tunnel_timeout);
        std::future::poll_fn(|cx| {
            if last.is_none() && leave.poll(cx, job.shared, job.timers).is_ready() {
                asked.set(true);
                let slot = job.timers.slot();
                slot.set(LAST_WORDS);
                last = Some(slot);
            }
            let before = (there_done, back_done);
            for (done, worker, result) in [
                (
                    &mut there_done,
                    Side::Sink,
                    (!before.0).then(|| there.as_mut().poll(cx)),
                ),
                (
                    &mut back_done,
                    Side::Source,
                    (!before.1).then(|| back.as_mut().poll(cx)),
                ),
            ] {
                match result {
                    Some(Poll::Ready(Ok(()))) => *done = true,
                    Some(Poll::Ready(Err(error))) if error.side == worker => {
                        return Poll::Ready(Some(Failure::WorkerLost));
                    }
                    Some(Poll::Ready(Err(_))) => return Poll::Ready(Some(Failure::ClientGone)),
                    Some(Poll::Pending) | None => {}
                }
            }
            if there_done && back_done {
                return Poll::Ready(None);
            }
            if let Some(last) = &last
                && last.poll_expired(cx).is_ready()
            {
                return Poll::Ready(Some(Failure::Stopping));
            }
            let now = job.tally.bytes_in.get() + job.tally.bytes_out.get();
            let half = there_done || back_done;
            if now != moved || (there_done, back_done) != before {
                moved = now;
                idle.set(if half {
                    job.bounds.half_closed_timeout
                } else {
                    job.bounds.tunnel_timeout
                });
            }
            idle.poll_expired(cx).map(|()| Some(Failure::ClientTimeout))
        })
        .await
    };
    if failure.is_some() {
        to_client.reset(Reason::CANCEL);
    }
    Done {
        status,
        // However it ended then: it did because we asked.
        failure: if asked.get() {
            Some(Failure::Stopping)
        } else {
            failure
        },
        after: After::Close,
        reusable: None,
        unread: false,
    }
}
