//! What happens to a request? From its head to its last byte: decide, admit, attempt (and attempt again), finish.

mod accept;
pub mod admit;
pub mod attempt;
pub mod client;
pub mod errors;
pub mod failure;
pub mod fields;
mod files;
pub mod finish;
mod fixed;
pub mod flow;
pub mod forward;
pub mod job;
mod leave;
mod mirror;
pub mod origin;
mod packing;
pub mod replay;
mod reply;
mod rewrite;
pub mod standby;
mod tunnel;
pub mod waits;
mod websocket;

use std::cell::Cell;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::Method;

use crate::config::model::{
    Forward, Listener, ListenerId, Maintenance, PoolId, Protocol, ProxyVersion, RouteId,
    WorkerProtocol,
};
use crate::http1::head::Limits;
use crate::io::proxy_protocol;
use crate::io::timer::{TICK, Timers};
use crate::message::{BodyKind, Known, Request, Response, Upgrade, Version};
use crate::plan::Plan;
use crate::pool::{Kind, Lease, Outcome, Pool, Want, WorkerId};
use crate::shard::{Flight, Shard};
use crate::tls::identity::Identity;
use crate::upstream::{ConnectError, Target};
use admit::Decision;
use attempt::attempt;
use client::Client;
use failure::{Answer, Failure, GrpcStatus};
use fields::{Filling, Made};
use finish::Summary;
use flow::{Pace, Source};
use forward::{After, Passage};
use job::{Bounds, Connection, Done, Job, Lost, Sent};
use replay::Replay;
use waits::Waits;

/// Attempts that failed before a byte was sent, in one exchange: a pool whose workers all went at once is learned
/// about one refusal at a time.
const UNSENT_MAX: u32 = 64;

/// What an exchange knows of the connection it came on.
pub struct Context {
    /// The data thread.
    pub shard: Rc<Shard>,
    /// The listener.
    pub listener: ListenerId,
    /// The client's address.
    pub client: SocketAddr,
    /// The same as text, without the port.
    pub client_text: String,
    /// Where the client came to.
    pub came_to: SocketAddr,
    /// TLS version, empty on plain connections.
    pub tls: &'static str,
    /// The name that the client asked for by TLS (SNI); of its own, because what the TLS library keeps is not shown.
    pub tls_name: Option<Box<str>>,
    /// What the client's certificate says, where it has shown one.
    pub certificate: Option<Box<Identity>>,
}

impl Context {
    /// Whether the connection should end after what it is doing: the gateway stops, or a reload took its listener away.
    pub fn is_ending(&self) -> bool {
        self.shard.shared.is_draining() || self.shard.shared.plan.load().is_gone(self.listener)
    }
}

