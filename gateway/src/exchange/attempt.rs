//! How does one worker answer? One attempt: the request goes out, the response comes back, both at once.
//!
//! Promises: the two directions never wait for each other; an attempt that fails before the response began says how
//! much the worker may have seen, so that a retry is safe. Does not: choose workers or retry.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::Reason;
use h2::client::{ResponseFuture, SendRequest};

use crate::exchange::client::{Client, grpc_status};
use crate::exchange::failure::Failure;
use crate::exchange::flow::{Cause, FlowError, Framing, Pace, Replay, Side, Sink, Source, pump};
use crate::exchange::forward::{self, After, Passage};
use crate::http1::body::Decoder;
use crate::http1::head::{Limits, parse_response};
use crate::io::Stream;
use crate::io::timer::{Slot, Timers};
use crate::message::{BodyKind, Fields, Request, Response};
use crate::pool::Outcome;
use crate::shard::Shared;
use crate::upstream::Ticket;

/// Most 1xx responses passed on before the final one.
const INFORMATIONAL_MAX: u32 = 64;
/// A client that waits for `100 Continue` is told to go on after this long by us: not every worker knows the word.
const GO_ON: Duration = Duration::from_millis(300);
/// A worker that stopped reading the request has this long to say why.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A connection to a worker.
pub enum Connection {
    /// HTTP/1.1, and whether it was used before.
    Http1(Rc<Stream>, bool),
    /// A place in an HTTP/2 session.
    Http2(SendRequest<Bytes>, Ticket),
}

/// What is the same for every attempt of an exchange.
pub struct Job<'a> {
    /// The request.
    pub request: &'a Request,
    /// What the worker is told beside it.
    pub passage: Passage<'a>,
    /// The request was a HEAD.
    pub to_head: bool,
    /// The client speaks gRPC.
    pub grpc: bool,
    /// A WebSocket is asked for, and the pool can have it; the key is ours where the client has none.
    pub upgrade: Option<Option<String>>,
    /// Bounds on the worker's head.
    pub limits: Limits,
    /// Bounds in time and size.
    pub bounds: Bounds,
    /// The data thread's deadlines.
    pub timers: &'a Timers,
    /// Knows whether the gateway stops.
    pub shared: &'a Shared,
    /// Request body bytes.
    pub bytes_in: &'a Cell<u64>,
    /// Response body bytes.
    pub bytes_out: &'a Cell<u64>,
}

/// The time and size bounds of an exchange. Zero means none.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For the response's head, from the end of the request.
    pub response_timeout: Duration,
    /// Of the request's direction.
    pub request_pace: Pace,
    /// Of the response's direction.
    pub response_pace: Pace,
    /// A tunnel without a byte either way.
    pub tunnel_timeout: Duration,
    /// For the rest of a tunnel once one direction has ended.
    pub half_closed_timeout: Duration,
    /// For the client to take a head.
    pub patience: Duration,
}

/// What a worker may have seen of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Not a byte.
    Nothing,
    /// It said that it did not process it (RFC 9113 sections 6.8 and 8.7).
    Refused,
    /// Perhaps all; `stale` when a kept connection broke without a byte of an answer.
    Perhaps {
        /// The connection was used before.
        stale: bool,
    },
}

/// An attempt that failed before its response began.
#[derive(Debug)]
pub struct Lost {
    /// Why.
    pub failure: Failure,
    /// What the worker may have seen.
    pub sent: Sent,
    /// What the pool shall hear; nothing where the client is to blame.
    pub outcome: Option<Outcome>,
    /// The code with which the worker reset the stream.
    pub reset: Option<Reason>,
}

impl Lost {
    fn client(cause: &Cause) -> Lost {
        let failure = match cause {
            Cause::Timeout => Failure::ClientTimeout,
            Cause::TooLarge => Failure::BodyTooLarge,
            Cause::Framing(_) => Failure::BadBody,
            Cause::Io(_) | Cause::Truncated | Cause::Reset(_) | Cause::Lost => Failure::ClientGone,
        };
        Lost {
            failure,
            sent: Sent::Perhaps { stale: false },
            outcome: None,
            reset: None,
        }
    }

