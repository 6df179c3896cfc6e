//! Packages: where are which, and what shall become of them?

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::super::caller::{Asked, Span};
use super::super::named::named;
use super::super::package_order;
use super::super::refusal::{Answer, Mistakes, Refusal};
use super::super::{Desk, view};
use super::computers::{no_computer, number, ordered_of};
use crate::domain::package_order::Deed;
use crate::domain::package_search::{Found, Question};
use crate::domain::person::Role;
use crate::store;

/// What the URL asks of packages, on all computers of the account.
fn question(asked: &Asked) -> Answer<(Span, Question)> {
    let search = asked.query.get("search").map(String::as_str);
    let mut mistakes = Mistakes::default();
    let span = mistakes.keep(Span::of(&asked.query));
    let search = mistakes.keep(named("search", search));
    let names = mistakes.keep(package_order::sought(asked.list("names")));
    let mut choice = |name: &str| mistakes.keep(asked.choice(name));
    let question = Question {
        account_id: asked.person.account,
        computer_ids: None,
        text: search.map(str::to_owned),
        names,
        installed: choice("installed"),
        available: choice("available"),
        upgrade: choice("upgrade"),
        held: choice("held"),
        security: choice("security"),
        limit: span.limit,
        offset: span.offset,
        computers_max: None,
    };
    mistakes.none().map(|()| (span, question))
}

/// `GET /packages`
pub async fn list(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    let mut mistakes = Mistakes::default();
    let query = mistakes.keep(asked.computers());
    let (span, mut question) = mistakes.keep(question(&asked));
    mistakes.none()?;
    question.computer_ids = desk.scope(asked.person.account, &query).await?;
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
    let id = number(&id)?;
    let (span, mut question) = question(&asked)?;
    let known = {
        let mut connection = desk.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        store::listing::known(&tx, asked.person.account, &[id], true).await?
    };
    if known.is_empty() {
        return Err(no_computer(id));
    }
    question.computer_ids = Some(known);
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
    let mut mistakes = Mistakes::default();
    let security_only = deed == Deed::Upgrade && mistakes.keep(asked.truth("security_only"));
    let timing = mistakes.keep(asked.timing());
    let policy = mistakes.keep(asked.text("policy"));
    let wanted = asked.texts("packages");
    let wanted = wanted.and_then(|names| package_order::wanted(deed, names, security_only, policy));
    let wanted = mistakes.keep(wanted.map(Some));
    mistakes.none()?;
    // None only beside a mistake.
    let wanted = wanted.ok_or_else(|| Refusal::missing("packages"))?;
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