/// Serves one request; says what the client's connection does next. `ahead` holds what was read beyond the request's
/// head where `source` does not.
pub async fn serve(
    cx: &Context,
    request: Request,
    source: Source,
    client: &mut Client,
    ahead: &mut BytesMut,
) -> After {
    let shard = &cx.shard;
    let plan = shard.shared.plan.load_full();
    let flight = match request.version {
        Version::Http2 => Flight::Http2,
        Version::Http10 | Version::Http11 => Flight::Http1,
    };
    let _counted = shard.shared.in_flight.begin(cx.listener, flight);
    let mut summary = Summary::new(cx, &plan, request_id(shard, &request));
    if let Some(tracer) = &shard.shared.tracer {
        let caller = request.fields.get("traceparent");
        summary.trace = tracer.begin(caller, || shard.random());
    }
    if let Some(trusted) = &plan.listener(cx.listener).forwarded {
        summary.origin = origin::of(trusted, cx.client.ip(), &request.fields);
    }
    // gRPC is HTTP/2 only: elsewhere its content type changes neither deadlines nor answers.
    let grpc = request.version == Version::Http2
        && (plan.listener(cx.listener).protocol == Protocol::Grpc || request.fields.is_grpc());
    let after = match admit::judge(
        &plan,
        cx.listener,
        summary.client(),
        cx.certificate.as_deref(),
        &request,
        summary.started,
    ) {
        Decision::Forward { route, target } => {
            summary.route = Some(route);
            forward(
                cx,
                &plan,
                &request,
                source,
                client,
                ahead,
                route,
                target,
                grpc,
                &mut summary,
            )
            .await
        }
        Decision::Answer { route } => {
            summary.route = Some(route);
            let done = source.is_done();
            // Boxed: rare beside requests that are forwarded.
            Box::pin(fixed::answer(
                &request,
                done,
                client,
                route,
                grpc,
                &mut summary,
            ))
            .await
        }
        Decision::Redirect { status, location } => {
            let answer = Answer {
                status,
                text: "see the address in Location",
                retry_after: None,
                grpc: GrpcStatus::Unavailable,
            };
            respond(
                &request,
                &source,
                client,
                answer,
                Some(&location),
                grpc,
                &mut summary,
            )
            .await
        }
        Decision::Refuse { route, failure } => {
            summary.route = route;
            refuse(
                &request,
                source.is_done(),
                client,
                failure,
                grpc,
                &mut summary,
            )
            .await
        }
    };
    summary.finish(&request);
    after
}

/// The client's id where it is fit for logs and headers, else a new one.
fn request_id(shard: &Shard, request: &Request) -> String {
    if let Some(id) = request.fields.known(Known::RequestId)
        && (1..=128).contains(&id.len())
        && id
            .iter()
            .all(|c| c.is_ascii_alphanumeric() || b"-_.:+/=".contains(c))
        && let Ok(id) = std::str::from_utf8(id)
    {
        return id.to_owned();
    }
    format!("{:016x}{:016x}", shard.random(), shard.random())
}

async fn respond(
    request: &Request,
    source: &Source,
    client: &mut Client,
    answer: Answer<'_>,
    location: Option<&str>,
    grpc: bool,
    summary: &mut Summary<'_>,
) -> After {
    let close = !source.is_done();
    say(request, client, answer, location, grpc, close, summary).await
}

/// Answers by ourselves. A client that does not take the answer is cut, like one that does not take a worker's.
async fn say(
    request: &Request,
    client: &mut Client,
    answer: Answer<'_>,
    location: Option<&str>,
    grpc: bool,
    close: bool,
    summary: &mut Summary<'_>,
) -> After {
    let page = match location {
        None if !grpc => errors::page(
            summary.plan,
            summary.cx.listener,
            summary.route,
            request,
            answer,
            &summary.request_id,
        ),
        _ => None,
    };
    if page.is_some() || (!grpc && fixed::is_changed(summary)) {
        let (response, body) = fixed::own(answer, location, page);
        let said = fixed::deliver(request, !close, client, response, body, summary);
        return Box::pin(said).await;
    }
    summary.status = if grpc { 200 } else { answer.status };
    if grpc {
        summary.tally.grpc_status.set(Some(answer.grpc.number()));
    }
    let close = close || summary.cx.shard.shared.is_draining();
    let said = client.answer(Some(request), answer, location, grpc, close);
    let timer = summary.cx.shard.timers.slot();
    match timer.within(summary.patience(), said).await {
        Ok(Ok(bytes)) => summary.tally.bytes_out.set(bytes),
        Ok(Err(_)) | Err(_) => return After::Close,
    }
    match client {
        Client::Http1 {
            keep_alive: true, ..
        }
        | Client::Http2 { .. } => After::Keep,
        Client::Http1 { .. } => After::Close,
    }
}

async fn refuse(
    request: &Request,
    body_done: bool,
    client: &mut Client,
    failure: Failure,
    grpc: bool,
    summary: &mut Summary<'_>,
) -> After {
    let answer = failure.answer();
    summary.refused(failure);
    if failure == Failure::ClientGone {
        return After::Close;
    }
    let close = !body_done || !failure.keeps_connection();
    say(request, client, answer, None, grpc, close, summary).await
}

