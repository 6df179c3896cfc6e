//! What does a client read when something went wrong?
//!
//! Reads `errors:`, pages by status, and `intercept_errors:`, the statuses of workers that get them, too.

use super::answers::raw_text;
use crate::config::model::{Content, ErrorPage, ErrorPages, Statuses};
use crate::config::problem::quoted;
use crate::config::read::{Field, Keys, Reader};
use crate::config::tree::Value;
use crate::config::units::Wrong;

/// What tells a client more than a page could: how to log in, what to upgrade to (RFC 9110 sections 15.5.2, 15.5.8 and
/// 15.5.22).
const NEEDED: [u16; 3] = [401, 407, 426];

/// `errors` and `intercept_errors`.
pub(super) fn both(
    keys: &mut Keys<'_>,
    reader: &mut Reader,
) -> (Option<Box<ErrorPages>>, Option<Vec<Statuses>>) {
    let (pages, statuses) = (keys.take("errors"), keys.take("intercept_errors"));
    (
        pages.and_then(|field| errors(&field, reader)),
        statuses.and_then(|field| intercept(&field, reader)),
    )
}

/// `{ 503: { html: FILE, json: FILE, text: TEXT }, 5xx: ... }`.
fn errors(field: &Field<'_>, reader: &mut Reader) -> Option<Box<ErrorPages>> {
    let mut pages: Vec<ErrorPage> = Vec::new();
    for (key, field) in reader.named(field, "a map such as `{ 503: { html: FILE } }`") {
        let statuses = match statuses(&key.text) {
            Ok(statuses) => statuses,
            Err((what, hint)) => {
                reader.error(key.place, what, hint);
                continue;
            }
        };
        let Some(mut keys) = reader.keys(&field, "`{ html: FILE, json: FILE, text: TEXT }`") else {
            continue;
        };
        let (mut html, mut json, mut text) = (None, None, None);
        keys.set(reader, "html", &mut html, |r, f| {
            content(f, &['<'], r).map(Some)
        });
        keys.set(reader, "json", &mut json, |r, f| {
            content(f, &['{', '[', '"'], r).map(Some)
        });
        keys.set(reader, "text", &mut text, |r, f| {
            let text = raw_text(f, r)?;
            Some(Some(inline(f, text)))
        });
        keys.done(reader);
        if pages.iter().any(|page| page.statuses == statuses) {
            reader.error(
                key.place,
                format!("the pages of {} are given a second time", key.text),
                "bring them together",
            );
        }
        pages.push(ErrorPage {
            statuses,
            html,
            json,
            text,
        });
    }
    (!pages.is_empty()).then(|| Box::new(ErrorPages(pages)))
}

/// `[502, 503]`, `5xx`, or `off`.
fn intercept(field: &Field<'_>, reader: &mut Reader) -> Option<Vec<Statuses>> {
    if matches!(&field.node.value, Value::Text(text) if text.trim() == "off") {
        return Some(Vec::new());
    }
    let mut all = Vec::new();
    for item in reader.list(field) {
        let Some(text) = reader.text(&item, "a status such as `503`, or `5xx`") else {
            continue;
        };
        let read = statuses(text).and_then(|read| match NEEDED.contains(&read.0) {
            true if read.0 == read.1 => Err((
                format!("{text} tells the client what it needs to go on"),
                "leave it out".to_owned(),
            )),
            _ => Ok(read),
        });
        all.extend(reader.or_tell(&item, read));
    }
    Some(all)
}

fn statuses(text: &str) -> Result<Statuses, Wrong> {
    let one = |text: &str| text.parse::<u16>().ok().filter(|s| (400..=599).contains(s));
    let found = match text.to_ascii_lowercase().as_str() {
        "4xx" => Some(Statuses(400, 499)),
        "5xx" => Some(Statuses(500, 599)),
        text => one(text).map(|status| Statuses(status, status)),
    };
    found.ok_or_else(|| {
        (
            format!("{} is not the status of an error", quoted(text)),
            "a number from 400 to 599, `4xx` or `5xx`".to_owned(),
        )
    })
}

/// A text that begins as such a page does, or the path of a file.
fn content(field: &Field<'_>, begins: &[char], reader: &mut Reader) -> Option<Content> {
    let text = raw_text(field, reader)?;
    if text.trim_start().starts_with(begins) {
        return Some(inline(field, text));
    }
    Some(Content {
        file: Some(super::path(reader, field)?),
        place: field.node.place,
        ..Content::default()
    })
}

fn inline(field: &Field<'_>, text: String) -> Content {
    Content {
        file: None,
        bytes: text.into(),
        place: field.node.place,
    }
}
