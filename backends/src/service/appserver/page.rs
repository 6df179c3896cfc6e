//! How does each page look? Templates over what the store found; maud escapes all of it.

use axum::response::Html;
use maud::{DOCTYPE, Markup, html};

use super::chart;
use super::guard::FORM_TOKEN;
use crate::domain::network::flag_names;
use crate::domain::person::Role;
use crate::store::page::{Activity, Detail, Interface, Listed, Step};
use crate::store::person::Session;

/// The one script: pages work without it.
pub const LIVE: &str = "/static/live.js";

/// What stands around every page.
pub struct Frame<'a> {
    /// Computers that are accepted, and those that wait.
    pub counts: (i64, i64),
    /// Who looks.
    pub session: &'a Session,
}

impl Frame<'_> {
    /// What every form holds.
    pub fn token(&self) -> Markup {
        html! { input type="hidden" name=(FORM_TOKEN) value=(self.session.form_token); }
    }

    fn may(&self, role: Role) -> bool {
        self.session.person.role >= role
    }
}

/// All that is shown of one computer.
pub struct Computer {
    /// What it is.
    pub detail: Detail,
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
    /// What they were.
    pub history: Vec<Interface>,
    /// Its traffic.
    pub traffic: Vec<Step>,
    /// What was ordered.
    pub activities: Vec<Activity>,
    /// Scripts that it can be told to run: number and title.
    pub scripts: Vec<(i64, String)>,
}

/// A page of somebody who is signed in.
pub fn page(frame: &Frame<'_>, title: &str, body: &Markup) -> Html<String> {
    let (accepted, waiting) = frame.counts;
    let nav = html! {
        a href="/computers" { "Computers (" (accepted) ")" }
        a href="/pending" { "Pending (" (waiting) ")" }
        a href="/activities" { "Activities" }
        a href="/packages" { "Packages" }
        a href="/hosts" { "WSL hosts" }
        form method="post" action="/logout" {
            (frame.token())
            span { (frame.session.person.name) }
            button { "Sign out" }
        }
    };
    whole(title, &nav, body)
}

/// The page to sign in on, with what was wrong.
pub fn login(next: &str, email: &str, wrong: Option<&str>) -> Html<String> {
    let body = html! {
        @if let Some(wrong) = wrong { p { em role="alert" { (wrong) } } }
        form method="post" action="/login" class="login" {
            input type="hidden" name="next" value=(next);
            label { "E-mail address"
                input type="text" name="email" value=(email) autocomplete="username" required; }
            label { "Password"
                input type="password" name="password" autocomplete="current-password" required; }
            button { "Sign in" }
        }
    };
    whole("Sign in", &html! {}, &body)
}

fn whole(title: &str, nav: &Markup, body: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                link rel="stylesheet" href="/static/style.css";
            }
            body {
                nav { (nav) }
                main { h1 { (title) } (body) }
                footer { "Times are UTC. " span id="live" {} }
                script src=(LIVE) defer {}
            }
        }
    };
    Html(page.into_string())
}

/// Accepted computers, `most` of them from `from`, or those with a tag.
pub fn computers(
    frame: &Frame<'_>,
    tag: Option<&str>,
    from: i64,
    most: i64,
    rows: &[Listed],
) -> Html<String> {
    let shown = usize::try_from(most).unwrap_or(usize::MAX).min(rows.len());
    let more = rows.len() > shown;
    let body = html! {
        @if let Some(tag) = tag {
            p { "With the tag " strong { (tag) } ". " a href="/computers" { "All" } }
        }
        @if rows.is_empty() { p { "None." } } @else {
            table {
                thead { tr {
                    th { "Title" } th { "Host name" } th { "Tags" } th { "Addresses" }
                    th { "System" } th { "Last ping" } th { "Last exchange" }
                } }
                tbody { @for row in &rows[..shown] { tr {
                    td { a href=(format!("/computers/{}", row.id)) { (row.title) } }
                    td { (row.hostname) }
                    td { (tags(&row.tags)) }
                    td { (row.addresses.join(", ")) }
                    td {
                        (or_dash(row.distribution.as_deref()))
                        @if row.reboot_required { " " em { "restart" } }
                    }
                    td { (or_dash(row.last_ping.as_deref())) }
                    td { (or_dash(row.last_exchange.as_deref())) }
                } } }
            }
        }
        p {
            @if from > 0 { a href=(turn(tag, (from - most).max(0))) { "Back" } " " }
            @if more { a href=(turn(tag, from + most)) { "More" } }
        }
    };
    page(frame, "Computers", &body)
}

