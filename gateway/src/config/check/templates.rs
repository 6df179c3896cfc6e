//! What is written into the fields that a route sets?
//!
//! `{host}`, `{client}`, `{path}` and others are filled in for each request; `{{` and `}}` stand for
//! the braces themselves.

use crate::config::model::{Piece, Template};
use crate::config::problem::quoted;
use crate::config::read::did_you_mean;
use crate::config::units::Wrong;

/// What can be filled in.
const PLACEHOLDERS: [(&str, Piece); 12] = [
    ("host", Piece::Host),
    ("hostname", Piece::Hostname),
    ("client", Piece::Client),
    ("request_id", Piece::RequestId),
    ("method", Piece::Method),
    ("path", Piece::Path),
    ("rest", Piece::Rest { slash: false }),
    ("query", Piece::Query),
    ("scheme", Piece::Scheme),
    ("port", Piece::Port),
    ("listener", Piece::Listener),
    ("route", Piece::Route),
];

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
        let Some((_, piece)) = PLACEHOLDERS.iter().find(|(known, _)| *known == name) else {
            return Err((
                format!("the placeholder {} is not known", quoted(name)),
                did_you_mean(name, &PLACEHOLDERS.map(|(known, _)| known)),
            ));
        };
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(piece.clone());
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
