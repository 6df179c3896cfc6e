//! What do people see of Windows machines? Hosts with their WSL instances, and what was ordered from them.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::{Extension, Form};
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;

use super::page::{self, Frame, Section, empty, or_dash, page, turns};
use super::{Asked, Desk, PAGE_ROWS, PAST_ROWS, frame, guard};
use crate::domain::person::Role;
use crate::domain::wsl::Order;
use crate::error::Error;
use crate::store::person::Session;
use crate::store::wsl_page::{Instance, Listed, Ordered};
use crate::store::{self, wsl, wsl_page};

/// `/hosts`
pub async fn list(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Error> {
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    store::page::in_utc(&tx).await?;
    let from = i64::from(asked.from);
    let account = session.person.account;
    let hosts = wsl_page::hosts(&tx, account, from, PAGE_ROWS + 1).await?;
    Ok(page(
        &frame(&tx, &session).await?,
        Section::Hosts,
        "WSL hosts",
        &list_page(&hosts, from),
    ))
}

/// `/hosts/{uid}`
pub async fn one(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Path(uid): Path<String>,
) -> Result<Html<String>, Error> {
    let uid = Uuid::try_parse(&uid).map_err(|_| Error::NotFound)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    store::page::in_utc(&tx).await?;
    let host = wsl_page::host(&tx, session.person.account, uid).await?;
    let host = host.ok_or(Error::NotFound)?;
    let instances = wsl_page::instances(&tx, uid).await?;
    let ordered = wsl_page::ordered(&tx, uid, PAST_ROWS).await?;
    let frame = frame(&tx, &session).await?;
    let body = one_page(&frame, &host, &instances, &ordered);
    Ok(page(&frame, Section::Hosts, &host.hostname, &body))
}

/// What somebody wants of a host.
#[derive(Deserialize)]
pub struct Wanted {
    what: String,
    #[serde(default)]
    instance: String,
    #[serde(default)]
    form_token: String,
}

/// `/hosts/{uid}/order`: one of the orders, or `accept`, or `forget`.
pub async fn order(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Path(uid): Path<String>,
    headers: HeaderMap,
    Form(wanted): Form<Wanted>,
) -> Result<Response, Error> {
    let role = match wanted.what.as_str() {
        "accept" | "forget" => Role::Administrator,
        _ => Role::Operator,
    };
    let person = guard::check(&session, &headers, &wanted.form_token, role)?;
    let uid = Uuid::try_parse(&uid).map_err(|_| Error::NotFound)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let known = wsl::known(&tx, person.account, uid).await?;
    known.ok_or(Error::NotFound)?;
    let mut next = format!("/hosts/{uid}");
    let done = match wanted.what.as_str() {
        "accept" => wsl::accept(&tx, uid).await?,
        "forget" => {
            "/hosts".clone_into(&mut next);
            wsl::remove(&tx, uid).await?
        }
        kind => {
            let order = Order::of(kind, wanted.instance.trim(), None, None)
                .ok_or_else(|| Error::Malformed("no order of a WSL host".to_owned()))?;
            let given = wsl::order(&tx, uid, &order).await?;
            // Of nobody, or of a host that waits to be accepted.
            given.ok_or(Error::NotFound)?;
            true
        }
    };
    store::commit(tx).await?;
    tracing::info!(host = %uid, what = wanted.what, done, "ordered");
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, next)]).into_response())
}

fn list_page(hosts: &[Listed], from: i64) -> Markup {
    let most = usize::try_from(PAGE_ROWS).unwrap_or(usize::MAX);
    let shown = most.min(hosts.len());
    html! {
        @if hosts.is_empty() { (empty("There are no WSL hosts yet.")) } @else {
            div class="card" { table {
                thead { tr {
                    th { "Host" } th { "State" } th { "Instances" } th { "Default" }
                    th { "Since" } th { "Last news" }
                } }
                tbody { @for host in &hosts[..shown] { tr {
                    td class="name" { a href=(format!("/hosts/{}", host.uid)) { (host.hostname) } }
                    td data-label="State" { (state(host)) }
                    td data-label="Instances" { (host.instances.0) ", " (host.instances.1) " running" }
                    td data-label="Default" { (or_dash(host.default_instance.as_deref())) }
                    td class="time" data-label="Since" { (or_dash(host.since.as_deref())) }
                    td class="time" data-label="Last news" { (or_dash(host.last_info.as_deref())) }
                } } }
            } }
        }
        (turns(
            (from > 0).then(|| format!("/hosts?from={}", (from - PAGE_ROWS).max(0))),
            (hosts.len() > shown).then(|| format!("/hosts?from={}", from + PAGE_ROWS)),
        ))
    }
}

fn state(host: &Listed) -> Markup {
    html! {
        @if !host.accepted { span class="state waits" { "waits to be accepted" } " " }
        @if host.connected { span class="state succeeded" { "connected" } }
        @else { span class="state" { "not connected" } }
    }
}

