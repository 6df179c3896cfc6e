//! How are settings written? Sections of keys in a file, or variables of the environment.
//!
//! ```ini
//! # a comment
//! [store]
//! url = postgres://user:secret@127.0.0.1/database
//! ```
//!
//! The environment wins. Every mistake is kept with its place, and all of them are told at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Wrong;

const PREFIX: &str = "BACKENDS_";
/// Variables that are no keys: the file's own name.
const NOT_KEYS: [&str; 1] = ["BACKENDS_CONFIG"];
/// Longest duration: a day.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);

/// What was written, until it is asked for.
#[derive(Debug, Default)]
pub struct Keys {
    /// Value and place by section and key.
    written: BTreeMap<(String, String), (String, String)>,
    known: Vec<Key>,
    /// Where what was asked for stood.
    places: BTreeMap<Key, String>,
    /// Of which a mistake is told already; what follows from it is none.
    blamed: BTreeSet<Key>,
    /// The file was not to be read: nothing is known to be missing.
    unread: bool,
    problems: Vec<String>,
}

/// Section and key.
type Key = (&'static str, &'static str);

impl Keys {
    /// Adds the lines of a file.
    pub fn add_file(&mut self, file: &str, text: &str) {
        let mut section = String::new();
        for (number, line) in (1..).zip(text.lines()) {
            let (line, place) = (line.trim(), format!("{file}:{number}"));
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let heading = line
                .strip_prefix('[')
                .and_then(|line| line.strip_suffix(']'));
            if let Some(name) = heading {
                section = name.trim().to_owned();
            } else if let Some((key, value)) = line.split_once('=') {
                let at = (section.clone(), key.trim().to_owned());
                let value = (value.trim().to_owned(), place.clone());
                if let Some((_, before)) = self.written.insert(at, value) {
                    self.problem(&place, &format!("`{}` stands at {before} too", key.trim()));
                }
            } else {
                self.problem(&place, "neither `[section]` nor `key = value`");
            }
        }
    }

    /// Adds the variables that begin with `BACKENDS_`.
    pub fn add_environment(&mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) {
        for (name, value) in variables {
            let Some(name) = name.to_str().map(str::to_owned) else {
                continue;
            };
            if NOT_KEYS.contains(&name.as_str()) {
                continue;
            }
            let Some(rest) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let (Some((section, key)), Some(value)) = (rest.split_once("__"), value.to_str())
            else {
                self.problem(&name, "not of the form BACKENDS_SECTION__KEY=text");
                continue;
            };
            let at = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
            self.written.insert(at, (value.to_owned(), name));
        }
    }

    /// A mistake at a place.
    pub fn problem(&mut self, place: &str, what: &str) {
        self.problems.push(format!("{place}: {what}"));
    }

    /// The file cannot be read.
    pub fn unread(&mut self, file: &str, cause: &std::io::Error) {
        self.problem(file, &cause.to_string());
        self.unread = true;
    }

    /// A mistake in what a key says, where it stands; none where one of the same key is told already.
    pub fn wrong(&mut self, section: &'static str, key: &'static str, what: &str) {
        if self.blame(section, key) {
            let place = self.place(section, key);
            self.problem(&place, what);
        }
    }

    /// A mistake that somebody else found.
    pub fn found(&mut self, wrong: &Wrong) {
        let Wrong { section, key, what } = wrong;
        let missing = !self.places.keys().any(|at| names(at, section, key));
        match missing {
            true if self.unread => {}
            // Its text names the key: there is no place to point at.
            true if self.blame(section, key) => self.problems.push(what.clone()),
            true => {}
            false => self.wrong(section, key, what),
        }
    }

    /// From now on nothing more is told of this key. True where nothing was told yet.
    pub fn blame(&mut self, section: &'static str, key: &'static str) -> bool {
        self.blamed.insert((section, key))
    }

    /// Where a key stands, or the one of the file that holds what it would say; else its section.
    pub fn place(&self, section: &str, key: &str) -> String {
        let mut places = self.places.iter();
        let found = places.find(|(at, _)| names(at, section, key));
        found.map_or_else(|| format!("[{section}]"), |(_, place)| place.clone())
    }

    /// A key with any text.
    pub fn text(&mut self, section: &'static str, key: &'static str, default: &str) -> String {
        self.take(section, key)
            .map_or_else(|| default.to_owned(), |(value, _)| value)
    }

    /// A key with an address of this scheme, `scheme://user:password@host:port/name`, or nothing.
    pub fn address(
        &mut self,
        section: &'static str,
        key: &'static str,
        scheme: &'static str,
    ) -> String {
        let Some((value, place)) = self.take(section, key) else {
            return String::new();
        };
        let rest = value.strip_prefix(scheme).unwrap_or_default();
        if !value.is_empty() && rest.strip_prefix("://").is_none_or(str::is_empty) {
            // Without the value, which may hold a password.
            let what = format!("`{key}` is no address that begins with `{scheme}://`");
            self.blame(section, key);
            self.problem(&place, &what);
        }
        value
    }

