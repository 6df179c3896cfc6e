//! Who is there?
//!
//! Finds the live workers of all pools and tells the pools: from the kernel's listen table where
//! the host is this machine, by trying ports elsewhere; then checks them as configured. One task
//! on the control thread does all of it; data threads only read what the pools publish.
//!
//! A listener that appears on this machine gets traffic within a fifth of a second, or half a
//! second after a quiet time. One that goes is out as soon as a connection is refused.
//!
//! Not seen in the listen table: ports that a packet filter forwards elsewhere (containers without a
//! proxy process). Such pools need `discovery: probe`.

mod agenda;
mod checks;
pub mod dependencies;
mod drive;
mod listen_table;
mod local;
mod prober;
#[cfg(test)]
mod testing;

pub use drive::{first_scan, log, look_once, run};
pub use listen_table::{ListenTable, Listening};
pub use local::is_local;
