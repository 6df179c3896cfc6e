//! What is known about a pool's workers?
//!
//! Discovery, checks, outcomes and operators each say one thing about a worker; together they make
//! one [`State`]: a worker is up when it listens, its checks are good, it does not rest and is not
//! drained. Here is what is kept; how it changes is in `change.rs`. Data threads read the published
//! list of live workers and the workers' counters, never what is behind the lock.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::Notify;

use super::admission::WaitingRoom;
use super::balance::{Live, Rules};
use super::closed::{Door, Order};
use super::health::{Checked, Verdict};
use super::outlier::Rests;
use super::retry_budget::RetryBudget;
use super::stats::Stats;
use super::sticky::Names;
use super::worker::{Snapshot, State, Transition, Worker, WorkerId};
use crate::config::model::{self, Discovery};
use crate::io::secure::Secure;

/// Workers, and all that is known about them at the moment. Shared by all data threads.
#[derive(Debug)]
pub struct Pool {
    pub(super) model: model::Pool,
    pub(super) name: Arc<str>,
    epoch: Instant,
    pub(super) rules: Rules,
    pub(super) workers: Box<[Worker]>,
    pub(super) live: ArcSwap<Live>,
    /// The round robin counter.
    pub(super) turn: AtomicU64,
    /// Where a place was given back last.
    pub(super) freed: AtomicU32,
    pub(super) room: WaitingRoom,
    control: Mutex<Control>,
    /// When [`Pool::tick`] has something to do, milliseconds of the pool's time.
    pub(super) tick_at: AtomicU64,
    pub(super) rescan: ArcSwapOption<Notify>,
    /// How workers are reached over TLS: replaced when its files are.
    secure: ArcSwapOption<Secure>,
    pub(super) stats: Arc<Stats>,
    retry_budget: RetryBudget,
    pub(super) door: Door,
    pub(super) names: Option<Names>,
    /// The pools whose place this one took, the oldest first, while exchanges of theirs go on.
    before: Mutex<Vec<Weak<Pool>>>,
}

/// Most pools before this one that are remembered: reloads that changed a pool while a stream of it went on.
const BEFORE_MAX: usize = 64;

/// What is behind the lock.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) slots: Box<[Slot]>,
    pub(super) up: usize,
    pub(super) resting: usize,
    /// Transitions of workers other than the one a call was about, for the next tick.
    pub(super) pending: Vec<Transition>,
    pub(super) stale: bool,
}

/// What is known about one worker.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) listening: bool,
    pub(super) refused: bool,
    pub(super) checked: Checked,
    pub(super) rests: Rests,
    /// Since when an operator has had it out.
    pub(super) drained: Option<Instant>,
    /// An operator's word on its share; 0 takes it out, too.
    pub(super) weight: Option<u16>,
    pub(super) state: State,
    pub(super) reason: Cow<'static, str>,
    pub(super) since: Instant,
}

/// A time that does not come, in milliseconds of the pool's time.
pub(super) const NEVER: u64 = u64::MAX;

impl Pool {
    /// A pool of which nothing is known yet; with [`Discovery::Static`] every worker listens.
    pub fn new(model: model::Pool, now: Instant) -> Arc<Pool> {
        Arc::new(Pool::begun(model, now, now))
    }

    /// How its workers are reached over TLS, where it has TLS; set before it serves.
    pub fn secure(&self) -> Option<Arc<Secure>> {
        self.model
            .tls
            .as_ref()
            .and_then(|_| self.secure.load_full())
    }

    /// The file of the certificate that its workers are shown, and when that ends, seconds since 1970.
    pub fn own_certificate(&self) -> Option<(&Path, i64)> {
        let (chain, _) = self.model.tls.as_ref()?.client_certificate.as_ref()?;
        Some((chain, self.secure()?.own_ends?))
    }

    /// From now on workers are reached in this way.
    pub fn set_secure(&self, secure: Option<Arc<Secure>>) {
        self.secure.store(secure);
    }

