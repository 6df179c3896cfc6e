//! Who waits to become a computer of ours? The list, and the forms that accept and reject.

use std::collections::BTreeMap;

use axum::extract::{Form, Query, State};
use axum::http::HeaderMap;
use axum::response::{Html, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{Frame, Part, Section, head, page};
use super::{Asked, Desk, frame, guard, to};
use crate::domain::person::Role;
use crate::error::Error;
use crate::service::admission;
use crate::store;
use crate::store::page::{Listed, Sought};
use crate::store::person::Session;

/// The routes of this page.
pub fn routes() -> Router<Desk> {
    Router::new()
        .route("/pending", get(list))
        .route("/pending/decide", post(decide))
}

async fn list(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Error> {
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let mut part = Part::new("/pending", &[], asked.from);
    let (account, sought) = (session.person.account, Sought::waiting());
    let mut rows = store::page::computers(&tx, account, &sought, part.from, part.fetched()).await?;
    part.cut(&mut rows);
    let frame = frame(&tx, &session).await?;
    let body = html! {
        @if rows.is_empty() { (part.empty("Nobody waits.")) } @else { (table(&frame, &rows)) }
        (part.turns())
    };
    Ok(page(&frame, Section::Pending, "Pending computers", &body))
}

fn table(frame: &Frame<'_>, rows: &[Listed]) -> Markup {
    html! {
        div class="card" { table {
            (head(&["Title", "Host name", "Tags", "Registered", "(Decide)"]))
            tbody { @for row in rows { tr {
                td class="name" { a href=(format!("/computers/{}", row.id)) { (row.title) } }
                td class="long" data-label="Host name" { (row.hostname) }
                td data-label="Tags" { (row.tags.join(", ")) }
                td class="time" data-label="Registered" { (row.registered) }
                td class="do" {
                    @if frame.may(Role::Administrator) { form method="post" action="/pending/decide" {
                        (frame.token())
                        input type="hidden" name="id" value=(row.id);
                        button class="first" name="decision" value="accept" { "Accept" }
                        button class="risky" name="decision" value="reject" { "Reject" }
                    } }
                }
            } } }
        } }
    }
}

#[derive(Deserialize)]
struct Decided {
    id: i64,
    decision: Decision,
    #[serde(default)]
    form_token: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Decision {
    Accept,
    Reject,
}

async fn decide(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    headers: HeaderMap,
    Form(decided): Form<Decided>,
) -> Result<Response, Error> {
    let person = guard::check(&session, &headers, &decided.form_token, Role::Administrator)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let ids = [decided.id];
    // Somebody else may have decided meanwhile; the page that follows shows what is.
    let changed = match decided.decision {
        Decision::Accept => {
            let places = BTreeMap::new();
            let accepted = admission::accept(&tx, person, &ids, &places, None).await?;
            accepted.is_ok()
        }
        Decision::Reject => admission::reject(&tx, person, &ids).await?.is_ok(),
    };
    store::commit(tx).await?;
    let accepted = matches!(decided.decision, Decision::Accept);
    tracing::info!(computer = decided.id, accepted, changed, "decided");
    Ok(to("/pending"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::appserver::page::session_of;

    #[test]
    fn what_somebody_who_waits_says_is_escaped() {
        let hostile = "<script>alert('\"&')</script>";
        let row = Listed {
            id: 1,
            title: hostile.to_owned(),
            hostname: hostile.to_owned(),
            distribution: None,
            tags: vec![hostile.to_owned()],
            addresses: vec![],
            last_ping: None,
            last_exchange: None,
            registered: String::new(),
            reboot_required: false,
        };
        let session = session_of(hostile);
        let frame = Frame {
            counts: (1, 0),
            session: &session,
        };
        let text = table(&frame, &[row]).into_string();
        assert!(
            text.contains("Accept") && !text.contains("<script>"),
            "{text}"
        );
    }
}
