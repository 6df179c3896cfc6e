//! How is a message taken apart? By field, with a reason that names the field where it does not fit.
//!
//! What comes out fits the database: text has no NUL, names fit an index, times lie between 1970 and
//! 2100, numbers fit their columns. Fields that nobody asked for are not looked at.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::bpickle::{Dict, Value};

/// Longest name (of an interface, a user, a tag ...), characters.
pub const NAME_CHARS_MAX: usize = 255;
/// Longest text that is kept of a whole report, bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// The end of the year 2099, seconds.
const SECONDS_MAX: f64 = 4_102_444_799.0;

/// Why a message is not what its type promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {reason}")]
pub struct Invalid {
    /// Which field.
    pub field: String,
    /// What was expected.
    pub reason: &'static str,
}

/// A dictionary that is being taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(&'a Dict);

impl<'a> Fields<'a> {
    /// The fields of a value that must be a dictionary.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn of(value: &'a Value) -> Result<Self, Invalid> {
        let dict = value.as_dict();
        dict.map(Self).ok_or_else(|| invalid("", "a dictionary"))
    }

    /// A field that may be missing. Null counts as missing.
    pub fn find(&self, field: &str) -> Option<&'a Value> {
        let value = self.0.get(field)?;
        (*value != Value::Null).then_some(value)
    }

    /// A field that must be there, read by `read`.
    ///
    /// # Errors
    ///
    /// It is missing, or not what `read` takes.
    pub fn get<T>(&self, field: &str, read: impl Read<T>) -> Result<T, Invalid> {
        self.optional(field, read)?
            .ok_or_else(|| invalid(field, "is missing"))
    }

    /// A field that may be missing, read by `read`.
    ///
    /// # Errors
    ///
    /// It is there and not what `read` takes.
    pub fn optional<T>(&self, field: &str, read: impl Read<T>) -> Result<Option<T>, Invalid> {
        let Some(value) = self.find(field) else {
            return Ok(None);
        };
        match read(value) {
            Ok(read) => Ok(Some(read)),
            Err(reason) => Err(invalid(field, reason)),
        }
    }

    /// The entries of a list as they are; none where the field is missing.
    ///
    /// # Errors
    ///
    /// It is no list.
    pub fn rows(&self, field: &str) -> Result<&'a [Value], Invalid> {
        match self.find(field) {
            None => Ok(&[]),
            Some(value) => value.as_list().ok_or_else(|| invalid(field, "a list")),
        }
    }

    /// Those entries of a list that `read` takes; nothing where the field is missing.
    ///
    /// # Errors
    ///
    /// It is no list.
    pub fn some<T>(
        &self,
        field: &str,
        read: impl Read<T>,
        rows: &mut Rows,
    ) -> Result<Vec<T>, Invalid> {
        let entries = self.rows(field)?.iter();
        let read = |value| read(value).map_err(|reason| invalid(field, reason));
        Ok(entries.filter_map(|value| rows.keep(read(value))).collect())
    }

    /// The entries of a list, each read by `read`; nothing where the field is missing.
    ///
    /// # Errors
    ///
    /// It is no list, or an entry is not what `read` takes.
    pub fn list<T>(&self, field: &str, read: impl Read<T>) -> Result<Vec<T>, Invalid> {
        let list = |value: &Value| match value.as_list() {
            Some(values) => values.iter().map(&read).collect(),
            None => Err("a list"),
        };
        Ok(self.optional(field, list)?.unwrap_or_default())
    }
}

/// What became of the rows of a message's lists: one that does not fit is left out, and takes no other along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    kept: u64,
    left_out: u64,
    why: Option<Invalid>,
}

impl Rows {
    /// A row, where it fits.
    pub fn keep<T>(&mut self, row: Result<T, Invalid>) -> Option<T> {
        match row {
            Ok(row) => {
                self.kept += 1;
                Some(row)
            }
            Err(why) => {
                self.leave(why);
                None
            }
        }
    }

    /// One row is left out.
    pub fn leave(&mut self, why: Invalid) {
        self.left_out += 1;
        self.why.get_or_insert(why);
    }

    /// How many were left out.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Why the first of them was.
    pub fn why(&self) -> Option<&Invalid> {
        self.why.as_ref()
    }

    /// There were rows, and none of them fits: whoever says such a thing means something else.
    ///
    /// # Errors
    ///
    /// Why the first one does not fit.
    pub fn check(&self) -> Result<(), Invalid> {
        match &self.why {
            Some(why) if self.kept == 0 => Err(why.clone()),
            _ => Ok(()),
        }
    }
}

/// How one value is read; the error says what was expected.
pub trait Read<T>: Fn(&Value) -> Result<T, &'static str> {}
impl<T, F: Fn(&Value) -> Result<T, &'static str>> Read<T> for F {}

