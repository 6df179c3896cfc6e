//! Who is tried next, and when is it enough? One try after the other, until a worker answers.

use std::cell::Cell;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Instant;

use bytes::BytesMut;

use crate::exchange::admit;
use crate::exchange::client::Client;
use crate::exchange::context::Context;
use crate::exchange::failure::Failure;
use crate::exchange::finish::Summary;
use crate::exchange::job::safe;
use crate::exchange::job::{Done, Job, Sent};
use crate::exchange::reach::{report, try_worker, word};
use crate::exchange::replay::Replay;
use crate::exchange::standing::Standing;
use crate::exchange::waits::Waits;
use crate::io::timer::{TICK, Timers};
use crate::pool::{Kind, Outcome, Pool, Want, WorkerId};

/// Attempts that failed before a byte was sent, in one exchange: a pool whose workers all went at once is learned
/// about one refusal at a time.
const UNSENT_MAX: u32 = 64;

/// Tries workers until one answers, or nothing more can be tried.
pub(super) async fn attempts<'a>(
    cx: &Context,
    standing: &mut Standing<'a>,
    job: &mut Job<'a>,
    body: &mut Replay,
    ahead: &mut BytesMut,
    client: &mut Client,
    summary: &mut Summary<'_>,
) -> Result<Done, (Failure, Option<h2::Reason>)> {
    let shard = &cx.shard;
    let mut pool = standing.pool();
    let mut key = admit::hash_key(pool, job.request, summary.client());
    let kind = if job.upgrade.is_some() {
        Kind::Stream
    } else {
        Kind::Request
    };
    pool.retry_budget().deposit();
    let mut tried: Vec<WorkerId> = Vec::new();
    let (mut unsent, mut retries, mut moved, mut backed_up) = (0, 0, 0, false);
    loop {
        // A block, so that what was wanted takes no room while a worker answers.
        let (admitted, waited) = {
            let waits = Cell::new(Waits::default());
            let want = Want {
                key,
                home: job.home,
                avoid: &tried,
                random: shard.random(),
                kind,
            };
            let admitted = match admit::at_once(pool, &want) {
                Ok(lease) => Ok(Some(lease)),
                // Boxed: who waits is rare, and every exchange would have to hold the room for it.
                Err(why) => {
                    let random = || shard.random();
                    let admitting = admit::wait(pool, why, want, random, &shard.timers, &waits);
                    let admitting = standing.unless_changed(&shard.timers, admitting);
                    Box::pin(unless_gone(client, admitting)).await
                }
            };
            let waited = summary.waited(waits.get(), matches!(admitted, Ok(Some(_))));
            (admitted, waited)
        };
        let Some(lease) = admitted.map_err(|failure| (failure, None))? else {
            moved += 1;
            if moved > UNSENT_MAX {
                return Err((Failure::NoWorker, None));
            }
            if standing.moves(cx, job, summary) {
                (pool, tried) = (standing.pool(), Vec::new());
                key = admit::hash_key(pool, job.request, summary.client());
            }
            continue;
        };
        if standing.chosen != standing.forward.pool && !backed_up {
            backed_up = true;
            let stood_in_for = standing.plan.pool(standing.forward.pool);
            let count = &stood_in_for.stats().backed_up;
            count.fetch_add(1, Ordering::Relaxed);
        }
        // The usual exchange needs no look at the clock here: nothing has taken time yet.
        if waited || summary.retries > 0 {
            summary.sent = Instant::now();
        }
        let worker = lease.worker();
        summary.goes_to(standing.chosen, &lease);
        let lost = match try_worker(cx, pool, job, body, ahead, client, lease, summary).await {
            Ok(done) => return Ok(done),
            Err(lost) => lost,
        };
        // A kept connection that had gone stale says nothing of the worker: it may have restarted since.
        let stale = lost.sent == Sent::Perhaps { stale: true };
        if let Some(outcome) = lost.outcome.filter(|_| !stale) {
            summary.pool_metrics().failed(word(outcome));
            report(pool, worker, outcome, Instant::now());
        }
        let again =
            body.rewind() && lost.failure != Failure::ClientGone && lost.outcome_allows_retry();
        let allowed = match lost.sent {
            _ if !again => false,
            Sent::Nothing | Sent::Refused | Sent::Perhaps { stale: true }
                if !safe(&lost, job.request) =>
            {
                false
            }
            // A refusal comes at once; each timeout costs the client its patience.
            Sent::Nothing if lost.outcome == Some(Outcome::ConnectTimeout) => {
                retries += 1;
                retries <= pool.model().retry.attempts_max
            }
            // Who is said to be up refuses, every one: an empty pool that discovery has not looked at yet.
            Sent::Nothing
                if lost.outcome == Some(Outcome::ConnectRefused) && tried.contains(&worker) =>
            {
                let goes_on = summary.started.elapsed() < pool.model().hold.time;
                if goes_on {
                    let since = Instant::now();
                    let paused = unless_gone(client, pause(&shard.timers)).await;
                    summary.waits.hold += since.elapsed();
                    paused.map_err(|failure| (failure, None))?;
                }
                goes_on
            }
            Sent::Nothing | Sent::Refused => {
                unsent += 1;
                unsent <= UNSENT_MAX
            }
            Sent::Perhaps { .. } => {
                retries += 1;
                retries <= pool.model().retry.attempts_max
                    && safe(&lost, job.request)
                    && (lost.sent == Sent::Perhaps { stale: true } || withdraw(pool))
            }
        };
        if !allowed {
            return Err((lost.failure, lost.reset));
        }
        pool.stats().retries.fetch_add(1, Ordering::Relaxed);
        summary.retries += 1;
        // The body begins again: what was counted of it counts once.
        job.tally.bytes_in.set(0);
        if standing.moves(cx, job, summary) {
            (pool, tried) = (standing.pool(), Vec::new());
            key = admit::hash_key(pool, job.request, summary.client());
        } else if !tried.contains(&worker) {
            tried.push(worker);
        }
    }
}

/// Takes a retry from the pool's budget, where there is one left.
fn withdraw(pool: &Pool) -> bool {
    let allowed = pool.retry_budget().withdraw(Instant::now());
    if !allowed {
        let denied = &pool.stats().retries_denied;
        denied.fetch_add(1, Ordering::Relaxed);
    }
    allowed
}

/// Gives discovery the time of a look.
async fn pause(timers: &Timers) -> Result<(), Failure> {
    let _ = timers
        .slot()
        .within(TICK, std::future::pending::<()>())
        .await;
    Ok(())
}

/// Waits for a worker; a client that leaves meanwhile gives its place in the queue up.
async fn unless_gone<T>(
    client: &mut Client,
    waiting: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut waiting = pin!(waiting);
    std::future::poll_fn(|cx| match waiting.as_mut().poll(cx) {
        Poll::Pending => client.poll_gone(cx).map(|_| Err(Failure::ClientGone)),
        ready => ready,
    })
    .await
}
