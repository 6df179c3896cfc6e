//! What happens to a request? From its head to its last byte: decide, admit, attempt (and attempt again), finish.

mod accept;
pub mod admit;
mod answer;
pub mod attempt;
mod attempts;
pub mod client;
mod context;
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
mod reach;
pub mod replay;
mod reply;
mod rewrite;
pub mod standby;
mod standing;
mod tunnel;
pub mod waits;
mod websocket;

use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use http::Method;

use crate::config::model::{Protocol, RouteId, WorkerProtocol};
use crate::http1::head::Limits;
use crate::message::{BodyKind, Known, Request, Response, Upgrade, Version};
use crate::plan::Plan;
use crate::pool::Pool;
use crate::shard::{Flight, Shard};
use admit::Decision;
use answer::{refuse, respond, turn_away};
use attempts::attempts;
use client::Client;
pub use context::Context;
use failure::{Answer, Failure, GrpcStatus};
use fields::{Filling, Made};
use finish::Summary;
use flow::Source;
use forward::{After, Passage};
use job::Job;
use replay::Replay;
use standing::{Standing, bounds, hidden_cookie};

/// Serves one request; says what the client's connection does next. `ahead` holds what was read beyond the request's
/// head where `source` does not.
///
/// All comes by reference: an `async fn` holds what it is given by value twice, and streams are open for days.
pub async fn serve(
    cx: &Context,
    request: &Request,
    source: &mut Source,
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
    let mut summary = Summary::new(cx, &plan, request_id(shard, request));
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
        request,
        summary.started,
    ) {
        // What runs is finished first: it is what gives memory back.
        Decision::Forward { route, .. } if shard.shared.memory.is_reached() => {
            summary.route = Some(route);
            let (done, failure) = (source.is_done(), Failure::MemoryFull);
            refuse(request, done, client, failure, grpc, &mut summary).await
        }
        Decision::Forward { route, target } => {
            summary.route = Some(route);
            forward(
                cx,
                &plan,
                request,
                source,
                client,
                ahead,
                route,
                target.as_deref(),
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
                request,
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
                request,
                source,
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
                request,
                source.is_done(),
                client,
                failure,
                grpc,
                &mut summary,
            )
            .await
        }
    };
    summary.finish(request);
    after
}

/// The client's id where it is fit for logs and headers, else a new one.
fn request_id(shard: &Shard, request: &Request) -> Rc<str> {
    if let Some(id) = request.fields.known(Known::RequestId)
        && (1..=128).contains(&id.len())
        && id
            .iter()
            .all(|c| c.is_ascii_alphanumeric() || b"-_.:+/=".contains(c))
        && let Ok(id) = std::str::from_utf8(id)
    {
        return id.into();
    }
    hexadecimal([shard.random(), shard.random()])
}

/// 32 digits. Every request without an id of its own pays for it.
fn hexadecimal(numbers: [u64; 2]) -> Rc<str> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    let bytes = numbers.iter().flat_map(|number| number.to_be_bytes());
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    std::str::from_utf8(&text).unwrap_or_default().into()
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
    source: &mut Source,
    client: &mut Client,
    ahead: &mut BytesMut,
    route: RouteId,
    target: Option<&[u8]>,
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
            target: target.unwrap_or(&request.target),
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
    let source = std::mem::replace(source, Source::Empty);
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
    body.gather(limit, job.bounds.request_pace, &timer).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_with_all_their_digits() {
        let numbers = [0x0123_4567_89ab_cdef, 0xf];
        assert_eq!(
            *hexadecimal(numbers),
            *format!("{:016x}{:016x}", numbers[0], numbers[1])
        );
    }
}
