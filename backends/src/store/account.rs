//! Whose computers are they?

use super::{Result, Tx, one, rows, run};
use crate::domain::register::Account;

/// The account of this name.
///
/// # Errors
///
/// The database's.
pub async fn find(tx: &Tx<'_>, name: &str) -> Result<Option<Account>> {
    let sql = "select id, registration_key, auto_accept, pending_max from account where name = $1";
    let row = super::find(tx, sql, &[&name]).await?;
    row.as_ref().map(account).transpose()
}

/// The account of this name, locked: registrations of one account come one after the other, so that
/// two of the same computer at once become one.
///
/// # Errors
///
/// The database's.
pub async fn lock(tx: &Tx<'_>, name: &str) -> Result<Option<Account>> {
    let sql = "select id, registration_key, auto_accept, pending_max from account \
               where name = $1 for no key update";
    let row = super::find(tx, sql, &[&name]).await?;
    row.as_ref().map(account).transpose()
}

fn account(row: &tokio_postgres::Row) -> Result<Account> {
    Ok(Account {
        id: row.try_get(0)?,
        key: row.try_get(1)?,
        auto_accept: row.try_get(2)?,
        pending_max: row.try_get(3)?,
    })
}

/// Makes an account, or gives one another title; without a title that is its name, or stays. True where it is new.
///
/// # Errors
///
/// The database's.
pub async fn put(tx: &Tx<'_>, name: &str, title: Option<&str>) -> Result<bool> {
    let sql = "insert into account (name, title) values ($1, coalesce($2::text, $1)) \
               on conflict (name) do update set title = coalesce($2::text, account.title) \
               returning xmax = 0";
    Ok(one(tx, sql, &[&name, &title]).await?.try_get(0)?)
}

/// Says of an account whether the key makes a registration count at once, and how many computers may wait;
/// what is not said stays. What it is then; None where there is no such account.
///
/// # Errors
///
/// The database's.
pub async fn allow(
    tx: &Tx<'_>,
    name: &str,
    auto_accept: Option<bool>,
    pending_max: Option<i32>,
) -> Result<Option<Account>> {
    let sql = "update account set auto_accept = coalesce($2::boolean, auto_accept), \
               pending_max = coalesce($3::integer, pending_max) where name = $1 \
               returning id, registration_key, auto_accept, pending_max";
    let row = super::find(tx, sql, &[&name, &auto_accept, &pending_max]).await?;
    row.as_ref().map(account).transpose()
}

/// Is there an account of this name?
///
/// # Errors
///
/// The database's.
pub async fn exists(tx: &Tx<'_>, name: &str) -> Result<bool> {
    let sql = "select exists (select from account where name = $1)";
    Ok(one(tx, sql, &[&name]).await?.try_get(0)?)
}

/// The accounts whose registration key still stands beside them, readable, with that key; locked.
///
/// # Errors
///
/// The database's.
pub async fn readable_keys(tx: &Tx<'_>) -> Result<Vec<(String, String)>> {
    let sql = "select name, registration_key from account where registration_key is not null \
               order by id for no key update";
    let found = rows(tx, sql, &[]).await?;
    let pair = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
    found.iter().map(pair).collect()
}

/// No key stands readable beside this account any more. True where there is such an account.
///
/// # Errors
///
/// The database's.
pub async fn hide_key(tx: &Tx<'_>, name: &str) -> Result<bool> {
    let sql = "update account set registration_key = null where name = $1";
    Ok(run(tx, sql, &[&name]).await? == 1)
}
