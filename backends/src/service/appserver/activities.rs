//! What was ordered, and how did it end? The pages of activities, and the orders given from a
//! computer's page.

use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{Section, empty, moment, or_dash, page, state, turns};
use super::{Asked, Desk, PAGE_ROWS, frame, guard};
use crate::domain::activity::Wanted;
use crate::domain::order::Order;
use crate::domain::person::Role;
use crate::error::Error;
use crate::store::group::Activity;
use crate::store::person::Session;
use crate::store::{self, Tx};

/// Children that a page shows.
const CHILDREN: i64 = 200;
/// Scripts to choose from.
const SCRIPTS: i64 = 200;
/// Characters of a result that a list shows.
const RESULT_CHARS: usize = 2000;

/// The routes.
pub fn routes() -> Router<Desk> {
    Router::new()
        .route("/activities", get(list))
        .route("/activities/{id}", get(one))
        .route("/activities/{id}/cancel", post(cancel))
        .route("/computers/{id}/order", post(order))
}

/// Scripts that whoever looks may have run: number and title.
///
/// # Errors
///
/// The database's.
pub async fn scripts(tx: &Tx<'_>, session: &Session) -> Result<Vec<(i64, String)>, Error> {
    let (_, found) = store::script::list(tx, session.person.account, 0, SCRIPTS).await?;
    Ok(found.into_iter().map(|one| (one.id, one.title)).collect())
}

async fn list(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Error> {
    let from = i64::from(asked.from);
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let account = session.person.account;
    let (count, found) =
        store::group::list(&tx, account, &Wanted::default(), from, PAGE_ROWS).await?;
    let body = html! {
        (table(&found))
        (turns(
            (from > 0).then(|| turn((from - PAGE_ROWS).max(0))),
            (from + PAGE_ROWS < count).then(|| turn(from + PAGE_ROWS)),
        ))
    };
    Ok(page(
        &frame(&tx, &session).await?,
        Section::Activities,
        "Activities",
        &body,
    ))
}

fn turn(from: i64) -> String {
    format!("/activities?from={from}")
}

fn table(activities: &[Activity]) -> Markup {
    html! {
        @if activities.is_empty() { (empty("Nothing was ordered.")) } @else {
            div class="card" { table id="activities" {
                thead { tr {
                    th { "What" } th { "Number" } th { "Computer" } th { "Status" } th { "By" }
                    th { "Ordered" } th { "Ended" } th { "Result" }
                } }
                tbody { @for one in activities { tr {
                    td class="name" { a href=(format!("/activities/{}", one.id)) { (one.summary) } }
                    td data-label="Number" { (one.id) }
                    td data-label="Computer" { (computer(one)) }
                    td data-label="Status" { (state(&one.status)) }
                    td data-label="By" { (or_dash(one.creator.as_ref().map(|(_, name, _)| name.as_str()))) }
                    td class="time" data-label="Ordered" { (moment(&one.created)) }
                    td class="time" data-label="Ended" { (or_dash(one.completed.as_deref().map(moment).as_deref())) }
                    td class="result" { (result(one)) }
                } } }
            } }
        }
    }
}

fn computer(one: &Activity) -> Markup {
    html! {
        @match one.computer {
            Some(id) => { a href=(format!("/computers/{id}")) { (id) } }
            None => {
                @for (status, count) in &one.children { (count) " " (status) " " }
            }
        }
    }
}

fn result(one: &Activity) -> Markup {
    html! {
        @if let Some(code) = one.result_code { "code " (code) " " }
        @if let Some(text) = &one.result_text {
            pre { (text.chars().take(RESULT_CHARS).collect::<String>()) }
        }
    }
}

async fn one(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Path(id): Path<String>,
) -> Result<Html<String>, Error> {
    let id: i64 = id.parse().map_err(|_| Error::NotFound)?;
    let account = session.person.account;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let one = store::group::get(&tx, account, id).await?;
    let one = one.ok_or(Error::NotFound)?;
    let wanted = Wanted {
        parent: Some(id),
        ..Wanted::default()
    };
    let (_, children) = store::group::list(&tx, account, &wanted, 0, CHILDREN).await?;
    let frame = frame(&tx, &session).await?;
    let waits = matches!(one.status.as_str(), "undelivered" | "scheduled")
        || one
            .children
            .iter()
            .any(|(status, _)| status == "undelivered");
    let body = html! {
        section class="card" { dl {
            dt { "Status" } dd { (state(&one.status)) }
            dt { "Ordered" } dd { (moment(&one.created)) }
            @if let Some((_, name, _)) = &one.creator { dt { "By" } dd { (name) } }
            @if let Some(after) = &one.deliver_after { dt { "Not before" } dd { (moment(after)) } }
            dt { "Delivered" } dd { (or_dash(one.delivered.as_deref().map(moment).as_deref())) }
            dt { "Ended" } dd { (or_dash(one.completed.as_deref().map(moment).as_deref())) }
            dt { "Computers" } dd { (computer(&one)) }
            @if let Some(parent) = one.parent {
                dt { "Part of" } dd { a href=(format!("/activities/{parent}")) { (parent) } }
            }
            @if one.result_code.is_some() || one.result_text.is_some() {
                dt { "Result" }
                dd {
                    @if let Some(code) = one.result_code { "code " (code) }
                    @if let Some(text) = &one.result_text { pre { (text) } }
                }
            }
        }
        @if waits && session.person.role >= Role::Operator {
            form method="post" action=(format!("/activities/{id}/cancel")) {
                (frame.token())
                button class="risky" { "Cancel what was not delivered" }
            }
        } }
        @if one.computer.is_none() { h2 { "Computers" } (table(&children)) }
    };
    Ok(page(&frame, Section::Activities, &one.summary, &body))
}

async fn cancel(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(shown): Form<guard::Shown>,
) -> Result<Response, Error> {
    let id: i64 = id.parse().map_err(|_| Error::NotFound)?;
    let person = guard::check(&session, &headers, &shown.form_token, Role::Operator)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    // What was delivered meanwhile goes on; the page that follows shows what is.
    store::group::cancel(&tx, person.account, &[id]).await?;
    store::commit(tx).await?;
    Ok(to(&format!("/activities/{id}")))
}

fn to(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response()
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Restart,
    Shutdown,
    Script,
}

#[derive(Deserialize)]
struct Ordered {
    order: Kind,
    script: Option<i64>,
    #[serde(default)]
    form_token: String,
}

async fn order(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(ordered): Form<Ordered>,
) -> Result<Response, Error> {
    let id: i64 = id.parse().map_err(|_| Error::NotFound)?;
    let person = guard::check(&session, &headers, &ordered.form_token, Role::Operator)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let known = store::listing::known(&tx, person.account, &[id], true).await?;
    if known.is_empty() {
        return Err(Error::NotFound);
    }
    let order = match ordered.order {
        Kind::Restart => Order::Restart,
        Kind::Shutdown => Order::Shutdown,
        Kind::Script => {
            let script = ordered.script.ok_or(Error::NotFound)?;
            let script = store::script::get(&tx, person.account, script).await?;
            Order::Script(script.ok_or(Error::NotFound)?.to_order(None))
        }
    };
    let group = store::group::order(&tx, person, &known, &order, None).await?;
    store::commit(tx).await?;
    tracing::info!(
        person = person.id,
        computer = id,
        activity = group,
        "ordered"
    );
    Ok(to(&format!("/activities/{group}")))
}
