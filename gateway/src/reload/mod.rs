//! How does it change? From the file as it is now to the running plan, or not at all.
//!
//! Promises: everything is read, checked, opened and built before anything changes; when any of it fails, nothing does,
//! and the problems are told. Exchanges go on with the plan they began with; pools that did not change stay the same
//! object, changed ones take over what is known of their workers. Does not: change the number of data threads, the
//! operators' doors or the access log's destination (it says so).

pub mod diff;
pub mod on_change;
mod places;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::contents::read_contents;
use crate::config::model::{AdminToken, Bind, Config, ListenerId, WorkerProtocol, WorkerTls};
use crate::config::written::{Written, written};
use crate::config::{Problem, Severity, Source, parse, render};
use crate::dependency::Dependency;
use crate::discover;
use crate::files;
use crate::host;
use crate::io::secure::Secure;
use crate::listener::accept::Door;
use crate::listener::socket;
use crate::observe::metrics::Metrics;
use crate::plan::{LISTENERS_MAX, Plan, Tls};
use crate::pool::Pool;
use crate::shard::Shared;
use crate::tls::client::to_workers;
use crate::tls::live::Live;
use diff::{Diff, Side};
use on_change::Mark;
use places::keep_places;

/// A socket that is listened on.
pub struct OpenDoor {
    /// The listener.
    pub listener: ListenerId,
    /// As configured.
    pub bind: Bind,
    /// The socket; data threads have copies of it.
    pub socket: std::net::TcpListener,
    /// Ends the accept loops.
    pub closed: CancellationToken,
    /// Somebody else has the socket, too; see [`Door::held_elsewhere`].
    pub held_elsewhere: Arc<AtomicBool>,
}

impl OpenDoor {
    /// A copy for a data thread.
    pub fn share(&self) -> std::io::Result<Door> {
        Ok(Door {
            listener: self.listener,
            socket: self.socket.try_clone()?,
            closed: self.closed.clone(),
            held_elsewhere: self.held_elsewhere.clone(),
        })
    }
}

/// What discovery needs to know: the pools and the gateway's own addresses.
pub type Discovered = (Vec<Arc<Pool>>, Vec<SocketAddr>);

/// What can be exchanged while the gateway runs.
pub struct Reload {
    /// The configuration file.
    pub path: PathBuf,
    /// What the data threads share.
    pub shared: Arc<Shared>,
    /// The counters, which go on.
    pub metrics: Arc<Metrics>,
    /// What is listened on.
    pub doors: Arc<Mutex<Vec<OpenDoor>>>,
    /// The operators' address, which stays.
    pub admin: Option<SocketAddr>,
    /// New doors go to every data thread.
    pub threads: Vec<mpsc::Sender<Door>>,
    /// Discovery begins anew with what is sent here.
    pub discovery: watch::Sender<Discovered>,
    /// What the services need is looked at as is sent here.
    pub dependencies: watch::Sender<Vec<Arc<Dependency>>>,
    /// Held by the reload that runs.
    pub alone: Mutex<()>,
    /// The running configuration in the words of its file.
    pub written: Mutex<Written>,
    /// The state of the file that was read last, be it taken over or refused.
    pub read: Mutex<Option<Mark>>,
    /// Another process is taking over: what it took note of stays as it is.
    pub frozen: AtomicBool,
}

/// Who asked for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// SIGHUP.
    Signal,
    /// An operator, over the operators' doors.
    Operator,
    /// The file changed.
    File,
}

impl Way {
    /// A word for the log.
    pub fn word(self) -> &'static str {
        match self {
            Way::Signal => "signal",
            Way::Operator => "operator",
            Way::File => "file",
        }
    }
}

/// What a reload did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Addresses that are listened on from now on.
    pub opened: usize,
    /// Addresses that are not any more.
    pub closed: usize,
    /// Pools that did not change.
    pub pools_kept: usize,
    /// Pools that are new or changed.
    pub pools_built: usize,
    /// Routes now.
    pub routes: usize,
    /// What is doubtful about the new configuration.
    pub doubts: Vec<Problem>,
    /// Keys that changed and wait for a restart.
    pub restart: Vec<&'static str>,
}

