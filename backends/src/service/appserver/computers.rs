//! Which computers are there, and what of each? The list, the page of one, and what its interfaces were.

use axum::extract::{Path, Query, State};
use axum::response::Html;
use axum::routing::get;
use axum::{Extension, Router};
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{Frame, Part, Section, empty, head, or_dash, page, path, search, sought, state};
use super::{Asked, Desk, PAST_ROWS, activities, chart, frame};
use crate::domain::network::flag_names;
use crate::domain::person::Role;
use crate::error::Error;
use crate::store;
use crate::store::page::{Activity, Child, Detail, Interface, Listed, Sought, Step};
use crate::store::person::Session;

/// The routes of these pages.
pub fn routes() -> Router<Desk> {
    Router::new()
        .route("/computers", get(list))
        .route("/computers/{id}", get(one))
        .route("/computers/{id}/interfaces", get(interfaces))
}

/// All that is shown of one computer.
struct Computer {
    detail: Detail,
    interfaces: Vec<Interface>,
    /// What they were; one more than is shown where there is more.
    history: Vec<Interface>,
    traffic: Vec<Step>,
    activities: Vec<Activity>,
    /// Scripts that it can be told to run: number and title.
    scripts: Vec<(i64, String)>,
}

#[derive(Deserialize)]
struct AskedOfList {
    #[serde(default, deserialize_with = "sought")]
    tag: String,
    /// A part of the title or the host name.
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
    let terms = [("tag", asked.tag.as_str()), ("text", asked.text.as_str())];
    let mut part = Part::new("/computers", &terms, asked.from);
    let sought = Sought::accepted(&asked.tag, &asked.text);
    let account = session.person.account;
    let mut rows = store::page::computers(&tx, account, &sought, part.from, part.fetched()).await?;
    part.cut(&mut rows);
    let tag = html! {
        @if !asked.tag.is_empty() { input type="hidden" name="tag" value=(asked.tag); }
    };
    let body = html! {
        (search("/computers", &tag, &asked.text, "Title or host name"))
        @if !asked.tag.is_empty() {
            p class="lead" {
                "With the tag " strong { (asked.tag) } ". "
                a href=(path("/computers", &[("text", &asked.text)])) { "All" }
            }
        }
        @if rows.is_empty() { (part.empty(none_found(&asked))) } @else { (table(&rows)) }
        (part.turns())
    };
    let frame = frame(&tx, &session).await?;
    Ok(page(&frame, Section::Computers, "Computers", &body))
}

fn none_found(asked: &AskedOfList) -> &'static str {
    match (asked.tag.is_empty(), asked.text.is_empty()) {
        (true, true) => "There are no computers yet. Those that register wait under Pending.",
        (false, true) => "No computer has this tag.",
        _ => "No computer is found.",
    }
}

fn table(rows: &[Listed]) -> Markup {
    let columns = [
        "Title",
        "Host name",
        "Tags",
        "Addresses",
        "System",
        "Last ping",
        "Last exchange",
    ];
    html! {
        div class="card" { table {
            (head(&columns))
            tbody { @for row in rows { tr {
                td class="name" { a href=(format!("/computers/{}", row.id)) { (row.title) } }
                td class="long" data-label="Host name" { (row.hostname) }
                td data-label="Tags" { (tags(&row.tags)) }
                td data-label="Addresses" { (row.addresses.join(", ")) }
                td data-label="System" {
                    (or_dash(row.distribution.as_deref()))
                    @if row.reboot_required { " " span class="state waits" { "restart" } }
                }
                td class="time" data-label="Last ping" { (or_dash(row.last_ping.as_deref())) }
                td class="time" data-label="Last exchange" { (or_dash(row.last_exchange.as_deref())) }
            } } }
        } }
    }
}

async fn one(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Path(id): Path<String>,
) -> Result<Html<String>, Error> {
    let id: i64 = id.parse().map_err(|_| Error::NotFound)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let detail = store::page::computer(&tx, session.person.account, id).await?;
    let computer = Computer {
        detail: detail.ok_or(Error::NotFound)?,
        interfaces: store::page::interfaces(&tx, id).await?,
        history: store::page::interface_history(&tx, id, 0, PAST_ROWS + 1).await?,
        traffic: store::page::traffic(&tx, id).await?,
        activities: store::page::activities(&tx, id, PAST_ROWS).await?,
        scripts: activities::scripts(&tx, &session).await?,
    };
    let frame = frame(&tx, &session).await?;
    let body = html! {
        div class="sides" {
            (system(&frame, &computer))
            section {
                h2 { "Network traffic" }
                @if computer.traffic.is_empty() { (empty("None reported.")) } @else {
                    div class="card" { (chart::traffic(&computer.traffic)) }
                }
            }
        }
        (network(&computer))
        (ordered(&computer))
    };
    let detail = &computer.detail;
    let here = section(detail);
    Ok(page(&frame, here, &detail.listed.title, &body))
}

