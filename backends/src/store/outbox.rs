//! What happened and is not told yet? Notes that are stored with what they tell of, or not at all.
//!
//! A note is put in the transaction that it tells of and taken out when the broker has it, so that
//! what is stored and what is told never part for good. A relay publishes it at least once. Where no
//! relay has worked for [`STALE`] nothing is put: nobody would take it out, and a relay that comes back
//! after so long begins by telling that anything may have happened.

use std::time::Duration;

use super::{Result, Tx, find, one, rows, run};
use crate::domain::event::{Event, Topic};

/// So long after a relay last had the broker, notes are not kept any more.
pub const STALE: Duration = Duration::from_secs(600);
/// Most notes that wait; the oldest are given up.
pub const NOTES_MAX: i64 = 200_000;
/// Held by the relay that works: "the outbox of the backends", as a number of our own.
const LOCK: i64 = 0x6f75_7462_6f78;

/// A note that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its number. Those about one subject are in the order in which they were committed, where the
    /// transactions that put them exclude each other, as those of one computer do.
    pub id: i64,
    /// What it tells.
    pub event: Event,
}

/// Puts a note.
///
/// # Errors
///
/// The database's.
pub async fn put(tx: &Tx<'_>, event: &Event) -> Result<()> {
    // Literal seconds, so that the plan needs no parameter's type.
    let sql = "insert into outbox (topic, subject) select $1, $2 where exists ( \
               select from outbox_relay where seen_at > now() - interval '600 s')";
    run(tx, sql, &[&event.topic.name(), &event.subject]).await?;
    Ok(())
}

/// Puts a note that anything may have happened, in place of those that say so already: who hears one looks at everything.
///
/// # Errors
///
/// The database's.
pub async fn put_anything(tx: &Tx<'_>) -> Result<()> {
    let anything = Event::of(Topic::Anything, "");
    let sql = "delete from outbox where topic = $1";
    run(tx, sql, &[&anything.topic.name()]).await?;
    put(tx, &anything).await
}

/// Puts a note about a computer.
///
/// # Errors
///
/// The database's.
pub async fn put_of(tx: &Tx<'_>, topic: Topic, computer: i64) -> Result<()> {
    put(tx, &Event::of(topic, computer)).await
}

/// Puts a note about each of these computers.
///
/// # Errors
///
/// The database's.
pub async fn put_each(tx: &Tx<'_>, topic: Topic, computers: &[i64]) -> Result<()> {
    let sql = "insert into outbox (topic, subject) select $1, id::text from unnest($2::bigint[]) id \
               where exists (select from outbox_relay where seen_at > now() - interval '600 s')";
    run(tx, sql, &[&topic.name(), &computers]).await?;
    Ok(())
}

/// Makes this transaction the one that relays. False where another is.
///
/// # Errors
///
/// The database's.
pub async fn lead(tx: &Tx<'_>) -> Result<bool> {
    let row = one(tx, "select pg_try_advisory_xact_lock($1)", &[&LOCK]).await?;
    Ok(row.try_get(0)?)
}

/// The oldest notes, and none that nobody can read.
///
/// # Errors
///
/// The database's.
pub async fn oldest(tx: &Tx<'_>, most: i64) -> Result<Vec<Note>> {
    let sql = "select id, topic, subject from outbox order by id limit $1";
    let mut notes = Vec::new();
    for row in rows(tx, sql, &[&most]).await? {
        let (topic, subject): (String, String) = (row.try_get(1)?, row.try_get(2)?);
        // Of a later program: whoever knows the word is told that something happened.
        let topic = Topic::named(&topic).unwrap_or(Topic::Anything);
        let (id, event) = (row.try_get(0)?, Event { topic, subject });
        notes.push(Note { id, event });
    }
    Ok(notes)
}

/// The broker has these.
///
/// # Errors
///
/// The database's.
pub async fn told(tx: &Tx<'_>, notes: &[Note]) -> Result<()> {
    let ids: Vec<i64> = notes.iter().map(|note| note.id).collect();
    run(tx, "delete from outbox where id = any($1)", &[&ids]).await?;
    Ok(())
}

/// Gives up the oldest notes where there are more than so many, with room for the one that tells of it.
/// How many it were.
///
/// # Errors
///
/// The database's.
pub async fn bound(tx: &Tx<'_>, most: i64) -> Result<u64> {
    let sql = "delete from outbox where id <= ( \
                   select id from outbox order by id desc offset $1::bigint - 1 limit 1) \
               and exists (select from outbox order by id desc offset $1::bigint limit 1)";
    run(tx, sql, &[&most]).await
}

/// A relay has the broker. True where none had it for so long that notes were not kept.
///
/// # Errors
///
/// The database's.
pub async fn seen(tx: &Tx<'_>) -> Result<bool> {
    let sql = "update outbox_relay set seen_at = now() from outbox_relay before \
               returning before.seen_at <= now() - interval '600 s'";
    let row = find(tx, sql, &[]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?.unwrap_or(true))
}

/// How many notes wait, and for how many seconds the oldest does.
///
/// # Errors
///
/// The database's.
pub async fn waiting(tx: &Tx<'_>) -> Result<(i64, f64)> {
    let sql = "select count(*), coalesce(extract(epoch from now() - min(created_at)), 0)::float8 \
               from outbox";
    let row = one(tx, sql, &[]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
