//! How does each page look? Templates over what the store found; maud escapes all of it.

use axum::response::Html;
use maud::{DOCTYPE, Markup, html};

use super::chart;
use crate::domain::network::flag_names;
use crate::store::page::{Activity, Detail, Interface, Listed, Step};

/// What stands around every page.
pub struct Frame {
    /// Computers that are accepted, and those that wait.
    pub counts: (i64, i64),
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
}

/// A page with what stands around every page.
pub fn page(frame: &Frame, title: &str, body: &Markup) -> Html<String> {
    let (accepted, waiting) = frame.counts;
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
                nav {
                    a href="/computers" { "Computers (" (accepted) ")" }
                    a href="/pending" { "Pending (" (waiting) ")" }
                    a href="/packages" { "Packages" }
                }
                main { h1 { (title) } (body) }
                footer { "Times are UTC." }
            }
        }
    };
    Html(page.into_string())
}

/// Accepted computers, `most` of them from `from`, or those with a tag.
pub fn computers(
    frame: &Frame,
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
pub fn computer(frame: &Frame, computer: &Computer) -> Html<String> {
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
        @if computer.activities.is_empty() { p { "None." } } @else {
            table {
                thead { tr {
                    th { "Number" } th { "What" } th { "Status" } th { "Ordered" } th { "Ended" }
                    th { "Result" }
                } }
                tbody { @for one in &computer.activities { tr {
                    td { (one.id) } td { (one.summary) } td { (one.status) } td { (one.created) }
                    td { (or_dash(one.completed.as_deref())) }
                    td { @if let Some(text) = &one.result { pre { (text) } } }
                } } }
            }
        }
    };
    page(frame, &listed.title, &body)
}

/// Computers that wait to be accepted.
pub fn pending(frame: &Frame, rows: &[Listed]) -> Html<String> {
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
                        form method="post" action="/pending/decide" {
                            input type="hidden" name="id" value=(row.id);
                            button name="decision" value="accept" { "Accept" }
                            button name="decision" value="reject" { "Reject" }
                        }
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

fn or_dash(text: Option<&str>) -> &str {
    text.unwrap_or("\u{2013}")
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
        let frame = Frame { counts: (1, 0) };
        let Html(text) = computers(&frame, Some(hostile), 0, 100, std::slice::from_ref(&row));
        assert!(!text.contains("<script"), "{text}");
        assert!(text.contains("tag=a%20b%26c"), "{text}");
        let Html(text) = pending(&frame, &[row]);
        assert!(!text.contains("<script"), "{text}");
    }
}
