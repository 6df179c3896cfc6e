//! Of which computers is something ordered? Of some, and not of more than one call may.

use std::collections::{BTreeMap, BTreeSet};

use super::refusal::{Answer, Refusal};
use crate::domain::order::Order;
use crate::domain::person::Person;
use crate::domain::query::Query;
use crate::store::group::{self, Timing};
use crate::store::{self, Tx};

/// Computers that one call may order something of.
const COMPUTERS_MAX: i64 = 10_000;

/// The computers of an account that a query means.
///
/// # Errors
///
/// None or too many; the database's.
pub async fn by_query(tx: &Tx<'_>, account: i64, query: &Query) -> Answer<Vec<i64>> {
    let ids = store::search::ids(tx, account, query, 0, COMPUTERS_MAX + 1).await?;
    few(ids)
}

/// Those of these numbers that are accepted computers of an account, each once.
///
/// # Errors
///
/// None or too many; the database's.
pub async fn these(tx: &Tx<'_>, account: i64, mut ids: Vec<i64>) -> Answer<Vec<i64>> {
    ids.sort_unstable();
    ids.dedup();
    few(store::listing::known(tx, account, &ids, true).await?)
}

/// Which computer each of those who wait takes the place of: no two the same one's.
///
/// # Errors
///
/// Two do.
pub fn places(existing: BTreeMap<i64, i64>) -> Answer<BTreeMap<i64, i64>> {
    let places: BTreeSet<&i64> = existing.values().collect();
    match places.len() == existing.len() {
        true => Ok(existing),
        false => {
            let message = "`existing_ids` names a computer twice, whose place only one can take";
            Err(Refusal::argument("InvalidParameter", message))
        }
    }
}

fn few(ids: Vec<i64>) -> Answer<Vec<i64>> {
    let most = usize::try_from(COMPUTERS_MAX).unwrap_or(usize::MAX);
    match ids.len() {
        0 => {
            let message = "no computer is meant";
            Err(Refusal::unknown("UnknownComputers", message))
        }
        count if count > most => {
            let message = format!("at most {most} computers at once: ask for fewer");
            Err(Refusal::argument("InvalidQuery", message))
        }
        _ => Ok(ids),
    }
}

/// Orders something of these computers; the group with these activities.
///
/// # Errors
///
/// The database's.
pub async fn order(
    tx: &Tx<'_>,
    person: &Person,
    computers: &[i64],
    order: &Order,
    timing: Timing,
) -> Answer<group::Activity> {
    let id = group::begin(tx, person, &order.summary(), timing).await?;
    group::add(tx, person, id, computers, order, timing).await?;
    let made = group::get(tx, person.account, id).await?;
    made.ok_or_else(|| Refusal::later("the order was not kept"))
}