/// The pool's protocol and the request's wishes brought together.
fn upgrade_of(
    shard: &Shard,
    request: &Request,
    pool: &Pool,
) -> Result<Option<Option<String>>, Failure> {
    let Some(upgrade) = &request.upgrade else {
        return Ok(None);
    };
    let possible = upgrade.is_websocket() && pool.model().protocol == WorkerProtocol::Http1;
    match upgrade {
        Upgrade::Http1(_) if possible => Ok(Some(None)),
        // Any other protocol is not offered: the request is served as if it had not asked (RFC 9110 section 7.8).
        Upgrade::Http1(_) => Ok(None),
        Upgrade::Connect(_) if possible => {
            let random = u128::from(shard.random()) << 64 | u128::from(shard.random());
            Ok(Some(Some(forward::websocket_key(random))))
        }
        Upgrade::Connect(_) => Err(Failure::NotImplemented),
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "the stages of one exchange share exactly these"
)]
async fn forward(
    cx: &Context,
    plan: &Arc<Plan>,
    request: &Request,
    source: Source,
    client: &mut Client,
    ahead: &mut BytesMut,
    route: RouteId,
    target: Option<Vec<u8>>,
    grpc: bool,
    summary: &mut Summary<'_>,
) -> After {
    let Some(forward) = plan.forward(route) else {
        return After::Close;
    };
    let body_bytes_max = plan.body_bytes_max(cx.listener, route);
    if admit::announces_too_much(request, body_bytes_max) {
        let failure = Failure::BodyTooLarge;
        return refuse(request, false, client, failure, grpc, summary).await;
    }
    // Held to the end of the exchange, or of the tunnel it becomes.
    let _place = match admit::enter(plan, route) {
        Ok(place) => place,
        Err(failure) => {
            return refuse(request, source.is_done(), client, failure, grpc, summary).await;
        }
    };
    summary.pool = Some(forward.pool);
    if let Some(closed) = plan.pool(forward.pool).turns_away(summary.client()) {
        let done = source.is_done();
        return Box::pin(turn_away(request, done, client, closed, grpc, summary)).await;
    }
    let chosen = standby::choose(plan, forward);
    let pool = plan.pool(chosen);
    summary.pool = Some(chosen);
    let upgrade = match upgrade_of(&cx.shard, request, pool) {
        Ok(upgrade) => upgrade,
        Err(failure) => return refuse(request, false, client, failure, grpc, summary).await,
    };
    let id = summary.request_id.clone();
    let origin = summary.origin.clone();
    let (made, response_made) = {
        let filling = Filling {
            cx,
            plan,
            request,
            request_id: &id,
            route: Some(route),
            origin: origin.as_deref(),
        };
        let made = Made::of(&forward.changes, &filling);
        (made, Made::of_response(&filling))
    };
    let tally = summary.tally.clone();
    let traceparent = summary.trace.map(|part| part.here.field());
    let has_caller = summary.trace.is_some_and(|part| part.parent.is_some());
    let mut job = Job {
        home: admit::home(pool, request),
        abort_on_close: pool.model().abort_on_close,
        told_to_go_on: false,
        passage: Passage {
            hidden_cookie: hidden_cookie(pool),
            target: target.as_deref().unwrap_or(&request.target),
            client: &cx.client_text,
            origin: origin.as_deref(),
            forwarded: plan.listener(cx.listener).forwarded_header,
            tls: !cx.tls.is_empty(),
            port: cx.came_to.port(),
            request_id: &id,
            certificate: cx.certificate.as_deref(),
            trace: traceparent.as_deref().map(|here| (here, has_caller)),
            to_tls: pool.model().tls.is_some(),
            made: &made,
        },
        made: response_made.as_deref(),
        intercepted: plan.intercepted(cx.listener, route),
        packer: plan.packer(cx.listener, route).filter(|_| !grpc),
        to_head: request.method == Method::HEAD,
        grpc,
        upgrade,
        limits: Limits {
            head_bytes: pool.model().head_bytes_max,
            target_bytes: 0,
            fields: 256,
        },
        timers: &cx.shard.timers,
        shared: &cx.shard.shared,
        tally: &tally,
        listener: cx.listener,
        request,
        bounds: bounds(
            plan.listener(cx.listener),
            pool,
            forward,
            body_bytes_max,
            grpc,
        ),
    };
    let mut body = Replay::new(source, pool.model().retry.body_bytes_max);
    if !body.is_empty() {
        body = body.within(&cx.shard.buffers);
    }
    // Streams have no end that could be waited for, and no copy.
    let is_stream = grpc || job.upgrade.is_some();
    if forward.mirror.is_some() && !is_stream {
        let lot = cx.shard.random();
        match mirror::begin(summary, plan, route, request, &job.passage, lot) {
            Some(copy) if body.is_empty() => copy.send(),
            Some(copy) => body.copy_to(copy),
            None => {}
        }
    }
    if let Some(limit) = forward.buffer_request.filter(|_| !is_stream)
        && worth_taking(request, limit)
    {
        let gathered = gather(&mut body, limit, client, &mut job);
        if let Err(failure) = Box::pin(gathered).await {
            summary.tally.bytes_in.set(body.kept_bytes() as u64);
            let done = body.is_received();
            return refuse(request, done, client, failure, grpc, summary).await;
        }
    }
    if job.abort_on_close && body.is_received() {
        client.watch();
    }
    let mut standing = Standing {
        plan,
        forward,
        chosen,
    };
    let ended = attempts(
        cx,
        &mut standing,
        &mut job,
        &mut body,
        ahead,
        client,
        summary,
    )
    .await;
    let source = body.take_source();
    let unread = !source.is_done();
    if !matches!(source, Source::Empty) {
        *ahead = source.into_buf();
    }
    client.take_early(ahead);
    match ended {
        Ok(done) => {
            summary.status = done.status;
            if let Some(failure) = done.failure {
                summary.end = failure.word();
            }
            if done.unread || unread {
                After::Close
            } else {
                done.after
            }
        }
        Err((failure, reset)) => match reset.filter(|_| matches!(client, Client::Http2 { .. })) {
            // The worker's own word for it goes to the client as it is.
            Some(reason) => {
                summary.end = failure.word();
                client.reset(reason);
                After::Keep
            }
            None => refuse(request, !unread, client, failure, grpc, summary).await,
        },
    }
}

