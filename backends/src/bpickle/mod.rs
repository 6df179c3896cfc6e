//! How do agents write their messages down? In bpickle, a self-describing binary encoding.
//!
//! A document is one [`Value`]. [`write`] makes the form that the agents' own writer makes (keys
//! sorted, shortest numbers), and [`read`] takes exactly that form from strangers: it refuses what no
//! writer writes, and everything that would cost more than it brings ([`Limits`]). What was read and
//! written again is the same bytes, but for the order and the repetition of keys.
//!
//! Nothing here knows what a message means; that is `domain::message`.

mod read;
mod value;
mod write;

#[cfg(test)]
mod tests;

pub use read::{Limits, Problem, Refusal, read};
pub use value::{Dict, Key, Value};
pub use write::write;
