//! What does `/metrics` tell? What is counted as it happens, then what pools and listeners keep.
//!
//! Promises: reads live state and costs the data threads nothing; every name is of `observe::names`. Does not: count.

mod haproxy;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::dependency;
use crate::observe::exposition::Exposition;
use crate::observe::metrics::Metrics;
use crate::observe::names::{self, Family};
use crate::plan::Plan;
use crate::pool::{Snapshot, State, Stats};
use crate::shard::Shared;

/// All metrics in Prometheus' text format.
pub fn text(shared: &Shared, metrics: &Metrics) -> Vec<u8> {
    let mut out = Vec::new();
    if let Err(error) = metrics.text(&mut out) {
        tracing::error!(%error, "metrics could not be written");
    }
    let plan = shared.plan.load();
    let mut text = Exposition::default();
    itself(&mut text, shared, &plan);
    listeners(&mut text, shared, &plan);
    certificates(&mut text, &plan);
    revocation_lists(&mut text, &plan);
    let snapshots: Vec<_> = plan.pools.iter().map(|pool| pool.snapshot()).collect();
    pools(&mut text, &plan, &snapshots);
    if plan.config.metrics.per_worker {
        workers(&mut text, &plan, &snapshots);
    }
    dependencies(&mut text, &plan);
    if plan.config.metrics.haproxy_names {
        haproxy::tell(&mut text, shared, metrics, &plan, &snapshots);
    }
    out.extend_from_slice(text.into_text().as_bytes());
    out
}

fn itself(text: &mut Exposition, shared: &Shared, plan: &Plan) {
    text.family(&names::BUILD)
        .line(&[env!("CARGO_PKG_VERSION")], 1);
    text.family(&names::DRAINING)
        .line(&[], shared.is_draining().into());
    text.family(&names::BUFFERS)
        .line(&[], shared.buffers.kept() as u64);
    text.family(&names::BUFFERS_REFUSED)
        .line(&[], shared.buffers.refused());
    text.family(&names::MEMORY_MAX)
        .line(&[], shared.memory.max());
    text.family(&names::MEMORY_FULL)
        .line(&[], shared.memory.is_reached().into());
    text.family(&names::IN_FLIGHT)
        .line(&[], shared.in_flight.total());
    text.family(&names::COMPRESSIONS_SKIPPED)
        .line(&[], plan.compressions_skipped());
    text.family(&names::LOG_DROPPED)
        .line(&[], shared.log.dropped());
    text.family(&names::LOG_LEFT_OUT)
        .line(&[], shared.log.left_out());
    if let Some(tracer) = &shared.tracer {
        text.family(&names::TRACES_EXPORTED)
            .line(&[], tracer.exported());
        text.family(&names::TRACES_DROPPED)
            .line(&[], tracer.dropped());
    }
}

fn listeners(text: &mut Exposition, shared: &Shared, plan: &Plan) {
    type Read = fn(&Shared, &Plan, usize) -> u64;
    let gauges: [(&Family, Read); 4] = [
        (&names::CONNECTIONS_OPEN, |shared, _, id| {
            shared.clients.open(id).into()
        }),
        (&names::CONNECTIONS_MAX, |_, plan, id| {
            plan.config.listeners[id].limits.connections_max.into()
        }),
        (&names::STREAMS, |shared, _, id| {
            shared.in_flight.streams(id)
        }),
        (&names::TUNNELS, |shared, _, id| {
            shared.in_flight.tunnels(id)
        }),
    ];
    for (family, read) in gauges {
        let mut series = text.family(family);
        for (id, listener) in plan.config.listeners.iter().enumerate() {
            series.line(&[&listener.name], read(shared, plan, id));
        }
    }
}

fn certificates(text: &mut Exposition, plan: &Plan) {
    let mut series = text.family(&names::CERTIFICATE_EXPIRY);
    for (listener, running) in plan.config.listeners.iter().zip(&plan.listeners) {
        let live = running.tls.as_ref().filter(|_| !listener.bind.is_empty());
        for shown in live.map(|live| live.shown()).unwrap_or_default() {
            let labels = [listener.name.as_str(), &shown.chain.to_string_lossy()];
            series.line(&labels, u64::try_from(shown.expires).unwrap_or(0));
        }
    }
}

/// Where a file has several, the first that runs out counts.
fn revocation_lists(text: &mut Exposition, plan: &Plan) {
    let mut series = text.family(&names::CRL_EXPIRY);
    for (listener, running) in plan.config.listeners.iter().zip(&plan.listeners) {
        let live = running.tls.as_ref().filter(|_| !listener.bind.is_empty());
        let mut ends = BTreeMap::new();
        for list in live.map(|live| live.lists()).unwrap_or_default() {
            let first = ends.entry(list.file).or_insert(list.ends);
            *first = list.ends.min(*first);
        }
        for (file, ends) in ends {
            let labels = [listener.name.as_str(), &file.to_string_lossy()];
            series.line(&labels, u64::try_from(ends).unwrap_or(0));
        }
    }
}

/// What a worker may be besides absent.
const STATES: [State; 5] = [
    State::Up,
    State::Unchecked,
    State::Unhealthy,
    State::Ejected,
    State::Draining,
];

