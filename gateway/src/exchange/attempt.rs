//! How does one worker answer? One attempt: the request goes out, the response comes back, both at once.
//!
//! Promises: the two directions never wait for each other; an attempt that fails before the response began says how
//! much the worker may have seen, so that a retry is safe. Does not: choose workers or retry.

use std::pin::{Pin, pin};
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use h2::Reason;

use crate::exchange::client::{Client, grpc_status};
use crate::exchange::failure::Failure;
use crate::exchange::flow::{Cause, FlowError, Frame, Pull, Side, Sink, Source, Straight, pump};
use crate::exchange::forward::{self, After};
use crate::exchange::job::{Connection, Done, Job, Lost, Sent};
use crate::exchange::leave::Leave;
use crate::exchange::packing::{self, Packed};
use crate::exchange::replay::Replay;
use crate::exchange::reply::{Head, Reply};
use crate::io::timer::Slot;
use crate::message::{Fields, Response};
use crate::pool::Outcome;
use crate::shard::StreamKind;
use crate::shard::tally::OTHER_STATUS;

/// Most 1xx responses passed on before the final one.
const INFORMATIONAL_MAX: u32 = 64;
/// A client that waits for `100 Continue` is told to go on after this long by us: not every worker knows the word.
const GO_ON: Duration = Duration::from_millis(300);
/// A worker that stopped reading the request has this long to say why.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How an attempt that was answered goes on.
pub(super) enum Answered {
    /// It is over.
    Whole(Done),
    /// It becomes a tunnel, which is the caller's to run: with that response, of that worker.
    Switched(Response, Reply),
}

/// Hears of a response's head as soon as it is known and may add to it, and whether a long stream begins.
pub(super) type OnHead<'a> = &'a mut dyn FnMut(&mut Response, bool);

