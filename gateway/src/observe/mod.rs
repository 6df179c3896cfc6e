//! What do we tell? The access log, the metrics and traces. Knows nobody: it takes plain values.

pub mod access_log;
pub mod exposition;
pub mod few;
pub mod file;
pub mod format;
pub mod handshake;
pub mod histogram;
pub mod journal;
pub mod level;
pub mod metrics;
pub mod names;
pub mod record;
pub mod syslog;
pub mod time;
pub mod trace;
