//! What do the services need that is looked at?
//!
//! Reads `checks:`.

use std::net::{IpAddr, SocketAddr};

use super::check_name;
use super::secure::worker_tls;
use crate::config::dependency::DEPENDENCIES_MAX;
use crate::config::model::{Dependency, DependencyKind};
use crate::config::problem::quoted;
use crate::config::read::{Field, Reader, Zero};
use crate::config::tree::Value;

/// The kinds, as written.
const KINDS: [&str; 4] = ["tcp", "postgres", "amqp", "vault"];
/// The other keys of a check.
const KEYS: [&str; 7] = [
    "address",
    "tls",
    "interval",
    "interval_failing",
    "timeout",
    "rise",
    "fall",
];
/// Longest name of a role or a database, bytes (`NAMEDATALEN` of PostgreSQL less its end).
const NAME_BYTES_MAX: usize = 63;

/// A map of checks by name.
pub(super) fn dependencies(reader: &mut Reader, field: &Field<'_>) -> Option<Vec<Dependency>> {
    let mut all = Vec::new();
    for (at, (key, field)) in reader
        .named(field, "a map of checks by name")
        .into_iter()
        .enumerate()
    {
        if at == DEPENDENCIES_MAX {
            reader.error(
                key.place,
                format!("more than {DEPENDENCIES_MAX} checks"),
                "look after the rest with a monitoring of its own",
            );
            break;
        }
        if check_name(reader, "check", &key.text, key.place) {
            all.extend(dependency(&key.text, &field, reader));
        }
    }
    Some(all)
}

/// `off`, the keys of a check, or an address alone where the name says what is there.
fn dependency(name: &str, field: &Field<'_>, reader: &mut Reader) -> Option<Dependency> {
    let own = kind_of(name);
    if let Value::Text(_) = &field.node.value {
        if is_off(field) {
            return None;
        }
        let Some(kind) = own else {
            reader.error(
                field.node.place,
                format!("`{}` does not say what is there", field.path),
                format!(
                    "write `{name}: {{ postgres: \"127.0.0.1:5432\" }}`, or another of `tcp`, `amqp` and `vault`"
                ),
            );
            return None;
        };
        let address = address(field, &kind, reader)?;
        return Some(Dependency::new(name, kind, address));
    }
    let mut keys = reader.keys(field, "`{ postgres: \"127.0.0.1:5432\" }` or `off`")?;
    let mut named = Vec::new();
    for word in KINDS {
        if let (Some(field), Some(kind)) = (keys.take(word), kind_of(word)) {
            named.push((kind, field));
        }
    }
    let bare = keys.take("address");
    let unchecked = named.first().map(|(_, field)| field).or(bare.as_ref());
    let unchecked = unchecked.is_some_and(is_off);
    let target = match (named.pop(), bare, own) {
        _ if unchecked => None,
        (Some((kind, field)), None, _) if named.is_empty() => target(kind, &field, reader),
        (None, Some(field), Some(kind)) => {
            address(&field, &kind, reader).map(|address| (kind, address))
        }
        // An unknown key is told below, and is what was meant.
        (None, None, _) if has_unknown_key(field) => None,
        _ => {
            reader.error(
                field.key,
                format!(
                    "`{}` needs one of `postgres`, `amqp`, `vault` and `tcp`",
                    field.path
                ),
                format!("write `{name}: {{ postgres: \"127.0.0.1:5432\" }}`"),
            );
            None
        }
    };
    let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
    let (kind, address) = target.clone().unwrap_or((DependencyKind::Tcp, unspecified));
    let mut read = Dependency::new(name, kind, address);
    keys.set(reader, "tls", &mut read.tls, |r, f| worker_tls(f, r));
    keys.set(reader, "interval", &mut read.interval, |r, f| {
        r.duration(f, Zero::Senseless)
    });
    keys.set(
        reader,
        "interval_failing",
        &mut read.interval_failing,
        |r, f| r.duration(f, Zero::Senseless),
    );
    keys.set(reader, "timeout", &mut read.timeout, |r, f| {
        r.duration(f, Zero::Senseless)
    });
    keys.set(reader, "rise", &mut read.rise, |r, f| {
        r.number(f, 1..=1_000)
    });
    keys.set(reader, "fall", &mut read.fall, |r, f| {
        r.number(f, 1..=1_000)
    });
    keys.done(reader);
    target.map(|_| read)
}

