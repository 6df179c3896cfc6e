//! How does a computer that waits become one of ours, or not?

use std::collections::BTreeMap;

use crate::domain::person::Person;
use crate::store::{Result, Tx, computer, listing};

/// Accepts computers that wait. Each takes the place of the one that `existing` names for it, or is a
/// new one; `access_group` is where they go. The numbers they have then, or the first that does not
/// wait or is not there.
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
    let waiting = listing::known(tx, person.account, ids, false).await?;
    if let Some(missing) = ids.iter().find(|id| !waiting.contains(id)) {
        return Ok(Err(*missing));
    }
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
        let group = if group == "global" { "" } else { group };
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
    let waiting = listing::known(tx, person.account, ids, false).await?;
    if let Some(missing) = ids.iter().find(|id| !waiting.contains(id)) {
        return Ok(Err(*missing));
    }
    for id in waiting {
        computer::reject(tx, id).await?;
    }
    tracing::info!(person = person.id, ?ids, "computers rejected");
    Ok(Ok(()))
}