fn one_page(
    frame: &Frame<'_>,
    host: &Listed,
    instances: &[Instance],
    ordered: &[Ordered],
) -> Markup {
    html! {
        section class="card" {
            dl {
                dt { "State" } dd { (state(host)) }
                dt { @if host.connected { "Since" } @else { "Until" } } dd { (or_dash(host.since.as_deref())) }
                dt { "Last news" } dd { (or_dash(host.last_info.as_deref())) }
                dt { "Registered" } dd { (host.registered) }
                dt { "Identity" } dd { (host.uid) }
            }
            @if host.accepted {
                (buttons(frame, host, "", &[("shutdown_host", "Shut WSL down"), ("forget", "Forget")]))
            } @else {
                (buttons(frame, host, "", &[("accept", "Accept"), ("forget", "Reject")]))
            }
        }
        h2 { "Instances" }
        @if instances.is_empty() { (empty("It has no instances.")) } @else {
            div class="card" { table id="instances" {
                thead { tr {
                    th { "Instance" } th { "System" } th { "State" } th { "Since" } th { "Computer" } th {}
                } }
                tbody { @for one in instances { tr {
                    td class="name" { (one.id) @if one.name != one.id { " (" (one.name) ")" } }
                    td data-label="System" { (one.version_id) }
                    td data-label="State" {
                        @if one.running { "runs" } @else { "stopped" }
                        @if host.default_instance.as_deref() == Some(one.id.as_str()) { ", default" }
                        @if !one.managed { ", not managed" }
                    }
                    td class="time" data-label="Since" { (one.since) }
                    td data-label="Computer" { @if let Some((id, title)) = &one.computer {
                        a href=(format!("/computers/{id}")) { (title) }
                    } }
                    td class="do" { @if host.accepted && one.managed { (buttons(frame, host, &one.id, &[
                        if one.running { ("stop", "Stop") } else { ("start", "Start") },
                        ("set_default", "Make default"), ("uninstall", "Uninstall"),
                    ])) } }
                } } }
            } }
        }
        @if host.accepted && frame.may(Role::Operator) {
            form class="search" method="post" action=(format!("/hosts/{}/order", host.uid)) {
                (frame.token())
                input type="text" name="instance" required maxlength="200" placeholder="Ubuntu-24.04"
                    aria-label="Instance to install";
                button class="first" name="what" value="install" { "Install" }
            }
        }
        h2 { "Orders" }
        @if ordered.is_empty() { (empty("Nothing was ordered.")) } @else {
            div class="card" { table id="orders" {
                thead { tr {
                    th { "What" } th { "Instance" } th { "Status" } th { "Ordered" } th { "Changed" }
                    th { "Result" }
                } }
                tbody { @for one in ordered { tr {
                    td class="name" title=(one.request_id) { (one.kind.replace('_', " ")) }
                    td data-label="Instance" { (one.instance) }
                    td data-label="Status" { (page::state(&one.state)) }
                    td class="time" data-label="Ordered" { (one.created) }
                    td class="time" data-label="Changed" { (one.changed) }
                    td class="result" { @if !one.error.is_empty() { pre { (one.error) } } }
                } } }
            } }
        }
    }
}

/// One for each order that whoever looks may give.
fn buttons(frame: &Frame<'_>, host: &Listed, instance: &str, what: &[(&str, &str)]) -> Markup {
    let role = |value: &str| match value {
        "accept" | "forget" => Role::Administrator,
        _ => Role::Operator,
    };
    let look = |value: &str| match value {
        "accept" => Some("first"),
        "forget" | "uninstall" | "shutdown_host" => Some("risky"),
        _ => None,
    };
    html! {
        form class="orders" method="post" action=(format!("/hosts/{}/order", host.uid)) {
            (frame.token())
            @if !instance.is_empty() { input type="hidden" name="instance" value=(instance); }
            @for (value, label) in what { @if frame.may(role(value)) {
                button class=[look(value)] name="what" value=(value) { (label) }
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_of_itself_is_escaped() {
        let hostile = "<script>alert('\"&')</script>".to_owned();
        let host = Listed {
            uid: Uuid::from_u128(1),
            hostname: hostile.clone(),
            accepted: true,
            connected: true,
            since: None,
            last_info: None,
            registered: String::new(),
            instances: (1, 1),
            default_instance: Some(hostile.clone()),
        };
        let instance = Instance {
            id: hostile.clone(),
            name: "other".to_owned(),
            version_id: hostile.clone(),
            running: true,
            managed: true,
            since: String::new(),
            computer: Some((1, hostile.clone())),
        };
        let order = Ordered {
            request_id: host.uid,
            kind: "start".to_owned(),
            instance: hostile.clone(),
            state: "failed".to_owned(),
            error: hostile.clone(),
            created: String::new(),
            changed: String::new(),
        };
        let session = crate::service::appserver::page::session_of(&hostile);
        let frame = Frame {
            counts: (0, 0),
            session: &session,
        };
        let text = [
            list_page(std::slice::from_ref(&host), 0).into_string(),
            one_page(&frame, &host, &[instance], &[order]).into_string(),
        ];
        assert!(!text.concat().contains("<script"), "{text:?}");
    }
}
