//! Does the pool take requests at all?
//!
//! A pool in maintenance serves only some networks; its workers are still found and checked. The configuration says so,
//! and an operator may say otherwise until he takes his word back; his word outlives reloads.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use super::state::Pool;
use crate::config::model::Maintenance;

/// What an operator says about a pool's maintenance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Nothing: the configuration holds.
    #[default]
    AsConfigured,
    /// Open, whatever the configuration says.
    Open,
    /// Closed.
    Closed(Maintenance),
}

/// Whether a pool is closed.
#[derive(Debug, Default)]
pub(super) struct Door {
    /// Looked at by each request; the rest only when it is set.
    closed: AtomicBool,
    state: ArcSwap<State>,
}

#[derive(Debug, Default)]
struct State {
    order: Order,
    closed: Option<Maintenance>,
}

impl Door {
    pub(super) fn set(&self, order: Order, configured: Option<&Maintenance>) {
        let closed = match &order {
            Order::AsConfigured => configured.cloned(),
            Order::Open => None,
            Order::Closed(maintenance) => Some(maintenance.clone()),
        };
        let is_closed = closed.is_some();
        self.state.store(Arc::new(State { order, closed }));
        self.closed.store(is_closed, Ordering::Release);
    }
}

impl Pool {
    /// An operator closes or opens the pool, or takes his word back. Open exchanges and streams go on.
    pub fn set_maintenance(&self, order: Order) {
        self.door.set(order, self.model.maintenance.as_ref());
    }

    /// What an operator has said last.
    pub fn maintenance_order(&self) -> Order {
        self.door.state.load().order.clone()
    }

    /// What those are told who are not served, where it is in maintenance.
    pub fn maintenance(&self) -> Option<Maintenance> {
        self.door.state.load().closed.clone()
    }

    /// Whether it is in maintenance.
    pub fn is_closed(&self) -> bool {
        self.door.closed.load(Ordering::Acquire)
    }

    /// What a client at this address is told, if it is not served. Counts it.
    pub fn turns_away(&self, client: IpAddr) -> Option<Maintenance> {
        if !self.is_closed() {
            return None;
        }
        let state = self.door.state.load();
        let closed = state.closed.as_ref()?;
        if closed.allow.contains(client) {
            return None;
        }
        self.stats.maintenance.fetch_add(1, Ordering::Relaxed);
        Some(closed.clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::config::model::{Network, Trusted};
    use crate::pool::testing;

    fn closed() -> Maintenance {
        Maintenance {
            allow: Trusted(vec![Network {
                address: [10, 0, 0, 0].into(),
                prefix: 8,
            }]),
            ..Maintenance::default()
        }
    }

    fn serves(pool: &Pool) -> [bool; 2] {
        ["10.1.2.3", "192.0.2.1"].map(|client| pool.turns_away(client.parse().unwrap()).is_none())
    }

    #[test]
    fn the_operators_word_goes_before_the_configurations_and_outlives_a_reload() {
        let now = Instant::now();
        let mut model = testing::model(1);
        let pool = Pool::new(model.clone(), now);
        assert_eq!(serves(&pool), [true, true]);
        pool.set_maintenance(Order::Closed(closed()));
        assert_eq!(serves(&pool), [true, false]);
        assert_eq!(pool.stats().maintenance.load(Ordering::Relaxed), 1);
        model.maintenance = Some(Maintenance::default());
        let next = Pool::succeed(model.clone(), &pool, now);
        assert_eq!(serves(&next), [true, false]);
        next.set_maintenance(Order::AsConfigured);
        assert_eq!(serves(&next), [false, false]);
        next.set_maintenance(Order::Open);
        assert_eq!(serves(&next), [true, true]);
        model.maintenance = None;
        let last = Pool::succeed(model, &next, now);
        assert_eq!(last.maintenance_order(), Order::Open);
    }
}
