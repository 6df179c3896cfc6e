//! Where do connections come in?
//!
//! Reads `listeners:`. What follows from several listeners together (which one is redirected
//! where) is settled here too; whether their ports collide is asked in `ports`.

use std::net::IpAddr;

use super::{check_name, path};
use crate::config::model::{
    Bind, Certificate, Listener, ListenerLimits, Place, Protocol, RedirectHttps, Tls, TlsVersion,
    UnknownNames,
};
use crate::config::problem::quoted;
use crate::config::read::{Field, Keys, Reader, Zero};
use crate::config::tree::Value;

/// A listener with its place; `listener` is `None` after an error.
pub(super) struct Draft {
    pub name: String,
    pub listener: Option<Listener>,
}

/// Most listeners; ids have 16 bits and nobody needs more.
const LISTENERS_MAX: usize = 200;
/// Most addresses of a listener.
const BINDS_MAX: usize = 64;

/// How a listener redirects, as far as the file says.
struct Redirect {
    how: Option<(RedirectHttps, Place)>,
    port: Option<u16>,
}

pub(super) fn read(field: &Field<'_>, reader: &mut Reader) -> Vec<Draft> {
    let mut drafts = Vec::new();
    let mut redirects = Vec::new();
    for (key, field) in reader.named(field, "a map of listeners by name") {
        if drafts.len() == LISTENERS_MAX {
            reader.error(
                key.place,
                format!("more than {LISTENERS_MAX} listeners"),
                "one listener can bind several addresses",
            );
            break;
        }
        check_name(reader, "listener", &key.text, key.place);
        let read = listener(&key.text, &field, reader);
        let (listener, redirect) = read.map_or((None, None), |(listener, redirect)| {
            (Some(listener), Some(redirect))
        });
        drafts.push(Draft {
            name: key.text.clone(),
            listener,
        });
        redirects.push(redirect);
    }
    if drafts.is_empty() && matches!(&field.node.value, Value::Map(_)) {
        reader.error(
            field.key,
            "there is no listener, so no request can come in",
            "add `http: { bind: \":80\" }`",
        );
    }
    settle_redirects(&mut drafts, redirects, reader);
    drafts
}

fn listener(name: &str, field: &Field<'_>, reader: &mut Reader) -> Option<(Listener, Redirect)> {
    let mut keys = reader.keys(field, "the keys of a listener")?;
    let bind = keys.need(reader, "bind").map(|field| binds(&field, reader));
    let mut protocol = Protocol::Http;
    keys.set(reader, "protocol", &mut protocol, |r, f| {
        r.word(f, &[("http", Protocol::Http), ("grpc", Protocol::Grpc)])
    });
    let tls_field = keys.take("tls");
    let tls = match &tls_field {
        Some(field) => Some(tls(field, reader)?),
        None => None,
    };
    let mut redirect = Redirect {
        how: None,
        port: None,
    };
    let words = [
        ("default", RedirectHttps::Default),
        ("all", RedirectHttps::All),
        ("none", RedirectHttps::None),
    ];
    keys.set(reader, "redirect_https", &mut redirect.how, |r, f| {
        r.word(f, &words).map(|how| Some((how, f.key)))
    });
    keys.set(reader, "redirect_port", &mut redirect.port, |r, f| {
        r.number(f, 1..=65_535).map(Some)
    });
    let mut limits = ListenerLimits::default();
    if let Some(field) = keys.take("limits") {
        read_limits(&field, &mut limits, reader);
    }
    keys.done(reader);
    if protocol == Protocol::Grpc && tls.is_none() {
        reader.warning(
            field.key,
            format!("listener `{name}` takes gRPC without TLS"),
            "add `tls: { certificates: [...] }`; agents in the field expect TLS on this port",
        );
    }
    let bind = bind?;
    let plain_http = tls.is_none() && protocol == Protocol::Http;
    if let (Some((_, place)), false) = (redirect.how, plain_http) {
        reader.error(
            place,
            format!("listener `{name}` has nothing to redirect: only plain HTTP listeners do"),
            "remove `redirect_https`",
        );
    }
    let listener = Listener {
        name: name.to_owned(),
        bind,
        protocol,
        tls,
        redirect_https: RedirectHttps::None,
        redirect_port: 443,
        limits,
    };
    Some((listener, redirect))
}