    fn worker(failure: Failure, sent: Sent, outcome: Outcome) -> Lost {
        Lost {
            failure,
            sent,
            outcome: Some(outcome),
            reset: None,
        }
    }

    fn gone(sent: Sent) -> Lost {
        Lost::worker(Failure::WorkerLost, sent, Outcome::ConnectionLost)
    }
}

/// An attempt whose response began.
pub struct Done {
    /// What the client saw.
    pub status: u16,
    /// `None` when all went well.
    pub failure: Option<Failure>,
    /// What the client's connection does next.
    pub after: After,
    /// The connection, where the worker allows another request on it.
    pub reusable: Option<Rc<Stream>>,
    /// The request body was not read whole.
    pub unread: bool,
}

/// Where the response comes from.
enum Reply {
    Http1 {
        stream: Rc<Stream>,
        buf: BytesMut,
        reused: bool,
    },
    Http2 {
        response: ResponseFuture,
        ticket: Ticket,
    },
}

enum Head {
    Informational(Response),
    Final(Response, bool, Option<Source>),
    Switch(Response),
}

/// How an attempt that was answered goes on.
enum Answered {
    Whole(Done),
    Switched(Response, Reply),
}

/// Tries. `on_head` hears of the response's status as soon as it is known, and whether a long stream begins.
/// `ahead` holds what was read from an HTTP/1 client beyond its request.
pub async fn attempt(
    job: &Job<'_>,
    body: &mut Replay,
    ahead: &mut BytesMut,
    client: &mut Client,
    connection: Connection,
    on_head: impl FnOnce(u16, bool),
) -> Result<Done, Lost> {
    match converse(job, body, client, connection, on_head).await? {
        Answered::Whole(done) => Ok(done),
        // Boxed: tunnels are rare and live long, requests are many and short.
        Answered::Switched(response, reply) => Ok(Box::pin(tunnel(
            job,
            body.take_source(),
            ahead,
            client,
            response,
            reply,
        ))
        .await),
    }
}

