//! Which request goes where?
//!
//! Reads `routes:` and resolves every name in it. Tells routes that no request can ever reach.
//! Whether two routes are equal is asked in `same`.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::{listeners, paths, pools, templates};
use crate::config::model::{
    Action, Forward, HeaderMatch, HostMatch, ListenerId, PathMatch, Place, PoolId, Protocol,
    RedirectHttps, Route, Template, WorkerProtocol,
};
use crate::config::problem::quoted;
use crate::config::read::{Field, Keys, Reader, Zero, did_you_mean};
use crate::config::tree::Value;
use crate::config::units::Wrong;

/// What routes may name.
pub(super) struct Known<'k> {
    pub listeners: &'k [listeners::Draft],
    pub pools: &'k [pools::Draft],
    pub deny_segments: &'k [String],
}

/// A route, and whether the file gives its name.
pub(super) struct Draft {
    pub route: Route,
    named: bool,
}

/// Names to positions, made once.
struct Names<'k> {
    known: &'k Known<'k>,
    listeners: HashMap<&'k str, usize>,
    pools: HashMap<&'k str, usize>,
    /// What a route without `on` serves.
    everywhere: Vec<ListenerId>,
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
    let names = Names {
        known,
        listeners: known
            .listeners
            .iter()
            .enumerate()
            .map(|(at, draft)| (draft.name.as_str(), at))
            .collect(),
        pools: known
            .pools
            .iter()
            .enumerate()
            .map(|(at, draft)| (draft.name.as_str(), at))
            .collect(),
        everywhere: everywhere(known.listeners),
    };
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

fn everywhere(listeners: &[listeners::Draft]) -> Vec<ListenerId> {
    ids(listeners, |listener| {
        listener.protocol == Protocol::Http
            && (listener.tls.is_some() || listener.redirect_https == RedirectHttps::None)
    })
}

fn ids(
    drafts: &[listeners::Draft],
    wanted: impl Fn(&crate::config::model::Listener) -> bool,
) -> Vec<ListenerId> {
    let found = drafts
        .iter()
        .enumerate()
        .filter(|(_, draft)| draft.listener.as_ref().is_some_and(&wanted));
    found.map(|(at, _)| listener_id(at)).collect()
}

fn listener_id(at: usize) -> ListenerId {
    ListenerId(u16::try_from(at).expect("listeners are fewer than LISTENERS_MAX"))
}

fn route(field: &Field<'_>, names: &Names<'_>, reader: &mut Reader) -> Option<Draft> {
    let mut keys = reader.keys(field, "the keys of a route")?;
    let path = path(&mut keys, reader);
    let on_field = keys.take("on");
    let mut host = HostMatch::Any;
    keys.set(reader, "host", &mut host, |r, f| {
        let text = r.text(f, "a host such as `example.com`")?;
        wrong(r, f, paths::host(text))
    });
    let mut methods = Vec::new();
    keys.set(reader, "method", &mut methods, |r, f| {
        Some(read_methods(f, r))
    });
    let mut headers = Vec::new();
    keys.set(reader, "header", &mut headers, |r, f| {
        Some(read_headers(f, r))
    });
    let action = action(&mut keys, field, names, reader);
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
    grpc_needs_h2c(&on, &action, action_place, names, reader);
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
            place,
        },
        named,
    })
}

fn wrong<T>(reader: &mut Reader, field: &Field<'_>, result: Result<T, Wrong>) -> Option<T> {
    result
        .map_err(|(what, hint)| reader.error(field.node.place, what, hint))
        .ok()
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
    wrong(reader, &field, paths::path(text)).map(|path| (kind(path), field.node.place))
}

fn read_methods(field: &Field<'_>, reader: &mut Reader) -> Vec<String> {
    let items = reader.list(field);
    if items.is_empty() && matches!(&field.node.value, Value::List(_)) {
        reader.error(
            field.key,
            "`method` is empty, so nothing matches",
            "leave it out for every method",
        );
    }
    let mut methods: Vec<String> = items
        .iter()
        .filter_map(|item| pools::token(item, reader))
        .map(str::to_ascii_uppercase)
        .collect();
    if methods
        .iter()
        .any(|method| method == "*" || method == "ANY")
    {
        reader.error(
            field.key,
            "`method` has no wildcard",
            "leave it out for every method",
        );
    }
    methods.sort();
    methods.dedup();
    methods
}

fn read_headers(field: &Field<'_>, reader: &mut Reader) -> Vec<HeaderMatch> {
    let mut headers: Vec<HeaderMatch> = Vec::new();
    for (key, field) in reader.named(field, "a map such as `{ X-Fleet: \"*\" }`") {
        let Some(value) = reader.text(&field, "a value, or \"*\" for any") else {
            continue;
        };
        let name = key.text.to_ascii_lowercase();
        if !pools::is_token(&name) {
            reader.error(
                key.place,
                format!("{} is not the name of a field", quoted(&key.text)),
                "letters, digits and `-`",
            );
        } else if headers.iter().any(|header| header.name == name) {
            reader.error(
                key.place,
                format!("the field {} stands here a second time", quoted(&key.text)),
                "upper and lower case mean the same field",
            );
        } else if value.is_empty() || !value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            reader.error(
                field.node.place,
                format!("{} cannot stand in a field", quoted(value)),
                "visible ASCII and blanks, or \"*\" for any value",
            );
        } else {
            headers.push(HeaderMatch {
                name,
                value: (value != "*").then(|| value.to_owned()),
            });
        }
    }
    headers.sort();
    headers
}