/// Tries.
pub(super) async fn converse(
    job: &Job<'_>,
    body: &mut Replay,
    client: &mut Client,
    connection: Connection,
    on_head: OnHead<'_>,
) -> Result<Answered, Lost> {
    let has_body = !body.is_empty() && job.upgrade.is_none();
    let (mut to_worker, mut reply) = send_head(job, connection, has_body)?;
    let timer = job.timers.slot();
    let request_timer = job.timers.slot();
    if !has_body {
        first_write(job, &mut to_worker, &reply, &timer).await?;
        timer.set(job.bounds.response_timeout);
    }
    let committed = body.commit_switch();
    let mut waits_for_100 = job.request.expects_continue && !job.told_to_go_on;
    let go_on = waits_for_100.then(|| job.timers.slot());
    if let Some(go_on) = &go_on {
        go_on.set(GO_ON);
    }
    let mut sending = Sending {
        busy: has_body,
        broken: false,
        pump: pin!(pump(
            body,
            &mut to_worker,
            job.bounds.request_pace,
            &request_timer,
            &job.tally.bytes_in
        )),
    };
    let mut informed = 0;
    let mut leave = job.grpc.then(|| Leave::new(StreamKind::Call));
    let mut has_to_leave = |cx: &mut Task<'_>| {
        let leave = leave.as_mut();
        leave.is_some_and(|leave| leave.poll(cx, job.shared, job.timers).is_ready())
    };
    // Blocks within blocks: what is not named any more when the body flows takes no room while it does.
    let (status, worker_keeps, mut from_worker, encoder, rest_is_read, mut to_client, after) = {
        let (mut response, worker_keeps, from_worker) = {
            let head = loop {
                let informing = {
                    let head = std::future::poll_fn(|cx| {
                        if has_to_leave(cx) {
                            return Poll::Ready(Err(Lost::client(&Cause::Stopping)));
                        }
                        match sending.poll(cx) {
                            Poll::Ready(Err(cause)) => {
                                return Poll::Ready(Err(Lost::client(&cause)));
                            }
                            Poll::Ready(Ok(())) => {
                                if job.abort_on_close && !sending.broken {
                                    client.watch();
                                }
                                timer.set(if sending.broken {
                                    LAST_WORDS
                                } else {
                                    job.bounds.response_timeout
                                });
                            }
                            Poll::Pending => {}
                        }
                        if let Poll::Ready(head) = reply.poll_head(cx, job) {
                            return Poll::Ready(head);
                        }
                        if let Poll::Ready(cause) = client.poll_gone(cx) {
                            return Poll::Ready(Err(Lost::client(&cause)));
                        }
                        if let Some(go_on) = go_on.as_ref().filter(|_| waits_for_100)
                            && go_on.poll_expired(cx).is_ready()
                        {
                            return Poll::Ready(Ok(Head::Informational(Response::go_on())));
                        }
                        timer
                            .poll_expired(cx)
                            .map(|()| Err(reply.timed_out(sending.broken)))
                    })
                    .await?;
                    match head {
                        // It was told already.
                        Head::Informational(response)
                            if response.status == 100 && !waits_for_100 =>
                        {
                            continue;
                        }
                        Head::Informational(_) if informed >= INFORMATIONAL_MAX => {
                            return Err(Lost::worker(
                                Failure::BadAnswer,
                                Sent::Perhaps { stale: false },
                                Outcome::BadAnswer,
                            ));
                        }
                        Head::Informational(response) => {
                            informed += 1;
                            waits_for_100 &= response.status != 100;
                            Box::pin(inform(job, client, response))
                        }
                        other => break other,
                    }
                };
                informing.await?;
            };
            timer.clear();
            committed.set(true);
            match head {
                Head::Switch(mut response) => {
                    on_head(&mut response, true);
                    return Ok(Answered::Switched(response, reply));
                }
                Head::Final(response, keeps, source) => (response, keeps, source),
                Head::Informational(_) => unreachable!("the loop above goes on after it"),
            }
        };
        let status = response.status;
        on_head(&mut response, job.grpc && sending.busy);
        if let Some(failure) = intercepted(job, &response) {
            return Err(Lost {
                failure,
                sent: Sent::Perhaps { stale: false },
                outcome: None,
                reset: None,
            });
        }
        if waits_for_100 && status < 300 {
            // A worker that agrees before it has read the body wants it.
            waits_for_100 = false;
            Box::pin(inform(job, client, Response::go_on())).await?;
        }
        if job.grpc {
            note_status(job, &response.fields);
        }
        let from_worker = from_worker.unwrap_or_else(|| reply.source(&response, job));
        let encoder = job
            .packer
            .and_then(|packer| packing::begin(packer, job.request, &mut response));
        // A worker that keeps its connection reads the rest of the request, so the client's can be kept as well. Who is
        // told `keep` sends its next request, which nobody would answer if the rest is not wanted or the gateway stops.
        let rest_is_read = worker_keeps && !waits_for_100 && !job.grpc;
        let in_step = !sending.broken && (!sending.busy || rest_is_read);
        let wanted = if client_keeps(client) && in_step && !job.shared.is_draining() {
            After::Keep
        } else {
            After::Close
        };
        let (to_client, after) = match client.start(response, job.to_head, wanted, job.made) {
            Ok(started) => started,
            Err(_) => return Ok(Answered::Whole(Done::failed(status, Failure::ClientGone))),
        };
        (
            status,
            worker_keeps,
            from_worker,
            encoder,
            rest_is_read,
            to_client,
            after,
        )
    };
    let flowed = {
        let mut heard = Packed::new(Heard(&mut from_worker, job), encoder);
        let mut back = pin!(pump(
            &mut heard,
            &mut to_client,
            job.bounds.response_pace,
            &timer,
            &job.tally.bytes_out
        ));
        std::future::poll_fn(|cx| {
            if let Poll::Ready(Err(cause)) = sending.poll(cx) {
                return Poll::Ready(Err(FlowError {
                    side: Side::Sink,
                    cause,
                }));
            }
            if has_to_leave(cx) {
                let (side, cause) = (Side::Source, Cause::Stopping);
                return Poll::Ready(Err(FlowError { side, cause }));
            }
            back.as_mut().poll(cx)
        })
        .await
    };
    if let Err(error) = flowed {
        return Ok(Answered::Whole(
            Box::pin(broken_off(job, status, error, &mut to_client)).await,
        ));
    }
    // The worker answered early and reads on: what it still wants, it gets.
    if sending.busy && rest_is_read {
        let _ = std::future::poll_fn(|cx| sending.poll(cx)).await;
    }
    let sent_whole = !sending.busy && !sending.broken;
    let reusable = match (reply, from_worker) {
        (Reply::Http1 { stream, .. }, Source::Http1 { buf, decoder, .. })
            if worker_keeps && sent_whole && decoder.is_done() && buf.is_empty() =>
        {
            Some(stream)
        }
        _ => None,
    };
    Ok(Answered::Whole(Done {
        status,
        failure: None,
        after,
        reusable,
        unread: !sent_whole,
    }))
}

