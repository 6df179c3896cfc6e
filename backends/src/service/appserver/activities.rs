//! What was ordered, and how did it end? The pages of activities, and the orders given from a
//! computer's page.

use std::collections::HashMap;

use axum::extract::{Form, Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{Html, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{
    self, Doubt, Frame, Part, Section, doubt, head, moment, or_dash, page, path, state,
};
use super::{Asked, Desk, frame, guard, to};
use crate::domain::activity::{STATUSES, Wanted};
use crate::domain::order::Order;
use crate::domain::person::Role;
use crate::error::Error;
use crate::store::group::Activity;
use crate::store::person::Session;
use crate::store::{self, Tx};

/// Scripts to choose from.
const SCRIPTS: i64 = 1000;
/// Characters of a result that a list shows.
const RESULT_CHARS: usize = 2000;

/// The routes.
pub fn routes() -> Router<Desk> {
    Router::new()
        .route("/activities", get(list))
        .route("/activities/{id}", get(one))
        .route("/activities/{id}/cancel", post(cancel))
        .route("/computers/{id}/order", post(order))
        .route("/computers/{id}/sure", get(sure))
}

/// Scripts that whoever looks may have run: number and title.
///
/// # Errors
///
/// The database's.
pub async fn scripts(tx: &Tx<'_>, session: &Session) -> Result<Vec<(i64, String)>, Error> {
    Ok(store::script::titles(tx, session.person.account, SCRIPTS).await?)
}

#[derive(Deserialize)]
struct AskedOfList {
    /// One of [`STATUSES`]; anything else is all of them.
    #[serde(default, deserialize_with = "page::sought")]
    status: String,
    /// A part of what it does.
    #[serde(default, deserialize_with = "page::sought")]
    text: String,
    /// A computer's number; anything else is all of them.
    #[serde(default, deserialize_with = "page::sought")]
    computer: String,
    #[serde(default)]
    from: u32,
}

impl AskedOfList {
    fn wanted(&self) -> Wanted {
        let status = STATUSES.iter().find(|known| **known == self.status);
        let text = self.text.trim().replace('\0', "\u{fffd}");
        Wanted {
            computer: self.computer.parse().ok(),
            status: status.map(|status| (*status).to_owned()),
            word: (!text.is_empty()).then_some(text),
            ..Wanted::default()
        }
    }
}

async fn list(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Query(asked): Query<AskedOfList>,
) -> Result<Html<String>, Error> {
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let terms = [
        ("status", asked.status.as_str()),
        ("text", asked.text.as_str()),
        ("computer", asked.computer.as_str()),
    ];
    let mut part = Part::new("/activities", &terms, asked.from);
    let wanted = asked.wanted();
    let found = fetch(&tx, &session, &wanted, &mut part).await?;
    let none = match wanted == Wanted::default() {
        true => "Nothing was ordered.",
        false => "No activity is found.",
    };
    let body = html! {
        (search(&asked))
        @if let Some(id) = wanted.computer {
            p class="lead" {
                "Of the computer " a href=(format!("/computers/{id}")) { (found.title(id)) } ". "
                a href=(path("/activities", &part.asked[..2])) { "All" }
            }
        }
        (table(&found, &part, none))
        (part.turns())
    };
    let frame = frame(&tx, &session).await?;
    Ok(page(&frame, Section::Activities, "Activities", &body))
}

fn search(asked: &AskedOfList) -> Markup {
    let before = html! {
        @if !asked.computer.is_empty() { input type="hidden" name="computer" value=(asked.computer); }
        select name="status" aria-label="Status" {
            option value="" { "All" }
            @for status in STATUSES { option value=(status) selected[status == asked.status] { (status) } }
        }
    };
    page::search("/activities", &before, &asked.text, "What was ordered")
}

/// A part of a list, with the names of its computers.
struct Found {
    activities: Vec<Activity>,
    titles: HashMap<i64, String>,
}

impl Found {
    /// The name of a computer; the number of one that nobody has.
    fn title(&self, id: i64) -> String {
        let title = self.titles.get(&id);
        title.map_or_else(|| id.to_string(), String::clone)
    }
}

/// Fetches a part, which then knows whether there is more.
async fn fetch(
    tx: &Tx<'_>,
    session: &Session,
    wanted: &Wanted,
    part: &mut Part<'_>,
) -> Result<Found, Error> {
    let account = session.person.account;
    let fetched = part.fetched();
    let mut activities = store::group::list(tx, account, wanted, part.from, fetched).await?;
    part.cut(&mut activities);
    let computers = activities.iter().filter_map(|one| one.computer);
    let ids: Vec<i64> = computers.chain(wanted.computer).collect();
    let titles = store::page::titles(tx, account, &ids).await?;
    Ok(Found { activities, titles })
}

fn table(found: &Found, part: &Part<'_>, none: &str) -> Markup {
    let columns = [
        "What", "Number", "Computer", "Status", "By", "Ordered", "Ended", "Result",
    ];
    html! {
        @if found.activities.is_empty() { (part.empty(none)) } @else {
            div class="card" { table id="activities" {
                (head(&columns))
                tbody { @for one in &found.activities { tr {
                    td class="name" { a href=(format!("/activities/{}", one.id)) { (one.summary) } }
                    td data-label="Number" { (one.id) }
                    td data-label="Computer" { (computer(one, found)) }
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

/// Its computer, or how many stand where.
fn computer(one: &Activity, found: &Found) -> Markup {
    html! {
        @match one.computer {
            Some(id) => { a href=(format!("/computers/{id}")) { (found.title(id)) } }
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
    Query(asked): Query<Asked>,
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
    let path = format!("/activities/{id}");
    let mut part = Part::new(&path, &[], asked.from);
    let mut found = fetch(&tx, &session, &wanted, &mut part).await?;
    if let Some(computer) = one.computer {
        found.titles = store::page::titles(&tx, account, &[computer]).await?;
    }
    let frame = frame(&tx, &session).await?;
    let body = html! {
        (facts(&frame, &one, &found))
        @if one.computer.is_none() {
            h2 { "Computers" }
            (table(&found, &part, "It was ordered of nobody."))
            (part.turns())
        }
    };
    Ok(page(&frame, Section::Activities, &one.summary, &body))
}

fn facts(frame: &Frame<'_>, one: &Activity, found: &Found) -> Markup {
    let undelivered = |(status, _): &(String, i64)| status == "undelivered";
    let waits = matches!(one.status.as_str(), "undelivered" | "scheduled")
        || one.children.iter().any(undelivered);
    html! {
        section class="card" { dl {
            dt { "Status" } dd { (state(&one.status)) }
            dt { "Ordered" } dd { (moment(&one.created)) }
            @if let Some((_, name, _)) = &one.creator { dt { "By" } dd { (name) } }
            @if let Some(after) = &one.deliver_after { dt { "Not before" } dd { (moment(after)) } }
            @if one.computer.is_some() {
                dt { "Delivered" } dd { (or_dash(one.delivered.as_deref().map(moment).as_deref())) }
                dt { "Ended" } dd { (or_dash(one.completed.as_deref().map(moment).as_deref())) }
            }
            dt { "Computers" } dd { (computer(one, found)) }
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
        @if waits && frame.may(Role::Operator) {
            form method="post" action=(format!("/activities/{}/cancel", one.id)) {
                (frame.token())
                button class="risky" { "Cancel what was not delivered" }
            }
        } }
    }
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
    /// A computer that is shut down cannot be started from here.
    #[serde(default)]
    sure: String,
    #[serde(default)]
    form_token: String,
}

/// `/computers/{id}/sure`: what to shut it down means.
async fn sure(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Path(id): Path<String>,
) -> Result<Html<String>, Error> {
    guard::may(&session, Role::Operator)?;
    let id: i64 = id.parse().map_err(|_| Error::NotFound)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let titles = store::page::titles(&tx, session.person.account, &[id]).await?;
    let title = titles.get(&id).ok_or(Error::NotFound)?;
    let frame = frame(&tx, &session).await?;
    let back = format!("/computers/{id}");
    let asked = Doubt {
        what: &format!("{title} goes down, and can only be started where it stands."),
        action: &format!("{back}/order"),
        fields: &[("order", "shutdown")],
        yes: "Shut down",
        no: &back,
    };
    let name = format!("Shut down {title}?");
    Ok(page(
        &frame,
        Section::Computers,
        &name,
        &doubt(&frame, &asked),
    ))
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
    if matches!(ordered.order, Kind::Shutdown) && ordered.sure.is_empty() {
        return Ok(to(&format!("/computers/{id}/sure")));
    }
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
