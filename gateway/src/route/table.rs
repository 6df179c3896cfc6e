//! Which route serves a request?
//!
//! Built once from the configuration. The most specific route wins, never the order of the file:
//! host first (exact, then the longer wildcard, then any), then path (exact, then the longer
//! prefix), then methods given, then the number of field conditions, then those with a value. Where
//! conditions fail, the next best is tried.
//!
//! A look-up hashes the path once per depth that some route has, from the longest down; it never
//! walks a list of routes that cannot match.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::config::model::{Config, HeaderMatch, HostMatch, ListenerId, PathMatch, Route, RouteId};

/// What is known of a request.
pub struct Query<'q> {
    /// The host as [`super::host`] reads it.
    pub host: &'q str,
    /// The path as [`super::path::NormalPath::matched`] gives it.
    pub path: &'q str,
    /// The method; methods are case-sensitive (RFC 9110 section 9.1).
    pub method: &'q str,
    /// Is there a field of this lower-case name, with this value if one is given? It is asked only
    /// where a route has such a condition.
    pub header: &'q dyn Fn(&str, Option<&str>) -> bool,
}

/// Every route, in the order that look-ups need.
#[derive(Debug, Default)]
pub struct RouteTable {
    listeners: Vec<Hosts>,
}

/// The routes of a listener.
#[derive(Debug, Default)]
struct Hosts {
    exact: HashMap<Box<str>, Paths>,
    /// By suffix, without `*.`.
    wildcard: HashMap<Box<str>, Paths>,
    /// How many labels the suffixes have.
    labels: Depths,
    any: Paths,
}

/// The routes of a host.
#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<Box<str>, Vec<Choice>>,
    prefix: HashMap<Box<str>, Vec<Choice>>,
    /// How many segments the prefixes have.
    segments: Depths,
}

/// The routes of a path differ in conditions; they stand from the most to the least specific.
#[derive(Debug)]
struct Choice {
    methods: Vec<Box<str>>,
    headers: Vec<HeaderMatch>,
    route: RouteId,
}

/// A set of small numbers; those from 63 on share a place.
#[derive(Clone, Copy, Debug, Default)]
struct Depths {
    bits: u64,
    max: usize,
}

impl Depths {
    fn add(&mut self, depth: usize) {
        self.bits |= 1 << depth.min(63);
        self.max = self.max.max(depth);
    }

    fn has(self, depth: usize) -> bool {
        depth <= self.max && self.bits & (1 << depth.min(63)) != 0
    }
}

impl RouteTable {
    /// Sorts the routes of a configuration.
    pub fn build(config: &Config) -> RouteTable {
        let mut listeners: Vec<Hosts> = config.listeners.iter().map(|_| Hosts::default()).collect();
        for (at, route) in config.routes.iter().enumerate() {
            let id =
                RouteId(u32::try_from(at).expect("a configuration has at most a million values"));
            for on in &route.on {
                if let Some(hosts) = listeners.get_mut(usize::from(on.0)) {
                    hosts.add(route, id);
                }
            }
        }
        listeners.iter_mut().for_each(Hosts::sort);
        RouteTable { listeners }
    }

    /// The route of a request that came in on a listener.
    pub fn find(&self, on: ListenerId, query: &Query<'_>) -> Option<RouteId> {
        let hosts = self.listeners.get(usize::from(on.0))?;
        hosts.find(query)
    }
}

impl Hosts {
    fn add(&mut self, route: &Route, id: RouteId) {
        let paths = match &route.host {
            HostMatch::Any => &mut self.any,
            HostMatch::Exact(name) => self.exact.entry(name.as_str().into()).or_default(),
            HostMatch::Wildcard(suffix) => {
                self.labels.add(labels(suffix));
                self.wildcard.entry(suffix.as_str().into()).or_default()
            }
        };
        let choice = Choice {
            methods: route
                .methods
                .iter()
                .map(|method| method.as_str().into())
                .collect(),
            headers: route.headers.clone(),
            route: id,
        };
        let (map, path) = match &route.path {
            PathMatch::Exact(path) => (&mut paths.exact, path),
            PathMatch::Prefix(path) => {
                paths.segments.add(segments(path));
                (&mut paths.prefix, path)
            }
        };
        map.entry(path.as_str().into()).or_default().push(choice);
    }

