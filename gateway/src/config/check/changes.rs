//! What is changed about the fields of requests and responses?
//!
//! Reads `set_headers`, `add_headers` and `remove_headers`, and the same for responses, of a route and of the file's top.
//! What a route says of a field takes the place of what the top says of it.

use super::templates;
use super::tokens::is_token;
use crate::config::model::{Changes, Template};
use crate::config::problem::quoted;
use crate::config::read::{Field, Keys, Reader};
use crate::config::tree::Value;
use crate::config::units::Wrong;

/// Most fields of one key.
const FIELDS_MAX: usize = 64;

/// Which heads are meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    Request,
    Response,
}

/// Fields that belong to the connection or to the gateway; nobody must touch them (RFC 9110 section 7.6.1, RFC 9112
/// section 6, RFC 9113 section 8.2.2).
const OURS: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Fields that say how a call or a handshake went.
const OF_THE_EXCHANGE: [&str; 5] = [
    "grpc-message",
    "grpc-status",
    "grpc-status-details-bin",
    "sec-websocket-accept",
    "sec-websocket-key",
];

/// What is changed about both heads.
#[derive(Default)]
pub(super) struct Both {
    pub request: Changes,
    pub response: Changes,
}

/// The keys of requests as they stand in the file, for those that must not have them.
pub(super) type Given<'n> = [Option<Field<'n>>; 3];

/// Takes the keys of requests.
pub(super) fn take_request<'n>(keys: &mut Keys<'n>) -> Given<'n> {
    ["set_headers", "add_headers", "remove_headers"].map(|name| keys.take(name))
}

/// Reads the keys of requests.
pub(super) fn request(given: &Given<'_>, reader: &mut Reader) -> Changes {
    changes(given, Head::Request, reader)
}

/// Reads the keys of responses.
pub(super) fn response(keys: &mut Keys<'_>, reader: &mut Reader) -> Changes {
    let given = [
        "set_response_headers",
        "add_response_headers",
        "remove_response_headers",
    ]
    .map(|name| keys.take(name));
    changes(&given, Head::Response, reader)
}

/// Both, for the file's top.
pub(super) fn both(keys: &mut Keys<'_>, reader: &mut Reader) -> Both {
    let given = take_request(keys);
    Both {
        request: request(&given, reader),
        response: response(keys, reader),
    }
}

/// What holds for a route: its own, and of the defaults what it does not speak of.
pub(super) fn over(own: Changes, defaults: &Changes) -> Changes {
    let spoken = |name: &str| {
        own.remove.iter().any(|own| own == name)
            || own.set.iter().chain(&own.add).any(|(own, _)| own == name)
    };
    let left = |pairs: &[(String, Template)]| -> Vec<_> {
        let left = pairs.iter().filter(|(name, _)| !spoken(name));
        left.cloned().collect()
    };
    let (mut set, mut add) = (left(&defaults.set), left(&defaults.add));
    let left = defaults.remove.iter().filter(|name| !spoken(name));
    let mut remove: Vec<_> = left.cloned().collect();
    remove.extend(own.remove);
    set.extend(own.set);
    add.extend(own.add);
    Changes { remove, set, add }
}

fn changes(given: &Given<'_>, head: Head, reader: &mut Reader) -> Changes {
    let [set, add, remove] = given;
    let mut changes = Changes::default();
    if let Some(field) = set {
        changes.set = set_fields(field, head, reader);
    }
    if let Some(field) = add {
        changes.add = add_fields(field, head, reader);
    }
    if let Some(field) = remove {
        changes.remove = removed(field, head, reader);
    }
    for (field, count) in [
        (set, changes.set.len()),
        (add, changes.add.len()),
        (remove, changes.remove.len()),
    ] {
        if let Some(field) = field
            && count > FIELDS_MAX
        {
            reader.error(
                field.key,
                format!("`{}` has more than {FIELDS_MAX} fields", field.path),
                "workers and clients bound their heads",
            );
        }
    }
    changes
}

fn set_fields(field: &Field<'_>, head: Head, reader: &mut Reader) -> Vec<(String, Template)> {
    let mut set: Vec<(String, Template)> = Vec::new();
    for (key, field) in reader.named(field, "a map such as `{ X-FQDN: \"{host}\" }`") {
        let Some(name) = name(&key.text, settable, head).map_or_else(
            |(what, hint)| {
                reader.error(key.place, what, hint);
                None
            },
            Some,
        ) else {
            continue;
        };
        if set.iter().any(|(other, _)| *other == name) {
            reader.error(
                key.place,
                format!("the field {} is set a second time", quoted(&key.text)),
                "upper and lower case mean the same field",
            );
            continue;
        }
        if let Some(template) = value(&field, reader) {
            set.push((name, template));
        }
    }
    set
}

