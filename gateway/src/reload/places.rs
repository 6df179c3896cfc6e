//! Which listener is which, before and after?
//!
//! Promises: a listener keeps its place for the life of the process. Pure.

use crate::config::model::{Config, Listener, ListenerId};

/// Connections know their listener by its place, so a listener keeps its place for the life of the process. One that is
/// gone stays as a shadow without addresses and routes, for the connections it left behind.
pub(super) fn keep_places(config: &mut Config, before: &Config) {
    let mut listeners = Vec::with_capacity(before.listeners.len());
    let mut moved = vec![ListenerId(0); config.listeners.len()];
    let mut fresh: Vec<_> = std::mem::take(&mut config.listeners)
        .into_iter()
        .map(Some)
        .collect();
    for old in &before.listeners {
        let found = fresh
            .iter()
            .position(|new| new.as_ref().is_some_and(|new| new.name == old.name));
        match found.and_then(|at| fresh[at].take().map(|new| (at, new))) {
            Some((at, new)) => {
                moved[at] = ListenerId(listeners.len() as u16);
                listeners.push(new);
            }
            None => listeners.push(Listener {
                bind: Vec::new(),
                ..old.clone()
            }),
        }
    }
    for (at, new) in fresh.into_iter().enumerate() {
        if let Some(new) = new {
            moved[at] = ListenerId(listeners.len() as u16);
            listeners.push(new);
        }
    }
    for route in &mut config.routes {
        for on in &mut route.on {
            *on = moved[usize::from(on.0)];
        }
        route.on.sort_unstable();
    }
    config.listeners = listeners;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, parse, render};

    fn config(text: &str) -> Config {
        let source = Source {
            name: "test".into(),
            text: text.into(),
        };
        let checked = parse(&source, &|_| None);
        checked
            .config
            .unwrap_or_else(|| panic!("{}", render(&source, &checked.problems, false)))
    }

    const BEFORE: &str = r#"
listeners:
  one: { bind: "127.0.0.1:10001", redirect_https: none }
  two: { bind: "127.0.0.1:10002", redirect_https: none }
pools:
  p: { ports: 20001 }
routes:
  - { path: /, to: p, on: [one, two] }
"#;

    #[test]
    fn listeners_keep_their_place_whatever_the_file_does() {
        let before = config(BEFORE);
        let mut after = config(
            r#"
listeners:
  new: { bind: "127.0.0.1:10003", redirect_https: none }
  two: { bind: "127.0.0.1:10002", redirect_https: none }
pools:
  p: { ports: 20001 }
routes:
  - { path: /, to: p, on: [new] }
  - { path: /x, to: p, on: [two] }
"#,
        );
        keep_places(&mut after, &before);
        let names: Vec<_> = after
            .listeners
            .iter()
            .map(|listener| listener.name.as_str())
            .collect();
        assert_eq!(names, ["one", "two", "new"]);
        assert!(
            after.listeners[0].bind.is_empty(),
            "a listener that is gone has no address"
        );
        let on = |path: &str| {
            after
                .routes
                .iter()
                .find(|route| route.name.starts_with(path))
                .unwrap()
                .on
                .clone()
        };
        assert_eq!(on("/ "), [ListenerId(2)]);
        assert_eq!(on("/x"), [ListenerId(1)]);
    }

    #[test]
    fn an_unchanged_file_changes_nothing() {
        let before = config(BEFORE);
        let mut after = config(BEFORE);
        keep_places(&mut after, &before);
        assert_eq!(after.routes, before.routes);
        assert_eq!(after.listeners.len(), 2);
    }
}
