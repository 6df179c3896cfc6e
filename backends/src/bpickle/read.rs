//! What do a stranger's bytes say? One value, or the reason why they are refused, and where.
//!
//! The reader takes what writers write and nothing else: no spaces, signs, underscores or leading
//! zeroes in numbers, no bytes after the value, no string that ends early. A declared length is
//! compared with what is there before anything is allocated, nesting has a bound (the reader calls
//! itself), and so has the number of values: one byte of input can become a value of 32 bytes.

use super::value::{Dict, Key, Value};

/// Most digits of a whole number that may fit 64 bits, with its sign.
const INT_BYTES_MAX: usize = 20;
/// Most characters of a float; the longest shortest form has 24.
const FLOAT_BYTES_MAX: usize = 32;

/// What a document may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Deepest nesting; a bare value has depth 1.
    pub depth_max: usize,
    /// Most values in all, keys not counted.
    pub values_max: usize,
}

impl Default for Limits {
    /// Depth 64 and a million values: the largest honest report has some ten thousand.
    fn default() -> Self {
        Self {
            depth_max: 64,
            values_max: 1_000_000,
        }
    }
}

/// Why bytes are no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The input ends inside a value.
    #[error("the input ends too early")]
    End,
    /// Bytes follow the value.
    #[error("bytes follow the value")]
    Rest,
    /// A byte that begins no value.
    #[error("no kind of value begins with this byte")]
    Kind,
    /// Not a number as it is written, or beyond 64 bits.
    #[error("not a number of 64 bits as it is written")]
    Number,
    /// A length that is no number, or that is longer than the input.
    #[error("a length that is no number or beyond the input")]
    Length,
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    Text,
    /// A key that is neither text nor a whole number.
    #[error("a key that is neither text nor a whole number")]
    Key,
    /// Nested too deeply.
    #[error("nested too deeply")]
    Depth,
    /// Too many values.
    #[error("too many values")]
    Values,
}

/// A document that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {problem}")]
pub struct Refusal {
    /// Where, in bytes from the start.
    pub at: usize,
    /// Why.
    pub problem: Problem,
}

/// Reads one document, all of it.
///
/// # Errors
///
/// The first [`Problem`] and its place.
pub fn read(bytes: &[u8], limits: Limits) -> Result<Value, Refusal> {
    let mut reader = Reader {
        bytes,
        at: 0,
        values_left: limits.values_max,
    };
    let value = reader
        .value(limits.depth_max)
        .and_then(|value| match reader.at == bytes.len() {
            true => Ok(value),
            false => Err(Problem::Rest),
        });
    value.map_err(|problem| Refusal {
        at: reader.at,
        problem,
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    values_left: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, Problem> {
        let inner = depth.checked_sub(1).ok_or(Problem::Depth)?;
        self.values_left = self.values_left.checked_sub(1).ok_or(Problem::Values)?;
        let value = match self.peek()? {
            b'n' => {
                self.at += 1;
                Value::Null
            }
            b'b' => Value::Bool(self.truth()?),
            b'i' => Value::Int(self.int()?),
            b'f' => Value::Float(self.float()?),
            b's' => Value::Bytes(self.string()?.to_owned()),
            b'u' => Value::Text(self.text()?.to_owned()),
            b'l' => Value::List(self.values(inner)?),
            b't' => Value::Tuple(self.values(inner)?),
            b'd' => Value::Dict(self.dict(inner)?),
            _ => return Err(Problem::Kind),
        };
        Ok(value)
    }

    fn peek(&self) -> Result<u8, Problem> {
        self.bytes.get(self.at).copied().ok_or(Problem::End)
    }

    fn truth(&mut self) -> Result<bool, Problem> {
        self.at += 1;
        let truth = match self.peek()? {
            b'0' => false,
            b'1' => true,
            _ => return Err(Problem::Number),
        };
        self.at += 1;
        Ok(truth)
    }

    /// What stands after the kind byte, up to `end`, at most `max` bytes long.
    fn up_to(&mut self, end: u8, max: usize, problem: Problem) -> Result<&'a str, Problem> {
        let rest = &self.bytes[self.at + 1..];
        let near = &rest[..rest.len().min(max + 1)];
        let Some(length) = near.iter().position(|byte| *byte == end) else {
            return Err(if near.len() > max {
                problem
            } else {
                Problem::End
            });
        };
        let text = std::str::from_utf8(&near[..length]).map_err(|_| problem)?;
        self.at += 1 + length + 1;
        Ok(text)
    }

    fn int(&mut self) -> Result<i64, Problem> {
        let text = self.up_to(b';', INT_BYTES_MAX, Problem::Number)?;
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !is_natural(digits) || text == "-0" {
            return Err(Problem::Number);
        }
        text.parse().map_err(|_| Problem::Number)
    }

    fn float(&mut self) -> Result<f64, Problem> {
        let text = self.up_to(b';', FLOAT_BYTES_MAX, Problem::Number)?;
        let plain = text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e'));
        let begins = text
            .strip_prefix('-')
            .unwrap_or(text)
            .starts_with(|first: char| first.is_ascii_digit());
        match text {
            "inf" => Ok(f64::INFINITY),
            "-inf" => Ok(f64::NEG_INFINITY),
            "nan" => Ok(f64::NAN),
            _ if plain && begins => text.parse().map_err(|_| Problem::Number),
            _ => Err(Problem::Number),
        }
    }

    fn string(&mut self) -> Result<&'a [u8], Problem> {
        let length = self.up_to(b':', INT_BYTES_MAX, Problem::Length)?;
        if !is_natural(length) {
            return Err(Problem::Length);
        }
        let length: usize = length.parse().map_err(|_| Problem::Length)?;
        let rest = &self.bytes[self.at..];
        let string = rest.get(..length).ok_or(Problem::Length)?;
        self.at += length;
        Ok(string)
    }

    fn text(&mut self) -> Result<&'a str, Problem> {
        std::str::from_utf8(self.string()?).map_err(|_| Problem::Text)
    }

    /// True where the collection ends here.
    fn ends(&mut self) -> Result<bool, Problem> {
        let ends = self.peek()? == b';';
        self.at += usize::from(ends);
        Ok(ends)
    }

    fn values(&mut self, depth: usize) -> Result<Vec<Value>, Problem> {
        self.at += 1;
        let mut values = Vec::new();
        while !self.ends()? {
            values.push(self.value(depth)?);
        }
        Ok(values)
    }

    fn dict(&mut self, depth: usize) -> Result<Dict, Problem> {
        self.at += 1;
        let mut entries = Dict::new();
        while !self.ends()? {
            let key = match self.peek()? {
                b'i' => Key::Int(self.int()?),
                // Writers of an older time wrote keys as bytes; it is the same key.
                b's' | b'u' => Key::Text(self.text()?.to_owned()),
                _ => return Err(Problem::Key),
            };
            entries.insert(key, self.value(depth)?);
        }
        Ok(entries)
    }
}

/// Digits without a leading zero.
fn is_natural(text: &str) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && (text == "0" || !text.starts_with('0'))
}