    /// A pool that takes the place of `before` and begins with what was known about the workers
    /// that both have; it counts on where that one is. Leases and waiting requests stay with the old one. Where the
    /// checks have changed, what the old ones said holds until the new ones say otherwise: a
    /// change of the configuration takes no worker out.
    pub fn succeed(model: model::Pool, before: &Arc<Pool>, now: Instant) -> Arc<Pool> {
        let mut pool = Pool::begun(model, before.epoch, now);
        pool.set_maintenance(before.maintenance_order());
        pool.remember(before);
        let old = before.lock();
        let known: HashMap<SocketAddr, &Slot> = before
            .workers
            .iter()
            .map(Worker::addr)
            .zip(&old.slots)
            .collect();
        let mut control = pool.lock();
        for (i, worker) in pool.workers.iter().enumerate() {
            let Some(slot) = known.get(&worker.addr()) else {
                continue;
            };
            let new = &mut control.slots[i];
            new.drained = slot.drained;
            new.weight = slot.weight;
            if let Some(weight) = slot.weight {
                worker.set_weight(weight);
            }
            new.rests = slot.rests;
            new.checked = if before.model.health.is_some() {
                slot.checked
            } else {
                Checked::passed()
            };
            if pool.model.discovery != Discovery::Static {
                new.listening = slot.listening;
                worker.set_listening(slot.listening);
            }
            pool.settle(&mut control, i, slot.reason.clone(), now);
            if control.slots[i].state == slot.state {
                control.slots[i].since = slot.since;
            }
        }
        drop(old);
        control.stale = true;
        pool.finish(&mut control, now);
        control.pending.clear();
        drop(control);
        // Only now: that a worker is still up is no event.
        pool.stats = Arc::clone(&before.stats);
        Arc::new(pool)
    }

    /// What was configured.
    pub fn model(&self) -> &model::Pool {
        &self.model
    }

    /// The unique name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every slot of the range, hosts first, also those where nothing listens.
    pub fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// The worker with this id; `None` for an id of another pool.
    pub fn worker(&self, worker: WorkerId) -> Option<&Worker> {
        self.workers.get(worker.index())
    }

    /// How many workers get traffic.
    pub fn live(&self) -> usize {
        self.live.load().len()
    }

