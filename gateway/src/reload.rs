//! How does it change? From the file as it is now to the running plan, or not at all.
//!
//! Promises: everything is read, checked, opened and built before anything changes; when any of it fails, nothing does,
//! and the problems are told. Exchanges go on with the plan they began with; pools that did not change stay the same
//! object, changed ones take over what is known of their workers. Does not: change the number of data threads, the
//! operators' address or the access log's destination (it says so).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use rustls::ServerConfig;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::contents::read_contents;
use crate::config::model::{Bind, Config, ListenerId};
use crate::config::{Problem, Severity, Source, parse, render};
use crate::discover;
use crate::listener::accept::Door;
use crate::listener::socket;
use crate::observe::metrics::Metrics;
use crate::plan::{LISTENERS_MAX, ListenerPlan, Plan, Tls};
use crate::pool::Pool;
use crate::shard::Shared;
use crate::tls;

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
    /// Another process is taking over: what it took note of stays as it is.
    pub frozen: AtomicBool,
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
}

impl Reload {
    /// Reads the file and takes it over. The error is the text to show.
    pub fn reload(&self) -> Result<Changes, String> {
        let result = self.try_reload();
        self.metrics.reload(result.is_ok());
        result
    }

    fn try_reload(&self) -> Result<Changes, String> {
        if self.frozen.load(Ordering::SeqCst) {
            return Err(
                "another process is taking over, with the configuration as it is now".to_owned(),
            );
        }
        let name = self.path.display().to_string();
        let bytes =
            std::fs::read(&self.path).map_err(|error| format!("{name} cannot be read: {error}"))?;
        let source =
            Source::from_bytes(&name, bytes).map_err(|bad| render(&bad.0, &[bad.1], false))?;
        let checked = parse(&source, &|name| std::env::var(name).ok());
        let told = |problems: &[Problem]| render(&source, problems, false);
        let mut config = checked.config.ok_or_else(|| told(&checked.problems))?;
        let problems = read_contents(&mut config);
        if !problems.is_empty() {
            return Err(told(&problems));
        }
        let before = self.shared.plan.load_full();
        keep_places(&mut config, &before.config);
        if config.listeners.len() > LISTENERS_MAX {
            return Err(format!(
                "{name}: more than {LISTENERS_MAX} listeners in the life of one process; restart"
            ));
        }
        tell_what_stays(&config, &before.config);
        let (tls, doubts) = tls_of(&config, Some(&before)).map_err(|problems| told(&problems))?;
        for doubt in doubts {
            tracing::warn!("{}", doubt.what);
        }
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let (wanted, fresh) =
            open_missing(&config, &before, &doors).map_err(|problems| told(&problems))?;
        settle_redirects(&mut config, doors.iter().chain(&fresh));
        let plan = Arc::new(Plan::build(
            config,
            tls,
            &self.metrics,
            Some(&before),
            Instant::now(),
        ));
        let changes = Changes {
            opened: fresh.len(),
            closed: doors
                .iter()
                .filter(|door| !wanted.contains(&(door.listener, key(&door.bind))))
                .count(),
            pools_kept: plan
                .pools
                .iter()
                .filter(|pool| before.pools.iter().any(|b| Arc::ptr_eq(b, pool)))
                .count(),
            pools_built: plan
                .pools
                .iter()
                .filter(|pool| !before.pools.iter().any(|b| Arc::ptr_eq(b, pool)))
                .count(),
            routes: plan.config.routes.len(),
        };
        let share = |door: &OpenDoor| self.threads.iter().map(|_| door.share()).collect();
        let shares: Result<Vec<Vec<Door>>, _> = fresh.iter().map(share).collect();
        let shares = shares.map_err(|error: std::io::Error| error.to_string())?;
        // From here on nothing can fail.
        doors.retain(|door| {
            let keep = wanted.contains(&(door.listener, key(&door.bind)));
            if !keep {
                door.closed.cancel();
            }
            keep
        });
        doors.extend(fresh);
        let own = own_addresses(&doors, self.admin);
        self.shared.set_listening(addresses(&doors));
        drop(doors);
        discover::first_scan(&plan.pools, &own);
        self.shared.replace_plan(plan.clone());
        for doors in shares {
            for (thread, door) in self.threads.iter().zip(doors) {
                if thread.try_send(door).is_err() {
                    tracing::error!("a data thread does not take new sockets");
                }
            }
        }
        self.discovery.send_replace((plan.pools.clone(), own));
        Ok(changes)
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
                match tls::server::server_config(tls, listener.protocol, SystemTime::now()) {
                    Ok((config, warnings)) => {
                        problems.extend(warnings);
                        Some(with_tickets_of(
                            before.and_then(|before| before.listeners.get(id)),
                            config,
                        ))
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

/// Clients go on resuming their sessions: the keys of the tickets outlive the reload.
fn with_tickets_of(before: Option<&ListenerPlan>, config: Arc<ServerConfig>) -> Arc<ServerConfig> {
    match before.and_then(|before| before.tls.as_ref()) {
        Some(old) => {
            let mut config = (*config).clone();
            config.ticketer = old.ticketer.clone();
            Arc::new(config)
        }
        None => config,
    }
}

/// Where each listener really listens.
pub fn addresses(doors: &[OpenDoor]) -> Vec<(usize, SocketAddr)> {
    let address =
        |door: &OpenDoor| Some((usize::from(door.listener.0), door.socket.local_addr().ok()?));
    doors.iter().filter_map(address).collect()
}

/// Every address the gateway listens on itself.
pub fn own_addresses(doors: &[OpenDoor], admin: Option<SocketAddr>) -> Vec<SocketAddr> {
    doors
        .iter()
        .filter_map(|door| door.socket.local_addr().ok())
        .chain(admin)
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

/// Connections know their listener by its place, so a listener keeps its place for the life of the process. One that is
/// gone stays as a shadow without addresses and routes, for the connections it left behind.
fn keep_places(config: &mut Config, before: &Config) {
    let mut listeners = Vec::with_capacity(before.listeners.len());
    let mut moved = vec![ListenerId(0); config.listeners.len()];
    let mut fresh: Vec<_> = std::mem::take(&mut config.listeners)
        .into_iter()
        .map(Some)
        .collect();
    for old in &before.listeners {
        let found = fresh
            .iter()
            .position(|new| new.as_ref().is_some_and(|new| new.name == old.name));
        match found.and_then(|at| fresh[at].take().map(|new| (at, new))) {
            Some((at, new)) => {
                moved[at] = ListenerId(listeners.len() as u16);
                listeners.push(new);
            }
            None => listeners.push(crate::config::model::Listener {
                bind: Vec::new(),
                ..old.clone()
            }),
        }
    }
    for (at, new) in fresh.into_iter().enumerate() {
        if let Some(new) = new {
            moved[at] = ListenerId(listeners.len() as u16);
            listeners.push(new);
        }
    }
    for route in &mut config.routes {
        for on in &mut route.on {
            *on = moved[usize::from(on.0)];
        }
        route.on.sort_unstable();
    }
    config.listeners = listeners;
}

fn tell_what_stays(config: &Config, before: &Config) {
    let admin = |config: &Config| config.admin.as_ref().map(|admin| admin.bind);
    for (key, changed) in [
        ("threads", config.threads != before.threads),
        ("admin", admin(config) != admin(before)),
        ("access_log", config.access_log != before.access_log),
        ("drain", config.drain != before.drain),
        ("upgrade", config.upgrade != before.upgrade),
    ] {
        if changed {
            tracing::warn!(key, "this key is read at start only; restart to change it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let source = Source {
            name: "test".into(),
            text: text.into(),
        };
        let checked = parse(&source, &|_| None);
        checked
            .config
            .unwrap_or_else(|| panic!("{}", render(&source, &checked.problems, false)))
    }

    const BEFORE: &str = r#"
listeners:
  one: { bind: "127.0.0.1:10001", redirect_https: none }
  two: { bind: "127.0.0.1:10002", redirect_https: none }
pools:
  p: { ports: 20001 }
routes:
  - { path: /, to: p, on: [one, two] }
"#;

    #[test]
    fn listeners_keep_their_place_whatever_the_file_does() {
        let before = config(BEFORE);
        let mut after = config(
            r#"
listeners:
  new: { bind: "127.0.0.1:10003", redirect_https: none }
  two: { bind: "127.0.0.1:10002", redirect_https: none }
pools:
  p: { ports: 20001 }
routes:
  - { path: /, to: p, on: [new] }
  - { path: /x, to: p, on: [two] }
"#,
        );
        keep_places(&mut after, &before);
        let names: Vec<_> = after
            .listeners
            .iter()
            .map(|listener| listener.name.as_str())
            .collect();
        assert_eq!(names, ["one", "two", "new"]);
        assert!(
            after.listeners[0].bind.is_empty(),
            "a listener that is gone has no address"
        );
        let on = |path: &str| {
            after
                .routes
                .iter()
                .find(|route| route.name.starts_with(path))
                .unwrap()
                .on
                .clone()
        };
        assert_eq!(on("/ "), [ListenerId(2)]);
        assert_eq!(on("/x"), [ListenerId(1)]);
    }

    #[test]
    fn an_unchanged_file_changes_nothing() {
        let before = config(BEFORE);
        let mut after = config(BEFORE);
        keep_places(&mut after, &before);
        assert_eq!(after.routes, before.routes);
        assert_eq!(after.listeners.len(), 2);
    }
}