fn section(detail: &Detail) -> Section {
    match detail.accepted {
        true => Section::Computers,
        false => Section::Pending,
    }
}

fn system(frame: &Frame<'_>, computer: &Computer) -> Markup {
    let (detail, listed) = (&computer.detail, &computer.detail.listed);
    html! {
        section {
            h2 { "System" }
            div class="card facts" {
                dl {
                    dt { "Host name" } dd { (listed.hostname) }
                    dt { "State" } dd { @if detail.accepted { "accepted" } @else { "waits to be accepted" } }
                    @if let Some(child) = &detail.child { (host(child)) }
                    dt { "Tags" } dd { @if listed.tags.is_empty() { (or_dash(None)) } (tags(&listed.tags)) }
                    dt { "Last ping" } dd { (or_dash(listed.last_ping.as_deref())) }
                    dt { "Last exchange" } dd { (or_dash(listed.last_exchange.as_deref())) }
                    dt { "Registered" } dd { (listed.registered) }
                    dt { "System" } dd { (or_dash(listed.distribution.as_deref())) }
                    dt { "Memory, swap" } dd { (mib(detail.memory_mib)) ", " (mib(detail.swap_mib)) }
                    dt { "Processors" } dd {
                        @if detail.processors.is_empty() { (or_dash(None)) }
                        (detail.processors.join(", "))
                    }
                    @if !detail.virtualization.is_empty() {
                        dt { "Runs in" } dd { (detail.virtualization) }
                    }
                    @if listed.reboot_required {
                        dt { "Restart" } dd { span class="state waits" { "required" } }
                    }
                    dt { "Packages" } dd { a href=(format!("/computers/{}/packages", listed.id)) { "Look at them" } }
                }
                @if detail.accepted && frame.may(Role::Operator) { (orders(frame, computer)) }
            }
        }
    }
}

/// Which WSL instance it is.
fn host(child: &Child) -> Markup {
    html! {
        dt { "WSL instance" }
        dd {
            (child.instance) " on " a href=(format!("/hosts/{}", child.host)) { (child.hostname) }
            @match child.running {
                Some(true) => ", runs",
                Some(false) => ", stopped",
                None => ", not there any more",
            }
        }
    }
}

/// What it can be told.
fn orders(frame: &Frame<'_>, computer: &Computer) -> Markup {
    let path = format!("/computers/{}/order", computer.detail.listed.id);
    html! {
        div class="orders" {
            form method="post" action=(path) {
                (frame.token())
                button name="order" value="restart" { "Restart" }
                button class="risky" name="order" value="shutdown" { "Shut down" }
            }
            @if !computer.scripts.is_empty() {
                form method="post" action=(path) {
                    (frame.token())
                    input type="hidden" name="order" value="script";
                    select name="script" aria-label="Script" {
                        @for (id, title) in &computer.scripts { option value=(id) { (title) } }
                    }
                    button { "Run script" }
                }
            }
        }
    }
}

fn network(computer: &Computer) -> Markup {
    let most = usize::try_from(PAST_ROWS).unwrap_or(usize::MAX);
    let shown = &computer.history[..most.min(computer.history.len())];
    html! {
        section {
            h2 { "Network interfaces" }
            @if computer.interfaces.is_empty() { (empty("None reported.")) } @else {
                div class="card" { table id="interfaces" {
                    (interface_head("Since"))
                    tbody { @for one in &computer.interfaces { tr {
                        (interface_cells(one)) td class="time" data-label="Since" { (one.since) }
                    } } }
                } }
            }
            @if !shown.is_empty() {
                h3 { "Changes" }
                (changes(shown))
                @if computer.history.len() > shown.len() {
                    p class="turns" {
                        a href=(format!("/computers/{}/interfaces", computer.detail.listed.id)) { "All changes" }
                    }
                }
            }
        }
    }
}

fn ordered(computer: &Computer) -> Markup {
    let id = computer.detail.listed.id.to_string();
    let columns = ["What", "Number", "Status", "Ordered", "Ended", "Result"];
    html! {
        section {
            h2 { "Activities" }
            @if computer.activities.is_empty() { (empty("Nothing was ordered.")) } @else {
                div class="card" { table {
                    (head(&columns))
                    tbody { @for one in &computer.activities { tr {
                        td class="name" { a href=(format!("/activities/{}", one.id)) { (one.summary) } }
                        td data-label="Number" { (one.id) }
                        td data-label="Status" { (state(&one.status)) }
                        td class="time" data-label="Ordered" { (one.created) }
                        td class="time" data-label="Ended" { (or_dash(one.completed.as_deref())) }
                        td class="result" { @if let Some(text) = &one.result { pre { (text) } } }
                    } } }
                } }
                p class="turns" { a href=(path("/activities", &[("computer", &id)])) { "All its activities" } }
            }
        }
    }
}

