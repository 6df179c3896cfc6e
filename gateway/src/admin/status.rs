//! How does the gateway fare? What runs, as JSON.
//!
//! Promises: from live state, at no cost to the data threads. Names of fields are stable.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::maintenance;
use crate::dependency::Dependency;
use crate::pool::{Pool, Snapshot, State};
use crate::reload::diff::Diff;
use crate::shard::Shared;
use crate::shard::streams::LongStream;

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
        "process": std::process::id(),
        "state": if shared.is_draining() { "draining" } else { "ready" },
        "seconds": since.elapsed().as_secs(),
        "exchanges_in_flight": shared.in_flight.total(),
        "listeners": listeners,
        "pools": pools,
        "dependencies": plan
            .dependencies
            .iter()
            .map(|dependency| dependency_line(dependency, now))
            .collect::<Vec<_>>(),
    })
}

/// What the services need besides workers, and whether it is there.
fn dependency_line(dependency: &Dependency, now: Instant) -> Value {
    let (model, known) = (dependency.model(), dependency.snapshot());
    json!({
        "name": model.name,
        "kind": model.kind.word(),
        "address": model.address,
        "state": known.state.as_str(),
        "reason": known.reason,
        "seconds": now.saturating_duration_since(known.since).as_secs(),
        "failures": known.failures,
        "checked_seconds": known
            .last
            .map(|(at, _)| now.saturating_duration_since(at).as_secs()),
        "check_milliseconds": known.last.map(|(_, took)| took.as_micros() as f64 / 1e3),
        "next_seconds": known
            .next
            .map(|at| at.saturating_duration_since(now).as_secs()),
    })
}

/// A difference with what it touches: open connections of listeners, and what is in flight at pools.
pub fn with_traffic(shared: &Shared, diff: &Diff) -> Value {
    let plan = shared.plan.load();
    let mut told = serde_json::to_value(diff).unwrap_or_default();
    let each = |told: &mut Value, of: &str, count: &dyn Fn(&str, &mut Value)| {
        for change in told[of].as_array_mut().into_iter().flatten() {
            let name = change["name"].as_str().unwrap_or_default().to_owned();
            count(&name, change);
        }
    };
    each(&mut told, "listeners", &|name, change| {
        let found = plan.config.listeners.iter().position(|it| it.name == name);
        change["connections"] = found.map_or(0, |id| shared.clients.open(id)).into();
    });
    each(&mut told, "pools", &|name, change| {
        let found = plan.pools.iter().find(|pool| pool.name() == name);
        let workers = found.map(|pool| pool.snapshot()).unwrap_or_default();
        let sum = |count: fn(&Snapshot) -> u32| -> u64 {
            workers.iter().map(|worker| u64::from(count(worker))).sum()
        };
        change["requests"] = sum(|worker| worker.requests).into();
        change["streams"] = sum(|worker| worker.streams).into();
    });
    told
}

/// Open connections and what goes on over them, by listener, and these streams one by one.
pub fn connections(shared: &Shared, oldest: &[LongStream]) -> Value {
    let plan = shared.plan.load();
    let now = Instant::now();
    let listeners: Vec<_> = plan
        .config
        .listeners
        .iter()
        .enumerate()
        .filter(|(id, listener)| !listener.bind.is_empty() || shared.clients.open(*id) > 0)
        .map(|(id, listener)| {
            json!({
                "name": listener.name,
                "connections": shared.clients.open(id),
                "http1_requests": shared.in_flight.requests(id),
                "http2_streams": shared.in_flight.streams(id),
                "tunnels": shared.in_flight.tunnels(id),
            })
        })
        .collect();
    let oldest: Vec<_> = oldest
        .iter()
        .map(|stream| {
            json!({
                "listener": stream.listener,
                "kind": stream.kind,
                "client": stream.client,
                "route": stream.route,
                "pool": stream.pool,
                "worker": stream.worker,
                "seconds": now.saturating_duration_since(stream.since).as_secs(),
                "bytes_in": stream.bytes_in,
                "bytes_out": stream.bytes_out,
                "request_id": stream.request_id,
            })
        })
        .collect();
    json!({ "listeners": listeners, "oldest": oldest })
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

/// A pool as it is told everywhere.
pub fn pool_line(pool: &Pool) -> Value {
    let (held, queued) = pool.waiting();
    json!({
        "name": pool.name(),
        "slots": pool.workers().len(),
        "taken_out": pool.taken_out().len(),
        "live": pool.live(),
        "held": held,
        "queued": queued,
        "maintenance": maintenance::told(pool),
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
