//! What is counted, under which name? Every metric of the gateway that is counted as it happens.
//!
//! Promises: names and labels are stable, no label comes from a request, counting is an atomic addition on a handle
//! that was looked up before. Does not: collect what others keep (pools, connections); the admin page adds those.

use super::handshake::Reason;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
    TextEncoder,
};

/// Seconds; from half a millisecond to the longest exchange usual behind a fleet server.
const BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0, 300.0,
];

/// The registry and what is counted in it.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
    bytes: IntCounterVec,
    connections: IntCounterVec,
    refused: IntCounterVec,
    requests_refused: IntCounterVec,
    rate_limited: IntCounterVec,
    handshakes: IntCounterVec,
    handshake_failures: IntCounterVec,
    reloads: IntCounterVec,
    pickups: IntCounterVec,
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let counter =
            |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
                let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
                registry.register(Box::new(counter.clone()))?;
                Ok(counter)
            };
        let requests = counter(
            "portcullis_requests_total",
            "Exchanges that have ended, by listener, pool (empty where none was chosen), status class and protocol.",
            &["listener", "pool", "class", "protocol"],
        )?;
        let bytes = counter(
            "portcullis_body_bytes_total",
            "Bytes of bodies, by listener and direction (in: from clients, out: to clients).",
            &["listener", "direction"],
        )?;
        let connections = counter(
            "portcullis_connections_total",
            "Connections accepted, by listener.",
            &["listener"],
        )?;
        let refused = counter(
            "portcullis_connections_refused_total",
            "Connections closed before they were served, by listener and the limit they met.",
            &["listener", "limit"],
        )?;
        let requests_refused = counter(
            "portcullis_requests_refused_total",
            "Requests refused by a limit of their route, by listener, route and limit.",
            &["listener", "route", "limit"],
        )?;
        let rate_limited = counter(
            "portcullis_rate_limited_total",
            "Requests refused because their client asked too often, by listener and route (empty: the listener's own rate).",
            &["listener", "route"],
        )?;
        let handshakes = counter(
            "portcullis_tls_handshakes_total",
            "TLS handshakes done, by listener, version and whether a session was resumed.",
            &["listener", "version", "resumed"],
        )?;
        let handshake_failures = counter(
            "portcullis_tls_handshake_failures_total",
            "TLS handshakes that failed, by listener and reason.",
            &["listener", "reason"],
        )?;
        let reloads = counter(
            "portcullis_reloads_total",
            "Reloads of the configuration, by result (done, refused).",
            &["result"],
        )?;
        let pickups = counter(
            "portcullis_certificate_pickups_total",
            "Certificates and lists that were replaced on the disk, by listener and result (done, refused).",
            &["listener", "result"],
        )?;
        let duration = HistogramVec::new(
            HistogramOpts::new(
                "portcullis_request_duration_seconds",
                "From the request's head to the end of the response, by listener and pool, in seconds.",
            )
            .buckets(BUCKETS.to_vec()),
            &["listener", "pool"],
        )?;
        registry.register(Box::new(duration.clone()))?;
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(Metrics {
            registry,
            requests,
            duration,
            bytes,
            connections,
            refused,
            requests_refused,
            rate_limited,
            handshakes,
            handshake_failures,
            reloads,
            pickups,
        })
    }

    /// Counts a reload.
    pub fn reload(&self, done: bool) {
        self.reloads
            .with_label_values(&[if done { "done" } else { "refused" }])
            .inc();
    }

    /// Counts files of a listener's TLS that were replaced, and taken over or refused.
    pub fn pickup(&self, listener: &str, done: bool) {
        self.pickups
            .with_label_values(&[listener, if done { "done" } else { "refused" }])
            .inc();
    }

    /// The counters of one listener; `pools` in order of their ids.
    pub fn listener(&self, listener: &str, pools: &[&str]) -> ListenerMetrics {
        let pool_metrics = |pool: &str| PoolMetrics {
            requests: CLASSES.map(|class| {
                PROTOCOLS.map(|protocol| {
                    self.requests
                        .with_label_values(&[listener, pool, class, protocol])
                })
            }),
            duration: self.duration.with_label_values(&[listener, pool]),
        };
        ListenerMetrics {
            none: pool_metrics(""),
            pools: pools.iter().map(|pool| pool_metrics(pool)).collect(),
            bytes_in: self.bytes.with_label_values(&[listener, "in"]),
            bytes_out: self.bytes.with_label_values(&[listener, "out"]),
            connections: self.connections.with_label_values(&[listener]),
            refused_total: self
                .refused
                .with_label_values(&[listener, "connections_max"]),
            refused_client: self
                .refused
                .with_label_values(&[listener, "connections_per_client_max"]),
            refused_proxy_protocol: self
                .refused
                .with_label_values(&[listener, "proxy_protocol"]),
            refused_network: self.refused.with_label_values(&[listener, "network"]),
            rate_limited: self.rate_limited.with_label_values(&[listener, ""]),
            handshakes: ["TLSv1.2", "TLSv1.3"].map(|version| {
                ["false", "true"].map(|resumed| {
                    self.handshakes
                        .with_label_values(&[listener, version, resumed])
                })
            }),
            handshake_failures: Reason::ALL.map(|reason| {
                self.handshake_failures
                    .with_label_values(&[listener, reason.word()])
            }),
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

    /// All that is counted here, in Prometheus' text format.
    pub fn text(&self, out: &mut Vec<u8>) -> Result<(), prometheus::Error> {
        TextEncoder::new().encode(&self.registry.gather(), out)
    }
}

const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
const PROTOCOLS: [&str; 3] = ["HTTP/1.0", "HTTP/1.1", "HTTP/2.0"];

/// Handles of one listener.
pub struct ListenerMetrics {
    none: PoolMetrics,
    pools: Vec<PoolMetrics>,
    /// Request body bytes.
    pub bytes_in: IntCounter,
    /// Response body bytes.
    pub bytes_out: IntCounter,
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

struct PoolMetrics {
    requests: [[IntCounter; 3]; 6],
    duration: Histogram,
}

impl ListenerMetrics {
    /// Counts an exchange. `protocol` is 0 for HTTP/1.0, 1 for HTTP/1.1, 2 for HTTP/2.
    pub fn exchange(
        &self,
        pool: Option<usize>,
        status: u16,
        protocol: usize,
        seconds: f64,
        bytes_in: u64,
        bytes_out: u64,
    ) {
        let pool = pool
            .and_then(|pool| self.pools.get(pool))
            .unwrap_or(&self.none);
        pool.requests[usize::from(status / 100).min(5)][protocol.min(2)].inc();
        pool.duration.observe(seconds);
        if bytes_in > 0 {
            self.bytes_in.inc_by(bytes_in);
        }
        if bytes_out > 0 {
            self.bytes_out.inc_by(bytes_out);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_is_counted_under_its_labels() {
        let metrics = Metrics::new().unwrap();
        let listener = metrics.listener("https", &["api", "app"]);
        listener.exchange(Some(1), 204, 2, 0.002, 0, 17);
        listener.exchange(None, 503, 1, 0.1, 0, 0);
        let mut text = Vec::new();
        metrics.text(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for line in [
            r#"portcullis_requests_total{class="2xx",listener="https",pool="app",protocol="HTTP/2.0"} 1"#,
            r#"portcullis_requests_total{class="5xx",listener="https",pool="",protocol="HTTP/1.1"} 1"#,
            r#"portcullis_body_bytes_total{direction="out",listener="https"} 17"#,
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