/// A plain listener redirects by default as soon as there is something to redirect to.
fn settle_redirects(drafts: &mut [Draft], redirects: Vec<Option<Redirect>>, reader: &mut Reader) {
    let secure = drafts
        .iter()
        .filter_map(|draft| draft.listener.as_ref())
        .find(|l| l.tls.is_some() && l.protocol == Protocol::Http);
    let failed = drafts.iter().any(|draft| draft.listener.is_none());
    let secure_port = secure
        .and_then(|listener| listener.bind.first())
        .map(|bind| bind.port);
    for (draft, redirect) in drafts.iter_mut().zip(redirects) {
        let (Some(listener), Some(redirect)) = (draft.listener.as_mut(), redirect) else {
            continue;
        };
        listener.redirect_port = redirect.port.or(secure_port).unwrap_or(443);
        if listener.tls.is_some() || listener.protocol == Protocol::Grpc {
            continue;
        }
        listener.redirect_https = match (redirect.how, secure_port) {
            (Some((how, place)), None)
                if how != RedirectHttps::None && redirect.port.is_none() && !failed =>
            {
                let what = format!(
                    "listener `{}` redirects to port 443, but no listener takes HTTPS",
                    listener.name
                );
                reader.warning(place, what, "add an HTTPS listener, name its port with `redirect_port`, or write `redirect_https: none`");
                how
            }
            (Some((how, _)), _) => how,
            (None, Some(_)) => RedirectHttps::Default,
            (None, None) => RedirectHttps::None,
        };
    }
}

fn binds(field: &Field<'_>, reader: &mut Reader) -> Vec<Bind> {
    let items = reader.list(field);
    if items.is_empty() && matches!(&field.node.value, Value::List(_)) {
        reader.error(
            field.key,
            format!("`{}` is empty", field.path),
            "name an address such as \":443\"",
        );
    }
    if items.len() > BINDS_MAX {
        reader.error(
            field.key,
            format!("`{}` has more than {BINDS_MAX} addresses", field.path),
            "leave the address out to listen on all: \":443\"",
        );
    }
    items
        .iter()
        .take(BINDS_MAX)
        .filter_map(|item| bind(item, reader))
        .collect()
}

fn bind(field: &Field<'_>, reader: &mut Reader) -> Option<Bind> {
    let text = reader.text(field, "an address such as \":443\"")?;
    let place = field.node.place;
    let wrong = |reader: &mut Reader, hint: String| {
        reader.error(
            place,
            format!(
                "`{}`: {} is not an address to listen on",
                field.path,
                quoted(text)
            ),
            hint,
        );
        None
    };
    let Some((host, port)) = text.rsplit_once(':') else {
        let hint = if text.parse::<u16>().is_ok() {
            format!("write \":{text}\" for every address")
        } else {
            "write \":443\" or \"192.0.2.1:443\"".to_owned()
        };
        return wrong(reader, hint);
    };
    // Port 0 is right here: the kernel chooses, and tests live from it.
    let Some(port) = port
        .parse::<u16>()
        .ok()
        .filter(|_| port.bytes().all(|b| b.is_ascii_digit()))
    else {
        return wrong(
            reader,
            "ports are 1 to 65535, or 0 for any free one".to_owned(),
        );
    };
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = match (host, bracketed) {
        ("", _) => None,
        ("*", _) => return wrong(reader, format!("write \":{port}\" for every address")),
        ("localhost", _) => {
            return wrong(
                reader,
                format!("write \"127.0.0.1:{port}\"; names are not resolved"),
            );
        }
        (_, Some(six)) if six.parse::<std::net::Ipv6Addr>().is_ok() => six.parse::<IpAddr>().ok(),
        (four, None) if four.parse::<std::net::Ipv4Addr>().is_ok() => four.parse::<IpAddr>().ok(),
        (six, None) if six.contains(':') => {
            return wrong(
                reader,
                "write IPv6 addresses in brackets: \"[::1]:443\"".to_owned(),
            );
        }
        _ => {
            return wrong(
                reader,
                "write \":443\", \"192.0.2.1:443\" or \"[2001:db8::1]:443\"".to_owned(),
            );
        }
    };
    Some(Bind { host, port, place })
}