/// Where a request goes, as long as it has no answer.
struct Standing<'a> {
    plan: &'a Plan,
    forward: &'a Forward,
    chosen: PoolId,
}

impl<'a> Standing<'a> {
    fn pool(&self) -> &'a Arc<Pool> {
        self.plan.pool(self.chosen)
    }

    /// Waits for a worker; `None` when another pool is to be asked.
    async fn unless_changed<T>(
        &self,
        timers: &Timers,
        waiting: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Option<T>, Failure> {
        standby::unless_changed(self.plan, self.forward, self.chosen, timers, waiting).await
    }

    /// Looks again where it goes; when that is elsewhere, the job is made to fit. Says whether it was.
    fn moves(&mut self, cx: &Context, job: &mut Job<'a>, summary: &mut Summary<'_>) -> bool {
        let chosen = standby::choose(self.plan, self.forward);
        if chosen == self.chosen {
            return false;
        }
        self.chosen = chosen;
        summary.pool = Some(chosen);
        let pool = self.pool();
        let listener = self.plan.listener(cx.listener);
        let body_bytes_max = job.bounds.request_pace.bytes_max;
        job.bounds = bounds(listener, pool, self.forward, body_bytes_max, job.grpc);
        job.limits.head_bytes = pool.model().head_bytes_max;
        job.home = admit::home(pool, job.request);
        job.abort_on_close = pool.model().abort_on_close;
        job.passage.hidden_cookie = hidden_cookie(pool);
        job.passage.to_tls = pool.model().tls.is_some();
        true
    }
}

