//! What do a stranger's bytes say? One value, or the reason why they are refused, and where.
//!
//! The reader takes what writers write and nothing else: no spaces, signs, underscores or leading
//! zeroes in numbers, no bytes after the value, no string that ends early. A declared length is
//! compared with what is there before anything is allocated, nesting has a bound (the reader calls
//! itself), and so has the number of values: one byte of input can become a value, which takes up to
//! [`VALUE_BYTES`] of memory. [`weight`] says before anything is read what a document may take.

use std::ops::Range;

use super::value::{Dict, Key, Value};
use super::write::float;

/// Most digits of a whole number that may fit 64 bits, with its sign.
const INT_BYTES_MAX: usize = 20;
/// Most characters of a float; the longest shortest form has 24.
const FLOAT_BYTES_MAX: usize = 24;

/// Most memory that a value or a key takes besides the bytes of its text: its place in what holds it, and what the allocator
/// adds to a piece of its own. While a collection grows it may have room for twice as many as are in it.
pub const VALUE_BYTES: usize = 64;

/// What a document may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Deepest nesting; a bare value has depth 1.
    pub depth_max: usize,
    /// Most values in all, keys counted: each takes up to [`VALUE_BYTES`].
    pub values_max: usize,
    /// Most entries that [`read_apart`] reads.
    pub entries_max: usize,
}

/// As many entries as fit [`Limits::values_max`] together, and how many came after them.
type Entries = (Vec<Result<Value, Spoilt>>, usize);

