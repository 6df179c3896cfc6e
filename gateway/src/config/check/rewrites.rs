//! How is a path changed on its way to the worker?
//!
//! Reads `rewrite:`, a path that takes the place of the route's or a pattern, and `strip_prefix:`, its shortest form.

use regex::RegexBuilder;

use super::paths;
use crate::config::model::{Pattern, Rewrite};
use crate::config::problem::quoted;
use crate::config::read::{Field, Reader};
use crate::config::tree::Value;
use crate::config::units::Wrong;

/// Memory of a compiled pattern, bytes.
const REGEX_BYTES_MAX: usize = 1024 * 1024;

/// One of `rewrite` and `strip_prefix`.
pub(super) fn rewrite(
    rewrite: Option<&Field<'_>>,
    strip: Option<&Field<'_>>,
    reader: &mut Reader,
) -> Option<Rewrite> {
    let stripped = strip
        .and_then(|field| reader.flag(field))
        .filter(|strip| *strip)
        .map(|_| Rewrite::Prefix(String::new()));
    let Some(field) = rewrite else {
        return stripped;
    };
    if let Some(strip) = strip {
        reader.error(
            strip.key,
            "a route has one of `rewrite` and `strip_prefix`",
            "`strip_prefix: true` means `rewrite: /`",
        );
        return None;
    }
    if matches!(&field.node.value, Value::Text(_)) {
        let text = reader.text(field, "a path such as `/new`")?;
        return reader.or_tell(field, prefix(text));
    }
    let wanted = "a path, or `{ match: '^/a/(.*)$', to: '/b/$1' }`";
    let mut keys = reader.keys(field, wanted)?;
    let (from, to) = (keys.need(reader, "match"), keys.need(reader, "to"));
    keys.done(reader);
    let (from, to) = (from?, to?);
    let text = reader.text(&from, "a regular expression")?;
    let regex = reader.or_tell(&from, compiled(text))?;
    let text = reader.text(&to, "what takes its place")?;
    reader.or_tell(&to, replacement(text, &regex))?;
    Some(Rewrite::Pattern(Pattern {
        regex,
        to: text.to_owned(),
    }))
}

/// The path as it is sent, without a trailing slash: escaped where a path has to be.
fn prefix(text: &str) -> Result<Rewrite, Wrong> {
    let path = paths::path(text)?;
    let mut sent = String::with_capacity(path.len());
    for c in path.chars() {
        // What is not ASCII was escaped by `paths::path`, and so were `%` and slashes that are data.
        if c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/%".contains(c) {
            sent.push(c);
        } else {
            sent.push_str(&format!("%{:02X}", u32::from(c)));
        }
    }
    if sent == "/" {
        sent.clear();
    }
    Ok(Rewrite::Prefix(sent))
}

fn compiled(text: &str) -> Result<regex::Regex, Wrong> {
    RegexBuilder::new(text)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| {
            let told = error.to_string();
            // The crate draws a picture; its last line says what is wrong.
            let why = told.lines().last().unwrap_or_default();
            let why = why.trim().trim_start_matches("error: ");
            (
                format!("{} is not a regular expression: {why}", quoted(text)),
                "the syntax of the `regex` crate: no look-around, no back-references".to_owned(),
            )
        })
}

/// Only groups that are there can be named, and what comes of it begins with a slash.
fn replacement(text: &str, regex: &regex::Regex) -> Result<(), Wrong> {
    if !text.starts_with('/') {
        return Err((
            format!("{} does not begin with a slash", quoted(text)),
            "the whole path is made anew: write `'/b/$1'`".to_owned(),
        ));
    }
    if let Some(bad) = text
        .chars()
        .find(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#' | '\\'))
    {
        return Err((
            format!("{} cannot stand in a path", quoted(&bad.to_string())),
            "the query stays as it is; write other characters as `%20`".to_owned(),
        ));
    }
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
            continue;
        }
        let (name, braced) = match rest.strip_prefix('{') {
            Some(inside) => (inside.split('}').next().unwrap_or_default(), true),
            None => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                (&rest[..end.unwrap_or(rest.len())], false)
            }
        };
        let there = match name.parse::<usize>() {
            Ok(number) => number < regex.captures_len(),
            Err(_) => regex.capture_names().flatten().any(|known| known == name),
        };
        if !there {
            let hint = if !braced && name.starts_with(|c: char| c.is_ascii_digit()) {
                "letters behind a number belong to the name: write `${1}`"
            } else {
                "groups are `$1`, `$2`, or `${name}` for `(?P<name>...)`; `$$` is a dollar"
            };
            return Err((
                format!("there is no group {} in the pattern", quoted(name)),
                hint.to_owned(),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_kept_as_it_is_sent() {
        for (text, want) in [
            ("/", ""),
            ("/new", "/new"),
            ("/new/", "/new"),
            ("/a/b", "/a/b"),
            ("/my files", "/my%20files"),
            ("/é", "/%C3%A9"),
            ("/50%25", "/50%25"),
        ] {
            assert_eq!(prefix(text), Ok(Rewrite::Prefix(want.to_owned())), "{text}");
        }
        for text in ["new", "/a//b", "/a/../b", "/a?b"] {
            prefix(text).expect_err(text);
        }
    }

    #[test]
    fn only_groups_that_are_there_can_be_named() {
        let regex = compiled("^/a/(.*)/(?P<rest>.*)$").unwrap();
        for text in ["/b", "/b/$1", "/b/${1}x/${rest}", "/$rest/$0", "/a$$b"] {
            assert_eq!(replacement(text, &regex), Ok(()), "{text}");
        }
        for (text, what) in [
            ("b/$1", "slash"),
            ("/$3", "no group"),
            ("/$1x", "no group `1x`"),
            ("/${other}", "no group"),
            ("/$", "no group"),
            ("/a?b=$1", "cannot stand"),
            ("/a b", "cannot stand"),
        ] {
            let (told, _) = replacement(text, &regex).expect_err(text);
            assert!(told.contains(what), "{text}: {told}");
        }
    }

    #[test]
    fn a_pattern_that_could_not_be_matched_in_time_is_refused() {
        for text in ["(", "^/(?=a)", r"^/(a)\1", "(a{1000}){1000}"] {
            let (told, _) = compiled(text).expect_err(text);
            assert!(told.contains("regular expression"), "{text}: {told}");
        }
    }
}
