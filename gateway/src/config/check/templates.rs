//! What is written into the fields that a route sets?
//!
//! `{host}`, `{client}` and `{request_id}` are filled in for each request; `{{` and `}}` stand for
//! the braces themselves.

use crate::config::model::{Piece, Template};
use crate::config::problem::quoted;
use crate::config::read::did_you_mean;
use crate::config::units::Wrong;

/// Fields that belong to the connection or to the gateway; a route must not touch them
/// (RFC 9110 section 7.6.1, RFC 9112 section 6, RFC 9113 section 8.2.2).
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

/// Tells why a field must not be set.
pub(super) fn settable(name: &str) -> Result<(), Wrong> {
    if OURS.contains(&name) {
        return Err((
            format!("the field {} belongs to the connection", quoted(name)),
            "the gateway writes it; choose another name".to_owned(),
        ));
    }
    Ok(())
}

pub(super) fn template(text: &str) -> Result<Template, Wrong> {
    if let Some(bad) = text.chars().find(|c| !(c.is_ascii_graphic() || *c == ' ')) {
        return Err((
            format!("{} cannot stand in a field", quoted(&bad.to_string())),
            "visible ASCII and blanks only".to_owned(),
        ));
    }
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let brace = &rest[at..=at];
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            plain.push_str(brace);
            rest = after;
            continue;
        }
        let Some((name, after)) = rest.split_once('}').filter(|_| brace == "{") else {
            return Err((
                format!("a `{brace}` in {} stands alone", quoted(text)),
                "write `{{` and `}}` for the braces themselves".to_owned(),
            ));
        };
        let piece = match name {
            "host" => Piece::Host,
            "client" => Piece::Client,
            "request_id" => Piece::RequestId,
            _ => {
                let known = ["host", "client", "request_id"];
                return Err((
                    format!("the placeholder {} is not known", quoted(name)),
                    did_you_mean(name, &known),
                ));
            }
        };
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(piece);
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(Template(pieces))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found_and_braces_can_be_written() {
        let text = |text: &str| Piece::Text(text.to_owned());
        for (written, want) in [
            ("{host}", vec![Piece::Host]),
            (
                "a {client}-{request_id} b",
                vec![
                    text("a "),
                    Piece::Client,
                    text("-"),
                    Piece::RequestId,
                    text(" b"),
                ],
            ),
            ("{{host}}", vec![text("{host}")]),
            ("", vec![]),
        ] {
            assert_eq!(template(written), Ok(Template(want)), "{written}");
        }
        for (written, what) in [
            ("{hots}", "not known"),
            ("{host", "alone"),
            ("a}", "alone"),
            ("a\r\nb", "cannot stand"),
            ("é", "cannot stand"),
        ] {
            let (told, _) = template(written).expect_err(written);
            assert!(told.contains(what), "{written}: {told}");
        }
    }
}
