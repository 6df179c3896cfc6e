//! Is there what the services need besides workers? Looks at each dependency in its own rhythm and says when that changes.
//!
//! Promises: one task for each, which sleeps between its checks; one that a reload keeps is not disturbed. Does not: tell
//! pools; what is found here stops no request.

mod probe;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, info, warn};

use self::probe::Depth;
use super::prober::jitter;
use crate::config::model::DependencyKind;
use crate::dependency::{Dependency, State, Transition};

/// Between two greetings of a broker that is up. RabbitMQ logs a warning for a client that leaves before it has logged in,
/// and nothing for one that has said nothing.
const GREETING_EVERY: Duration = Duration::from_secs(30);

/// Looks at what is wanted, until dropped.
pub async fn run(mut wanted: watch::Receiver<Vec<Arc<Dependency>>>) {
    let mut tasks = JoinSet::new();
    let mut running: Vec<(Arc<Dependency>, AbortHandle)> = Vec::new();
    loop {
        let now = wanted.borrow_and_update().clone();
        running.retain(|(dependency, task)| {
            let kept = now.iter().any(|it| Arc::ptr_eq(it, dependency));
            if !kept {
                task.abort();
            }
            kept
        });
        for dependency in now {
            if !running.iter().any(|(it, _)| Arc::ptr_eq(it, &dependency)) {
                let task = tasks.spawn(follow(dependency.clone()));
                running.push((dependency, task));
            }
        }
        if wanted.changed().await.is_err() {
            return std::future::pending().await;
        }
        // Those that were ended leave nothing behind.
        while tasks.try_join_next().is_some() {}
    }
}

/// Checks one for ever.
async fn follow(dependency: Arc<Dependency>) {
    let model = dependency.model();
    let mut greeted = None;
    loop {
        let began = Instant::now();
        dependency.begin();
        let depth = depth(&dependency, greeted, began);
        let secure = dependency.secure();
        let found = probe::check(
            model.address,
            &model.kind,
            secure.as_deref(),
            depth,
            model.timeout,
        )
        .await;
        let now = Instant::now();
        if depth == Depth::Service {
            greeted = Some(began);
        }
        let result = found.as_ref().map(|passed| passed.0);
        let change = dependency.found(result.map_err(String::as_str), now - began, now);
        tell(&dependency, change.as_ref());
        let wait = match found.is_ok() {
            true => model.interval,
            false => model.interval_failing,
        };
        let next = now + jitter(wait, fastrand::u64(..));
        dependency.plan_next(next);
        if let Ok((_, Some(leaving))) = found {
            probe::leave(leaving).await;
        }
        tokio::time::sleep_until(next.into()).await;
    }
}

/// A broker that is well is greeted seldom; everything else is looked at closely each time.
fn depth(dependency: &Dependency, greeted: Option<Instant>, now: Instant) -> Depth {
    let lately = greeted.is_some_and(|at| now.saturating_duration_since(at) < GREETING_EVERY);
    match dependency.model().kind {
        DependencyKind::Amqp if lately && dependency.is_well() => Depth::Connection,
        _ => Depth::Service,
    }
}

/// Changes are events; what stays as it is is not.
fn tell(dependency: &Dependency, change: Option<&Transition>) {
    let (name, model) = (dependency.name(), dependency.model());
    let (kind, address) = (model.kind.word(), model.address);
    match change {
        Some(Transition {
            to: State::Up,
            reason,
            ..
        }) => info!(dependency = name, kind, %address, %reason, "dependency up"),
        Some(Transition { reason, .. }) => {
            warn!(dependency = name, kind, %address, %reason, "dependency down");
        }
        None => debug!(dependency = name, kind, "dependency checked"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
