//! Activities: what was ordered, and what became of it.

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::super::refusal::{Answer, Mistakes, Refusal};
use super::super::view;
use super::{Action, Asked};
use crate::domain::activity::Wanted;
use crate::domain::order::API_TYPES;
use crate::store;

/// Activities that one call may take back.
const CANCELED_MAX: i64 = 100_000;

pub(super) fn action(name: &str) -> Option<Action> {
    match name {
        "GetActivities" => Action::look(|asked| get(asked).boxed()),
        "GetActivityTypes" => Action::look(|_| async { Ok(json!(API_TYPES)) }.boxed()),
        "CancelActivities" => Action::change(|asked| cancel(asked).boxed()),
        "ApproveActivities" => Action::change(|asked| approve(asked).boxed()),
        _ => None,
    }
}

fn wanted(query: &str) -> Answer<Wanted> {
    Wanted::read(query).map_err(|told| Refusal::argument("InvalidQuery", told))
}

async fn get(asked: Asked) -> Answer<Value> {
    let (arguments, person) = (&asked.arguments, &asked.person);
    let mut mistakes = Mistakes::default();
    let wanted = mistakes.keep(wanted(arguments.text("query").unwrap_or_default()));
    let span = mistakes.keep(arguments.span());
    mistakes.none()?;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let found = store::group::list(&tx, person.account, &wanted, span.offset, span.limit).await?;
    Ok(found.iter().map(view::activity).collect())
}

async fn cancel(asked: Asked) -> Answer<Value> {
    let wanted = wanted(asked.arguments.needed("query")?)?;
    let account = asked.person.account;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let ids = store::group::matching(&tx, account, &wanted, CANCELED_MAX + 1).await?;
    if ids.len() as i64 > CANCELED_MAX {
        let message = format!(
            "more than {CANCELED_MAX} activities are meant: say more, as with `status:undelivered`"
        );
        return Err(Refusal::argument("InvalidParameter", message));
    }
    let canceled = store::group::cancel(&tx, account, &ids).await?;
    if canceled.is_empty() {
        let message = "none of them waits to be delivered";
        return Err(Refusal::argument("InvalidActivityStatusChange", message));
    }
    store::commit(tx).await?;
    Ok(json!(canceled))
}

/// Nothing here waits for approval, so that none of them can be approved.
async fn approve(asked: Asked) -> Answer<Value> {
    wanted(asked.arguments.needed("query")?)?;
    let message = "none of them waits for approval";
    Err(Refusal::argument("InvalidActivityStatusChange", message))
}
