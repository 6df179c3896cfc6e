//! How does an agent write? A small writer and reader of bpickle, made apart from the one under test.
//!
//! Keys are text or bytes as they were given, in the order they were given. The reader trusts its
//! input: it reads what a service answered, and panics where that is none.

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Pickle {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number as it is written, `1.5`.
    Float(String),
    /// `s`
    Bytes(Vec<u8>),
    /// `u`
    Text(String),
    /// `l`
    List(Vec<Pickle>),
    /// `t`
    Tuple(Vec<Pickle>),
    /// `d`
    Dict(Vec<(Pickle, Pickle)>),
    /// These bytes, whether they are a value or not. Never read.
    Raw(Vec<u8>),
}

/// Text.
pub fn u(text: &str) -> Pickle {
    Pickle::Text(text.to_owned())
}

/// Bytes.
pub fn s(text: &str) -> Pickle {
    Pickle::Bytes(text.as_bytes().to_owned())
}

/// A whole number.
pub fn i(number: i64) -> Pickle {
    Pickle::Int(number)
}

/// A list.
pub fn l<const N: usize>(values: [Pickle; N]) -> Pickle {
    Pickle::List(values.into())
}

/// A tuple.
pub fn t<const N: usize>(values: [Pickle; N]) -> Pickle {
    Pickle::Tuple(values.into())
}

/// A dictionary with text keys.
pub fn d<const N: usize>(entries: [(&str, Pickle); N]) -> Pickle {
    Pickle::Dict(entries.map(|(key, value)| (u(key), value)).into())
}

impl Pickle {
    /// What stands under a text key.
    pub fn at(&self, key: &str) -> Option<&Pickle> {
        let Pickle::Dict(entries) = self else {
            return None;
        };
        let found = entries.iter().find(|(name, _)| *name == u(key));
        found.map(|(_, value)| value)
    }

    /// The entries of a list.
    pub fn list(&self) -> &[Pickle] {
        match self {
            Pickle::List(values) => values,
            other => panic!("no list: {other:?}"),
        }
    }

    /// The text of text, and of nothing else.
    pub fn text(&self) -> &str {
        match self {
            Pickle::Text(text) => text,
            other => panic!("no text: {other:?}"),
        }
    }

    /// The whole number.
    pub fn int(&self) -> i64 {
        match self {
            Pickle::Int(number) => *number,
            other => panic!("no whole number: {other:?}"),
        }
    }

    /// The bytes of bytes, and of nothing else.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Pickle::Bytes(bytes) => bytes,
            other => panic!("no bytes: {other:?}"),
        }
    }

    /// The document.
    pub fn write(&self) -> Vec<u8> {
        match self {
            Pickle::Null => b"n".to_vec(),
            Pickle::Bool(truth) => format!("b{}", i32::from(*truth)).into_bytes(),
            Pickle::Int(number) => format!("i{number};").into_bytes(),
            Pickle::Float(number) => format!("f{number};").into_bytes(),
            Pickle::Bytes(bytes) => [format!("s{}:", bytes.len()).as_bytes(), bytes].concat(),
            Pickle::Text(text) => format!("u{}:{text}", text.len()).into_bytes(),
            Pickle::List(values) => around(b"l", values.iter().map(Pickle::write)),
            Pickle::Tuple(values) => around(b"t", values.iter().map(Pickle::write)),
            Pickle::Dict(entries) => around(
                b"d",
                entries
                    .iter()
                    .map(|(key, value)| [key.write(), value.write()].concat()),
            ),
            Pickle::Raw(bytes) => bytes.clone(),
        }
    }

    /// Reads a document.
    pub fn read(bytes: &[u8]) -> Pickle {
        let (value, rest) = value(bytes);
        assert!(rest.is_empty(), "bytes after the value");
        value
    }
}

fn around(kind: &[u8], inner: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut all = kind.to_vec();
    for one in inner {
        all.extend_from_slice(&one);
    }
    all.push(b';');
    all
}

fn value(bytes: &[u8]) -> (Pickle, &[u8]) {
    let (kind, rest) = bytes.split_first().expect("a value");
    match kind {
        b'n' => (Pickle::Null, rest),
        b'b' => (Pickle::Bool(rest[0] == b'1'), &rest[1..]),
        b'i' => {
            let (number, rest) = up_to(rest, b';');
            (Pickle::Int(number.parse().expect("a number")), rest)
        }
        b'f' => {
            let (number, rest) = up_to(rest, b';');
            (Pickle::Float(number.to_owned()), rest)
        }
        b's' => {
            let (bytes, rest) = string(rest);
            (Pickle::Bytes(bytes.to_owned()), rest)
        }
        b'u' => {
            let (bytes, rest) = string(rest);
            let text = String::from_utf8(bytes.to_owned()).expect("UTF-8");
            (Pickle::Text(text), rest)
        }
        b'l' => {
            let (values, rest) = values(rest);
            (Pickle::List(values), rest)
        }
        b't' => {
            let (values, rest) = values(rest);
            (Pickle::Tuple(values), rest)
        }
        b'd' => {
            let (values, rest) = values(rest);
            let pairs = values
                .chunks(2)
                .map(|pair| (pair[0].clone(), pair[1].clone()));
            (Pickle::Dict(pairs.collect()), rest)
        }
        other => panic!("no kind of value: {other}"),
    }
}

fn up_to(bytes: &[u8], end: u8) -> (&str, &[u8]) {
    let at = bytes.iter().position(|byte| *byte == end).expect("its end");
    let text = std::str::from_utf8(&bytes[..at]).expect("text");
    (text, &bytes[at + 1..])
}

fn string(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = up_to(bytes, b':');
    rest.split_at(length.parse().expect("a length"))
}

fn values(mut bytes: &[u8]) -> (Vec<Pickle>, &[u8]) {
    let mut values = Vec::new();
    while bytes.first() != Some(&b';') {
        let (one, rest) = value(bytes);
        values.push(one);
        bytes = rest;
    }
    (values, &bytes[1..])
}
