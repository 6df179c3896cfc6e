//! Who waits, and what becomes of them?

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::caller::{Asked, Span};
use super::super::machine::{self, With};
use super::super::refusal::{Answer, Mistakes, Refusal};
use super::super::{Desk, meant, named, view};
use crate::domain::person::Role;
use crate::service::admission;
use crate::store;

/// `GET /pending-computers`
pub async fn list(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    let span = Span::of(&asked.query)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let account = asked.person.account;
    let (count, found) = store::listing::pending(&tx, account, span.offset, span.limit).await?;
    let results = found.iter().map(view::pending).collect();
    Ok(Json(asked.page(span, count, results)))
}

/// `POST /pending-computers/accept`
pub async fn accept(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    let person = asked.as_at_least(Role::Administrator)?;
    let mut mistakes = Mistakes::default();
    let ids = mistakes.keep(asked.computer_ids());
    let existing = mistakes.keep(existing(asked.body.get("existing_ids")));
    let group = asked.text("access_group");
    let group = group.and_then(|group| group.map(named::access_group).transpose());
    let group = mistakes.keep(group);
    mistakes.none()?;
    let existing = meant::places(&ids, existing)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let done = admission::accept(&tx, person, &ids, &existing, group).await?;
    let accepted = done.map_err(not_there)?;
    let results = machine::newer_computers(&tx, person, &accepted, With::default()).await?;
    store::commit(tx).await?;
    Ok(Json(json!({"count": results.len(), "results": results})))
}

/// `POST /pending-computers/reject`
pub async fn reject(State(desk): State<Desk>, asked: Asked) -> Answer<StatusCode> {
    let person = asked.as_at_least(Role::Administrator)?;
    let ids = asked.computer_ids()?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let done = admission::reject(&tx, person, &ids).await?;
    done.map_err(not_there)?;
    store::commit(tx).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn not_there(id: i64) -> Refusal {
    Refusal::unknown(
        "UnknownComputers",
        format!("no computer {id} waits or is there"),
    )
}

/// `{"2": 3}`: computer 2, which waits, takes the place of computer 3.
fn existing(told: Option<&Value>) -> Answer<BTreeMap<i64, i64>> {
    let wrong = || {
        let message = "`existing_ids` is an object of numbers by numbers, {\"2\": 3}";
        Refusal::argument("InvalidParameter", message)
    };
    match told {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(pairs)) => pairs
            .iter()
            .map(|(waiting, known)| {
                let waiting = waiting.parse().map_err(|_| wrong())?;
                Ok((waiting, known.as_i64().ok_or_else(wrong)?))
            })
            .collect(),
        Some(_) => Err(wrong()),
    }
}
