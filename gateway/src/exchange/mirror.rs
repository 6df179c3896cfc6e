//! What does the other pool see of a request? A copy, sent on a task of its own, whose answer is thrown away.
//!
//! Promises: the exchange that is copied never waits for its copy and never fails with it; copies are bounded in number,
//! size and time. Does not: copy streams, tunnels and calls, try again, or write a line of the access log.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::Method;

use crate::config::model::{Mirror, RouteId};
use crate::exchange::attempt::send_head;
use crate::exchange::context::Context;
use crate::exchange::fields::{Filling, Made};
use crate::exchange::finish::Summary;
use crate::exchange::flow::{Cause, Frame, Pull, Source, pump};
use crate::exchange::forward::Passage;
use crate::exchange::job::{Job, Lost};
use crate::exchange::origin::Origin;
use crate::exchange::reach::{connect, report};
use crate::exchange::reply::{Head, Reply};
use crate::exchange::standing::bounds;
use crate::http1::head::Limits;
use crate::limit::in_flight::Place;
use crate::message::{BodyKind, Request};
use crate::plan::{Mirroring, Plan};
use crate::pool::{Kind, Outcome, Pick, Want};
use crate::shard::tally::Tally;
use crate::upstream::Target;

/// The field that tells a copy from its original.
const MARK: &str = "x-portcullis-mirror";
/// An answer that is longer is not read to its end; the connection is closed instead.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A copy in the making.
pub struct Copy {
    parcel: Parcel,
    body: Vec<Bytes>,
    bytes: usize,
}

/// What is sent, and what it needs to know.
struct Parcel {
    cx: Context,
    plan: Arc<Plan>,
    route: RouteId,
    request: Request,
    target: Vec<u8>,
    request_id: String,
    origin: Option<Rc<Origin>>,
    /// Held until the copy's answer has come to its end.
    _place: Place,
}

impl Parcel {
    fn mirror(&self) -> Option<&Mirror> {
        self.plan.forward(self.route)?.mirror.as_ref()
    }

    fn mirroring(&self) -> Option<&Mirroring> {
        self.plan.limits(self.route)?.mirror.as_ref()
    }

    fn dropped(&self, reason: &'static str) {
        if let Some(mirroring) = self.mirroring() {
            mirroring.metrics.drop(reason);
        }
    }
}

/// Begins a copy, where the route wants one of this request. `lot` is a random number.
pub(super) fn begin(
    summary: &Summary<'_>,
    plan: &Arc<Plan>,
    route: RouteId,
    request: &Request,
    passage: &Passage<'_>,
    lot: u64,
) -> Option<Box<Copy>> {
    let mirror = plan.forward(route)?.mirror.as_ref()?;
    if lot % 100 >= u64::from(mirror.share) {
        return None;
    }
    let mirroring = plan.limits(route)?.mirror.as_ref()?;
    if matches!(request.body, BodyKind::Length(length) if length > mirror.body_bytes_max as u64) {
        mirroring.metrics.drop("body_bytes_max");
        return None;
    }
    let Some(place) = mirroring.places.enter() else {
        mirroring.metrics.drop("in_flight_max");
        return None;
    };
    let cx = summary.cx;
    Some(Box::new(Copy {
        parcel: Parcel {
            cx: Context {
                shard: cx.shard.clone(),
                client_text: cx.client_text.clone(),
                certificate: cx.certificate.clone(),
                // Copies have no line in the log.
                tls_name: None,
                ..*cx
            },
            plan: plan.clone(),
            route,
            request: request.clone(),
            target: passage.target.to_vec(),
            request_id: summary.request_id.to_string(),
            origin: summary.origin.clone(),
            _place: place,
        },
        body: Vec::new(),
        bytes: 0,
    }))
}

impl Copy {
    /// A piece of the body; false when it became too long, and the copy is given up.
    pub(super) fn add(&mut self, data: &Bytes) -> bool {
        self.bytes += data.len();
        let max = self
            .parcel
            .mirror()
            .map_or(0, |mirror| mirror.body_bytes_max);
        if self.bytes > max {
            self.parcel.dropped("body_bytes_max");
            return false;
        }
        self.body.push(data.clone());
        true
    }

    /// The body is whole: off it goes.
    pub(super) fn send(self) {
        tokio::task::spawn_local(async move {
            let Copy { parcel, body, .. } = self;
            let parcel = &parcel;
            let Some(mirror) = parcel.mirror() else {
                return;
            };
            let patience = parcel.plan.pool(mirror.pool).model().response_timeout;
            let timer = parcel.cx.shard.timers.slot();
            let sent = deliver(parcel, mirror, body);
            match timer.within(patience, Box::pin(sent)).await {
                Ok(Ok(())) => {
                    if let Some(mirroring) = parcel.mirroring() {
                        mirroring.metrics.sent.inc();
                    }
                }
                Ok(Err(reason)) => parcel.dropped(reason),
                Err(_) => parcel.dropped("timeout"),
            }
        });
    }
}

