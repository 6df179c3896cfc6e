//! How does one try reach its worker? A connection that is there or a new one, and what the pool is told of the worker.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use crate::config::model::{ProxyVersion, WorkerProtocol};
use crate::exchange::attempt::{Answered, converse};
use crate::exchange::client::Client;
use crate::exchange::context::Context;
use crate::exchange::failure::Failure;
use crate::exchange::finish::Summary;
use crate::exchange::job::safe;
use crate::exchange::job::{Connection, Done, Job, Lost, Sent};
use crate::exchange::replay::Replay;
use crate::exchange::tunnel::tunnel;
use crate::io::proxy_protocol;
use crate::message::Response;
use crate::pool::{Lease, Outcome, Pool, WorkerId};
use crate::shard::Flight;
use crate::upstream::{ConnectError, Target};

/// The word for the metrics.
pub(super) fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Answered(_) => "answered",
        Outcome::ConnectRefused => "connect_refused",
        Outcome::ConnectTimeout => "connect_timeout",
        Outcome::ConnectionLost => "connection_lost",
        Outcome::ResponseTimeout => "response_timeout",
        Outcome::BadAnswer => "bad_answer",
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "the stages of one exchange share exactly these"
)]
pub(super) async fn try_worker(
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
    let mut on_head = |response: &mut Response, stream| {
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
    };
    let done = match converse(job, body, client, connection, &mut on_head).await? {
        Answered::Whole(done) => done,
        // Boxed: tunnels are rare and live long, requests are many and short.
        Answered::Switched(response, reply) => {
            let _open = job.shared.in_flight.begin(job.listener, Flight::Tunnel);
            let from_client = body.take_source();
            Box::pin(tunnel(job, from_client, ahead, client, response, reply)).await
        }
    };
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

pub(super) async fn connect(
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
    // Boxed: most find a connection at hand.
    Box::pin(open(cx, pool, target, preface, summary)).await
}

/// A new connection, or a place in a session that somebody opens.
async fn open(
    cx: &Context,
    pool: &Pool,
    target: Target<'_>,
    preface: Option<Vec<u8>>,
    summary: &mut Summary<'_>,
) -> Result<Connection, Lost> {
    let model = pool.model();
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

pub(super) fn report(pool: &Pool, worker: WorkerId, outcome: Outcome, now: Instant) {
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
