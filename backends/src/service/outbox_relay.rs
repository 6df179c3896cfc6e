//! Who tells the broker? One program that takes notes out of the outbox when the broker has them.
//!
//! It is a program of its own, not a task of each worker: workers are many and come and go, this needs
//! one at a time, and a worker that answers requests should not wait for a broker. Several may run; an
//! advisory lock lets one work at a time, so that the order of notes is kept, and the others take over
//! within one look. A batch is one transaction: lock, read, publish, wait for the confirmations, delete,
//! commit. Killed anywhere in between, it publishes again what it published already.

use std::time::Duration;

use axum::Router;
use futures_util::FutureExt;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::{Service, sweep};
use crate::broker::publish::Publisher;
use crate::broker::topology::Vhost;
use crate::broker::{self, BrokerError};
use crate::domain::event::{Event, Topic};
use crate::error::Error;
use crate::front;
use crate::metrics::Metrics;
use crate::serve::{Ground, Live};
use crate::store::outbox::{self, NOTES_MAX};
use crate::store::{self, Store, StoreError};
use crate::stub;
use crate::worker::Worker;

/// The relay of the outbox.
pub const SERVICE: Service = Service {
    name: "outbox-relay",
    routes: stub::routes,
    open: Some(|ground| async { Ok(open(ground)) }.boxed()),
    check: Some(broker::check_set),
};

/// Notes in one transaction.
const BATCH: i64 = 500;
/// Between two signs of life in the database, and two counts of what waits.
const SIGN: Duration = Duration::from_secs(5);
/// After something failed, besides what the broker and the database wait by themselves.
const REST: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

fn open(ground: Ground) -> Live {
    let relay = Relay {
        store: ground.store.clone(),
        metrics: ground.metrics.clone(),
        services: Publisher::new(&ground.broker, Vhost::Services),
        hostagent: Publisher::new(&ground.broker, Vhost::Hostagent),
        signed: None,
        loses: false,
    };
    tokio::spawn(relay.run(ground.settings.broker.poll, ground.worker.clone()));
    sweep::begin(&ground);
    let routes = Router::new().fallback(|| async { Error::NotFound });
    Live {
        routes: front::around(routes, &ground.worker, &ground.metrics, &ground.store),
        last: None,
    }
}

struct Relay {
    store: Store,
    metrics: Metrics,
    services: Publisher,
    hostagent: Publisher,
    signed: Option<Instant>,
    /// Were notes given up, and is that still going on?
    loses: bool,
}

impl Relay {
    async fn run(mut self, poll: Duration, worker: Worker) {
        let stopping = worker.stopping();
        tokio::pin!(stopping);
        let mut failing = false;
        loop {
            // A batch is finished before the worker stops: what is confirmed should be deleted, too.
            let pause = match self.turn().await {
                Ok(count) => {
                    if failing {
                        info!("notes are told again");
                    }
                    failing = false;
                    self.loses = false;
                    if count == BATCH as usize {
                        Duration::ZERO
                    } else {
                        poll
                    }
                }
                Err(problem) => {
                    if !failing {
                        warn!(%problem, "notes wait");
                    }
                    failing = true;
                    self.signed = None;
                    REST
                }
            };
            tokio::select! {
                biased;
                () = &mut stopping => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Tells one batch, and returns how many notes it had; none where another relay works.
    async fn turn(&mut self) -> Result<usize, RelayError> {
        let mut connection = self.store.connection().await?;
        let signs = self.signed.is_none_or(|at| at.elapsed() > SIGN);
        if signs {
            let tx = store::begin(&mut connection).await?;
            if !outbox::lead(&tx).await? {
                self.signed = None;
                return Ok(0);
            }
            self.bound(tx).await?;
        }
        let tx = store::begin(&mut connection).await?;
        if !outbox::lead(&tx).await? {
            self.signed = None;
            return Ok(0);
        }
        if signs {
            self.sign(&tx).await?;
        }
        let notes = outbox::oldest(&tx, BATCH).await?;
        if !notes.is_empty() {
            self.tell(&notes).await?;
            outbox::told(&tx, &notes).await?;
        }
        store::commit(tx).await?;
        self.metrics
            .notes
            .with_label_values(&["told"])
            .inc_by(notes.len() as u64);
        Ok(notes.len())
    }

    /// Keeps the outbox within its bound, in a transaction of its own: it holds also, and above all, while
    /// the broker is away. Whoever is not told of what was given up is told to look.
    async fn bound(&mut self, tx: store::Tx<'_>) -> Result<(), RelayError> {
        let lost = outbox::bound(&tx, NOTES_MAX).await?;
        if lost > 0 {
            outbox::put_anything(&tx).await?;
        }
        let (waiting, seconds) = outbox::waiting(&tx).await?;
        store::commit(tx).await?;
        self.metrics.notes_waiting.set(waiting);
        self.metrics.notes_oldest.set(seconds);
        if lost > 0 {
            if !self.loses {
                warn!(lost, "too many notes wait: everybody is told to look");
            }
            self.loses = true;
            self.metrics.notes.with_label_values(&["lost"]).inc_by(lost);
        }
        Ok(())
    }

    /// Says in the database that notes are worth keeping, where the broker is really there.
    async fn sign(&mut self, tx: &store::Tx<'_>) -> Result<(), RelayError> {
        self.services.check().await?;
        self.hostagent.check().await?;
        if outbox::seen(tx).await? {
            warn!("notes were not kept: everybody is told to look");
            outbox::put(tx, &Event::of(Topic::Anything, "")).await?;
        }
        self.signed = Some(Instant::now());
        Ok(())
    }

    async fn tell(&mut self, notes: &[outbox::Note]) -> Result<(), BrokerError> {
        for (vhost, publisher) in [
            (Vhost::Services, &mut self.services),
            (Vhost::Hostagent, &mut self.hostagent),
        ] {
            let events: Vec<&Event> = notes
                .iter()
                .map(|note| &note.event)
                .filter(|event| Vhost::of(event.topic).contains(&vhost))
                .collect();
            if !events.is_empty() {
                publisher.notes(&events).await?;
            }
        }
        Ok(())
    }
}