/// Why a reload changed nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// For people: every problem with its place, its line and its fix.
    pub text: String,
    /// The same for programs; empty where the file could not even be read.
    pub problems: Vec<Problem>,
}

impl Refused {
    /// Problems of a text.
    pub fn of(source: &Source, problems: Vec<Problem>) -> Refused {
        Refused {
            text: render(source, &problems, false),
            problems,
        }
    }
}

impl From<String> for Refused {
    fn from(text: String) -> Refused {
        Refused {
            text,
            problems: Vec::new(),
        }
    }
}

/// A configuration that could be taken over.
struct Wanted {
    config: Config,
    tls: Vec<Tls>,
    workers: Ways,
    doubts: Vec<Problem>,
}

impl Reload {
    /// Reads the file and takes it over, or changes nothing. The log, the counters and the service manager hear of it.
    pub fn reload(&self, way: Way) -> Result<Changes, Refused> {
        // One at a time, whoever asks: each starts from what the one before it has left.
        let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        host::tell_reloading();
        let result = if self.shared.is_draining() {
            Err(Refused::from("the gateway is stopping".to_owned()))
        } else if self.frozen.load(Ordering::SeqCst) {
            let why = "another process is taking over, with the configuration as it is now";
            Err(Refused::from(why.to_owned()))
        } else {
            self.try_reload()
        };
        self.metrics.reload(result.is_ok());
        let by = way.word();
        match &result {
            Ok(changes) => {
                for doubt in &changes.doubts {
                    tracing::warn!(line = doubt.place.line, "{}", doubt.what);
                }
                for key in &changes.restart {
                    tracing::warn!(key, "this key is read at start only; restart to change it");
                }
                tracing::info!(
                    by,
                    opened = changes.opened,
                    closed = changes.closed,
                    pools_kept = changes.pools_kept,
                    pools_built = changes.pools_built,
                    routes = changes.routes,
                    "reloaded"
                );
            }
            Err(refused) => {
                tracing::error!(
                    "reload refused, nothing changed (by {by})\n{}",
                    refused.text
                )
            }
        }
        if !self.shared.is_draining() {
            host::tell_ready();
        }
        result
    }

    /// The file as it is now.
    fn read(&self) -> Result<Source, Refused> {
        let name = self.path.display().to_string();
        // Taken before: what is written meanwhile is a change.
        let mark = Mark::of(&self.path);
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = mark;
        let bytes =
            std::fs::read(&self.path).map_err(|error| format!("{name} cannot be read: {error}"))?;
        Source::from_bytes(&name, bytes).map_err(|bad| Refused::of(&bad.0, vec![bad.1]))
    }

    /// Checks a text as a reload would, certificates included, and opens nothing.
    fn check(&self, source: &Source, before: &Plan) -> Result<Wanted, Refused> {
        let checked = parse(source, &|name| std::env::var(name).ok());
        let Some(mut config) = checked.config else {
            return Err(Refused::of(source, checked.problems));
        };
        let mut doubts = checked.problems;
        keep_places(&mut config, &before.config);
        if config.listeners.len() > LISTENERS_MAX {
            let name = &source.name;
            return Err(Refused::from(format!(
                "{name}: more than {LISTENERS_MAX} listeners in the life of one process; restart"
            )));
        }
        let mut unread = read_contents(&mut config);
        unread.extend(files::problems(&config));
        unread.extend(settle_token(&mut config).err());
        if !unread.is_empty() {
            return Err(Refused::of(source, unread));
        }
        let (tls, more) =
            tls_of(&config, Some(before)).map_err(|problems| Refused::of(source, problems))?;
        doubts.extend(more);
        let (workers, more) =
            workers_of(&config, Some(before)).map_err(|problems| Refused::of(source, problems))?;
        doubts.extend(more);
        Ok(Wanted {
            config,
            tls,
            workers,
            doubts,
        })
    }

