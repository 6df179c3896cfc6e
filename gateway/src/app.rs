//! Who is tied to whom? From the text of the configuration to a running gateway, and to its end.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{ListenFds, RunArgs, Server, ShutdownWatch};
use pingora_core::services::Service;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::config::contents::read_contents;
use crate::config::model::{self, Config, ListenerId};
use crate::config::{Problem, Severity, Source, ephemeral, parse, reference, render};
use crate::discover;
use crate::drain::Drain;
use crate::explain::{self, Question};
use crate::files;
use crate::host;
use crate::listener::accept::{Balance, Door, Handed, accept, receive};
use crate::listener::socket;
use crate::observe::access_log::AccessLog;
use crate::observe::metrics::Metrics;
use crate::plan::{Plan, Tls};
use crate::reload::{
    Discovered, OpenDoor, Reload, addresses, own_addresses, settle_redirects, tls_of,
};
use crate::shard::{Shard, Shared};
use crate::tls;

/// New sockets on their way to a data thread.
const NEW_DOORS_MAX: usize = 256;

/// Checks a configuration without running it; prints what there is to say.
pub fn check(path: &Path) -> ExitCode {
    let source = match read(path) {
        Ok(source) => source,
        Err(code) => return code,
    };
    let mut checked = parse(&source, &|name| std::env::var(name).ok());
    let mut problems = checked.problems;
    if let Some(config) = &mut checked.config {
        problems.extend(read_contents(config));
        problems.extend(files::problems(config));
        problems.extend(tls::server::check(config, SystemTime::now()));
        problems.extend(ephemeral_warnings(config));
    }
    tell(&source, &problems);
    if problems
        .iter()
        .any(|problem| problem.severity == Severity::Error)
    {
        return ExitCode::FAILURE;
    }
    if let Some(config) = checked.config {
        println!(
            "{}: {} listeners, {} pools, {} routes, no errors",
            source.name,
            config.listeners.len(),
            config.pools.len(),
            config.routes.len()
        );
    }
    ExitCode::SUCCESS
}

/// Prints the JSON Schema of configuration files.
pub fn schema() -> ExitCode {
    // A reader that went away (`| head`) is no failure.
    let _ = writeln!(std::io::stdout(), "{:#}", reference::schema());
    ExitCode::SUCCESS
}