async fn converse(
    job: &Job<'_>,
    body: &mut Replay,
    client: &mut Client,
    connection: Connection,
    on_head: impl FnOnce(u16, bool),
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
    let go_on = job.timers.slot();
    let mut waits_for_100 = job.request.expects_continue;
    if waits_for_100 {
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
            job.bytes_in
        )),
    };
    let mut informed = 0;
    let head = loop {
        let head = std::future::poll_fn(|cx| {
            match sending.poll(cx) {
                Poll::Ready(Err(cause)) => return Poll::Ready(Err(Lost::client(&cause))),
                Poll::Ready(Ok(())) => timer.set(if sending.broken {
                    LAST_WORDS
                } else {
                    job.bounds.response_timeout
                }),
                Poll::Pending => {}
            }
            if let Poll::Ready(head) = reply.poll_head(cx, job) {
                return Poll::Ready(head);
            }
            if let Poll::Ready(cause) = client.poll_gone(cx) {
                return Poll::Ready(Err(Lost::client(&cause)));
            }
            if waits_for_100 && go_on.poll_expired(cx).is_ready() {
                return Poll::Ready(Ok(Head::Informational(Response::go_on())));
            }
            timer
                .poll_expired(cx)
                .map(|()| Err(reply.timed_out(sending.broken)))
        })
        .await?;
        match head {
            // It was told already.
            Head::Informational(response) if response.status == 100 && !waits_for_100 => {}
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
                inform(job, client, response).await?;
            }
            other => break other,
        }
    };
    timer.clear();
    committed.set(true);
    let (response, worker_keeps, from_worker) = match head {
        Head::Switch(response) => {
            on_head(response.status, true);
            return Ok(Answered::Switched(response, reply));
        }
        Head::Final(response, keeps, source) => (response, keeps, source),
        Head::Informational(_) => unreachable!("the loop above goes on after it"),
    };
    let status = response.status;
    on_head(status, job.grpc && sending.busy);
    if waits_for_100 && status < 300 {
        // A worker that agrees before it has read the body wants it.
        waits_for_100 = false;
        inform(job, client, Response::go_on()).await?;
    }
    let mut from_worker = from_worker.unwrap_or_else(|| reply.source(&response, job));
    // A worker that keeps its connection reads the rest of the request, so the client's can be kept as well. Who is
    // told `keep` sends its next request, which nobody would answer if the rest is not wanted or the gateway stops.
    let rest_is_read = worker_keeps && !waits_for_100 && !job.grpc;
    let in_step = !sending.broken && (!sending.busy || rest_is_read);
    let wanted = if client_keeps(client) && in_step && !job.shared.is_draining() {
        After::Keep
    } else {
        After::Close
    };
    let (mut to_client, after) = match client.start(response, job.to_head, wanted) {
        Ok(started) => started,
        Err(_) => return Ok(Answered::Whole(failed(status, Failure::ClientGone))),
    };
    let flowed = {
        let mut back = pin!(pump(
            &mut from_worker,
            &mut to_client,
            job.bounds.response_pace,
            &timer,
            job.bytes_out
        ));
        std::future::poll_fn(|cx| {
            if let Poll::Ready(Err(cause)) = sending.poll(cx) {
                return Poll::Ready(Err(FlowError {
                    side: Side::Sink,
                    cause,
                }));
            }
            back.as_mut().poll(cx)
        })
        .await
    };
    if let Err(error) = flowed {
        return Ok(Answered::Whole(
            broken_off(job, status, error, &mut to_client).await,
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

fn failed(status: u16, failure: Failure) -> Done {
    Done {
        status,
        failure: Some(failure),
        after: After::Close,
        reusable: None,
        unread: true,
    }
}

/// The response broke off: the client must not take it for whole.
async fn broken_off(job: &Job<'_>, status: u16, error: FlowError, to_client: &mut Sink) -> Done {
    if error.side == Side::Sink {
        to_client.reset(Reason::CANCEL);
        return failed(status, Lost::client(&error.cause).failure);
    }
    let failure = match error.cause {
        Cause::Timeout => Failure::WorkerTimeout,
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
            let _ = send.send_trailers(trailers);
        }
        (sink, _) => sink.reset(Reason::INTERNAL_ERROR),
    }
    failed(status, failure)
}

fn send_head(job: &Job<'_>, connection: Connection, has_body: bool) -> Result<(Sink, Reply), Lost> {
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

impl Reply {
    fn sent(&self) -> Sent {
        match self {
            Reply::Http1 { stream, .. } if !stream.wrote() => Sent::Nothing,
            Reply::Http1 { reused, buf, .. } => Sent::Perhaps {
                stale: *reused && buf.is_empty(),
            },
            Reply::Http2 { .. } => Sent::Perhaps { stale: false },
        }
    }

    fn timed_out(&self, broken: bool) -> Lost {
        if broken {
            return Lost::gone(self.sent());
        }
        Lost::worker(
            Failure::WorkerTimeout,
            Sent::Perhaps { stale: false },
            Outcome::ResponseTimeout,
        )
    }

    fn poll_head(&mut self, cx: &mut Task<'_>, job: &Job<'_>) -> Poll<Result<Head, Lost>> {
        match self {
            Reply::Http1 { stream, buf, .. } => loop {
                match parse_response(buf, &job.limits, job.to_head) {
                    Ok(Some(parsed)) if parsed.upgrade => {
                        return Poll::Ready(if job.upgrade.is_some() {
                            Ok(Head::Switch(parsed.response))
                        } else {
                            Err(Lost::worker(
                                Failure::BadAnswer,
                                Sent::Perhaps { stale: false },
                                Outcome::BadAnswer,
                            ))
                        });
                    }
                    Ok(Some(parsed)) if parsed.response.status < 200 => {
                        return Poll::Ready(Ok(Head::Informational(parsed.response)));
                    }
                    Ok(Some(parsed)) => {
                        return Poll::Ready(Ok(Head::Final(
                            parsed.response,
                            parsed.keep_alive,
                            None,
                        )));
                    }
                    Ok(None) => match ready!(stream.poll_fill(cx, buf)) {
                        Ok(0) | Err(_) => return Poll::Ready(Err(Lost::gone(self.sent()))),
                        Ok(_) => {}
                    },
                    Err(_) => {
                        return Poll::Ready(Err(Lost::worker(
                            Failure::BadAnswer,
                            Sent::Perhaps { stale: false },
                            Outcome::BadAnswer,
                        )));
                    }
                }
            },
            Reply::Http2 { response, ticket } => {
                if let Poll::Ready(Some(Ok(informational))) = response.poll_informational(cx) {
                    let (head, ()) = informational.into_parts();
                    return Poll::Ready(Ok(Head::Informational(Response {
                        status: head.status.as_u16(),
                        fields: Fields::Http2(head.headers),
                        body: BodyKind::Empty,
                    })));
                }
                Poll::Ready(match ready!(Pin::new(response).poll(cx)) {
                    Ok(response) => Ok(http2_head(response, job.to_head)),
                    Err(error) => Err(http2_lost(&error, ticket)),
                })
            }
        }
    }

    /// The body of an HTTP/1 response.
    fn source(&mut self, response: &Response, job: &Job<'_>) -> Source {
        match self {
            Reply::Http1 { stream, buf, .. } => Source::Http1 {
                stream: stream.clone(),
                buf: std::mem::take(buf),
                decoder: Decoder::new(response.body, job.limits),
            },
            Reply::Http2 { .. } => Source::Empty,
        }
    }
}

fn http2_head(response: http::Response<h2::RecvStream>, to_head: bool) -> Head {
    let (head, recv) = response.into_parts();
    let length = head
        .headers
        .get(http::header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse().ok());
    let body = match length {
        _ if to_head || recv.is_end_stream() => BodyKind::Empty,
        Some(length) => BodyKind::Length(length),
        None => BodyKind::Open,
    };
    let response = Response {
        status: head.status.as_u16(),
        fields: Fields::Http2(head.headers),
        body,
    };
    Head::Final(response, true, Some(Source::http2(recv)))
}

fn http2_lost(error: &h2::Error, ticket: &Ticket) -> Lost {
    let graceful =
        error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
    if error.is_go_away() || error.is_io() {
        ticket.retire();
    }
    if graceful
        || (error.is_reset() && error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM))
    {
        return Lost {
            outcome: None,
            ..Lost::gone(Sent::Refused)
        };
    }
    let reset = error
        .reason()
        .filter(|_| error.is_reset() && error.is_remote());
    Lost {
        reset,
        ..Lost::gone(Sent::Perhaps { stale: false })
    }
}

/// The worker has switched protocols: from here on bytes go both ways until both sides have ended.
async fn tunnel(
    job: &Job<'_>,
    from_client: Source,
    ahead: &mut BytesMut,
    client: &mut Client,
    response: Response,
    reply: Reply,
) -> Done {
    let Reply::Http1 { stream, buf, .. } = reply else {
        return failed(502, Failure::BadAnswer);
    };
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
    let Ok((mut to_client, _)) = client.start(response, false, After::Upgrade) else {
        return failed(status, Failure::ClientGone);
    };
    let head = job
        .timers
        .slot()
        .within(job.bounds.patience, to_client.flush())
        .await;
    if !matches!(head, Ok(Ok(()))) {
        return failed(status, Failure::ClientGone);
    }
    let mut from_worker = Source::Raw {
        stream: stream.clone(),
        buf,
    };
    let mut to_worker = Sink::Http1 {
        stream,
        out: BytesMut::new(),
        framing: Framing::Raw,
    };
    let never = Pace {
        read: Duration::ZERO,
        write: Duration::ZERO,
        bytes_max: 0,
    };
    let (there_timer, back_timer, idle) = (job.timers.slot(), job.timers.slot(), job.timers.slot());
    let failure = {
        let mut there = pin!(pump(
            &mut from_client,
            &mut to_worker,
            never,
            &there_timer,
            job.bytes_in
        ));
        let mut back = pin!(pump(
            &mut from_worker,
            &mut to_client,
            never,
            &back_timer,
            job.bytes_out
        ));
        let (mut there_done, mut back_done) = (false, false);
        let mut moved = 0;
        idle.set(job.bounds.tunnel_timeout);
        std::future::poll_fn(|cx| {
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
            let now = job.bytes_in.get() + job.bytes_out.get();
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
        failure,
        after: After::Close,
        reusable: None,
        unread: false,
    }
}