    /// What a reload of a file with this text would change; nothing is opened and nothing changes. Also what is doubtful
    /// about it, and the configuration itself.
    pub fn diff(&self, source: &Source) -> Result<(Diff, Vec<Problem>), Refused> {
        let before = self.shared.plan.load_full();
        let wanted = self.check(source, &before)?;
        let now_written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let diff = Diff::of(
            Side {
                config: &before.config,
                written: &now_written,
            },
            Side {
                config: &wanted.config,
                written: &written(source, &|name| std::env::var(name).ok()),
            },
        );
        Ok((diff, wanted.doubts))
    }

    fn try_reload(&self) -> Result<Changes, Refused> {
        let source = self.read()?;
        let before = self.shared.plan.load_full();
        let Wanted {
            mut config,
            tls,
            workers,
            doubts,
        } = self.check(&source, &before)?;
        let restart = restart_for(&config, &before.config);
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let (wanted, fresh) = open_missing(&config, &before, &doors)
            .map_err(|problems| Refused::of(&source, problems))?;
        settle_redirects(&mut config, doors.iter().chain(&fresh));
        let plan = Arc::new(Plan::build(
            config,
            tls,
            &self.metrics,
            Some(&before),
            Instant::now(),
        ));
        let is_kept = |pool: &&Arc<Pool>| before.pools.iter().any(|b| Arc::ptr_eq(b, pool));
        let pools_kept = plan.pools.iter().filter(is_kept).count();
        let changes = Changes {
            opened: fresh.len(),
            closed: doors
                .iter()
                .filter(|door| !wanted.contains(&(door.listener, key(&door.bind))))
                .count(),
            pools_kept,
            pools_built: plan.pools.len() - pools_kept,
            routes: plan.config.routes.len(),
            doubts,
            restart,
        };
        let share = |door: &OpenDoor| self.threads.iter().map(|_| door.share()).collect();
        let shares: Result<Vec<Vec<Door>>, _> = fresh.iter().map(share).collect();
        let shares = shares.map_err(|error: std::io::Error| Refused::from(error.to_string()))?;
        // From here on nothing can fail.
        set_workers(&plan, workers);
        doors.retain(|door| {
            let keep = wanted.contains(&(door.listener, key(&door.bind)));
            if !keep {
                door.closed.cancel();
            }
            keep
        });
        doors.extend(fresh);
        let own = no_workers(&doors, self.admin, &plan);
        self.shared.set_listening(addresses(&doors));
        drop(doors);
        discover::first_scan(&plan.pools, &own);
        host::raise_open_files_again(&before.config, &plan.config);
        self.shared.replace_plan(plan.clone());
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) =
            written(&source, &|name| std::env::var(name).ok());
        for doors in shares {
            for (thread, door) in self.threads.iter().zip(doors) {
                if thread.try_send(door).is_err() {
                    tracing::error!("a data thread does not take new sockets");
                }
            }
        }
        self.discovery.send_replace((plan.pools.clone(), own));
        self.dependencies.send_replace(plan.dependencies.clone());
        Ok(changes)
    }
}

/// Gives the listeners of a configuration the places that they have in another, so that the two can be told apart.
pub fn same_places(config: &mut Config, before: &Config) {
    keep_places(config, before);
}

/// Reads the operators' token from its file, where it is kept in one.
pub fn settle_token(config: &mut Config) -> Result<(), Problem> {
    let token = config.admin.as_mut().and_then(|admin| admin.token.as_mut());
    let Some(token) = token else { return Ok(()) };
    let AdminToken::File(path, place) = token else {
        return Ok(());
    };
    let read = read_token(path).map_err(|(what, hint)| Problem::error(*place, what).hint(hint))?;
    *token = AdminToken::Text(read);
    Ok(())
}

