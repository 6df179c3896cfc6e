//! What does the machine allow, and who has to know how we are? Limits of the process and the service manager.
//!
//! Promises: without a service manager (no `NOTIFY_SOCKET`) nothing is sent; a limit that is too low is told, not fatal.

pub mod memory;

use std::time::Duration;

use rlimit::Resource;
use sd_notify::NotifyState;

use crate::config::model::Config;

/// Descriptors beside connections: listening sockets, logs, the runtime's own.
const OTHER_FILES: u64 = 256;

/// Has the kernel give memory in pages of 4 KiB. Buffers of idle connections are mostly untouched, and huge pages would
/// make what is untouched count: 39 KiB instead of 23 for an idle HTTP/2 connection, at no CPU time that could be told.
/// What this process starts has the same (prctl(2), `PR_SET_THP_DISABLE`).
pub fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "transparent huge pages stay as they are");
    }
}

/// Raises the limit of open files to what the caps on connections need, as far as it may be raised. Never lowers it.
pub fn raise_open_files(config: &Config) {
    let wanted = open_files_wanted(config);
    match raised_to(wanted) {
        Ok(limit) if limit < wanted => tracing::warn!(
            limit,
            wanted,
            "the limit of open files is below what connections_max allows; raise it (LimitNOFILE=, ulimit -n) or lower the cap"
        ),
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be read"),
    }
}

/// The same after a reload, where the caps have grown. That the limit is too low is told once, not by each reload.
pub fn raise_open_files_again(before: &Config, after: &Config) {
    let (had, wanted) = (open_files_wanted(before), open_files_wanted(after));
    let told = Resource::NOFILE.get().is_ok_and(|(soft, _)| soft < had);
    if wanted > had && !told {
        raise_open_files(after);
    }
}

/// How many files may be open at once: the caps are each listener's own, and every client may need a second connection to
/// a worker.
fn open_files_wanted(config: &Config) -> u64 {
    let listeners = config.listeners.iter();
    let clients: u64 = listeners
        .map(|listener| u64::from(listener.limits.connections_max))
        .sum();
    clients * 2 + OTHER_FILES
}

fn raised_to(wanted: u64) -> std::io::Result<u64> {
    let (soft, hard) = Resource::NOFILE.get()?;
    if soft >= wanted {
        return Ok(soft);
    }
    // The hard limit may be raised by root only; the soft one up to it by anybody.
    if hard < wanted && Resource::NOFILE.set(wanted, wanted).is_ok() {
        return Ok(wanted);
    }
    let reachable = wanted.min(hard);
    Resource::NOFILE.set(reachable, hard)?;
    Ok(reachable)
}

/// Tells the service manager that everything is served.
pub fn tell_ready() {
    tell(&[NotifyState::Ready]);
}

/// Tells the service manager that the configuration is read again; [`tell_ready`] ends it.
pub fn tell_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Tells the service manager that the gateway stops.
pub fn tell_stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells the service manager that another process is the one to watch.
pub fn tell_successor(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Tells the service manager's watchdog that we live, for ever; where it does not watch, waits for ever.
pub async fn keep_watchdog_fed() {
    let Some(patience) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let mut beats = tokio::time::interval((patience / 2).max(Duration::from_millis(10)));
    loop {
        beats.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, parse};

    #[test]
    fn the_caps_of_all_listeners_count_twice() {
        let text = r#"
listeners:
  a: { bind: ":1", limits: { connections_max: 1000 } }
  b: { bind: ":2", limits: { connections_max: 50 } }
pools: { app: { ports: 3 } }
routes: [{ path: /, to: app, on: [a, b] }]
"#;
        let source = Source {
            name: "test".into(),
            text: text.into(),
        };
        let config = parse(&source, &|_| None).config.expect("a configuration");
        assert_eq!(open_files_wanted(&config), 2 * 1050 + OTHER_FILES);
    }
}
