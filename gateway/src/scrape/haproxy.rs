//! What do boards that were made for HAProxy ask for? The names of its exporter, answered from what we know.
//!
//! Promises: computed when somebody asks, from our own metrics; costs nothing else. Listeners are frontends, pools are
//! backends, workers are servers. Averages are over all requests since the start, HAProxy's over the last 1024. Does not:
//! know what has no equal here (cookies, caches, the rates of the last second).

use crate::observe::exposition::Exposition;
use crate::observe::metrics::{Metrics, Totals};
use crate::observe::names::haproxy as names;
use crate::plan::Plan;
use crate::pool::{Snapshot, State};
use crate::shard::Shared;

/// Classes of status by their place in [`Totals`].
const CODES: [(usize, &str); 6] = [
    (1, "1xx"),
    (2, "2xx"),
    (3, "3xx"),
    (4, "4xx"),
    (5, "5xx"),
    (0, "other"),
];

/// Adds all of them.
pub(super) fn tell(
    text: &mut Exposition,
    shared: &Shared,
    metrics: &Metrics,
    plan: &Plan,
    snapshots: &[Vec<Snapshot>],
) {
    process(text, shared, plan);
    let of = metrics.totals();
    frontends(text, shared, plan, &of);
    backends(text, plan, snapshots, &of);
    servers(text, plan, snapshots);
}

fn process(text: &mut Exposition, shared: &Shared, plan: &Plan) {
    let listeners = &plan.config.listeners;
    let max = listeners
        .iter()
        .map(|l| u64::from(l.limits.connections_max));
    text.family(&names::PROCESS_BUILD)
        .line(&[env!("CARGO_PKG_VERSION")], 1);
    text.family(&names::PROCESS_CONNECTIONS)
        .line(&[], shared.clients.open_total());
    text.family(&names::PROCESS_CONNECTIONS_MAX)
        .line(&[], max.sum());
    text.family(&names::PROCESS_STOPPING)
        .line(&[], shared.is_draining().into());
}

fn frontends(text: &mut Exposition, shared: &Shared, plan: &Plan, of: &Totals) {
    let listeners = || plan.config.listeners.iter().enumerate();
    let mut series = text.family(&names::FRONTEND_STATUS);
    for (id, listener) in listeners() {
        let is_open = !plan.is_gone(crate::config::model::ListenerId(id as u16));
        series.line(&[&listener.name, "UP"], is_open.into());
        series.line(&[&listener.name, "DOWN"], (!is_open).into());
    }
    let mut series = text.family(&names::FRONTEND_SESSIONS);
    for (id, listener) in listeners() {
        series.line(&[&listener.name], shared.clients.open(id).into());
    }
    let mut series = text.family(&names::FRONTEND_SESSIONS_MAX);
    for (_, listener) in listeners() {
        series.line(&[&listener.name], listener.limits.connections_max.into());
    }
    for family in [
        &names::FRONTEND_SESSIONS_TOTAL,
        &names::FRONTEND_CONNECTIONS,
    ] {
        let mut series = text.family(family);
        for (id, listener) in listeners() {
            let counted = &plan.listeners[id].metrics.connections;
            series.line(&[&listener.name], counted.get());
        }
    }
    let mut series = text.family(&names::FRONTEND_REQUESTS);
    for (_, listener) in listeners() {
        series.line(&[&listener.name], of.listener(&listener.name).requests());
    }
    let mut series = text.family(&names::FRONTEND_RESPONSES);
    for (_, listener) in listeners() {
        for (class, code) in CODES {
            let count = of.listener(&listener.name).classes[class];
            series.line(&[&listener.name, code], count);
        }
    }
    let mut series = text.family(&names::FRONTEND_BYTES_IN);
    for (_, listener) in listeners() {
        series.line(&[&listener.name], of.listener(&listener.name).bytes_in);
    }
    let mut series = text.family(&names::FRONTEND_BYTES_OUT);
    for (_, listener) in listeners() {
        series.line(&[&listener.name], of.listener(&listener.name).bytes_out);
    }
    let mut series = text.family(&names::FRONTEND_DENIED);
    for (_, listener) in listeners() {
        series.line(&[&listener.name], of.listener(&listener.name).denied);
    }
    let mut series = text.family(&names::FRONTEND_ERRORS);
    for (_, listener) in listeners() {
        series.line(&[&listener.name], of.listener(&listener.name).bad);
    }
}