/// The first line of a token's file; else what is wrong and how it is mended.
pub fn read_token(path: &std::path::Path) -> Result<String, (String, String)> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        (
            format!("the token's file {name} cannot be read: {error}"),
            "name a file that the gateway may read".to_owned(),
        )
    })?;
    let word = text.lines().next().unwrap_or_default().trim_end();
    if (16..=512).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(word.to_owned())
    } else {
        Err((
            format!(
                "the first line of {name} is no token of 16 to 512 visible characters of ASCII"
            ),
            format!("make one with `openssl rand -hex 32 > {name}`"),
        ))
    }
}

/// How the workers of each pool, and the dependencies, are reached over TLS, where they are.
pub struct Ways {
    pools: Vec<Option<Arc<Secure>>>,
    dependencies: Vec<Option<Arc<Secure>>>,
}

/// TLS towards the workers of every pool and towards dependencies, and what is doubtful about it; or what stops it.
pub fn workers_of(
    config: &Config,
    before: Option<&Plan>,
) -> Result<(Ways, Vec<Problem>), Vec<Problem>> {
    let (mut wrong, mut doubts) = (Vec::new(), Vec::new());
    let mut way = |tls: &Option<WorkerTls>, protocol, old: Option<Arc<Secure>>| {
        let tls = tls.as_ref()?;
        match to_workers(tls, protocol, SystemTime::now(), old.as_ref()) {
            Ok((secure, more)) => {
                doubts.extend(more);
                Some(secure)
            }
            Err(more) => {
                wrong.extend(more);
                None
            }
        }
    };
    let mut pools = Vec::new();
    for pool in &config.pools {
        let old = before.and_then(|before| {
            let old = before.pools.iter().find(|old| old.name() == pool.name);
            old.and_then(|old| old.secure())
        });
        pools.push(way(&pool.tls, pool.protocol, old));
    }
    let mut dependencies = Vec::new();
    for dependency in &config.dependencies {
        let old = before.and_then(|before| {
            let mut all = before.dependencies.iter();
            all.find(|old| old.name() == dependency.name)?.secure()
        });
        dependencies.push(way(&dependency.tls, WorkerProtocol::Http1, old));
    }
    if wrong.is_empty() {
        let ways = Ways {
            pools,
            dependencies,
        };
        Ok((ways, doubts))
    } else {
        Err(wrong)
    }
}

/// Gives each pool its way to its workers, and each dependency its own.
pub fn set_workers(plan: &Plan, ways: Ways) {
    for (pool, secure) in plan.pools.iter().zip(ways.pools) {
        pool.set_secure(secure);
    }
    for (dependency, secure) in plan.dependencies.iter().zip(ways.dependencies) {
        dependency.set_secure(secure);
    }
}

/// TLS of every listener, and what is doubtful about it; or what stops it. That of listeners that are gone stays for the
/// connections that are left.
pub fn tls_of(
    config: &Config,
    before: Option<&Plan>,
) -> Result<(Vec<Tls>, Vec<Problem>), Vec<Problem>> {
    let (mut problems, mut all) = (Vec::new(), Vec::new());
    for (id, listener) in config.listeners.iter().enumerate() {
        all.push(match &listener.tls {
            _ if listener.bind.is_empty() => before
                .and_then(|before| before.listeners.get(id))
                .and_then(|listener| listener.tls.clone()),
            None => None,
            Some(tls) => {
                let before = before.and_then(|before| before.listeners.get(id)?.tls.as_deref());
                match Live::open(tls, listener.protocol, SystemTime::now(), before) {
                    Ok((live, warnings)) => {
                        problems.extend(warnings);
                        Some(Arc::new(live))
                    }
                    Err(errors) => {
                        problems.extend(errors);
                        None
                    }
                }
            }
        });
    }
    let failed = problems
        .iter()
        .any(|problem| problem.severity == Severity::Error);
    if failed {
        Err(problems)
    } else {
        Ok((all, problems))
    }
}

