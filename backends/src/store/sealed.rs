//! Which secrets lie in the database? Names and what is encrypted elsewhere; nothing here can read it.

use super::{Result, Tx, find, one, run};

/// Whoever makes a secret that must exist once holds this until the end of its transaction: "make a
/// secret", as a number of our own.
const LOCK: i64 = 0x7365_6372_6574;

/// What lies under a name.
///
/// # Errors
///
/// The database's.
pub async fn get(tx: &Tx<'_>, name: &str) -> Result<Option<Vec<u8>>> {
    let row = find(
        tx,
        "select sealed from stored_secret where name = $1",
        &[&name],
    )
    .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Puts this under a name, in place of what was there.
///
/// # Errors
///
/// The database's.
pub async fn put(tx: &Tx<'_>, name: &str, sealed: &[u8]) -> Result<()> {
    let sql = "insert into stored_secret (name, sealed) values ($1, $2) \
               on conflict (name) do update set sealed = excluded.sealed, changed_at = now()";
    run(tx, sql, &[&name, &sealed]).await?;
    Ok(())
}

/// Nothing under a name.
///
/// # Errors
///
/// The database's.
pub async fn remove(tx: &Tx<'_>, name: &str) -> Result<()> {
    run(tx, "delete from stored_secret where name = $1", &[&name]).await?;
    Ok(())
}

/// One of them, whichever, to see whether a key opens it.
///
/// # Errors
///
/// The database's.
pub async fn any(tx: &Tx<'_>) -> Result<Option<(String, Vec<u8>)>> {
    let sql = "select name, sealed from stored_secret order by changed_at desc limit 1";
    let found = find(tx, sql, &[]).await?;
    Ok(match found {
        Some(row) => Some((row.try_get(0)?, row.try_get(1)?)),
        None => None,
    })
}

/// Waits until nobody else makes a secret, and keeps it so until the transaction ends.
///
/// # Errors
///
/// The database's.
pub async fn lock(tx: &Tx<'_>) -> Result<()> {
    one(tx, "select pg_advisory_xact_lock($1)::text", &[&LOCK]).await?;
    Ok(())
}
