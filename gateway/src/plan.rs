//! What is running now? The immutable snapshot that requests are served by.
//!
//! Promises: everything that a request would have to look up by name is an index or a handle here. Does not: change;
//! a new plan takes its place.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;

use crate::compress::Places;
use crate::config::model::DependencyKind;
use crate::config::model::{
    Action, Compress, Config, Forward, Listener, ListenerId, PoolId, Rate, Route, RouteId, Statuses,
};
use crate::dependency::Dependency;
use crate::limit::in_flight::Places as InFlight;
use crate::limit::network::Gate;
use crate::limit::rate::Limiter;
use crate::observe::metrics::{ListenerMetrics, Metrics, MirrorMetrics, PoolMetrics, RouteMetrics};
use crate::pool::Pool;
use crate::route::table::RouteTable;
use crate::tls::live::Live;

/// Most listeners in the life of a process, those that reloads have taken away included.
pub const LISTENERS_MAX: usize = 256;

/// Files read at once, by all data threads together: a disk that hangs holds no more threads than this.
const FILE_READERS: usize = 16;

/// TLS of a listener, or none.
pub type Tls = Option<Arc<Live>>;

/// The running snapshot.
pub struct Plan {
    /// As configured.
    pub config: Config,
    /// Which request goes where.
    pub routes: RouteTable,
    /// By [`PoolId`].
    pub pools: Vec<Arc<Pool>>,
    /// What the services need besides workers; no request asks for it.
    pub dependencies: Vec<Arc<Dependency>>,
    /// By [`PoolId`], the last for exchanges without a pool.
    pool_metrics: Vec<PoolMetrics>,
    /// By [`ListenerId`].
    pub listeners: Vec<ListenerPlan>,
    /// By [`RouteId`]; a route without limits costs the look at one word.
    limits: Vec<Option<Box<RouteLimits>>>,
    packing: Arc<Places>,
    /// Places for reading files, on threads that may block.
    pub file_readers: Arc<Semaphore>,
    /// Somewhere answers of workers are replaced.
    intercepts: bool,
}

/// A listener, ready for connections.
pub struct ListenerPlan {
    /// TLS, if any.
    pub tls: Tls,
    /// Its counters.
    pub metrics: ListenerMetrics,
    /// Who may connect, where that is not everybody.
    pub gate: Option<Gate>,
    /// How often one client may ask, where that is bounded.
    pub rate: Option<Arc<Limiter>>,
}

impl ListenerPlan {
    /// Whether a client may connect.
    pub fn admits(&self, client: SocketAddr) -> bool {
        let gate = self.gate.as_ref();
        gate.is_none_or(|gate| gate.admits(client.ip()))
    }
}

/// How responses of a route are compressed.
#[derive(Clone, Copy)]
pub struct Packer<'a> {
    /// Which, and how.
    pub compress: &'a Compress,
    /// Bounds how many at once.
    pub places: &'a Arc<Places>,
}

/// Copies of a route's requests.
pub struct Mirroring {
    /// Copies at once.
    pub places: InFlight,
    /// Their counters.
    pub metrics: MirrorMetrics,
}

/// The limits of a route, ready for requests.
pub struct RouteLimits {
    /// Whose requests are served.
    pub gate: Option<Gate>,
    /// How often one client may ask.
    pub rate: Option<Arc<Limiter>>,
    /// Exchanges at once.
    pub places: Option<InFlight>,
    /// Copies of requests.
    pub mirror: Option<Mirroring>,
    metrics: Vec<(ListenerId, RouteMetrics)>,
}

