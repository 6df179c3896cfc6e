//! What does a value mean, and was every key known?
//!
//! Typed readers over the tree. A reader that finds a mistake tells it and returns `None`, so that
//! the caller goes on with the next key. [`Keys`] remembers which keys were asked for: what is left
//! over is unknown, and the ones asked for are the candidates of "did you mean".

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::model::Place;
use super::problem::{Problem, Severity, quoted};
use super::tree::{Key, Node, Value};
use super::units::{self, Wrong};

/// Most problems that are told of one file; whoever has more mends these first.
const PROBLEMS_MAX: usize = 200;

/// Collects problems.
#[derive(Default)]
pub(super) struct Reader {
    problems: Vec<Problem>,
    failed: bool,
    /// What the readers asked for, for the test that compares it with the reference.
    #[cfg(test)]
    pub asked: Vec<(String, Vec<&'static str>)>,
    /// Maps whose keys are the operator's.
    #[cfg(test)]
    pub named: Vec<String>,
}

/// May a duration be zero?
#[derive(Clone, Copy)]
pub(super) enum Zero {
    /// It makes no sense.
    Senseless,
    /// It has a meaning (usually: off); `off` is then read as zero too.
    Allowed,
}

/// A value with the name it goes by in messages, such as `pools.api.hold`.
#[derive(Clone)]
pub(super) struct Field<'n> {
    pub path: String,
    pub key: Place,
    pub node: &'n Node,
}