/// What the interfaces of a computer were, from the beginning of what is known.
async fn interfaces(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Error> {
    let id: i64 = id.parse().map_err(|_| Error::NotFound)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let detail = store::page::computer(&tx, session.person.account, id).await?;
    let detail = detail.ok_or(Error::NotFound)?;
    let path = format!("/computers/{id}/interfaces");
    let mut part = Part::new(&path, &[], asked.from);
    let mut rows = store::page::interface_history(&tx, id, part.from, part.fetched()).await?;
    part.cut(&mut rows);
    let title = &detail.listed.title;
    let body = html! {
        p class="lead" { a href=(format!("/computers/{id}")) { (title) } }
        @if rows.is_empty() { (part.empty("They were always as they are.")) } @else { (changes(&rows)) }
        (part.turns())
    };
    let frame = frame(&tx, &session).await?;
    let title = format!("Changes of interfaces of {title}");
    Ok(page(&frame, section(&detail), &title, &body))
}

fn changes(history: &[Interface]) -> Markup {
    html! {
        div class="card" { table id="changes" {
            (interface_head("Until"))
            tbody { @for one in history { tr {
                (interface_cells(one))
                td data-label="Until" {
                    (or_dash(one.until.as_deref()))
                    @if one.gone { ", then gone" } @else { ", then changed" }
                }
            } } }
        } }
    }
}

fn interface_head(last: &str) -> Markup {
    head(&[
        "Interface",
        "IP address",
        "MAC address",
        "Broadcast address",
        "Netmask",
        "Flags",
        "Speed",
        last,
    ])
}

fn interface_cells(one: &Interface) -> Markup {
    let address = |address: Option<std::net::IpAddr>| match address {
        Some(address) if !address.is_unspecified() => address.to_string(),
        _ => "\u{2013}".to_owned(),
    };
    html! {
        td class="name" { (one.name) }
        td class="code" data-label="IP address" { (address(one.ip_address)) }
        td class="code" data-label="MAC address" { (one.mac_address) }
        td class="code" data-label="Broadcast" { (address(one.broadcast_address)) }
        td class="code" data-label="Netmask" { (address(one.netmask)) }
        td class="flags" data-label="Flags" title=(one.flags) { (flag_names(one.flags).join(" ")) }
        td data-label="Speed" {
            @match one.speed {
                None => "not known",
                Some(0) => "no link",
                Some(speed) => {
                    (speed) " Mbit/s"
                    @match one.full_duplex {
                        Some(true) => ", full duplex",
                        Some(false) => ", half duplex",
                        None => "",
                    }
                }
            }
        }
    }
}

fn tags(tags: &[String]) -> Markup {
    html! {
        @for tag in tags { a class="tag" href=(path("/computers", &[("tag", tag)])) { (tag) } " " }
    }
}

fn mib(size: Option<i64>) -> String {
    match size {
        Some(size) => chart::bytes(size.saturating_mul(1024 * 1024)),
        None => "\u{2013}".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::appserver::page::session_of;

    #[test]
    fn what_a_computer_says_of_itself_is_escaped() {
        let hostile = "<script>alert('\"&')</script>";
        let row = Listed {
            id: 1,
            title: hostile.to_owned(),
            hostname: hostile.to_owned(),
            distribution: Some(hostile.to_owned()),
            tags: vec![hostile.to_owned(), "a b&c".to_owned()],
            addresses: vec![],
            last_ping: None,
            last_exchange: None,
            registered: String::new(),
            reboot_required: true,
        };
        let list = table(std::slice::from_ref(&row)).into_string();
        assert!(list.contains("tag=a%20b%26c"), "{list}");
        let session = session_of(hostile);
        let frame = Frame {
            counts: (1, 0),
            session: &session,
        };
        let computer = Computer {
            detail: Detail {
                listed: row,
                accepted: true,
                memory_mib: None,
                swap_mib: None,
                virtualization: hostile.to_owned(),
                processors: vec![hostile.to_owned()],
                child: Some(Child {
                    host: uuid::Uuid::from_u128(1),
                    hostname: hostile.to_owned(),
                    instance: hostile.to_owned(),
                    running: Some(true),
                }),
            },
            interfaces: vec![],
            history: vec![],
            traffic: vec![],
            activities: vec![],
            scripts: vec![(1, hostile.to_owned())],
        };
        let text = list + &system(&frame, &computer).into_string();
        assert!(!text.contains("<script>"), "{text}");
    }
}
