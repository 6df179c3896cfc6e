//! Who is tied to whom? From the text of the configuration to a running gateway, and to its end.

mod confining;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{ListenFds, RunArgs, Server, ShutdownWatch};
use pingora_core::services::Service;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin::client::{Client, Target};
use crate::admin::socket::{self as admin_socket, Socket, Trace};
use crate::admin::{self, Admin};
use crate::config::contents::read_contents;
use crate::config::files::files;
use crate::config::model::{self, Config, ListenerId, LogFormat, LogServer, LogTo};
use crate::config::written::written;
use crate::config::{Problem, Severity, Source, ephemeral, parse, reference, render};
use crate::confine;
use crate::discover;
use crate::drain::Drain;
use crate::explain::{self, Question};
use crate::files;
use crate::host;
use crate::listener::accept::{Balance, Door, Handed, accept, receive};
use crate::listener::inherited::{self, Inheritance, Inherited};
use crate::listener::socket;
use crate::observe::access_log::{AccessLog, Destination, Settings};
use crate::observe::file::{LogFile, Stdout};
use crate::observe::format::Format;
use crate::observe::journal::{self, Journal};
use crate::observe::level::LogLevel;
use crate::observe::metrics::Metrics;
use crate::observe::syslog::{self, Syslog};
use crate::observe::trace::{self, Tracer};
use crate::plan::{Plan, Tls};
use crate::rehearsal;
use crate::reload::on_change::{self, Mark};
use crate::reload::{
    Discovered, OpenDoor, Reload, addresses, own_addresses, set_workers, settle_redirects,
    settle_token, tls_of, workers_of,
};
use crate::renewal;
use crate::shard::{Shard, Shared};
use crate::tls;
use crate::upgrade::control::{self, Ask};
use crate::upgrade::hand_over::{Beside, HandOver};
use crate::upgrade::predecessor::{self, Predecessor};
use crate::upgrade::successor::Start;

/// New sockets on their way to a data thread.
const NEW_DOORS_MAX: usize = 256;

