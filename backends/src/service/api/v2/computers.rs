//! Computers: which are there, and what shall they do?

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::Value;

use super::super::caller::{Asked, Span};
use super::super::refusal::{Answer, Refusal};
use super::super::{Desk, meant, view};
use crate::domain::order::Order;
use crate::domain::person::Role;
use crate::domain::query::Query;
use crate::store::{self, Tx};

/// What the switches of the query ask for.
fn with(asked: &Asked) -> view::With {
    view::With {
        network: asked.flag("with_network") || asked.flag("with_all_network"),
        annotations: asked.flag("with_annotations"),
        hardware: asked.flag("with_hardware"),
    }
}

/// `GET /computers`
pub async fn list(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    let (span, query) = (Span::of(&asked.query)?, asked.computers()?);
    let account = asked.person.account;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    // Nothing is archived here: who is removed is forgotten.
    if asked.flag("archived_only") {
        return Ok(Json(asked.page(span, 0, Vec::new())));
    }
    let count = store::search::count(&tx, account, &query).await?;
    let ids = store::search::ids(&tx, account, &query, span.offset, span.limit).await?;
    let results = view::computers(&tx, &asked.person, &ids, with(&asked), true).await?;
    Ok(Json(asked.page(span, count, results)))
}

/// `GET /computers/{id}`
pub async fn one(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<Json<Value>> {
    let id = number(&id)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let known = store::listing::known(&tx, asked.person.account, &[id], true).await?;
    let mut views = view::computers(&tx, &asked.person, &known, with(&asked), true).await?;
    let mut found = store::listing::computers(&tx, asked.person.account, &known, false).await?;
    match (views.pop(), found.pop()) {
        (Some(mut view), Some(one)) => {
            view::add_single(&mut view, &one);
            Ok(Json(view))
        }
        _ => Err(no_computer(id)),
    }
}

/// The number of a computer in a path.
pub(super) fn number(id: &str) -> Answer<i64> {
    id.parse().map_err(|_| {
        Refusal::unknown(
            "UnknownComputer",
            "a computer has a number for its name here",
        )
    })
}

pub(super) fn no_computer(id: i64) -> Refusal {
    Refusal::unknown("UnknownComputer", format!("there is no computer {id}"))
}

/// The computers that `query` or `computer_ids` of the body means, as far as they are there.
pub(super) async fn ordered_of(tx: &Tx<'_>, asked: &Asked) -> Answer<Vec<i64>> {
    let account = asked.person.account;
    match asked.text("query")? {
        Some(query) => meant::by_query(tx, account, &Query::read(query)?).await,
        None => meant::these(tx, account, asked.numbers("computer_ids")?).await,
    }
}

/// `POST /computers/{id}/restart`
pub async fn restart(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<Json<Value>> {
    tell(&desk, &asked, number(&id)?, &Order::Restart).await
}

/// `POST /computers/{id}/shutdown`
pub async fn shutdown(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<Json<Value>> {
    tell(&desk, &asked, number(&id)?, &Order::Shutdown).await
}

async fn tell(desk: &Desk, asked: &Asked, id: i64, order: &Order) -> Answer<Json<Value>> {
    let person = asked.as_at_least(Role::Operator)?;
    let after = asked
        .text("deliver_after")?
        .map(view::time_of)
        .transpose()?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    if store::listing::known(&tx, person.account, &[id], true)
        .await?
        .is_empty()
    {
        return Err(no_computer(id));
    }
    let group = store::group::order(&tx, person, &[id], order, after).await?;
    let made = store::group::get(&tx, person.account, group).await?;
    store::commit(tx).await?;
    made.map(|made| Json(view::activity(&made)))
        .ok_or_else(|| Refusal::later("the order was not kept"))
}

/// `POST /computers:delete`
pub async fn remove(State(desk): State<Desk>, asked: Asked) -> Answer<StatusCode> {
    let person = asked.as_at_least(Role::Operator)?;
    let ids = asked.numbers("computer_ids")?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let known = store::listing::known(&tx, person.account, &ids, true).await?;
    if let Some(id) = ids.iter().find(|id| !known.contains(id)) {
        return Err(no_computer(*id));
    }
    store::listing::remove(&tx, person, &ids).await?;
    store::commit(tx).await?;
    tracing::info!(person = person.id, ?ids, "computers removed");
    Ok(StatusCode::NO_CONTENT)
}
