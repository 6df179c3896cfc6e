//! What runs? The data threads at the edge, and the thread that finds workers and serves operators.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin::socket::Trace;
use crate::admin::{self, Admin};
use crate::app::sockets::AdminSocket;
use crate::config::model::MemoryMax;
use crate::dependency::Dependency;
use crate::discover::{self, dependencies};
use crate::host::{self, memory};
use crate::listener::accept::{Balance, Door, Handed, accept, receive};
use crate::reload::on_change::{self};
use crate::reload::{Discovered, OpenDoor};
use crate::renewal;
use crate::shard::{Shard, Shared};
use crate::upgrade::control::{self, Ask};
use crate::upgrade::predecessor::Predecessor;

/// New sockets on their way to a data thread.
pub(super) const NEW_DOORS_MAX: usize = 256;

/// The data threads.
pub(super) struct Edge {
    pub(super) shared: Arc<Shared>,
    pub(super) doors: Arc<Mutex<Vec<OpenDoor>>>,
    pub(super) receivers: Vec<tokio::sync::mpsc::Receiver<Door>>,
    pub(super) ready: String,
    pub(super) predecessor: Option<Predecessor>,
    /// Cancelled when connections are accepted.
    pub(super) serving: CancellationToken,
}

#[async_trait]
impl Service for Edge {
    async fn start_service(&mut self, _: Option<ListenFds>, _: ShutdownWatch, _: usize) {
        if let Err(error) = self.start() {
            tracing::error!("data threads cannot be started: {error:#}");
            std::process::exit(1);
        }
        self.serving.cancel();
        if let Some(predecessor) = self.predecessor.take()
            && let Err(error) = predecessor.serving()
        {
            tracing::warn!(%error, "the process before this one was gone before it was told");
        }
        let _ = writeln!(std::io::stderr(), "{}", self.ready);
        host::tell_ready();
        // The data threads have sockets of their own; with these they would stay open for ever.
        self.shared.drain_started().await;
        self.doors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn name(&self) -> &str {
        "edge"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

impl Edge {
    fn start(&mut self) -> anyhow::Result<()> {
        let threads = self.receivers.len();
        let (balance, handed) = Balance::new(threads);
        let (started, running) = mpsc::channel();
        for (me, (handed, new_doors)) in handed
            .into_iter()
            .zip(std::mem::take(&mut self.receivers))
            .enumerate()
        {
            let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
            let doors: Vec<Door> = doors
                .iter()
                .map(OpenDoor::share)
                .collect::<Result<_, _>>()
                .context("sockets")?;
            let (shared, balance, started) =
                (self.shared.clone(), balance.clone(), started.clone());
            std::thread::Builder::new()
                .name(format!("data-{me}"))
                .spawn(move || {
                    let result =
                        data_thread(me, shared, doors, new_doors, balance, handed, &started);
                    if let Err(error) = result {
                        let _ = started.send(Err(error));
                    }
                })
                .context("thread")?;
        }
        for _ in 0..threads {
            match running.recv() {
                Ok(result) => result?,
                Err(_) => bail!("a data thread ended"),
            }
        }
        Ok(())
    }
}

fn data_thread(
    me: usize,
    shared: Arc<Shared>,
    doors: Vec<Door>,
    mut new_doors: tokio::sync::mpsc::Receiver<Door>,
    balance: Balance,
    handed: tokio::sync::mpsc::Receiver<Handed>,
    started: &mpsc::Sender<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .context("runtime")?;
    runtime.block_on(async move {
        let shard = Shard::new(shared, fastrand::u64(..));
        let accepting = {
            let (shard, balance) = (shard.clone(), balance.clone());
            move |door: Door| {
                let (shard, balance) = (shard.clone(), balance.clone());
                tokio::task::spawn_local(async move {
                    if let Err(error) = accept(shard, me, balance, door).await {
                        tracing::error!(%error, "a listening socket failed");
                    }
                });
            }
        };
        doors.into_iter().for_each(&accepting);
        tokio::task::spawn_local(async move {
            while let Some(door) = new_doors.recv().await {
                accepting(door);
            }
        });
        tokio::task::spawn_local(receive(shard.clone(), me, balance, handed));
        let _ = started.send(Ok(()));
        shard.keep_time().await;
    });
    Ok(())
}

/// Between two looks at the memory that is used ...
const LOOK_AT_MEMORY: Duration = Duration::from_secs(1);
/// ... and while three quarters of it are.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Looks at the memory that is used, once; returns when to look again.
pub(super) fn look_at_memory(shared: &Shared, available: Option<u64>) -> Duration {
    let max = match shared.plan.load().config.memory_max {
        MemoryMax::Off => None,
        MemoryMax::Bytes(max) => Some(max),
        MemoryMax::Auto => available.map(|bytes| bytes / 100 * 85),
    };
    let Some(used) = memory::used() else {
        return LOOK_AT_MEMORY;
    };
    let max_told = max.unwrap_or(0);
    match shared.memory.measure(used, max) {
        Some(true) => tracing::warn!(
            used,
            max = max_told,
            "memory_max is reached: new requests are refused until some is given back"
        ),
        Some(false) => tracing::info!(
            used,
            max = max_told,
            "memory is given back: requests are taken again"
        ),
        None => {}
    }
    if max.is_some_and(|max| used > max / 4 * 3) {
        LOOK_AGAIN
    } else {
        LOOK_AT_MEMORY
    }
}

async fn watch_memory(shared: &Shared) {
    let available = memory::available();
    loop {
        tokio::time::sleep(look_at_memory(shared, available)).await;
    }
}

/// Everything that is not on a request's path.
pub(super) struct Control {
    pub(super) shared: Arc<Shared>,
    pub(super) discovered: watch::Receiver<Discovered>,
    pub(super) looked_at: watch::Receiver<Vec<Arc<Dependency>>>,
    pub(super) admin: Arc<Admin>,
    pub(super) tcp: Option<TcpListener>,
    pub(super) socket: AdminSocket,
    pub(super) trace: Arc<Mutex<Option<Trace>>>,
    pub(super) control: Option<(UnixListener, tokio::sync::mpsc::Sender<Ask>)>,
    pub(super) serving: CancellationToken,
}

#[async_trait]
impl Service for Control {
    async fn start_service(&mut self, _: Option<ListenFds>, _: ShutdownWatch, _: usize) {
        let mut discovered = self.discovered.clone();
        let discovering = async move {
            loop {
                let (pools, own) = discovered.borrow_and_update().clone();
                tokio::select! {
                    () = discover::run(pools, own) => {}
                    changed = discovered.changed() => if changed.is_err() {
                        std::future::pending::<()>().await;
                    },
                }
            }
        };
        // A process that goes looks no more: the one that takes its place does, and what was found last is told till the end.
        let (shared, looked_at) = (self.shared.clone(), self.looked_at.clone());
        let looking = async move {
            tokio::select! {
                () = dependencies::run(looked_at) => {}
                () = shared.drain_started() => {}
            }
            for dependency in &shared.plan.load().dependencies {
                dependency.rest();
            }
        };
        let tcp = self.tcp.take();
        let over_tcp = async {
            let Some(tcp) = tcp else { return };
            self.serving.cancelled().await;
            if let Err(error) = admin::serve_tcp(self.admin.clone(), tcp).await {
                tracing::error!(%error, "the operators' address failed");
            }
        };
        let renewing = renewal::run(self.shared.clone(), self.admin.metrics.clone());
        let socket = std::mem::replace(&mut self.socket, AdminSocket::None);
        let over_socket = async {
            self.serving.cancelled().await;
            let Some(socket) = socket.open() else { return };
            *self.trace.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket.trace());
            if let Err(error) = admin::serve_socket(self.admin.clone(), socket.listener).await {
                tracing::error!(%error, "the operators' socket failed");
            }
        };
        let (serving, shared) = (self.serving.clone(), self.shared.clone());
        let control = self.control.take();
        let asked = async move {
            let Some((socket, asks)) = control else {
                return;
            };
            serving.cancelled().await;
            if let Err(error) = control::serve(socket, asks, shared.handed_over()).await {
                tracing::error!(%error, "the socket for upgrades failed");
            }
        };
        // Another process's watchdog is fed by that process.
        let feeding = async {
            tokio::select! {
                () = host::keep_watchdog_fed() => {}
                () = self.shared.handed_over() => {}
            }
        };
        tokio::join!(
            discovering,
            looking,
            over_tcp,
            over_socket,
            renewing,
            asked,
            feeding,
            watch_memory(&self.shared),
            on_change::watch(self.admin.reload.clone())
        );
    }

    fn name(&self) -> &str {
        "control"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}
