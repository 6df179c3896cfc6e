//! Does apt see what the database says? Each pocket's suite is written when its revision is another.
//!
//! Whoever changes a pocket shows it; every worker also looks now and then, for what was left by one
//! that was killed, and for uploads that expired.

use std::time::SystemTime;

use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::Desk;
use super::receive::beside;
use crate::archive::pool;
use crate::archive::suite::Suite;
use crate::error::Error;
use crate::store;
use crate::store::repository::{self, Pocket};
use crate::worker::Worker;

/// Shows a pocket as it is now.
///
/// # Errors
///
/// The database's and the file system's; what was shown before stays.
pub async fn show(desk: &Desk, pocket: i64) -> Result<(), Error> {
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    // Held while files are written: nobody else shows this pocket meanwhile.
    let Some(pocket) = repository::lock_pocket(&tx, pocket).await? else {
        return Ok(());
    };
    let mut suite = suite(&pocket);
    let root = pool::root(
        &desk.directory,
        &pocket.place.account,
        &pocket.place.distribution,
    );
    let signer = desk.signer.clone();
    if suite.is_shown(&root, signer.as_deref()) {
        return Ok(());
    }
    suite.packages = repository::content(&tx, pocket.id).await?;
    let packages = suite.packages.len();
    beside(move || suite.show(&root, signer.as_deref(), SystemTime::now())).await?;
    info!(place = %pocket.place, revision = pocket.revision, packages, "shown");
    Ok(())
}

fn suite(pocket: &Pocket) -> Suite {
    Suite {
        name: pocket.place.suite(),
        revision: pocket.revision,
        architectures: pocket.architectures.clone(),
        packages: Vec::new(),
    }
}

/// Looks for what is to be shown and what has expired, until the worker stops.
pub async fn keep_shown(desk: Desk, worker: Worker) {
    let stopping = worker.stopping();
    tokio::pin!(stopping);
    let mut ticks = interval(desk.settings.look);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut stopping => return,
            _ = ticks.tick() => {}
        }
        if let Err(problem) = look(&desk).await {
            warn!(%problem, "repositories could not be looked after");
        }
    }
}

async fn look(desk: &Desk) -> Result<(), Error> {
    let pockets = {
        let mut connection = desk.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        repository::pockets(&tx).await?
    };
    for pocket in pockets {
        // Without a lock first: nearly always nothing is to be done.
        let root = pool::root(
            &desk.directory,
            &pocket.place.account,
            &pocket.place.distribution,
        );
        if !suite(&pocket).is_shown(&root, desk.signer.as_deref()) {
            show(desk, pocket.id).await?;
        }
    }
    let (incoming, age) = (desk.incoming.clone(), desk.settings.expire);
    let expired = beside(move || incoming.expire(SystemTime::now(), age)).await?;
    if expired > 0 {
        info!(
            files = expired,
            "uploads that were never completed are removed"
        );
        let count = u64::try_from(expired).unwrap_or(u64::MAX);
        desk.metrics
            .uploads
            .with_label_values(&["expired"])
            .inc_by(count);
    }
    Ok(())
}