/// Whether a body is to be taken before it goes on: not where there is none, and not one that is known to be longer.
fn worth_taking(request: &Request, limit: usize) -> bool {
    match request.body {
        BodyKind::Empty => false,
        BodyKind::Length(length) => length <= limit as u64,
        BodyKind::Open | BodyKind::UntilClose => true,
    }
}

/// Takes the request's body before a worker is asked for.
async fn gather(
    body: &mut Replay,
    limit: usize,
    client: &mut Client,
    job: &mut Job<'_>,
) -> Result<(), Failure> {
    let timer = job.timers.slot();
    if job.request.expects_continue {
        job.told_to_go_on = true;
        let told = client.inform(Response::go_on());
        let told = timer.within(job.bounds.patience, told).await;
        if !matches!(told, Ok(Ok(()))) {
            return Err(Failure::ClientGone);
        }
    }
    let Pace {
        read, bytes_max, ..
    } = job.bounds.request_pace;
    body.gather(limit, bytes_max, read, &timer).await
}

/// Answers for a pool in maintenance.
async fn turn_away(
    request: &Request,
    body_done: bool,
    client: &mut Client,
    closed: Maintenance,
    grpc: bool,
    summary: &mut Summary<'_>,
) -> After {
    summary.refused(Failure::Maintenance);
    let answer = Answer {
        text: &closed.text,
        retry_after: Some(closed.retry_after),
        ..Failure::Maintenance.answer()
    };
    say(request, client, answer, None, grpc, !body_done, summary).await
}

fn hidden_cookie(pool: &Pool) -> Option<&str> {
    let sticky = pool.model().sticky.as_ref()?;
    sticky.hide.then_some(&sticky.cookie)
}

/// The bounds of an exchange. Streams that live for days have none in time.
fn bounds(
    listener: &Listener,
    pool: &Pool,
    forward: &Forward,
    body_bytes_max: u64,
    grpc: bool,
) -> Bounds {
    let limits = &listener.limits;
    let model = pool.model();
    // A content type alone lifts no deadline: a pool that cannot speak gRPC has no streams that live for days.
    let endless = grpc && model.protocol == WorkerProtocol::H2c;
    let timed = |after: Duration| if endless { Duration::ZERO } else { after };
    Bounds {
        response_timeout: timed(forward.response_timeout.unwrap_or(model.response_timeout)),
        request_pace: Pace {
            read: timed(limits.body_timeout),
            write: timed(model.response_timeout),
            bytes_max: body_bytes_max,
        },
        response_pace: Pace {
            read: timed(model.body_timeout),
            write: timed(limits.body_timeout),
            bytes_max: 0,
        },
        tunnel_timeout: limits.tunnel_timeout,
        half_closed_timeout: limits.body_timeout,
        patience: limits.body_timeout,
    }
}

