//! What would a reload change? Two configurations told apart, in the words of their files.
//!
//! Promises: a pool is told as changed exactly when a reload would build it anew. Pure. Does not: look into certificates'
//! files, or count what is in flight.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::restart_for;
use crate::config::model::{Bind, Config};
use crate::config::written::{Keys, Written};

/// A configuration and its words.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// As checked.
    pub config: &'a Config,
    /// As written.
    pub written: &'a Written,
}

/// What differs.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Listeners.
    pub listeners: Vec<Change>,
    /// Pools.
    pub pools: Vec<Change>,
    /// Pools that stay as they are.
    pub pools_kept: usize,
    /// Routes, by name.
    pub routes: Vec<Change>,
    /// Files of certificates.
    pub certificates: Vec<Change>,
    /// The other keys.
    pub keys: Vec<Key>,
    /// Keys that change and are read at start only.
    pub restart: Vec<&'static str>,
}

/// What becomes of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another.
    Changed,
}

/// A thing that differs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub what: What,
    /// The keys that differ; empty where it is new or gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Key>,
    /// Addresses that are listened on from now on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub opens: Vec<String>,
    /// Addresses that are not any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub closes: Vec<String>,
}

/// A key that differs; none on a side where it is not written.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    /// The key.
    pub key: String,
    /// What was written.
    pub before: Option<String>,
    /// What is written.
    pub after: Option<String>,
}

impl Diff {
    /// What differs between the two.
    pub fn of(before: Side<'_>, after: Side<'_>) -> Diff {
        Diff {
            listeners: listeners(before, after),
            pools: pools(before, after),
            pools_kept: after
                .config
                .pools
                .iter()
                .filter(|pool| before.config.pools.contains(pool))
                .count(),
            routes: routes(before, after),
            certificates: certificates(before.config, after.config),
            keys: keys(&before.written.top, &after.written.top),
            restart: restart_for(after.config, before.config),
        }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty()
            && self.pools.is_empty()
            && self.routes.is_empty()
            && self.certificates.is_empty()
            && self.keys.is_empty()
    }
}

impl Change {
    fn new(name: &str, what: What) -> Change {
        Change {
            name: name.to_owned(),
            what,
            keys: Vec::new(),
            opens: Vec::new(),
            closes: Vec::new(),
        }
    }
}

fn keys(before: &Keys, after: &Keys) -> Vec<Key> {
    let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    all.into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| Key {
            key: key.clone(),
            before: before.get(key).cloned(),
            after: after.get(key).cloned(),
        })
        .collect()
}

fn listeners(before: Side<'_>, after: Side<'_>) -> Vec<Change> {
    // One without addresses was taken away by a reload before.
    let binds = |config: &Config| -> BTreeMap<String, Vec<Bind>> {
        let open = config.listeners.iter().filter(|it| !it.bind.is_empty());
        open.map(|it| (it.name.clone(), it.bind.clone())).collect()
    };
    let (old, new) = (binds(before.config), binds(after.config));
    let none = Keys::new();
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        let what = match (old.contains_key(name), new.contains_key(name)) {
            (true, true) => What::Changed,
            (true, false) => What::Removed,
            (false, _) => What::Added,
        };
        let mut change = Change::new(name, what);
        if what == What::Changed {
            let of = |side: Side<'_>| side.written.listeners.get(name).cloned();
            change.keys = keys(
                of(before).as_ref().unwrap_or(&none),
                of(after).as_ref().unwrap_or(&none),
            );
        }
        let empty = Vec::new();
        let (was, is) = (
            old.get(name).unwrap_or(&empty),
            new.get(name).unwrap_or(&empty),
        );
        change.opens = missing(is, was);
        change.closes = missing(was, is);
        if what != What::Changed || !change.keys.is_empty() {
            changes.push(change);
        }
    }
    changes
}