/// Checks a configuration without running it; prints what there is to say.
pub fn check(path: &Path) -> ExitCode {
    let Ok(source) = read(path) else {
        return ExitCode::FAILURE;
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
        // A reader that went away (`| head`) is no failure.
        let _ = writeln!(
            std::io::stdout(),
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

/// Tells whether clients would trust a certificate.
pub fn certs(question: &rehearsal::Question, json: bool) -> ExitCode {
    match rehearsal::rehearse(question, SystemTime::now()) {
        Ok(found) => {
            let text = match serde_json::to_string_pretty(&found) {
                Ok(text) if json => text + "\n",
                _ => found.text(),
            };
            // A reader that went away (`| head`) is no failure.
            let _ = write!(std::io::stdout(), "{text}");
            if found.trusted {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("portcullis: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tells what would become of a request.
pub fn explain(path: &Path, question: &Question) -> ExitCode {
    let Ok(source) = read(path) else {
        return ExitCode::FAILURE;
    };
    let checked = parse(&source, &|name| std::env::var(name).ok());
    let Some(config) = checked.config else {
        tell(&source, &checked.problems);
        return ExitCode::FAILURE;
    };
    match explain::explain(&config, question, Instant::now()) {
        Ok(text) => {
            // As above.
            let _ = write!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("portcullis: {error}");
            ExitCode::FAILURE
        }
    }
}

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

/// Asks the running process to start another in its place.
pub fn upgrade(path: &Path) -> ExitCode {
    let Ok((_, config)) = load(path) else {
        return ExitCode::FAILURE;
    };
    match control::ask(&config.upgrade.socket) {
        Ok(pid) => {
            let _ = writeln!(std::io::stdout(), "process {pid} has taken over");
            ExitCode::SUCCESS
        }
        Err(reason) => failed(&format!("upgrade failed, nothing changed: {reason}")),
    }
}

fn failed(why: &str) -> ExitCode {
    eprintln!("portcullis: {why}");
    ExitCode::FAILURE
}

/// Why nothing is served.
enum Refusal {
    /// Problems of the configuration, which were told.
    Told(String),
    Other(anyhow::Error),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Told(problems) => f.write_str(problems),
            Refusal::Other(error) => write!(f, "{error:#}"),
        }
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Refusal {
        Refusal::Other(error)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Other(error.into())
    }
}

/// Tells problems, and refuses because of them.
fn refuse(source: &Source, problems: &[Problem]) -> Refusal {
    tell(source, problems);
    Refusal::Told(render(source, problems, false))
}

fn load(path: &Path) -> Result<(Source, Config), Refusal> {
    let source = read(path)?;
    let checked = parse(&source, &|name| std::env::var(name).ok());
    match checked.config {
        Some(config) => {
            tell(&source, &checked.problems);
            Ok((source, config))
        }
        None => Err(refuse(&source, &checked.problems)),
    }
}

/// What cannot be read is told, and returned for whoever has to hear it, too.
fn read(path: &Path) -> Result<Source, Refusal> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| {
        let why = format!("{name} cannot be read: {error}");
        failed(&why);
        Refusal::Told(why)
    })?;
    Source::from_bytes(&name, bytes).map_err(|bad| refuse(&bad.0, &[bad.1]))
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
    let own = own_addresses(&doors, admin_address);
    discover::first_scan(&plan.pools, &own);
    let ready = ready_line(&plan.config, &doors, admin_address);
    let shared = Arc::new(Shared::new(plan.clone(), log, tracer));
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

/// Opens every socket before anything runs, or takes it over; a port that cannot be had is told with its place in the
/// file.
fn open_sockets(
    source: &Source,
    config: &Config,
    inherited: Vec<Inherited>,
    predecessor: &mut Option<Predecessor>,
) -> Result<(Vec<OpenDoor>, Option<TcpListener>), Refusal> {
    let mut inheritance = Inheritance::new(inherited);
    inheritance
        .add_passed()
        .context("sockets of the service manager")?;
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
            let taken = inheritance.take(&listener.name, bind);
            let kept = taken
                .as_ref()
                .is_some_and(|taken| taken.from == inherited::From::ServiceManager);
            if let (Some(taken), Some(predecessor)) = (&taken, predecessor.as_mut()) {
                predecessor.take(taken.from);
            }
            if let Some(socket) = taken.map(|taken| taken.socket).or_else(|| open(bind)) {
                doors.push(OpenDoor {
                    listener: ListenerId(id as u16),
                    bind: *bind,
                    socket,
                    closed: CancellationToken::new(),
                    held_elsewhere: Arc::new(AtomicBool::new(kept)),
                });
            }
        }
    }
    let admin = config.admin.as_ref().and_then(|admin| {
        let address = admin.bind?;
        let bind = model::Bind {
            host: Some(address.ip()),
            port: address.port(),
            place: admin.place,
        };
        predecessor
            .as_mut()
            .and_then(|predecessor| predecessor.take_admin(address))
            .or_else(|| Some(inheritance.take("admin", &bind)?.socket))
            .or_else(|| open(&bind))
    });
    for address in inheritance.left() {
        tracing::info!(%address, "a socket that was handed to us is none of the configuration: closed");
    }
    if problems.is_empty() {
        Ok((doors, admin))
    } else {
        Err(refuse(source, &problems))
    }
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

type ControlSocket = Option<(PathBuf, UnixListener)>;

/// Where `portcullis upgrade` comes to. Without it there is still SIGQUIT.
fn open_control(
    config: &Config,
    predecessor: &mut Option<Predecessor>,
) -> Result<ControlSocket, Refusal> {
    let Some(path) = control::path(&config.upgrade.socket) else {
        return Ok(None);
    };
    let taken = predecessor
        .as_mut()
        .and_then(|predecessor| predecessor.take_control(&path));
    let socket = match taken {
        Some(socket) => socket,
        None => control::open(&path)
            .with_context(|| format!("upgrade socket {} cannot be opened", path.display()))?,
    };
    Ok(Some((path, socket)))
}

/// The operators' unix socket on its way.
enum AdminSocket {
    /// There shall be none.
    None,
    /// It is open.
    Open(Socket),
    /// It is taken from the process that we replace, once we serve.
    Later { path: PathBuf, mode: u32 },
}

impl AdminSocket {
    fn trace(&self) -> Option<Trace> {
        match self {
            AdminSocket::Open(socket) => Some(socket.trace()),
            AdminSocket::None | AdminSocket::Later { .. } => None,
        }
    }

    /// What operators said about workers goes on to hold. A process before us that is not asked or knows of nothing of the
    /// kind stops nobody.
    fn take_over(&self, plan: &Plan) {
        let path = match self {
            AdminSocket::None => return,
            AdminSocket::Open(socket) => &socket.path,
            AdminSocket::Later { path, .. } => path,
        };
        let client = Client {
            target: Target::Socket(path.clone()),
            token: None,
        };
        match client.get("/v1/pools") {
            Ok(told) => admin::maintenance::take_over(&plan.pools, &told.body),
            Err(error) => {
                tracing::warn!(error = %error.error, "maintenance that operators set is not taken over");
            }
        }
        match client.get("/v1/workers?all") {
            Ok(told) => admin::workers::take_over(&plan.pools, &told.body, Instant::now()),
            Err(error) => {
                tracing::warn!(error = %error.error, "drains and weights that operators set are not taken over");
            }
        }
    }

    fn open(self) -> Option<Socket> {
        match self {
            AdminSocket::None => None,
            AdminSocket::Open(socket) => Some(socket),
            AdminSocket::Later { path, mode } => match admin_socket::open(&path, mode, true) {
                Ok(socket) => Some(socket),
                Err(error) => {
                    tracing::warn!(%error, "no socket for operators");
                    None
                }
            },
        }
    }
}

/// The operators' unix socket. One that was asked for must be had; the usual one may be missing, which is told.
fn open_admin_socket(
    config: &Config,
    predecessor: Option<&mut Predecessor>,
) -> anyhow::Result<AdminSocket> {
    let Some(admin) = &config.admin else {
        return Ok(AdminSocket::None);
    };
    let runtime = std::env::var("RUNTIME_DIRECTORY").ok();
    let Some(path) = admin_socket::path_of(admin, runtime.as_deref()) else {
        return Ok(AdminSocket::None);
    };
    let mode = admin.socket_mode;
    if let Some(predecessor) = predecessor {
        let taken = predecessor.take_admin_socket(&path);
        let adopted = taken.and_then(|socket| admin_socket::adopt(&path, socket).ok());
        return Ok(adopted.map_or(AdminSocket::Later { path, mode }, AdminSocket::Open));
    }
    match admin_socket::open(&path, mode, false) {
        Ok(socket) => {
            tracing::info!(path = %path.display(), "operators' socket");
            Ok(AdminSocket::Open(socket))
        }
        Err(error) if admin.socket == model::AdminSocket::Usual => {
            tracing::warn!(%error, "no socket for operators; choose a place with `admin: {{ socket: PATH }}`");
            Ok(AdminSocket::None)
        }
        Err(error) => bail!("the operators' socket cannot be opened: {error}"),
    }
}

/// Where the access log goes, opened while everything may be.
fn log_destination(config: &Config) -> anyhow::Result<Option<Box<dyn Destination>>> {
    Ok(Some(match &config.access_log.to {
        LogTo::Off => return Ok(None),
        LogTo::Stdout => Box::new(Stdout),
        LogTo::File(path) => {
            let is_new = !path.exists();
            let file = LogFile::open(path.clone())
                .with_context(|| format!("access log {} cannot be written", path.display()))?;
            if is_new {
                confine::give(&config.process, file.as_file()).context("access log")?;
            }
            Box::new(file)
        }
        LogTo::Syslog(server, facility) => {
            let server = match server {
                LogServer::Local(path) => syslog::Server::Local(path.clone()),
                LogServer::Udp(address) => syslog::Server::Udp(*address),
                LogServer::Tcp(address) => syslog::Server::Tcp(*address),
            };
            Box::new(Syslog::new(server, *facility))
        }
        LogTo::Journald(socket) => {
            let path = socket.clone().unwrap_or_else(|| journal::SOCKET.into());
            Box::new(Journal::new(path))
        }
    }))
}

fn start_log(
    log: &model::AccessLog,
    to: Option<Box<dyn Destination>>,
) -> anyhow::Result<AccessLog> {
    let Some(to) = to else {
        return Ok(AccessLog::off());
    };
    let settings = Settings {
        format: match log.format {
            LogFormat::Json => Format::Json,
            LogFormat::Haproxy => Format::Haproxy,
            LogFormat::Combined => Format::Combined,
        },
        journal: matches!(log.to, LogTo::Journald(_)),
        sample: log.sample,
        refused_per_second: log.refused_per_second,
        user_agent: log.user_agent,
    };
    Ok(AccessLog::to(to, settings)?)
}

fn start_traces(traces: Option<&model::Traces>) -> anyhow::Result<Option<Tracer>> {
    let Some(traces) = traces else {
        return Ok(None);
    };
    let settings = trace::Settings {
        url: traces.url.clone(),
        service: traces.service.clone(),
        sample: traces.sample,
        parent_based: traces.parent_based,
    };
    Ok(Some(Tracer::start(settings).context("traces")?))
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
    predecessor: Option<Predecessor>,
    /// Cancelled when connections are accepted.
    serving: CancellationToken,
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

/// Everything that is not on a request's path.
struct Control {
    shared: Arc<Shared>,
    discovered: watch::Receiver<Discovered>,
    admin: Arc<Admin>,
    tcp: Option<TcpListener>,
    socket: AdminSocket,
    trace: Arc<Mutex<Option<Trace>>>,
    control: Option<(UnixListener, tokio::sync::mpsc::Sender<Ask>)>,
    serving: CancellationToken,
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
            over_tcp,
            over_socket,
            renewing,
            asked,
            feeding,
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