    /// Exchanges at its workers, and those that wait for one. Looks at every worker: for logs that ask for it.
    pub fn load(&self) -> u64 {
        let at = |worker: &Worker| u64::from(worker.requests()) + u64::from(worker.streams());
        let (held, queued) = self.waiting();
        self.workers.iter().map(at).sum::<u64>() + u64::from(held) + u64::from(queued)
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The retries that may still be made. The caller pays in and takes out.
    pub fn retry_budget(&self) -> &RetryBudget {
        &self.retry_budget
    }

    /// Every slot as it is now, for the status page. Takes the lock for a moment.
    /// What goes on at pools whose place this one took is counted in.
    pub fn snapshot(&self) -> Vec<Snapshot> {
        let mut elsewhere: HashMap<SocketAddr, (u32, u32)> = HashMap::new();
        for pool in self.before() {
            for worker in &pool.workers {
                let (requests, streams) = worker.load();
                if requests > 0 || streams > 0 {
                    let sum = elsewhere.entry(worker.addr()).or_default();
                    *sum = (sum.0 + requests, sum.1 + streams);
                }
            }
        }
        let more = |worker: &Worker| elsewhere.get(&worker.addr()).copied().unwrap_or_default();
        let control = self.lock();
        let both = self.workers.iter().zip(control.slots.iter());
        both.enumerate()
            .map(|(i, (worker, slot))| Snapshot {
                id: WorkerId(i as u32),
                addr: worker.addr(),
                state: slot.state,
                reason: slot.reason.clone(),
                since: slot.since,
                requests: worker.requests() + more(worker).0,
                streams: worker.streams() + more(worker).1,
                failures: worker.failures(),
                rest_ends: slot.rests.ends(),
                drained: slot.drained,
                weight: slot.weight.unwrap_or(worker.weight_configured()),
                weight_configured: worker.weight_configured(),
            })
            .collect()
    }

    /// The pools whose place this one took, as long as exchanges of theirs go on.
    pub(super) fn before(&self) -> Vec<Arc<Pool>> {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        before.iter().filter_map(Weak::upgrade).collect()
    }

    fn remember(&self, last: &Arc<Pool>) {
        let mut all = last.before();
        all.push(Arc::clone(last));
        let from = all.len().saturating_sub(BEFORE_MAX);
        let all = all.iter().skip(from).map(Arc::downgrade).collect();
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }

    /// A worker's state. Takes the lock for a moment.
    pub fn state(&self, worker: WorkerId) -> Option<State> {
        self.lock().slots.get(worker.index()).map(|slot| slot.state)
    }

    /// Whether a worker's checks are good, whatever else is. Takes the lock for a moment.
    pub fn passes_checks(&self, worker: WorkerId) -> bool {
        self.lock()
            .slots
            .get(worker.index())
            .is_some_and(|slot| slot.checked.verdict() == Verdict::Good)
    }

    /// Whom to wake when a connection was refused and discovery should look at once.
    pub fn on_rescan_wanted(&self, rescan: Arc<Notify>) {
        self.rescan.store(Some(rescan));
    }

    /// Milliseconds since the pool was made.
    pub(super) fn time(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(NEVER)
    }

    /// `epoch` is when the pool's time began.
    fn begun(model: model::Pool, epoch: Instant, now: Instant) -> Pool {
        let pool = Pool::empty(model, epoch, now);
        if pool.model.discovery == Discovery::Static {
            let all: Vec<_> = (0..pool.workers.len() as u32)
                .map(|i| (WorkerId(i), true))
                .collect();
            pool.set_listening_all(&all, now);
        }
        pool
    }

    fn empty(model: model::Pool, epoch: Instant, now: Instant) -> Pool {
        let ports = || {
            model
                .ports
                .iter()
                .flat_map(|range| range.first..=range.last)
        };
        let workers: Box<[Worker]> = model
            .hosts
            .iter()
            .flat_map(|host| {
                ports().map(|port| Worker::new(SocketAddr::new(host.address, port), host.weight))
            })
            .collect();
        let slot = || Slot {
            listening: false,
            refused: false,
            checked: Checked::new(),
            rests: Rests::default(),
            drained: None,
            weight: None,
            state: State::Absent,
            reason: Cow::Borrowed("not found yet"),
            since: now,
        };
        let slots = workers.iter().map(|_| slot()).collect();
        let addresses = workers.iter().map(Worker::addr);
        let sticky = model.sticky.as_ref();
        let names = sticky.map(|sticky| Names::new(sticky, &model.name, addresses));
        let door = Door::default();
        door.set(Order::AsConfigured, model.maintenance.as_ref());
        Pool {
            name: model.name.as_str().into(),
            epoch,
            rules: Rules {
                balance: model.balance.clone(),
                cap: model.worker_in_flight_max,
                slow_start: u64::try_from(model.slow_start.as_millis()).unwrap_or(NEVER),
            },
            workers,
            live: ArcSwap::default(),
            turn: AtomicU64::new(0),
            freed: AtomicU32::new(0),
            room: WaitingRoom::default(),
            control: Mutex::new(Control {
                slots,
                up: 0,
                resting: 0,
                pending: Vec::new(),
                stale: false,
            }),
            tick_at: AtomicU64::new(NEVER),
            rescan: ArcSwapOption::empty(),
            secure: ArcSwapOption::empty(),
            stats: Arc::default(),
            retry_budget: RetryBudget::new(&model.retry, now),
            door,
            names,
            before: Mutex::default(),
            model,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Control> {
        // Nothing panics while it holds the lock; if something did, the state is still usable.
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// The state that follows from the rest; `checks` says whether the pool has any.
    pub(super) fn conclude(&self, checks: bool) -> State {
        match self.checked.verdict() {
            _ if !self.listening => State::Absent,
            _ if self.is_out() => State::Draining,
            Verdict::Open if checks => State::Unchecked,
            Verdict::Bad if checks => State::Unhealthy,
            _ if self.rests.ends().is_some() => State::Ejected,
            _ => State::Up,
        }
    }
}