/// Where each listener really listens.
pub fn addresses(doors: &[OpenDoor]) -> Vec<(usize, SocketAddr)> {
    let address =
        |door: &OpenDoor| Some((usize::from(door.listener.0), door.socket.local_addr().ok()?));
    doors.iter().filter_map(address).collect()
}

/// Addresses that are no workers, though they may lie within a range: those that the gateway listens on itself, and those
/// of [`Plan::no_workers`].
pub fn no_workers(doors: &[OpenDoor], admin: Option<SocketAddr>, plan: &Plan) -> Vec<SocketAddr> {
    doors
        .iter()
        .filter_map(|door| door.socket.local_addr().ok())
        .chain(admin)
        .chain(plan.no_workers())
        .collect()
}

/// A redirect to a port that the kernel chose names the port it chose.
pub fn settle_redirects<'a>(config: &mut Config, doors: impl Iterator<Item = &'a OpenDoor>) {
    let https = config.listeners.iter().position(|listener| {
        listener.tls.is_some()
            && listener.protocol == crate::config::model::Protocol::Http
            && !listener.bind.is_empty()
    });
    let mut doors = doors.filter(|door| Some(usize::from(door.listener.0)) == https);
    let port = doors
        .next()
        .and_then(|door| door.socket.local_addr().ok())
        .map_or(443, |address| address.port());
    for listener in config
        .listeners
        .iter_mut()
        .filter(|listener| listener.redirect_port == 0)
    {
        listener.redirect_port = port;
    }
}

type Key = (Option<std::net::IpAddr>, u16);

fn key(bind: &Bind) -> Key {
    (bind.host, bind.port)
}

/// The addresses that are wanted, and those among them that had to be opened.
type Opened = (Vec<(ListenerId, Key)>, Vec<OpenDoor>);

fn open_missing(
    config: &Config,
    before: &Plan,
    doors: &[OpenDoor],
) -> Result<Opened, Vec<Problem>> {
    let (mut wanted, mut fresh, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (id, listener) in config.listeners.iter().enumerate() {
        let listener_id = ListenerId(id as u16);
        // A listener that was plain and is TLS now (or the other way) keeps its sockets: the plan decides at accept.
        debug_assert!(
            id >= before.config.listeners.len()
                || listener.name == before.config.listeners[id].name
        );
        for bind in &listener.bind {
            wanted.push((listener_id, key(bind)));
            if doors
                .iter()
                .any(|door| door.listener == listener_id && key(&door.bind) == key(bind))
            {
                continue;
            }
            match socket::open(bind) {
                Ok(socket) => fresh.push(OpenDoor {
                    listener: listener_id,
                    bind: *bind,
                    socket,
                    closed: CancellationToken::new(),
                    held_elsewhere: Arc::default(),
                }),
                Err(error) => {
                    let (what, hint) = socket::explain(bind, &error);
                    problems.push(Problem {
                        hint,
                        ..Problem::error(bind.place, what)
                    });
                }
            }
        }
    }
    if problems.is_empty() {
        Ok((wanted, fresh))
    } else {
        Err(problems)
    }
}

/// Keys that are read at start only and differ.
fn restart_for(config: &Config, before: &Config) -> Vec<&'static str> {
    let admin = |config: &Config| {
        let admin = config.admin.as_ref();
        admin.map(|admin| (admin.bind, admin.socket.clone(), admin.socket_mode))
    };
    // Its deadline is asked for when it counts, as that of a drain is.
    let upgrade = |config: &Config| (config.upgrade.start_timeout, config.upgrade.socket.clone());
    [
        ("threads", config.threads != before.threads),
        ("admin", admin(config) != admin(before)),
        ("access_log", config.access_log != before.access_log),
        ("traces", config.traces != before.traces),
        ("upgrade", upgrade(config) != upgrade(before)),
        ("process", config.process != before.process),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}
