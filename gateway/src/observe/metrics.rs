//! What is counted as it happens? Handles that were looked up before, so that counting is an atomic addition.
//!
//! Promises: every name is of `names`, no label comes from a request. Of the many combinations of a listener, a route, a
//! pool, a class and a protocol only those that occur have a series: it is made when it is first counted and found
//! without a lock from then on. Does not: collect what others keep (pools, connections); `scrape` adds those.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder, IntCounter, IntCounterVec, Opts, Registry, TextEncoder};

use super::exposition::Exposition;
use super::few::Few;
use super::handshake::Reason;
use super::histogram::{Counted, Histogram};
use super::names::{self, Family};

/// The registry and what is counted in it.
pub struct Metrics {
    registry: Registry,
    exchanges: Arc<Exchanges>,
    connections: IntCounterVec,
    refused: IntCounterVec,
    requests_refused: IntCounterVec,
    rate_limited: IntCounterVec,
    handshakes: IntCounterVec,
    handshake_failures: IntCounterVec,
    mirror_sent: IntCounterVec,
    mirror_dropped: IntCounterVec,
    http2_ended: IntCounterVec,
    streams_refused: IntCounterVec,
    reloads: IntCounterVec,
    upgrades_failed: IntCounterVec,
    pickups: IntCounterVec,
    pool_pickups: IntCounterVec,
    reload_refused: AtomicBool,
    pools: Arc<Pools>,
}

/// What is counted per exchange, by labels that are put together when they are needed first.
struct Exchanges {
    requests: IntCounterVec,
    failed: IntCounterVec,
    bytes: IntCounterVec,
    duration: Histograms,
}

/// What is counted per pool.
struct Pools {
    grpc: IntCounterVec,
    failures: IntCounterVec,
    wait: Histograms,
    connect: Histograms,
    first_byte: Histograms,
}

/// The histograms of a family by their labels.
struct Histograms {
    family: &'static Family,
    series: Mutex<BTreeMap<Vec<String>, Arc<Histogram>>>,
}

impl Histograms {
    fn new(family: &'static Family) -> Histograms {
        Histograms {
            family,
            series: Mutex::default(),
        }
    }

    fn with(&self, labels: &[&str]) -> Arc<Histogram> {
        let key = labels.iter().map(|label| (*label).to_owned()).collect();
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        series.entry(key).or_default().clone()
    }

    /// Visits those in which something was counted.
    fn each(&self, mut visit: impl FnMut(&[String], &Counted)) {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        for (labels, histogram) in &*series {
            let counted = histogram.counted();
            if counted.count > 0 {
                visit(labels, &counted);
            }
        }
    }

