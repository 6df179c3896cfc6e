//! Why would a request go where it goes? The decision for one request, told in words, by a configuration or by the gateway
//! that runs.
//!
//! Promises: it asks the same code that serves requests, and counts nothing. By a configuration, workers are those that
//! listen on this machine now; other hosts are not probed. Does not: send anything.

mod filled;
mod stand;

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{Method, Uri};

use crate::config::model::{
    Action, Balance, Config, HashKey, HostMatch, Listener, ListenerId, PathMatch, Pool, Protocol,
    RateKey, Route, RouteId, WorkerProtocol,
};
use crate::discover;
use crate::exchange::admit::{Decision, decide};
use crate::exchange::failure::{Answer, Failure, GrpcStatus};
use crate::exchange::origin::{self, Origin};
use crate::http1::head::{BadHead, valid_authority};
use crate::message::{BodyKind, FieldSpan, Fields, Http1Fields, Known, Request, Version};
use crate::observe::metrics::Metrics;
use crate::plan::Plan;
use crate::pool::{Snapshot, State};
use crate::route::path;
use crate::route::table::RouteTable;
use crate::tls;
use crate::tls::live::Live;
use filled::Filled;

/// What is asked about.
#[derive(Debug, Clone)]
pub struct Question {
    /// The client's address.
    pub from: IpAddr,
    /// The name asked for in TLS; the URL's host where none is given.
    pub tls_name: Option<String>,
    /// Method.
    pub method: String,
    /// Absolute URL.
    pub url: String,
    /// Fields, `Name: value`.
    pub fields: Vec<String>,
}

/// Answers by a configuration, in lines of `word  explanation`. The error is a sentence for whoever asked.
pub fn explain(config: &Config, question: &Question, now: Instant) -> Result<String, String> {
    let metrics = Metrics::new().map_err(|error| error.to_string())?;
    let plan = Plan::build(
        config.clone(),
        config.listeners.iter().map(|_| None).collect(),
        &metrics,
        None,
        now,
    );
    Ok(text(&told_of(&plan, None, question)?))
}

/// Answers by what runs, word by word with its explanation; `listening` has the addresses of a listener.
pub fn running(
    plan: &Plan,
    listening: &dyn Fn(usize) -> Vec<SocketAddr>,
    question: &Question,
) -> Result<Vec<Line>, String> {
    told_of(plan, Some(listening), question)
}

