//! What is written in place of placeholders, as far as it can be known without a connection?

use std::net::IpAddr;

use super::{Asked, Told};
use crate::config::model::{Changes, Listener, PathMatch, Piece, Redirect, Route, Template};
use crate::route::{host, path};

/// What templates are filled from.
pub(super) struct Filled<'a> {
    /// The request.
    pub asked: &'a Asked,
    /// Who connects.
    pub from: IpAddr,
    /// Where.
    pub listener: &'a Listener,
    /// Its route.
    pub route: &'a Route,
}

impl Filled<'_> {
    /// What a template becomes. What is made for each request stays as it is written.
    pub fn fill(&self, template: &Template) -> String {
        template.0.iter().map(|piece| self.word(piece)).collect()
    }

    fn word(&self, piece: &Piece) -> String {
        let request = &self.asked.request;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let told = self.asked.origin.as_deref();
        match piece {
            Piece::Text(text) => text.clone(),
            Piece::Host => text(&request.authority),
            Piece::Hostname => match host::parse(&request.authority) {
                Ok(host) if host.name.contains(':') && !host.name.starts_with('[') => {
                    format!("[{}]", host.name)
                }
                Ok(host) => host.name.to_string(),
                Err(_) => String::new(),
            },
            Piece::Client => told.map_or(self.from, |told| told.client).to_string(),
            Piece::RequestId => "{request_id}".to_owned(),
            Piece::Method => request.method.to_string(),
            Piece::Path => self.sent_path(),
            Piece::Rest { slash } => {
                let sent = self.sent_path();
                let rest = match &self.route.path {
                    PathMatch::Prefix(prefix) => text(path::below(sent.as_bytes(), prefix)),
                    PathMatch::Exact(_) => String::new(),
                };
                if rest.is_empty() && *slash {
                    "/".to_owned()
                } else {
                    rest
                }
            }
            Piece::Query => self.query().unwrap_or_default(),
            Piece::Scheme => match told.and_then(|told| told.proto.as_deref()) {
                Some(proto) => text(proto),
                None if self.asked.tls => "https".to_owned(),
                None => "http".to_owned(),
            },
            Piece::Port => match told.and_then(|told| told.port.as_deref()) {
                Some(port) => text(port),
                None => self.asked.port.to_string(),
            },
            Piece::Listener => self.listener.name.clone(),
            Piece::Route => self.route.name.clone(),
        }
    }

    /// The path as it would be sent on.
    fn sent_path(&self) -> String {
        let whole = self.asked.path();
        match path::normalise(whole.as_bytes()) {
            Ok(normal) => match normal.forward() {
                Some(path) => String::from_utf8_lossy(path).into_owned(),
                None => whole,
            },
            Err(_) => "/".to_owned(),
        }
    }

    fn query(&self) -> Option<String> {
        let target = String::from_utf8_lossy(&self.asked.request.target);
        target.split_once('?').map(|(_, query)| query.to_owned())
    }

    /// Where a redirect leads.
    pub fn location(&self, redirect: &Redirect) -> String {
        let to = self.fill(&redirect.to);
        match self.query() {
            Some(query) if redirect.keep_query => format!("{to}?{query}"),
            _ => to,
        }
    }

    /// Tells what is changed about the fields of the request.
    pub fn request(&self, told: &mut Told, changes: &Changes) {
        for line in self.changed(changes) {
            told.line("", &line);
        }
    }

    /// Tells what is changed about the fields of the response.
    pub fn response(&self, told: &mut Told) {
        let Some(changes) = self.route.response_changes.as_deref() else {
            return;
        };
        let mut lines = self.changed(changes);
        // RFC 6797 section 7.2, as where responses are sent.
        if self.word(&Piece::Scheme) != "https" {
            lines.retain(|line| !line.starts_with("strict-transport-security: "));
        }
        for (at, line) in lines.iter().enumerate() {
            told.line(if at == 0 { "comes back" } else { "" }, line);
        }
    }

    fn changed(&self, changes: &Changes) -> Vec<String> {
        let removed = changes.remove.iter();
        let removed = removed.map(|name| format!("{name}: taken out"));
        let written = changes.set.iter().chain(&changes.add);
        let written = written.map(|(name, value)| format!("{name}: {}", self.fill(value)));
        removed.chain(written).collect()
    }
}
