//! Where do connections come in?
//!
//! Reads `listeners:`. What follows from several listeners together (which one is redirected
//! where) is settled here too; whether their ports collide is asked in `ports`.

use super::binds::binds;
use super::check_name;
use super::limits::read_limits;
use super::networks::networks;
use super::rate::rate;
use super::secure::tls;
use super::trusted::trusted;
use crate::config::model::{
    Listener, ListenerLimits, Place, Protocol, Rate, RateKey, RedirectHttps,
};
use crate::config::read::{Field, Reader};
use crate::config::tree::Value;

/// A listener with its place; `listener` is `None` after an error.
pub(super) struct Draft {
    pub name: String,
    pub listener: Option<Listener>,
}

/// Most listeners; ids have 16 bits and nobody needs more.
const LISTENERS_MAX: usize = 200;

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
    let mut proxy_protocol = None;
    keys.set(reader, "proxy_protocol", &mut proxy_protocol, |r, f| {
        trusted(f, r)
    });
    let (mut forwarded, mut forwarded_header) = (None, false);
    keys.set(reader, "forwarded", &mut forwarded, |r, f| trusted(f, r));
    keys.set(reader, "forwarded_header", &mut forwarded_header, |r, f| {
        r.word(f, &[("off", false), ("on", true)])
    });
    let mut limits = ListenerLimits::default();
    if let Some(field) = keys.take("limits") {
        read_limits(&field, &mut limits, reader);
    }
    let (allow, deny) = (keys.take("allow"), keys.take("deny"));
    let networks = networks(allow.as_ref(), deny.as_ref(), reader);
    let mut paced = None;
    keys.set(reader, "rate", &mut paced, |r, f| rate(f, r));
    keys.done(reader);
    if protocol == Protocol::Grpc && tls.is_none() {
        reader.warning(
            field.key,
            format!("listener `{name}` takes gRPC without TLS"),
            "add `tls: { certificates: [...] }`; agents in the field expect TLS on this port",
        );
    }
    let asks = tls
        .as_ref()
        .is_some_and(|tls| tls.client_certificates.is_some());
    if paced
        .as_ref()
        .is_some_and(|rate: &Rate| rate.per == RateKey::Certificate)
        && !asks
    {
        reader.warning(
            field.key,
            format!("listener `{name}` has a rate per certificate, but asks clients for none"),
            "add `tls: { client_certificates: { mode: optional, ca: FILE } }`; until then it counts by address",
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
        proxy_protocol,
        forwarded,
        forwarded_header,
        limits,
        networks,
        rate: paced,
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