/// A word and its explanation; the word is empty where the one before goes on.
pub type Line = (&'static str, String);

/// For people.
pub fn text(lines: &[Line]) -> String {
    let mut out = String::new();
    for (word, line) in lines {
        let _ = writeln!(out, "{word:<12} {line}");
    }
    out
}

type Listening<'a> = Option<&'a dyn Fn(usize) -> Vec<SocketAddr>>;

fn told_of(
    plan: &Plan,
    listening: Listening<'_>,
    question: &Question,
) -> Result<Vec<Line>, String> {
    let config = &plan.config;
    let mut asked = Asked::of(question)?;
    let mut told = Told(Vec::new());
    let id = listener_of(config, &asked, listening)?;
    let listener = &config.listeners[usize::from(id.0)];
    told.line("listener", &listener_line(listener));
    let gate = plan.listeners[usize::from(id.0)].gate.as_ref();
    if gate.is_some_and(|gate| !gate.admits(question.from)) {
        let who = question.from;
        told.line("answer", "none: the connection is closed at once");
        told.line(
            "because",
            &format!("{who} may not connect (`allow`, `deny`)"),
        );
        return Ok(told.0);
    }
    if listener.tls.is_some() {
        let name = question.tls_name.as_deref().unwrap_or(&asked.host);
        let live = plan.listeners[usize::from(id.0)].tls.as_deref();
        certificate(&mut told, listener, live, name);
    }
    if let Some(trusted) = &listener.forwarded {
        asked.origin = origin::of(trusted, question.from, &asked.request.fields);
    }
    if let Some(origin) = &asked.origin {
        let (client, hop) = (&origin.client_text, question.from);
        told.line(
            "client",
            &format!("{client}, as the hop {hop} tells (`forwarded`)"),
        );
    }
    let grpc = grpc_asked(&asked, listener);
    if asked.is_never_served() {
        let method = &asked.request.method;
        let failure = Failure::BadHead(BadHead::Method);
        told.line("answer", &answer_line(failure, grpc));
        told.line("because", &format!("{method} is served to nobody"));
        return Ok(told.0);
    }
    // By a configuration the plan was built without certificates: what decides is whether the listener has any.
    let whole_path = asked.path();
    if let Ok(normal) = path::normalise(whole_path.as_bytes()) {
        let changed = if normal.matched() == whole_path {
            ""
        } else {
            " (normalised)"
        };
        told.line("path", &format!("{}{changed}", normal.matched()));
    }
    match decide(plan, id, asked.client(question), &asked.request) {
        Decision::Redirect { status, location } => {
            told.line("answer", &format!("{status}, Location: {location}"));
            told.line(
                "because",
                "no route names this plain listener for this path (redirect_https)",
            );
        }
        Decision::Refuse { route, failure } => {
            if let Some(route) = route {
                let chosen = plan.route(route);
                told.line("route", &route_line(chosen));
            }
            told.line("answer", &answer_line(failure, grpc));
            if failure == Failure::Denied(403) && route.is_none() {
                let denied = config.deny_segments.join(", ");
                told.line(
                    "because",
                    &format!("its first or last segment is one of `deny_segments` ({denied})"),
                );
            }
            if failure == Failure::Network {
                let who = asked.client(question);
                told.line(
                    "because",
                    &format!("the route is not for {who} (`allow`, `deny`)"),
                );
            }
        }
        Decision::Answer { route } => {
            let chosen = plan.route(route);
            told.line("route", &route_line(chosen));
            for (name, why) in beaten(config, id, route, &asked) {
                told.line("", &format!("rather than `{name}`: {why}"));
            }
            let filled = Filled {
                asked: &asked,
                from: question.from,
                listener,
                route: chosen,
            };
            told.line("answer", &own_answer(&chosen.action, &filled, grpc));
            for limit in limits(plan, id, route) {
                told.line("limit", &limit);
            }
            filled.response(&mut told);
        }
        Decision::Forward { route, target } => {
            let running = listening.is_some();
            let of = (id, route, target);
            forwarding(&mut told, plan, of, &asked, question, grpc, running);
        }
    }
    Ok(told.0)
}

fn grpc_asked(asked: &Asked, listener: &Listener) -> bool {
    listener.protocol == Protocol::Grpc || asked.request.fields.is_grpc()
}

fn route_line(route: &Route) -> String {
    format!("`{}` (line {})", route.name, route.place.line)
}

/// The lines.
pub(super) struct Told(Vec<Line>);

impl Told {
    fn line(&mut self, word: &'static str, text: &str) {
        self.0.push((word, text.to_owned()));
    }
}

pub(super) struct Asked {
    request: Request,
    tls: bool,
    host: String,
    port: u16,
    /// What a trusted hop told of the request.
    origin: Option<Rc<Origin>>,
}

impl Asked {
    fn of(question: &Question) -> Result<Asked, String> {
        let (scheme, rest) = question.url.split_once("://").ok_or_else(|| {
            format!(
                "`{}` is no absolute URL: write https://host/path",
                question.url
            )
        })?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" | "grpcs" | "wss" => true,
            "http" | "ws" => false,
            other => return Err(format!("the scheme `{other}` is not served: http or https")),
        };
        let (authority, target) = match rest.find(['/', '?']) {
            Some(at) if rest.as_bytes()[at] == b'/' => (&rest[..at], rest[at..].to_owned()),
            Some(at) => (&rest[..at], format!("/{}", &rest[at..])),
            None => (rest, "/".to_owned()),
        };
        if !valid_authority(authority.as_bytes()) {
            return Err(format!("`{authority}` is no host"));
        }
        let uri: Uri = authority
            .parse()
            .map_err(|_| format!("`{authority}` is no host"))?;
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let host = uri.host().unwrap_or_default().to_owned();
        let method = Method::from_bytes(question.method.as_bytes())
            .map_err(|_| format!("`{}` is no method", question.method))?;
        let request = Request {
            method,
            authority: Bytes::copy_from_slice(authority.as_bytes()),
            target: Bytes::from(target.into_bytes()),
            version: Version::Http11,
            fields: fields_of(&question.fields)?,
            body: BodyKind::Empty,
            upgrade: None,
            expects_continue: false,
        };
        Ok(Asked {
            request,
            tls,
            host,
            port,
            origin: None,
        })
    }

    /// Who asks: whom a trusted hop tells of, else who connects.
    fn client(&self, question: &Question) -> IpAddr {
        let told = self.origin.as_ref().map(|origin| origin.client);
        told.unwrap_or(question.from)
    }

    /// Tunnels to anywhere and echoes of heads are refused before anything else is asked.
    fn is_never_served(&self) -> bool {
        matches!(self.request.method, Method::CONNECT | Method::TRACE)
    }

    /// `Forwarded`, as workers get it where it is sent.
    fn forwarded(&self, question: &Question) -> String {
        let fields = forwarded_fields(self, question);
        let [chain, proto, host, _] = fields.each_ref().map(|(_, value)| value.as_bytes());
        String::from_utf8_lossy(&origin::forwarded(chain, host, proto)).into_owned()
    }

    fn path(&self) -> String {
        let target = String::from_utf8_lossy(&self.request.target);
        target.split('?').next().unwrap_or_default().to_owned()
    }
}

