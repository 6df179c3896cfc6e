//! What was ordered, and what became of it?

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::super::caller::{Asked, Span};
use super::super::refusal::{Answer, Refusal};
use super::super::{Desk, ROWS_MAX, view};
use crate::domain::activity::Wanted;
use crate::domain::person::Role;
use crate::store;

/// Most activities that are ordered again by one call.
const AGAIN_MAX: usize = 100;

fn wanted(asked: &Asked) -> Answer<Wanted> {
    let query = asked.query.get("query").map_or("", String::as_str);
    Wanted::read(query).map_err(|told| Refusal::argument("InvalidQuery", told))
}

/// `GET /activities`
pub async fn list(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    let (span, wanted) = (Span::of(&asked.query)?, wanted(&asked)?);
    found(&desk, &asked, span, &wanted, view::activity).await
}

/// `GET /activities/parents`
pub async fn parents(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    let span = Span::of(&asked.query)?;
    let wanted = Wanted {
        parents: true,
        ..wanted(&asked)?
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
    let (count, found) = store::group::list(&tx, account, wanted, span.offset, span.limit).await?;
    let results = found.iter().map(view).collect();
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
    let (_, children) = store::group::list(&tx, account, &wanted, 0, ROWS_MAX).await?;
    let mut view = view::activity(&one);
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
    let ids = asked.numbers("activity_ids")?;
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
    let ids = asked.numbers("activity_ids")?;
    if ids.len() > AGAIN_MAX {
        let message = format!("at most {AGAIN_MAX} activities at once");
        return Err(Refusal::argument("InvalidParameter", message));
    }
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

/// `POST /activities/revert`: what runs here has no contrary.
pub async fn revert(asked: Asked) -> Answer<Json<Value>> {
    asked.as_at_least(Role::Operator)?;
    asked.numbers("activity_ids")?;
    let message = "activities of these types cannot be reverted";
    Err(Refusal::argument("InvalidActivityType", message))
}