/// A problem with a field.
pub fn invalid(field: &str, reason: &'static str) -> Invalid {
    Invalid {
        field: field.to_owned(),
        reason,
    }
}

/// Text of any length. NUL, which the database cannot hold, becomes U+FFFD.
///
/// # Errors
///
/// Neither text nor bytes in UTF-8.
pub fn text(value: &Value) -> Result<String, &'static str> {
    let text = value.as_text().ok_or("text")?;
    Ok(text.replace('\0', "\u{fffd}"))
}

/// Text that stands in an index: 1 to [`NAME_CHARS_MAX`] characters.
///
/// # Errors
///
/// No such text.
pub fn name(value: &Value) -> Result<String, &'static str> {
    let name = text(value)?;
    match name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
        true => Err("a name of 1 to 255 characters"),
        false => Ok(name),
    }
}

/// Text of at most [`TEXT_BYTES_MAX`]. NUL becomes U+FFFD.
///
/// # Errors
///
/// No such text.
pub fn bounded(value: &Value) -> Result<String, &'static str> {
    let text = value.as_text().ok_or("text")?;
    match text.len() > TEXT_BYTES_MAX {
        true => Err("text of at most 1 MiB"),
        false => Ok(text.replace('\0', "\u{fffd}")),
    }
}

/// A whole number of 64 bits.
///
/// # Errors
///
/// No such number.
pub fn int(value: &Value) -> Result<i64, &'static str> {
    value.as_int().ok_or("a whole number")
}

/// A number.
///
/// # Errors
///
/// No number.
pub fn float(value: &Value) -> Result<f64, &'static str> {
    value.as_float().ok_or("a number")
}

/// Yes or no.
///
/// # Errors
///
/// Neither.
pub fn truth(value: &Value) -> Result<bool, &'static str> {
    value.as_bool().ok_or("true or false")
}

/// A point in time, from seconds since 1970, to the microsecond.
///
/// # Errors
///
/// No number, or a time before 1970 or after 2099.
pub fn time(value: &Value) -> Result<SystemTime, &'static str> {
    let seconds = value.as_float().ok_or("a time in seconds")?;
    if !(0.0..=SECONDS_MAX).contains(&seconds) {
        return Err("a time from 1970 to 2099");
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let micros = (seconds * 1e6).round() as u64;
    Ok(UNIX_EPOCH + Duration::from_micros(micros))
}

/// A tuple (or list) of three, each entry read by its own reader.
///
/// # Errors
///
/// Another length, or an entry that does not fit.
pub fn triple<A, B, C>(a: impl Read<A>, b: impl Read<B>, c: impl Read<C>) -> impl Read<(A, B, C)> {
    move |value: &Value| match value.as_tuple().or_else(|| value.as_list()) {
        Some([first, second, third]) => Ok((a(first)?, b(second)?, c(third)?)),
        _ => Err("a tuple of three"),
    }
}

/// A tuple (or list) of two.
///
/// # Errors
///
/// Another length, or an entry that does not fit.
pub fn pair<A, B>(a: impl Read<A>, b: impl Read<B>) -> impl Read<(A, B)> {
    move |value: &Value| match value.as_tuple().or_else(|| value.as_list()) {
        Some([first, second]) => Ok((a(first)?, b(second)?)),
        _ => Err("a tuple of two"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_out_fits_the_database() {
        assert_eq!(text(&"a\0b".into()), Ok("a\u{fffd}b".to_owned()));
        assert_eq!(text(&Value::Bytes(b"old".to_vec())), Ok("old".to_owned()));
        assert!(text(&Value::Bytes(vec![0xff])).is_err());
        assert!(name(&"".into()).is_err());
        assert!(name(&"x".repeat(256).into()).is_err());
        assert!(name(&"\u{e9}".repeat(255).into()).is_ok());
        for wrong in [-1.0, f64::NAN, f64::INFINITY, 1e12] {
            assert!(time(&Value::Float(wrong)).is_err(), "{wrong}");
        }
        let half = UNIX_EPOCH + Duration::from_millis(1500);
        assert_eq!(time(&Value::Float(1.5)), Ok(half));
    }

    #[test]
    fn a_reason_names_the_field() {
        let value = Value::dict([("a", Value::Int(1)), ("n", Value::Null)]);
        let fields = Fields::of(&value).expect("a dictionary");
        let said = |result: Result<String, Invalid>| result.expect_err("wrong").to_string();
        assert_eq!(said(fields.get("a", text)), "`a`: text");
        assert_eq!(said(fields.get("b", text)), "`b`: is missing");
        assert_eq!(said(fields.get("n", text)), "`n`: is missing");
        assert_eq!(fields.optional("n", text), Ok(None));
    }
}