    fn tell(&self, text: &mut Exposition) {
        let mut told = text.family(self.family);
        self.each(|labels, counted| {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            told.histogram(&labels, counted);
        });
    }
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let counter = |family: &Family| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(family.name, family.help), family.labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let exchanges = Exchanges {
            requests: counter(&names::REQUESTS)?,
            failed: counter(&names::REQUESTS_FAILED)?,
            bytes: counter(&names::BODY_BYTES)?,
            duration: Histograms::new(&names::REQUEST_DURATION),
        };
        let pools = Pools {
            grpc: counter(&names::GRPC_RESPONSES)?,
            failures: counter(&names::POOL_FAILURES)?,
            wait: Histograms::new(&names::POOL_WAIT),
            connect: Histograms::new(&names::POOL_CONNECT),
            first_byte: Histograms::new(&names::POOL_FIRST_BYTE),
        };
        let connections = counter(&names::CONNECTIONS)?;
        let refused = counter(&names::CONNECTIONS_REFUSED)?;
        let requests_refused = counter(&names::REQUESTS_REFUSED)?;
        let rate_limited = counter(&names::RATE_LIMITED)?;
        let handshakes = counter(&names::HANDSHAKES)?;
        let handshake_failures = counter(&names::HANDSHAKE_FAILURES)?;
        let mirror_sent = counter(&names::MIRROR_SENT)?;
        let mirror_dropped = counter(&names::MIRROR_DROPPED)?;
        let http2_ended = counter(&names::CONNECTIONS_ENDED)?;
        let streams_refused = counter(&names::STREAMS_REFUSED)?;
        let reloads = counter(&names::RELOADS)?;
        let upgrades_failed = counter(&names::UPGRADES_FAILED)?;
        // Told from the beginning, as 0.
        upgrades_failed.with_label_values::<&str>(&[]);
        let pickups = counter(&names::CERTIFICATE_PICKUPS)?;
        let pool_pickups = counter(&names::POOL_TLS_PICKUPS)?;
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Metrics {
            registry,
            exchanges: Arc::new(exchanges),
            connections,
            refused,
            requests_refused,
            rate_limited,
            handshakes,
            handshake_failures,
            mirror_sent,
            mirror_dropped,
            http2_ended,
            streams_refused,
            reloads,
            upgrades_failed,
            pickups,
            pool_pickups,
            reload_refused: AtomicBool::new(false),
            pools: Arc::new(pools),
        })
    }

    /// The counters of a route's copies.
    pub fn mirror(&self, route: &str) -> MirrorMetrics {
        MirrorMetrics {
            sent: self.mirror_sent.with_label_values(&[route]),
            families: self.mirror_dropped.clone(),
            route: route.to_owned(),
            dropped: Few::new(),
        }
    }

    /// Counts a reload.
    pub fn reload(&self, done: bool) {
        self.reload_refused.store(!done, Ordering::Relaxed);
        self.reloads
            .with_label_values(&[if done { "done" } else { "refused" }])
            .inc();
    }

    /// Counts an upgrade after which this process serves on.
    pub fn upgrade_failed(&self) {
        self.upgrades_failed.with_label_values::<&str>(&[]).inc();
    }

    /// Counts files of a listener's TLS that were replaced, and taken over or refused.
    pub fn pickup(&self, listener: &str, done: bool) {
        self.pickups
            .with_label_values(&[listener, if done { "done" } else { "refused" }])
            .inc();
    }

    /// Counts files of TLS towards a pool's workers that were replaced, and taken over or refused.
    pub fn pool_pickup(&self, pool: &str, done: bool) {
        self.pool_pickups
            .with_label_values(&[pool, if done { "done" } else { "refused" }])
            .inc();
    }

    /// The counters of one listener, for so many routes and pools.
    pub fn listener(&self, listener: &str, routes: usize, pools: usize) -> ListenerMetrics {
        let refused = |limit| self.refused.with_label_values(&[listener, limit]);
        let failed = |reason: Reason| {
            self.handshake_failures
                .with_label_values(&[listener, reason.word()])
        };
        ListenerMetrics {
            name: listener.to_owned(),
            exchanges: self.exchanges.clone(),
            routes: (0..=routes).map(|_| Few::new()).collect(),
            pools: (0..=pools).map(|_| OnceLock::new()).collect(),
            failed: Few::new(),
            http2_ended: (self.http2_ended.clone(), Few::new()),
            streams_refused: self.streams_refused.with_label_values(&[listener]),
            connections: self.connections.with_label_values(&[listener]),
            refused_total: refused("connections_max"),
            refused_client: refused("connections_per_client_max"),
            refused_proxy_protocol: refused("proxy_protocol"),
            refused_network: refused("network"),
            rate_limited: self.rate_limited.with_label_values(&[listener, ""]),
            handshakes: ["TLSv1.2", "TLSv1.3"].map(|version| {
                ["false", "true"].map(|resumed| {
                    self.handshakes
                        .with_label_values(&[listener, version, resumed])
                })
            }),
            handshake_failures: Reason::ALL.map(failed),
        }
    }

    /// The counters of one route with limits on one listener.
    pub fn route(&self, listener: &str, route: &str) -> RouteMetrics {
        let refused = |limit| {
            self.requests_refused
                .with_label_values(&[listener, route, limit])
        };
        RouteMetrics {
            network: refused("network"),
            in_flight: refused("in_flight_max"),
            body: refused("body_bytes_max"),
            rate: self.rate_limited.with_label_values(&[listener, route]),
        }
    }

    /// The counters of one pool; of exchanges without one under the empty name.
    pub fn pool(&self, pool: &str) -> PoolMetrics {
        PoolMetrics {
            name: pool.to_owned(),
            hold: self.pools.wait.with(&[pool, "hold"]),
            queue: self.pools.wait.with(&[pool, "queue"]),
            connect: self.pools.connect.with(&[pool]),
            first_byte: self.pools.first_byte.with(&[pool]),
            grpc: [const { OnceLock::new() }; GRPC_CODES.len()],
            failed: Few::new(),
            families: self.pools.clone(),
        }
    }

    /// All that is counted here, in Prometheus' text format.
    pub fn text(&self, out: &mut Vec<u8>) -> Result<(), prometheus::Error> {
        TextEncoder::new().encode(&self.registry.gather(), out)?;
        let mut text = Exposition::default();
        let (exchanges, pools) = (&self.exchanges, &self.pools);
        for histograms in [
            &exchanges.duration,
            &pools.wait,
            &pools.connect,
            &pools.first_byte,
        ] {
            histograms.tell(&mut text);
        }
        text.family(&names::RELOAD_REFUSED)
            .line(&[], self.reload_refused.load(Ordering::Relaxed).into());
        out.extend_from_slice(text.into_text().as_bytes());
        Ok(())
    }
}

