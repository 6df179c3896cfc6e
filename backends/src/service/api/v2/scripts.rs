//! Scripts: which are kept, and who shall run them?

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::caller::{Asked, Span};
use super::super::named;
use super::super::refusal::{Answer, Mistakes, Refusal};
use super::super::script_text::{self, TIME_LIMIT, Text, USERNAME};
use super::super::{Desk, meant, view};
use super::computers::ordered_of;
use crate::domain::order::Order;
use crate::domain::person::Role;
use crate::store;
use crate::store::script::Script;

/// `GET /scripts`
pub async fn list(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    let span = Span::of(&asked.query)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let account = asked.person.account;
    let (count, found) = store::script::list(&tx, account, span.offset, span.limit).await?;
    let results = found.iter().map(view::script).collect();
    Ok(Json(asked.page(span, count, results)))
}

/// `GET /scripts/{id}`
pub async fn one(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<Json<Value>> {
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let script = get(&tx, &asked, &id).await?;
    Ok(Json(view::whole_script(&script)))
}

async fn get(tx: &store::Tx<'_>, asked: &Asked, id: &str) -> Answer<Script> {
    let unknown = || Refusal::unknown("UnknownScript", format!("there is no script {id}"));
    let id = id.parse().map_err(|_| unknown())?;
    let found = store::script::get(tx, asked.person.account, id).await?;
    found.ok_or_else(unknown)
}

fn time_limit(asked: &Asked, default: i32) -> Answer<i32> {
    script_text::time_limit(asked.number("time_limit")?, default)
}

/// `POST /scripts`
pub async fn make(State(desk): State<Desk>, asked: Asked) -> Answer<(StatusCode, Json<Value>)> {
    let person = asked.as_at_least(Role::Operator)?;
    let mut mistakes = Mistakes::default();
    let title = mistakes.keep(asked.needed("title"));
    let code = mistakes.keep(asked.needed("code"));
    let group = asked.text("access_group").map(Option::unwrap_or_default);
    let group = mistakes.keep(group.and_then(named::access_group));
    let username = mistakes.keep(asked.name("username"));
    let time_limit = mistakes.keep(time_limit(&asked, TIME_LIMIT));
    mistakes.none()?;
    let text = Text::read(title, code)?;
    let new = text.to_keep(username.unwrap_or(USERNAME), time_limit, group);
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let id = store::script::make(&tx, person.account, person.id, &new).await?;
    let id = id.ok_or_else(|| script_text::taken(&text.title))?;
    let script = store::script::get(&tx, person.account, id).await?;
    store::commit(tx).await?;
    let script = script.ok_or_else(|| Refusal::later("the script was not kept"))?;
    Ok((StatusCode::CREATED, Json(view::whole_script(&script))))
}

/// `PATCH /scripts/{id}`: what is not given stays.
pub async fn change(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<Json<Value>> {
    let person = asked.as_at_least(Role::Operator)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let old = get(&tx, &asked, &id).await?;
    let title = asked.text("title")?.unwrap_or(&old.title);
    let text = match asked.text("code")? {
        Some(code) => Text::read(title, code)?,
        None => Text::kept(title, &old)?,
    };
    let username = asked.name("username")?.unwrap_or(&old.username);
    let time_limit = time_limit(&asked, old.time_limit)?;
    let new = text.to_keep(username, time_limit, &old.access_group);
    if !store::script::change(&tx, person.account, old.id, &new).await? {
        return Err(script_text::taken(&text.title));
    }
    let script = get(&tx, &asked, &id).await?;
    store::commit(tx).await?;
    Ok(Json(view::whole_script(&script)))
}

/// `DELETE /scripts/{id}`
pub async fn remove(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<StatusCode> {
    let person = asked.as_at_least(Role::Operator)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let script = get(&tx, &asked, &id).await?;
    store::script::remove(&tx, person.account, script.id).await?;
    store::commit(tx).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /scripts/{id}/execute`
pub async fn execute(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<Json<Value>> {
    let person = asked.as_at_least(Role::Operator)?;
    let mut mistakes = Mistakes::default();
    let timing = mistakes.keep(asked.timing());
    let username = mistakes.keep(asked.name("username"));
    mistakes.none()?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let script = get(&tx, &asked, &id).await?;
    let computers = ordered_of(&tx, &asked).await?;
    let order = Order::Script(script.to_order(username));
    let made = meant::order(&tx, person, &computers, &order, timing).await?;
    store::commit(tx).await?;
    let mut view = view::activity(&made);
    view["computer_count"] = json!(computers.len());
    Ok(Json(view))
}