/// Tells what would become of a request.
pub fn explain(path: &Path, question: &Question) -> ExitCode {
    let source = match read(path) {
        Ok(source) => source,
        Err(code) => return code,
    };
    let checked = parse(&source, &|name| std::env::var(name).ok());
    let Some(config) = checked.config else {
        tell(&source, &checked.problems);
        return ExitCode::FAILURE;
    };
    match explain::explain(&config, question, Instant::now()) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("portcullis: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs until a signal says otherwise.
pub fn run(path: &Path) -> ExitCode {
    let source = match read(path) {
        Ok(source) => source,
        Err(code) => return code,
    };
    let checked = parse(&source, &|name| std::env::var(name).ok());
    tell(&source, &checked.problems);
    let Some(config) = checked.config else {
        return ExitCode::FAILURE;
    };
    match serve(&source, path, config) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("portcullis: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn read(path: &Path) -> Result<Source, ExitCode> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| {
        eprintln!("portcullis: {name} cannot be read: {error}");
        ExitCode::FAILURE
    })?;
    Source::from_bytes(&name, bytes).map_err(|bad| {
        let (source, problem) = *bad;
        tell(&source, &[problem]);
        ExitCode::FAILURE
    })
}

fn tell(source: &Source, problems: &[Problem]) {
    if !problems.is_empty() {
        let color = std::io::IsTerminal::is_terminal(&std::io::stderr());
        eprintln!("{}", render(source, problems, color));
    }
}

fn ephemeral_warnings(config: &Config) -> Vec<Problem> {
    let text = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"));
    match (text("ip_local_port_range"), text("ip_local_reserved_ports")) {
        (Ok(range), Ok(reserved)) => {
            ephemeral::warnings(config, &range, &reserved, &discover::is_local)
        }
        _ => Vec::new(),
    }
}

fn serve(source: &Source, path: &Path, mut config: Config) -> anyhow::Result<ExitCode> {
    let metrics = Arc::new(Metrics::new().context("metrics")?);
    let mut problems = read_contents(&mut config);
    problems.extend(files::problems(&config));
    if !problems.is_empty() {
        tell(source, &problems);
        return Ok(ExitCode::FAILURE);
    }
    let Some(tls) = load_tls(source, &config) else {
        return Ok(ExitCode::FAILURE);
    };
    let Some((doors, admin_socket)) = open_sockets(source, &config) else {
        return Ok(ExitCode::FAILURE);
    };
    settle_redirects(&mut config, doors.iter());
    host::raise_open_files(&config);
    let log = open_log(&config.access_log)?;
    let threads = match config.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let deadline = config.drain_deadline;
    let plan = Arc::new(Plan::build(config, tls, &metrics, None, Instant::now()));
    let admin_address = admin_socket
        .as_ref()
        .and_then(|socket| socket.local_addr().ok());
    let own = own_addresses(&doors, admin_address);
    discover::first_scan(&plan.pools, &own);
    let ready = ready_line(&plan.config, &doors, admin_address);
    let shared = Arc::new(Shared::new(plan.clone(), log));
    shared.set_listening(addresses(&doors));
    let doors = Arc::new(Mutex::new(doors));
    let (senders, receivers) = (0..threads)
        .map(|_| tokio::sync::mpsc::channel(NEW_DOORS_MAX))
        .unzip();
    let (discovery, discovered) = watch::channel((plan.pools.clone(), own));
    let reload = Arc::new(Reload {
        path: path.to_owned(),
        shared: shared.clone(),
        metrics: metrics.clone(),
        doors: doors.clone(),
        admin: admin_address,
        threads: senders,
        discovery,
    });
    let admin = Arc::new(Admin {
        shared: shared.clone(),
        metrics,
        since: Instant::now(),
    });

    let conf = ServerConf {
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..Default::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    server.add_service(Control {
        discovered,
        admin,
        socket: admin_socket,
    });
    server.add_service(Edge {
        shared: shared.clone(),
        doors,
        receivers,
        ready,
    });
    server.run(RunArgs {
        shutdown_signal: Box::new(Drain {
            shared,
            deadline,
            reload,
        }),
    });
    Ok(ExitCode::SUCCESS)
}

fn load_tls(source: &Source, config: &Config) -> Option<Vec<Tls>> {
    match tls_of(config, None) {
        Ok((tls, doubts)) => {
            tell(source, &doubts);
            Some(tls)
        }
        Err(problems) => {
            tell(source, &problems);
            None
        }
    }
}

/// Opens every socket before anything runs; a port that cannot be had is told with its place in the file.
fn open_sockets(source: &Source, config: &Config) -> Option<(Vec<OpenDoor>, Option<TcpListener>)> {
    let mut problems = Vec::new();
    let mut open = |bind: &model::Bind| match socket::open(bind) {
        Ok(socket) => Some(socket),
        Err(error) => {
            let (what, hint) = socket::explain(bind, &error);
            problems.push(Problem {
                hint,
                ..Problem::error(bind.place, what)
            });
            None
        }
    };
    let mut doors = Vec::new();
    for (id, listener) in config.listeners.iter().enumerate() {
        for bind in &listener.bind {
            if let Some(socket) = open(bind) {
                let listener = ListenerId(id as u16);
                doors.push(OpenDoor {
                    listener,
                    bind: *bind,
                    socket,
                    closed: CancellationToken::new(),
                });
            }
        }
    }
    let admin = config.admin.as_ref().and_then(|admin| {
        open(&model::Bind {
            host: Some(admin.bind.ip()),
            port: admin.bind.port(),
            place: admin.place,
        })
    });
    tell(source, &problems);
    problems.is_empty().then_some((doors, admin))
}

fn open_log(to: &model::AccessLog) -> anyhow::Result<AccessLog> {
    Ok(match to {
        model::AccessLog::Off => AccessLog::off(),
        model::AccessLog::Stdout => AccessLog::to(Box::new(std::io::stdout()))?,
        model::AccessLog::File(path) => {
            let file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("access log {} cannot be written", path.display()))?;
            AccessLog::to(Box::new(file))?
        }
    })
}

/// `ready name=address[,address] … admin=address`: what scripts wait for.
fn ready_line(config: &Config, doors: &[OpenDoor], admin: Option<SocketAddr>) -> String {
    let mut line = "ready".to_owned();
    for (id, listener) in config.listeners.iter().enumerate() {
        let of_it = doors
            .iter()
            .filter(|door| usize::from(door.listener.0) == id);
        let addresses = of_it
            .filter_map(|door| door.socket.local_addr().ok())
            .map(|address| address.to_string());
        line.push_str(&format!(
            " {}={}",
            listener.name,
            addresses.collect::<Vec<_>>().join(",")
        ));
    }
    if let Some(address) = admin {
        line.push_str(&format!(" admin={address}"));
    }
    line
}

/// The data threads.
struct Edge {
    shared: Arc<Shared>,
    doors: Arc<Mutex<Vec<OpenDoor>>>,
    receivers: Vec<tokio::sync::mpsc::Receiver<Door>>,
    ready: String,
}

#[async_trait]
impl Service for Edge {
    async fn start_service(&mut self, fds: Option<ListenFds>, _: ShutdownWatch, _: usize) {
        if let Some(fds) = fds {
            let mut fds = fds.lock();
            for door in self
                .doors
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
            {
                if let Ok(address) = door.socket.local_addr() {
                    fds.add(address.to_string(), door.socket.as_raw_fd());
                }
            }
        }
        match self.start() {
            Ok(()) => {
                let _ = writeln!(std::io::stderr(), "{}", self.ready);
                host::tell_ready();
            }
            Err(error) => {
                tracing::error!("data threads cannot be started: {error:#}");
                std::process::exit(1);
            }
        }
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

/// Everything that is not on a request's path.
struct Control {
    discovered: watch::Receiver<Discovered>,
    admin: Arc<Admin>,
    socket: Option<TcpListener>,
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
        let admin = self.admin.clone();
        let socket = self.socket.take();
        let operating = async move {
            match socket {
                Some(socket) => {
                    if let Err(error) = admin::serve(admin, socket).await {
                        tracing::error!(%error, "the operators' listener failed");
                    }
                }
                None => std::future::pending().await,
            }
        };
        tokio::join!(discovering, operating, host::keep_watchdog_fed());
    }

    fn name(&self) -> &str {
        "control"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}