/// One of `to` and `deny`, with the place of it.
fn action(
    keys: &mut Keys<'_>,
    route: &Field<'_>,
    names: &Names<'_>,
    reader: &mut Reader,
) -> Option<(Action, Place)> {
    let to = keys.take("to");
    let deny = keys.take("deny");
    let mut strip_prefix = false;
    let strip = keys.take("strip_prefix");
    let set = keys.take("set_headers");
    let timeout = keys.take("response_timeout");
    match (to, deny) {
        (Some(to), None) => {
            let place = to.node.place;
            if let Some(field) = &strip {
                strip_prefix = reader.flag(field).unwrap_or(false);
            }
            let set_headers = set.map_or_else(Vec::new, |field| read_set_headers(&field, reader));
            let response_timeout: Option<Duration> =
                timeout.and_then(|field| reader.duration(&field, Zero::Senseless));
            let pool = pool(&to, names, reader)?;
            Some((
                Action::Forward(Forward {
                    pool,
                    strip_prefix,
                    set_headers,
                    response_timeout,
                }),
                place,
            ))
        }
        (None, Some(deny)) => {
            for field in [strip, set, timeout].into_iter().flatten() {
                reader.error(
                    field.key,
                    format!("`{}` has no effect on a route that denies", field.path),
                    "remove it",
                );
            }
            let status = reader.number(&deny, 400..=599)?;
            Some((Action::Deny(status), deny.node.place))
        }
        (Some(_), Some(deny)) => {
            reader.error(
                deny.key,
                "a route has one of `to` and `deny`",
                "remove one of them",
            );
            None
        }
        (None, None) => {
            reader.error(
                route.key,
                "the route leads nowhere",
                "add `to: POOL` or `deny: 403`",
            );
            None
        }
    }
}

fn pool(field: &Field<'_>, names: &Names<'_>, reader: &mut Reader) -> Option<PoolId> {
    let name = reader.text(field, "the name of a pool")?;
    match names.pools.get(name) {
        Some(&at) => u16::try_from(at).ok().map(PoolId),
        None => {
            let known: Vec<&str> = names
                .known
                .pools
                .iter()
                .map(|draft| draft.name.as_str())
                .collect();
            reader.error(
                field.node.place,
                format!("there is no pool {}", quoted(name)),
                did_you_mean(name, &known),
            );
            None
        }
    }
}

fn read_set_headers(field: &Field<'_>, reader: &mut Reader) -> Vec<(String, Template)> {
    let mut set: Vec<(String, Template)> = Vec::new();
    for (key, field) in reader.named(field, "a map such as `{ X-FQDN: \"{host}\" }`") {
        let name = key.text.to_ascii_lowercase();
        let named = if pools::is_token(&name) {
            templates::settable(&name)
        } else {
            Err((
                format!("{} is not the name of a field", quoted(&key.text)),
                "letters, digits and `-`".to_owned(),
            ))
        };
        if let Err((what, hint)) = named {
            reader.error(key.place, what, hint);
            continue;
        }
        if set.iter().any(|(other, _)| *other == name) {
            reader.error(
                key.place,
                format!("the field {} is set a second time", quoted(&key.text)),
                "upper and lower case mean the same field",
            );
            continue;
        }
        let Some(text) = reader.text(&field, "a value") else {
            continue;
        };
        if let Some(template) = wrong(reader, &field, templates::template(text)) {
            set.push((name, template));
        }
    }
    set
}

/// The listeners a route serves, in order, each once.
fn on(
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
            reader.error(
                item.node.place,
                format!("there is no listener {}", quoted(name)),
                did_you_mean(name, &known),
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
fn denied(path: &PathMatch, place: Place, deny: &[String], reader: &mut Reader) {
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

fn grpc_needs_h2c(
    on: &[ListenerId],
    action: &Action,
    place: Place,
    names: &Names<'_>,
    reader: &mut Reader,
) {
    let Action::Forward(forward) = action else {
        return;
    };
    let Some(pool) = names
        .known
        .pools
        .get(usize::from(forward.pool.0))
        .and_then(|draft| draft.pool.as_ref())
    else {
        return;
    };
    let grpc = on
        .iter()
        .filter_map(|id| names.known.listeners.get(usize::from(id.0)))
        .find(|draft| {
            draft
                .listener
                .as_ref()
                .is_some_and(|listener| listener.protocol == Protocol::Grpc)
        });
    if let (Some(listener), WorkerProtocol::Http1) = (grpc, pool.protocol) {
        let what = format!(
            "listener `{}` takes gRPC, but pool `{}` speaks HTTP/1.1",
            listener.name, pool.name
        );
        reader.error(
            place,
            what,
            format!("add `protocol: h2c` to pool `{}`", pool.name),
        );
    }
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
