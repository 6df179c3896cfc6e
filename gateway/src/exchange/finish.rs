//! What is told of an exchange? One line of the access log and the counters.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::config::model::{PoolId, RouteId};
use crate::exchange::context::Context;
use crate::exchange::failure::Failure;
use crate::exchange::fields::Filling;
use crate::exchange::job::Job;
use crate::exchange::origin::Origin;
use crate::exchange::waits::Waits;
use crate::message::{Request, Version};
use crate::observe::format::Format;
use crate::observe::metrics::{Ended, PoolMetrics};
use crate::observe::record::{Counts, Record};
use crate::observe::time::Moment;
use crate::observe::trace::Part;
use crate::observe::trace::span::{Span, Value};
use crate::plan::Plan;
use crate::pool::{Lease, Pool, WorkerId};
use crate::shard::streams::{LongStream, Place};
use crate::shard::tally::Tally;

/// What is gathered while an exchange runs.
pub struct Summary<'a> {
    /// The connection it came on.
    pub cx: &'a Context,
    /// The running snapshot.
    pub plan: &'a Plan,
    /// When its head was complete.
    pub started: Instant,
    /// Its id.
    pub request_id: Rc<str>,
    /// Its route.
    pub route: Option<RouteId>,
    /// Its pool.
    pub pool: Option<PoolId>,
    /// Its part in a trace.
    pub trace: Option<Part>,
    /// What a trusted hop told of it.
    pub origin: Option<Rc<Origin>>,
    /// The worker that was tried last.
    pub worker: Option<SocketAddr>,
    /// The same as its place in a pool.
    at: Option<(PoolId, WorkerId)>,
    /// More than one worker was tried.
    moved: bool,
    /// Status the client saw.
    pub status: u16,
    /// What is counted while it runs.
    pub tally: Rc<Tally>,
    /// Waited for a worker.
    pub waits: Waits,
    /// Opened connections to workers.
    pub connect: Duration,
    /// From its head to the head of the response.
    pub first_byte: Option<Duration>,
    /// When the last attempt had what it needed to send.
    pub sent: Instant,
    /// Attempts after the first.
    pub retries: u32,
    /// `ok`, or who ended it and why.
    pub end: &'static str,
    /// More about it; empty where the word says it all.
    pub detail: &'static str,
}