const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
const PROTOCOLS: [&str; 3] = ["HTTP/1.0", "HTTP/1.1", "HTTP/2.0"];
/// By number; the last stands for what is no number of gRPC's.
const GRPC_CODES: [&str; 18] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
    "other",
];

/// Handles of one listener.
pub struct ListenerMetrics {
    name: String,
    exchanges: Arc<Exchanges>,
    /// By the route's place, the last for none; in it by the pool's place. A route has one pool, or a few.
    routes: Vec<Few<Option<usize>, Box<Statuses>>>,
    /// By the pool's place, the last for none.
    pools: Vec<OnceLock<Box<Sums>>>,
    failed: Few<&'static str, IntCounter>,
    http2_ended: (IntCounterVec, Few<&'static str, IntCounter>),
    streams_refused: IntCounter,
    /// Connections accepted.
    pub connections: IntCounter,
    /// Connections over the listener's cap.
    pub refused_total: IntCounter,
    /// Connections over a client's cap.
    pub refused_client: IntCounter,
    /// Trusted peers whose header of the PROXY protocol was missing or malformed.
    pub refused_proxy_protocol: IntCounter,
    /// Connections from networks that may not connect.
    pub refused_network: IntCounter,
    /// Requests over the listener's rate.
    pub rate_limited: IntCounter,
    handshakes: [[IntCounter; 2]; 2],
    handshake_failures: [IntCounter; Reason::ALL.len()],
}

/// By class and protocol.
type Statuses = [[OnceLock<IntCounter>; 3]; 6];

struct Sums {
    duration: Arc<Histogram>,
    bytes_in: IntCounter,
    bytes_out: IntCounter,
}

/// Handles of one route with limits on one listener: what was refused.
pub struct RouteMetrics {
    /// The client's network may not.
    pub network: IntCounter,
    /// Too many at once.
    pub in_flight: IntCounter,
    /// The body is too large.
    pub body: IntCounter,
    /// The client asks too often.
    pub rate: IntCounter,
}

/// An exchange that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Place of its route.
    pub route: Option<usize>,
    /// Place of its pool.
    pub pool: Option<usize>,
    /// Status that the client saw; 0 for none.
    pub status: u16,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1, 2 for HTTP/2.
    pub protocol: usize,
    /// From its head to its end.
    pub taken: Duration,
    /// Request body bytes.
    pub bytes_in: u64,
    /// Response body bytes.
    pub bytes_out: u64,
    /// `ok`, or who ended it and why.
    pub end: &'static str,
}

/// Handles of a route with a mirror.
pub struct MirrorMetrics {
    /// Copies that were answered.
    pub sent: IntCounter,
    families: IntCounterVec,
    route: String,
    dropped: Few<&'static str, IntCounter>,
}

