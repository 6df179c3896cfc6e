//! What do servers say for a greeting, and is it a good sign? The few bytes of each protocol that a check needs.
//!
//! Promises: whatever bytes come, an answer is found or more are asked for, within [`ANSWER_BYTES_MAX`]; nothing panics.
//! Pure. Does not: log in, or speak any of these protocols further.

pub mod amqp;
pub mod postgres;
pub mod vault;

/// Most bytes of an answer that are read.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What has come means ...
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// ... nothing yet: it is not whole.
    More,
    /// ... that the server serves. With a word about how, where there is more to say, and with what is said for goodbye.
    Good(&'static str, &'static [u8]),
    /// ... that it does not, for this reason.
    Bad(String),
}

/// That it serves, and nothing besides.
const GOOD: Answer = Answer::Good("", b"");

/// Text out of an answer, whatever its bytes.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// The first four bytes as a number.
fn number(bytes: &[u8]) -> Option<usize> {
    let first = bytes.first_chunk::<4>()?;
    usize::try_from(u32::from_be_bytes(*first)).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
