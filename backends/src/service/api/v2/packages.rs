//! Packages: where are which, and what shall become of them?

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::super::caller::{Asked, Span};
use super::super::package_order::{self, window};
use super::super::refusal::Answer;
use super::super::{Desk, view};
use super::computers::{no_computer, number, ordered_of};
use crate::domain::package_order::Deed;
use crate::domain::package_search::{Found, Question};
use crate::domain::person::Role;
use crate::store;
use crate::store::group::Timing;

/// What the URL asks of packages on these computers, or all of the account.
fn question(asked: &Asked, span: Span, computers: Option<Vec<i64>>) -> Answer<Question> {
    let names = asked.list("names");
    let search = asked.query.get("search");
    Ok(Question {
        account_id: asked.person.account,
        computer_ids: computers,
        text: search.filter(|text| !text.is_empty()).cloned(),
        names: (!names.is_empty()).then_some(names),
        installed: asked.choice("installed")?,
        available: asked.choice("available")?,
        upgrade: asked.choice("upgrade")?,
        held: asked.choice("held")?,
        security: asked.choice("security")?,
        limit: span.limit,
        offset: span.offset,
    })
}

/// `GET /packages`
pub async fn list(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    let (span, query) = (Span::of(&asked.query)?, asked.computers()?);
    let computers = desk.scope(asked.person.account, &query).await?;
    let question = question(&asked, span, computers)?;
    let answer = desk.packages.ask(&question).await?;
    let results = answer.packages.iter().map(|one| json!(one)).collect();
    Ok(Json(asked.page(span, answer.count, results)))
}

/// `GET /computers/{id}/packages`
pub async fn of_computer(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<Json<Value>> {
    let (id, span) = (number(&id)?, Span::of(&asked.query)?);
    let known = {
        let mut connection = desk.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        store::listing::known(&tx, asked.person.account, &[id], true).await?
    };
    if known.is_empty() {
        return Err(no_computer(id));
    }
    let question = question(&asked, span, Some(known))?;
    let answer = desk.packages.ask(&question).await?;
    let results = answer.packages.iter().map(on_one).collect();
    Ok(Json(asked.page(span, answer.count, results)))
}

/// A package as the one computer that was looked at has it.
fn on_one(one: &Found) -> Value {
    let on = &one.computers;
    json!({
        "id": one.id,
        "name": one.name,
        "version": one.version,
        "summary": one.summary,
        "installed": !on.installed.is_empty(),
        "available": !on.available.is_empty(),
        "upgrade": !on.upgrades.is_empty(),
        "held": !on.held.is_empty(),
    })
}

/// `POST /packages/install`
pub async fn install(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    order(&desk, &asked, Deed::Install).await
}

/// `POST /packages/remove`
pub async fn remove(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    order(&desk, &asked, Deed::Remove).await
}

/// `POST /packages/upgrade`
pub async fn upgrade(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    order(&desk, &asked, Deed::Upgrade).await
}

async fn order(desk: &Desk, asked: &Asked, deed: Deed) -> Answer<Json<Value>> {
    let person = asked.as_at_least(Role::Operator)?;
    let security_only = deed == Deed::Upgrade && asked.truth("security_only")?;
    let names = asked.texts("packages")?;
    let wanted = package_order::wanted(deed, names, security_only, asked.text("policy")?)?;
    let after = asked.text("deliver_after")?;
    let timing = Timing {
        after: after.map(view::time_of).transpose()?,
        window: window(asked.number("deliver_delay_window")?)?,
    };
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let computers = ordered_of(&tx, asked).await?;
    let made = package_order::order(&tx, person, &computers, &wanted, timing).await?;
    store::commit(tx).await?;
    let mut view = view::activity(&made);
    let count: i64 = made.children.iter().map(|(_, count)| *count).sum();
    view["computer_count"] = json!(count);
    Ok(Json(view))
}
