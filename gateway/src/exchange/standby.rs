//! Which pool serves it? The route's own, or one that stands in while too few of its workers are up.
//!
//! Promises: whoever waits for a worker goes where one comes up first; nobody waits for a backup while the pool before it
//! can serve. Does not: choose workers.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use crate::config::model::{Forward, PoolId};
use crate::exchange::failure::Failure;
use crate::io::timer::{TICK, Timers};
use crate::plan::Plan;

/// The pool for a request that comes, or is tried again, now.
pub fn choose(plan: &Plan, forward: &Forward) -> PoolId {
    if forward.backups.is_empty() {
        return forward.pool;
    }
    let live = |id: PoolId| {
        let pool = plan.pool(id);
        // A backup in maintenance stands in for nobody; for the pool itself that was asked before.
        if id != forward.pool && pool.is_closed() {
            0
        } else {
            pool.live()
        }
    };
    let mut at = forward.pool;
    for backup in &forward.backups {
        if live(at) >= backup.below as usize {
            return at;
        }
        at = backup.pool;
    }
    // The last has none behind it; where it is empty, too, a few workers are better than none.
    let all = || std::iter::once(forward.pool).chain(forward.backups.iter().map(|b| b.pool));
    match live(at) {
        0 => all().find(|id| live(*id) > 0).unwrap_or(forward.pool),
        _ => at,
    }
}

/// Waits for a worker of the pool that was chosen; `None` when another is to be chosen.
pub(super) async fn unless_changed<T>(
    plan: &Plan,
    forward: &Forward,
    chosen: PoolId,
    timers: &Timers,
    waiting: impl Future<Output = Result<T, Failure>>,
) -> Result<Option<T>, Failure> {
    if forward.backups.is_empty() {
        return waiting.await.map(Some);
    }
    let mut waiting = pin!(waiting);
    let look = timers.slot();
    look.set(TICK);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = waiting.as_mut().poll(cx) {
            return Poll::Ready(done.map(Some));
        }
        while look.poll_expired(cx).is_ready() {
            if choose(plan, forward) != chosen {
                return Poll::Ready(Ok(None));
            }
            look.set(TICK);
        }
        Poll::Pending
    })
    .await
}