async fn deliver(parcel: &Parcel, mirror: &Mirror, body: Vec<Bytes>) -> Result<(), &'static str> {
    let (cx, plan, request) = (&parcel.cx, &parcel.plan, &parcel.request);
    let forward = plan.forward(parcel.route).ok_or("no_worker")?;
    let pool = plan.pool(mirror.pool);
    let want = Want {
        random: cx.shard.random(),
        kind: Kind::Request,
        ..Want::default()
    };
    let Pick::Worker(lease) = pool.pick(&want, Instant::now()) else {
        return Err("no_worker");
    };
    let mut summary = Summary::new(cx, plan, parcel.request_id.as_str().into());
    summary.pool = Some(mirror.pool);
    let made = {
        let mut made = Made::of(
            &forward.changes,
            &Filling {
                cx,
                plan,
                request,
                request_id: &parcel.request_id,
                route: Some(parcel.route),
                origin: parcel.origin.as_deref(),
            },
        );
        made.set.retain(|(name, _)| *name != MARK);
        made.add.retain(|(name, _)| *name != MARK);
        made.set.push((MARK, b"1".to_vec()));
        made
    };
    let tally = Tally::default();
    let job = Job {
        home: None,
        abort_on_close: false,
        told_to_go_on: true,
        passage: Passage {
            hidden_cookie: None,
            to_tls: pool.model().tls.is_some(),
            certificate: cx.certificate.as_deref(),
            target: &parcel.target,
            client: &cx.client_text,
            origin: parcel.origin.as_deref(),
            forwarded: plan.listener(cx.listener).forwarded_header,
            tls: !cx.tls.is_empty(),
            port: cx.came_to.port(),
            request_id: &parcel.request_id,
            trace: None,
            made: &made,
        },
        made: None,
        intercepted: &[],
        packer: None,
        to_head: request.method == Method::HEAD,
        grpc: false,
        upgrade: None,
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
        bounds: bounds(plan.listener(cx.listener), pool, forward, 0, false),
    };
    let (addr, worker) = (lease.addr(), lease.worker());
    let lost = |lost: Lost| {
        if let Some(outcome) = lost.outcome {
            report(pool, worker, outcome, Instant::now());
        }
        "worker"
    };
    let secure = pool.secure();
    let target = Target {
        addr,
        secure: secure.as_deref(),
    };
    let connection = connect(cx, pool, &job, target, &mut summary).await;
    let (mut sink, mut reply) =
        send_head(&job, connection.map_err(lost)?, !body.is_empty()).map_err(lost)?;
    let timer = cx.shard.timers.slot();
    let pace = job.bounds.request_pace;
    let pumped = pump(
        &mut Pieces(body.into_iter()),
        &mut sink,
        pace,
        &timer,
        &tally.bytes_in,
    )
    .await;
    pumped.map_err(|_| "worker")?;
    let (response, keeps, source) = loop {
        match poll_fn(|cx| reply.poll_head(cx, &job))
            .await
            .map_err(lost)?
        {
            Head::Informational(_) => {}
            Head::Switch(_) => return Err("worker"),
            Head::Final(response, keeps, source) => break (response, keeps, source),
        }
    };
    report(
        pool,
        worker,
        Outcome::Answered(response.status),
        Instant::now(),
    );
    let mut source = source.unwrap_or_else(|| reply.source(&response, &job));
    let mut taken = 0;
    loop {
        match poll_fn(|cx| source.poll_next(cx)).await {
            Ok(Frame::End(_)) => break,
            Ok(Frame::Data(data)) if taken < ANSWER_BYTES_MAX => taken += data.len(),
            // It was asked, which is all that a copy is for.
            Ok(Frame::Data(_)) | Err(_) => return Ok(()),
        }
    }
    if let (Reply::Http1 { stream, .. }, Source::Http1 { buf, decoder, .. }) = (reply, source)
        && keeps
        && decoder.is_done()
        && buf.is_empty()
        && pool.model().send_proxy.is_none()
    {
        cx.shard
            .upstream
            .put(target, stream, pool.model().idle_timeout);
    }
    Ok(())
}

/// A body that is there.
struct Pieces(std::vec::IntoIter<Bytes>);

impl Pull for Pieces {
    fn poll_pull(&mut self, _: &mut Task<'_>) -> Poll<Result<Frame, Cause>> {
        let piece = self.0.next();
        Poll::Ready(Ok(piece.map_or(Frame::End(None), Frame::Data)))
    }
}
