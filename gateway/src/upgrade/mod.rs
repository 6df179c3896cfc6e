//! How is the binary replaced? The running process starts its successor and hands every listening socket over.
//!
//! Promises: the old process gives nothing up before the new one serves; a successor that crashes, hangs or refuses its
//! configuration leaves everything as it was, and why is told. Connections are not handed over: the old process serves
//! those it has to their end, within a deadline.
//!
//! The two talk over a socket pair that is the successor's standard input: nobody else can get at it.
//!
//! | old process | new process |
//! |---|---|
//! | starts it; `offer`, and the sockets | |
//! | | reads, checks, opens and builds; `prepared`, or `refused` |
//! | `go` | |
//! | | accepts; `serving` |
//! | accepts no more, drains | |

pub mod control;
pub mod hand_over;
mod link;
pub mod predecessor;
pub mod successor;

/// The variable that tells a process that its standard input leads to the one it replaces.
const VARIABLE: &str = "PORTCULLIS_TAKE_OVER";
/// The variable that tells a process to which files the one that it replaces was held.
const CONFINED: &str = "PORTCULLIS_CONFINED";