/// Those of `these` that are not among `those`.
fn missing(these: &[Bind], those: &[Bind]) -> Vec<String> {
    let key = |bind: &Bind| (bind.host, bind.port);
    these
        .iter()
        .filter(|bind| !those.iter().any(|other| key(other) == key(bind)))
        .map(|bind| match bind.host {
            Some(host) => std::net::SocketAddr::new(host, bind.port).to_string(),
            None => format!(":{}", bind.port),
        })
        .collect()
}

fn pools(before: Side<'_>, after: Side<'_>) -> Vec<Change> {
    let none = Keys::new();
    let mut changes = Vec::new();
    for pool in &after.config.pools {
        let old = before.config.pools.iter().find(|old| old.name == pool.name);
        let what = match old {
            None => What::Added,
            Some(old) if old != pool => What::Changed,
            Some(_) => continue,
        };
        let mut change = Change::new(&pool.name, what);
        if what == What::Changed {
            let of = |side: Side<'_>| side.written.pools.get(&pool.name).cloned();
            change.keys = keys(
                of(before).as_ref().unwrap_or(&none),
                of(after).as_ref().unwrap_or(&none),
            );
        }
        changes.push(change);
    }
    for old in &before.config.pools {
        if !after.config.pools.iter().any(|pool| pool.name == old.name) {
            changes.push(Change::new(&old.name, What::Removed));
        }
    }
    changes
}

/// Routes with the same name, else with the same conditions, are the same route.
fn routes(before: Side<'_>, after: Side<'_>) -> Vec<Change> {
    let mut old = named_routes(before);
    let mut changes = Vec::new();
    let mut left = Vec::new();
    for (name, new) in named_routes(after) {
        match old.iter().position(|(was, _)| *was == name) {
            Some(at) => {
                let (_, was) = old.swap_remove(at);
                change_of(&name, &was, &new, &mut changes);
            }
            None => left.push((name, new)),
        }
    }
    for (name, new) in left {
        match old
            .iter()
            .position(|(_, was)| conditions(was) == conditions(&new))
        {
            Some(at) => {
                let (_, was) = old.swap_remove(at);
                change_of(&name, &was, &new, &mut changes);
            }
            None => changes.push(Change::new(&name, What::Added)),
        }
    }
    changes.extend(old.iter().map(|(name, _)| Change::new(name, What::Removed)));
    changes.sort_by(|one, other| one.name.cmp(&other.name));
    changes
}

fn change_of(name: &str, was: &Keys, is: &Keys, changes: &mut Vec<Change>) {
    let keys = keys(was, is);
    if !keys.is_empty() {
        changes.push(Change {
            keys,
            ..Change::new(name, What::Changed)
        });
    }
}

fn named_routes(side: Side<'_>) -> Vec<(String, Keys)> {
    let routes = side.config.routes.iter();
    routes
        .map(|route| {
            let place = (route.place.line, route.place.column);
            let found = side
                .written
                .routes
                .iter()
                .find(|(at, _)| (at.line, at.column) == place);
            let keys = found.map(|(_, keys)| keys.clone()).unwrap_or_default();
            (route.name.clone(), keys)
        })
        .collect()
}

fn conditions(keys: &Keys) -> Vec<(&String, &String)> {
    let of = |key: &str| {
        let first = key.split('.').next().unwrap_or_default();
        matches!(
            first,
            "path" | "exact" | "host" | "on" | "method" | "header"
        )
    };
    keys.iter().filter(|(key, _)| of(key)).collect()
}

