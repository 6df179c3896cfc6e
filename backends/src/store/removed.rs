//! What have removed computers left behind? What they measured, which is too much to go with them in one statement.
//!
//! Nobody comes across it: it is read of computers that are there, written by who holds their row, and no number is given
//! twice. So it may go in portions, a transaction each. The database itself notes who is removed, in the transaction that
//! removes.

use super::{Result, Tx, one, rows, run};

/// What grows with time and has no foreign key that would delete it, in the order in which an index has the rows of one
/// computer. In that order the index is walked, whatever the planner thinks of a table that is swept.
const SERIES: [(&str, &str); 5] = [
    ("network_traffic", "interface, at"),
    ("memory_sample", "at"),
    ("load_sample", "at"),
    ("free_space_sample", "mount_point, at"),
    ("network_interface_history", "until desc"),
];
/// Held by who sweeps: "the sweep of the backends", as a number of our own.
const LOCK: i64 = 0x0073_7765_6570;
/// Computers of one portion, where they left little.
const COMPUTERS: i64 = 100;

/// Makes this transaction the one that sweeps. False where another is.
///
/// # Errors
///
/// The database's.
pub async fn lead(tx: &Tx<'_>) -> Result<bool> {
    let row = one(tx, "select pg_try_advisory_xact_lock($1)", &[&LOCK]).await?;
    Ok(row.try_get(0)?)
}

/// Deletes at most so many rows, of those first who were there first, and forgets of whom nothing is left.
///
/// # Errors
///
/// The database's.
pub async fn sweep(tx: &Tx<'_>, most: i64) -> Result<()> {
    let mut left = most;
    let sql = "select id from removed_computer order by id limit $1";
    for row in rows(tx, sql, &[&COMPUTERS]).await? {
        let id: i64 = row.try_get(0)?;
        for (series, order) in SERIES {
            let sql = format!(
                "delete from {series} where ctid = any(array( \
                     select ctid from {series} where computer_id = $1 order by {order} limit $2))"
            );
            let deleted = run(tx, &sql, &[&id, &left]).await?;
            left = left.saturating_sub_unsigned(deleted);
            if left <= 0 {
                return Ok(());
            }
        }
        run(tx, "delete from removed_computer where id = $1", &[&id]).await?;
    }
    Ok(())
}

/// How many computers are gone and may have left something.
///
/// # Errors
///
/// The database's.
pub async fn waiting(tx: &Tx<'_>) -> Result<i64> {
    let sql = "select count(*) from removed_computer";
    Ok(one(tx, sql, &[]).await?.try_get(0)?)
}