/// Tries workers until one answers, or nothing more can be tried.
async fn attempts<'a>(
    cx: &Context,
    standing: &mut Standing<'a>,
    job: &mut Job<'a>,
    body: &mut Replay,
    ahead: &mut BytesMut,
    client: &mut Client,
    summary: &mut Summary<'_>,
) -> Result<Done, (Failure, Option<h2::Reason>)> {
    let shard = &cx.shard;
    let mut pool = standing.pool();
    let mut key = admit::hash_key(pool, job.request, summary.client());
    let kind = if job.upgrade.is_some() {
        Kind::Stream
    } else {
        Kind::Request
    };
    pool.retry_budget().deposit();
    let mut tried: Vec<WorkerId> = Vec::new();
    let (mut unsent, mut retries, mut moved, mut backed_up) = (0, 0, 0, false);
    loop {
        let waits = Cell::new(Waits::default());
        let want = Want {
            key,
            home: job.home,
            avoid: &tried,
            random: 0,
            kind,
        };
        let admitting = admit::admit(pool, want, || shard.random(), &shard.timers, &waits);
        let admitting = standing.unless_changed(&shard.timers, admitting);
        let admitted = unless_gone(client, admitting).await;
        let waited = summary.waited(waits.get(), matches!(admitted, Ok(Some(_))));
        let Some(lease) = admitted.map_err(|failure| (failure, None))? else {
            moved += 1;
            if moved > UNSENT_MAX {
                return Err((Failure::NoWorker, None));
            }
            if standing.moves(cx, job, summary) {
                (pool, tried) = (standing.pool(), Vec::new());
                key = admit::hash_key(pool, job.request, summary.client());
            }
            continue;
        };
        if standing.chosen != standing.forward.pool && !backed_up {
            backed_up = true;
            let stood_in_for = standing.plan.pool(standing.forward.pool);
            let count = &stood_in_for.stats().backed_up;
            count.fetch_add(1, Ordering::Relaxed);
        }
        // The usual exchange needs no look at the clock here: nothing has taken time yet.
        if waited || summary.retries > 0 {
            summary.sent = Instant::now();
        }
        let worker = lease.worker();
        summary.goes_to(standing.chosen, &lease);
        let lost = match try_worker(cx, pool, job, body, ahead, client, lease, summary).await {
            Ok(done) => return Ok(done),
            Err(lost) => lost,
        };
        // A kept connection that had gone stale says nothing of the worker: it may have restarted since.
        let stale = lost.sent == Sent::Perhaps { stale: true };
        if let Some(outcome) = lost.outcome.filter(|_| !stale) {
            summary.pool_metrics().failed(word(outcome));
            report(pool, worker, outcome, Instant::now());
        }
        let again =
            body.rewind() && lost.failure != Failure::ClientGone && lost.outcome_allows_retry();
        let allowed = match lost.sent {
            _ if !again => false,
            Sent::Nothing | Sent::Refused | Sent::Perhaps { stale: true }
                if !safe(&lost, job.request) =>
            {
                false
            }
            // A refusal comes at once; each timeout costs the client its patience.
            Sent::Nothing if lost.outcome == Some(Outcome::ConnectTimeout) => {
                retries += 1;
                retries <= pool.model().retry.attempts_max
            }
            // Who is said to be up refuses, every one: an empty pool that discovery has not looked at yet.
            Sent::Nothing
                if lost.outcome == Some(Outcome::ConnectRefused) && tried.contains(&worker) =>
            {
                let goes_on = summary.started.elapsed() < pool.model().hold.time;
                if goes_on {
                    let since = Instant::now();
                    let paused = unless_gone(client, pause(&shard.timers)).await;
                    summary.waits.hold += since.elapsed();
                    paused.map_err(|failure| (failure, None))?;
                }
                goes_on
            }
            Sent::Nothing | Sent::Refused => {
                unsent += 1;
                unsent <= UNSENT_MAX
            }
            Sent::Perhaps { .. } => {
                retries += 1;
                retries <= pool.model().retry.attempts_max
                    && safe(&lost, job.request)
                    && (lost.sent == Sent::Perhaps { stale: true } || withdraw(pool))
            }
        };
        if !allowed {
            return Err((lost.failure, lost.reset));
        }
        pool.stats().retries.fetch_add(1, Ordering::Relaxed);
        summary.retries += 1;
        // The body begins again: what was counted of it counts once.
        job.tally.bytes_in.set(0);
        if standing.moves(cx, job, summary) {
            (pool, tried) = (standing.pool(), Vec::new());
            key = admit::hash_key(pool, job.request, summary.client());
        } else if !tried.contains(&worker) {
            tried.push(worker);
        }
    }
}