impl MirrorMetrics {
    /// Counts a copy that was given up.
    pub fn drop(&self, reason: &'static str) {
        let make = || self.families.with_label_values(&[&self.route, reason]);
        self.dropped.get(reason, make).inc();
    }
}

impl ListenerMetrics {
    /// Counts an HTTP/2 connection that was ended for its client's fault.
    pub fn end_http2(&self, reason: &'static str) {
        let (families, few) = &self.http2_ended;
        let make = || families.with_label_values(&[self.name.as_str(), reason]);
        few.get(reason, make).inc();
    }

    /// Counts HTTP/2 streams that were over the limit.
    pub fn refuse_streams(&self, count: u32) {
        self.streams_refused.inc_by(count.into());
    }

    /// Counts an exchange. `named` names its route and its pool; it is asked once for each series.
    pub fn exchange<'a>(&self, ended: &Ended, named: impl Fn() -> (&'a str, &'a str)) {
        let Exchanges {
            requests,
            failed,
            bytes,
            duration,
        } = &*self.exchanges;
        let none = self.routes.len() - 1;
        let route = &self.routes[ended.route.unwrap_or(none).min(none)];
        let statuses = route.get(ended.pool, Box::default);
        let class = usize::from(ended.status / 100).min(5);
        let protocol = ended.protocol.min(2);
        statuses[class][protocol]
            .get_or_init(|| {
                let (route, pool) = named();
                let (class, protocol) = (CLASSES[class], PROTOCOLS[protocol]);
                requests.with_label_values(&[&self.name, route, pool, class, protocol])
            })
            .inc();
        let none = self.pools.len() - 1;
        let sums = self.pools[ended.pool.unwrap_or(none).min(none)].get_or_init(|| {
            let (_, pool) = named();
            Box::new(Sums {
                duration: duration.with(&[&self.name, pool]),
                bytes_in: bytes.with_label_values(&[&self.name, pool, "in"]),
                bytes_out: bytes.with_label_values(&[&self.name, pool, "out"]),
            })
        });
        sums.duration.observe(ended.taken);
        if ended.bytes_in > 0 {
            sums.bytes_in.inc_by(ended.bytes_in);
        }
        if ended.bytes_out > 0 {
            sums.bytes_out.inc_by(ended.bytes_out);
        }
        if ended.end != "ok" {
            let make = || failed.with_label_values(&[&self.name, ended.end]);
            self.failed.get(ended.end, make).inc();
        }
    }

    /// Counts a handshake.
    pub fn handshake(&self, version: &str, resumed: bool) {
        self.handshakes[usize::from(version != "TLSv1.2")][usize::from(resumed)].inc();
    }

    /// Counts a handshake that failed.
    pub fn handshake_failed(&self, reason: Reason) {
        self.handshake_failures[reason as usize].inc();
    }
}

/// Handles of one pool.
pub struct PoolMetrics {
    name: String,
    /// Waited because no worker was up, and got one.
    pub hold: Arc<Histogram>,
    /// Waited because all were full, and got one.
    pub queue: Arc<Histogram>,
    /// Made a new connection.
    pub connect: Arc<Histogram>,
    /// The worker's answer began.
    pub first_byte: Arc<Histogram>,
    grpc: [OnceLock<IntCounter>; GRPC_CODES.len()],
    failed: Few<&'static str, IntCounter>,
    families: Arc<Pools>,
}

impl PoolMetrics {
    /// Counts the status of a gRPC call.
    pub fn grpc(&self, code: u8) {
        let at = usize::from(code).min(GRPC_CODES.len() - 1);
        self.grpc[at]
            .get_or_init(|| {
                let labels = [self.name.as_str(), GRPC_CODES[at]];
                self.families.grpc.with_label_values(&labels)
            })
            .inc();
    }

    /// Counts an attempt that a worker failed.
    pub fn failed(&self, reason: &'static str) {
        let make = || {
            let labels = [self.name.as_str(), reason];
            self.families.failures.with_label_values(&labels)
        };
        self.failed.get(reason, make).inc();
    }
}

mod totals;

pub use totals::{Sum, Totals};

#[cfg(test)]
mod tests;
