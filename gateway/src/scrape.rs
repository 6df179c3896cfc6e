//! What does `/metrics` tell? What is counted as it happens, then what pools and listeners keep.
//!
//! Promises: reads live state and costs the data threads nothing. Does not: count.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::observe::metrics::Metrics;
use crate::pool::Stats;
use crate::shard::Shared;

/// What is counted as it happens, then what pools and listeners keep.
pub fn text(shared: &Shared, metrics: &Metrics) -> Vec<u8> {
    let mut out = Vec::new();
    if let Err(error) = metrics.text(&mut out) {
        tracing::error!(%error, "metrics could not be written");
    }
    let plan = shared.plan.load();
    let mut text = Exposition(String::new());
    text.head(
        "portcullis_exchanges_in_flight",
        "gauge",
        "Exchanges that have not ended, tunnels and streams included.",
    );
    text.line(
        "portcullis_exchanges_in_flight",
        &[],
        shared.in_flight.load(Ordering::Relaxed),
    );
    text.head(
        "portcullis_connections_open",
        "gauge",
        "Open client connections, by listener.",
    );
    for (id, listener) in plan.config.listeners.iter().enumerate() {
        let open = u64::from(shared.clients.open(id));
        text.line(
            "portcullis_connections_open",
            &[("listener", &listener.name)],
            open,
        );
    }
    text.head(
        "portcullis_access_log_blocks_dropped_total",
        "counter",
        "Blocks of log lines lost to a slow writer.",
    );
    text.line(
        "portcullis_access_log_blocks_dropped_total",
        &[],
        shared.log.dropped(),
    );
    text.head(
        "portcullis_pool_workers_live",
        "gauge",
        "Workers that get traffic, by pool.",
    );
    for pool in &plan.pools {
        text.line(
            "portcullis_pool_workers_live",
            &[("pool", pool.name())],
            pool.live() as u64,
        );
    }
    for (name, help, read) in POOL_COUNTERS {
        text.head(name, "counter", help);
        for pool in &plan.pools {
            text.line(
                name,
                &[("pool", pool.name())],
                read(pool.stats()).load(Ordering::Relaxed),
            );
        }
    }
    out.extend_from_slice(text.0.as_bytes());
    out
}

type PoolCounter = (&'static str, &'static str, fn(&Stats) -> &AtomicU64);

const POOL_COUNTERS: [PoolCounter; 19] = [
    (
        "portcullis_pool_picks_total",
        "Workers picked, retries included.",
        |s| &s.picks,
    ),
    (
        "portcullis_pool_retries_total",
        "Attempts after the first.",
        |s| &s.retries,
    ),
    (
        "portcullis_pool_retries_denied_total",
        "Retries that the budget did not allow.",
        |s| &s.retries_denied,
    ),
    (
        "portcullis_pool_held_total",
        "Requests held because no worker was up.",
        |s| &s.held,
    ),
    (
        "portcullis_pool_hold_refused_total",
        "Requests that could not be held.",
        |s| &s.hold_refused,
    ),
    (
        "portcullis_pool_hold_expired_total",
        "Held requests whose time ran out.",
        |s| &s.hold_expired,
    ),
    (
        "portcullis_pool_queued_total",
        "Requests queued because every worker was at its cap.",
        |s| &s.queued,
    ),
    (
        "portcullis_pool_queue_refused_total",
        "Requests that could not be queued.",
        |s| &s.queue_refused,
    ),
    (
        "portcullis_pool_queue_expired_total",
        "Queued requests whose time ran out.",
        |s| &s.queue_expired,
    ),
    (
        "portcullis_pool_backed_up_total",
        "Requests that a backup took because too few workers were up, by the pool it stood in for.",
        |s| &s.backed_up,
    ),
    (
        "portcullis_pool_maintenance_refused_total",
        "Requests turned away because of maintenance.",
        |s| &s.maintenance,
    ),
    (
        "portcullis_pool_sticky_kept_total",
        "Requests whose cookie named a worker that then got them.",
        |s| &s.sticky_kept,
    ),
    (
        "portcullis_pool_sticky_moved_total",
        "Requests whose cookie named a worker that could not get them.",
        |s| &s.sticky_moved,
    ),
    (
        "portcullis_pool_ejections_total",
        "Ejections after failures in a row.",
        |s| &s.ejections,
    ),
    (
        "portcullis_pool_workers_up_total",
        "Workers that began to get traffic.",
        |s| &s.ups,
    ),
    (
        "portcullis_pool_workers_down_total",
        "Workers that ceased to get traffic.",
        |s| &s.downs,
    ),
    (
        "portcullis_pool_probes_total",
        "Connections made to find workers.",
        |s| &s.probes,
    ),
    ("portcullis_pool_checks_total", "Active checks.", |s| {
        &s.checks
    }),
    (
        "portcullis_pool_checks_failed_total",
        "Active checks that failed.",
        |s| &s.checks_failed,
    ),
];

/// Prometheus' text format, for values that are read rather than counted here.
struct Exposition(String);

impl Exposition {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.0
            .push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.0.push_str(name);
        if !labels.is_empty() {
            let labels: Vec<_> = labels
                .iter()
                .map(|(label, value)| format!("{label}={value:?}"))
                .collect();
            self.0.push_str(&format!("{{{}}}", labels.join(",")));
        }
        self.0.push_str(&format!(" {value}\n"));
    }
}
