//! Which words may stand in a request?

use crate::config::problem::quoted;
use crate::config::read::{Field, Reader};

/// The name of a field or cookie (RFC 9110 section 5.6.2).
pub(super) fn token<'n>(field: &Field<'n>, reader: &mut Reader) -> Option<&'n str> {
    let text = reader.text(field, "a name")?;
    if is_token(text) {
        return Some(text);
    }
    reader.error(
        field.node.place,
        format!("`{}`: {} is not a name", field.path, quoted(text)),
        "letters, digits and `-`",
    );
    None
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=256).contains(&text.len()) && text.bytes().all(word)
}

pub(super) fn visible(field: &Field<'_>, reader: &mut Reader) -> Option<String> {
    let text = reader.text(field, "a word")?;
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Some(text.to_owned());
    }
    reader.error(
        field.node.place,
        format!(
            "`{}`: {} cannot stand in a request",
            field.path,
            quoted(text)
        ),
        "visible ASCII without blanks; encode the rest as `%XX`",
    );
    None
}
