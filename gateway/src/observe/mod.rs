//! What do we tell? The access log and the metrics. Knows nobody: it takes plain values.

pub mod access_log;
pub mod exposition;
pub mod few;
pub mod handshake;
pub mod histogram;
pub mod metrics;
pub mod names;
pub mod record;