impl Reader {
    pub fn tell(&mut self, problem: Problem) {
        self.failed |= problem.severity == Severity::Error;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    pub fn error(&mut self, place: Place, what: impl Into<String>, hint: impl Into<String>) {
        self.tell(Problem::error(place, what).hint(hint));
    }

    pub fn warning(&mut self, place: Place, what: impl Into<String>, hint: impl Into<String>) {
        self.tell(Problem::warning(place, what).hint(hint));
    }

    /// The nearest of many names. Nothing is looked for once no more problems are told.
    pub fn suggest(&self, text: &str, candidates: &[&str]) -> String {
        let full = self.problems.len() >= PROBLEMS_MAX;
        if full {
            String::new()
        } else {
            did_you_mean(text, candidates)
        }
    }

    /// The problems in the order of the file, and whether any of them is an error.
    pub fn finish(&mut self) -> (Vec<Problem>, bool) {
        let mut problems = std::mem::take(&mut self.problems);
        problems.sort_by_key(|problem| (problem.place.line, problem.place.column));
        (problems, self.failed)
    }

    fn wrong<T>(&mut self, field: &Field<'_>, result: Result<T, Wrong>) -> Option<T> {
        result
            .map_err(|(what, hint)| {
                self.error(field.node.place, format!("`{}`: {what}", field.path), hint)
            })
            .ok()
    }

    /// The value, or the problem at the field's value; for readers whose words name the thing already.
    pub fn or_tell<T>(&mut self, field: &Field<'_>, result: Result<T, Wrong>) -> Option<T> {
        result
            .map_err(|(what, hint)| self.error(field.node.place, what, hint))
            .ok()
    }

    fn kind(&mut self, field: &Field<'_>, wanted: &str) {
        let (found, place) = match &field.node.value {
            Value::Broken => return,
            Value::Empty => ("nothing", field.key),
            Value::Text(_) => ("a single value", field.node.place),
            Value::List(_) => ("a list", field.key),
            Value::Map(_) => ("a map of keys", field.key),
        };
        let hint = if matches!(field.node.value, Value::Empty) {
            "give a value or remove the key"
        } else {
            "see the comments at the end of routes.yaml"
        };
        self.error(
            place,
            format!("`{}`: expected {wanted}, found {found}", field.path),
            hint,
        );
    }

    /// Any scalar, without blanks around it.
    pub fn text<'n>(&mut self, field: &Field<'n>, wanted: &str) -> Option<&'n str> {
        match &field.node.value {
            Value::Text(text) => Some(text.trim()),
            _ => {
                self.kind(field, wanted);
                None
            }
        }
    }

    pub fn duration(&mut self, field: &Field<'_>, zero: Zero) -> Option<Duration> {
        let text = self.text(field, "a duration such as `30s`")?;
        if matches!(zero, Zero::Allowed) && text == "off" {
            return Some(Duration::ZERO);
        }
        let read = self.wrong(field, units::duration(text))?;
        if matches!(zero, Zero::Senseless) && read.is_zero() {
            self.error(
                field.node.place,
                format!("`{}` must be longer than zero", field.path),
                "leave the key out for the default",
            );
            return None;
        }
        Some(read)
    }

    pub fn size(&mut self, field: &Field<'_>, allowed: RangeInclusive<u64>) -> Option<u64> {
        let text = self.text(field, "a size such as `32KiB`")?;
        let read = self.wrong(field, units::size(text))?;
        self.within(field, read, allowed)
    }

    pub fn bytes(&mut self, field: &Field<'_>, allowed: RangeInclusive<usize>) -> Option<usize> {
        let allowed = *allowed.start() as u64..=*allowed.end() as u64;
        self.size(field, allowed)
            .and_then(|read| usize::try_from(read).ok())
    }

    pub fn number<T: TryFrom<u64>>(
        &mut self,
        field: &Field<'_>,
        allowed: RangeInclusive<u64>,
    ) -> Option<T> {
        let text = self.text(field, "a number")?;
        let read = units::number(text).ok_or_else(|| {
            (
                format!("{} is not a whole number", quoted(text)),
                format!("from {} to {}", allowed.start(), allowed.end()),
            )
        });
        let read = self.wrong(field, read)?;
        self.within(field, read, allowed)
            .and_then(|read| T::try_from(read).ok())
    }

    fn within(
        &mut self,
        field: &Field<'_>,
        read: u64,
        allowed: RangeInclusive<u64>,
    ) -> Option<u64> {
        if allowed.contains(&read) {
            return Some(read);
        }
        let hint = format!("from {} to {}", allowed.start(), allowed.end());
        self.error(
            field.node.place,
            format!("`{}`: {read} is out of bounds", field.path),
            hint,
        );
        None
    }

    pub fn percent(&mut self, field: &Field<'_>, allowed: RangeInclusive<u64>) -> Option<u64> {
        let text = self.text(field, "a percentage such as `20%`")?;
        let number = text.strip_suffix('%').unwrap_or(text).trim();
        let read = units::number(number).ok_or_else(|| {
            (
                format!("{} is not a percentage", quoted(text)),
                "write `20%`".to_owned(),
            )
        });
        let read = self.wrong(field, read)?;
        self.within(field, read, allowed)
    }

    pub fn flag(&mut self, field: &Field<'_>) -> Option<bool> {
        self.word(field, &[("true", true), ("false", false)])
    }

    /// One of a few words.
    pub fn word<T: Clone>(&mut self, field: &Field<'_>, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let text = self.text(field, &format!("one of {}", listed(&names)))?;
        if let Some((_, value)) = words.iter().find(|(name, _)| *name == text) {
            return Some(value.clone());
        }
        let what = format!("`{}`: {} is not known here", field.path, quoted(text));
        self.error(field.node.place, what, did_you_mean(text, &names));
        None
    }

    pub fn address(&mut self, field: &Field<'_>) -> Option<IpAddr> {
        let text = self.text(field, "an address such as `10.0.0.2`")?;
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .unwrap_or(text);
        let read = bare.parse().map_err(|_| {
            let hint = match bare {
                "localhost" => "write `127.0.0.1`",
                _ => {
                    "write an IPv4 or IPv6 address; names are not resolved, ports stand in `ports`"
                }
            };
            (
                format!("{} is not an address", quoted(text)),
                hint.to_owned(),
            )
        });
        self.wrong(field, read)
    }

    /// The items of a list; a single value stands for a list of one.
    pub fn list<'n>(&mut self, field: &Field<'n>) -> Vec<Field<'n>> {
        match &field.node.value {
            Value::List(items) => items
                .iter()
                .enumerate()
                .map(|(at, node)| Field {
                    path: format!("{}[{}]", field.path, at + 1),
                    key: node.place,
                    node,
                })
                .collect(),
            Value::Empty => {
                self.kind(field, "a value or a list");
                Vec::new()
            }
            _ => vec![field.clone()],
        }
    }

    /// The keys of a map whose names are given by the language.
    pub fn keys<'n>(&mut self, field: &Field<'n>, wanted: &str) -> Option<Keys<'n>> {
        match &field.node.value {
            Value::Map(entries) => Some(Keys {
                path: field.path.clone(),
                place: field.key,
                entries: entries.iter().map(Some).collect(),
                asked: Vec::new(),
            }),
            _ => {
                self.kind(field, wanted);
                None
            }
        }
    }

    /// The entries of a map whose names the operator gives.
    pub fn named<'n>(&mut self, field: &Field<'n>, wanted: &str) -> Vec<(&'n Key, Field<'n>)> {
        #[cfg(test)]
        self.named.push(field.path.clone());
        match &field.node.value {
            Value::Map(entries) => entries
                .iter()
                .map(|(key, node)| {
                    (
                        key,
                        Field {
                            path: format!("{}.{}", field.path, key.text),
                            key: key.place,
                            node,
                        },
                    )
                })
                .collect(),
            _ => {
                self.kind(field, wanted);
                Vec::new()
            }
        }
    }
}

