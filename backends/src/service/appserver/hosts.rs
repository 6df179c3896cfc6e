//! What do people see of Windows machines? Hosts with their WSL instances, and what was ordered from them.

use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{Html, Response};
use axum::routing::{get, post};
use axum::{Extension, Form, Router};
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;

use super::page::{
    self, Doubt, Frame, Part, Section, doubt, empty, head, or_dash, page, search, sought,
};
use super::{Asked, Desk, FORM_BYTES_MAX, PAST_ROWS, frame, guard, to};
use crate::domain::person::Role;
use crate::domain::wsl::{CLOUDINIT_BYTES_MAX, Order};
use crate::error::Error;
use crate::store::person::Session;
use crate::store::wsl_page::{Instance, Listed, Ordered};
use crate::store::{self, wsl, wsl_page};

/// Longest form of an order, bytes: each byte of a configuration may be written as three.
const ORDER_BYTES_MAX: usize = 3 * CLOUDINIT_BYTES_MAX + FORM_BYTES_MAX;

/// The routes of these pages.
pub fn routes() -> Router<Desk> {
    let order = post(order).layer(DefaultBodyLimit::max(ORDER_BYTES_MAX));
    Router::new()
        .route("/hosts", get(list))
        .route("/hosts/{uid}", get(one))
        .route("/hosts/{uid}/order", order)
        .route("/hosts/{uid}/sure", get(sure))
}

#[derive(Deserialize)]
struct AskedOfList {
    /// A part of the name.
    #[serde(default, deserialize_with = "sought")]
    text: String,
    #[serde(default)]
    from: u32,
}

async fn list(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Query(asked): Query<AskedOfList>,
) -> Result<Html<String>, Error> {
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let terms = [("text", asked.text.as_str())];
    let mut part = Part::new("/hosts", &terms, asked.from);
    let account = session.person.account;
    let mut rows = wsl_page::hosts(&tx, account, &asked.text, part.from, part.fetched()).await?;
    part.cut(&mut rows);
    let none = match asked.text.is_empty() {
        true => "There are no WSL hosts yet.",
        false => "No host is found.",
    };
    let body = html! {
        (search("/hosts", &html! {}, &asked.text, "Name"))
        @if rows.is_empty() { (part.empty(none)) } @else { (list_table(&rows)) }
        (part.turns())
    };
    let frame = frame(&tx, &session).await?;
    Ok(page(&frame, Section::Hosts, "WSL hosts", &body))
}

fn list_table(hosts: &[Listed]) -> Markup {
    html! {
        div class="card" { table {
            (head(&["Host", "State", "Instances", "Default", "Since", "Last news"]))
            tbody { @for host in hosts { tr {
                td class="name" { a href=(format!("/hosts/{}", host.uid)) { (host.hostname) } }
                td data-label="State" { (state(host)) }
                td data-label="Instances" { (host.instances.0) ", " (host.instances.1) " running" }
                td data-label="Default" { (or_dash(host.default_instance.as_deref())) }
                td class="time" data-label="Since" { (or_dash(host.since.as_deref())) }
                td class="time" data-label="Last news" { (or_dash(host.last_info.as_deref())) }
            } } }
        } }
    }
}

