//! Who deletes what removed computers have left behind? The relay of the outbox, beside its work; where there is no broker,
//! and so no relay, the API.
//!
//! One works at a time, which an advisory lock sees to. A portion is one transaction: killed in between, it is as if it had
//! not begun, and whoever works next goes on. Nobody waits for it, so half of the time is left to others.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::metrics::Metrics;
use crate::serve::Ground;
use crate::store::{self, Store, removed};
use crate::worker::Worker;

/// Most rows of one portion: few enough for a disk that has to look for each.
const ROWS: i64 = 500;
/// Between two looks where nobody has left anything, another works, or something failed.
const LOOK: Duration = Duration::from_secs(1);

/// Sweeps until the worker stops. What a portion had begun by then is undone.
pub fn begin(ground: &Ground) {
    let sweeper = Sweeper {
        store: ground.store.clone(),
        metrics: ground.metrics.clone(),
    };
    tokio::spawn(sweeper.run(ground.worker.clone()));
}

struct Sweeper {
    store: Store,
    metrics: Metrics,
}

impl Sweeper {
    async fn run(self, worker: Worker) {
        tokio::select! {
            biased;
            () = worker.stopping() => {}
            () = self.keep_sweeping() => {}
        }
    }

    async fn keep_sweeping(&self) {
        let mut failing = false;
        loop {
            let began = Instant::now();
            let pause = match self.turn().await {
                Ok(more) => {
                    if failing {
                        info!("what removed computers measured is deleted again");
                    }
                    failing = false;
                    if more { began.elapsed() } else { LOOK }
                }
                Err(problem) => {
                    if !failing {
                        warn!(%problem, "what removed computers measured stays for now");
                    }
                    failing = true;
                    LOOK
                }
            };
            sleep(pause).await;
        }
    }

    /// One portion. False where nothing is left, or another works.
    async fn turn(&self) -> store::Result<bool> {
        let mut connection = self.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        let leads = removed::lead(&tx).await?;
        if leads {
            removed::sweep(&tx, ROWS).await?;
        }
        let waiting = removed::waiting(&tx).await?;
        store::commit(tx).await?;
        self.metrics.sweep_waiting.set(waiting);
        Ok(leads && waiting > 0)
    }
}
