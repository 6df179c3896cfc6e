//! What is done when?
//!
//! One loop: look at the listen table, try ports, check workers, end rests. It sleeps until the
//! earliest of these is due, an attempt has ended, or a pool asks for a look because a connection
//! was refused. Attempts run as tasks that end with the loop.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::checks;
use super::listen_table::ListenTable;
use super::local::{Watch, is_local, is_own};
use super::prober::{self, Found, Target};
use crate::config::model::{Discovery, ProxyVersion};
use crate::io::proxy_protocol;
use crate::pool::{Pool, State, Transition, WorkerId};

/// Between two looks into the listen table.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The same when nothing has changed for [`QUIET_AFTER`] and no request waits for a worker.
const LOOK_EVERY_QUIET: Duration = Duration::from_millis(750);
const QUIET_AFTER: Duration = Duration::from_secs(3);
/// Between two looks however many connections are refused.
const LOOK_APART: Duration = Duration::from_millis(10);
/// A look that trusts nothing: mends whatever went unnoticed.
const LOOK_THOROUGH_EVERY: Duration = Duration::from_secs(5);
/// Before the table is tried again after an error.
const LOOK_AFTER_ERROR: Duration = Duration::from_secs(1);
/// Errors in a row after which ports are tried instead.
const ERRORS_MAX: u32 = 5;
/// Between two ticks of the pools, which end rests; they wait for the next look if there is one.
const TICK_EVERY: Duration = Duration::from_millis(500);

/// Looks once, before anything is served, so that the first request finds the workers of this
/// machine. Nothing is probed and nothing is checked yet. Blocks for well under a millisecond;
/// does nothing where the listen table may not be read.
pub fn first_scan(pools: &[Arc<Pool>], own: &[SocketAddr]) {
    look_once(pools, own).iter().for_each(log);
}

/// The same, for somebody who asks once and does not serve: the log hears nothing of it.
pub fn look_once(pools: &[Arc<Pool>], own: &[SocketAddr]) -> Vec<Transition> {
    let now = Instant::now();
    if let Sources {
        watch: Some(mut watch),
        ..
    } = Sources::of(pools, own, open_table(), now)
    {
        match watch.look(pools, true, now) {
            Ok(transitions) => return transitions,
            Err(error) => debug!(%error, "the listen table could not be read yet"),
        }
    }
    Vec::new()
}

/// Discovers and checks until dropped. `own` are the addresses the gateway itself listens on, with
/// their real ports.
pub async fn run(pools: Vec<Arc<Pool>>, own: Vec<SocketAddr>) {
    run_with(open_table(), pools, own).await;
}

async fn run_with(table: io::Result<ListenTable>, pools: Vec<Arc<Pool>>, own: Vec<SocketAddr>) {
    let rescan = Arc::new(Notify::new());
    for pool in &pools {
        pool.on_rescan_wanted(Arc::clone(&rescan));
    }
    let mut driver = Driver::new(pools, &own, table, Instant::now());
    let mut jobs = JoinSet::new();
    loop {
        driver.act(Instant::now(), &mut jobs);
        if let Some(error) = driver.lost.take() {
            // Attempts under way are numbered by the old driver.
            jobs = JoinSet::new();
            driver = Driver::new(driver.pools, &own, Err(error), Instant::now());
        }
        let wake_at = driver.wake_at();
        tokio::select! {
            () = sleep_until(wake_at) => {}
            () = rescan.notified() => driver.rescan(Instant::now()),
            Some(done) = jobs.join_next() => match done {
                Ok(done) => driver.done(done, Instant::now()),
                // Never: attempts neither panic nor are aborted while the loop runs.
                Err(error) => warn!(%error, "an attempt at a worker ended badly"),
            },
        }
    }
}

/// Logs a change of a worker's state: up as information, down as a warning.
pub fn log(transition: &Transition) {
    let Transition {
        pool,
        worker,
        from,
        to,
        reason,
    } = transition;
    match (from, to) {
        (_, State::Up) => info!(%pool, %worker, %reason, "worker up"),
        (State::Up, _) => warn!(%pool, %worker, state = %to, %reason, "worker down"),
        _ => debug!(%pool, %worker, %from, state = %to, %reason, "worker changed"),
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => pending().await,
    }
}

/// How the workers of the pools are found.
struct Sources {
    watch: Option<Watch>,
    /// Pool and worker of each port to be tried, ordered as `targets`.
    probed: Vec<(usize, WorkerId)>,
    targets: Vec<Target>,
    /// Why the listen table is of no use, where it would be.
    problem: Option<io::Error>,
}

