//! How are arguments written? Lists as `tags.1=a&tags.2=b`, maps as `titles.30=name`, files as
//! `name$$base64`.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::super::named::named;
use super::super::refusal::{Answer, Refusal};
use super::super::view;
use crate::domain::query::Query;
use crate::domain::signature::Parameters;

/// The arguments of a call.
pub struct Arguments(Parameters);

fn wrong<T>(name: &str, what: &str) -> Answer<T> {
    let message = format!("`{name}` is {what}");
    Err(Refusal::argument("InvalidParameter", message))
}

impl Arguments {
    /// Of these parameters.
    pub fn new(parameters: Parameters) -> Self {
        Self(parameters)
    }

    /// A text; an empty one is none.
    pub fn text(&self, name: &str) -> Option<&str> {
        let text = self.0.get(name).map(String::as_str);
        text.filter(|text| !text.is_empty())
    }

    /// A text of one name; an empty one is none.
    ///
    /// # Errors
    ///
    /// It is too long.
    pub fn name(&self, parameter: &str) -> Answer<Option<&str>> {
        named(parameter, self.text(parameter))
    }

    /// A text that must be there.
    ///
    /// # Errors
    ///
    /// It is missing.
    pub fn needed(&self, name: &str) -> Answer<&str> {
        self.text(name).ok_or_else(|| Refusal::missing(name))
    }

    /// `true` or `false`; none is false.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn flag(&self, name: &str) -> Answer<bool> {
        match self.text(name) {
            None => Ok(false),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(_) => wrong(name, "true or false"),
        }
    }

    /// `true` or `false`, where it is given.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn choice(&self, name: &str) -> Answer<Option<bool>> {
        self.text(name).map(|_| self.flag(name)).transpose()
    }

    /// A number.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn number(&self, name: &str) -> Answer<Option<i64>> {
        match self.text(name).map(str::parse) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => wrong(name, "a number"),
        }
    }

    /// A number that must be there.
    ///
    /// # Errors
    ///
    /// It is missing or something else.
    pub fn needed_number(&self, name: &str) -> Answer<i64> {
        self.number(name)?.ok_or_else(|| Refusal::missing(name))
    }

    /// A time.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn time(&self, name: &str) -> Answer<Option<SystemTime>> {
        self.text(name).map(view::time_of).transpose()
    }

    /// A list, in the order of its numbers.
    ///
    /// # Errors
    ///
    /// It is written otherwise.
    pub fn list(&self, name: &str) -> Answer<Vec<&str>> {
        let numbered = self.entries(name).map(|(key, value)| match key.parse() {
            Ok(number) => Some((number, value)),
            Err(_) => None,
        });
        let numbered: Option<Vec<(u64, &str)>> = numbered.collect();
        match (numbered, self.0.contains_key(name)) {
            (Some(mut entries), false) => {
                entries.sort_by_key(|(number, _)| *number);
                Ok(entries.into_iter().map(|(_, value)| value).collect())
            }
            _ => wrong(name, &format!("a list, `{name}.1=a&{name}.2=b`")),
        }
    }

    /// A list that must not be empty.
    ///
    /// # Errors
    ///
    /// It is missing, or written otherwise.
    pub fn needed_list(&self, name: &str) -> Answer<Vec<&str>> {
        match self.list(name)? {
            list if list.is_empty() => Err(Refusal::missing(name)),
            list => Ok(list),
        }
    }

    /// A list of numbers that must not be empty.
    ///
    /// # Errors
    ///
    /// It is missing, or something in it is no number.
    pub fn needed_numbers(&self, name: &str) -> Answer<Vec<i64>> {
        let list = self.needed_list(name)?;
        let numbers = list.iter().map(|text| text.parse());
        let numbers: Result<_, _> = numbers.collect();
        match numbers {
            Ok(numbers) => Ok(numbers),
            Err(_) => wrong(name, "a list of numbers"),
        }
    }

    /// A map whose keys are numbers.
    ///
    /// # Errors
    ///
    /// A key is none.
    pub fn map(&self, name: &str) -> Answer<BTreeMap<i64, &str>> {
        let pairs = self.entries(name).map(|(key, value)| match key.parse() {
            Ok(key) => Ok((key, value)),
            Err(_) => wrong(name, "a map whose keys are numbers"),
        });
        pairs.collect()
    }

    fn entries(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        let prefix = format!("{name}.");
        self.0.iter().filter_map(move |(key, value)| {
            let key = key.strip_prefix(prefix.as_str())?;
            Some((key, value.as_str()))
        })
    }

    /// The computers that `query` means; it must be there, and empty it means all.
    ///
    /// # Errors
    ///
    /// It is missing, or none.
    pub fn query(&self) -> Answer<Query> {
        let text = self.0.get("query");
        let text = text.ok_or_else(|| Refusal::missing("query"))?;
        Ok(Query::read(text)?)
    }

    /// The computers that `query` means; without it all.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn query_or_all(&self) -> Answer<Query> {
        Ok(Query::read(self.text("query").unwrap_or_default())?)
    }

    /// `limit` and `offset`.
    ///
    /// # Errors
    ///
    /// One of them is no number, or out of its range.
    pub fn span(&self) -> Answer<super::super::caller::Span> {
        super::super::caller::Span::of(&self.0)
    }

    /// A file, `name$$base64`.
    ///
    /// # Errors
    ///
    /// It is missing, or something else.
    pub fn needed_file(&self, name: &str) -> Answer<(&str, Vec<u8>)> {
        let text = self.needed(name)?;
        let file = text.split_once("$$");
        let file = file.and_then(|(file, content)| Some((file, view::bytes_of(content)?)));
        match file {
            Some((file, content)) if is_plain(file) => Ok((file, content)),
            _ => wrong(name, "a file, `name$$base64`, whose name is plain"),
        }
    }
}

