//! Which request goes where?
//!
//! Reads `routes:`. What a route asks, does and can be reached by is read in `conditions`,
//! `actions` and `reach`; whether two routes are equal is asked in `same`.

use std::collections::{HashMap, HashSet};

use super::actions::{action, fits_grpc};
use super::changes;
use super::conditions::{read_headers, read_methods};
use super::names::{Known, Names};
use super::networks::{is_networks, networks};
use super::paths;
use super::rate::rate;
use super::reach::{denied, on};
use crate::config::model::{Action, HostMatch, PathMatch, Place, Route};
use crate::config::problem::quoted;
use crate::config::read::{Field, Keys, Reader};
use crate::config::tree::Value;

/// A route, and whether the file gives its name.
pub(super) struct Draft {
    pub route: Route,
    named: bool,
}

pub(super) fn read(field: &Field<'_>, known: &Known<'_>, reader: &mut Reader) -> Vec<Draft> {
    let Value::List(_) = &field.node.value else {
        if !matches!(&field.node.value, Value::Broken) {
            reader.error(
                field.key,
                "`routes` must be a list",
                "write `- { path: /, to: POOL }` under it",
            );
        }
        return Vec::new();
    };
    let names = Names::new(known);
    let items = reader.list(field);
    if items.is_empty() {
        reader.warning(
            field.key,
            "there is no route: every request is answered 404",
            "add `- { path: /, to: POOL }`",
        );
    }
    let mut drafts: Vec<Draft> = items
        .iter()
        .filter_map(|item| route(item, &names, reader))
        .collect();
    settle_names(&mut drafts, reader);
    drafts
}

fn route(field: &Field<'_>, names: &Names<'_>, reader: &mut Reader) -> Option<Draft> {
    let mut keys = reader.keys(field, "the keys of a route")?;
    let path = path(&mut keys, reader);
    let on_field = keys.take("on");
    let mut host = HostMatch::Any;
    keys.set(reader, "host", &mut host, |r, f| {
        let text = r.text(f, "a host such as `example.com`")?;
        r.or_tell(f, paths::host(text))
    });
    let mut methods = Vec::new();
    keys.set(reader, "method", &mut methods, |r, f| {
        Some(read_methods(f, r))
    });
    let mut headers = Vec::new();
    keys.set(reader, "header", &mut headers, |r, f| {
        Some(read_headers(f, r))
    });
    let allow = keys.take("allow");
    let (deny_networks, deny) = match keys.take("deny") {
        Some(field) if is_networks(&field) => (Some(field), None),
        status => (None, status),
    };
    let networks = networks(allow.as_ref(), deny_networks.as_ref(), reader);
    let rate_field = keys.take("rate");
    let paced = rate_field
        .as_ref()
        .and_then(|field| rate(field, reader))
        .flatten();
    let places = keys.take("in_flight_max");
    let in_flight_max = places.as_ref().and_then(|field| in_flight(field, reader));
    let body = keys.take("body_bytes_max");
    let body_bytes_max = body
        .as_ref()
        .and_then(|field| reader.size(field, 0..=1 << 50));
    let limits = [allow, rate_field, places, body];
    let action = action(&mut keys, deny, &limits, field, names, reader);
    let own = changes::response(&mut keys, reader);
    let response_changes = changes::over(own, names.known.response_changes);
    let mut name = None;
    keys.set(reader, "name", &mut name, |r, f| {
        r.text(f, "a name").map(|name| Some(name.to_owned()))
    });
    keys.done(reader);
    if let Some(name) = &name
        && (name.is_empty() || name.len() > 128 || name.chars().any(char::is_control))
    {
        reader.error(
            field.key,
            format!("{} is not a name for a route", quoted(name)),
            "1 to 128 visible characters",
        );
    }

    let on = on(on_field.as_ref(), field, names, reader);
    if let Some((path, place)) = &path {
        denied(path, *place, names.known.deny_segments, reader);
    }
    let (action, action_place) = action?;
    fits_grpc(&on, &action, action_place, names, reader);
    let (path, place) = path?;
    let named = name.is_some();
    let name = name.unwrap_or_else(|| default_name(&host, &path, &methods, &action, names));
    Some(Draft {
        route: Route {
            name,
            on,
            host,
            path,
            methods,
            headers,
            action,
            networks,
            rate: paced,
            in_flight_max,
            body_bytes_max,
            response_changes: (!response_changes.is_empty()).then(|| Box::new(response_changes)),
            place,
        },
        named,
    })
}