fn fields_of(lines: &[String]) -> Result<Fields, String> {
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    for line in lines {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| format!("`{line}` is no field: write `Name: value`"))?;
        let mut add = |text: &str| {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(text.trim().as_bytes());
            start..bytes.len() as u32
        };
        spans.push(FieldSpan {
            name: add(name),
            value: add(value),
            known: Known::of(name.trim().as_bytes()),
        });
    }
    Ok(Fields::Http1(Http1Fields {
        bytes: bytes.into(),
        spans,
    }))
}

fn listener_of(
    config: &Config,
    asked: &Asked,
    listening: Listening<'_>,
) -> Result<ListenerId, String> {
    let fits = |listener: &Listener| listener.tls.is_some() == asked.tls;
    let ports_of = |id: usize| -> Vec<u16> {
        match listening {
            Some(listening) => listening(id).iter().map(SocketAddr::port).collect(),
            None => {
                let binds = config.listeners[id].bind.iter();
                binds.map(|bind| bind.port).collect()
            }
        }
    };
    let mut listeners = config.listeners.iter().enumerate();
    let found =
        listeners.position(|(id, listener)| fits(listener) && ports_of(id).contains(&asked.port));
    found.map(|at| ListenerId(at as u16)).ok_or_else(|| {
        let kind = if asked.tls { "TLS" } else { "plain" };
        let ports: Vec<_> = config
            .listeners
            .iter()
            .enumerate()
            .filter(|(_, listener)| fits(listener))
            .flat_map(|(id, listener)| {
                let name = &listener.name;
                let ports = ports_of(id).into_iter();
                ports.map(move |port| format!("{port} ({name})"))
            })
            .collect();
        let ports = if ports.is_empty() {
            "none".to_owned()
        } else {
            ports.join(", ")
        };
        format!(
            "no {kind} listener has port {}; {kind} listeners: {ports}",
            asked.port
        )
    })
}

fn listener_line(listener: &Listener) -> String {
    let binds: Vec<_> = listener
        .bind
        .iter()
        .map(|bind| match bind.host {
            Some(host) => format!("{host}:{}", bind.port),
            None => format!(":{}", bind.port),
        })
        .collect();
    let kind = match (listener.protocol, &listener.tls) {
        (Protocol::Http, Some(_)) => "HTTP/1.1 and HTTP/2 over TLS",
        (Protocol::Http, None) => "HTTP/1.1 in plain text",
        (Protocol::Grpc, Some(_)) => "gRPC over TLS",
        (Protocol::Grpc, None) => "gRPC in plain text",
    };
    format!("`{}` on {}, {kind}", listener.name, binds.join(" and "))
}

