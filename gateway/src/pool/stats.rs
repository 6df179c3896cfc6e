//! What has a pool counted?
//!
//! Counters that only grow, since the first pool of the name was made: one that takes its place counts on. The pool and `discover` count what they do;
//! the fields marked *caller* are counted by whoever drives the exchange.

use std::sync::atomic::AtomicU64;

/// The counters of a pool.
#[derive(Debug, Default)]
pub struct Stats {
    /// Workers picked: attempts, retries included.
    pub picks: AtomicU64,
    /// Attempts after the first (*caller*).
    pub retries: AtomicU64,
    /// Retries that the budget did not allow (*caller*).
    pub retries_denied: AtomicU64,
    /// Requests that were held because no worker was up.
    pub held: AtomicU64,
    /// Requests that could not be held.
    pub hold_refused: AtomicU64,
    /// Held requests whose time ran out (*caller*).
    pub hold_expired: AtomicU64,
    /// Requests that were queued because every worker was at its cap.
    pub queued: AtomicU64,
    /// Requests that could not be queued.
    pub queue_refused: AtomicU64,
    /// Queued requests whose time ran out (*caller*).
    pub queue_expired: AtomicU64,
    /// Requests of the pool that a backup took, because too few workers were up (*caller*).
    pub backed_up: AtomicU64,
    /// Requests turned away because of maintenance.
    pub maintenance: AtomicU64,
    /// Requests that came with a cookie of ours and went to its worker.
    pub sticky_kept: AtomicU64,
    /// Requests that came with a cookie of ours, but went to another worker.
    pub sticky_moved: AtomicU64,
    /// Ejections after failures in a row.
    pub ejections: AtomicU64,
    /// Workers that began to get traffic.
    pub ups: AtomicU64,
    /// Workers that ceased to get traffic.
    pub downs: AtomicU64,
    /// Connections made to find out whether anything listens.
    pub probes: AtomicU64,
    /// Active checks.
    pub checks: AtomicU64,
    /// Active checks that failed.
    pub checks_failed: AtomicU64,
    /// Looks into the kernel's listen table.
    pub scans: AtomicU64,
}