async fn one(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Path(uid): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Error> {
    let uid = Uuid::try_parse(&uid).map_err(|_| Error::NotFound)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let host = wsl_page::host(&tx, session.person.account, uid).await?;
    let host = host.ok_or(Error::NotFound)?;
    let path = format!("/hosts/{uid}");
    let mut part = Part {
        most: PAST_ROWS,
        ..Part::new(&path, &[], asked.from)
    };
    let mut ordered = wsl_page::ordered(&tx, uid, part.from, part.fetched()).await?;
    part.cut(&mut ordered);
    let instances = wsl_page::instances(&tx, uid).await?;
    let frame = frame(&tx, &session).await?;
    let body = html! {
        (facts(&frame, &host))
        h2 { "Instances" }
        @if instances.is_empty() { (empty("It has no instances.")) } @else {
            (instances_table(&frame, &host, &instances))
        }
        @if host.accepted && frame.may(Role::Operator) { (install(&frame, &host)) }
        h2 { "Orders" }
        @if ordered.is_empty() { (part.empty("Nothing was ordered.")) } @else { (orders_table(&ordered)) }
        (part.turns())
    };
    Ok(page(&frame, Section::Hosts, &host.hostname, &body))
}

/// What somebody wants of a host.
#[derive(Deserialize)]
struct Wanted {
    what: String,
    #[serde(default)]
    instance: String,
    /// First configuration of an instance to be installed.
    #[serde(default)]
    cloudinit: String,
    /// Where its files come from.
    #[serde(default)]
    rootfs_url: String,
    /// Said where something would be lost.
    #[serde(default)]
    sure: String,
    #[serde(default)]
    form_token: String,
}

impl Wanted {
    /// Who may want this.
    fn role(&self) -> Role {
        role(&self.what)
    }

    /// The order that it is; None for what a host is not told.
    ///
    /// # Errors
    ///
    /// It cannot be ordered.
    fn order(&self) -> Result<Option<Order>, Error> {
        if matches!(self.what.as_str(), "accept" | "forget") {
            return Ok(None);
        }
        let given = |text: String| (!text.trim().is_empty()).then_some(text);
        // Browsers end lines of a form as mail does.
        let cloudinit = given(self.cloudinit.replace("\r\n", "\n"));
        let rootfs_url = given(self.rootfs_url.trim().to_owned());
        let (cloudinit, rootfs_url) = match self.what.as_str() {
            "install" => (cloudinit, rootfs_url),
            _ => (None, None),
        };
        let order = Order::of(&self.what, self.instance.trim(), cloudinit, rootfs_url);
        let malformed = || Error::Malformed("no order of a WSL host".to_owned());
        Ok(Some(order.ok_or_else(malformed)?))
    }
}

fn role(what: &str) -> Role {
    match what {
        "accept" | "forget" => Role::Administrator,
        _ => Role::Operator,
    }
}

/// Is something lost by it?
fn destroys(what: &str, accepted: bool) -> bool {
    match what {
        "uninstall" | "shutdown_host" => true,
        // One that waits comes again.
        "forget" => accepted,
        _ => false,
    }
}

/// `/hosts/{uid}/order`: one of the orders, or `accept`, or `forget`.
async fn order(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Path(uid): Path<String>,
    headers: HeaderMap,
    Form(wanted): Form<Wanted>,
) -> Result<Response, Error> {
    let person = guard::check(&session, &headers, &wanted.form_token, wanted.role())?;
    let uid = Uuid::try_parse(&uid).map_err(|_| Error::NotFound)?;
    // Before anything else: it bounds what they wrote.
    let order = wanted.order()?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let known = wsl::known(&tx, person.account, uid).await?;
    let known = known.ok_or(Error::NotFound)?;
    if destroys(&wanted.what, known.accepted) && wanted.sure.is_empty() {
        let instance = order.as_ref().map_or("", Order::instance);
        let asked = [("what", &*wanted.what), ("instance", instance)];
        return Ok(to(&page::path(&format!("/hosts/{uid}/sure"), &asked)));
    }
    let mut next = format!("/hosts/{uid}");
    let done = match order {
        None if wanted.what == "accept" => wsl::accept(&tx, uid).await?,
        None => {
            "/hosts".clone_into(&mut next);
            wsl::remove(&tx, uid).await?
        }
        Some(order) => {
            let given = wsl::order(&tx, uid, &order).await?;
            // Of nobody, or of a host that waits to be accepted.
            given.ok_or(Error::NotFound)?;
            true
        }
    };
    store::commit(tx).await?;
    tracing::info!(host = %uid, what = wanted.what, done, "ordered");
    Ok(to(&next))
}

#[derive(Deserialize)]
struct Unsure {
    what: String,
    #[serde(default)]
    instance: String,
}

/// `/hosts/{uid}/sure`: what will be lost.
async fn sure(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Path(uid): Path<String>,
    Query(asked): Query<Unsure>,
) -> Result<Html<String>, Error> {
    guard::may(&session, role(&asked.what))?;
    let uid = Uuid::try_parse(&uid).map_err(|_| Error::NotFound)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let host = wsl_page::host(&tx, session.person.account, uid).await?;
    let Listed { hostname, .. } = host.ok_or(Error::NotFound)?;
    let (title, what, yes) = match asked.what.as_str() {
        "uninstall" => (
            format!("Uninstall {}?", asked.instance),
            format!(
                "{} on {hostname} is removed with everything in it.",
                asked.instance
            ),
            "Uninstall",
        ),
        "shutdown_host" => (
            format!("Shut WSL down on {hostname}?"),
            "Every instance stops at once; what runs in them ends.".to_owned(),
            "Shut WSL down",
        ),
        "forget" => (
            format!("Forget {hostname}?"),
            "What is known of it goes, with its orders, also those that wait. \
             Its agent comes again as a new host."
                .to_owned(),
            "Forget",
        ),
        _ => return Err(Error::NotFound),
    };
    let frame = frame(&tx, &session).await?;
    let back = format!("/hosts/{uid}");
    let asked = Doubt {
        what: &what,
        action: &format!("{back}/order"),
        fields: &[("what", &*asked.what), ("instance", &*asked.instance)],
        yes,
        no: &back,
    };
    Ok(page(&frame, Section::Hosts, &title, &doubt(&frame, &asked)))
}

fn state(host: &Listed) -> Markup {
    html! {
        @if !host.accepted { span class="state waits" { "waits to be accepted" } " " }
        @if host.connected { span class="state succeeded" { "connected" } }
        @else { span class="state" { "not connected" } }
    }
}

fn facts(frame: &Frame<'_>, host: &Listed) -> Markup {
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
    }
}

