//! Which route?
//!
//! Pure: a path is normalised once ([`path`]), a host is read ([`host`]), and the table made from
//! the configuration ([`table`]) names the most specific route. No I/O, no clock.

pub mod host;
pub mod path;
pub mod table;
