//! How do agents write their messages down? In bpickle, a self-describing binary encoding.
//!
//! A document is one [`Value`]. [`write()`] makes the form that the agents' own writer makes (keys
//! sorted, shortest numbers), and [`read`] takes exactly that form from strangers: it refuses what no
//! writer writes, and everything that would cost more than it brings ([`Limits`]). What was read and
//! written again is the same bytes, but for the order and the repetition of keys, keys that were bytes,
//! whole floats without a point, and a last digit where two are as good. [`read_apart`] takes the
//! entries of a list one by one, so that one that is refused spoils no other.
//!
//! Nothing here knows what a message means; that is `domain::message`.

mod read;
mod value;
mod write;

#[cfg(test)]
mod tests;

pub use read::{
    Envelope, Limits, Problem, Refusal, Spoilt, VALUE_BYTES, read, read_apart, text_at, weight,
    weight_max,
};
pub use value::{Dict, Key, Value};
pub use write::write;
