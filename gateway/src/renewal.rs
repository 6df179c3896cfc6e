//! How do replaced certificates get in, those of listeners and those towards workers? The control thread looks at the files and tells what came of it.
//!
//! Promises: no data thread touches a file; a look reads nothing while no file has changed; what ends soon is told once a
//! day. Does not: fetch or renew anything.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::model::{WorkerProtocol, WorkerTls};
use crate::observe::metrics::Metrics;
use crate::plan::Plan;
use crate::shard::Shared;
use crate::tls::follow::{Follow, Found};
use crate::tls::lists::Standing;
use crate::tls::live::Look;
use crate::tls::server::Shown;
use crate::tls::time::{Clocks, DAY, days_until, unix};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks while something changes: what rests for so long is read.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// From so many days before its end a certificate is warned of ...
const DAYS_WARNED: i64 = 21;
/// ... and from so many it is an error.
const DAYS_URGENT: i64 = 7;

/// Looks for ever.
pub async fn run(shared: Arc<Shared>, metrics: Arc<Metrics>) {
    let (mut told, mut follows) = (Told::default(), Follows::new());
    let mut of_dependencies = Follows::new();
    loop {
        let (shared, metrics) = (shared.clone(), metrics.clone());
        // A file may lie on a network that does not answer: nothing else shall wait for it.
        let looked = tokio::task::spawn_blocking(move || {
            let plan = shared.plan.load_full();
            let now = Clocks::read();
            let moving =
                look(&plan, &metrics, now) | look_at_pools(&plan, &mut follows, &metrics, now);
            let moving = moving | look_at_dependencies(&plan, &mut of_dependencies, now);
            told.tell(&plan, unix(now.wall));
            (told, follows, of_dependencies, moving)
        });
        let Ok((back, followed, followed_besides, moving)) = looked.await else {
            tracing::error!(
                "looking at certificates has failed; replaced ones are not picked up any more"
            );
            return;
        };
        (told, follows, of_dependencies) = (back, followed, followed_besides);
        tokio::time::sleep(if moving { LOOK_AGAIN } else { LOOK }).await;
    }
}

/// One look at every listener; true where something changes just now.
fn look(plan: &Plan, metrics: &Metrics, now: Clocks) -> bool {
    let mut moving = false;
    for (listener, running) in plan.config.listeners.iter().zip(&plan.listeners) {
        let Some(live) = running.tls.as_ref().filter(|_| !listener.bind.is_empty()) else {
            continue;
        };
        let name = &listener.name;
        match live.look(now) {
            Look::Same => {}
            Look::Moving => moving = true,
            Look::PickedUp(shown, doubts) => {
                metrics.pickup(name, true);
                for Shown {
                    chain,
                    names,
                    expires,
                } in shown
                {
                    let (chain, names) = (chain.display(), names.join(" "));
                    let days = days_until(expires, unix(now.wall));
                    tracing::info!(listener = %name, %chain, names, days, "certificate picked up");
                }
                for doubt in doubts {
                    tracing::warn!(listener = %name, "{}", doubt.what);
                }
            }
            Look::Refused(problems) => {
                metrics.pickup(name, false);
                for problem in problems {
                    let fix = problem.hint.unwrap_or_default();
                    tracing::error!(listener = %name, fix, "replaced certificate refused, the old one stays: {}", problem.what);
                }
            }
        }
    }
    moving
}

/// The files of TLS towards workers, by pool, or towards dependencies.
type Follows = HashMap<String, Follow>;

/// One look at every pool; true where something changes just now.
fn look_at_pools(plan: &Plan, follows: &mut Follows, metrics: &Metrics, now: Clocks) -> bool {
    let mut moving = false;
    follows.retain(|name, _| plan.pools.iter().any(|pool| pool.name() == name));
    for pool in &plan.pools {
        let name = pool.name();
        let Some(tls) = &pool.model().tls else {
            follows.remove(name);
            continue;
        };
        let follow = follow_of(follows, name, tls, now);
        match follow.look(pool.model().protocol, pool.secure().as_ref(), now) {
            Found::Same => {}
            Found::Moving => moving = true,
            Found::PickedUp(secure, doubts) => {
                pool.set_secure(Some(secure));
                metrics.pool_pickup(name, true);
                tracing::info!(pool = name, "TLS to workers picked up");
                for doubt in doubts {
                    tracing::warn!(pool = name, "{}", doubt.what);
                }
            }
            Found::Refused(problems) => {
                metrics.pool_pickup(name, false);
                for problem in problems {
                    let fix = problem.hint.unwrap_or_default();
                    tracing::error!(
                        pool = name,
                        fix,
                        "replaced file of TLS to workers refused, the old one stays: {}",
                        problem.what
                    );
                }
            }
        }
    }
    moving
}

/// The same for dependencies.
fn look_at_dependencies(plan: &Plan, follows: &mut Follows, now: Clocks) -> bool {
    let mut moving = false;
    let all = &plan.dependencies;
    follows.retain(|name, _| all.iter().any(|dependency| dependency.name() == name));
    for dependency in all {
        let name = dependency.name();
        let Some(tls) = &dependency.model().tls else {
            follows.remove(name);
            continue;
        };
        match follow_of(follows, name, tls, now).look(
            WorkerProtocol::Http1,
            dependency.secure().as_ref(),
            now,
        ) {
            Found::Same => {}
            Found::Moving => moving = true,
            Found::PickedUp(secure, doubts) => {
                dependency.set_secure(Some(secure));
                tracing::info!(dependency = name, "TLS to a dependency picked up");
                for doubt in doubts {
                    tracing::warn!(dependency = name, "{}", doubt.what);
                }
            }
            Found::Refused(problems) => {
                for problem in problems {
                    let fix = problem.hint.unwrap_or_default();
                    tracing::error!(
                        dependency = name,
                        fix,
                        "replaced file of TLS to a dependency refused, the old one stays: {}",
                        problem.what
                    );
                }
            }
        }
    }
    moving
}