impl RouteLimits {
    fn build(
        route: &Route,
        config: &Config,
        metrics: &Metrics,
        before: Option<&RouteLimits>,
        now: Instant,
    ) -> Option<Box<RouteLimits>> {
        let gate = route.networks.as_ref().map(Gate::new);
        let rate = limiter(
            route.rate.as_ref(),
            before.and_then(|b| b.rate.as_ref()),
            now,
        );
        let places = route
            .in_flight_max
            .map(|max| InFlight::new(max, before.and_then(|before| before.places.as_ref())));
        let mirror = match &route.action {
            Action::Forward(forward) => forward.mirror.as_ref(),
            _ => None,
        };
        let mirror = mirror.map(|mirror| Mirroring {
            places: InFlight::new(
                mirror.in_flight_max,
                before.and_then(|b| b.mirror.as_ref()).map(|m| &m.places),
            ),
            metrics: metrics.mirror(&route.name),
        });
        let bounded = gate.is_some()
            || rate.is_some()
            || places.is_some()
            || mirror.is_some()
            || route.body_bytes_max.is_some();
        if !bounded {
            return None;
        }
        let name = |id: ListenerId| &config.listeners[usize::from(id.0)].name;
        Some(Box::new(RouteLimits {
            gate,
            rate,
            places,
            mirror,
            metrics: route
                .on
                .iter()
                .map(|id| (*id, metrics.route(name(*id), &route.name)))
                .collect(),
        }))
    }

    /// The counters for a listener.
    pub fn metrics(&self, on: ListenerId) -> Option<&RouteMetrics> {
        let found = self.metrics.iter().find(|(id, _)| *id == on);
        found.map(|(_, metrics)| metrics)
    }
}

/// The limiter of a rate: the one that runs, where the rate is the same.
fn limiter(
    rate: Option<&Rate>,
    before: Option<&Arc<Limiter>>,
    now: Instant,
) -> Option<Arc<Limiter>> {
    let rate = rate?;
    Some(match before {
        Some(running) if running.rate() == rate => running.clone(),
        _ => Arc::new(Limiter::new(rate, now)),
    })
}

impl Plan {
    /// Builds a plan; `tls` has an entry per listener. Pools of `before` that did not change are taken over as they are,
    /// changed ones hand on what is known of their workers; the same holds for dependencies. Rates that did not change go on
    /// counting, and so do exchanges in flight.
    pub fn build(
        config: Config,
        tls: Vec<Tls>,
        metrics: &Metrics,
        before: Option<&Plan>,
        now: Instant,
    ) -> Plan {
        let pools: Vec<_> = config
            .pools
            .iter()
            .map(|pool| {
                match before
                    .and_then(|before| before.pools.iter().find(|old| old.name() == pool.name))
                {
                    Some(old) if old.model() == pool => old.clone(),
                    Some(old) => Pool::succeed(pool.clone(), old, now),
                    None => Pool::new(pool.clone(), now),
                }
            })
            .collect();
        let dependencies = config
            .dependencies
            .iter()
            .map(|wanted| {
                let old = before.and_then(|before| {
                    let mut all = before.dependencies.iter();
                    all.find(|old| old.name() == wanted.name)
                });
                match old {
                    Some(old) if old.model() == wanted => old.clone(),
                    Some(old) => Dependency::succeed(wanted.clone(), old, now),
                    None => Dependency::new(wanted.clone(), now),
                }
            })
            .collect();
        let names = config.pools.iter().map(|pool| pool.name.as_str());
        let pool_metrics = names.chain([""]).map(|name| metrics.pool(name)).collect();
        let listeners = config
            .listeners
            .iter()
            .zip(tls)
            .enumerate()
            .map(|(at, (listener, tls))| ListenerPlan {
                tls,
                rate: limiter(
                    listener.rate.as_ref(),
                    // A listener keeps its place over reloads.
                    before.and_then(|before| before.listeners.get(at)?.rate.as_ref()),
                    now,
                ),
                metrics: metrics.listener(&listener.name, config.routes.len(), config.pools.len()),
                gate: listener.networks.as_ref().map(Gate::new),
            })
            .collect();
        let limited: HashMap<&str, &RouteLimits> = before.map_or_else(HashMap::new, |before| {
            let routes = before.config.routes.iter().zip(&before.limits);
            routes
                .filter_map(|(route, limits)| Some((route.name.as_str(), limits.as_deref()?)))
                .collect()
        });
        let limits = config
            .routes
            .iter()
            .map(|route| {
                let before = limited.get(route.name.as_str()).copied();
                RouteLimits::build(route, &config, metrics, before, now)
            })
            .collect();
        let intercepts = config.intercept_errors.is_some()
            || config.routes.iter().any(|r| r.intercept_errors.is_some())
            || config
                .listeners
                .iter()
                .any(|l| l.intercept_errors.is_some());
        Plan {
            intercepts,
            packing: before.map_or_else(Arc::default, |before| before.packing.clone()),
            file_readers: before.map_or_else(
                || Arc::new(Semaphore::new(FILE_READERS)),
                |before| before.file_readers.clone(),
            ),
            routes: RouteTable::build(&config),
            pools,
            dependencies,
            pool_metrics,
            listeners,
            limits,
            config,
        }
    }