    fn sort(&mut self) {
        let named = self.exact.values_mut().chain(self.wildcard.values_mut());
        for paths in named.chain(std::iter::once(&mut self.any)) {
            for choices in paths.exact.values_mut().chain(paths.prefix.values_mut()) {
                choices.sort_by_key(|choice| Reverse(choice.rank()));
            }
        }
    }

    fn find(&self, query: &Query<'_>) -> Option<RouteId> {
        if let Some(route) = self
            .exact
            .get(query.host)
            .and_then(|paths| paths.find(query))
        {
            return Some(route);
        }
        self.find_wildcard(query).or_else(|| self.any.find(query))
    }

    /// From the longest suffix to the shortest.
    fn find_wildcard(&self, query: &Query<'_>) -> Option<RouteId> {
        if self.wildcard.is_empty() {
            return None;
        }
        let mut left = labels(query.host);
        let mut suffix = query.host;
        while let Some((_, shorter)) = suffix.split_once('.') {
            suffix = shorter;
            left -= 1;
            let paths = if self.labels.has(left) {
                self.wildcard.get(suffix)
            } else {
                None
            };
            if let Some(route) = paths.and_then(|paths| paths.find(query)) {
                return Some(route);
            }
        }
        None
    }
}

fn labels(name: &str) -> usize {
    memchr::memchr_iter(b'.', name.as_bytes()).count() + 1
}

/// `/` has none, `/a/b` has two.
fn segments(path: &str) -> usize {
    if path == "/" {
        0
    } else {
        memchr::memchr_iter(b'/', path.as_bytes()).count()
    }
}

impl Paths {
    fn find(&self, query: &Query<'_>) -> Option<RouteId> {
        let path = query.path;
        let path = if path.len() > 1 {
            path.strip_suffix('/').unwrap_or(path)
        } else {
            path
        };
        if let Some(route) = self
            .exact
            .get(path)
            .and_then(|choices| best(choices, query))
        {
            return Some(route);
        }
        self.find_prefix(path, query)
    }

    /// From the longest prefix that some route has to `/`.
    fn find_prefix(&self, path: &str, query: &Query<'_>) -> Option<RouteId> {
        // Where the segment after the deepest prefix begins; a path of a thousand segments costs
        // no more than the deepest route.
        let mut slashes = memchr::memchr_iter(b'/', path.as_bytes());
        let (mut prefix, mut depth) = match slashes.nth(self.segments.max) {
            Some(end) => (&path[..end], self.segments.max),
            None => (path, segments(path)),
        };
        while depth > 0 {
            let choices = if self.segments.has(depth) {
                self.prefix.get(prefix)
            } else {
                None
            };
            if let Some(route) = choices.and_then(|choices| best(choices, query)) {
                return Some(route);
            }
            prefix = prefix.rfind('/').map_or("", |end| &prefix[..end]);
            depth -= 1;
        }
        if !self.segments.has(0) || self.segments.bits == 0 {
            return None;
        }
        self.prefix
            .get("/")
            .and_then(|choices| best(choices, query))
    }
}

fn best(choices: &[Choice], query: &Query<'_>) -> Option<RouteId> {
    choices
        .iter()
        .find(|choice| choice.matches(query))
        .map(|choice| choice.route)
}

impl Choice {
    /// Of two choices for a path the greater is the more specific.
    fn rank(&self) -> (bool, usize, usize) {
        let exact = self
            .headers
            .iter()
            .filter(|header| header.value.is_some())
            .count();
        (!self.methods.is_empty(), self.headers.len(), exact)
    }

    fn matches(&self, query: &Query<'_>) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|method| **method == *query.method))
            && self
                .headers
                .iter()
                .all(|header| (query.header)(&header.name, header.value.as_deref()))
    }
}

#[cfg(test)]
mod tests;