impl Sources {
    fn of(
        pools: &[Arc<Pool>],
        own: &[SocketAddr],
        table: io::Result<ListenTable>,
        now: Instant,
    ) -> Sources {
        let mut watched = Vec::new();
        let mut tried = Vec::new();
        let mut hosts = 0;
        for (p, pool) in pools.iter().enumerate() {
            let mut last_host = None;
            let mut local = false;
            for (i, worker) in pool.workers().iter().enumerate() {
                let (addr, id) = (worker.addr(), WorkerId(i as u32));
                if last_host.replace(addr.ip()) != Some(addr.ip()) {
                    local = is_local(addr.ip());
                    hosts += 1;
                }
                let ours = local && is_own(addr, own);
                if ours && worker.is_listening() {
                    pool.set_listening(id, false, now).iter().for_each(log);
                }
                let watch = local && table.is_ok() && pool.model().discovery == Discovery::Auto;
                worker.set_local(watch);
                match pool.model().discovery {
                    Discovery::Static => {}
                    _ if watch => watched.push((p, id)),
                    _ if ours => {}
                    _ => tried.push((
                        Target {
                            group: hosts,
                            port: addr.port(),
                            open: worker.is_listening(),
                        },
                        (p, id),
                    )),
                }
            }
        }
        tried.sort_by_key(|(target, _)| (target.group, target.port));
        let (targets, probed) = tried.into_iter().unzip();
        let mut problem = None;
        let watch = match table {
            Ok(table) if !watched.is_empty() => Some(Watch::new(table, pools, &watched, own)),
            Ok(_) => None,
            Err(error) => {
                problem = Some(error)
                    .filter(|_| pools.iter().any(|p| p.model().discovery == Discovery::Auto));
                None
            }
        };
        Sources {
            watch,
            probed,
            targets,
            problem,
        }
    }
}

/// Opens the listen table and reads it once: a filter of system calls may let only the first pass.
fn open_table() -> io::Result<ListenTable> {
    let mut table = ListenTable::open()?;
    table.read(&mut Vec::new())?;
    Ok(table)
}

/// An attempt that has ended.
#[derive(Debug)]
enum Done {
    Probed(usize, Found),
    Checked(usize, Result<(), String>),
}

struct Driver {
    pools: Vec<Arc<Pool>>,
    watch: Option<Watch>,
    look_at: Instant,
    looked_at: Instant,
    thorough_at: Instant,
    changed_at: Instant,
    errors: u32,
    /// The listen table can no longer be read.
    lost: Option<io::Error>,
    probed: Vec<(usize, WorkerId)>,
    probes: prober::Schedule,
    checked: Vec<(usize, WorkerId)>,
    /// Where the checked workers of each pool begin in `checked`.
    checked_from: Vec<Option<usize>>,
    checks: checks::Schedule,
    tick_at: Instant,
}

impl Driver {
    fn new(
        pools: Vec<Arc<Pool>>,
        own: &[SocketAddr],
        table: io::Result<ListenTable>,
        now: Instant,
    ) -> Driver {
        let Sources {
            watch,
            probed,
            targets,
            problem,
        } = Sources::of(&pools, own, table, now);
        if let Some(error) = problem {
            warn!(%error, "the listen table may not be read; ports are tried instead");
        }
        let mut checked = Vec::new();
        let mut checked_from = Vec::new();
        for (p, pool) in pools.iter().enumerate() {
            checked_from.push(pool.model().health.as_ref().map(|_| checked.len()));
            if pool.model().health.is_some() {
                checked.extend((0..pool.workers().len()).map(|i| (p, WorkerId(i as u32))));
            }
        }
        let mut driver = Driver {
            watch,
            look_at: now,
            looked_at: now,
            thorough_at: now,
            changed_at: now,
            errors: 0,
            lost: None,
            probes: prober::Schedule::new(&targets, now),
            probed,
            checks: checks::Schedule::new(checked.len()),
            checked,
            checked_from,
            tick_at: now,
            pools,
        };
        driver.check_who_listens(now);
        driver
    }

    /// Does all that is due.
    fn act(&mut self, now: Instant, jobs: &mut JoinSet<Done>) {
        if self.watch.is_some() && self.look_at <= now {
            self.look(now);
        }
        while let Some(i) = self.probes.take_due(now) {
            let Some(addr) = self.addr_of(self.probed[i]) else {
                continue;
            };
            self.pools[self.probed[i].0]
                .stats()
                .probes
                .fetch_add(1, Ordering::Relaxed);
            jobs.spawn(async move { Done::Probed(i, prober::probe(addr).await) });
        }
        while let Some(i) = self
            .checks
            .take_due(now, |i| listens(&self.pools, self.checked[i]))
        {
            self.check(i, jobs);
        }
        if self.tick_at <= now {
            self.tick_at = now + TICK_EVERY;
            for pool in &self.pools {
                pool.tick(now).iter().for_each(log);
            }
        }
    }