/// The keys of a map that have not been asked for yet.
pub(super) struct Keys<'n> {
    path: String,
    /// Where the map is named, for what is missing in it.
    pub place: Place,
    entries: Vec<Option<&'n (Key, Node)>>,
    asked: Vec<&'static str>,
}

impl<'n> Keys<'n> {
    pub fn take(&mut self, name: &'static str) -> Option<Field<'n>> {
        self.asked.push(name);
        let slot = self
            .entries
            .iter_mut()
            .find(|slot| slot.is_some_and(|(key, _)| key.text == name))?;
        let (key, node) = slot.take()?;
        Some(Field {
            path: self.name(name),
            key: key.place,
            node,
        })
    }

    pub fn need(&mut self, reader: &mut Reader, name: &'static str) -> Option<Field<'n>> {
        let found = self.take(name);
        if found.is_none() {
            let what = if self.path.is_empty() {
                format!("`{name}` is missing")
            } else {
                format!("`{}`: `{name}` is missing", self.path)
            };
            reader.error(self.place, what, format!("add `{name}:`"));
        }
        found
    }

    /// Reads a key into `slot`, which keeps its default where the key is absent or wrong.
    pub fn set<T>(
        &mut self,
        reader: &mut Reader,
        name: &'static str,
        slot: &mut T,
        read: impl FnOnce(&mut Reader, &Field<'n>) -> Option<T>,
    ) {
        if let Some(field) = self.take(name)
            && let Some(value) = read(reader, &field)
        {
            *slot = value;
        }
    }

    /// Tells the keys that nobody asked for.
    pub fn done(self, reader: &mut Reader) {
        #[cfg(test)]
        reader.asked.push((self.path.clone(), self.asked.clone()));
        for (key, _) in self.entries.iter().flatten() {
            let whose = if self.path.is_empty() {
                String::new()
            } else {
                format!("`{}`: ", self.path)
            };
            reader.error(
                key.place,
                format!("{whose}unknown key {}", quoted(&key.text)),
                did_you_mean(&key.text, &self.asked),
            );
        }
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

/// The nearest candidate, or all of them.
pub(super) fn did_you_mean(text: &str, candidates: &[&str]) -> String {
    let text: String = text
        .chars()
        .take(64)
        .flat_map(char::to_lowercase)
        .map(|c| if c == '-' { '_' } else { c })
        .collect();
    let near = candidates
        .iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&text, &name.to_lowercase().replace('-', "_")),
                name,
            )
        })
        .filter(|(distance, name)| *distance <= name.chars().count().max(3) / 3)
        .min();
    match near {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None if candidates.is_empty() => "there is nothing to choose from".to_owned(),
        None => format!("known are {}", listed(candidates)),
    }
}

fn listed(names: &[&str]) -> String {
    const SHOWN_MAX: usize = 40;
    let mut shown = names
        .iter()
        .take(SHOWN_MAX)
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN_MAX {
        shown.push_str(", …");
    }
    shown
}