    /// A key with a whole number.
    pub fn count(
        &mut self,
        section: &'static str,
        key: &'static str,
        range: RangeInclusive<usize>,
        default: usize,
    ) -> usize {
        let Some((value, place)) = self.take(section, key) else {
            return default;
        };
        match value.parse() {
            Ok(count) if range.contains(&count) => count,
            _ => {
                let (from, to) = range.into_inner();
                let what = format!("`{key}` is a number from {from} to {to}, not `{value}`");
                self.problem(&place, &what);
                default
            }
        }
    }

    /// A key with a duration: `500ms`, `5s`, `2m`, `1h`; never zero.
    pub fn duration(
        &mut self,
        section: &'static str,
        key: &'static str,
        default: Duration,
    ) -> Duration {
        let Some((value, place)) = self.take(section, key) else {
            return default;
        };
        let duration =
            duration(&value).filter(|duration| !duration.is_zero() && *duration <= DURATION_MAX);
        duration.unwrap_or_else(|| {
            let what = format!("`{key}` is a duration up to a day like 500ms or 5s, not `{value}`");
            self.problem(&place, &what);
            default
        })
    }

    /// All that was not asked for is a mistake, too.
    ///
    /// # Errors
    ///
    /// Every mistake, one line each.
    pub fn finish(mut self) -> Result<(), String> {
        for ((section, key), (_, place)) in std::mem::take(&mut self.written) {
            let same_key = self.known.iter().find(|(_, known)| *known == key);
            let what = match same_key {
                _ if section.is_empty() => format!("`{key}` stands in no section"),
                Some((there, _)) => {
                    format!("no key `{key}` in [{section}]: it is one of [{there}]")
                }
                None => format!("no key `{key}` in [{section}]"),
            };
            self.problem(&place, &what);
        }
        match self.problems.is_empty() {
            true => Ok(()),
            false => Err(self.problems.join("\n")),
        }
    }

    fn take(&mut self, section: &'static str, key: &'static str) -> Option<(String, String)> {
        self.known.push((section, key));
        let found = self.written.remove(&(section.to_owned(), key.to_owned()))?;
        self.places.insert((section, key), found.1.clone());
        Some(found)
    }
}

/// Is this the key that is meant, or that of the file in its place?
fn names(at: &Key, section: &str, key: &str) -> bool {
    at.0 == section && (at.1 == key || at.1.strip_suffix("_file") == Some(key))
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    Some(Duration::from_millis(match unit {
        "ms" => number,
        "s" => number.checked_mul(1000)?,
        "m" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::Shared;
    use super::*;

    fn read(file: &str, variables: &[(&str, &str)]) -> Result<Shared, String> {
        let dir = std::env::temp_dir().join(format!("backends-settings-{}", fastrand::u64(..)));
        std::fs::write(&dir, file).expect("a file");
        let variables = variables.iter().map(|(a, b)| (a.into(), b.into()));
        let read = Shared::read(Some(dir.clone()), variables, &[]);
        std::fs::remove_file(&dir).expect("it is there");
        read.map_err(|problem| problem.replace(&dir.display().to_string(), "f"))
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let file = "# ours\n[store]\nurl = postgres://a/b?c=d\nconnections_max=3\n\n[pingserver]\nrefresh = 500ms\n";
        let shared = read(
            file,
            &[("BACKENDS_STORE__CONNECTIONS_MAX", "4"), ("HOME", "x")],
        );
        let shared = shared.expect("right");
        assert_eq!(shared.store.url, "postgres://a/b?c=d");
        assert_eq!(shared.store.connections_max, 4);
        assert_eq!(shared.pingserver.refresh, Duration::from_millis(500));
        assert_eq!(shared.message_system.intake.body_bytes_max, 30_000_000);
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_place() {
        let file = "colour = red\n[store]\nurl = a\nurl = b\nconnections_max = 0\nrefresh = 5s\nnonsense\n[pingserver]\nwrite = soon\n[broker]\nurl = amqps://x\n";
        let problems = read(
            file,
            &[("BACKENDS_STORE", "x"), ("BACKENDS_STORE__PORT", "1")],
        );
        let problems = problems.expect_err("wrong");
        for part in [
            "f:1: `colour` stands in no section",
            "f:4: `url` stands at f:3 too",
            "f:5: `connections_max` is a number from 1 to 1000, not `0`",
            "f:6: no key `refresh` in [store]: it is one of [pingserver]",
            "f:7: neither",
            "f:9: `write` is a duration",
            "f:11: `url` is no address that begins with `amqp://`",
            "BACKENDS_STORE: not of the form",
            "BACKENDS_STORE__PORT: no key `port` in [store]",
        ] {
            assert!(problems.contains(part), "{part}\n{problems}");
        }
        assert_eq!(problems.lines().count(), 9, "{problems}");
    }
}
