//! How does a computer that waits become one of ours, or not?

use std::collections::BTreeMap;

use crate::domain::person::Person;
use crate::store::{Result, Tx, computer, listing};

/// Accepts computers that wait. Each takes the place of the one that `existing` names for it, or is a
/// new one; `access_group` is where they go, if anywhere else. The numbers they have then, or the first
/// that does not wait or is not there.
///
/// # Errors
///
/// The database's.
pub async fn accept(
    tx: &Tx<'_>,
    person: &Person,
    ids: &[i64],
    existing: &BTreeMap<i64, i64>,
    access_group: Option<&str>,
) -> Result<std::result::Result<Vec<i64>, i64>> {
    let waiting = match waiting(tx, person, ids).await? {
        Ok(waiting) => waiting,
        Err(missing) => return Ok(Err(missing)),
    };
    let mut accepted = Vec::new();
    for id in waiting {
        match existing.get(&id) {
            Some(known) => {
                if !listing::replace(tx, person.account, id, *known).await? {
                    return Ok(Err(*known));
                }
                accepted.push(*known);
            }
            None => {
                computer::accept(tx, id).await?;
                accepted.push(id);
            }
        }
    }
    if let Some(group) = access_group {
        listing::set_access_group(tx, &accepted, group).await?;
    }
    tracing::info!(person = person.id, ?accepted, "computers accepted");
    Ok(Ok(accepted))
}

/// Forgets computers that wait; nothing happens where one of them does not, which is told.
///
/// # Errors
///
/// The database's.
pub async fn reject(
    tx: &Tx<'_>,
    person: &Person,
    ids: &[i64],
) -> Result<std::result::Result<(), i64>> {
    let waiting = match waiting(tx, person, ids).await? {
        Ok(waiting) => waiting,
        Err(missing) => return Ok(Err(missing)),
    };
    for id in &waiting {
        computer::reject(tx, *id).await?;
    }
    tracing::info!(person = person.id, ids = ?waiting, "computers rejected");
    Ok(Ok(()))
}

/// These computers that wait, each once; or the first that does not.
async fn waiting(
    tx: &Tx<'_>,
    person: &Person,
    ids: &[i64],
) -> Result<std::result::Result<Vec<i64>, i64>> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    // In the same order, so that it can be searched.
    let waiting = listing::known(tx, person.account, &ids, false).await?;
    let missing = ids.iter().find(|id| waiting.binary_search(id).is_err());
    Ok(match missing {
        Some(missing) => Err(*missing),
        None => Ok(waiting),
    })
}