fn certificates(before: &Config, after: &Config) -> Vec<Change> {
    let files = |config: &Config| -> BTreeSet<String> {
        let open = config.listeners.iter().filter(|it| !it.bind.is_empty());
        let tls = open.filter_map(|listener| listener.tls.as_ref());
        let chains = tls.flat_map(|tls| &tls.certificates).map(|it| &it.chain);
        chains.map(|chain| chain.display().to_string()).collect()
    };
    let (old, new) = (files(before), files(after));
    let added = new
        .difference(&old)
        .map(|name| Change::new(name, What::Added));
    let removed = old
        .difference(&new)
        .map(|name| Change::new(name, What::Removed));
    added.chain(removed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::written::written;
    use crate::config::{Source, parse, render};

    const BEFORE: &str = r#"
listeners:
  http:  { bind: "127.0.0.1:80", redirect_https: none }
  old:   { bind: "127.0.0.1:81", redirect_https: none }
  https: { bind: ":443", tls: { certificates: [a.pem] } }
pools:
  app: { ports: 8070-8079, hold: 30s }
  api: { ports: 9080 }
  gone: { ports: 9090 }
routes:
  - { path: /, to: app }
  - { path: /api, to: api }
  - { path: /x, deny: 403 }
  - { path: /y, to: gone }
"#;

    fn diff(before: &str, after: &str) -> Diff {
        let read = |text: &str| {
            let source = Source {
                name: "test".into(),
                text: text.into(),
            };
            let checked = parse(&source, &|_| None);
            let told = render(&source, &checked.problems, false);
            let config = checked.config.unwrap_or_else(|| panic!("{told}"));
            (config, written(&source, &|_| None))
        };
        let (old, new) = (read(before), read(after));
        Diff::of(
            Side {
                config: &old.0,
                written: &old.1,
            },
            Side {
                config: &new.0,
                written: &new.1,
            },
        )
    }

    fn told(changes: &[Change]) -> Vec<(&str, What, Vec<&str>)> {
        changes
            .iter()
            .map(|change| {
                let keys = change.keys.iter().map(|key| key.key.as_str()).collect();
                (change.name.as_str(), change.what, keys)
            })
            .collect()
    }

    #[test]
    fn the_same_file_does_not_differ_from_itself_wherever_its_lines_stand() {
        let moved = BEFORE.replace("pools:", "# a comment\n\npools:");
        let diff = diff(BEFORE, &moved);
        assert!(diff.is_empty(), "{diff:?}");
        assert_eq!(diff.pools_kept, 3);
    }

    #[test]
    fn what_a_reload_would_do_is_told() {
        let after = BEFORE
            .replace(
                "  old:   { bind: \"127.0.0.1:81\", redirect_https: none }\n",
                "",
            )
            .replace("127.0.0.1:80", "127.0.0.1:8000")
            .replace("a.pem", "b.pem")
            .replace("hold: 30s", "hold: 10s")
            .replace("9080", "[9080]")
            .replace("  gone: { ports: 9090 }\n", "  new: { ports: 9091 }\n")
            .replace("/y, to: gone", "/z, to: new")
            .replace("/api, to: api", "/api, to: app")
            .replace("deny: 403", "deny: 404")
            + "threads: 2\n";
        let diff = diff(BEFORE, &after);
        assert_eq!(
            told(&diff.listeners),
            [
                ("http", What::Changed, vec!["bind"]),
                ("https", What::Changed, vec!["tls.certificates"]),
                ("old", What::Removed, vec![]),
            ]
        );
        assert_eq!(diff.listeners[0].opens, ["127.0.0.1:8000"]);
        assert_eq!(diff.listeners[0].closes, ["127.0.0.1:80"]);
        assert_eq!(diff.listeners[2].closes, ["127.0.0.1:81"]);
        assert_eq!(
            told(&diff.pools),
            [
                ("app", What::Changed, vec!["hold"]),
                ("new", What::Added, vec![]),
                ("gone", What::Removed, vec![]),
            ],
            "a port that is written as a list of one is the same"
        );
        assert_eq!(diff.pools[0].keys[0].before.as_deref(), Some("30s"));
        assert_eq!(diff.pools[0].keys[0].after.as_deref(), Some("10s"));
        assert_eq!(
            told(&diff.routes),
            [
                ("/api -> app", What::Changed, vec!["to"]),
                ("/x -> deny 404", What::Changed, vec!["deny"]),
                ("/y -> gone", What::Removed, vec![]),
                ("/z -> new", What::Added, vec![]),
            ]
        );
        assert_eq!(
            told(&diff.certificates),
            [
                ("b.pem", What::Added, vec![]),
                ("a.pem", What::Removed, vec![])
            ]
        );
        assert_eq!(diff.restart, ["threads"]);
        assert_eq!(diff.keys[0].key, "threads");
    }
}
