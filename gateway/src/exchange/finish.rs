//! What is told of an exchange? One line of the access log and the counters.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::config::model::{PoolId, RouteId};
use crate::exchange::Context;
use crate::exchange::failure::Failure;
use crate::exchange::origin::Origin;
use crate::message::{Request, Version};
use crate::observe::record::{Record, rfc3339};
use crate::plan::Plan;

/// What is gathered while an exchange runs.
pub struct Summary<'a> {
    /// The connection it came on.
    pub cx: &'a Context,
    plan: &'a Plan,
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
    /// Attempts after the first.
    pub retries: u32,
    /// `ok`, or who ended it and why.
    pub end: &'static str,
}

impl<'a> Summary<'a> {
    /// Begins now.
    pub fn new(cx: &'a Context, plan: &'a Plan, request_id: String) -> Summary<'a> {
        Summary {
            cx,
            plan,
            started: Instant::now(),
            request_id,
            route: None,
            pool: None,
            origin: None,
            worker: None,
            status: 0,
            bytes_in: Rc::default(),
            bytes_out: Rc::default(),
            wait: Duration::ZERO,
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
        self.plan.listeners[usize::from(self.cx.listener.0)]
            .metrics
            .exchange(
                self.pool.map(|pool| usize::from(pool.0)),
                self.status,
                protocol,
                taken.as_secs_f64(),
                self.bytes_in.get(),
                self.bytes_out.get(),
            );
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
        self.plan.listeners[usize::from(self.cx.listener.0)]
            .metrics
            .exchange(None, self.status, 1, taken.as_secs_f64(), 0, 0);
        self.line(taken, protocol, "", b"", "");
    }

    fn line(&self, taken: Duration, protocol: &str, method: &str, authority: &[u8], target: &str) {
        let mut lines = self.cx.shard.lines.borrow_mut();
        if !lines.wanted() {
            return;
        }
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
            route: self.route.map_or("", |route| &self.plan.route(route).name),
            pool: self.pool.map_or("", |pool| self.plan.pool(pool).name()),
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
