//! What is written, key by key? For telling two configurations apart in the words of their files.
//!
//! Promises: variables are replaced; what may be a secret is told as a mark of it, never itself. Does not: check anything.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::model::Place;
use super::tree::{Node, Value};
use super::{Source, expand, tree};

/// Keys with their values, both as written: `hold.time` is `30s`.
pub type Keys = BTreeMap<String, String>;

/// A file, key by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// By name.
    pub listeners: BTreeMap<String, Keys>,
    /// By name.
    pub pools: BTreeMap<String, Keys>,
    /// With the place of the route's path.
    pub routes: Vec<(Place, Keys)>,
    /// The other keys.
    pub top: Keys,
}

/// Words in a key whose value nobody else is to see.
const SECRETS: [&str; 6] = [
    "token",
    "password",
    "secret",
    "authorization",
    "credential",
    "users",
];

/// Takes a file apart; what cannot be read is left out.
pub fn written(source: &Source, env: &dyn Fn(&str) -> Option<String>) -> Written {
    let mut problems = Vec::new();
    let mut all = Written::default();
    let Some(mut root) = tree::parse(source, &mut problems) else {
        return all;
    };
    expand::expand(&mut root, env, &mut problems);
    let Value::Map(entries) = &root.value else {
        return all;
    };
    for (key, node) in entries {
        match (key.text.as_str(), &node.value) {
            ("listeners", Value::Map(named)) => all.listeners = by_name(named),
            ("pools", Value::Map(named)) => all.pools = by_name(named),
            ("routes", Value::List(routes)) => {
                all.routes = routes
                    .iter()
                    .map(|route| (place_of(route), keys_of(route)))
                    .collect();
            }
            (name, _) => flatten(name, node, &mut all.top),
        }
    }
    all
}

fn by_name(named: &[(tree::Key, Node)]) -> BTreeMap<String, Keys> {
    let both = named
        .iter()
        .map(|(name, node)| (name.text.clone(), keys_of(node)));
    both.collect()
}

fn place_of(route: &Node) -> Place {
    let Value::Map(entries) = &route.value else {
        return route.place;
    };
    let path = entries
        .iter()
        .find(|(key, _)| matches!(key.text.as_str(), "path" | "exact"));
    path.map_or(route.place, |(_, node)| node.place)
}

fn keys_of(node: &Node) -> Keys {
    let mut keys = Keys::new();
    flatten("", node, &mut keys);
    keys
}

fn flatten(path: &str, node: &Node, keys: &mut Keys) {
    if let Value::Map(entries) = &node.value {
        for (key, node) in entries {
            let path = match path {
                "" => key.text.clone(),
                path => format!("{path}.{}", key.text),
            };
            flatten(&path, node, keys);
        }
        return;
    }
    let mut text = String::new();
    write(node, &mut text);
    if is_secret(path) {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        // Enough to see that it is another, too little to find out which.
        text = format!("(hidden, {:04x})", hasher.finish() & 0xffff);
    }
    keys.insert(path.to_owned(), text);
}

fn is_secret(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    // Nothing is secret about a check, also where it is named `secrets`.
    if path.starts_with("checks.") {
        return false;
    }
    let last = path.rsplit('.').next().unwrap_or_default();
    // Where a secret lies is none.
    !last.ends_with("_file") && SECRETS.iter().any(|word| path.contains(word))
}

/// On one line, as YAML writes it there.
fn write(node: &Node, out: &mut String) {
    match &node.value {
        Value::Empty | Value::Broken => out.push('~'),
        Value::Text(text) => out.push_str(text),
        Value::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                write(item, out);
            }
            out.push(']');
        }
        Value::Map(entries) => {
            out.push_str("{ ");
            for (at, (key, item)) in entries.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                out.push_str(&key.text);
                out.push_str(": ");
                if is_secret(&key.text) {
                    out.push_str("(hidden)");
                } else {
                    write(item, out);
                }
            }
            out.push_str(" }");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(text: &str) -> Written {
        let source = Source {
            name: "test".into(),
            text: text.into(),
        };
        written(&source, &|name| (name == "SET").then(|| "5s".to_owned()))
    }

    #[test]
    fn keys_are_told_with_their_values_as_written() {
        let all = of(
            "admin: { token: very-secret-indeed, token_file: /a }\npools:\n  a: { ports: [1, 2-3], hold: { time: \"${SET}\" } }\nroutes:\n  - path: /x\n    to: a\n",
        );
        assert_eq!(all.pools["a"]["ports"], "[1, 2-3]");
        assert_eq!(all.pools["a"]["hold.time"], "5s");
        assert_eq!(all.routes[0].1["to"], "a");
        assert_eq!(all.routes[0].0.line, 5);
        assert_eq!(all.top["admin.token_file"], "/a");
        assert!(!format!("{all:?}").contains("very-secret"), "{all:?}");
        let other = of("admin: { token: other-secret-word }");
        assert_ne!(other.top["admin.token"], all.top["admin.token"]);
        let check = of("checks: { secrets: { vault: 127.0.0.1:8200 } }");
        assert_eq!(check.top["checks.secrets.vault"], "127.0.0.1:8200");
        assert!(of("{").pools.is_empty());
    }
}
