//! Whose computers are they?

use super::{Result, Tx, run};
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

/// Sets the key with which registrations of an account count at once; None for no key. True where
/// there is such an account.
///
/// # Errors
///
/// The database's.
pub async fn set_key(tx: &Tx<'_>, name: &str, key: Option<&str>) -> Result<bool> {
    let sql = "update account set registration_key = $2 where name = $1";
    Ok(run(tx, sql, &[&name, &key]).await? == 1)
}
