//! What was ordered, and what became of it?

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::super::caller::{Asked, Span};
use super::super::refusal::{Answer, Mistakes, Refusal};
use super::super::{Desk, ROWS_MAX, view};
use crate::domain::activity::Wanted;
use crate::domain::order::{self, Order};
use crate::domain::person::Role;
use crate::store;

/// Most activities that are ordered again, or undone, by one call.
const AGAIN_MAX: usize = 100;
/// Most activities and groups that are taken back by one call.
const CANCELED_MAX: usize = 10_000;

fn wanted(asked: &Asked) -> Answer<Wanted> {
    let query = asked.query.get("query").map_or("", String::as_str);
    Wanted::read(query).map_err(|told| Refusal::argument("InvalidQuery", told))
}

/// Which activities of a list, and how many of these.
fn which(asked: &Asked) -> Answer<(Span, Wanted)> {
    let mut mistakes = Mistakes::default();
    let span = mistakes.keep(Span::of(&asked.query));
    let wanted = mistakes.keep(wanted(asked));
    mistakes.none().map(|()| (span, wanted))
}

/// `GET /activities`
pub async fn list(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    let (span, wanted) = which(&asked)?;
    found(&desk, &asked, span, &wanted, view::activity).await
}

/// `GET /activities/parents`
pub async fn parents(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    let (span, wanted) = which(&asked)?;
    let wanted = Wanted {
        parents: true,
        ..wanted
    };
    found(&desk, &asked, span, &wanted, view::parent).await
}

async fn found(
    desk: &Desk,
    asked: &Asked,
    span: Span,
    wanted: &Wanted,
    view: fn(&store::group::Activity) -> Value,
) -> Answer<Json<Value>> {
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let account = asked.person.account;
    let found = store::group::list(&tx, account, wanted, span.offset, span.limit).await?;
    let results: Vec<Value> = found.iter().map(view).collect();
    let count = match i64::try_from(results.len()).unwrap_or(i64::MAX) {
        // The last of them are here.
        here @ 1.. if here < span.limit => span.offset + here,
        0 if span.offset == 0 => 0,
        _ => store::group::count(&tx, account, wanted).await?,
    };
    Ok(Json(asked.page(span, count, results)))
}

/// `GET /activities/{id}`; of an order to change packages also what it would have needed beyond what it
/// allowed.
pub async fn one(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<Json<Value>> {
    let unknown = || Refusal::unknown("UnknownActivity", format!("there is no activity {id}"));
    let number: i64 = id.parse().map_err(|_| unknown())?;
    let account = asked.person.account;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let one = store::group::get(&tx, account, number).await?;
    let one = one.ok_or_else(unknown)?;
    let wanted = Wanted {
        parent: Some(number),
        ..Wanted::default()
    };
    let children = store::group::list(&tx, account, &wanted, 0, ROWS_MAX).await?;
    let mut view = view::whole(&one);
    view["children"] = children.iter().map(view::activity).collect();
    if one.message_type == "change-packages" {
        let needed = store::package::needed(&tx, number).await?;
        for (name, install) in [("must_install", true), ("must_remove", false)] {
            let these = needed.iter().filter(|one| one.install == install);
            view[name] = these
                .map(|one| json!({"id": one.id, "name": one.name, "version": one.version}))
                .collect();
        }
    }
    Ok(Json(view))
}

/// `POST /activities/cancel`
pub async fn cancel(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    let person = asked.as_at_least(Role::Operator)?;
    let ids = some(&asked, CANCELED_MAX)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let canceled = store::group::cancel(&tx, person.account, &ids).await?;
    store::commit(tx).await?;
    if canceled.is_empty() {
        let message = "none of them waits to be delivered";
        return Err(Refusal::argument("InvalidActivityStatusChange", message));
    }
    Ok(Json(json!({"activity_ids": canceled})))
}

/// `POST /activities/reapply`
pub async fn reapply(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    let person = asked.as_at_least(Role::Operator)?;
    let ids = some(&asked, AGAIN_MAX)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let mut views = Vec::new();
    for id in ids {
        let unknown = || Refusal::unknown("UnknownActivity", format!("there is no activity {id}"));
        let again = store::group::again(&tx, person, id).await?;
        let again = again.ok_or_else(unknown)?;
        let made = store::group::get(&tx, person.account, again).await?;
        views.push(view::activity(&made.ok_or_else(unknown)?));
    }
    store::commit(tx).await?;
    Ok(Json(json!({"count": views.len(), "results": views})))
}

/// The numbers of activities that a call is about, each once.
fn some(asked: &Asked, most: usize) -> Answer<Vec<i64>> {
    let mut ids = asked.numbers("activity_ids")?;
    ids.sort_unstable();
    ids.dedup();
    match ids.len() {
        0 => Err(Refusal::missing("activity_ids")),
        count if count > most => {
            let message = format!("at most {most} activities at once");
            Err(Refusal::argument("InvalidParameter", message))
        }
        _ => Ok(ids),
    }
}

/// `POST /activities/revert`: packages that were installed are removed, and the other way round. All or none.
pub async fn revert(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    let person = asked.as_at_least(Role::Operator)?;
    let ids = some(&asked, AGAIN_MAX)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let mut views = Vec::new();
    for id in ids {
        let told = store::group::told(&tx, person.account, id).await?;
        let orders = contrary(id, &told)?;
        let mut orders = orders.iter().peekable();
        let summary = orders.peek().map(|(order, _)| order.summary());
        let timing = store::group::Timing::default();
        let group = store::group::begin(&tx, person, &summary.unwrap_or_default(), timing).await?;
        for (order, computers) in orders {
            store::group::add(&tx, person, group, computers, order, timing).await?;
        }
        let made = store::group::get(&tx, person.account, group).await?;
        let made = made.ok_or_else(|| Refusal::later("the order was not kept"))?;
        views.push(view::activity(&made));
    }
    store::commit(tx).await?;
    Ok(Json(json!({"count": views.len(), "results": views})))
}

/// What undoes what was done, with the computers that it is ordered of.
fn contrary(id: i64, told: &[store::group::Told]) -> Answer<Vec<(Order, Vec<i64>)>> {
    if told.is_empty() {
        return Err(Refusal::unknown(
            "UnknownActivity",
            format!("there is no activity {id}"),
        ));
    }
    let mut orders: BTreeMap<Vec<u8>, (Order, Vec<i64>)> = BTreeMap::new();
    let mut known = false;
    for one in told {
        let Some(order) = order::contrary(&one.message_type, &one.summary, &one.fields) else {
            continue;
        };
        known = true;
        if one.succeeded {
            let of = orders.entry(order.fields()).or_insert((order, Vec::new()));
            of.1.push(one.computer);
        }
    }
    match (orders.is_empty(), known) {
        (false, _) => Ok(orders.into_values().collect()),
        (true, true) => {
            let message = format!("activity {id} did not succeed: there is nothing to revert");
            Err(Refusal::argument("InvalidActivityStatusChange", message))
        }
        (true, false) => {
            let message =
                format!("activity {id} installs and removes no packages: nothing reverts it");
            Err(Refusal::argument("InvalidActivityType", message))
        }
    }
}
