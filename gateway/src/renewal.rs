//! How do replaced certificates get in? The control thread looks at the files and tells what came of it.
//!
//! Promises: no data thread touches a file; a look reads nothing while no file has changed; what ends soon is told once a
//! day. Does not: fetch or renew anything.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::observe::metrics::Metrics;
use crate::plan::Plan;
use crate::shard::Shared;
use crate::tls::lists::Standing;
use crate::tls::live::Look;
use crate::tls::server::Shown;
use crate::tls::time::{DAY, days_until, unix};

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
    let mut told = Told::default();
    loop {
        let (shared, metrics) = (shared.clone(), metrics.clone());
        // A file may lie on a network that does not answer: nothing else shall wait for it.
        let looked = tokio::task::spawn_blocking(move || {
            let plan = shared.plan.load_full();
            let moving = look(&plan, &metrics, SystemTime::now(), Instant::now());
            told.tell(&plan, unix(SystemTime::now()));
            (told, moving)
        });
        let Ok((back, moving)) = looked.await else {
            tracing::error!(
                "looking at certificates has failed; replaced ones are not picked up any more"
            );
            return;
        };
        told = back;
        tokio::time::sleep(if moving { LOOK_AGAIN } else { LOOK }).await;
    }
}

/// One look at every listener; true where something changes just now.
fn look(plan: &Plan, metrics: &Metrics, now: SystemTime, steady: Instant) -> bool {
    let mut moving = false;
    for (listener, running) in plan.config.listeners.iter().zip(&plan.listeners) {
        let Some(live) = running.tls.as_ref().filter(|_| !listener.bind.is_empty()) else {
            continue;
        };
        let name = &listener.name;
        match live.look(now, steady) {
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
                    let days = days_until(expires, unix(now));
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

/// What was told of certificates and lists that end soon, by the day it was told.
#[derive(Default)]
struct Told {
    certificates: HashMap<(String, PathBuf), i64>,
    /// What has run out is told at once, also where it was told on the same day that it would.
    lists: HashMap<(String, PathBuf, String, Standing), i64>,
}

impl Told {
    fn tell(&mut self, plan: &Plan, now: i64) {
        self.tell_certificates(plan, now);
        self.tell_lists(plan, now);
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
