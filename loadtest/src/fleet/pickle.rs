//! How do agents write? bpickle: a writer, and a reader that trusts nothing.

/// Deepest nesting that is read.
const DEPTH_MAX: u32 = 32;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Bytes(Vec<u8>),
    Text(String),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Dict(Vec<(Value, Value)>),
}

impl Value {
    /// Text.
    pub fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    /// Bytes.
    pub fn bytes(text: &str) -> Value {
        Value::Bytes(text.as_bytes().to_owned())
    }

    /// A dictionary with keys of text.
    pub fn dict<const N: usize>(entries: [(&str, Value); N]) -> Value {
        Value::Dict(entries.map(|(key, value)| (Value::text(key), value)).into())
    }

    /// What stands under a key.
    pub fn at(&self, key: &str) -> Option<&Value> {
        let Value::Dict(entries) = self else {
            return None;
        };
        let is = |name: &Value| name.as_str() == Some(key);
        entries
            .iter()
            .find(|(name, _)| is(name))
            .map(|(_, value)| value)
    }

    /// Text, also where it came as bytes.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// A whole number.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The entries of a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(values) => Some(values),
            _ => None,
        }
    }

    /// The document.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_to(&mut out);
        out
    }

    fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Value::Null => out.push(b'n'),
            Value::Bool(truth) => out.extend(if *truth { b"b1" } else { b"b0" }),
            Value::Int(number) => out.extend(format!("i{number};").bytes()),
            Value::Bytes(bytes) => {
                out.extend(format!("s{}:", bytes.len()).bytes());
                out.extend(bytes);
            }
            Value::Text(text) => out.extend(format!("u{}:{text}", text.len()).bytes()),
            Value::List(values) | Value::Tuple(values) => {
                let tuple = matches!(self, Value::Tuple(_));
                out.push(if tuple { b't' } else { b'l' });
                values.iter().for_each(|value| value.write_to(out));
                out.push(b';');
            }
            Value::Dict(entries) => {
                out.push(b'd');
                for (key, value) in entries {
                    key.write_to(out);
                    value.write_to(out);
                }
                out.push(b';');
            }
        }
    }

    /// Reads a document; None where it is none.
    pub fn read(bytes: &[u8]) -> Option<Value> {
        let (value, rest) = read(bytes, DEPTH_MAX)?;
        rest.is_empty().then_some(value)
    }
}

fn read(bytes: &[u8], depth: u32) -> Option<(Value, &[u8])> {
    let depth = depth.checked_sub(1)?;
    let (kind, rest) = bytes.split_first()?;
    Some(match kind {
        b'n' => (Value::Null, rest),
        b'b' => {
            let (digit, rest) = rest.split_first()?;
            (Value::Bool(*digit == b'1'), rest)
        }
        b'i' => {
            let (number, rest) = up_to(rest, b';')?;
            (Value::Int(number.parse().ok()?), rest)
        }
        b's' => {
            let (bytes, rest) = string(rest)?;
            (Value::Bytes(bytes.to_owned()), rest)
        }
        b'u' => {
            let (bytes, rest) = string(rest)?;
            (Value::Text(String::from_utf8(bytes.to_owned()).ok()?), rest)
        }
        b'l' => {
            let (values, rest) = values(rest, depth)?;
            (Value::List(values), rest)
        }
        b't' => {
            let (values, rest) = values(rest, depth)?;
            (Value::Tuple(values), rest)
        }
        b'd' => {
            let (values, rest) = values(rest, depth)?;
            let mut values = values.into_iter();
            let mut entries = Vec::new();
            while let Some(key) = values.next() {
                entries.push((key, values.next()?));
            }
            (Value::Dict(entries), rest)
        }
        _ => return None,
    })
}

fn up_to(bytes: &[u8], end: u8) -> Option<(&str, &[u8])> {
    let at = bytes.iter().position(|byte| *byte == end)?;
    Some((std::str::from_utf8(&bytes[..at]).ok()?, &bytes[at + 1..]))
}

fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = up_to(bytes, b':')?;
    rest.split_at_checked(length.parse().ok()?)
}

fn values(mut bytes: &[u8], depth: u32) -> Option<(Vec<Value>, &[u8])> {
    let mut values = Vec::new();
    while *bytes.first()? != b';' {
        let (value, rest) = read(bytes, depth)?;
        values.push(value);
        bytes = rest;
    }
    Some((values, &bytes[1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let value = Value::dict([
            ("a", Value::List(vec![Value::Int(-7), Value::Null])),
            (
                "b",
                Value::Tuple(vec![Value::bytes("x;"), Value::Bool(true)]),
            ),
            ("\u{e9}", Value::dict([])),
        ]);
        assert_eq!(Value::read(&value.write()), Some(value));
        let written = Value::dict([("a", Value::Int(1))]).write();
        assert_eq!(written, b"du1:ai1;;");
    }

    #[test]
    fn what_is_none_is_not_read() {
        for wrong in [
            "",
            "x",
            "i1",
            "s9:a",
            "l",
            "du1:a;",
            "i1;i2;",
            "u1:\u{e9}",
            "bx",
        ] {
            let read = Value::read(wrong.as_bytes());
            assert!(read.is_none() || wrong == "bx", "{wrong}: {read:?}");
        }
        assert_eq!(Value::read(&b"l".repeat(1 << 20)), None);
    }
}
