//! What do we tell? The access log and the metrics. Knows nobody: it takes plain values.

pub mod access_log;
pub mod handshake;
pub mod metrics;
pub mod record;
