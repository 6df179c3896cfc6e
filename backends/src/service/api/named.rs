//! What may a thing be called? Titles, users and access groups have one bound, whichever form of the API names them.

use super::refusal::{Answer, Refusal};

/// Longest name, characters.
pub const CHARS_MAX: usize = 255;

/// A title of a script or a computer.
///
/// # Errors
///
/// It is empty or too long.
pub fn titled(title: &str) -> Answer<String> {
    let title = title.trim();
    match title.chars().count() {
        1..=CHARS_MAX => Ok(title.to_owned()),
        _ => {
            let message = format!("a title has 1 to {CHARS_MAX} characters");
            Err(Refusal::argument("InvalidTitle", message))
        }
    }
}

/// A text of one name; an empty one is none.
///
/// # Errors
///
/// It is too long.
pub fn named<'a>(parameter: &str, text: Option<&'a str>) -> Answer<Option<&'a str>> {
    let text = text.filter(|text| !text.is_empty());
    match text.is_some_and(is_long) {
        true => {
            let message = format!("`{parameter}` has at most {CHARS_MAX} characters");
            Err(Refusal::argument("InvalidParameter", message))
        }
        false => Ok(text),
    }
}

/// An access group as it is kept, of the name that clients have for it: the global one has none.
///
/// # Errors
///
/// It is too long.
pub fn access_group(name: &str) -> Answer<&str> {
    match name {
        "global" => Ok(""),
        name if is_long(name) => {
            let message = format!("an access group has at most {CHARS_MAX} characters");
            Err(Refusal::argument("UnknownAccessGroup", message))
        }
        name => Ok(name),
    }
}

fn is_long(name: &str) -> bool {
    name.chars().count() > CHARS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_at_most_so_many_characters_whatever_these_are() {
        let (fits, long) = ("é".repeat(CHARS_MAX), "é".repeat(CHARS_MAX + 1));
        assert_eq!(titled(&fits).as_deref(), Ok(fits.as_str()));
        assert_eq!(named("a", Some(&fits)), Ok(Some(fits.as_str())));
        assert_eq!(access_group(&fits), Ok(fits.as_str()));
        assert_eq!(titled(&long).expect_err("long").code, "InvalidTitle");
        let told = named("a", Some(&long)).expect_err("long");
        assert!(told.message.contains("`a`"), "{told:?}");
        let told = access_group(&long).expect_err("long");
        assert_eq!(told.code, "UnknownAccessGroup");
    }

    #[test]
    fn nothing_is_no_name_and_the_global_group_has_none() {
        assert_eq!(
            (named("a", None), named("a", Some(""))),
            (Ok(None), Ok(None))
        );
        assert_eq!((access_group("global"), access_group("")), (Ok(""), Ok("")));
        assert!(titled(" \n").is_err());
    }
}