    fn wake_at(&mut self) -> Option<Instant> {
        let look_at = self.watch.as_ref().map(|_| self.look_at);
        // Waking is most of what a quiet gateway costs: ticks ride along with looks.
        let tick_at = (!self.pools.is_empty() && look_at.is_none()).then_some(self.tick_at);
        [
            look_at,
            self.probes.next_at(),
            self.checks.next_at(),
            tick_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// A connection was refused somewhere.
    fn rescan(&mut self, now: Instant) {
        self.thorough_at = now;
        if self.errors == 0 {
            self.look_at = self.look_at.min(self.looked_at + LOOK_APART).max(now);
        }
        for (i, &(pool, worker)) in self.probed.iter().enumerate() {
            if self.pools[pool]
                .worker(worker)
                .is_some_and(|worker| worker.take_suspect())
            {
                self.probes.hurry(i, now);
            }
        }
    }

    fn look(&mut self, now: Instant) {
        let Some(watch) = &mut self.watch else { return };
        let thorough = self.thorough_at <= now;
        if thorough {
            self.thorough_at = now + LOOK_THOROUGH_EVERY;
        }
        self.looked_at = now;
        let result = watch.look(&self.pools, thorough, now);
        self.looked(result, now);
    }

    fn looked(&mut self, result: io::Result<Vec<Transition>>, now: Instant) {
        match result {
            Ok(transitions) => {
                if !transitions.is_empty() {
                    self.changed_at = now;
                    transitions.iter().for_each(log);
                    self.check_who_listens(now);
                }
                let held = self.pools.iter().any(|pool| pool.waiting().0 > 0);
                let quiet = !held && now.saturating_duration_since(self.changed_at) > QUIET_AFTER;
                self.look_at = now + if quiet { LOOK_EVERY_QUIET } else { LOOK_EVERY };
                self.errors = 0;
            }
            Err(error) => {
                // Said once: what is known of the workers stays as it was.
                self.errors += 1;
                if self.errors == 1 {
                    warn!(%error, "the listen table could not be read");
                }
                self.lost = (self.errors >= ERRORS_MAX).then_some(error);
                self.thorough_at = now;
                self.look_at = now + LOOK_AFTER_ERROR;
            }
        }
    }

    /// Checks those that began to listen.
    fn check_who_listens(&mut self, now: Instant) {
        for i in 0..self.checked.len() {
            if listens(&self.pools, self.checked[i]) {
                self.begin_check(i, now);
            }
        }
    }

    fn begin_check(&mut self, i: usize, now: Instant) {
        let (p, worker) = self.checked[i];
        let pool = &self.pools[p];
        let Some(health) = &pool.model().health else {
            return;
        };
        if pool.state(worker) == Some(State::Unchecked) {
            self.checks.begin_anew(i, now);
        } else if pool.passes_checks(worker) {
            // Known from before a change of the configuration: spread over the interval.
            let share = fastrand::u32(0..1000);
            self.checks.begin(i, now + health.interval * share / 1000);
        } else {
            self.checks.begin(i, now);
        }
    }

    fn check(&mut self, i: usize, jobs: &mut JoinSet<Done>) {
        let pool = Arc::clone(&self.pools[self.checked[i].0]);
        let addr = self.addr_of(self.checked[i]);
        pool.stats().checks.fetch_add(1, Ordering::Relaxed);
        jobs.spawn(async move {
            let (Some(addr), Some(health)) = (addr, &pool.model().health) else {
                return Done::Checked(i, Err("no longer configured".into()));
            };
            let preface = match pool.model().send_proxy {
                None => &b""[..],
                Some(ProxyVersion::V1) => proxy_protocol::V1_UNKNOWN,
                Some(ProxyVersion::V2) => proxy_protocol::V2_LOCAL,
            };
            let (protocol, secure) = (pool.model().protocol, pool.secure());
            let checked = checks::check(addr, protocol, preface, secure.as_deref(), health).await;
            Done::Checked(i, checked)
        });
    }

    fn done(&mut self, done: Done, now: Instant) {
        let random = fastrand::u64(..);
        match done {
            Done::Probed(i, found) => {
                let (pool, worker) = self.probed[i];
                let listens = self.probes.found(i, found, now, random);
                let change = self.pools[pool].set_listening(worker, listens, now);
                change.iter().for_each(log);
                if let Some(from) = self.checked_from[pool].filter(|_| change.is_some() && listens)
                {
                    self.begin_check(from + worker.index(), now);
                }
            }
            Done::Checked(i, result) => {
                let (pool, worker) = self.checked[i];
                let pool = &self.pools[pool];
                let Some(health) = &pool.model().health else {
                    return;
                };
                if result.is_err() {
                    pool.stats().checks_failed.fetch_add(1, Ordering::Relaxed);
                }
                let reason = result.as_ref().err().map_or("", String::as_str);
                let change = pool.check_result(worker, result.is_ok(), reason, now);
                change.iter().for_each(log);
                self.checks
                    .done(i, pool.passes_checks(worker), health, now, random);
            }
        }
    }

    fn addr_of(&self, (pool, worker): (usize, WorkerId)) -> Option<SocketAddr> {
        Some(self.pools.get(pool)?.worker(worker)?.addr())
    }
}

fn listens(pools: &[Arc<Pool>], (pool, worker): (usize, WorkerId)) -> bool {
    pools[pool]
        .worker(worker)
        .is_some_and(|worker| worker.is_listening())
}

#[cfg(test)]
#[path = "drive_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
