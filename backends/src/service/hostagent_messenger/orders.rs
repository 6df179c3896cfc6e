//! Who has orders, and whose stream is not its stream any more? Heard over the broker, and looked up by turns.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;
use uuid::Uuid;

use super::Desk;
use crate::broker::Broker;
use crate::broker::consume::{self, Told};
use crate::broker::topology::Vhost;
use crate::domain::event::{Event, Topic};
use crate::store::{self, StoreError, wsl};

static TOPICS: [Topic; 2] = [Topic::HostOrdered, Topic::HostConnected];
/// Between two looks for streams that were replaced without our hearing of it.
const COMPARE: Duration = Duration::from_secs(60);
/// Streams in one look.
const BATCH: usize = 5000;

/// Tells streams to look for orders or to end, for as long as the worker lives.
pub async fn keep_looking(desk: Desk, broker: Broker, poll: Duration) {
    let mut told = consume::notes(&broker, Vhost::Hostagent, &TOPICS);
    let (mut poll, mut compare) = (interval(poll), interval(COMPARE));
    for timer in [&mut poll, &mut compare] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        timer.reset();
    }
    let stopping = desk.worker.stopping();
    tokio::pin!(stopping);
    loop {
        let done = tokio::select! {
            () = &mut stopping => break,
            _ = poll.tick() => look(&desk).await,
            _ = compare.tick() => check(&desk, &desk.board.all()).await,
            note = told.recv() => match note {
                // Nothing is told any more: the worker stops.
                None => break,
                Some(Told::Anew) => anew(&desk).await,
                Some(Told::Event(event)) => heard(&desk, &event).await,
            },
        };
        if let Err(problem) = done {
            warn!(%problem, "orders are looked for later");
        }
    }
    desk.worker.stopping().await;
    desk.forget_streams_at_the_end().await;
}

async fn anew(desk: &Desk) -> Result<(), StoreError> {
    check(desk, &desk.board.all()).await?;
    look(desk).await
}

async fn heard(desk: &Desk, event: &Event) -> Result<(), StoreError> {
    let Ok(uid) = Uuid::try_parse(&event.subject) else {
        return Ok(());
    };
    // Most notes are about hosts whose stream is elsewhere, and cost nothing.
    let Some(stream) = desk.board.stream(uid) else {
        return Ok(());
    };
    match event.topic {
        Topic::HostOrdered => desk.board.look(uid),
        _ => check(desk, &[(uid, stream)]).await?,
    }
    Ok(())
}

/// Which of our hosts have orders? And which streams ended while that could not be stored?
async fn look(desk: &Desk) -> Result<(), StoreError> {
    store_left(desk).await?;
    let held = desk.board.all();
    for some in held.chunks(BATCH) {
        let uids: Vec<Uuid> = some.iter().map(|(uid, _)| *uid).collect();
        let mut connection = desk.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        for uid in wsl::waited_for(&tx, &uids).await? {
            desk.board.look(uid);
        }
    }
    Ok(())
}

/// Stores which streams have ended; without it their hosts would count as connected.
async fn store_left(desk: &Desk) -> Result<(), StoreError> {
    let mut left = desk.board.take_left().into_iter();
    while let Some((uid, stream)) = left.next() {
        if let Err(problem) = desk.disconnected(uid, stream).await {
            desk.board.remember(uid, stream);
            left.for_each(|(uid, stream)| desk.board.remember(uid, stream));
            return Err(problem);
        }
    }
    Ok(())
}

/// Ends those of these streams that are not their hosts' any more.
async fn check(desk: &Desk, held: &[(Uuid, Uuid)]) -> Result<(), StoreError> {
    for some in held.chunks(BATCH) {
        let mut connection = desk.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        let current = wsl::current(&tx, some).await?;
        for (uid, stream) in some.iter().filter(|(uid, _)| !current.contains(uid)) {
            desk.board.end(*uid, *stream);
        }
    }
    Ok(())
}
