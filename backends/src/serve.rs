//! How does a service live? Bind, say so, serve, stop when told, finish what is in flight.
//!
//! HTTP/1.1 and HTTP/2 in plain text (prior knowledge) are served on the same port. After the word
//! to stop nothing new is accepted, exchanges and streams may finish until the drain deadline, and
//! the rest is cut. There is no TLS: that is the edge's work.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix;
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use futures_util::future::BoxFuture;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::broker::{self, Broker};
use crate::metrics::Metrics;
use crate::secret::{self, SecretError, Secrets};
use crate::settings::{self, Check, Settings, Shared};
use crate::store::{self, Store, StoreError};
use crate::worker::Worker;

/// Between two tries to reach a database that is away.
const AGAIN: Duration = Duration::from_millis(500);
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Why a worker could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else listens there.
    #[error("{address} is taken: another process listens there (see `ss -ltnp 'sport = :{}'`)", address.port())]
    Taken {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The kernel refused for another reason.
    #[error("cannot listen on {address}: {cause}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The database is away or not ours.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Secrets are not to be had as the settings say.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A setting cannot be done as it says.
    #[error("{0}.{1}")]
    Setting(&'static str, String),
    /// The metrics contradict each other.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The process could not be set up.
    #[error("cannot start: {0}")]
    Process(#[from] io::Error),
}

/// A service: what it is called and how a worker of it answers.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Its name, which is the name of its pool at the edge.
    pub name: &'static str,
    /// The routes of a worker that is a stub.
    pub routes: fn(&Worker) -> Router,
    /// How a worker begins that is none; None where the service is not written yet.
    pub open: Option<Open>,
    /// What it needs of its settings besides what all need.
    pub check: Option<Check>,
}

impl Service {
    /// Who looks at its settings before anything is connected.
    fn checks(&self) -> Vec<Check> {
        let of_all: [Check; 3] = [store::check, broker::check, secret::check];
        match self.open {
            Some(_) => of_all.into_iter().chain(self.check).collect(),
            None => Vec::new(),
        }
    }
}

/// A service that is about to be served.
pub struct Live {
    /// Its routes, all of them.
    pub routes: Router,
    /// What is to be done when the last request has been answered.
    pub last: Option<BoxFuture<'static, ()>>,
}

/// What a service that is written begins with.
pub struct Ground {
    /// Who it is.
    pub worker: Worker,
    /// What it was told.
    pub settings: Shared,
    /// Its database.
    pub store: Store,
    /// Its broker, if it was told of one.
    pub broker: Broker,
    /// Who keeps its secrets.
    pub secrets: Secrets,
    /// What it counts.
    pub metrics: Metrics,
}

/// How a service begins on its ground. An error ends the process.
pub type Open = fn(Ground) -> BoxFuture<'static, Result<Live, StartError>>;

/// The whole life of a worker's process: command line, log, service, signals. For `main`.
pub fn main(service: &Service) -> ExitCode {
    let settings = Settings::of_this_process(&service.checks());
    // Ten thousand streams need as many descriptors; where they may not be had, connections beyond wait.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    start_log(&settings.log);
    match live(service, settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            let _ = writeln!(io::stderr(), "{}: {problem}", service.name);
            ExitCode::FAILURE
        }
    }
}

/// A place that is taken and not listened at.
#[derive(Debug)]
pub struct Place {
    socket: TcpSocket,
    /// Whoever holds it may listen there: the kernel lets two have one port as long as neither listens.
    _claim: UnixDatagram,
}

impl Place {
    /// Where it is.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Takes `address`, on which nobody can connect until it is listened on ([`listen`]): the edge finds workers by that. A
/// port that was closed a moment ago can be taken again at once.
///
/// # Errors
///
/// [`StartError::Taken`] where somebody listens already or is about to, [`StartError::Bind`] for the rest.
pub fn bind(address: SocketAddr) -> Result<Place, StartError> {
    let take = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        // What is accepted takes it over. An edge whose machine vanished says nothing: its streams would be held for
        // ever.
        SockRef::from(&socket).set_tcp_keepalive(&keepalive())?;
        if address.port() == 0 {
            socket.bind(address)?;
            let claim = claim(socket.local_addr()?)?;
            return Ok((socket, claim));
        }
        // Before the port: whoever had the claim listens now, or gave both up.
        let claim = claim(address)?;
        socket.bind(address)?;
        Ok((socket, claim))
    };
    match take() {
        Ok((socket, _claim)) => Ok(Place { socket, _claim }),
        Err(cause) => Err(not_had(address, cause)),
    }
}

/// A name of the kernel's own that one process has at a time, in the same network as the port, and that goes with it.
fn claim(address: SocketAddr) -> io::Result<UnixDatagram> {
    let name = format!("portcullis-backends/{address}");
    UnixDatagram::bind_addr(&unix::net::SocketAddr::from_abstract_name(name)?)
}

