//! Who am I? One process on one port, and the word that it must stop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// One running worker. Cheap to clone; every clone hears the same word to stop.
#[derive(Clone, Debug)]
pub struct Worker {
    /// The service, under the name of its pool.
    pub service: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub pid: u32,
    /// The host name of its machine when it started.
    machine: Arc<str>,
    stopping: watch::Receiver<bool>,
    conditions: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Worker {
    /// This process as a worker of `service`, and the sender that tells it to stop.
    pub fn new(service: &'static str, address: SocketAddr) -> (Self, watch::Sender<bool>) {
        let (stop, stopping) = watch::channel(false);
        let worker = Self {
            service,
            address,
            pid: std::process::id(),
            machine: machine().into(),
            stopping,
            conditions: Arc::default(),
        };
        (worker, stop)
    }

    /// Ends when the worker must stop (also when nobody is left who could say so).
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopping = self.stopping.clone();
        async move {
            // An error means that the sender is gone, which is the end of this worker too.
            let _ = stopping.wait_for(|stop| *stop).await;
        }
    }

    /// Must the worker stop?
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow() || self.stopping.has_changed().is_err()
    }

    /// Says how something stands that it works with but can do without, for `/health`.
    pub fn says(&self, what: &'static str, state: &str) {
        let mut conditions = self
            .conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if conditions.get(what).is_none_or(|known| known != state) {
            conditions.insert(what, state.to_owned());
        }
    }

    /// What was said so, a line each.
    pub fn conditions(&self) -> String {
        let conditions = self
            .conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let lines = conditions
            .iter()
            .map(|(what, state)| format!("{what}: {state}\n"));
        lines.collect()
    }

    /// `service:port`, as it stands in the `x-worker` field of every answer.
    pub fn label(&self) -> String {
        format!("{}:{}", self.service, self.address.port())
    }

    /// `service:port@machine`: a name that no worker has at the same time, on whichever machine of several before one database.
    pub fn machine_label(&self) -> String {
        format!("{}@{}", self.label(), self.machine)
    }
}

/// The host name of this machine.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
}
