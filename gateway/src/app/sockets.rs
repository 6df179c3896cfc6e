//! Which sockets does the process have? They are opened before anything runs, or taken over.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;

use crate::admin::client::{Client, Target};
use crate::admin::socket::{self as admin_socket, Socket, Trace};
use crate::admin::{self};
use crate::app::text::{Refusal, refuse};
use crate::config::model::{self, Config, ListenerId};
use crate::config::{Problem, Source};
use crate::listener::inherited::{self, Inheritance, Inherited};
use crate::listener::socket;
use crate::plan::Plan;
use crate::reload::OpenDoor;
use crate::upgrade::control::{self};
use crate::upgrade::predecessor::Predecessor;

/// Opens every socket before anything runs, or takes it over; a port that cannot be had is told with its place in the
/// file.
pub(super) fn open_sockets(
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

type ControlSocket = Option<(PathBuf, UnixListener)>;

/// Where `portcullis upgrade` comes to. Without it there is still SIGQUIT.
pub(super) fn open_control(
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
pub(super) enum AdminSocket {
    /// There shall be none.
    None,
    /// It is open.
    Open(Socket),
    /// It is taken from the process that we replace, once we serve.
    Later { path: PathBuf, mode: u32 },
}

impl AdminSocket {
    pub(super) fn trace(&self) -> Option<Trace> {
        match self {
            AdminSocket::Open(socket) => Some(socket.trace()),
            AdminSocket::None | AdminSocket::Later { .. } => None,
        }
    }

    /// What operators said about workers goes on to hold. A process before us that is not asked or knows of nothing of the
    /// kind stops nobody.
    pub(super) fn take_over(&self, plan: &Plan) {
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

    pub(super) fn open(self) -> Option<Socket> {
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
pub(super) fn open_admin_socket(
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

/// `ready name=address[,address] … admin=address`: what scripts wait for.
pub(super) fn ready_line(config: &Config, doors: &[OpenDoor], admin: Option<SocketAddr>) -> String {
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