fn in_flight(field: &Field<'_>, reader: &mut Reader) -> Option<u32> {
    match &field.node.value {
        Value::Text(text) if text.trim() == "off" => None,
        _ => reader.number(field, 1..=1_000_000),
    }
}

/// One of `path` and `exact`.
fn path(keys: &mut Keys<'_>, reader: &mut Reader) -> Option<(PathMatch, Place)> {
    let (field, kind): (_, fn(String) -> PathMatch) = match (keys.take("path"), keys.take("exact"))
    {
        (Some(field), None) => (field, PathMatch::Prefix),
        (None, Some(field)) => (field, PathMatch::Exact),
        (Some(_), Some(field)) => {
            reader.error(
                field.key,
                "a route has one of `path` and `exact`",
                "`path` covers everything below it, `exact` the path alone",
            );
            return None;
        }
        (None, None) => {
            reader.error(
                keys.place,
                "the route has no `path`",
                "add `path: /` for everything",
            );
            return None;
        }
    };
    let text = reader.text(&field, "a path such as `/ping`")?;
    reader
        .or_tell(&field, paths::path(text))
        .map(|path| (kind(path), field.node.place))
}

/// `path -> pool`, with what else tells the route apart.
fn default_name(
    host: &HostMatch,
    path: &PathMatch,
    methods: &[String],
    action: &Action,
    names: &Names<'_>,
) -> String {
    let host = match host {
        HostMatch::Any => String::new(),
        HostMatch::Wildcard(suffix) => format!("*.{suffix}"),
        HostMatch::Exact(name) => name.clone(),
    };
    let (PathMatch::Prefix(path) | PathMatch::Exact(path)) = path;
    let methods = if methods.is_empty() {
        String::new()
    } else {
        format!("{} ", methods.join(","))
    };
    let target = match action {
        Action::Forward(forward) => names
            .known
            .pools
            .get(usize::from(forward.pool.0))
            .map_or_else(String::new, |draft| draft.name.clone()),
        Action::Deny(status) => format!("deny {status}"),
        Action::Redirect(redirect) => format!("redirect {}", redirect.status),
        Action::Respond(fixed) => format!("respond {}", fixed.status),
    };
    format!("{methods}{host}{path} -> {target}")
}

/// Names given twice are told; names made here get a number.
fn settle_names(drafts: &mut [Draft], reader: &mut Reader) {
    let mut taken: HashSet<String> = HashSet::new();
    for draft in drafts.iter().filter(|draft| draft.named) {
        if !taken.insert(draft.route.name.clone()) {
            let what = format!(
                "another route is called {} already",
                quoted(&draft.route.name)
            );
            reader.error(
                draft.route.place,
                what,
                "names of routes are unique; leave `name` out for `path -> pool`",
            );
        }
    }
    let mut counts: HashMap<String, usize> = HashMap::new();
    for draft in drafts.iter_mut().filter(|draft| !draft.named) {
        let base = draft.route.name.clone();
        let count = counts.entry(base.clone()).or_insert(0);
        loop {
            *count += 1;
            draft.route.name = if *count == 1 {
                base.clone()
            } else {
                format!("{base} #{count}")
            };
            if taken.insert(draft.route.name.clone()) {
                break;
            }
        }
    }
}
