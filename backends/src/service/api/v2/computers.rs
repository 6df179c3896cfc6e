//! Computers: which are there, and what shall they do?

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::Value;

use super::super::caller::{Asked, Span};
use super::super::machine::{self, With};
use super::super::refusal::{Answer, Mistakes, Refusal};
use super::super::{Desk, HARDWARE_ROWS_MAX, meant, view};
use crate::domain::order::Order;
use crate::domain::person::Role;
use crate::domain::query::Query;
use crate::domain::wsl::Family;
use crate::store::{self, Tx};

/// What the switches of the query ask for.
fn with(asked: &Asked) -> Answer<With> {
    let mut mistakes = Mistakes::default();
    let mut flag = |name: &str| mistakes.keep(asked.flag(name));
    let (network, all_network) = (flag("with_network"), flag("with_all_network"));
    let with = With {
        network: network || all_network,
        annotations: flag("with_annotations"),
        hardware: flag("with_hardware"),
        grouped_hardware: flag("with_grouped_hardware"),
        alerts: flag("with_alerts"),
        upgrades: flag("with_upgrades"),
    };
    mistakes.none().map(|()| with)
}

/// Which members of families the switches of the query ask for.
fn family(asked: &Asked) -> Answer<Family> {
    let mut mistakes = Mistakes::default();
    let roots = mistakes.keep(asked.choice("root_only")).unwrap_or(true);
    let parents = mistakes.keep(asked.flag("wsl_parents"));
    let children = mistakes.keep(asked.flag("wsl_children"));
    mistakes.none()?;
    match (roots, parents, children) {
        (true, _, true) => {
            let message = "`wsl_children` is false, or true with `root_only=false`: none is a root";
            Err(Refusal::argument("InvalidParameter", message))
        }
        (true, false, false) => Ok(Family::Roots),
        (false, false, false) => Ok(Family::All),
        (_, true, false) => Ok(Family::Hosts),
        (false, false, true) => Ok(Family::Instances),
        (false, true, true) => Ok(Family::HostsAndInstances),
    }
}

/// `GET /computers`
pub async fn list(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    let mut mistakes = Mistakes::default();
    let mut span = mistakes.keep(Span::of(&asked.query));
    let query = mistakes.keep(asked.computers());
    let (with, family) = (mistakes.keep(with(&asked)), mistakes.keep(family(&asked)));
    let archived = mistakes.keep(asked.flag("archived_only"));
    mistakes.none()?;
    if with.hardware || with.grouped_hardware {
        span.limit = span.limit.min(HARDWARE_ROWS_MAX);
    }
    // Nothing is archived here: who is removed is forgotten.
    if archived {
        return Ok(Json(asked.page(span, 0, Vec::new())));
    }
    let account = asked.person.account;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let found = store::search::families(&tx, account, &query, family, span.offset, span.limit);
    let (count, found) = found.await?;
    let results = machine::members(&tx, &asked.person, &found, with).await?;
    Ok(Json(asked.page(span, count, results)))
}

/// `GET /computers/{id}`
pub async fn one(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<Json<Value>> {
    let (id, with) = (number(&id)?, with(&asked)?);
    let (person, account) = (&asked.person, asked.person.account);
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    if let Some(uid) = store::wsl_page::numbered(&tx, account, id).await? {
        let found = machine::hosts(&tx, person, &[uid], with).await?.pop();
        // One that waits is none yet, as a computer that waits.
        let found = found.filter(|(host, _)| host.listed.accepted);
        let (host, mut view) = found.ok_or_else(|| no_computer(id))?;
        machine::add_single(
            &mut view,
            &[None, None, None, None],
            host.listed.instances.0,
        );
        return Ok(Json(view.into()));
    }
    let known = store::listing::known(&tx, account, &[id], true).await?;
    let found = store::listing::computers(&tx, account, &known, false).await?;
    let view = machine::newer_computers(&tx, person, &known, with)
        .await?
        .pop();
    match (view, found.first()) {
        (Some(Value::Object(mut view)), Some(one)) => {
            machine::add_single(&mut view, &one.distribution, 0);
            Ok(Json(view.into()))
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

/// The computers that `query`, `computer_ids` or `all_computers` of the body means, as far as they are there.
/// One of these says it. An empty query would mean all: a program that has forgotten to fill it in does not.
pub(super) async fn ordered_of(tx: &Tx<'_>, asked: &Asked) -> Answer<Vec<i64>> {
    let account = asked.person.account;
    let (query, all) = (asked.text("query")?, asked.truth("all_computers")?);
    let named = asked
        .body
        .get("computer_ids")
        .is_some_and(|ids| !ids.is_null());
    match (query, named, all) {
        (Some(query), false, false) => {
            let query = Query::read(query)?;
            if query.all.is_empty() {
                let message =
                    "an empty `query` orders nothing: `all_computers` is true where all are meant";
                return Err(Refusal::argument("InvalidQuery", message));
            }
            meant::by_query(tx, account, &query).await
        }
        (None, true, false) => meant::these(tx, account, &asked.computer_ids()?).await,
        (None, false, true) => meant::by_query(tx, account, &Query::default()).await,
        (None, false, false) => {
            let message = "one of `query`, `computer_ids` and `all_computers` is missing";
            Err(Refusal::argument("MissingParameter", message))
        }
        _ => {
            let message = "one of `query`, `computer_ids` and `all_computers` says which computers, not several";
            Err(Refusal::argument("InvalidParameter", message))
        }
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
    let timing = asked.timing()?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let known = store::listing::known(&tx, person.account, &[id], true).await?;
    if known.is_empty() {
        return Err(no_computer(id));
    }
    let made = meant::order(&tx, person, &known, order, timing).await?;
    store::commit(tx).await?;
    Ok(Json(view::activity(&made)))
}

/// `POST /computers:delete`
pub async fn remove(State(desk): State<Desk>, asked: Asked) -> Answer<StatusCode> {
    let person = asked.as_at_least(Role::Operator)?;
    let ids = asked.computer_ids()?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    if let Some(id) = meant::missing(&tx, person.account, &ids).await? {
        return Err(no_computer(id));
    }
    store::listing::remove(&tx, person, &ids).await?;
    store::commit(tx).await?;
    tracing::info!(person = person.id, ?ids, "computers removed");
    Ok(StatusCode::NO_CONTENT)
}
