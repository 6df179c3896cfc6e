//! What may an operator change?
//!
//! A worker is taken out and let back, and its share is set. An operator's word holds while workers come and go and over
//! reloads, until it is taken back or the process ends. Choosing costs no more for it: the list of live workers is made
//! anew. Exchanges that still run at a pool whose place this one took are meant, too.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Instant;

use super::state::{Pool, Slot};
use super::worker::{Transition, WorkerId};

impl Pool {
    /// Takes a worker out, or lets it back.
    pub fn set_drain(&self, worker: WorkerId, drain: bool, now: Instant) -> Option<Transition> {
        self.for_those_before(worker, |pool, worker| {
            pool.drain_here(worker, drain, now);
        });
        self.drain_here(worker, drain, now)
    }

    /// Sets a worker's share, 0 to 1000; 0 takes it out. `None` is as configured.
    pub fn set_weight(
        &self,
        worker: WorkerId,
        weight: Option<u16>,
        now: Instant,
    ) -> Option<Transition> {
        self.for_those_before(worker, |pool, worker| {
            pool.weight_here(worker, weight, now);
        });
        self.weight_here(worker, weight, now)
    }

    /// Workers that an operator has taken out.
    pub fn taken_out(&self) -> Vec<SocketAddr> {
        let control = self.lock();
        let both = control.slots.iter().zip(&self.workers);
        both.filter(|(slot, _)| slot.is_out())
            .map(|(_, worker)| worker.addr())
            .collect()
    }

    fn drain_here(&self, worker: WorkerId, drain: bool, now: Instant) -> Option<Transition> {
        self.change(worker, now, |slot| {
            slot.drained = drain.then(|| slot.drained.unwrap_or(now));
            Some(Cow::Borrowed("drain ended by an operator"))
        })
    }

    fn weight_here(
        &self,
        worker: WorkerId,
        weight: Option<u16>,
        now: Instant,
    ) -> Option<Transition> {
        let mut control = self.lock();
        let known = self.worker(worker)?;
        let slot = control.slots.get_mut(worker.index())?;
        slot.weight = weight;
        known.set_weight(weight.unwrap_or(known.weight_configured()));
        control.stale = true;
        let reason = Cow::Borrowed("weight set by an operator");
        let transition = self.settle(&mut control, worker.index(), reason, now);
        self.finish(&mut control, now);
        transition
    }

    fn for_those_before(&self, worker: WorkerId, act: impl Fn(&Pool, WorkerId)) {
        let Some(addr) = self.worker(worker).map(|worker| worker.addr()) else {
            return;
        };
        for pool in self.before() {
            let found = pool.workers.iter().position(|worker| worker.addr() == addr);
            if let Some(found) = found.and_then(|at| u32::try_from(at).ok()) {
                act(&pool, WorkerId(found));
            }
        }
    }
}

impl Slot {
    /// Whether an operator has taken it out.
    pub(super) fn is_out(&self) -> bool {
        self.drained.is_some() || self.weight == Some(0)
    }

