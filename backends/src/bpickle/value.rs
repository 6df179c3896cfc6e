//! What can a document hold? The nine kinds of values, and how they are looked at.
//!
//! Bytes and text are different kinds of values, lists and tuples too: an agent that wants one
//! refuses the other. Keys are text or integers: writers of an older time wrote keys as bytes, which
//! is the same key, so there are no keys of bytes.

use std::cmp::Ordering;

/// A dictionary, sorted by key as it is written. Pairs that lie side by side and take no more room than they need: a tree has
/// room for eleven in a node, and strangers send many dictionaries of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dict(Vec<(Key, Value)>);

impl Dict {
    /// One without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// What stands under a text key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let place = self.0.binary_search_by(|(own, _)| match own {
            Key::Int(_) => Ordering::Less,
            Key::Text(own) => own.as_str().cmp(key),
        });
        self.0.get(place.ok()?).map(|(_, value)| value)
    }

    /// Puts a value under a key, in the place of what stood there.
    pub fn insert(&mut self, key: Key, value: Value) {
        match self.0.binary_search_by(|(own, _)| own.cmp(&key)) {
            Ok(place) => self.0[place].1 = value,
            Err(place) => self.0.insert(place, (key, value)),
        }
    }

    /// For how many entries there is room.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// The entries, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

impl From<Vec<(Key, Value)>> for Dict {
    /// The last of two with one key counts.
    fn from(mut entries: Vec<(Key, Value)>) -> Self {
        if !entries.is_sorted_by(|(one, _), (next, _)| one < next) {
            // Those with one key stay in their order.
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            entries.dedup_by(|later, kept| {
                let same = later.0 == kept.0;
                if same {
                    std::mem::swap(later, kept);
                }
                same
            });
        }
        entries.shrink_to_fit();
        Self(entries)
    }
}

impl<const N: usize> From<[(Key, Value); N]> for Dict {
    fn from(entries: [(Key, Value); N]) -> Self {
        Vec::from(entries).into()
    }
}

impl FromIterator<(Key, Value)> for Dict {
    fn from_iter<T: IntoIterator<Item = (Key, Value)>>(entries: T) -> Self {
        entries.into_iter().collect::<Vec<_>>().into()
    }
}

/// The key of a dictionary.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A whole number.
    Int(i64),
    /// Text, also where it arrived as bytes.
    Text(String),
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number; infinities and NaN included.
    Float(f64),
    /// A byte string.
    Bytes(Vec<u8>),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A tuple, which is not a list.
    Tuple(Vec<Value>),
    /// A dictionary.
    Dict(Dict),
}

impl Value {
    /// A dictionary with text keys.
    pub fn dict<const N: usize>(entries: [(&str, Value); N]) -> Self {
        Self::Dict(entries.map(|(key, value)| (key.into(), value)).into())
    }

    /// What stands under a text key; nothing where this is no dictionary.
    pub fn at(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Dict(entries) => entries.get(key),
            _ => None,
        }
    }

    /// The text, also of bytes that are UTF-8: older agents write text as bytes.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The bytes, also of text.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Text(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// The whole number.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The number, whole or not.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            // Beyond 2^53 the nearest float is near enough for what agents measure.
            #[allow(clippy::cast_precision_loss)]
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// Yes or no.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The entries of a list.
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }

    /// The entries of a tuple.
    pub fn as_tuple(&self) -> Option<&[Self]> {
        match self {
            Self::Tuple(values) => Some(values),
            _ => None,
        }
    }

    /// The entries of a dictionary.
    pub fn as_dict(&self) -> Option<&Dict> {
        match self {
            Self::Dict(entries) => Some(entries),
            _ => None,
        }
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_owned())
    }
}