/// The certificate that is shown now, or that a start would show.
fn certificate(told: &mut Told, listener: &Listener, live: Option<&Live>, name: &str) {
    let Some(tls) = &listener.tls else { return };
    let shown = match live {
        Some(live) => Ok(live.shown_for(name)),
        None => tls::server::shown_for(tls, name, SystemTime::now()),
    };
    match shown {
        Ok(Some(path)) => told.line("certificate", &format!("{} for `{name}`", path.display())),
        Ok(None) => told.line(
            "certificate",
            &format!("none for `{name}`: the handshake is refused"),
        ),
        Err(problem) => told.line("certificate", &format!("cannot be loaded: {problem}")),
    }
}

fn answer_line(failure: Failure, grpc: bool) -> String {
    answer_text(&failure.answer(), grpc)
}

fn answer_text(answer: &Answer<'_>, grpc: bool) -> String {
    let text = answer.text;
    if grpc {
        let name = match answer.grpc {
            GrpcStatus::Unavailable => "UNAVAILABLE",
            GrpcStatus::ResourceExhausted => "RESOURCE_EXHAUSTED",
        };
        let code = answer.grpc.code();
        return format!("trailers only, grpc-status {code} ({name}), \"{text}\"");
    }
    match answer.retry_after {
        Some(seconds) => format!("{} with Retry-After: {seconds}, \"{text}\"", answer.status),
        None => format!("{}, \"{text}\"", answer.status),
    }
}

fn forwarding(
    told: &mut Told,
    plan: &Plan,
    (on, route, target): (ListenerId, RouteId, Option<Vec<u8>>),
    asked: &Asked,
    question: &Question,
    grpc: bool,
    running: bool,
) {
    let config = &plan.config;
    let chosen = plan.route(route);
    told.line("route", &route_line(chosen));
    for (name, why) in beaten(config, on, route, asked) {
        told.line("", &format!("rather than `{name}`: {why}"));
    }
    let Some(forward) = plan.forward(route) else {
        return;
    };
    told.line("pool", &pool_line(plan.pool(forward.pool).model()));
    if let Some(closed) = stand::closed(plan, forward, asked.client(question)) {
        told.line("answer", &stand::closed_answer(&closed, grpc));
        told.line("because", "the pool is in `maintenance`");
        return;
    }
    if !running {
        discover::look_once(&plan.pools, &plan.no_workers().collect::<Vec<_>>());
    }
    let pool = stand::serving(told, plan, forward);
    let model = pool.model();
    let target = target.unwrap_or_else(|| asked.request.target.to_vec());
    told.line(
        "sent as",
        &format!("{} {}", question.method, String::from_utf8_lossy(&target)),
    );
    told.line(
        "",
        &format!(
            "host: {}",
            String::from_utf8_lossy(&asked.request.authority)
        ),
    );
    for (name, value) in forwarded_fields(asked, question) {
        told.line("", &format!("{name}: {value}"));
    }
    let listener = plan.listener(on);
    if listener.forwarded_header {
        told.line("", &format!("forwarded: {}", asked.forwarded(question)));
    }
    told.line("", "x-request-id: the client's where it is sane, else made");
    let filled = Filled {
        asked,
        from: question.from,
        listener,
        route: chosen,
    };
    filled.request(told, &forward.changes);
    stand::beside(told, plan, forward, model);
    filled.response(told);
    for limit in limits(plan, on, route) {
        told.line("limit", &limit);
    }
    if running {
        running_workers(told, pool, model.worker_in_flight_max);
    } else {
        let up = workers_up(pool, |worker| worker.addr.to_string());
        let none = || "none listens on this machine now".to_owned();
        told.line("workers", &up.unwrap_or_else(none));
    }
    let response = forward.response_timeout.unwrap_or(model.response_timeout);
    let timed = if grpc {
        "none but the connection's (gRPC)".to_owned()
    } else {
        format!(
            "{response:?} for the response, {:?} between its pieces",
            model.body_timeout
        )
    };
    told.line(
        "deadlines",
        &format!("{:?} to connect, {timed}", model.connect_timeout),
    );
    told.line(
        "retries",
        &format!(
            "unsent: on another worker; sent: up to {} where the method is idempotent, within {} % of the requests",
            model.retry.attempts_max, model.retry.budget_percent
        ),
    );
    let no_worker = answer_line(Failure::NoWorker, grpc);
    if let Some(max) = model.worker_in_flight_max {
        let busy = answer_line(Failure::Busy, grpc);
        let time = model.queue.time;
        let then = match time.is_zero() {
            true => busy,
            false => format!("queued for up to {time:?}, then {busy}"),
        };
        told.line("all full", &format!("{max} at once each; {then}"));
    }
    told.line(
        "none up",
        // The route's own pool says how long, whoever stands in for it.
        &match plan.pool(forward.pool).model().hold.time {
            time if time.is_zero() => no_worker,
            time => format!("held for up to {time:?}, then {no_worker}"),
        },
    );
}

