//! What does a route do?
//!
//! Reads `to:` with what belongs to it, or one of `deny:`, `redirect:`, `respond:` and `static:`.

use std::time::Duration;

use super::answers;
use super::changes::{self, over, take_request};
use super::folders;
use super::mirror;
use super::names::Names;
use super::reach::denied;
use super::rewrites;
use super::standby;
use crate::config::model::{
    Action, Changes, Forward, ListenerId, PathMatch, Place, PoolId, Protocol, Rewrite,
    WorkerProtocol,
};
use crate::config::problem::quoted;
use crate::config::read::{Field, Keys, Reader, Zero};
use crate::config::tree::Value;

/// What a route can do.
const CHOICES: &str = "`to`, `deny`, `redirect`, `respond` and `static`";

/// One of `to`, `deny`, `redirect`, `respond` and `static`, with the place of it. `limits` are the keys that a route which denies
/// has no use for.
pub(super) fn action(
    keys: &mut Keys<'_>,
    deny: Option<Field<'_>>,
    limits: &[Option<Field<'_>>],
    route: &Field<'_>,
    names: &Names<'_>,
    reader: &mut Reader,
) -> Option<(Action, Place)> {
    let (to, redirect, respond) = (keys.take("to"), keys.take("redirect"), keys.take("respond"));
    let files = keys.take("static");
    let strip = keys.take("strip_prefix");
    let rewrite_field = keys.take("rewrite");
    let given = take_request(keys);
    let timeout = keys.take("response_timeout");
    let backup = keys.take("backup");
    let buffer = keys.take("buffer_request");
    let copies = keys.take("mirror");
    let chosen: Vec<_> = [&to, &deny, &redirect, &respond, &files]
        .into_iter()
        .flatten()
        .collect();
    match chosen[..] {
        [] => {
            reader.error(
                route.key,
                "the route leads nowhere",
                "add `to: POOL`, `redirect: URL`, `respond: 204` or `deny: 403`",
            );
            return None;
        }
        [_] => {}
        [.., last] => {
            reader.error(
                last.key,
                format!("a route has one of {CHOICES}"),
                "remove all but one of them",
            );
            return None;
        }
    }
    if to.is_none() {
        let [set, add, remove] = &given;
        let forwarding = [
            &strip,
            &rewrite_field,
            set,
            add,
            remove,
            &timeout,
            &backup,
            &buffer,
            &copies,
        ];
        let without_use: &[_] = if deny.is_some() { limits } else { &[] };
        for field in forwarding.into_iter().chain(without_use).flatten() {
            let does = if deny.is_some() {
                "denies"
            } else {
                "answers by itself"
            };
            reader.error(
                field.key,
                format!("`{}` has no effect on a route that {does}", field.path),
                "remove it",
            );
        }
    }
    if let Some(to) = to {
        let place = to.node.place;
        let rewrite = rewrites::rewrite(rewrite_field.as_ref(), strip.as_ref(), reader);
        if let (Some(Rewrite::Prefix(new)), Some(field)) = (&rewrite, &rewrite_field) {
            let path = PathMatch::Prefix(if new.is_empty() { "/" } else { new }.to_owned());
            denied(&path, field.node.place, names.known.deny_segments, reader);
        }
        let own: Changes = changes::request(&given, reader);
        let changes = over(own, names.known.request_changes);
        let response_timeout: Option<Duration> =
            timeout.and_then(|field| reader.duration(&field, Zero::Senseless));
        let own = backup.and_then(|field| standby::backup(&field, reader));
        let pool = pool(&to, names, reader)?;
        let forward = Forward {
            pool,
            rewrite,
            changes,
            response_timeout,
            backups: standby::chain(pool, own.as_ref(), names.known.pools, reader),
            buffer_request: buffer.and_then(|field| buffered(&field, reader)),
            mirror: copies.and_then(|field| mirror::mirror(&field, pool, names, reader)),
        };
        return Some((Action::Forward(forward), place));
    }
    if let Some(field) = redirect {
        let redirect = answers::redirect(&field, reader)?;
        return Some((Action::Redirect(redirect), field.node.place));
    }
    if let Some(field) = respond {
        let fixed = answers::respond(&field, reader)?;
        return Some((Action::Respond(fixed), field.node.place));
    }
    if let Some(field) = files {
        let folder = folders::folder(&field, reader)?;
        return Some((Action::Static(folder), field.node.place));
    }
    let deny = deny?;
    let status = reader.number(&deny, 400..=599)?;
    Some((Action::Deny(status), deny.node.place))
}

/// `off`, or so many bytes.
fn buffered(field: &Field<'_>, reader: &mut Reader) -> Option<usize> {
    match &field.node.value {
        Value::Text(text) if text.trim() == "off" => None,
        _ => reader.bytes(field, 1..=64 << 20),
    }
}

/// The pool of this name.
pub(super) fn pool(field: &Field<'_>, names: &Names<'_>, reader: &mut Reader) -> Option<PoolId> {
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
            let hint = reader.suggest(name, &known);
            reader.error(
                field.node.place,
                format!("there is no pool {}", quoted(name)),
                hint,
            );
            None
        }
    }
}

/// gRPC needs HTTP/2 on both sides, and knows neither redirects nor files.
pub(super) fn fits_grpc(
    on: &[ListenerId],
    action: &Action,
    place: Place,
    names: &Names<'_>,
    reader: &mut Reader,
) {
    let grpc = on
        .iter()
        .filter_map(|id| names.known.listeners.get(usize::from(id.0)))
        .find(|draft| {
            draft
                .listener
                .as_ref()
                .is_some_and(|listener| listener.protocol == Protocol::Grpc)
        });
    let forward = match action {
        Action::Forward(forward) => forward,
        Action::Deny(_) => return,
        Action::Redirect(_) | Action::Respond(_) | Action::Static(_) => {
            if let Some(listener) = grpc {
                reader.error(
                    place,
                    format!(
                        "listener `{}` takes gRPC, whose clients would not understand this answer",
                        listener.name
                    ),
                    "write `deny: 503`, which they read as UNAVAILABLE, or leave the listener out of `on`",
                );
            }
            return;
        }
    };
    let Some(pool) = names
        .known
        .pools
        .get(usize::from(forward.pool.0))
        .and_then(|draft| draft.pool.as_ref())
    else {
        return;
    };
    if let (Some(listener), WorkerProtocol::Http1) = (grpc, pool.protocol) {
        let what = format!(
            "listener `{}` takes gRPC, but pool `{}` speaks HTTP/1.1",
            listener.name, pool.name
        );
        reader.warning(
            place,
            what,
            format!("add `protocol: h2c` to pool `{}`", pool.name),
        );
    }
}
