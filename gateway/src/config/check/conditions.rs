//! Which requests does a route take besides host and path?
//!
//! Reads `method:` and `header:`.

use super::tokens::{is_token, token};
use crate::config::model::HeaderMatch;
use crate::config::problem::quoted;
use crate::config::read::{Field, Reader};
use crate::config::tree::Value;

pub(super) fn read_methods(field: &Field<'_>, reader: &mut Reader) -> Vec<String> {
    let items = reader.list(field);
    if items.is_empty() && matches!(&field.node.value, Value::List(_)) {
        reader.error(
            field.key,
            "`method` is empty, so nothing matches",
            "leave it out for every method",
        );
    }
    let mut methods: Vec<String> = items
        .iter()
        .filter_map(|item| token(item, reader))
        .map(str::to_ascii_uppercase)
        .collect();
    if methods
        .iter()
        .any(|method| method == "*" || method == "ANY")
    {
        reader.error(
            field.key,
            "`method` has no wildcard",
            "leave it out for every method",
        );
    }
    methods.sort();
    methods.dedup();
    methods
}

pub(super) fn read_headers(field: &Field<'_>, reader: &mut Reader) -> Vec<HeaderMatch> {
    let mut headers: Vec<HeaderMatch> = Vec::new();
    for (key, field) in reader.named(field, "a map such as `{ X-Fleet: \"*\" }`") {
        let Some(value) = reader.text(&field, "a value, or \"*\" for any") else {
            continue;
        };
        let name = key.text.to_ascii_lowercase();
        if !is_token(&name) {
            reader.error(
                key.place,
                format!("{} is not the name of a field", quoted(&key.text)),
                "letters, digits and `-`",
            );
        } else if headers.iter().any(|header| header.name == name) {
            reader.error(
                key.place,
                format!("the field {} stands here a second time", quoted(&key.text)),
                "upper and lower case mean the same field",
            );
        } else if value.is_empty() || !value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            reader.error(
                field.node.place,
                format!("{} cannot stand in a field", quoted(value)),
                "visible ASCII and blanks, or \"*\" for any value",
            );
        } else {
            headers.push(HeaderMatch {
                name,
                value: (value != "*").then(|| value.to_owned()),
            });
        }
    }
    headers.sort();
    headers
}
