//! Who is tied to whom? From the text of the configuration to a running gateway, and to its end.

mod confining;
mod outlets;
mod services;
mod sockets;
mod text;
mod verbs;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::config::Source;
use crate::config::contents::read_contents;
use crate::config::files::files;
use crate::config::model::Config;
use crate::config::written::written;
use crate::discover;
use crate::drain::Drain;
use crate::files;
use crate::host;
use crate::listener::inherited::Inherited;
use crate::observe::level::LogLevel;
use crate::observe::metrics::Metrics;
use crate::plan::{Plan, Tls};
use crate::reload::on_change::Mark;
use crate::reload::{
    Reload, addresses, no_workers, set_workers, settle_redirects, settle_token, tls_of, workers_of,
};
use crate::shard::Shared;
use crate::upgrade::hand_over::{Beside, HandOver};
use crate::upgrade::predecessor::{self, Predecessor};
use crate::upgrade::successor::Start;
use outlets::{log_destination, start_log, start_traces};
use services::{Control, Edge, NEW_DOORS_MAX};
use sockets::{AdminSocket, open_admin_socket, open_control, open_sockets, ready_line};
use text::{Refusal, failed, load, refuse, tell};
pub use verbs::{certs, check, explain, schema, upgrade};

/// Runs until a signal says otherwise. Where another process started us in its place, it hears how that goes.
pub fn run(path: &Path, level: LogLevel) -> ExitCode {
    host::use_small_pages();
    let found = Start::remember().and_then(|start| Ok((start, predecessor::find()?)));
    let (start, mut predecessor, sockets) = match found {
        Ok((start, Some((predecessor, sockets)))) => (start, Some(predecessor), sockets),
        Ok((start, None)) => (start, None, Vec::new()),
        Err(error) => return failed(&format!("{error}")),
    };
    let mark = Mark::of(path);
    let given = Given { mark, level };
    let result = load(path).and_then(|(source, config)| {
        serve(
            &source,
            path,
            config,
            given,
            start,
            &mut predecessor,
            sockets,
        )
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            if let Refusal::Other(error) = &refusal {
                failed(&format!("{error:#}"));
            }
            if let Some(predecessor) = predecessor {
                predecessor.refuse(&refusal.to_string());
            }
            ExitCode::FAILURE
        }
    }
}

/// What is known before anything is read.
struct Given {
    /// The state of the file that is about to be read.
    mark: Option<Mark>,
    /// Which events are told.
    level: LogLevel,
}

