//! How do we stop? Signals, and the way from the first of them to the end.
//!
//! Promises: SIGTERM takes no new work and ends as soon as nothing is in flight, at the latest at the deadline.
//! SIGINT ends at once. Other signals do no harm.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{SignalKind, signal};

use crate::host;
use crate::listener::accept;
use crate::reload::Reload;
use crate::shard::Shared;

/// Between two looks at what is still in flight.
const LOOK: Duration = Duration::from_millis(20);
/// A data thread that has not handed over its last log lines by then is stuck.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Waits for a signal and drains.
pub struct Drain {
    /// What the data threads share.
    pub shared: Arc<Shared>,
    /// For what is in flight.
    pub deadline: Duration,
    /// What SIGHUP does.
    pub reload: Arc<Reload>,
}

#[async_trait]
impl ShutdownSignalWatch for Drain {
    async fn recv(&self) -> ShutdownSignal {
        let may_finish = self.wait_for_stop().await;
        host::tell_stopping();
        if may_finish {
            self.drain().await;
        }
        self.last_lines().await;
        self.shared.log.flush();
        // Nothing is left to wait for: the runtimes may end now.
        ShutdownSignal::FastShutdown
    }
}

impl Drain {
    /// True when what is in flight may be finished.
    async fn wait_for_stop(&self) -> bool {
        let handlers = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
            signal(SignalKind::hangup()),
            signal(SignalKind::quit()),
        );
        let (Ok(mut term), Ok(mut int), Ok(mut hup), Ok(mut quit)) = handlers else {
            tracing::error!("signals cannot be handled");
            return std::future::pending().await;
        };
        loop {
            tokio::select! {
                _ = term.recv() => return true,
                _ = int.recv() => return false,
                _ = hup.recv() => self.reload(),
                _ = quit.recv() => tracing::warn!("SIGQUIT: handing over to a new binary is not there yet"),
            }
        }
    }

    fn reload(&self) {
        host::tell_reloading();
        match self.reload.reload() {
            Ok(changes) => tracing::info!(
                opened = changes.opened,
                closed = changes.closed,
                pools_kept = changes.pools_kept,
                pools_built = changes.pools_built,
                routes = changes.routes,
                "reloaded"
            ),
            Err(problems) => tracing::error!("reload refused, nothing changed\n{problems}"),
        }
        host::tell_ready();
    }

    /// Waits until the data threads have given their last lines to the access log, a tick at most.
    async fn last_lines(&self) {
        self.shared.close();
        let asked = Instant::now();
        while !self.shared.is_closed() && asked.elapsed() < LAST_LINES {
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn drain(&self) {
        let started = Instant::now();
        self.shared.start_drain();
        tracing::info!(deadline = ?self.deadline, "draining");
        loop {
            let in_flight = self.shared.in_flight.total();
            if in_flight == 0 && accept::is_empty(&self.shared) {
                tracing::info!(taken = ?started.elapsed(), "drained");
                return;
            }
            if started.elapsed() >= self.deadline {
                let connections = self.shared.clients.open_total();
                tracing::warn!(
                    in_flight,
                    connections,
                    "drain deadline met; what is left is cut"
                );
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