/// A file's name and nothing more.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && name != "."
        && name != ".."
        && !name.contains(['/', '\\', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::signature::parameters;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_that_is_sent_breaks_it(
            key in "(\\.|[0-9]{1,25}|-|é|\\PC){0,4}",
            value in "(true|\\$|[0-9]{1,25}|-|T|:|Z|[A-Za-z+/=]{4}|é|\\PC){0,12}",
        ) {
            let both = [("a".to_owned(), value.clone()), (format!("a{key}"), value)];
            let told = Arguments::new(both.into());
            let _ = (told.flag("a"), told.choice("a"), told.number("a"), told.time("a"));
            let _ = (told.list("a"), told.needed_numbers("a"), told.map("a"));
            let _ = (told.needed_file("a"), told.span(), told.query_or_all());
            let limits = [("limit", "a"), ("offset", "a")];
            let limits = limits.map(|(name, from)| (name.to_owned(), told.0[from].clone()));
            if let Ok(span) = Arguments::new(limits.into()).span() {
                prop_assert!(span.offset >= 0 && (1..=1000).contains(&span.limit));
            }
        }
    }

    fn of(text: &str) -> Arguments {
        Arguments::new(parameters(text).expect("parameters"))
    }

    #[test]
    fn arguments_are_read() {
        let told = of("tags.2=b&tags.10=c&tags.1=a&t.30=x&t.2=y&yes=true&n=-7&f=a.txt$$aGk=&q=");
        assert_eq!(told.list("tags").expect("a list"), ["a", "b", "c"]);
        assert!(told.list("none").expect("no list").is_empty());
        assert_eq!(
            told.map("t").expect("numbers"),
            BTreeMap::from([(2, "y"), (30, "x")])
        );
        assert!(told.flag("yes").expect("a flag") && !told.flag("no").expect("a flag"));
        assert_eq!(told.choice("yes").expect("a flag"), Some(true));
        assert_eq!(told.choice("no").expect("none"), None);
        assert_eq!(told.number("n").expect("a number"), Some(-7));
        assert_eq!(
            told.needed_file("f").expect("a file"),
            ("a.txt", b"hi".to_vec())
        );
        assert_eq!(
            told.needed("q").expect_err("empty").code,
            "MissingParameter"
        );
        assert_eq!(
            told.needed_numbers("tags").expect_err("text").code,
            "InvalidParameter"
        );
        for wrong in [
            "tags=a",
            "tags=",
            "tags.x=a",
            "tags.=a",
            "tags.1=a&tags.-1=b",
        ] {
            let refusal = of(wrong).needed_list("tags").expect_err(wrong);
            assert_eq!(refusal.code, "InvalidParameter", "{wrong}");
            assert!(
                refusal.message.contains("`tags.1=a&tags.2=b`"),
                "{refusal:?}"
            );
        }
        for wrong in ["f=a", "f=../x$$aGk=", "f=$$aGk=", "f=a$$!"] {
            assert!(of(wrong).needed_file("f").is_err(), "{wrong}");
        }
    }
}