    /// Why it is out.
    pub(super) fn ordered(&self) -> Cow<'static, str> {
        Cow::Borrowed(if self.drained.is_some() {
            "drained by an operator"
        } else {
            "weight 0 by an operator"
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::testing::model;
    use super::*;
    use crate::config::model::{Balance, HashKey};
    use crate::pool::{Kind, Pick, State, Want};

    fn pool_of(balance: Balance, up: u16) -> (Arc<Pool>, Instant) {
        let now = Instant::now();
        let mut model = model(up);
        model.balance = balance;
        let pool = Pool::new(model, now);
        let all: Vec<_> = (0..u32::from(up)).map(|i| (WorkerId(i), true)).collect();
        pool.set_listening_all(&all, now);
        (pool, now)
    }

    fn picks(pool: &Arc<Pool>, key: Option<u64>, times: u64, now: Instant) -> Vec<u32> {
        let pick = |random: u64| {
            let want = Want {
                key,
                random: random.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                ..Want::default()
            };
            match pool.pick(&want, now) {
                Pick::Worker(lease) => lease.worker().0,
                other => panic!("no worker: {other:?}"),
            }
        };
        (0..times).map(pick).collect()
    }

    #[test]
    fn a_weight_changes_the_share_at_once_and_the_configured_one_comes_back() {
        let (pool, now) = pool_of(Balance::RoundRobin, 2);
        let share = |times| {
            let picked = picks(&pool, None, times, now);
            picked.iter().filter(|&&worker| worker == 0).count()
        };
        assert_eq!(share(40), 20);
        assert_eq!(pool.set_weight(WorkerId(0), Some(300), now), None);
        assert_eq!(share(40), 30);
        let out = pool.set_weight(WorkerId(0), Some(0), now).unwrap();
        assert_eq!(
            (out.to, &*out.reason),
            (State::Draining, "weight 0 by an operator")
        );
        assert_eq!(share(40), 0);
        let back = pool.set_weight(WorkerId(0), None, now).unwrap();
        assert_eq!(
            (back.to, &*back.reason),
            (State::Up, "weight set by an operator")
        );
        assert_eq!(share(40), 20);
    }

    #[test]
    fn keys_follow_a_weight_and_come_back() {
        let (pool, now) = pool_of(Balance::Hash(HashKey::Address), 3);
        let owners = || {
            let keys =
                (0..600u64).map(|key| picks(&pool, Some(super::super::hash::mix(key)), 1, now)[0]);
            keys.collect::<Vec<_>>()
        };
        let count = |owners: &[u32]| owners.iter().filter(|&&owner| owner == 0).count();
        let before = owners();
        pool.set_weight(WorkerId(0), Some(400), now);
        let more = owners();
        assert!(
            count(&more) > count(&before) * 3 / 2,
            "{} of 600 after {}",
            count(&more),
            count(&before)
        );
        assert!(
            before
                .iter()
                .zip(&more)
                .all(|(old, new)| old == new || *new == 0),
            "no key moves between the others"
        );
        pool.set_drain(WorkerId(0), true, now);
        assert_eq!(count(&owners()), 0, "kept traffic moves");
        pool.set_drain(WorkerId(0), false, now);
        pool.set_weight(WorkerId(0), None, now);
        assert_eq!(owners(), before);
    }

    #[test]
    fn an_operators_word_outlives_the_worker_and_a_reload() {
        let (pool, now) = pool_of(Balance::LeastLoaded, 3);
        let later = now + Duration::from_secs(5);
        pool.set_drain(WorkerId(0), true, now);
        pool.set_weight(WorkerId(1), Some(7), now);
        pool.set_listening(WorkerId(0), false, later);
        let back = pool.set_listening(WorkerId(0), true, later).unwrap();
        assert_eq!(
            (back.to, &*back.reason),
            (State::Draining, "drained by an operator")
        );
        let mut model = pool.model().clone();
        model.connect_timeout += Duration::from_secs(1);
        let next = Pool::succeed(model, &pool, later);
        let shown = next.snapshot();
        assert_eq!(
            (shown[0].state, shown[0].drained),
            (State::Draining, Some(now))
        );
        assert_eq!((shown[1].weight, shown[1].weight_configured), (7, 100));
        assert_eq!(next.workers()[1].weight(), 7);
        assert_eq!(next.taken_out(), [next.workers()[0].addr()]);
    }

    #[test]
    fn what_goes_on_at_the_pool_before_is_counted_and_drained_with_it() {
        let (pool, now) = pool_of(Balance::LeastLoaded, 1);
        let want = Want {
            kind: Kind::Stream,
            ..Want::default()
        };
        let Pick::Worker(lease) = pool.pick(&want, now) else {
            panic!("a worker is up");
        };
        let mut model = pool.model().clone();
        model.connect_timeout += Duration::from_secs(1);
        let next = Pool::succeed(model.clone(), &pool, now);
        model.connect_timeout += Duration::from_secs(1);
        let last = Pool::succeed(model, &next, now);
        drop(next);
        assert_eq!(last.snapshot()[0].streams, 1);
        last.set_drain(WorkerId(0), true, now);
        assert_eq!(pool.live(), 0, "who still asks the old pool finds nobody");
        drop((lease, pool));
        assert_eq!(last.snapshot()[0].streams, 0);
        assert!(last.before().is_empty());
    }
}