fn serve(
    source: &Source,
    path: &Path,
    mut config: Config,
    given: Given,
    start: Start,
    predecessor: &mut Option<Predecessor>,
    inherited: Vec<Inherited>,
) -> Result<(), Refusal> {
    let metrics = Arc::new(Metrics::new().context("metrics")?);
    let mut problems = read_contents(&mut config);
    problems.extend(files::problems(&config));
    let mut files = files(&config);
    files.push(path.to_owned());
    problems.extend(settle_token(&mut config).err());
    if !problems.is_empty() {
        return Err(refuse(source, &problems));
    }
    let (tls, doubts) = tls_of(&config, None).map_err(|problems| refuse(source, &problems))?;
    tell(source, &doubts);
    let (workers, doubts) =
        workers_of(&config, None).map_err(|problems| refuse(source, &problems))?;
    tell(source, &doubts);
    if let Some(predecessor) = predecessor {
        resume_sessions(&config, &tls, predecessor)?;
    }
    let (doors, admin_tcp) = open_sockets(source, &config, inherited, predecessor)?;
    let control_socket = open_control(&config, predecessor)?;
    let admin_socket = open_admin_socket(&config, predecessor.as_mut())?;
    let trace = Arc::new(Mutex::new(admin_socket.trace()));
    settle_redirects(&mut config, doors.iter());
    host::raise_open_files(&config);
    let log = log_destination(&config)?;
    let mut start = start;
    let confined_to = predecessor.as_ref().and_then(Predecessor::confined);
    let confined = confining::confine(&config, files, &start, confined_to).context("process")?;
    start.confined(confined);
    let log = start_log(&config.access_log, log)?;
    let tracer = start_traces(config.traces.as_ref())?;
    let threads = match config.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let upgrade = config.upgrade.clone();
    let admin_asked = config.admin.as_ref().and_then(|admin| admin.bind);
    let plan = Arc::new(Plan::build(config, tls, &metrics, None, Instant::now()));
    set_workers(&plan, workers);
    let admin_address = admin_tcp
        .as_ref()
        .and_then(|socket| socket.local_addr().ok());
    let own = no_workers(&doors, admin_address, &plan);
    discover::first_scan(&plan.pools, &own);
    let ready = ready_line(&plan.config, &doors, admin_address);
    let shared = Arc::new(Shared::new(plan.clone(), log, tracer));
    services::look_at_memory(&shared, host::memory::available());
    shared.set_listening(addresses(&doors));
    let doors = Arc::new(Mutex::new(doors));
    let (senders, receivers) = (0..threads)
        .map(|_| tokio::sync::mpsc::channel(NEW_DOORS_MAX))
        .unzip();
    let (discovery, discovered) = watch::channel((plan.pools.clone(), own));
    let (dependencies, looked_at) = watch::channel(plan.dependencies.clone());
    let reload = Arc::new(Reload {
        path: path.to_owned(),
        shared: shared.clone(),
        metrics: metrics.clone(),
        doors: doors.clone(),
        admin: admin_address,
        threads: senders,
        discovery,
        dependencies,
        alone: Mutex::default(),
        written: Mutex::new(written(source, &|name| std::env::var(name).ok())),
        read: Mutex::new(given.mark),
        frozen: AtomicBool::new(false),
    });
    let admin = Arc::new(Admin {
        shared: shared.clone(),
        metrics,
        since: Instant::now(),
        reload: reload.clone(),
        level: given.level,
    });
    let beside = Beside {
        admin: match (admin_asked, &admin_tcp) {
            (Some(asked), Some(socket)) => Some((asked, socket.try_clone()?)),
            _ => None,
        },
        admin_socket: match &admin_socket {
            AdminSocket::Open(socket) => Some((socket.path.clone(), socket.listener.try_clone()?)),
            AdminSocket::None | AdminSocket::Later { .. } => None,
        },
        control: match &control_socket {
            Some((path, socket)) => Some((path.clone(), socket.try_clone()?)),
            None => None,
        },
    };
    let (ask, asks) = tokio::sync::mpsc::channel(1);
    if predecessor.is_some() {
        admin_socket.take_over(&plan);
    }
    // All is built. From here on the process that we replace, if any, leaves the new connections to us.
    if let Some(predecessor) = predecessor {
        predecessor.prepared().context("taking over")?;
    }
    let serving = CancellationToken::new();

    let conf = ServerConf {
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..Default::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    server.add_service(Control {
        shared: shared.clone(),
        discovered,
        looked_at,
        admin,
        tcp: admin_tcp,
        socket: admin_socket,
        trace: trace.clone(),
        control: control_socket.map(|(_, socket)| (socket, ask)),
        serving: serving.clone(),
    });
    server.add_service(Edge {
        shared: shared.clone(),
        doors,
        receivers,
        ready,
        predecessor: predecessor.take(),
        serving,
    });
    let handed = shared.clone();
    server.run(RunArgs {
        shutdown_signal: Box::new(Drain {
            shared: shared.clone(),
            reload: reload.clone(),
            hand_over: HandOver {
                start,
                start_timeout: upgrade.start_timeout,
                shared,
                reload,
                beside: Mutex::new(beside),
            },
            asks: Mutex::new(Some(asks)),
        }),
    });
    // The process that has taken over has the path, too.
    if handed.was_handed_over() {
        return Ok(());
    }
    if let Some(trace) = &*trace.lock().unwrap_or_else(PoisonError::into_inner) {
        trace.remove();
    }
    Ok(())
}

/// Clients go on resuming the TLS sessions that they had with the process before this one.
fn resume_sessions(
    config: &Config,
    tls: &[Tls],
    predecessor: &mut Predecessor,
) -> anyhow::Result<()> {
    for (listener, tls) in config.listeners.iter().zip(tls) {
        if let (Some(tls), Some(keys)) = (tls, predecessor.take_sessions(&listener.name)) {
            tls.resume(keys)?;
        }
    }
    Ok(())
}
