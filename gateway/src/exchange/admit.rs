//! May it pass, and where to? From a request to a decision, and from a decision to a worker.
//!
//! Promises: the path is normalised once, what is matched is what is forwarded. Waiting for a worker is bounded in
//! time and number.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::Method;

use crate::config::model::{
    Action, Balance, HashKey, ListenerId, Protocol, RedirectHttps, RouteId,
};
use crate::exchange::failure::Failure;
use crate::exchange::rewrite;
use crate::exchange::waits::Waits;
use crate::io::timer::Timers;
use crate::limit::in_flight::Place;
use crate::limit::rate::{Limiter, retry_after};
use crate::message::{BodyKind, Request};
use crate::plan::Plan;
use crate::pool::{Lease, Pick, Pool, Reason, Want, WorkerId};
use crate::route::table::Query;
use crate::route::{host, path};
use crate::tls::identity::Identity;

/// What becomes of a request.
pub enum Decision {
    /// A worker answers; `target` replaces the client's where it is not the same.
    Forward {
        /// The route.
        route: RouteId,
        /// Path and query for the worker, where the client's bytes do not go on unchanged.
        target: Option<Vec<u8>>,
    },
    /// The gateway answers by itself, as the route says.
    Answer {
        /// The route.
        route: RouteId,
    },
    /// The client is sent to the TLS port.
    Redirect {
        /// 302, or 308 where the method must stay.
        status: u16,
        /// Absolute URL.
        location: String,
    },
    /// It is refused.
    Refuse {
        /// The route that denies it, if one does.
        route: Option<RouteId>,
        /// Why.
        failure: Failure,
    },
}

/// Decides, and counts the request where the listener or its route has a rate.
pub fn judge(
    plan: &Plan,
    on: ListenerId,
    client: IpAddr,
    certificate: Option<&Identity>,
    request: &Request,
    now: Instant,
) -> Decision {
    let shown = certificate.map(|shown| shown.fingerprint.as_str());
    let paced = |limiter: &Option<Arc<Limiter>>, route| {
        let field = |name: &str| request.fields.get(name);
        let wait = limiter.as_ref()?.admit(client, shown, field, now).err()?;
        Some(Decision::Refuse {
            route,
            failure: Failure::RateLimited(retry_after(wait)),
        })
    };
    // First of all: a client that asks too often costs no look at where it wants to go.
    if let Some(refused) = paced(&plan.listeners[usize::from(on.0)].rate, None) {
        return refused;
    }
    let decision = decide(plan, on, client, request);
    if let Decision::Forward { route, .. } | Decision::Answer { route } = decision
        && let Some(limits) = plan.limits(route)
        && let Some(refused) = paced(&limits.rate, Some(route))
    {
        return refused;
    }
    decision
}

/// Decides. Pure: the plan, the client's address and the request say it all.
pub fn decide(plan: &Plan, on: ListenerId, client: IpAddr, request: &Request) -> Decision {
    let refuse = |failure| Decision::Refuse {
        route: None,
        failure,
    };
    let whole: &[u8] = if &request.target[..] == b"*" {
        b"/"
    } else {
        &request.target
    };
    let (path_part, query) = match memchr::memchr(b'?', whole) {
        Some(at) => (&whole[..at], &whole[at..]),
        None => (whole, &b""[..]),
    };
    let Ok(normal) = path::normalise(path_part) else {
        return refuse(Failure::BadPath);
    };
    if normal.denied(&plan.config.deny_segments) {
        return refuse(Failure::Denied(403));
    }
    let Ok(host) = host::parse(&request.authority) else {
        return refuse(Failure::BadHost);
    };
    let listener = plan.listener(on);
    if listener.tls.is_none() && listener.redirect_https == RedirectHttps::All {
        return redirect(listener.redirect_port, request, &host.name);
    }
    let query_of = Query {
        host: &host.name,
        path: normal.matched(),
        method: request.method.as_str(),
        header: &|name: &str, value: Option<&str>| {
            request.fields.has(name, value.map(str::as_bytes))
        },
    };
    let Some(route) = plan.routes.find(on, &query_of) else {
        if listener.tls.is_none()
            && listener.protocol == Protocol::Http
            && listener.redirect_https == RedirectHttps::Default
        {
            return redirect(listener.redirect_port, request, &host.name);
        }
        return refuse(Failure::NoRoute);
    };
    if let Some(limits) = plan.limits(route)
        && let Some(gate) = &limits.gate
        && !gate.admits(client)
    {
        return Decision::Refuse {
            route: Some(route),
            failure: Failure::Network,
        };
    }
    match &plan.route(route).action {
        Action::Deny(status) => Decision::Refuse {
            route: Some(route),
            failure: Failure::Denied(*status),
        },
        Action::Redirect(_) | Action::Respond(_) | Action::Static(_) => Decision::Answer { route },
        Action::Forward(forward) => {
            let Some(change) = &forward.rewrite else {
                let target = normal.forward().map(|path| [path, query].concat());
                return Decision::Forward { route, target };
            };
            let sent = normal.forward().unwrap_or(path_part);
            let deny = &plan.config.deny_segments;
            match rewrite::changed(change, sent, &plan.route(route).path, deny) {
                Ok(path) => Decision::Forward {
                    route,
                    target: Some([&path[..], query].concat()),
                },
                Err(failure) => Decision::Refuse {
                    route: Some(route),
                    failure,
                },
            }
        }
    }
}