/// Whether an answer of ours takes the place of the worker's.
fn intercepted(job: &Job<'_>, response: &Response) -> Option<Failure> {
    let status = response.status;
    let covered = job.intercepted.iter().any(|s| s.contains(status));
    // These tell the client what it needs to go on; and a call has its own way to fail.
    if !covered || job.grpc || matches!(status, 401 | 407 | 426) {
        return None;
    }
    let retry_after = response.fields.get("retry-after");
    Some(Failure::Intercepted {
        status,
        retry_after: retry_after.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok()),
    })
}

/// The response's body, whose trailers are looked at as they pass.
struct Heard<'a>(&'a mut Source, &'a Job<'a>);

impl Pull for Heard<'_> {
    fn poll_pull(&mut self, cx: &mut Task<'_>) -> Poll<Result<Frame, Cause>> {
        let pulled = self.0.poll_next(cx);
        if let Poll::Ready(Ok(Frame::End(Some(trailers)))) = &pulled
            && self.1.grpc
        {
            note_status(self.1, trailers);
        }
        pulled
    }

    fn is_last(&self) -> bool {
        self.0.is_done()
    }

    fn straight(&mut self) -> Option<Straight<'_>> {
        self.0.straight()
    }
}

/// Remembers how a gRPC call ended; a number that gRPC does not have is remembered as one.
fn note_status(job: &Job<'_>, fields: &Fields) {
    if let Some(status) = fields.get("grpc-status") {
        let number = std::str::from_utf8(status)
            .ok()
            .and_then(|n| n.parse().ok());
        let number = number.unwrap_or(OTHER_STATUS).min(OTHER_STATUS);
        job.tally.grpc_status.set(Some(number));
    }
}

/// Passes a 1xx response on. A client that does not take it is gone: nothing can be said behind half a head.
async fn inform(job: &Job<'_>, client: &mut Client, response: Response) -> Result<(), Lost> {
    let timer = job.timers.slot();
    match timer
        .within(job.bounds.patience, client.inform(response))
        .await
    {
        Ok(Ok(())) => Ok(()),
        Ok(Err(cause)) => Err(Lost::client(&cause)),
        Err(_) => Err(Lost::client(&Cause::Lost)),
    }
}

/// The request's direction, polled beside the response's.
struct Sending<'p, F: Future<Output = Result<(), FlowError>>> {
    /// It is not over.
    busy: bool,
    /// The worker takes no more.
    broken: bool,
    pump: Pin<&'p mut F>,
}

impl<F: Future<Output = Result<(), FlowError>>> Sending<'_, F> {
    /// Ready once: when all was sent or the worker takes no more; an error when the client failed.
    fn poll(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), Cause>> {
        if !self.busy {
            return Poll::Pending;
        }
        let result = ready!(self.pump.as_mut().poll(cx));
        self.busy = false;
        Poll::Ready(match result {
            Ok(()) => Ok(()),
            Err(FlowError {
                side: Side::Sink, ..
            }) => {
                self.broken = true;
                Ok(())
            }
            Err(FlowError {
                side: Side::Source,
                cause,
            }) => {
                self.broken = true;
                Err(cause)
            }
        })
    }
}

