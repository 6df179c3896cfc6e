//! What is changed about a head? Templates filled in for one exchange.
//!
//! Promises: an exchange without changes costs the look at one word; a value that is written has no control character.
//! Does not: decide which fields may be changed (`config` does).

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::model::{Changes, ListenerId, PathMatch, Piece, RouteId, Template};
use crate::exchange::context::Context;
use crate::exchange::origin::Origin;
use crate::http1::write;
use crate::message::Request;
use crate::plan::Plan;
use crate::route::{host, path};

/// What placeholders are filled from.
pub struct Filling<'a> {
    /// The connection.
    pub cx: &'a Context,
    /// The running snapshot.
    pub plan: &'a Plan,
    /// The request.
    pub request: &'a Request,
    /// Its id.
    pub request_id: &'a str,
    /// Its route, if one was found.
    pub route: Option<RouteId>,
    /// What a trusted hop told of it.
    pub origin: Option<&'a Origin>,
}

impl<'a> Filling<'a> {
    /// The value of a template.
    pub fn fill(&self, template: &Template) -> Vec<u8> {
        let mut value = Vec::new();
        for piece in &template.0 {
            self.put(piece, &mut value);
        }
        // Heads are read strictly, so there should be none; what is written decides where a head ends.
        for byte in &mut value {
            if byte.is_ascii_control() {
                *byte = b'?';
            }
        }
        value
    }

    /// `https` or `http`, as workers are told.
    pub fn scheme(&self) -> &[u8] {
        let told = self.origin.and_then(|origin| origin.proto.as_deref());
        let ours: &[u8] = if self.cx.tls.is_empty() {
            b"http"
        } else {
            b"https"
        };
        told.unwrap_or(ours)
    }

    fn put(&self, piece: &Piece, out: &mut Vec<u8>) {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Host => out.extend_from_slice(&self.request.authority),
            Piece::Hostname => out.extend_from_slice(self.hostname().as_bytes()),
            Piece::Client => {
                let told = self.origin.map(|origin| &origin.client_text);
                out.extend_from_slice(told.unwrap_or(&self.cx.client_text).as_bytes());
            }
            Piece::RequestId => out.extend_from_slice(self.request_id.as_bytes()),
            Piece::Method => out.extend_from_slice(self.request.method.as_str().as_bytes()),
            Piece::Path => self.with_path(|path| out.extend_from_slice(path)),
            Piece::Rest { slash } => self.with_path(|sent| {
                let rest = match self.route.map(|route| &self.plan.route(route).path) {
                    Some(PathMatch::Prefix(prefix)) => path::below(sent, prefix),
                    Some(PathMatch::Exact(_)) => b"",
                    None => sent,
                };
                if rest.is_empty() && *slash {
                    out.push(b'/');
                }
                out.extend_from_slice(rest);
            }),
            Piece::Query => {
                let target = &self.request.target;
                if let Some(at) = memchr::memchr(b'?', target) {
                    out.extend_from_slice(&target[at + 1..]);
                }
            }
            Piece::Scheme => out.extend_from_slice(self.scheme()),
            Piece::Port => match self.origin.and_then(|origin| origin.port.as_deref()) {
                Some(port) => out.extend_from_slice(port),
                None => {
                    let port = self.cx.came_to.port();
                    out.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
                }
            },
            Piece::Listener => {
                let listener: ListenerId = self.cx.listener;
                out.extend_from_slice(self.plan.listener(listener).name.as_bytes());
            }
            Piece::Route => {
                if let Some(route) = self.route {
                    out.extend_from_slice(self.plan.route(route).name.as_bytes());
                }
            }
        }
    }

    /// The host in lower case, an IPv6 address with its brackets; empty where there is none.
    pub fn hostname(&self) -> String {
        match host::parse(&self.request.authority) {
            Ok(host) if host.name.contains(':') && !host.name.starts_with('[') => {
                format!("[{}]", host.name)
            }
            Ok(host) => host.name.to_string(),
            Err(_) => String::new(),
        }
    }

    /// The path as it would be sent on.
    pub(super) fn with_path(&self, mut then: impl FnMut(&[u8])) {
        let target = &self.request.target[..];
        let end = memchr::memchr(b'?', target).unwrap_or(target.len());
        match path::normalise(&target[..end]) {
            Ok(normal) => then(normal.forward().unwrap_or(&target[..end])),
            // `*`, or a path that is refused.
            Err(_) => then(b"/"),
        }
    }
}

/// Changes of one head, filled in.
#[derive(Default)]
pub struct Made<'a> {
    /// Fields that do not pass, names in lower case.
    pub remove: Vec<&'a str>,
    /// Fields that take the place of those that came.
    pub set: Vec<(&'a str, Vec<u8>)>,
    /// Fields beside those that came.
    pub add: Vec<(&'a str, Vec<u8>)>,
}

impl<'a> Made<'a> {
    /// Fills the templates in.
    pub fn of(changes: &'a Changes, filling: &Filling<'_>) -> Made<'a> {
        let fill = |pairs: &'a [(String, Template)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(name, template)| (name.as_str(), filling.fill(template)))
                .collect()
        };
        Made {
            remove: changes.remove.iter().map(String::as_str).collect(),
            set: fill(&changes.set),
            add: fill(&changes.add),
        }
    }

    /// What is changed about the response of a route, or about one of our own without a route.
    pub fn of_response(filling: &Filling<'a>) -> Option<Box<Made<'a>>> {
        let changes = match filling.route {
            Some(route) => &filling.plan.route(route).response_changes,
            None => &filling.plan.config.response_changes,
        };
        let mut made = Made::of(changes.as_deref()?, filling);
        // RFC 6797 section 7.2: never where the client did not come by TLS.
        if filling.scheme() != b"https" {
            let strict = |name: &str| name == "strict-transport-security";
            made.set.retain(|(name, _)| !strict(name));
            made.add.retain(|(name, _)| !strict(name));
        }
        Some(Box::new(made))
    }

    /// Whether a field that came does not pass.
    pub fn takes(&self, name: &[u8]) -> bool {
        let is = |own: &str| name.eq_ignore_ascii_case(own.as_bytes());
        self.remove.iter().any(|own| is(own)) || self.set.iter().any(|(own, _)| is(own))
    }

    /// Every field that is written.
    pub fn written(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let pairs = self.set.iter().chain(&self.add);
        pairs.map(|(name, value)| (*name, &value[..]))
    }

    /// Writes them in HTTP/1.
    pub fn write_http1(&self, out: &mut BytesMut) {
        for (name, value) in self.written() {
            write::field(out, name.as_bytes(), value);
        }
    }

    /// Changes a head of HTTP/2.
    pub fn apply_http2(&self, map: &mut HeaderMap) {
        let read = |name: &str, value: &[u8]| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_bytes(value).ok()?))
        };
        for name in &self.remove {
            map.remove(*name);
        }
        for (name, value) in &self.set {
            if let Some((name, value)) = read(name, value) {
                map.insert(name, value);
            }
        }
        for (name, value) in &self.add {
            if let Some((name, value)) = read(name, value) {
                map.append(name, value);
            }
        }
    }
}