/// The kind of this name, with its defaults.
fn kind_of(word: &str) -> Option<DependencyKind> {
    match word {
        "tcp" => Some(DependencyKind::Tcp),
        "postgres" => Some(DependencyKind::Postgres {
            user: "postgres".to_owned(),
            database: "postgres".to_owned(),
        }),
        "amqp" => Some(DependencyKind::Amqp),
        "vault" => Some(DependencyKind::Vault),
        _ => None,
    }
}

fn is_off(field: &Field<'_>) -> bool {
    matches!(&field.node.value, Value::Text(text) if text.trim() == "off")
}

fn has_unknown_key(field: &Field<'_>) -> bool {
    let known = |name: &str| KINDS.contains(&name) || KEYS.contains(&name);
    match &field.node.value {
        Value::Map(entries) => entries.iter().any(|(key, _)| !known(&key.text)),
        _ => false,
    }
}

/// An address alone, or a map with it and what else this kind knows.
fn target(
    mut kind: DependencyKind,
    field: &Field<'_>,
    reader: &mut Reader,
) -> Option<(DependencyKind, SocketAddr)> {
    if !matches!(&field.node.value, Value::Map(_)) {
        return address(field, &kind, reader).map(|address| (kind, address));
    }
    let mut keys = reader.keys(field, "an address")?;
    let at = keys.need(reader, "address").filter(|field| !is_off(field));
    let at = at.and_then(|field| address(&field, &kind, reader));
    if let DependencyKind::Postgres { user, database } = &mut kind {
        keys.set(reader, "user", user, sql_name);
        keys.set(reader, "database", database, sql_name);
    }
    keys.done(reader);
    at.map(|address| (kind, address))
}

/// An address with its port; without one, the kind's usual port.
fn address(field: &Field<'_>, kind: &DependencyKind, reader: &mut Reader) -> Option<SocketAddr> {
    let port = match kind {
        DependencyKind::Tcp => None,
        DependencyKind::Postgres { .. } => Some(5432),
        DependencyKind::Amqp => Some(5672),
        DependencyKind::Vault => Some(8200),
    };
    let example = port.unwrap_or(6379);
    let text = reader.text(field, "an address such as `127.0.0.1:5432`")?;
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let hint = match (text.parse::<SocketAddr>(), bare.parse::<IpAddr>(), port) {
        (Ok(address), ..) if address.port() > 0 => return Some(address),
        (Ok(_), ..) => "ports are 1 to 65535".to_owned(),
        (_, Ok(host), Some(port)) => return Some(SocketAddr::new(host, port)),
        (_, Ok(_), None) => format!("add the port: `{text}:{example}`"),
        _ if text.contains("://") => format!(
            "write the address alone, `127.0.0.1:{example}`; nobody logs in, and TLS is `tls: on`"
        ),
        _ if text.starts_with("localhost") => {
            format!("write `127.0.0.1:{example}`; names are not resolved")
        }
        _ => format!(
            "write an IPv4 or IPv6 address with its port, `10.0.0.2:{example}` or `[fd00::1]:{example}`; names are not resolved"
        ),
    };
    let what = format!("`{}`: {} is not an address", field.path, quoted(text));
    reader.error(field.node.place, what, hint);
    None
}

/// The name of a role or a database.
fn sql_name(reader: &mut Reader, field: &Field<'_>) -> Option<String> {
    let text = reader.text(field, "a name")?;
    if (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control) {
        return Some(text.to_owned());
    }
    reader.error(
        field.node.place,
        format!("`{}`: {} is not a name", field.path, quoted(text)),
        format!("1 to {NAME_BYTES_MAX} bytes, as PostgreSQL has it"),
    );
    None
}