/// One computer.
pub fn computer(frame: &Frame<'_>, computer: &Computer) -> Html<String> {
    let (detail, listed) = (&computer.detail, &computer.detail.listed);
    let body = html! {
        dl {
            dt { "Host name" } dd { (listed.hostname) }
            dt { "State" } dd { @if detail.accepted { "accepted" } @else { "waits to be accepted" } }
            dt { "Tags" } dd { (tags(&listed.tags)) }
            dt { "Last ping" } dd { (or_dash(listed.last_ping.as_deref())) }
            dt { "Last exchange" } dd { (or_dash(listed.last_exchange.as_deref())) }
            dt { "Registered" } dd { (listed.registered) }
            dt { "System" } dd { (or_dash(listed.distribution.as_deref())) }
            dt { "Memory, swap" } dd { (mib(detail.memory_mib)) ", " (mib(detail.swap_mib)) }
            dt { "Processors" } dd { (detail.processors.join(", ")) }
            @if !detail.virtualization.is_empty() {
                dt { "Runs in" } dd { (detail.virtualization) }
            }
            @if listed.reboot_required { dt { "Restart" } dd { em { "required" } } }
        }
        p { a href=(format!("/computers/{}/packages", listed.id)) { "Packages" } }
        h2 { "Network interfaces" }
        @if computer.interfaces.is_empty() { p { "None reported." } } @else {
            table id="interfaces" {
                (interface_head("Since"))
                tbody { @for one in &computer.interfaces { tr {
                    (interface_cells(one)) td { (one.since) }
                } } }
            }
        }
        @if !computer.history.is_empty() {
            h3 { "Changes" }
            table id="changes" {
                (interface_head("Until"))
                tbody { @for one in &computer.history { tr {
                    (interface_cells(one))
                    td {
                        (or_dash(one.until.as_deref()))
                        @if one.gone { ", then gone" } @else { ", then changed" }
                    }
                } } }
            }
        }
        h2 { "Network traffic" }
        @if computer.traffic.is_empty() { p { "None reported." } } @else {
            (chart::traffic(&computer.traffic))
        }
        h2 { "Activities" }
        @if detail.accepted && frame.may(Role::Operator) { (orders(frame, computer)) }
        @if computer.activities.is_empty() { p { "None." } } @else {
            table {
                thead { tr {
                    th { "Number" } th { "What" } th { "Status" } th { "Ordered" } th { "Ended" }
                    th { "Result" }
                } }
                tbody { @for one in &computer.activities { tr {
                    td { a href=(format!("/activities/{}", one.id)) { (one.id) } } td { (one.summary) } td { (one.status) } td { (one.created) }
                    td { (or_dash(one.completed.as_deref())) }
                    td { @if let Some(text) = &one.result { pre { (text) } } }
                } } }
            }
        }
    };
    page(frame, &listed.title, &body)
}

/// What it can be told.
fn orders(frame: &Frame<'_>, computer: &Computer) -> Markup {
    let path = format!("/computers/{}/order", computer.detail.listed.id);
    html! {
        div class="orders" {
            form method="post" action=(path) {
                (frame.token())
                button name="order" value="restart" { "Restart" }
                button name="order" value="shutdown" { "Shut down" }
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

/// Computers that wait to be accepted.
pub fn pending(frame: &Frame<'_>, rows: &[Listed]) -> Html<String> {
    let body = html! {
        @if rows.is_empty() { p { "Nobody waits." } } @else {
            table {
                thead { tr {
                    th { "Title" } th { "Host name" } th { "Tags" } th { "Registered" } th {}
                } }
                tbody { @for row in rows { tr {
                    td { (row.title) } td { (row.hostname) } td { (row.tags.join(", ")) }
                    td { (row.registered) }
                    td {
                        @if frame.may(Role::Administrator) { form method="post" action="/pending/decide" {
                            (frame.token())
                            input type="hidden" name="id" value=(row.id);
                            button name="decision" value="accept" { "Accept" }
                            button name="decision" value="reject" { "Reject" }
                        } }
                    }
                } } }
            }
        }
    };
    page(frame, "Pending computers", &body)
}

fn interface_head(last: &str) -> Markup {
    html! {
        thead { tr {
            th { "Interface" } th { "IP address" } th { "MAC address" } th { "Broadcast address" }
            th { "Netmask" } th { "Flags" } th { "Speed" } th { (last) }
        } }
    }
}

fn interface_cells(one: &Interface) -> Markup {
    let address = |address: Option<std::net::IpAddr>| match address {
        Some(address) if !address.is_unspecified() => address.to_string(),
        _ => "\u{2013}".to_owned(),
    };
    html! {
        td { (one.name) }
        td { (address(one.ip_address)) }
        td { (one.mac_address) }
        td { (address(one.broadcast_address)) }
        td { (address(one.netmask)) }
        td title=(one.flags) { (flag_names(one.flags).join(" ")) }
        td {
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
        @for tag in tags { a class="tag" href=(turn(Some(tag), 0)) { (tag) } " " }
    }
}

/// The list from an offset, with a tag or without.
fn turn(tag: Option<&str>, from: i64) -> String {
    use std::fmt::Write as _;
    let mut path = format!("/computers?from={from}");
    if let Some(tag) = tag {
        path.push_str("&tag=");
        for byte in tag.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                path.push(byte.into());
            } else {
                let _ = write!(path, "%{byte:02X}");
            }
        }
    }
    path
}

/// The text, or a dash for none.
pub fn or_dash(text: Option<&str>) -> &str {
    text.unwrap_or("\u{2013}")
}

fn mib(size: Option<i64>) -> String {
    match size {
        Some(size) => chart::bytes(size.saturating_mul(1024 * 1024)),
        None => "\u{2013}".to_owned(),
    }
}

/// An administrator of this name, for tests of pages.
#[cfg(test)]
pub(super) fn session_of(name: &str) -> Session {
    Session {
        person: crate::domain::person::Person {
            id: 1,
            email: "a@b".to_owned(),
            name: name.to_owned(),
            role: Role::Administrator,
            account: 1,
            account_name: "standalone".to_owned(),
            account_title: "Standalone".to_owned(),
        },
        form_token: "word".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let session = session_of(hostile);
        let frame = Frame {
            counts: (1, 0),
            session: &session,
        };
        let Html(text) = computers(&frame, Some(hostile), 0, 100, std::slice::from_ref(&row));
        assert!(!text.contains("<script>"), "{text}");
        assert!(text.contains("tag=a%20b%26c"), "{text}");
        let Html(text) = pending(&frame, &[row]);
        assert!(!text.contains("<script>"), "{text}");
        let Html(text) = login(hostile, hostile, Some(hostile));
        assert!(!text.contains("<script>"), "{text}");
    }
}
