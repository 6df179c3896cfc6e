//! What do the bytes say? HTTP/1 without I/O: heads, bodies and how they are written (RFC 9112, strictly).
//!
//! Promises: one message has one reading. Whatever two implementations could read differently is refused.

pub mod body;
pub mod head;
pub mod write;