/// Takes a retry from the pool's budget, where there is one left.
fn withdraw(pool: &Pool) -> bool {
    let allowed = pool.retry_budget().withdraw(Instant::now());
    if !allowed {
        let denied = &pool.stats().retries_denied;
        denied.fetch_add(1, Ordering::Relaxed);
    }
    allowed
}

/// The word for the metrics.
fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Answered(_) => "answered",
        Outcome::ConnectRefused => "connect_refused",
        Outcome::ConnectTimeout => "connect_timeout",
        Outcome::ConnectionLost => "connection_lost",
        Outcome::ResponseTimeout => "response_timeout",
        Outcome::BadAnswer => "bad_answer",
    }
}

/// Gives discovery the time of a look.
async fn pause(timers: &Timers) -> Result<(), Failure> {
    let _ = timers
        .slot()
        .within(TICK, std::future::pending::<()>())
        .await;
    Ok(())
}

/// Waits for a worker; a client that leaves meanwhile gives its place in the queue up.
async fn unless_gone<T>(
    client: &mut Client,
    waiting: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut waiting = pin!(waiting);
    std::future::poll_fn(|cx| match waiting.as_mut().poll(cx) {
        Poll::Pending => client.poll_gone(cx).map(|_| Err(Failure::ClientGone)),
        ready => ready,
    })
    .await
}

/// Whether sending the request again cannot do its work twice.
fn safe(lost: &Lost, request: &Request) -> bool {
    match lost.sent {
        Sent::Nothing | Sent::Refused => true,
        Sent::Perhaps { .. } => [
            Method::GET,
            Method::HEAD,
            Method::OPTIONS,
            Method::PUT,
            Method::DELETE,
        ]
        .contains(&request.method),
    }
}

impl Lost {
    /// Another worker may do better; a client's own fault stays one, and who was slow once is not asked twice.
    fn outcome_allows_retry(&self) -> bool {
        match self.failure {
            Failure::WorkerLost | Failure::Connect => true,
            Failure::WorkerTimeout => self.sent == Sent::Nothing,
            _ => false,
        }
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "the stages of one exchange share exactly these"
)]
async fn try_worker(
    cx: &Context,
    pool: &Arc<Pool>,
    job: &Job<'_>,
    body: &mut Replay,
    ahead: &mut BytesMut,
    client: &mut Client,
    mut lease: Lease,
    summary: &mut Summary<'_>,
) -> Result<Done, Lost> {
    let (addr, worker) = (lease.addr(), lease.worker());
    // Who comes without our cookie, or cannot have the worker it names, gets one that names this worker.
    let cookie = match job.home {
        Some(home) if home == worker => None,
        _ => pool.set_cookie(worker, job.passage.proto() == b"https"),
    };
    let secure = pool.secure();
    let target = Target {
        addr,
        secure: secure.as_deref(),
    };
    let connection = connect(cx, pool, job, target, summary).await?;
    // Held to the end of the stream, if it becomes one.
    let mut long = None;
    let done = attempt(job, body, ahead, client, connection, |response, stream| {
        let now = Instant::now();
        summary.answered(now);
        report(pool, worker, Outcome::Answered(response.status), now);
        if let Some(cookie) = &cookie {
            response.fields.append("set-cookie", cookie.as_bytes());
        }
        if stream {
            lease.make_stream();
            long = Some(summary.enter_streams(job, pool, addr));
        }
    })
    .await?;
    // What was said of one client at the beginning of a connection is not true of the next.
    let shared = pool.model().send_proxy.is_none();
    if let Some(stream) = done.reusable.as_ref().filter(|_| shared) {
        cx.shard
            .upstream
            .put(target, stream.clone(), pool.model().idle_timeout);
    }
    // How a tunnel ends is its protocol's own: many close with bytes unread, which TCP tells as a reset.
    if done.failure == Some(Failure::WorkerLost) && job.upgrade.is_none() {
        let outcome = Outcome::ConnectionLost;
        summary.pool_metrics().failed(word(outcome));
        report(pool, worker, outcome, Instant::now());
    }
    drop(long);
    Ok(done)
}

