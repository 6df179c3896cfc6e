//! How does the gateway fare? What runs, as JSON.
//!
//! Promises: from live state, at no cost to the data threads. Names of fields are stable.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use crate::pool::{Pool, Snapshot, State};
use crate::shard::Shared;

/// Everything at a glance; workers that are not there are left out.
pub fn status(shared: &Shared, since: Instant) -> Value {
    let plan = shared.plan.load();
    let listeners: Vec<_> = plan
        .config
        .listeners
        .iter()
        .enumerate()
        .filter(|(id, listener)| !listener.bind.is_empty() || shared.clients.open(*id) > 0)
        .map(|(id, listener)| {
            let connections = shared.clients.open(id);
            json!({ "name": listener.name, "addresses": shared.listening(id), "connections": connections })
        })
        .collect();
    let now = Instant::now();
    let pools: Vec<_> = plan
        .pools
        .iter()
        .map(|pool| {
            let mut told = pool_line(pool);
            told["workers"] = workers_of(pool, false, now).into();
            told
        })
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "state": if shared.is_draining() { "draining" } else { "ready" },
        "seconds": since.elapsed().as_secs(),
        "exchanges_in_flight": shared.in_flight.total(),
        "listeners": listeners,
        "pools": pools,
    })
}

/// The pools without their workers.
pub fn pools(shared: &Shared) -> Value {
    let plan = shared.plan.load();
    let pools: Vec<_> = plan.pools.iter().map(|pool| pool_line(pool)).collect();
    json!({ "pools": pools })
}

/// The workers of all pools, or of one; `None` where there is no pool of that name. `all` counts the empty ports in.
pub fn workers(shared: &Shared, pool: Option<&str>, all: bool) -> Option<Value> {
    let plan = shared.plan.load();
    let now = Instant::now();
    let wanted: Vec<&Arc<Pool>> = plan
        .pools
        .iter()
        .filter(|found| pool.is_none_or(|name| found.name() == name))
        .collect();
    if pool.is_some() && wanted.is_empty() {
        return None;
    }
    let workers: Vec<_> = wanted
        .into_iter()
        .flat_map(|pool| {
            workers_of(pool, all, now).into_iter().map(|mut worker| {
                worker["pool"] = pool.name().into();
                worker
            })
        })
        .collect();
    Some(json!({ "workers": workers }))
}

fn pool_line(pool: &Pool) -> Value {
    let (held, queued) = pool.waiting();
    json!({
        "name": pool.name(),
        "slots": pool.workers().len(),
        "taken_out": pool.taken_out().len(),
        "live": pool.live(),
        "held": held,
        "queued": queued,
    })
}

fn workers_of(pool: &Pool, all: bool, now: Instant) -> Vec<Value> {
    let shown = |worker: &Snapshot| all || worker.state != State::Absent;
    let snapshot = pool.snapshot().into_iter().filter(shown);
    snapshot.map(|worker| worker_line(&worker, now)).collect()
}

/// A worker as it is told everywhere.
pub fn worker_line(worker: &Snapshot, now: Instant) -> Value {
    json!({
        "address": worker.addr,
        "state": worker.state.as_str(),
        "reason": worker.reason,
        "seconds": now.saturating_duration_since(worker.since).as_secs(),
        "requests": worker.requests,
        "streams": worker.streams,
        "failures": worker.failures,
        "weight": worker.weight,
        "weight_configured": worker.weight_configured,
        "drained_seconds": worker
            .drained
            .map(|since| now.saturating_duration_since(since).as_secs()),
    })
}