fn tls(field: &Field<'_>, reader: &mut Reader) -> Option<Tls> {
    let mut keys = reader.keys(field, "`{ certificates: [FILE] }`")?;
    let certificates = keys.need(reader, "certificates");
    let mut tls = Tls {
        certificates: Vec::new(),
        unknown_names: UnknownNames::DefaultCertificate,
        min_version: TlsVersion::Tls12,
    };
    let names = [
        ("default", UnknownNames::DefaultCertificate),
        ("refuse", UnknownNames::Refuse),
    ];
    keys.set(reader, "unknown_names", &mut tls.unknown_names, |r, f| {
        r.word(f, &names)
    });
    let versions = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
    keys.set(reader, "min_version", &mut tls.min_version, |r, f| {
        r.word(f, &versions)
    });
    keys.done(reader);
    let certificates = certificates?;
    let items = reader.list(&certificates);
    if items.is_empty() && matches!(&certificates.node.value, Value::List(_)) {
        reader.error(
            certificates.key,
            format!("`{}` is empty", certificates.path),
            "name at least one PEM file with a certificate and its key",
        );
        return None;
    }
    tls.certificates = items
        .iter()
        .filter_map(|item| certificate(item, reader))
        .collect();
    Some(tls)
}

/// A path, or `{ chain: , key: }`.
fn certificate(field: &Field<'_>, reader: &mut Reader) -> Option<Certificate> {
    let place = field.node.place;
    if matches!(&field.node.value, Value::Map(_)) {
        let mut keys = reader.keys(field, "`{ chain: FILE, key: FILE }`")?;
        let chain = keys
            .need(reader, "chain")
            .and_then(|field| path(reader, &field).map(|path| (path, field.node.place)));
        let key = keys
            .need(reader, "key")
            .and_then(|field| path(reader, &field));
        keys.done(reader);
        let (chain, place) = chain?;
        return Some(Certificate {
            chain,
            key: key?,
            place,
        });
    }
    let chain = path(reader, field)?;
    Some(Certificate {
        key: chain.clone(),
        chain,
        place,
    })
}

fn read_limits(field: &Field<'_>, limits: &mut ListenerLimits, reader: &mut Reader) {
    let Some(mut keys) = reader.keys(field, "the limits of a listener") else {
        return;
    };
    let millions = 1..=10_000_000;
    keys.set(
        reader,
        "connections_max",
        &mut limits.connections_max,
        |r, f| r.number(f, millions.clone()),
    );
    keys.set(
        reader,
        "connections_per_client_max",
        &mut limits.connections_per_client_max,
        |r, f| r.number(f, millions),
    );
    let mut time = |keys: &mut Keys<'_>, name, slot, zero| {
        keys.set(reader, name, slot, |r, f| r.duration(f, zero))
    };
    time(
        &mut keys,
        "handshake_timeout",
        &mut limits.handshake_timeout,
        Zero::Senseless,
    );
    time(
        &mut keys,
        "first_byte_timeout",
        &mut limits.first_byte_timeout,
        Zero::Senseless,
    );
    time(
        &mut keys,
        "head_timeout",
        &mut limits.head_timeout,
        Zero::Senseless,
    );
    time(
        &mut keys,
        "idle_timeout",
        &mut limits.idle_timeout,
        Zero::Senseless,
    );
    time(
        &mut keys,
        "body_timeout",
        &mut limits.body_timeout,
        Zero::Senseless,
    );
    time(
        &mut keys,
        "tunnel_timeout",
        &mut limits.tunnel_timeout,
        Zero::Allowed,
    );
    keys.set(
        reader,
        "head_bytes_max",
        &mut limits.head_bytes_max,
        |r, f| r.bytes(f, 1_024..=1 << 20),
    );
    keys.set(
        reader,
        "target_bytes_max",
        &mut limits.target_bytes_max,
        |r, f| r.bytes(f, 256..=1 << 20),
    );
    keys.set(reader, "fields_max", &mut limits.fields_max, |r, f| {
        r.number(f, 8..=10_000)
    });
    keys.set(
        reader,
        "body_bytes_max",
        &mut limits.body_bytes_max,
        |r, f| r.size(f, 0..=1 << 50),
    );
    keys.set(reader, "streams_max", &mut limits.streams_max, |r, f| {
        r.number(f, 1..=100_000)
    });
    keys.done(reader);
    if limits.target_bytes_max > limits.head_bytes_max {
        let what = format!(
            "`{}`: a target of {} bytes does not fit into a head of {}",
            field.path, limits.target_bytes_max, limits.head_bytes_max
        );
        reader.error(
            field.key,
            what,
            "raise `head_bytes_max` or lower `target_bytes_max`",
        );
    }
}