/// A value, or a list of values, for each field.
fn add_fields(field: &Field<'_>, head: Head, reader: &mut Reader) -> Vec<(String, Template)> {
    let mut add = Vec::new();
    for (key, field) in reader.named(field, "a map such as `{ Link: \"</x>; rel=y\" }`") {
        match name(&key.text, addable, head) {
            Ok(name) => {
                for item in reader.list(&field) {
                    if let Some(template) = value(&item, reader) {
                        add.push((name.clone(), template));
                    }
                }
            }
            Err((what, hint)) => reader.error(key.place, what, hint),
        }
    }
    add
}

fn removed(field: &Field<'_>, head: Head, reader: &mut Reader) -> Vec<String> {
    let items = reader.list(field);
    if items.is_empty() && matches!(&field.node.value, Value::List(_)) {
        reader.error(
            field.key,
            format!("`{}` is empty", field.path),
            "name a field or remove the key",
        );
    }
    let mut remove: Vec<String> = Vec::new();
    for item in &items {
        let Some(text) = reader.text(item, "the name of a field") else {
            continue;
        };
        let named = name(text, addable, head);
        if let Some(name) = reader.or_tell(item, named)
            && !remove.contains(&name)
        {
            remove.push(name);
        }
    }
    remove
}

fn value(field: &Field<'_>, reader: &mut Reader) -> Option<Template> {
    let text = reader.text(field, "a value")?;
    reader.or_tell(field, templates::template(text))
}

/// The name in lower case, where `may` allows it.
fn name(text: &str, may: fn(&str, Head) -> Result<(), Wrong>, head: Head) -> Result<String, Wrong> {
    let name = text.to_ascii_lowercase();
    if !is_token(&name) {
        return Err((
            format!("{} is not the name of a field", quoted(text)),
            "letters, digits and `-`".to_owned(),
        ));
    }
    may(&name, head).map(|()| name)
}

/// Tells why a field must not be set.
fn settable(name: &str, head: Head) -> Result<(), Wrong> {
    if OURS.contains(&name) {
        return Err((
            format!("the field {} belongs to the connection", quoted(name)),
            "the gateway writes it; choose another name".to_owned(),
        ));
    }
    if OF_THE_EXCHANGE.contains(&name) {
        return Err((
            format!("the field {} says how the exchange went", quoted(name)),
            "workers write it; choose another name".to_owned(),
        ));
    }
    if head == Head::Response && (name.starts_with("x-forwarded-") || name == "forwarded") {
        return Err((
            format!("the field {} is for workers", quoted(name)),
            "clients are told nothing by it; choose another name".to_owned(),
        ));
    }
    Ok(())
}

/// Tells why a field must not be added or removed.
fn addable(name: &str, head: Head) -> Result<(), Wrong> {
    let own = name.starts_with("x-forwarded-") || name == "forwarded" || name == "x-request-id";
    if head == Head::Request && own {
        return Err((
            format!("the field {} is the gateway's own", quoted(name)),
            "it is sent once, whatever a client sends; `set_headers` gives it another value"
                .to_owned(),
        ));
    }
    settable(name, head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Piece;

    fn pair(name: &str, value: &str) -> (String, Template) {
        (
            name.to_owned(),
            Template(vec![Piece::Text(value.to_owned())]),
        )
    }

    #[test]
    fn what_a_route_says_of_a_field_takes_the_place_of_the_default() {
        let defaults = Changes {
            remove: vec!["server".to_owned(), "x-a".to_owned()],
            set: vec![pair("x-b", "top"), pair("x-c", "top")],
            add: vec![pair("x-d", "top"), pair("x-e", "top")],
        };
        let own = Changes {
            remove: vec!["x-b".to_owned(), "x-d".to_owned()],
            set: vec![pair("x-a", "route")],
            add: vec![pair("x-c", "route")],
        };
        let both = over(own, &defaults);
        assert_eq!(both.remove, ["server", "x-b", "x-d"]);
        assert_eq!(both.set, [pair("x-a", "route")]);
        assert_eq!(both.add, [pair("x-e", "top"), pair("x-c", "route")]);
        assert_eq!(over(Changes::default(), &defaults), defaults);
    }

    #[test]
    fn fields_that_others_write_are_refused() {
        for (text, head, may) in [
            ("X-A", Head::Request, true),
            ("Host", Head::Request, false),
            ("Transfer-Encoding", Head::Response, false),
            ("grpc-status", Head::Response, false),
            ("X-Forwarded-For", Head::Request, true),
            ("X-Forwarded-For", Head::Response, false),
            ("X-Request-ID", Head::Response, true),
            ("a b", Head::Request, false),
        ] {
            assert_eq!(name(text, settable, head).is_ok(), may, "{text}");
        }
        for (text, head, may) in [
            ("X-Forwarded-For", Head::Request, false),
            ("Forwarded", Head::Request, false),
            ("X-Request-ID", Head::Request, false),
            ("X-Request-ID", Head::Response, true),
            ("Server", Head::Response, true),
        ] {
            assert_eq!(name(text, addable, head).is_ok(), may, "{text}");
        }
    }
}