impl Default for Limits {
    /// Depth 64 and half a million values, 32 MB: the largest honest report has some ten thousand. 10,000 entries: agents send
    /// a hundred at once.
    fn default() -> Self {
        Self {
            depth_max: 64,
            values_max: 500_000,
            entries_max: 10_000,
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
    /// No dictionary, where only one will do.
    #[error("not a dictionary")]
    Dict,
    /// No list, where only one will do.
    #[error("not a list")]
    List,
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

/// A dictionary with a list of entries that stand each for itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The fields beside the list.
    pub fields: Dict,
    /// The list's entries, in their order. None where there is no such field.
    pub entries: Option<Vec<Result<Value, Spoilt>>>,
    /// So many entries came after these and were not read, because they or their values would be too many.
    pub left: usize,
}

/// An entry that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoilt {
    /// Where it stands, in bytes from the start.
    pub place: Range<usize>,
    /// Why.
    pub refusal: Refusal,
}

/// Reads a dictionary whose field `list` is a list, each entry of which is read by itself: one that [`read`] would refuse
/// takes no other along, as long as it can be told where it ends. The limits hold for the other fields together, for each
/// entry and for all entries that are returned.
///
/// # Errors
///
/// The first [`Problem`] of what is not in an entry, or that hides where an entry ends.
pub fn read_apart(bytes: &[u8], list: &str, limits: Limits) -> Result<Envelope, Refusal> {
    let mut reader = Reader {
        bytes,
        at: 0,
        values_left: limits.values_max,
    };
    let envelope =
        reader
            .envelope(list, limits)
            .and_then(|envelope| match reader.at == bytes.len() {
                true => Ok(envelope),
                false => Err(Problem::Rest),
            });
    envelope.map_err(|problem| Refusal {
        at: reader.at,
        problem,
    })
}

/// Most memory that reading a document within these limits takes, bytes: its text, and [`VALUE_BYTES`] for every value and key.
/// Of bytes that are no document what is before the mistake counts, which is as far as they are read. Allocates nothing.
pub fn weight(bytes: &[u8], limits: Limits) -> usize {
    let mut reader = Reader {
        bytes,
        at: 0,
        values_left: 0,
    };
    let mut values = 0;
    // Where it cannot go on, reading cannot either.
    let _ = reader.walk(&mut values);
    bytes.len() + values.min(most_values(limits)) * VALUE_BYTES
}

/// Most values of one document that is read apart: the limit holds for its entries, and for what stands around them.
fn most_values(limits: Limits) -> usize {
    limits.values_max.saturating_mul(2)
}

/// Most that [`weight`] says of a document of so many bytes.
pub fn weight_max(bytes: usize, limits: Limits) -> usize {
    bytes.saturating_add(most_values(limits).saturating_mul(VALUE_BYTES))
}

/// The text that stands under `key` in a dictionary, whatever else is wrong with it. The last of two counts.
pub fn text_at(bytes: &[u8], key: &str) -> Option<String> {
    let mut reader = Reader {
        bytes,
        at: 0,
        values_left: 0,
    };
    let mut found = None;
    if reader.peek() != Ok(b'd') {
        return None;
    }
    reader.at += 1;
    while reader.ends() == Ok(false) {
        let (Ok(name), Ok(value)) = (reader.extent(), reader.extent()) else {
            break;
        };
        let string = |place: Range<usize>| match bytes.get(place.start)? {
            b's' | b'u' => Reader {
                at: place.start,
                ..reader
            }
            .text()
            .ok(),
            _ => None,
        };
        if string(name) == Some(key) {
            found = string(value);
        }
    }
    found.map(str::to_owned)
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    values_left: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, Problem> {
        let inner = depth.checked_sub(1).ok_or(Problem::Depth)?;
        self.charge()?;
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

    /// One value or key more.
    fn charge(&mut self) -> Result<(), Problem> {
        self.values_left = self.values_left.checked_sub(1).ok_or(Problem::Values)?;
        Ok(())
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
        let number: f64 = text.parse().map_err(|_| Problem::Number)?;
        let written = float(number);
        // Where two shortest forms are as good, writers may differ in the last digit.
        let alike = |(own, theirs): (u8, u8)| {
            own == theirs || own.is_ascii_digit() && theirs.is_ascii_digit()
        };
        let same = written.len() == text.len() && written.bytes().zip(text.bytes()).all(alike);
        // Some leave the point of a whole one out.
        match same || written.strip_suffix(".0") == Some(text) {
            true => Ok(number),
            false => Err(Problem::Number),
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
        // Most are small and stay as they are: the room to grow would be most of what they take.
        values.shrink_to_fit();
        Ok(values)
    }

    fn dict(&mut self, depth: usize) -> Result<Dict, Problem> {
        self.at += 1;
        let mut entries = Vec::new();
        while !self.ends()? {
            let key = self.key()?;
            entries.push((key, self.value(depth)?));
        }
        Ok(entries.into())
    }

    fn key(&mut self) -> Result<Key, Problem> {
        self.charge()?;
        match self.peek()? {
            b'i' => Ok(Key::Int(self.int()?)),
            // Writers of an older time wrote keys as bytes; it is the same key.
            b's' | b'u' => Ok(Key::Text(self.text()?.to_owned())),
            _ => Err(Problem::Key),
        }
    }

    fn envelope(&mut self, list: &str, limits: Limits) -> Result<Envelope, Problem> {
        if self.peek()? != b'd' {
            return Err(Problem::Dict);
        }
        let inner = limits.depth_max.checked_sub(1).ok_or(Problem::Depth)?;
        let (list, mut fields, mut entries) = (Key::from(list), Vec::new(), None);
        self.at += 1;
        while !self.ends()? {
            let key = self.key()?;
            if key == list {
                // Where it comes twice, there is room for one.
                drop(entries.take());
                entries = Some(self.entries(limits)?);
            } else {
                fields.push((key, self.value(inner)?));
            }
        }
        let (entries, left) = entries.unzip();
        Ok(Envelope {
            fields: fields.into(),
            entries,
            left: left.unwrap_or(0),
        })
    }

    fn entries(&mut self, limits: Limits) -> Result<Entries, Problem> {
        if self.peek()? != b'l' {
            return Err(Problem::List);
        }
        let (mut entries, mut left, mut room) = (Vec::new(), 0, limits.values_max);
        self.at += 1;
        while !self.ends()? {
            let (place, values) = self.measure()?;
            // An entry that would be too much by itself would stand in the way for ever: it is refused, and costs nothing.
            let alone = values > limits.values_max;
            let cost = if alone { 1 } else { values };
            if left > 0 || cost > room || entries.len() == limits.entries_max {
                left += 1;
                continue;
            }
            room -= cost;
            let entry = match alone {
                true => Err(Refusal {
                    at: 0,
                    problem: Problem::Values,
                }),
                false => read(&self.bytes[place.clone()], limits),
            };
            entries.push(entry.map_err(|refusal| Spoilt {
                refusal: Refusal {
                    at: place.start + refusal.at,
                    ..refusal
                },
                place,
            }));
        }
        Ok((entries, left))
    }

    fn extent(&mut self) -> Result<Range<usize>, Problem> {
        self.measure().map(|(place, _)| place)
    }

    /// Goes to the end of a value without reading it, and says where it stands and how many values and keys are in it.
    fn measure(&mut self) -> Result<(Range<usize>, usize), Problem> {
        let (start, mut values) = (self.at, 0);
        self.walk(&mut values)?;
        Ok((start..self.at, values))
    }

    /// Goes to the end of a value, and counts the values and keys on the way. Does not call itself, so that depth costs nothing:
    /// whatever holds values ends with a `;` of its own, and no value begins with one.
    fn walk(&mut self, values: &mut usize) -> Result<(), Problem> {
        let mut open = 0_usize;
        loop {
            match self.peek()? {
                b';' if open > 0 => {
                    self.at += 1;
                    open -= 1;
                }
                kind => {
                    *values += 1;
                    open += self.enter(kind)?;
                }
            }
            if open == 0 {
                return Ok(());
            }
        }
    }

    /// Goes behind a value that holds no others, or into one that does; then the answer is 1.
    fn enter(&mut self, kind: u8) -> Result<usize, Problem> {
        match kind {
            b'n' => self.at += 1,
            b'b' => {
                self.at += 1;
                self.peek()?;
                self.at += 1;
            }
            b'i' | b'f' => {
                let rest = &self.bytes[self.at..];
                let length = rest.iter().position(|byte| *byte == b';');
                self.at += length.ok_or(Problem::End)? + 1;
            }
            b's' | b'u' => {
                self.string()?;
            }
            b'l' | b't' | b'd' => {
                self.at += 1;
                return Ok(1);
            }
            _ => return Err(Problem::Kind),
        }
        Ok(0)
    }
}

/// Digits without a leading zero.
fn is_natural(text: &str) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && (text == "0" || !text.starts_with('0'))
}