fn instances_table(frame: &Frame<'_>, host: &Listed, instances: &[Instance]) -> Markup {
    let columns = [
        "Instance", "System", "State", "Since", "Computer", "(Orders)",
    ];
    let is_default = |one: &Instance| host.default_instance.as_deref() == Some(one.id.as_str());
    html! {
        div class="card" { table id="instances" {
            (head(&columns))
            tbody { @for one in instances { tr {
                td class="name" { (one.id) @if one.name != one.id { " (" (one.name) ")" } }
                td data-label="System" { (one.version_id) }
                td data-label="State" {
                    @if one.running { "runs" } @else { "stopped" }
                    @if is_default(one) { ", default" }
                    @if !one.managed { ", not managed" }
                }
                td class="time" data-label="Since" { (one.since) }
                td data-label="Computer" { @if let Some(computer) = &one.computer {
                    a href=(format!("/computers/{}", computer.id)) { (computer.title) }
                    @if !computer.accepted { " " span class="state waits" { "waits" } }
                } }
                td class="do" { @if host.accepted {
                    (buttons(frame, host, &one.id, &orders_of(one, is_default(one))))
                } }
            } } }
        } }
    }
}

/// What an instance can be told. An agent starts and stops only those that it looks after.
fn orders_of(one: &Instance, is_default: bool) -> Vec<(&'static str, &'static str)> {
    let mut orders = Vec::new();
    if one.managed {
        orders.push(match one.running {
            true => ("stop", "Stop"),
            false => ("start", "Start"),
        });
    }
    if !is_default {
        orders.push(("set_default", "Make default"));
    }
    orders.push(("uninstall", "Uninstall"));
    orders
}

fn install(frame: &Frame<'_>, host: &Listed) -> Markup {
    html! {
        form class="card install" method="post" action=(format!("/hosts/{}/order", host.uid)) {
            (frame.token())
            label { "Instance to install"
                input type="text" name="instance" required maxlength="200" placeholder="Ubuntu-24.04"; }
            details {
                summary { "Its files and its first configuration" }
                label { "Address of an archive with its files; none: the store's"
                    input type="url" name="rootfs_url" maxlength="2000" placeholder="https://"; }
                label { "cloud-init"
                    textarea name="cloudinit" rows="6" spellcheck="false" placeholder="#cloud-config" {} }
            }
            button class="first" name="what" value="install" { "Install" }
        }
    }
}

fn orders_table(ordered: &[Ordered]) -> Markup {
    html! {
        div class="card" { table id="orders" {
            (head(&["What", "Instance", "Status", "Ordered", "Changed", "Result"]))
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

/// One for each order that whoever looks may give.
fn buttons(frame: &Frame<'_>, host: &Listed, instance: &str, what: &[(&str, &str)]) -> Markup {
    let look = |value: &str| match value {
        "accept" => Some("first"),
        "forget" | "uninstall" | "shutdown_host" => Some("risky"),
        _ => None,
    };
    html! {
        @if what.iter().any(|(value, _)| frame.may(role(value))) {
            form class="orders" method="post" action=(format!("/hosts/{}/order", host.uid)) {
                (frame.token())
                @if !instance.is_empty() { input type="hidden" name="instance" value=(instance); }
                @for (value, label) in what { @if frame.may(role(value)) {
                    button class=[look(value)] name="what" value=(value) { (label) }
                } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::wsl_page::Computer;

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
            computer: Some(Computer {
                id: 1,
                title: hostile.clone(),
                accepted: true,
            }),
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
            list_table(std::slice::from_ref(&host)).into_string(),
            facts(&frame, &host).into_string(),
            instances_table(&frame, &host, &[instance]).into_string(),
            orders_table(&[order]).into_string(),
        ];
        assert!(!text.concat().contains("<script"), "{text:?}");
    }
}