fn client_keeps(client: &Client) -> bool {
    match client {
        Client::Http1 { keep_alive, .. } => *keep_alive,
        Client::Http2 { .. } => true,
    }
}
/// The response broke off: the client must not take it for whole.
async fn broken_off(job: &Job<'_>, status: u16, error: FlowError, to_client: &mut Sink) -> Done {
    if error.side == Side::Sink {
        to_client.reset(Reason::CANCEL);
        return Done::failed(status, Lost::client(&error.cause).failure);
    }
    let failure = match error.cause {
        Cause::Timeout => Failure::WorkerTimeout,
        Cause::Stopping => Failure::Stopping,
        Cause::Framing(_) | Cause::TooLarge => Failure::BadAnswer,
        Cause::Io(_) | Cause::Truncated | Cause::Reset(_) | Cause::Lost => Failure::WorkerLost,
    };
    // What was received in order is given out before the end is told.
    let timer = job.timers.slot();
    let _ = timer.within(job.bounds.patience, to_client.flush()).await;
    match (to_client, error.cause) {
        (sink @ Sink::Http2 { .. }, Cause::Reset(reason)) => sink.reset(reason),
        (Sink::Http2 { send }, _) if job.grpc => {
            let mut trailers = http::HeaderMap::new();
            let answer = failure.answer();
            grpc_status(&mut trailers, answer.grpc, answer.text);
            job.tally.grpc_status.set(Some(answer.grpc.number()));
            let _ = send.send_trailers(trailers);
        }
        (sink, _) => sink.reset(Reason::INTERNAL_ERROR),
    }
    Done::failed(status, failure)
}

pub(super) fn send_head(
    job: &Job<'_>,
    connection: Connection,
    has_body: bool,
) -> Result<(Sink, Reply), Lost> {
    match connection {
        Connection::Http1(stream, reused) => {
            stream.mark();
            let mut out = BytesMut::new();
            let key = job.upgrade.as_ref().and_then(Option::as_deref);
            let framing = forward::http1_request(
                &mut out,
                job.request,
                &job.passage,
                job.upgrade.is_some(),
                key,
            );
            let sink = Sink::Http1 {
                stream: stream.clone(),
                out,
                framing,
            };
            Ok((
                sink,
                Reply::Http1 {
                    stream,
                    buf: BytesMut::new(),
                    reused,
                },
            ))
        }
        Connection::Http2(mut send, ticket) => {
            let head = forward::http2_request(job.request, &job.passage).ok_or(Lost {
                failure: Failure::BadPath,
                sent: Sent::Nothing,
                outcome: None,
                reset: None,
            })?;
            match send.send_request(head, !has_body) {
                Ok((response, sink)) => {
                    let sink = if has_body {
                        Sink::Http2 { send: sink }
                    } else {
                        Sink::None
                    };
                    Ok((sink, Reply::Http2 { response, ticket }))
                }
                // The session was ended meanwhile, which each of its streams has heard: what broke is told there, and
                // a graceful end is no failure.
                Err(_) => {
                    ticket.retire();
                    Err(Lost {
                        outcome: None,
                        ..Lost::gone(Sent::Nothing)
                    })
                }
            }
        }
    }
}

/// Sends a request without a body in one write.
async fn first_write(
    job: &Job<'_>,
    to_worker: &mut Sink,
    reply: &Reply,
    timer: &Slot,
) -> Result<(), Lost> {
    match timer
        .within(job.bounds.response_timeout, to_worker.flush())
        .await
    {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Lost::gone(reply.sent())),
        Err(_) => Err(reply.timed_out(false)),
    }
}