/// Listens where [`bind`] took a place. From then on the port itself is taken.
///
/// # Errors
///
/// As those of [`bind`]. Needs a tokio runtime.
pub fn listen(place: Place) -> Result<TcpListener, StartError> {
    let address = place.address()?;
    let listener = place.socket.listen(BACKLOG);
    listener.map_err(|cause| not_had(address, cause))
}

/// Asks a silent peer after a minute, and gives it up after another.
fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4)
}

fn not_had(address: SocketAddr, cause: io::Error) -> StartError {
    match cause.kind() {
        io::ErrorKind::AddrInUse => StartError::Taken { address },
        _ => StartError::Bind { address, cause },
    }
}

/// Serves until `worker` is told to stop and what is in flight is finished.
///
/// # Errors
///
/// Only when the listening socket breaks.
pub async fn run(listener: TcpListener, routes: Router, worker: &Worker) -> io::Result<()> {
    // Small answers go out at once: a worker never gains by waiting for more.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, routes)
        .with_graceful_shutdown(worker.stopping())
        .await
}

/// Sends events to standard error as JSON, one a line; the filter, which was checked, says which.
fn start_log(filter: &str) {
    let filter = tracing_subscriber::EnvFilter::new(filter);
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_target(false)
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // Whoever read standard error may be gone; saying so there would be a panic.
        .log_internal_errors(false)
        .init();
}

// One thread is enough for a worker: more work is met by more workers.
#[tokio::main(flavor = "current_thread")]
async fn live(service: &Service, settings: Settings) -> Result<(), StartError> {
    let place = bind(settings.address)?;
    let (worker, stop) = Worker::new(service.name, place.address()?);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let live = tokio::select! {
        live = open(service, settings.stub, settings.shared, &worker) => live?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let listener = listen(place)?;
    // Nobody may be listening to it, which is no reason to end.
    let _ = writeln!(io::stderr(), "ready {}={}", worker.service, worker.address);

    let served = run(listener, live.routes, &worker);
    tokio::pin!(served);
    tokio::select! {
        result = &mut served => return Ok(result?),
        _ = terminate.recv() => info!("SIGTERM: draining"),
        _ = interrupt.recv() => info!("SIGINT: draining"),
    }
    stop.send_replace(true);
    let rest = async {
        let result = served.await;
        if let Some(last) = live.last {
            last.await;
        }
        result
    };
    match tokio::time::timeout(settings.drain_deadline, rest).await {
        Ok(result) => result?,
        Err(_) => warn!("the drain deadline has passed: what is left is cut"),
    }
    Ok(())
}

async fn open(
    service: &Service,
    stub: bool,
    settings: Shared,
    worker: &Worker,
) -> Result<Live, StartError> {
    let Some(open) = service.open.filter(|_| !stub) else {
        return Ok(Live {
            routes: (service.routes)(worker),
            last: None,
        });
    };
    let store = store_when_it_is_there(&settings.store).await?;
    let ground = Ground {
        worker: worker.clone(),
        broker: Broker::new(&settings.broker, worker),
        secrets: Secrets::open(&settings.secret, &store, Some(worker)).await?,
        store,
        settings,
        metrics: Metrics::new()?,
    };
    open(ground).await
}

/// The database, waited for as long as it is away: a worker that is started while it is comes up by itself.
async fn store_when_it_is_there(settings: &settings::Store) -> Result<Store, StoreError> {
    let mut told = String::new();
    loop {
        let problem = match Store::open(settings).await {
            Err(problem) if problem.is_away() => problem.to_string(),
            opened => return opened,
        };
        if problem != told {
            warn!(problem, "waiting for the database");
            told = problem;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_edge_whose_machine_vanished_is_noticed() {
        let socket = bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let listener = listen(socket).expect("it listens");
        let address = listener.local_addr().expect("an address");
        let (_client, accepted) =
            tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
        let (accepted, _) = accepted.expect("a connection");
        let accepted = SockRef::from(&accepted);
        assert!(accepted.keepalive().expect("an option"));
        let asked_after = accepted.tcp_keepalive_time().expect("an option");
        assert_eq!(asked_after, Duration::from_secs(60));
        let between = accepted.tcp_keepalive_interval().expect("an option");
        assert_eq!(between, Duration::from_secs(15));
        assert_eq!(accepted.tcp_keepalive_retries().expect("an option"), 4);
    }

    #[tokio::test]
    async fn a_port_has_one_worker_before_it_listens_and_another_when_it_does_no_more() {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let place = bind(anywhere).expect("a free port");
        let address = place.address().expect("an address");
        let taken =
            |bound: Result<Place, StartError>| matches!(bound, Err(StartError::Taken { .. }));
        assert!(taken(bind(address)), "somebody is about to listen");
        let listener = listen(place).expect("nobody else does");
        assert!(taken(bind(address)), "somebody listens");
        // One that drains listens no more, and its successor may begin.
        drop(listener);
        let place = bind(address).expect("it is free again");
        drop(place);
        assert!(
            bind(address).is_ok(),
            "who never listened leaves nothing behind"
        );
    }
}
