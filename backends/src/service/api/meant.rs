//! Of which computers is something ordered? Of some, and not of more than one call may.

use std::collections::{BTreeMap, BTreeSet, HashSet};

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

/// Those of these numbers that are accepted computers of an account.
///
/// # Errors
///
/// None or too many; the database's.
pub async fn these(tx: &Tx<'_>, account: i64, ids: &[i64]) -> Answer<Vec<i64>> {
    few(store::listing::known(tx, account, ids, true).await?)
}

/// These numbers of computers, each once and in order.
///
/// # Errors
///
/// They are too many.
pub fn each_once(mut ids: Vec<i64>) -> Answer<Vec<i64>> {
    ids.sort_unstable();
    ids.dedup();
    match i64::try_from(ids.len()).is_ok_and(|count| count <= COMPUTERS_MAX) {
        true => Ok(ids),
        false => {
            let message = format!("at most {COMPUTERS_MAX} computers at once: name fewer");
            Err(Refusal::argument("InvalidParameter", message))
        }
    }
}

/// The first of these numbers that is no accepted computer of an account; None where all are.
///
/// # Errors
///
/// The database's.
pub async fn missing(tx: &Tx<'_>, account: i64, ids: &[i64]) -> Answer<Option<i64>> {
    let known = store::listing::known(tx, account, ids, true).await?;
    let known: HashSet<i64> = known.into_iter().collect();
    Ok(ids.iter().find(|id| !known.contains(id)).copied())
}

/// Which computer each of those who wait takes the place of: no two the same one's, and nobody's who is not
/// among these.
///
/// # Errors
///
/// Two do, or one does who is not among these.
pub fn places(ids: &[i64], existing: BTreeMap<i64, i64>) -> Answer<BTreeMap<i64, i64>> {
    let meant: HashSet<&i64> = ids.iter().collect();
    if let Some(stranger) = existing.keys().find(|id| !meant.contains(id)) {
        let message = format!("`existing_ids` names {stranger}, which is not among `computer_ids`");
        return Err(Refusal::argument("InvalidParameter", message));
    }
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
