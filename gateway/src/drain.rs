//! How do we stop? Signals, and the way from the first of them to the end.
//!
//! Promises: SIGTERM takes no new work and ends as soon as nothing is in flight, at the latest at the deadline.
//! SIGINT ends at once. SIGQUIT starts another process in our place: when it serves, what is open here has a deadline of
//! its own; when it fails, nothing has changed. Other signals do no harm.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::model;
use crate::host;
use crate::listener::accept;
use crate::reload::{Reload, Way};
use crate::shard::{Farewell, Shared};
use crate::upgrade::control::Ask;
use crate::upgrade::hand_over::HandOver;

/// Between two looks at what is still in flight.
const LOOK: Duration = Duration::from_millis(20);
/// Between two lines about what is left of a process that another has replaced.
const NEWS: Duration = Duration::from_secs(60);
/// A data thread that has not handed over its last log lines by then is stuck.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Waits for a signal and drains.
pub struct Drain {
    /// What the data threads share.
    pub shared: Arc<Shared>,
    /// For what is in flight.
    pub model: model::Drain,
    /// The same when another process has taken over.
    pub upgrade_model: model::Upgrade,
    /// What SIGHUP does.
    pub reload: Arc<Reload>,
    /// What SIGQUIT does.
    pub hand_over: HandOver,
    /// Who asks for it otherwise.
    pub asks: Mutex<Option<mpsc::Receiver<Ask>>>,
}

/// What ends the serving.
enum End {
    /// What is in flight may be finished.
    Drain,
    AtOnce,
    /// Another process serves.
    HandedOver,
}

/// The signals that mean something.
struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// The first that ends the process.
    async fn end(&mut self) -> End {
        tokio::select! {
            _ = self.term.recv() => End::Drain,
            _ = self.int.recv() => End::AtOnce,
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Drain {
    async fn recv(&self) -> ShutdownSignal {
        match Signals::new() {
            Ok(mut signals) => {
                let mut end = self.serve(&mut signals).await;
                if matches!(end, End::HandedOver) {
                    end = self.outlive(&mut signals).await;
                } else {
                    host::tell_stopping();
                }
                if matches!(end, End::Drain) {
                    let farewell = Farewell::of_stop(&self.model, Instant::now());
                    self.shared.start_drain(farewell);
                    self.drain(&mut signals).await;
                }
            }
            Err(error) => {
                tracing::error!(%error, "signals cannot be handled");
                std::future::pending::<()>().await;
            }
        }
        self.last_lines().await;
        self.shared.log.flush();
        // Nothing is left to wait for: the runtimes may end now.
        ShutdownSignal::FastShutdown
    }
}

impl Drain {
    /// Until something ends it.
    async fn serve(&self, signals: &mut Signals) -> End {
        let asks = self
            .asks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let (_none, never) = mpsc::channel(1);
        let mut asks = asks.unwrap_or(never);
        loop {
            let ask = tokio::select! {
                _ = signals.term.recv() => return End::Drain,
                _ = signals.int.recv() => return End::AtOnce,
                _ = signals.hup.recv() => {
                    // Told by itself.
                    let _ = self.reload.reload(Way::Signal);
                    continue;
                }
                _ = signals.quit.recv() => None,
                Some(ask) = asks.recv() => Some(ask),
            };
            let outcome = match self.upgrade(signals).await {
                Ok(outcome) => outcome,
                Err(end) => return end,
            };
            let done = outcome.is_ok();
            match &outcome {
                Ok(pid) => tracing::info!(successor = pid, "another process has taken over"),
                Err(reason) => tracing::error!("upgrade failed, nothing changed: {reason}"),
            }
            if let Some(ask) = ask {
                ask.answer(outcome).await;
            }
            if done {
                return End::HandedOver;
            }
        }
    }

    /// Starts another process in our place: its number, or why there is none. A signal that ends us ends the attempt.
    async fn upgrade(&self, signals: &mut Signals) -> Result<Result<u32, String>, End> {
        tracing::info!("upgrade: a new process is started");
        let mut begun = match self.hand_over.begin() {
            Ok(begun) => begun,
            Err(reason) => return Ok(Err(reason)),
        };
        let outcome = tokio::select! {
            outcome = &mut begun.outcome => outcome,
            end = signals.end() => {
                begun.candidate.kill();
                return Err(end);
            }
        };
        match outcome.unwrap_or_else(|_| Err("the conversation broke off".to_owned())) {
            Ok(successor) => {
                host::tell_successor(successor.pid);
                let farewell =
                    Farewell::of_upgrade(&self.upgrade_model, &self.model, Instant::now());
                self.hand_over.succeeded(&successor, &begun, farewell);
                Ok(Ok(successor.pid))
            }
            Err(reason) => {
                self.hand_over.failed();
                Ok(Err(reason))
            }
        }
    }

    /// Waits until the data threads have given their last lines to the access log, a tick at most.
    async fn last_lines(&self) {
        self.shared.close();
        let asked = Instant::now();
        while !self.shared.is_closed() && asked.elapsed() < LAST_LINES {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Another process serves. What is open here goes on, to its end or the deadline.
    async fn outlive(&self, signals: &mut Signals) -> End {
        tokio::select! {
            end = signals.end() => end,
            () = self.until_empty(self.upgrade_model.deadline) => End::AtOnce,
        }
    }

    async fn drain(&self, signals: &mut Signals) {
        tracing::info!(deadline = ?self.model.deadline, "draining");
        // Zero means at once here.
        let deadline = self.model.deadline.max(Duration::from_nanos(1));
        tokio::select! {
            _ = signals.int.recv() => {}
            () = self.until_empty(deadline) => {}
        }
    }

    /// Until nothing is in flight, or the deadline; zero means none.
    async fn until_empty(&self, deadline: Duration) {
        let started = Instant::now();
        let mut news = started;
        loop {
            let in_flight = self.shared.in_flight.total();
            let connections = self.shared.clients.open_total();
            if in_flight == 0 && accept::is_empty(&self.shared) {
                tracing::info!(taken = ?started.elapsed(), "drained");
                return;
            }
            if !deadline.is_zero() && started.elapsed() >= deadline {
                tracing::warn!(
                    in_flight,
                    connections,
                    "drain deadline met; what is left is cut"
                );
                return;
            }
            if news.elapsed() >= NEWS {
                news = Instant::now();
                tracing::info!(in_flight, connections, "draining goes on");
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
