//! What does the environment add?
//!
//! Replaces `${NAME}` and `${NAME:-default}` in scalar values; `$${` stands for a literal `${`.
//! It happens after YAML is read, so a value from outside can never change the shape of the file.
//! Keys are left alone.

use super::problem::{Problem, quoted};
use super::tree::{Node, Value};

/// Asks the environment for a variable.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces variables in every value below `node`.
pub(super) fn expand(node: &mut Node, env: Lookup<'_>, problems: &mut Vec<Problem>) {
    match &mut node.value {
        Value::Text(text) if text.contains("${") => match expand_text(text, env) {
            Ok(expanded) => *text = expanded,
            Err((what, hint)) => {
                problems.push(Problem::error(node.place, what).hint(hint));
                node.value = Value::Broken;
            }
        },
        Value::List(items) => items
            .iter_mut()
            .for_each(|item| expand(item, env, problems)),
        Value::Map(entries) => entries
            .iter_mut()
            .for_each(|(_, item)| expand(item, env, problems)),
        Value::Text(_) | Value::Empty | Value::Broken => {}
    }
}

fn expand_text(text: &str, env: Lookup<'_>) -> Result<String, (String, String)> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let (inside, after) = rest[at + 2..].split_once('}').ok_or_else(|| {
            (
                "`${` is never closed".to_owned(),
                "write `${NAME}`, or `$${` for the two characters themselves".to_owned(),
            )
        })?;
        out.push_str(&variable(inside, env)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn variable(inside: &str, env: Lookup<'_>) -> Result<String, (String, String)> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(word) || name.starts_with(|c: char| c.is_ascii_digit())
    {
        let hint = "letters, digits and `_`; a default follows as `${NAME:-default}`".to_owned();
        return Err((
            format!("{} is not the name of a variable", quoted(name)),
            hint,
        ));
    }
    match (env(name), default) {
        // As in the shell, `:-` also replaces a variable that is set but empty.
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => {
            let hint = format!("set it, or give a default: `${{{name}:-value}}`");
            Err((
                format!("the environment variable {} is not set", quoted(name)),
                hint,
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "PORT" => Some("8443".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_and_defaults_are_replaced() {
        for (text, want) in [
            (":${PORT}", ":8443"),
            (":${PORT:-443}", ":8443"),
            (":${OTHER:-443}", ":443"),
            ("${EMPTY:-x}${EMPTY}", "x"),
            ("${OTHER:-}", ""),
            ("$${PORT} $5", "${PORT} $5"),
            ("a${PORT}b${PORT}c", "a8443b8443c"),
        ] {
            assert_eq!(expand_text(text, &env).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn names_that_are_not_set_or_not_names_are_told() {
        for (text, what) in [
            ("${OTHER}", "`OTHER` is not set"),
            ("${PORT", "never closed"),
            ("${}", "not the name"),
            ("${a b}", "not the name"),
            ("${1A:-x}", "not the name"),
        ] {
            let (told, _) = expand_text(text, &env).expect_err(text);
            assert!(told.contains(what), "{text}: {told}");
        }
    }
}