fn backends(text: &mut Exposition, plan: &Plan, snapshots: &[Vec<Snapshot>], of: &Totals) {
    let pools = || plan.pools.iter().zip(snapshots);
    let mut series = text.family(&names::BACKEND_STATUS);
    for (pool, _) in pools() {
        let up = pool.live() > 0;
        series.line(&[pool.name(), "UP"], up.into());
        series.line(&[pool.name(), "DOWN"], (!up).into());
    }
    let mut series = text.family(&names::BACKEND_ACTIVE);
    for (pool, _) in pools() {
        series.line(&[pool.name()], pool.live() as u64);
    }
    let mut series = text.family(&names::BACKEND_SESSIONS);
    for (pool, workers) in pools() {
        let busy = workers
            .iter()
            .map(|w| u64::from(w.requests) + u64::from(w.streams));
        series.line(&[pool.name()], busy.sum());
    }
    let mut series = text.family(&names::BACKEND_QUEUE);
    for (pool, _) in pools() {
        let (held, queued) = pool.waiting();
        series.line(&[pool.name()], u64::from(held) + u64::from(queued));
    }
    let mut series = text.family(&names::BACKEND_REQUESTS);
    for (pool, _) in pools() {
        series.line(&[pool.name()], of.pool(pool.name()).requests());
    }
    let mut series = text.family(&names::BACKEND_RESPONSES);
    for (pool, _) in pools() {
        for (class, code) in CODES {
            series.line(&[pool.name(), code], of.pool(pool.name()).classes[class]);
        }
    }
    let mut series = text.family(&names::BACKEND_BYTES_IN);
    for (pool, _) in pools() {
        series.line(&[pool.name()], of.pool(pool.name()).bytes_in);
    }
    let mut series = text.family(&names::BACKEND_BYTES_OUT);
    for (pool, _) in pools() {
        series.line(&[pool.name()], of.pool(pool.name()).bytes_out);
    }
    let mut series = text.family(&names::BACKEND_CONNECTION_ERRORS);
    for (pool, _) in pools() {
        series.line(&[pool.name()], of.pool(pool.name()).connect_errors);
    }
    let mut series = text.family(&names::BACKEND_RESPONSE_ERRORS);
    for (pool, _) in pools() {
        series.line(&[pool.name()], of.pool(pool.name()).response_errors);
    }
    let mut series = text.family(&names::BACKEND_RETRIES);
    for (pool, _) in pools() {
        let retries = &pool.stats().retries;
        series.line(
            &[pool.name()],
            retries.load(std::sync::atomic::Ordering::Relaxed),
        );
    }
    for (family, at) in [
        (&names::BACKEND_QUEUE_TIME, 0),
        (&names::BACKEND_CONNECT_TIME, 1),
        (&names::BACKEND_RESPONSE_TIME, 2),
        (&names::BACKEND_TOTAL_TIME, 3),
    ] {
        let mut series = text.family(family);
        for (pool, _) in pools() {
            series.number(&[pool.name()], of.pool(pool.name()).averages()[at]);
        }
    }
}

fn servers(text: &mut Exposition, plan: &Plan, snapshots: &[Vec<Snapshot>]) {
    let each = |tell: &mut dyn FnMut(&str, &str, &Snapshot)| {
        for (pool, workers) in plan.pools.iter().zip(snapshots) {
            for worker in workers.iter().filter(|w| w.state != State::Absent) {
                tell(pool.name(), &worker.addr.to_string(), worker);
            }
        }
    };
    let mut series = text.family(&names::SERVER_STATUS);
    each(&mut |pool, server, worker| {
        for (state, is) in [
            ("UP", worker.state == State::Up),
            ("DOWN", !matches!(worker.state, State::Up | State::Draining)),
            ("DRAIN", worker.state == State::Draining),
        ] {
            series.line(&[pool, server, state], is.into());
        }
    });
    let mut series = text.family(&names::SERVER_SESSIONS);
    each(&mut |pool, server, worker| {
        let busy = u64::from(worker.requests) + u64::from(worker.streams);
        series.line(&[pool, server], busy);
    });
}