/// Workers that are shown one by one.
const WORKERS_SHOWN: usize = 8;

/// How many may get it, and the first of them; `None` for none.
fn workers_up(pool: &crate::pool::Pool, show: impl Fn(&Snapshot) -> String) -> Option<String> {
    let mut live = pool.snapshot();
    live.retain(|worker| worker.state == State::Up);
    let shown: Vec<_> = live.iter().take(WORKERS_SHOWN).map(show).collect();
    let more = match live.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (up, all, shown) = (live.len(), pool.workers().len(), shown.join(", "));
    (up > 0).then(|| format!("{up} of {all}: {shown}{more}"))
}

/// Who may get it at this moment, and who may not, and why.
fn running_workers(told: &mut Told, pool: &crate::pool::Pool, in_flight_max: Option<u32>) {
    let up = workers_up(pool, |worker| {
        let busy = worker.requests + worker.streams;
        let full = match in_flight_max.is_some_and(|max| busy >= max) {
            true => ", full",
            false => "",
        };
        format!("{} ({busy} in flight{full})", worker.addr)
    });
    told.line(
        "workers",
        &up.unwrap_or_else(|| "none is up now".to_owned()),
    );
    let mut out = pool.snapshot();
    out.retain(|worker| !matches!(worker.state, State::Up | State::Absent));
    for worker in out.iter().take(WORKERS_SHOWN) {
        let (at, state, reason) = (worker.addr, worker.state.as_str(), &worker.reason);
        told.line("", &format!("not {at}: {state}, {reason}"));
    }
    if out.len() > WORKERS_SHOWN {
        told.line("", &format!("nor {} more", out.len() - WORKERS_SHOWN));
    }
}

