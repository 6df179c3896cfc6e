//! Too much? What a stranger may not do, and how often, where the configuration sets a bound.
//!
//! Pure: no sockets and no clock; the time is handed in. What it decides is a value, the caller answers and counts.

mod bucket;
pub mod ceiling;
pub mod in_flight;
pub mod memory;
pub mod network;
pub mod rate;
mod recent;
