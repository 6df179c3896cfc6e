//! What is running now? The immutable snapshot that requests are served by.
//!
//! Promises: everything that a request would have to look up by name is an index or a handle here. Does not: change;
//! a new plan takes its place.

use std::sync::Arc;
use std::time::Instant;

use rustls::ServerConfig;

use crate::config::model::{Action, Config, Forward, Listener, ListenerId, PoolId, Route, RouteId};
use crate::observe::metrics::{ListenerMetrics, Metrics};
use crate::pool::Pool;
use crate::route::table::RouteTable;

/// The running snapshot.
pub struct Plan {
    /// As configured.
    pub config: Config,
    /// Which request goes where.
    pub routes: RouteTable,
    /// By [`PoolId`].
    pub pools: Vec<Arc<Pool>>,
    /// By [`ListenerId`].
    pub listeners: Vec<ListenerPlan>,
}

/// A listener, ready for connections.
pub struct ListenerPlan {
    /// TLS, if any.
    pub tls: Option<Arc<ServerConfig>>,
    /// Its counters.
    pub metrics: ListenerMetrics,
}

impl Plan {
    /// Builds a plan; `tls` has an entry per listener.
    pub fn build(
        config: Config,
        tls: Vec<Option<Arc<ServerConfig>>>,
        metrics: &Metrics,
        now: Instant,
    ) -> Plan {
        let pools: Vec<_> = config
            .pools
            .iter()
            .map(|pool| Pool::new(pool.clone(), now))
            .collect();
        let names: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
        let listeners = config
            .listeners
            .iter()
            .zip(tls)
            .map(|(listener, tls)| ListenerPlan {
                tls,
                metrics: metrics.listener(&listener.name, &names),
            })
            .collect();
        Plan {
            routes: RouteTable::build(&config),
            pools,
            listeners,
            config,
        }
    }

    /// A listener as configured.
    pub fn listener(&self, id: ListenerId) -> &Listener {
        &self.config.listeners[usize::from(id.0)]
    }

    /// A route as configured.
    pub fn route(&self, id: RouteId) -> &Route {
        &self.config.routes[id.0 as usize]
    }

    /// Where a route forwards to, if it does.
    pub fn forward(&self, id: RouteId) -> Option<&Forward> {
        match &self.route(id).action {
            Action::Forward(forward) => Some(forward),
            Action::Deny(_) => None,
        }
    }

    /// A pool.
    pub fn pool(&self, id: PoolId) -> &Arc<Pool> {
        &self.pools[usize::from(id.0)]
    }
}
