//! Which packages are there, and which has a computer? Two pages over one question.

use axum::extract::{Path, Query, State};
use axum::response::Html;
use axum::routing::get;
use axum::{Extension, Router};
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{self, Part, Section, head};
use super::{Desk, PAGE_ROWS, frame};
use crate::domain::package_search::{Answer, Found, Question};
use crate::error::Error;
use crate::store;
use crate::store::person::Session;

/// Computers that are named where a number is pointed at.
const NAMED_MAX: u8 = 20;

/// The states that can be asked for, and how they are called.
const STATES: [(&str, &str); 5] = [
    ("installed", "Installed"),
    ("upgrade", "Upgrades"),
    ("security", "Security upgrades"),
    ("held", "Held"),
    ("available", "Available"),
];

/// The routes of these pages.
pub fn routes() -> Router<Desk> {
    Router::new()
        .route("/packages", get(all))
        .route("/computers/{id}/packages", get(of_computer))
}

#[derive(Default, Deserialize)]
struct Asked {
    /// A part of the name or the summary.
    #[serde(default, deserialize_with = "page::sought")]
    text: String,
    /// One of [`STATES`]; anything else is the first.
    #[serde(default)]
    state: String,
    #[serde(default)]
    from: u32,
}

impl Asked {
    fn state(&self) -> &'static str {
        let known = STATES.iter().find(|(state, _)| *state == self.state);
        known.or(STATES.first()).map_or("", |(state, _)| state)
    }

    fn question(&self, account: i64, computer: Option<i64>) -> Question {
        let is = |state: &str| (self.state() == state).then_some(true);
        Question {
            account_id: account,
            computer_ids: computer.map(|computer| vec![computer]),
            text: (!self.text.is_empty()).then(|| self.text.replace('\0', "\u{fffd}")),
            names: None,
            installed: is("installed"),
            available: is("available"),
            upgrade: is("upgrade"),
            held: is("held"),
            security: is("security"),
            limit: PAGE_ROWS,
            offset: self.from.into(),
            computers_max: Some(NAMED_MAX.into()),
        }
    }
}

async fn all(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Error> {
    let frame = {
        let mut connection = desk.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        frame(&tx, &session).await?
    };
    let question = asked.question(session.person.account, None);
    let answer = desk.packages.ask(&question).await?;
    let body = list("/packages", &asked, &answer, &FLEET, fleet_cells);
    Ok(page::page(&frame, Section::Packages, "Packages", &body))
}

async fn of_computer(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Error> {
    let id: i64 = id.parse().map_err(|_| Error::NotFound)?;
    let (of, frame) = {
        let mut connection = desk.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        let of = store::package::summary(&tx, session.person.account, id).await?;
        (of.ok_or(Error::NotFound)?, frame(&tx, &session).await?)
    };
    let question = asked.question(session.person.account, Some(id));
    let answer = desk.packages.ask(&question).await?;
    let path = format!("/computers/{id}/packages");
    let body = html! {
        p class="lead" {
            a href=(format!("/computers/{id}")) { (of.title) }
            @if let Some(at) = &of.reported { ", reported " (at) }
        }
        @if let Some((code, error)) = &of.failed {
            p class="card" { em { "The last look at its packages failed (" (code) "): " (error) } }
        }
        (list(&path, &asked, &answer, &COMPUTER, computer_cells))
    };
    let title = format!("Packages of {}", of.title);
    Ok(page::page(&frame, Section::Computers, &title, &body))
}

/// Columns of what the account has, and of what a computer has.
const FLEET: [&str; 7] = [
    "Name",
    "Version",
    "Summary",
    "Installed on",
    "Upgrade on",
    "Held on",
    "Available on",
];
const COMPUTER: [&str; 4] = ["Name", "Version", "Summary", "State"];

/// The part that was asked for, with the form that asks.
fn list(
    path: &str,
    asked: &Asked,
    answer: &Answer,
    columns: &[&str],
    cells: fn(&Found) -> Markup,
) -> Markup {
    let wanted = [("state", asked.state()), ("text", &asked.text)];
    let mut part = Part::new(path, &wanted, asked.from);
    part.more = answer.count > part.from + part.most;
    let states = html! {
        select name="state" aria-label="State" {
            @for (state, name) in STATES {
                option value=(state) selected[state == asked.state()] { (name) }
            }
        }
    };
    html! {
        (page::search(path, &states, &asked.text, "Name or summary"))
        p class="lead" { (answer.count) @if answer.count == 1 { " package." } @else { " packages." } }
        @if answer.packages.is_empty() { (part.empty("No package is found.")) } @else {
            div class="card" { table id="packages" {
                (head(columns))
                tbody { @for one in &answer.packages { tr {
                    td class="name" { (one.name) }
                    td data-label="Version" { (one.version) }
                    td data-label="Summary" { (one.summary) }
                    (cells(one))
                } } }
            } }
        }
        (part.turns())
    }
}

fn fleet_cells(one: &Found) -> Markup {
    let (on, counts) = (&one.computers, one.counts());
    let cell = |label: &str, computers: &[i64], count: i64| {
        let named = computers.iter().take(NAMED_MAX.into());
        let mut named: Vec<String> = named.map(ToString::to_string).collect();
        if count > NAMED_MAX.into() {
            named.push("\u{2026}".to_owned());
        }
        html! { td data-label=(label) title=(named.join(", ")) { (count) } }
    };
    html! {
        (cell("Installed on", &on.installed, counts.installed))
        (cell("Upgrade on", &on.upgrades, counts.upgrades))
        (cell("Held on", &on.held, counts.held))
        (cell("Available on", &on.available, counts.available))
    }
}

fn computer_cells(one: &Found) -> Markup {
    let on = &one.computers;
    let states = [
        (&on.installed, "installed"),
        (&on.upgrades, "upgrade"),
        (&on.held, "held"),
        (&on.available, "available"),
    ];
    let words: Vec<&str> = states
        .into_iter()
        .filter(|(computers, _)| !computers.is_empty())
        .map(|(_, word)| word)
        .collect();
    html! { td data-label="State" { (words.join(", ")) } }
}
