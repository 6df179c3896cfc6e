//! Who has something to fetch, and when was who last heard of? In bulk, for the ping servers.

use std::time::SystemTime;

use super::{Connection, Result, begin, commit, outbox, run};
use crate::domain::event::{Event, Topic};

/// The insecure identities of all computers, each with its number, above `from`.
///
/// # Errors
///
/// The database's.
pub async fn computers(connection: &Connection, from: i64) -> Result<Vec<(i64, i64)>> {
    let sql = "select insecure_id, id from computer where id > $1";
    let statement = connection.prepare_cached(sql).await?;
    let rows = connection.query(&statement, &[&from]).await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// The insecure identities of accepted computers that should come: an activity is due, or they were
/// accepted since they came last (within a day: whoever did not come by then comes by itself).
///
/// What was handed out and not acknowledged is no reason: an agent whose exchange failed comes again
/// by itself, and one that got it has nothing to fetch.
///
/// # Errors
///
/// The database's.
pub async fn waited_for(connection: &Connection) -> Result<Vec<i64>> {
    let sql = "select insecure_id from computer where accepted and id in ( \
                   select computer_id from activity \
                   where status = 'undelivered' and deliver_after <= now()) \
               union select insecure_id from computer join exchange on computer_id = id \
               where accepted and accepted_at > last_at \
                   and accepted_at > now() - interval '1 day'";
    let statement = connection.prepare_cached(sql).await?;
    let rows = connection.query(&statement, &[]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// What pings must know of these computers: insecure identity, number, and whether it should come. Who is
/// missing in the answer is no computer any more.
///
/// # Errors
///
/// The database's.
pub async fn some(connection: &Connection, ids: &[i64]) -> Result<Vec<(i64, i64, bool)>> {
    let sql = "select insecure_id, id, accepted and ( \
                   exists (select from activity where computer_id = computer.id \
                       and status = 'undelivered' and deliver_after <= now()) \
                   or exists (select from exchange where computer_id = computer.id \
                       and accepted_at > last_at and accepted_at > now() - interval '1 day')) \
               from computer where id = any($1)";
    let statement = connection.prepare_cached(sql).await?;
    let rows = connection.query(&statement, &[&ids]).await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
        .collect()
}

/// Writes down when computers were heard of, by their numbers. A later time that another worker has
/// written stays.
///
/// # Errors
///
/// The database's.
pub async fn write(connection: &mut Connection, heard: &[(i64, SystemTime)]) -> Result<()> {
    let tx = begin(connection).await?;
    let (ids, times): (Vec<i64>, Vec<SystemTime>) = heard.iter().copied().unzip();
    // A computer may have been removed meanwhile. The order keeps two workers from waiting for each
    // other.
    let sql = "insert into computer_ping (computer_id, last_at) \
               select heard.id, heard.at from unnest($1::bigint[], $2::timestamptz[]) \
                   as heard (id, at) join computer using (id) order by heard.id \
               on conflict (computer_id) \
               do update set last_at = greatest(computer_ping.last_at, excluded.last_at)";
    run(&tx, sql, &[&ids, &times]).await?;
    outbox::put(&tx, &Event::of(Topic::PingsHeard, "")).await?;
    commit(tx).await
}
