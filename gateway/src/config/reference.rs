//! Which keys are there? One table of every key: what may be written, what holds without it, what it means.
//!
//! `docs/configuration.md` and the JSON Schema of `portcullis check --schema` are made from it. Promises: a test reads a
//! file that uses every section and fails for a key that the readers in `check` ask for and the table does not have, and
//! the other way round. Does not: check values; `check` does, with words that fit the mistake.

mod checks;
mod listeners;
mod page;
mod pools;
mod routes;
mod schema;
mod top;

#[cfg(test)]
mod tests;

pub use page::page;
pub use schema::schema;

/// What may be written as a value.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// One of these words.
    Words(&'static [&'static str]),
    /// `500ms`, `30s`, `5m`, `2h`, `1d`.
    Duration,
    /// Bytes, `32KiB`, `4MiB`, `1GiB`.
    Size,
    /// A whole number between these two.
    Number(u64, u64),
    /// `20%`, up to this one.
    Percent(u64),
    /// `100/s`, `600/m`, `1000/h`.
    Rate,
    /// `true` or `false`.
    Flag,
    /// A word of the operator's, for which this is an example.
    Text(&'static str),
    /// A list of the other forms. A list of one may be written without its brackets.
    List(&'static [Form]),
    /// A map with keys of the language: the section at this path.
    Keys,
    /// A map whose keys are the operator's, with values of these forms.
    Named(&'static [Form]),
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As written.
    pub name: &'static str,
    /// What may stand behind it.
    pub forms: &'static [Form],
    /// What holds without it, as it would be written; empty for a key that has to be there or that has no default.
    pub default: &'static str,
    /// What it means, with its unit and what is told to whom.
    pub what: &'static str,
}

/// The keys of one map.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// For headings.
    pub title: &'static str,
    /// Where such a map may stand: `listeners.NAME.limits`; `[]` for an entry of a list; empty for the top.
    pub at: &'static [&'static str],
    /// What such a map is for.
    pub what: &'static str,
    /// In the order of reading.
    pub keys: &'static [Key],
}

const fn key(
    name: &'static str,
    forms: &'static [Form],
    default: &'static str,
    what: &'static str,
) -> Key {
    Key {
        name,
        forms,
        default,
        what,
    }
}

const OFF: Form = Form::Words(&["off"]);

/// Every section, the top first.
pub fn sections() -> impl Iterator<Item = &'static Section> {
    [
        top::SECTIONS,
        listeners::SECTIONS,
        pools::SECTIONS,
        routes::SECTIONS,
        checks::SECTIONS,
    ]
    .into_iter()
    .flatten()
}

/// The section whose map stands at a path.
fn section_at(path: &str) -> Option<&'static Section> {
    sections().find(|section| section.at.contains(&path))
}

/// The path of a key of a map.
fn below(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
