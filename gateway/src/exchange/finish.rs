//! What is told of an exchange? One line of the access log and the counters.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::config::model::{PoolId, RouteId};
use crate::exchange::Context;
use crate::exchange::failure::Failure;
use crate::exchange::fields::Filling;
use crate::exchange::origin::Origin;
use crate::message::{Request, Version};
use crate::observe::metrics::{Ended, PoolMetrics};
use crate::observe::record::{Record, rfc3339};
use crate::plan::Plan;

/// No call of gRPC, or none that came to a status.
pub const NO_STATUS: u8 = u8::MAX;

/// What is gathered while an exchange runs.
pub struct Summary<'a> {
    /// The connection it came on.
    pub cx: &'a Context,
    /// The running snapshot.
    pub plan: &'a Plan,
    /// When its head was complete.
    pub started: Instant,
    /// Its id.
    pub request_id: String,
    /// Its route.
    pub route: Option<RouteId>,
    /// Its pool.
    pub pool: Option<PoolId>,
    /// What a trusted hop told of it.
    pub origin: Option<Rc<Origin>>,
    /// The worker that was tried last.
    pub worker: Option<SocketAddr>,
    /// Status the client saw.
    pub status: u16,
    /// Request body bytes.
    pub bytes_in: Rc<Cell<u64>>,
    /// Response body bytes.
    pub bytes_out: Rc<Cell<u64>>,
    /// Waited for a worker.
    pub wait: Duration,
    /// Opened connections to workers.
    pub connect: Duration,
    /// From its head to the head of the response.
    pub first_byte: Option<Duration>,
    /// When the last attempt had what it needed to send.
    pub sent: Instant,
    /// What `grpc-status` said, or [`NO_STATUS`].
    pub grpc_status: Rc<Cell<u8>>,
    /// Attempts after the first.
    pub retries: u32,
    /// `ok`, or who ended it and why.
    pub end: &'static str,
}

impl<'a> Summary<'a> {
    /// Begins now.
    pub fn new(cx: &'a Context, plan: &'a Plan, request_id: String) -> Summary<'a> {
        let started = Instant::now();
        Summary {
            cx,
            plan,
            started,
            sent: started,
            request_id,
            route: None,
            pool: None,
            origin: None,
            worker: None,
            status: 0,
            bytes_in: Rc::default(),
            bytes_out: Rc::default(),
            wait: Duration::ZERO,
            connect: Duration::ZERO,
            first_byte: None,
            grpc_status: Rc::new(Cell::new(NO_STATUS)),
            retries: 0,
            end: "ok",
        }
    }

    /// Who asked, in its plain spelling: the connection's client, or the one that a trusted hop tells of.
    pub fn client(&self) -> IpAddr {
        match &self.origin {
            None => self.cx.client.ip().to_canonical(),
            Some(origin) => origin.client,
        }
    }

    /// The exchange is refused: remembers why, and counts it where a limit of its route is the reason.
    pub fn refused(&mut self, failure: Failure) {
        self.end = failure.word();
        let on = self.cx.listener;
        let Some(route) = self.route else {
            if matches!(failure, Failure::RateLimited(_)) {
                let listener = &self.plan.listeners[usize::from(on.0)];
                listener.metrics.rate_limited.inc();
            }
            return;
        };
        let limits = self.plan.limits(route);
        let Some(metrics) = limits.and_then(|limits| limits.metrics(on)) else {
            return;
        };
        match failure {
            Failure::Network => metrics.network.inc(),
            Failure::RateLimited(_) => metrics.rate.inc(),
            Failure::RouteFull => metrics.in_flight.inc(),
            Failure::BodyTooLarge => metrics.body.inc(),
            _ => {}
        }
    }

    /// What placeholders are filled from.
    pub fn filling<'s>(&'s self, request: &'s Request) -> Filling<'s> {
        Filling {
            cx: self.cx,
            plan: self.plan,
            request,
            request_id: &self.request_id,
            route: self.route,
            origin: self.origin.as_deref(),
        }
    }

    /// When it began, by the clock on the wall.
    pub fn wall_clock(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.cx.shard.unix_ms(self.started))
    }

    /// The counters of its pool.
    pub fn pool_metrics(&self) -> &PoolMetrics {
        self.plan.pool_metrics(self.pool)
    }

    /// A connection to a worker was tried for so long.
    pub fn connected(&mut self, taken: Duration, now: Instant) {
        self.connect += taken;
        self.sent = now;
    }

    /// The head of the response is there.
    pub fn answered(&mut self, now: Instant) {
        self.first_byte = Some(now.saturating_duration_since(self.started));
        let taken = now.saturating_duration_since(self.sent);
        self.pool_metrics().first_byte.observe(taken);
    }

    /// How long the client may take for a piece of a response.
    pub fn patience(&self) -> Duration {
        self.plan.listener(self.cx.listener).limits.body_timeout
    }

    /// Tells.
    pub fn finish(self, request: &Request) {
        let taken = self.started.elapsed();
        let protocol = match request.version {
            Version::Http10 => 0,
            Version::Http11 => 1,
            Version::Http2 => 2,
        };
        self.count(taken, protocol);
        let target = String::from_utf8_lossy(&request.target);
        self.line(
            taken,
            request.version.name(),
            request.method.as_str(),
            &request.authority,
            &target,
        );
    }

    /// Tells of a request whose head was refused.
    pub fn finish_headless(self, protocol: &str) {
        let taken = self.started.elapsed();
        self.count(taken, usize::from(protocol != "HTTP/1.1") + 1);
        self.line(taken, protocol, "", b"", "");
    }

    fn count(&self, taken: Duration, protocol: usize) {
        let ended = Ended {
            route: self.route.map(|route| route.0 as usize),
            pool: self.pool.map(|pool| usize::from(pool.0)),
            status: self.status,
            protocol,
            taken,
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
            end: self.end,
        };
        let listener = &self.plan.listeners[usize::from(self.cx.listener.0)];
        listener.metrics.exchange(&ended, || self.named());
        if self.grpc_status.get() != NO_STATUS {
            self.pool_metrics().grpc(self.grpc_status.get());
        }
    }

    /// Names of its route and its pool.
    fn named(&self) -> (&'a str, &'a str) {
        let plan = self.plan;
        (
            self.route.map_or("", |route| &plan.route(route).name),
            self.pool.map_or("", |pool| plan.pool(pool).name()),
        )
    }

    fn line(&self, taken: Duration, protocol: &str, method: &str, authority: &[u8], target: &str) {
        let mut lines = self.cx.shard.lines.borrow_mut();
        if !lines.wanted() {
            return;
        }
        let (route, pool) = self.named();
        let mut time = String::with_capacity(24);
        rfc3339(&mut time, self.cx.shard.unix_ms(self.started));
        lines.add(&Record {
            time: &time,
            listener: &self.plan.listener(self.cx.listener).name,
            client: self.client(),
            protocol,
            tls: self.cx.tls,
            method,
            host: &String::from_utf8_lossy(authority),
            path: target.split_once('?').map_or(target, |(path, _)| path),
            status: self.status,
            route,
            pool,
            worker: self.worker,
            request_id: &self.request_id,
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
            duration_ms: taken.as_micros() as f64 / 1000.0,
            wait_ms: self.wait.as_micros() as f64 / 1000.0,
            retries: self.retries,
            client_subject: self.cx.certificate.as_ref().map(|shown| &*shown.subject),
            client_fingerprint: self
                .cx
                .certificate
                .as_ref()
                .map(|shown| &*shown.fingerprint),
            end: self.end,
        });
    }
}
