//! Which computers are meant? The language of queries: words and `key:value`, read into terms.
//!
//! Side by side means both; `OR` binds its two neighbours closer than that, so
//! `web tag:a OR tag:b` means `web` and one of the tags. `NOT` is of the next term. A value with spaces
//! stands in quotes.

use super::alert::Alert;

/// Longest query, characters.
const CHARS_MAX: usize = 4096;
/// Most terms.
const TERMS_MAX: usize = 64;

/// What a computer must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// Its title or host name has this word.
    Word(String),
    /// It has this tag.
    Tag(String),
    /// It runs this release.
    Distribution(String),
    /// This is its host name, or the first part of it.
    Hostname(String),
    /// This is its title.
    Title(String),
    /// It has this alert.
    Alert(Alert),
    /// It is in this access group.
    AccessGroup(String),
    /// This is its number.
    Id(i64),
    /// The hardware address of one of its interfaces has this in it.
    Mac(String),
    /// An address of its has this in it.
    Ip(String),
    /// It must be restarted.
    NeedsReboot,
    /// It has this annotation, with this text in it where one is given.
    Annotation(String, Option<String>),
    /// No computer is.
    Nothing,
}

/// A term, or its contrary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The contrary.
    pub not: bool,
    /// The term.
    pub term: Term,
}

/// All of these, of each any. Empty: every computer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Groups of alternatives.
    pub all: Vec<Vec<Condition>>,
}

/// What is wrong with a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(String);

fn wrong<T>(what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong(what.into()))
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    ///
    /// What is wrong, with the part that is.
    pub fn read(text: &str) -> Result<Self, Wrong> {
        if text.chars().count() > CHARS_MAX {
            return wrong(format!("a query has at most {CHARS_MAX} characters"));
        }
        let pieces = pieces(text)?;
        let mut query = Self::default();
        let (mut not, mut or, mut count) = (false, false, 0);
        for piece in &pieces {
            match (piece.quoted, piece.text.as_str()) {
                (false, "OR") if or || not => return wrong("OR follows another operator"),
                (false, "OR") if query.all.is_empty() => {
                    return wrong("OR stands between two terms");
                }
                (false, "OR") => or = true,
                (false, "NOT") => not = !not,
                _ => {
                    count += 1;
                    if count > TERMS_MAX {
                        return wrong(format!("a query has at most {TERMS_MAX} terms"));
                    }
                    let term = Term::read(piece)?;
                    let condition = Condition { not, term };
                    match query.all.last_mut().filter(|_| or) {
                        Some(alternatives) => alternatives.push(condition),
                        None => query.all.push(vec![condition]),
                    }
                    (not, or) = (false, false);
                }
            }
        }
        if or || not {
            return wrong("a term is missing at the end");
        }
        Ok(query)
    }
}

/// What stands between spaces, without its quotes.
struct Piece {
    text: String,
    /// All of it stood in quotes: neither an operator nor a key.
    quoted: bool,
}

fn pieces(text: &str) -> Result<Vec<Piece>, Wrong> {
    let mut pieces = Vec::new();
    let mut current: Option<Piece> = None;
    let mut inside = false;
    for character in text.chars() {
        match character {
            '"' => {
                inside = !inside;
                current.get_or_insert_with(|| Piece {
                    text: String::new(),
                    quoted: true,
                });
            }
            _ if character.is_whitespace() && !inside => pieces.extend(current.take()),
            '\0' => return wrong("a query has no character 0"),
            _ => {
                let piece = current.get_or_insert_with(|| Piece {
                    text: String::new(),
                    quoted: false,
                });
                piece.text.push(character);
            }
        }
    }
    if inside {
        return wrong("a quotation mark has no other");
    }
    pieces.extend(current);
    Ok(pieces)
}