/// What workers are told of the client: ours, or what a trusted hop told, continued.
fn forwarded_fields(asked: &Asked, question: &Question) -> [(&'static str, String); 4] {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let told = asked.origin.as_deref();
    let kept = |field: fn(&Origin) -> &Option<Vec<u8>>, ours: String| {
        told.and_then(|origin| field(origin).as_deref())
            .map_or(ours, text)
    };
    let scheme = if asked.tls { "https" } else { "http" };
    let chain = told.map_or_else(|| question.from.to_string(), |told| text(&told.chain));
    [
        ("x-forwarded-for", chain),
        (
            "x-forwarded-proto",
            kept(|told| &told.proto, scheme.to_owned()),
        ),
        (
            "x-forwarded-host",
            kept(|told| &told.host, text(&asked.request.authority)),
        ),
        (
            "x-forwarded-port",
            kept(|told| &told.port, asked.port.to_string()),
        ),
    ]
}

/// What bounds the request that the listener or the route was given.
fn limits(plan: &Plan, on: ListenerId, route: RouteId) -> Vec<String> {
    let (listener, route_model) = (plan.listener(on), plan.route(route));
    let mut limits = Vec::new();
    for (rate, whose) in [
        (&listener.rate, "of the listener"),
        (&route_model.rate, "of the route"),
    ] {
        if let Some(rate) = rate {
            let who = match &rate.per {
                RateKey::Address => "address".to_owned(),
                RateKey::Certificate => "client's certificate".to_owned(),
                RateKey::Header(name) => format!("value of `{name}`"),
            };
            limits.push(format!(
                "rate {whose}: {} in {:?} per {who}, {} at once",
                rate.requests, rate.every, rate.burst
            ));
        }
    }
    if let Some(max) = route_model.in_flight_max {
        limits.push(format!("{max} of the route at once"));
    }
    match plan.body_bytes_max(on, route) {
        0 => {}
        max => limits.push(format!("body up to {max} bytes")),
    }
    limits
}

/// The other routes that would have served the request, and why they do not.
fn beaten(
    config: &Config,
    on: ListenerId,
    winner: RouteId,
    asked: &Asked,
) -> Vec<(String, String)> {
    let chosen = &config.routes[winner.0 as usize];
    let mut others = Vec::new();
    let mut alone = Config {
        routes: Vec::new(),
        ..config.clone()
    };
    for (at, route) in config.routes.iter().enumerate() {
        if at == winner.0 as usize || !route.on.contains(&on) {
            continue;
        }
        alone.routes = vec![route.clone()];
        if !matches(&RouteTable::build(&alone), on, asked) {
            continue;
        }
        let host_kind = |host: &HostMatch| match host {
            HostMatch::Exact(_) => 2,
            HostMatch::Wildcard(_) => 1,
            HostMatch::Any => 0,
        };
        let text = |path: &PathMatch| match path {
            PathMatch::Prefix(path) | PathMatch::Exact(path) => path.len(),
        };
        let why = if host_kind(&route.host) < host_kind(&chosen.host) {
            "its host is less specific"
        } else if text(&route.path) < text(&chosen.path) {
            "its path is shorter"
        } else if matches!(
            (&route.path, &chosen.path),
            (PathMatch::Prefix(_), PathMatch::Exact(_))
        ) {
            "its path is a prefix, not the whole"
        } else {
            "it has fewer conditions"
        };
        others.push((route.name.clone(), why.to_owned()));
    }
    others
}

fn matches(table: &RouteTable, on: ListenerId, asked: &Asked) -> bool {
    let path = asked.path();
    let (Ok(normal), Ok(host)) = (
        path::normalise(path.as_bytes()),
        crate::route::host::parse(&asked.request.authority),
    ) else {
        return false;
    };
    let query = crate::route::table::Query {
        host: &host.name,
        path: normal.matched(),
        method: asked.request.method.as_str(),
        header: &|name: &str, value: Option<&str>| {
            asked.request.fields.has(name, value.map(str::as_bytes))
        },
    };
    table.find(on, &query).is_some()
}

fn pool_line(pool: &Pool) -> String {
    let ports: Vec<_> = pool
        .ports
        .iter()
        .map(|range| {
            if range.first == range.last {
                range.first.to_string()
            } else {
                format!("{}-{}", range.first, range.last)
            }
        })
        .collect();
    let hosts: Vec<_> = pool
        .hosts
        .iter()
        .map(|host| host.address.to_string())
        .collect();
    let protocol = match pool.protocol {
        WorkerProtocol::Http1 => "HTTP/1.1",
        WorkerProtocol::H2c if pool.tls.is_some() => "HTTP/2",
        WorkerProtocol::H2c => "h2c",
    };
    let balance = match &pool.balance {
        Balance::LeastLoaded => "the less loaded of two",
        Balance::RoundRobin => "round robin",
        Balance::LeastConnections => "the fewest in flight",
        Balance::Hash(HashKey::Address) => "by hash of the client's address",
        Balance::Hash(HashKey::Header(_)) => "by hash of a field",
        Balance::Hash(HashKey::Cookie(_)) => "by hash of a cookie",
    };
    format!(
        "`{}`: ports {} on {}, {protocol}, {balance}",
        pool.name,
        ports.join(", "),
        hosts.join(", ")
    )
}

/// What a route answers without a worker.
fn own_answer(action: &Action, filled: &Filled<'_>, grpc: bool) -> String {
    match action {
        _ if grpc => answer_line(Failure::NotImplemented, true),
        Action::Redirect(redirect) => {
            let location = filled.location(redirect);
            format!("{}, Location: {location}", redirect.status)
        }
        Action::Respond(fixed) => match &fixed.body.file {
            Some(file) => format!("{}, with the file {}", fixed.status, file.display()),
            None => format!("{}, {} bytes", fixed.status, fixed.body.bytes.len()),
        },
        Action::Static(folder) => format!("a file below {}", folder.root.display()),
        Action::Deny(_) | Action::Forward(_) => String::new(),
    }
}

#[cfg(test)]
mod tests;