    /// Whether a reload has taken the listener away: its connections end after what they are doing.
    pub fn is_gone(&self, id: ListenerId) -> bool {
        self.listener(id).bind.is_empty()
    }

    /// A listener as configured.
    pub fn listener(&self, id: ListenerId) -> &Listener {
        &self.config.listeners[usize::from(id.0)]
    }

    /// A route as configured.
    pub fn route(&self, id: RouteId) -> &Route {
        &self.config.routes[id.0 as usize]
    }

    /// The limits of a route, if it has any.
    pub fn limits(&self, id: RouteId) -> Option<&RouteLimits> {
        self.limits.get(id.0 as usize)?.as_deref()
    }

    /// The longest request body on a listener and a route, bytes; 0 for any.
    pub fn body_bytes_max(&self, on: ListenerId, route: RouteId) -> u64 {
        let listener = self.listener(on).limits.body_bytes_max;
        self.route(route).body_bytes_max.unwrap_or(listener)
    }

    /// Addresses of databases, brokers and Vaults: they are no workers, though a range may cover them (8200 lies within
    /// 8090-9079). A check by `tcp` says nothing of what is there, so it takes no worker away.
    pub fn no_workers(&self) -> impl Iterator<Item = SocketAddr> {
        let all = self.dependencies.iter().map(|needed| needed.model());
        all.filter(|needed| !matches!(needed.kind, DependencyKind::Tcp))
            .map(|needed| needed.address)
    }

    /// How responses are compressed, where they are.
    pub fn packer(&self, on: ListenerId, route: RouteId) -> Option<Packer<'_>> {
        let of_route = self.route(route).compress.as_deref();
        let compress = of_route.or(self.listener(on).compress.as_deref())?;
        (!compress.algorithms.is_empty()).then_some(Packer {
            compress,
            places: &self.packing,
        })
    }

    /// Responses that were sent as they are because too many were being compressed.
    pub fn compressions_skipped(&self) -> u64 {
        self.packing.skipped()
    }

    /// Statuses of workers whose answers are replaced by ours.
    pub fn intercepted(&self, on: ListenerId, route: RouteId) -> &[Statuses] {
        if !self.intercepts {
            return &[];
        }
        let of_route = self.route(route).intercept_errors.as_deref();
        let of_listener = self.listener(on).intercept_errors.as_deref();
        let of_top = self.config.intercept_errors.as_deref();
        of_route.or(of_listener).or(of_top).unwrap_or_default()
    }

    /// Where a route forwards to, if it does.
    pub fn forward(&self, id: RouteId) -> Option<&Forward> {
        match &self.route(id).action {
            Action::Forward(forward) => Some(forward),
            Action::Deny(_) | Action::Redirect(_) | Action::Respond(_) | Action::Static(_) => None,
        }
    }

    /// The counters of a pool, or of exchanges without one.
    pub fn pool_metrics(&self, id: Option<PoolId>) -> &PoolMetrics {
        let none = self.pool_metrics.len() - 1;
        &self.pool_metrics[id.map_or(none, |id| usize::from(id.0)).min(none)]
    }

    /// A pool.
    pub fn pool(&self, id: PoolId) -> &Arc<Pool> {
        &self.pools[usize::from(id.0)]
    }
}