/// What is followed of a name, from now on these files.
fn follow_of<'f>(
    follows: &'f mut Follows,
    name: &str,
    tls: &WorkerTls,
    now: Clocks,
) -> &'f mut Follow {
    follows
        .entry(name.to_owned())
        .and_modify(|follow| {
            if !follow.is_of(tls) {
                *follow = Follow::new(tls, now);
            }
        })
        .or_insert_with(|| Follow::new(tls, now))
}

/// What was told of certificates and lists that end soon, by the day it was told.
#[derive(Default)]
struct Told {
    certificates: HashMap<(String, PathBuf), i64>,
    /// Those that workers are shown, by pool.
    to_workers: HashMap<(String, PathBuf), i64>,
    /// What has run out is told at once, also where it was told on the same day that it would.
    lists: HashMap<(String, PathBuf, String, Standing), i64>,
}

impl Told {
    fn tell(&mut self, plan: &Plan, now: i64) {
        self.tell_certificates(plan, now);
        self.tell_to_workers(plan, now);
        self.tell_lists(plan, now);
    }

    fn tell_to_workers(&mut self, plan: &Plan, now: i64) {
        let mut known = HashMap::new();
        for pool in &plan.pools {
            let Some((chain, ends)) = pool.own_certificate() else {
                continue;
            };
            let key = (pool.name().to_owned(), chain.to_path_buf());
            let told = self.to_workers.get(&key).copied();
            let days = days_until(ends, now);
            if is_due(days, told, now) {
                let (pool, chain) = (&key.0, key.1.display());
                if days < DAYS_URGENT {
                    tracing::error!(%pool, %chain, days, "certificate for workers expires soon, or has");
                } else {
                    tracing::warn!(%pool, %chain, days, "certificate for workers expires soon");
                }
                known.insert(key, now.div_euclid(DAY));
            } else if let Some(day) = told {
                known.insert(key, day);
            }
        }
        self.to_workers = known;
    }

    fn tell_lists(&mut self, plan: &Plan, now: i64) {
        let (mut known, today) = (HashMap::new(), now.div_euclid(DAY));
        for (listener, running) in plan.config.listeners.iter().zip(&plan.listeners) {
            let live = running.tls.as_ref().filter(|_| !listener.bind.is_empty());
            for list in live.map(|live| live.lists()).unwrap_or_default() {
                let standing = list.standing(now);
                let (name, accepted) = (listener.name.clone(), list.accepted);
                let key = (name, list.file, list.issuer, standing);
                let hours = list.ends.saturating_sub(now) / 3600;
                if self.lists.get(&key) != Some(&today) {
                    let (listener, crl, issuer) = (&key.0, key.1.display(), &key.2);
                    match standing {
                        Standing::Good => continue,
                        Standing::Soon => {
                            tracing::warn!(%listener, %crl, %issuer, hours, "list of revoked certificates runs out soon");
                        }
                        Standing::Over if accepted => {
                            tracing::warn!(%listener, %crl, %issuer, "list of revoked certificates has run out, and is used all the same");
                        }
                        Standing::Over => {
                            tracing::error!(%listener, %crl, %issuer, fix = "fetch a newer one", "list of revoked certificates has run out: clients with certificates are refused");
                        }
                    }
                }
                known.insert(key, today);
            }
        }
        self.lists = known;
    }

    fn tell_certificates(&mut self, plan: &Plan, now: i64) {
        let mut known = HashMap::new();
        for (listener, running) in plan.config.listeners.iter().zip(&plan.listeners) {
            let shown = running.tls.as_ref().map(|live| live.shown());
            for Shown { chain, expires, .. } in shown.into_iter().flatten() {
                let key = (listener.name.clone(), chain);
                let told = self.certificates.get(&key).copied();
                let days = days_until(expires, now);
                if is_due(days, told, now) {
                    let (listener, chain) = (&key.0, key.1.display());
                    if days < 0 {
                        tracing::error!(%listener, %chain, "certificate has expired");
                    } else if days < DAYS_URGENT {
                        tracing::error!(%listener, %chain, days, "certificate expires soon");
                    } else {
                        tracing::warn!(%listener, %chain, days, "certificate expires soon");
                    }
                    known.insert(key, now.div_euclid(DAY));
                } else if let Some(day) = told {
                    known.insert(key, day);
                }
            }
        }
        // What is shown no more is forgotten.
        self.certificates = known;
    }
}

/// Whether a certificate that ends in so many days is to be told of, when it was last on the day `told`.
fn is_due(days: i64, told: Option<i64>, now: i64) -> bool {
    days < DAYS_WARNED && told != Some(now.div_euclid(DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_soon_is_told_once_a_day() {
        let now = 20_000 * DAY + 5;
        assert!(!is_due(21, None, now), "three weeks are left");
        assert!(is_due(20, None, now) && is_due(-3, None, now));
        assert!(!is_due(20, Some(20_000), now), "it was told today");
        assert!(is_due(19, Some(20_000), now + DAY));
    }
}
