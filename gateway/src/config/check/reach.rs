//! Can any request reach a route?
//!
//! Reads `on:`, and tells routes that redirects or `deny_segments` keep everybody from.

use super::names::{Names, listener_id};
use crate::config::model::{ListenerId, PathMatch, Place, RedirectHttps};
use crate::config::problem::quoted;
use crate::config::read::{Field, Reader};
use crate::config::tree::Value;

/// The listeners a route serves, in order, each once.
pub(super) fn on(
    field: Option<&Field<'_>>,
    route: &Field<'_>,
    names: &Names<'_>,
    reader: &mut Reader,
) -> Vec<ListenerId> {
    let any_failed = names
        .known
        .listeners
        .iter()
        .any(|draft| draft.listener.is_none());
    let Some(field) = field else {
        if names.everywhere.is_empty() && !any_failed && !names.known.listeners.is_empty() {
            reader.error(route.key, "no listener serves this route", "name one with `on:`; without it a route serves the HTTPS listeners and plain ones with `redirect_https: none`");
        }
        return names.everywhere.clone();
    };
    let items = reader.list(field);
    if items.is_empty() && matches!(&field.node.value, Value::List(_)) {
        reader.error(
            field.key,
            "`on` is empty, so no request can come",
            "name a listener or leave it out",
        );
    }
    let mut on = Vec::new();
    let mut redirecting = Vec::new();
    for item in &items {
        let Some(name) = reader.text(item, "the name of a listener") else {
            continue;
        };
        let Some(&at) = names.listeners.get(name) else {
            let known: Vec<&str> = names
                .known
                .listeners
                .iter()
                .map(|draft| draft.name.as_str())
                .collect();
            let hint = reader.suggest(name, &known);
            reader.error(
                item.node.place,
                format!("there is no listener {}", quoted(name)),
                hint,
            );
            continue;
        };
        on.push(listener_id(at));
        if names.known.listeners[at]
            .listener
            .as_ref()
            .is_some_and(|listener| listener.redirect_https == RedirectHttps::All)
        {
            redirecting.push((name, item.node.place));
        }
    }
    let all = redirecting.len() == on.len();
    for (name, place) in redirecting {
        let hint = format!(
            "write `redirect_https: default` for listener `{name}`, or do not name it here"
        );
        if all {
            reader.error(
                place,
                format!("no request reaches this route: listener `{name}` redirects everything"),
                hint,
            );
        } else {
            reader.warning(
                place,
                format!("listener `{name}` redirects everything, this route too"),
                hint,
            );
        }
    }
    on.sort_unstable();
    on.dedup();
    on
}

/// Tells paths that `deny_segments` keeps anybody from reaching.
pub(super) fn denied(path: &PathMatch, place: Place, deny: &[String], reader: &mut Reader) {
    let (PathMatch::Prefix(text) | PathMatch::Exact(text)) = path;
    let word = |segment: &str| {
        let segment = segment
            .split(';')
            .next()
            .unwrap_or(segment)
            .to_ascii_lowercase();
        deny.contains(&segment).then_some(segment)
    };
    let mut segments = text[1..].split('/');
    let first = segments.next().and_then(word);
    let last = segments.next_back().and_then(word);
    let hint = "change `deny_segments`, or serve it under another name";
    match (first, last, path) {
        (Some(word), _, _) | (None, Some(word), PathMatch::Exact(_)) => {
            reader.error(
                place,
                format!("no request reaches this route: `{word}` is in `deny_segments`"),
                hint,
            );
        }
        (None, Some(word), PathMatch::Prefix(_)) => {
            reader.warning(
                place,
                format!(
                    "only what is below this path can be reached: `{word}` is in `deny_segments`"
                ),
                hint,
            );
        }
        (None, None, _) => {}
    }
}