impl<'a> Summary<'a> {
    /// Begins now.
    pub fn new(cx: &'a Context, plan: &'a Plan, request_id: Rc<str>) -> Summary<'a> {
        let started = Instant::now();
        Summary {
            cx,
            plan,
            started,
            sent: started,
            request_id,
            route: None,
            pool: None,
            trace: None,
            origin: None,
            worker: None,
            at: None,
            moved: false,
            status: 0,
            tally: Rc::default(),
            waits: Waits::default(),
            connect: Duration::ZERO,
            first_byte: None,
            retries: 0,
            end: "ok",
            detail: "",
        }
    }

    /// A long stream begins: operators are told of it as long as its place is held.
    pub fn enter_streams(&self, job: &Job<'_>, pool: &Pool, worker: SocketAddr) -> Place {
        let route = self.route.map(|route| self.plan.route(route).name.clone());
        let stream = LongStream {
            since: self.started,
            listener: self.plan.listener(self.cx.listener).name.clone(),
            kind: if job.upgrade.is_some() {
                "websocket"
            } else {
                "grpc"
            },
            client: self.client(),
            route: route.unwrap_or_default(),
            pool: pool.name().to_owned(),
            worker,
            request_id: self.request_id.to_string(),
            bytes_in: 0,
            bytes_out: 0,
        };
        let streams = &self.cx.shard.streams;
        streams.enter(stream, self.tally.clone())
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

    /// Looked for a worker, and `found` one or not; says whether it had to wait.
    pub fn waited(&mut self, mut waits: Waits, found: bool) -> bool {
        // The usual exchange needs no look at the clock here.
        if !waits.has_begun() {
            return false;
        }
        waits.end(Instant::now());
        self.waits.add(waits);
        if found {
            let metrics = self.pool_metrics();
            for (histogram, time) in [(&metrics.hold, waits.hold), (&metrics.queue, waits.queue)] {
                if !time.is_zero() {
                    histogram.observe(time);
                }
            }
        }
        true
    }

    /// A worker was found, the first or another one.
    pub fn goes_to(&mut self, pool: PoolId, lease: &Lease) {
        let worker = lease.addr();
        self.moved |= self.worker.is_some_and(|before| before != worker);
        self.worker = Some(worker);
        self.at = Some((pool, lease.worker()));
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

    /// How fast the client has to take a body, bytes per second; 0 means no bound.
    pub fn rate_min(&self) -> u64 {
        self.plan.listener(self.cx.listener).limits.body_rate_min
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
        self.line(taken, request.version.name(), Some(request));
        if let (Some(part), Some(tracer)) = (self.trace, &self.cx.shard.shared.tracer) {
            tracer.end(Box::new(self.span(part, taken, request)));
        }
    }

    /// Tells of a request whose head was refused.
    pub fn finish_headless(self, protocol: &str) {
        let taken = self.started.elapsed();
        self.count(taken, usize::from(protocol != "HTTP/1.1") + 1);
        self.line(taken, protocol, None);
    }

    fn count(&self, taken: Duration, protocol: usize) {
        let ended = Ended {
            route: self.route.map(|route| route.0 as usize),
            pool: self.pool.map(|pool| usize::from(pool.0)),
            status: self.status,
            protocol,
            taken,
            bytes_in: self.tally.bytes_in.get(),
            bytes_out: self.tally.bytes_out.get(),
            end: self.end,
        };
        let listener = &self.plan.listeners[usize::from(self.cx.listener.0)];
        listener.metrics.exchange(&ended, || self.named());
        if let Some(code) = self.tally.grpc_status.get() {
            self.pool_metrics().grpc(code);
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

    /// By the conventions of OpenTelemetry for HTTP servers.
    fn span(&self, part: Part, taken: Duration, request: &Request) -> Span {
        let (route, pool) = self.named();
        let text = |name, value: &str| (name, Value::Text(value.to_owned()));
        let lossy = |name, value: &[u8]| (name, Value::Text(String::from_utf8_lossy(value).into()));
        let number = |name, value: u64| (name, Value::Number(value as i64));
        let target = String::from_utf8_lossy(&request.target);
        let scheme = if self.cx.tls.is_empty() {
            "http"
        } else {
            "https"
        };
        let version = request.version.name().trim_start_matches("HTTP/");
        let mut attributes = vec![
            text("http.request.method", request.method.as_str()),
            text("url.scheme", scheme),
            text("url.path", without_query(&target)),
            lossy("server.address", &request.authority),
            text("client.address", &self.client().to_string()),
            text("network.protocol.version", version.trim_end_matches(".0")),
            text(
                "portcullis.listener",
                &self.plan.listener(self.cx.listener).name,
            ),
            text("portcullis.request_id", &self.request_id),
            text("portcullis.end", self.end),
            number("portcullis.retries", self.retries.into()),
            number("http.request.body.size", self.tally.bytes_in.get()),
            number("http.response.body.size", self.tally.bytes_out.get()),
            ("portcullis.wait_ms", Value::Real(ms(self.waits.total()))),
            ("portcullis.hold_ms", Value::Real(ms(self.waits.hold))),
            ("portcullis.queue_ms", Value::Real(ms(self.waits.queue))),
            ("portcullis.connect_ms", Value::Real(ms(self.connect))),
        ];
        if self.route.is_some() {
            attributes.push(text("http.route", route));
        }
        if self.pool.is_some() {
            attributes.push(text("portcullis.pool", pool));
        }
        if let Some(worker) = self.worker {
            attributes.push(text("portcullis.worker", &worker.to_string()));
        }
        if self.status != 0 {
            attributes.push(number("http.response.status_code", self.status.into()));
        }
        if let Some(first_byte) = self.first_byte {
            attributes.push(("portcullis.first_byte_ms", Value::Real(ms(first_byte))));
        }
        if let Some(code) = self.tally.grpc_status.get() {
            attributes.push(number("rpc.grpc.status_code", code.into()));
        }
        let failed = self.status == 0 || self.status >= 500;
        Span {
            trace_id: part.here.trace_id,
            span_id: part.here.span_id,
            parent: part.parent,
            name: match self.route {
                Some(_) => format!("{} {route}", request.method),
                None => request.method.to_string(),
            },
            began: self
                .cx
                .shard
                .unix_ms(self.started)
                .saturating_mul(1_000_000),
            taken,
            failed: failed.then_some(self.end),
            attributes,
        }
    }

    /// What else goes on as it ends.
    fn counts(&self) -> Counts {
        let clients = &self.cx.shard.shared.clients;
        let listener = clients.open(usize::from(self.cx.listener.0));
        let worker = |(pool, worker): (PoolId, WorkerId)| {
            let worker = self.plan.pool(pool).worker(worker)?;
            Some(u64::from(worker.requests()) + u64::from(worker.streams()))
        };
        Counts {
            process: clients.open_total(),
            listener: listener.into(),
            pool: self.pool.map_or(0, |pool| self.plan.pool(pool).load()),
            worker: self.at.and_then(worker).unwrap_or(0),
            ahead: self.waits.ahead,
            moved: self.moved,
        }
    }

    fn line(&self, taken: Duration, protocol: &str, request: Option<&Request>) {
        let shard = &self.cx.shard;
        let mut lines = shard.lines.borrow_mut();
        if !lines.wanted() {
            return;
        }
        let mut left_out = 0;
        if self.end == "ok" && self.status < 500 {
            if !lines.samples(|| shard.random()) {
                return;
            }
        } else if request.is_none() || self.end == "rate_limited" {
            match lines.admits_refusal(Instant::now()) {
                Some(before) => left_out = before,
                None => return,
            }
        }
        let settings = *lines.settings();
        let trace_id = self
            .trace
            .map(|part| format!("{:032x}", part.here.trace_id));
        let field = |name: &str| Some(String::from_utf8_lossy(request?.fields.get(name)?));
        let combined = settings.format == Format::Combined;
        let user_agent = (combined || settings.user_agent)
            .then(|| field("user-agent"))
            .flatten();
        let referer = combined.then(|| field("referer")).flatten();
        let text = |bytes| String::from_utf8_lossy(bytes);
        let authority = text(request.map_or(&b""[..], |request| &request.authority));
        let target = text(request.map_or(&b""[..], |request| &request.target));
        let (route, pool) = self.named();
        let time = Moment(shard.unix_ms(self.started));
        let listener = self.plan.listener(self.cx.listener);
        lines.add(&Record {
            client: self.client(),
            protocol,
            tls: self.cx.tls,
            tls_name: self.cx.tls_name.as_deref(),
            method: request.map_or("", |request| request.method.as_str()),
            host: &authority,
            path: without_query(&target),
            status: self.status,
            route,
            pool,
            worker: self.worker,
            request_id: &self.request_id,
            trace_id: trace_id.as_deref(),
            user_agent: user_agent.as_deref(),
            referer: referer.as_deref().map(without_query),
            bytes_in: self.tally.bytes_in.get(),
            bytes_out: self.tally.bytes_out.get(),
            duration_ms: ms(taken),
            wait_ms: ms(self.waits.total()),
            hold_ms: ms(self.waits.hold),
            queue_ms: ms(self.waits.queue),
            connect_ms: ms(self.connect),
            first_byte_ms: self.first_byte.map(ms),
            retries: self.retries,
            grpc_status: self.tally.grpc_status.get(),
            client_subject: self.cx.certificate.as_ref().map(|shown| &*shown.subject),
            client_fingerprint: self
                .cx
                .certificate
                .as_ref()
                .map(|shown| &*shown.fingerprint),
            end: self.end,
            detail: self.detail,
            left_out,
            counts: match settings.format {
                Format::Haproxy => self.counts(),
                Format::Json | Format::Combined => Counts::default(),
            },
            ..Record::new(time, &listener.name, self.cx.client)
        });
    }
}

fn ms(time: Duration) -> f64 {
    // Most are zero, and 128 bits, which `as_micros` gives, cost more than the rest.
    (time.as_secs() * 1_000_000 + u64::from(time.subsec_micros())) as f64 / 1000.0
}

/// What comes behind `?` or `#` may hold secrets.
fn without_query(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or_default()
}