/// Whether the body that a request announces is too long; then no byte of it goes to a worker.
pub fn announces_too_much(request: &Request, body_bytes_max: u64) -> bool {
    matches!(request.body, BodyKind::Length(length) if body_bytes_max > 0 && length > body_bytes_max)
}

/// A place among the exchanges of a route, where these are counted.
pub fn enter(plan: &Plan, route: RouteId) -> Result<Option<Place>, Failure> {
    match plan.limits(route).and_then(|limits| limits.places.as_ref()) {
        None => Ok(None),
        Some(places) => places.enter().map(Some).ok_or(Failure::RouteFull),
    }
}

fn redirect(port: u16, request: &Request, host: &str) -> Decision {
    if host.is_empty() {
        return Decision::Refuse {
            route: None,
            failure: Failure::BadHost,
        };
    }
    let target = String::from_utf8_lossy(&request.target);
    let target = if target == "*" { "/".into() } else { target };
    let host = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let location = match port {
        443 => format!("https://{host}{target}"),
        port => format!("https://{host}:{port}{target}"),
    };
    // 302 turns a POST into a GET in most clients; 308 keeps it (RFC 9110 section 15.4.9).
    let keeps = request.method == Method::GET || request.method == Method::HEAD;
    Decision::Redirect {
        status: if keeps { 302 } else { 308 },
        location,
    }
}

/// The number that consistent hashing goes by, for pools that balance so.
pub fn hash_key(pool: &Pool, request: &Request, client: IpAddr) -> Option<u64> {
    let Balance::Hash(key) = &pool.model().balance else {
        return None;
    };
    let bytes = match key {
        HashKey::Address => match client.to_canonical() {
            IpAddr::V4(v4) => return Some(fnv(&v4.octets())),
            IpAddr::V6(v6) => return Some(fnv(&v6.octets())),
        },
        HashKey::Header(name) => request.fields.get(name)?,
        HashKey::Cookie(name) => cookie_of(request, name)?,
    };
    Some(fnv(bytes))
}

/// The worker that a client was at before, where the pool is sticky and the request says so.
pub fn home(pool: &Pool, request: &Request) -> Option<WorkerId> {
    let sticky = pool.model().sticky.as_ref()?;
    pool.named(cookie_of(request, &sticky.cookie)?)
}

/// The first cookie of a name.
fn cookie_of<'r>(request: &'r Request, name: &str) -> Option<&'r [u8]> {
    // HTTP/2 clients send a cookie in crumbs, each a field of its own (RFC 9113 section 8.2.3).
    let mut found = None;
    request.fields.for_each(|_, field, value| {
        if found.is_none() && field.eq_ignore_ascii_case(b"cookie") {
            found = cookie(value, name);
        }
    });
    found
}

fn cookie<'a>(cookies: &'a [u8], name: &str) -> Option<&'a [u8]> {
    cookies
        .split(|c| *c == b';')
        .map(<[u8]>::trim_ascii)
        .find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// FNV-1a: the same in every process, so that two gateways send a key to the same worker.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Gets a place at a worker, if there is one now.
pub fn at_once(pool: &Arc<Pool>, want: &Want<'_>) -> Result<Lease, Failure> {
    match pool.pick(want, Instant::now()) {
        Pick::Worker(lease) => Ok(lease),
        Pick::Empty => Err(Failure::NoWorker),
        Pick::Full => Err(Failure::Busy),
    }
}

/// Waits for a place at a worker where the pool allows it: while none is up, and while all are at their cap. `why` there
/// was none at once; `waits` tells of it, also where this is given up.
pub async fn wait(
    pool: &Arc<Pool>,
    why: Failure,
    want: Want<'_>,
    random: impl Fn() -> u64,
    timers: &Timers,
    waits: &Cell<Waits>,
) -> Result<Lease, Failure> {
    let want = || Want {
        random: random(),
        ..want
    };
    let model = pool.model();
    let (waiting, time, expired) = match why {
        Failure::NoWorker => (pool.hold(), model.hold.time, &pool.stats().hold_expired),
        _ => (pool.queue(), model.queue.time, &pool.stats().queue_expired),
    };
    let mut waiting = waiting.map_err(|_| why)?;
    let ahead = waiting.ahead();
    let note = |reason, now| {
        let mut noted = waits.get();
        noted.begin(reason, now);
        noted.ahead = ahead;
        waits.set(noted);
    };
    note(waiting.reason(), Instant::now());
    let timer = timers.slot();
    let got = timer
        .within(time, async {
            loop {
                let now = Instant::now();
                match waiting.pick(&want(), now) {
                    Pick::Worker(lease) => return lease,
                    Pick::Empty => note(Reason::Hold, now),
                    Pick::Full => note(Reason::Queue, now),
                }
                waiting.woken().await;
            }
        })
        .await;
    got.map_err(|_| {
        expired.fetch_add(1, Ordering::Relaxed);
        why
    })
}

#[cfg(test)]
mod tests;