impl Term {
    fn read(piece: &Piece) -> Result<Self, Wrong> {
        let text = &piece.text;
        let Some((key, value)) = text.split_once(':').filter(|_| !piece.quoted) else {
            return match text.is_empty() {
                true => wrong("a word is empty"),
                false => Ok(Self::Word(text.clone())),
            };
        };
        if value.is_empty() {
            return wrong(format!("`{key}:` has no value"));
        }
        let owned = value.to_owned();
        Ok(match key {
            "tag" => Self::Tag(owned),
            "distribution" => Self::Distribution(owned),
            "hostname" => Self::Hostname(owned),
            "title" => Self::Title(owned),
            "access-group" => Self::AccessGroup(owned),
            "mac" => Self::Mac(owned),
            "ip" => Self::Ip(owned),
            "id" => match value.parse() {
                Ok(id) => Self::Id(id),
                Err(_) => return wrong(format!("`id:` takes a number, not `{value}`")),
            },
            "needs" => match value {
                "reboot" => Self::NeedsReboot,
                // Every computer has one here.
                "license" => Self::Nothing,
                _ => return wrong(format!("`needs:` takes reboot or license, not `{value}`")),
            },
            "license-id" => Self::Nothing,
            "alert" => match (Alert::of(value), value) {
                (Some(alert), _) => Self::Alert(alert),
                // There are no profiles that packages could differ from.
                (None, "package-profiles") => Self::Nothing,
                (None, _) => return wrong(format!("there is no alert `{value}`")),
            },
            "search" => return wrong(format!("there is no saved search `{value}`")),
            "annotation" => match value.split_once(':') {
                Some((name, text)) => Self::Annotation(name.to_owned(), Some(text.to_owned())),
                None => Self::Annotation(owned, None),
            },
            _ => return wrong(format!("there is no key `{key}:` in queries")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(text: &str) -> String {
        let query = match Query::read(text) {
            Ok(query) => query,
            Err(wrong) => return format!("wrong: {wrong}"),
        };
        let group = |group: &Vec<Condition>| {
            let one = |one: &Condition| format!("{}{:?}", if one.not { "!" } else { "" }, one.term);
            group.iter().map(one).collect::<Vec<_>>().join(" | ")
        };
        query.all.iter().map(group).collect::<Vec<_>>().join(" & ")
    }

    #[test]
    fn queries_are_read() {
        for (text, terms) in [
            ("", ""),
            ("  ", ""),
            ("web", r#"Word("web")"#),
            // The documented example: the tag or the release, and the word in any case.
            (
                "appserver tag:server OR distribution:jammy",
                r#"Word("appserver") & Tag("server") | Distribution("jammy")"#,
            ),
            (
                "a OR b OR c d",
                r#"Word("a") | Word("b") | Word("c") & Word("d")"#,
            ),
            ("NOT tag:a", r#"!Tag("a")"#),
            ("a OR NOT b", r#"Word("a") | !Word("b")"#),
            ("NOT NOT a", r#"Word("a")"#),
            (r#"title:"a b" "OR""#, r#"Title("a b") & Word("OR")"#),
            (r#""tag:x""#, r#"Word("tag:x")"#),
            ("id:7", "Id(7)"),
            ("annotation:a:b:c", r#"Annotation("a", Some("b:c"))"#),
            ("annotation:a", r#"Annotation("a", None)"#),
            ("needs:reboot", "NeedsReboot"),
            ("needs:license OR license-id:none", "Nothing | Nothing"),
            ("alert:computer-offline", "Alert(ComputerOffline)"),
            ("alert:package-profiles", "Nothing"),
            ("mac:02:fc:00:00:00:01", r#"Mac("02:fc:00:00:00:01")"#),
            ("or not", r#"Word("or") & Word("not")"#),
        ] {
            assert_eq!(told(text), terms, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, part) in [
            ("OR a", "between two terms"),
            ("a OR", "missing at the end"),
            ("a OR OR b", "another operator"),
            ("NOT", "missing at the end"),
            ("tag:", "no value"),
            ("id:x", "a number"),
            ("\"a", "quotation mark"),
            ("\"\"", "empty"),
            ("colour:red", "no key `colour:`"),
            ("search:x", "no saved search"),
            ("alert:fire", "no alert `fire`"),
            (&*"a ".repeat(65), "at most 64"),
            (&*"a".repeat(4097), "at most 4096"),
        ] {
            let told = told(text);
            assert!(
                told.starts_with("wrong: ") && told.contains(part),
                "{text}: {told}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_asked_breaks_it(text in "(OR|NOT|tag:|id:|[a-z:\"\\\\ ]){0,40}") {
            let _ = Query::read(&text);
        }

        #[test]
        fn whatever_stands_in_it_a_query_is_taken_or_told_what_is_wrong(text in "\\PC{0,80}|(.|\\n|\\x00){0,40}") {
            match Query::read(&text) {
                Ok(query) => prop_assert!(query.all.iter().all(|any| !any.is_empty())),
                Err(wrong) => prop_assert!(!wrong.to_string().is_empty()),
            }
        }

        #[test]
        fn a_value_in_quotes_is_taken_as_it_is(value in "[^\"\\x00]{1,40}") {
            let query = Query::read(&format!("title:\"{value}\"")).expect("a query");
            let term = Term::Title(value);
            prop_assert_eq!(query.all, vec![vec![Condition { not: false, term }]]);
        }
    }
}