fn pools(text: &mut Exposition, plan: &Plan, snapshots: &[Vec<Snapshot>]) {
    let pools = || plan.pools.iter().zip(snapshots);
    let mut series = text.family(&names::POOL_CERTIFICATE_EXPIRY);
    for pool in &plan.pools {
        if let Some((chain, ends)) = pool.own_certificate() {
            let labels = [pool.name(), &chain.to_string_lossy()];
            series.line(&labels, u64::try_from(ends).unwrap_or(0));
        }
    }
    let mut series = text.family(&names::POOL_SLOTS);
    for (pool, workers) in pools() {
        series.line(&[pool.name()], workers.len() as u64);
    }
    let mut series = text.family(&names::POOL_LIVE);
    for (pool, _) in pools() {
        series.line(&[pool.name()], pool.live() as u64);
    }
    let mut series = text.family(&names::POOL_WORKERS);
    for (pool, workers) in pools() {
        for state in STATES {
            let count = workers
                .iter()
                .filter(|worker| worker.state == state)
                .count();
            series.line(&[pool.name(), state.as_str()], count as u64);
        }
    }
    let mut series = text.family(&names::POOL_IN_FLIGHT);
    for (pool, workers) in pools() {
        let requests = workers
            .iter()
            .map(|worker| u64::from(worker.requests))
            .sum();
        let streams = workers.iter().map(|worker| u64::from(worker.streams)).sum();
        series.line(&[pool.name(), "request"], requests);
        series.line(&[pool.name(), "stream"], streams);
    }
    let mut series = text.family(&names::POOL_WAITING);
    for (pool, _) in pools() {
        let (held, queued) = pool.waiting();
        series.line(&[pool.name(), "hold"], held.into());
        series.line(&[pool.name(), "queue"], queued.into());
    }
    let mut series = text.family(&names::POOL_CLOSED);
    for (pool, _) in pools() {
        series.line(&[pool.name()], pool.is_closed().into());
    }
    for (family, read) in POOL_COUNTERS {
        let mut series = text.family(family);
        for (pool, _) in pools() {
            series.line(&[pool.name()], read(pool.stats()).load(Ordering::Relaxed));
        }
    }
}

/// Each worker that is there.
fn workers(text: &mut Exposition, plan: &Plan, snapshots: &[Vec<Snapshot>]) {
    let each = |tell: &mut dyn FnMut(&str, &str, &Snapshot)| {
        for (pool, workers) in plan.pools.iter().zip(snapshots) {
            for worker in workers.iter().filter(|w| w.state != State::Absent) {
                tell(pool.name(), &worker.addr.to_string(), worker);
            }
        }
    };
    let mut series = text.family(&names::WORKER_UP);
    each(&mut |pool, at, worker| {
        series.line(&[pool, at], (worker.state == State::Up).into());
    });
    let mut series = text.family(&names::WORKER_IN_FLIGHT);
    each(&mut |pool, at, worker| {
        series.line(&[pool, at, "request"], worker.requests.into());
        series.line(&[pool, at, "stream"], worker.streams.into());
    });
    let mut series = text.family(&names::WORKER_FAILURES);
    each(&mut |pool, at, worker| series.line(&[pool, at], worker.failures.into()));
}

/// What the services need besides workers.
fn dependencies(text: &mut Exposition, plan: &Plan) {
    let each = |tell: &mut dyn FnMut(&[&str], &dependency::Dependency)| {
        for dependency in &plan.dependencies {
            tell(
                &[dependency.name(), dependency.model().kind.word()],
                dependency,
            );
        }
    };
    let mut series = text.family(&names::DEPENDENCY_UP);
    each(&mut |labels, it| {
        series.line(
            labels,
            (it.snapshot().state == dependency::State::Up).into(),
        );
    });
    let mut series = text.family(&names::DEPENDENCY_CHECK);
    each(&mut |labels, it| {
        if let Some((_, took)) = it.snapshot().last {
            series.number(labels, took.as_secs_f64());
        }
    });
    let mut series = text.family(&names::DEPENDENCY_CHECKS);
    each(&mut |labels, it| series.line(labels, it.checks()));
    let mut series = text.family(&names::DEPENDENCY_CHECKS_FAILED);
    each(&mut |labels, it| series.line(labels, it.checks_failed()));
}

type PoolCounter = (&'static Family, fn(&Stats) -> &AtomicU64);

static POOL_COUNTERS: [PoolCounter; 20] = [
    (&names::POOL_PICKS, |s| &s.picks),
    (&names::POOL_RETRIES, |s| &s.retries),
    (&names::POOL_RETRIES_DENIED, |s| &s.retries_denied),
    (&names::POOL_HELD, |s| &s.held),
    (&names::POOL_HOLD_REFUSED, |s| &s.hold_refused),
    (&names::POOL_HOLD_EXPIRED, |s| &s.hold_expired),
    (&names::POOL_QUEUED, |s| &s.queued),
    (&names::POOL_QUEUE_REFUSED, |s| &s.queue_refused),
    (&names::POOL_QUEUE_EXPIRED, |s| &s.queue_expired),
    (&names::POOL_BACKED_UP, |s| &s.backed_up),
    (&names::POOL_MAINTENANCE, |s| &s.maintenance),
    (&names::POOL_STICKY_KEPT, |s| &s.sticky_kept),
    (&names::POOL_STICKY_MOVED, |s| &s.sticky_moved),
    (&names::POOL_EJECTIONS, |s| &s.ejections),
    (&names::POOL_UPS, |s| &s.ups),
    (&names::POOL_DOWNS, |s| &s.downs),
    (&names::POOL_SCANS, |s| &s.scans),
    (&names::POOL_PROBES, |s| &s.probes),
    (&names::POOL_CHECKS, |s| &s.checks),
    (&names::POOL_CHECKS_FAILED, |s| &s.checks_failed),
];