/// A connection that is there already.
fn at_hand(
    cx: &Context,
    protocol: WorkerProtocol,
    job: &Job<'_>,
    target: Target<'_>,
) -> Option<Connection> {
    match protocol {
        WorkerProtocol::Http1 => {
            // A request that must not be sent twice asks the kernel first: a connection that is gone is found before.
            let careful = !safe(
                &Lost {
                    sent: Sent::Perhaps { stale: true },
                    ..Lost::unsent()
                },
                job.request,
            );
            let stream = cx.shard.upstream.take(target, careful)?;
            Some(Connection::Http1(stream, true))
        }
        WorkerProtocol::H2c => {
            let (send, ticket) = cx.shard.upstream.at_hand(target)?;
            Some(Connection::Http2(send, ticket))
        }
    }
}

async fn connect(
    cx: &Context,
    pool: &Pool,
    job: &Job<'_>,
    target: Target<'_>,
    summary: &mut Summary<'_>,
) -> Result<Connection, Lost> {
    let model = pool.model();
    let preface = model.send_proxy.map(|version| {
        let client = match job.passage.origin {
            // A hop does not tell which port its client had.
            Some(origin) if origin.client != cx.client.ip().to_canonical() => {
                SocketAddr::new(origin.client, 0)
            }
            _ => cx.client,
        };
        match version {
            ProxyVersion::V1 => proxy_protocol::v1(client, cx.came_to),
            ProxyVersion::V2 => proxy_protocol::v2(client, cx.came_to),
        }
    });
    if preface.is_none()
        && let Some(kept) = at_hand(cx, model.protocol, job, target)
    {
        return Ok(kept);
    }
    let began = Instant::now();
    let connected = match model.protocol {
        WorkerProtocol::Http1 => cx
            .shard
            .upstream
            .connect(target, model.connect_timeout, preface.as_deref())
            .await
            .map(|stream| Connection::Http1(Rc::new(stream), false)),
        WorkerProtocol::H2c => cx
            .shard
            .upstream
            .session(
                target,
                model.connect_timeout,
                model.streams_max,
                model.head_bytes_max,
                preface.as_deref(),
            )
            .await
            .map(|(send, ticket)| {
                ticket.keep_idle(model.idle_timeout);
                Connection::Http2(send, ticket)
            }),
    };
    let now = Instant::now();
    let taken = now - began;
    summary.connected(taken, now);
    if connected.is_ok() {
        summary.pool_metrics().connect.observe(taken);
    }
    if let Err(ConnectError::Tls(why)) = &connected
        && cx.shard.may_tell(now)
    {
        tracing::warn!(pool = pool.name(), worker = %target.addr, why, "TLS with a worker failed");
    }
    connected.map_err(|error| Lost {
        outcome: Some(match error {
            ConnectError::Refused => Outcome::ConnectRefused,
            ConnectError::Timeout => Outcome::ConnectTimeout,
            ConnectError::Other(_) | ConnectError::Tls(_) => Outcome::ConnectionLost,
        }),
        ..Lost::unsent()
    })
}

impl Lost {
    fn unsent() -> Lost {
        Lost {
            failure: Failure::Connect,
            sent: Sent::Nothing,
            outcome: None,
            reset: None,
        }
    }
}

fn report(pool: &Pool, worker: WorkerId, outcome: Outcome, now: Instant) {
    if let Some(transition) = pool.report(worker, outcome, now) {
        tracing::warn!(
            pool = pool.name(),
            worker = %transition.worker,
            from = transition.from.as_str(),
            to = transition.to.as_str(),
            reason = %transition.reason,
            "worker changed"
        );
    }
}
