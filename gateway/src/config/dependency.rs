//! What do the services need besides workers? Databases, brokers and Vaults that are looked at, as `model` has them.

use std::net::SocketAddr;
use std::time::Duration;

use super::model::WorkerTls;

/// Most dependencies of a configuration: each costs a task and a connection now and then.
pub const DEPENDENCIES_MAX: usize = 64;

/// Something that the services need and the gateway does not. Whether it is there is told to operators; it takes no worker
/// out and stops no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub address: SocketAddr,
    /// What it is, and so what is asked of it.
    pub kind: DependencyKind,
    /// How it is reached over TLS; `None` in plain text (default).
    pub tls: Option<WorkerTls>,
    /// Between checks after one that passed. Default 5 s.
    pub interval: Duration,
    /// Between checks after one that failed. Default 1 s.
    pub interval_failing: Duration,
    /// For one check. Default 2 s.
    pub timeout: Duration,
    /// Good checks in a row after which it is up again. Default 1.
    pub rise: u32,
    /// Failed checks in a row after which it is down. Default 3.
    pub fall: u32,
}

/// What a dependency is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DependencyKind {
    /// Anything that takes connections.
    Tcp,
    /// A server of PostgreSQL's protocol. Nobody logs in.
    Postgres {
        /// The role that is named. Default `postgres`.
        user: String,
        /// The database that is named. Default `postgres`.
        database: String,
    },
    /// A broker of AMQP 0-9-1. Nobody logs in.
    Amqp,
    /// A Vault, over HTTP. No token is sent.
    Vault,
}

impl DependencyKind {
    /// Its word in the configuration, in metrics and to operators.
    pub fn word(&self) -> &'static str {
        match self {
            DependencyKind::Tcp => "tcp",
            DependencyKind::Postgres { .. } => "postgres",
            DependencyKind::Amqp => "amqp",
            DependencyKind::Vault => "vault",
        }
    }
}

impl Dependency {
    /// With every default.
    pub fn new(name: &str, kind: DependencyKind, address: SocketAddr) -> Dependency {
        Dependency {
            name: name.to_owned(),
            address,
            kind,
            tls: None,
            interval: Duration::from_secs(5),
            interval_failing: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            rise: 1,
            fall: 3,
        }
    }
}
