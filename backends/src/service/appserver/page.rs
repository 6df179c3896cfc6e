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
/// How all of it looks.
pub const STYLE: &str = "/static/style.css";
/// The picture beside the name.
pub const ICON: &str = "/static/icon.svg";

/// Where in the house a page is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Computers that count.
    Computers,
    /// Those that wait.
    Pending,
    /// What was ordered.
    Activities,
    /// What is installed.
    Packages,
    /// Windows machines.
    Hosts,
}

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

    /// May whoever looks do what this role is needed for?
    pub fn may(&self, role: Role) -> bool {
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
pub fn page(frame: &Frame<'_>, here: Section, title: &str, body: &Markup) -> Html<String> {
    let (accepted, waiting) = frame.counts;
    let sections = [
        (
            Section::Computers,
            "/computers",
            "Computers",
            Some(accepted),
        ),
        (Section::Pending, "/pending", "Pending", Some(waiting)),
        (Section::Activities, "/activities", "Activities", None),
        (Section::Packages, "/packages", "Packages", None),
        (Section::Hosts, "/hosts", "WSL hosts", None),
    ];
    let nav = html! {
        @for (section, path, name, count) in sections {
            a href=(path) aria-current=[(section == here).then_some("page")] {
                (name) @if let Some(count) = count { " " span class="count" { (count) } }
            }
        }
        form method="post" action="/logout" {
            (frame.token())
            span { (frame.session.person.name) }
            button { "Sign out" }
        }
    };
    whole(title, &nav, body, true)
}

/// The page to sign in on, with what was wrong.
pub fn login(next: &str, email: &str, wrong: Option<&str>) -> Html<String> {
    let body = html! {
        form method="post" action="/login" class="card login" {
            @if let Some(wrong) = wrong { p class="wrong" role="alert" { (wrong) } }
            input type="hidden" name="next" value=(next);
            label { "E-mail address"
                input type="text" name="email" value=(email) inputmode="email" autocomplete="username" required; }
            label { "Password"
                input type="password" name="password" autocomplete="current-password" required; }
            button class="first" { "Sign in" }
        }
    };
    whole("Sign in", &html! {}, &body, false)
}

/// A page. One that is `live` is told when it is old; who is not signed in is told nothing.
fn whole(title: &str, nav: &Markup, body: &Markup, live: bool) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" type="image/svg+xml" href=(ICON);
                link rel="stylesheet" href=(of(STYLE, super::STYLE));
            }
            body {
                nav {
                    a class="brand" href="/" { img src=(ICON) alt="" width="24" height="24"; "Portcullis" }
                    (nav)
                }
                main { h1 { (title) } (body) }
                footer { span { "Times are UTC." } span id="live" {} }
                @if live { script src=(of(LIVE, super::SCRIPT)) defer {} }
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
            p class="lead" { "With the tag " strong { (tag) } ". " a href="/computers" { "All" } }
        }
        @if rows.is_empty() { (empty(match tag {
            Some(_) => "No computer has this tag.",
            None => "There are no computers yet. Those that register wait under Pending.",
        })) } @else {
            div class="card" { table {
                thead { tr {
                    th { "Title" } th { "Host name" } th { "Tags" } th { "Addresses" }
                    th { "System" } th { "Last ping" } th { "Last exchange" }
                } }
                tbody { @for row in &rows[..shown] { tr {
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
        (turns(
            (from > 0).then(|| turn(tag, (from - most).max(0))),
            more.then(|| turn(tag, from + most)),
        ))
    };
    page(frame, Section::Computers, "Computers", &body)
}

/// One computer.
pub fn computer(frame: &Frame<'_>, computer: &Computer) -> Html<String> {
    let (detail, listed) = (&computer.detail, &computer.detail.listed);
    let here = match detail.accepted {
        true => Section::Computers,
        false => Section::Pending,
    };
    let body = html! {
        div class="sides" {
            section {
                h2 { "System" }
                div class="card facts" {
                    dl {
                        dt { "Host name" } dd { (listed.hostname) }
                        dt { "State" } dd { @if detail.accepted { "accepted" } @else { "waits to be accepted" } }
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
            section {
                h2 { "Network traffic" }
                @if computer.traffic.is_empty() { (empty("None reported.")) } @else {
                    div class="card" { (chart::traffic(&computer.traffic)) }
                }
            }
        }
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
            @if !computer.history.is_empty() {
                h3 { "Changes" }
                div class="card" { table id="changes" {
                    (interface_head("Until"))
                    tbody { @for one in &computer.history { tr {
                        (interface_cells(one))
                        td data-label="Until" {
                            (or_dash(one.until.as_deref()))
                            @if one.gone { ", then gone" } @else { ", then changed" }
                        }
                    } } }
                } }
            }
        }
        section {
            h2 { "Activities" }
            @if computer.activities.is_empty() { (empty("Nothing was ordered.")) } @else {
                div class="card" { table {
                    thead { tr {
                        th { "What" } th { "Number" } th { "Status" } th { "Ordered" } th { "Ended" }
                        th { "Result" }
                    } }
                    tbody { @for one in &computer.activities { tr {
                        td class="name" { a href=(format!("/activities/{}", one.id)) { (one.summary) } }
                        td data-label="Number" { (one.id) }
                        td data-label="Status" { (state(&one.status)) }
                        td class="time" data-label="Ordered" { (one.created) }
                        td class="time" data-label="Ended" { (or_dash(one.completed.as_deref())) }
                        td class="result" { @if let Some(text) = &one.result { pre { (text) } } }
                    } } }
                } }
            }
        }
    };
    page(frame, here, &listed.title, &body)
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

/// Computers that wait to be accepted.
pub fn pending(frame: &Frame<'_>, from: i64, most: i64, rows: &[Listed]) -> Html<String> {
    let shown = usize::try_from(most).unwrap_or(usize::MAX).min(rows.len());
    let more = rows.len() > shown;
    let body = html! {
        @if rows.is_empty() { (empty("Nobody waits.")) } @else {
            div class="card" { table {
                thead { tr {
                    th { "Title" } th { "Host name" } th { "Tags" } th { "Registered" } th {}
                } }
                tbody { @for row in &rows[..shown] { tr {
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
        (turns(
            (from > 0).then(|| format!("/pending?from={}", (from - most).max(0))),
            more.then(|| format!("/pending?from={}", from + most)),
        ))
    };
    page(frame, Section::Pending, "Pending computers", &body)
}

/// The path of a file with this content: another content has another, so that a browser that keeps files for a while
/// does not show a new page in an old style.
fn of(path: &str, content: &str) -> String {
    // FNV-1a.
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = content.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
    format!("{path}?{hash:016x}")
}

/// In place of a table without rows.
pub fn empty(text: &str) -> Markup {
    html! { p class="card empty" { (text) } }
}

/// How something stands, in a word that the style knows: `succeeded`, `failed`, `in_progress`.
pub fn state(word: &str) -> Markup {
    html! { span class={ "state " (word) } { (word.replace('_', " ")) } }
}

/// To the page before this one and the next, where there are such.
pub fn turns(back: Option<String>, more: Option<String>) -> Markup {
    html! {
        @if back.is_some() || more.is_some() { p class="turns" {
            @if let Some(path) = back { a href=(path) { "Back" } " " }
            @if let Some(path) = more { a href=(path) { "More" } }
        } }
    }
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

/// A time as programs write it, `2026-11-30T11:34:45Z`, as people read it.
pub fn moment(text: &str) -> String {
    text.trim_end_matches('Z').replacen('T', " ", 1)
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
    fn another_content_has_another_path() {
        assert_eq!(of("/a", ""), "/a?cbf29ce484222325");
        assert_eq!(of("/a", "a"), "/a?af63dc4c8601ec8c");
    }

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
        let Html(text) = pending(&frame, 0, 100, &[row]);
        assert!(!text.contains("<script>"), "{text}");
        let Html(text) = login(hostile, hostile, Some(hostile));
        assert!(!text.contains("<script>"), "{text}");
    }
}
