//! What does a route do?
//!
//! Reads `to:` with what belongs to it, or `deny:`.

use std::time::Duration;

use super::names::Names;
use super::standby;
use super::templates;
use super::tokens::is_token;
use crate::config::model::{
    Action, Forward, ListenerId, Place, PoolId, Protocol, Template, WorkerProtocol,
};
use crate::config::problem::quoted;
use crate::config::read::{Field, Keys, Reader, Zero};

/// One of `to` and `deny`, with the place of it. `limits` are the keys that need a `to`.
pub(super) fn action(
    keys: &mut Keys<'_>,
    deny: Option<Field<'_>>,
    limits: &[Option<Field<'_>>],
    route: &Field<'_>,
    names: &Names<'_>,
    reader: &mut Reader,
) -> Option<(Action, Place)> {
    let to = keys.take("to");
    let mut strip_prefix = false;
    let strip = keys.take("strip_prefix");
    let set = keys.take("set_headers");
    let timeout = keys.take("response_timeout");
    let backup = keys.take("backup");
    match (to, deny) {
        (Some(to), None) => {
            let place = to.node.place;
            if let Some(field) = &strip {
                strip_prefix = reader.flag(field).unwrap_or(false);
            }
            let set_headers = set.map_or_else(Vec::new, |field| read_set_headers(&field, reader));
            let response_timeout: Option<Duration> =
                timeout.and_then(|field| reader.duration(&field, Zero::Senseless));
            let own = backup.and_then(|field| standby::backup(&field, reader));
            let pool = pool(&to, names, reader)?;
            Some((
                Action::Forward(Forward {
                    pool,
                    strip_prefix,
                    set_headers,
                    response_timeout,
                    backups: standby::chain(pool, own.as_ref(), names.known.pools, reader),
                    buffer_request: None,
                    mirror: None,
                }),
                place,
            ))
        }
        (None, Some(deny)) => {
            let forwarding = [strip, set, timeout, backup];
            for field in forwarding.iter().chain(limits).flatten() {
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

fn read_set_headers(field: &Field<'_>, reader: &mut Reader) -> Vec<(String, Template)> {
    let mut set: Vec<(String, Template)> = Vec::new();
    for (key, field) in reader.named(field, "a map such as `{ X-FQDN: \"{host}\" }`") {
        let name = key.text.to_ascii_lowercase();
        let named = if is_token(&name) {
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
        if let Some(template) = reader.or_tell(&field, templates::template(text)) {
            set.push((name, template));
        }
    }
    set
}

/// gRPC needs HTTP/2 on both sides.
pub(super) fn grpc_needs_h2c(
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
        reader.warning(
            place,
            what,
            format!("add `protocol: h2c` to pool `{}`", pool.name),
        );
    }
}
