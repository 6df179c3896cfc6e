//! What was I told? The command line, one file and the environment, as one checked value.
//!
//! A worker's place is `--port`, or `--base` and `--index` where a supervisor starts many of the
//! same kind and counts them. What workers share stands in a file (`--config`, or `BACKENDS_CONFIG`)
//! of sections and keys; each key may be set by the environment instead, `BACKENDS_STORE__URL` for
//! `url` in `[store]`. All mistakes are told at once, each with its place.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

mod keys;
mod package_search;
mod repository;
mod secret;

pub use package_search::PackageSearch;
pub use repository::Repository;
pub use secret::{Hidden, Keeper, Login, Secret, Vault};

/// What a worker is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens. Port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// How long work in flight may go on after the word to stop.
    pub drain_deadline: Duration,
    /// Be a stub: answer any request by telling what was seen, and need nothing.
    pub stub: bool,
    /// What all workers of a deployment share.
    pub shared: Shared,
}

/// What stands in the file and the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The database.
    pub store: Store,
    /// The broker.
    pub broker: Broker,
    /// The message system.
    pub message_system: MessageSystem,
    /// The ping server.
    pub pingserver: Pingserver,
    /// The hostagent messenger.
    pub hostagent_messenger: HostagentMessenger,
    /// The API.
    pub api: Api,
    /// Secrets.
    pub secret: Secret,
    /// Repositories of packages.
    pub repository: Repository,
    /// Package search.
    pub package_search: PackageSearch,
}

/// `[store]`: where the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// `url`: `postgres://user:password@host:port/database`. Empty: none.
    pub url: String,
    /// `connections_max`: connections of one worker. Default 8.
    pub connections_max: usize,
    /// `connect_timeout`: how long to wait for a connection. Default 5s.
    pub connect_timeout: Duration,
    /// `statement_timeout`: longest statement. Default 30s.
    pub statement_timeout: Duration,
}

/// `[broker]`: where RabbitMQ is, by which services tell each other what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// `url`: `amqp://user:password@host:port/landscape`. Empty: none; services look into the database by turns.
    pub url: String,
    /// `hostagent_url`: the same with the virtual host `landscape-hostagent`.
    pub hostagent_url: String,
    /// `prefix`: with what the names of exchanges and queues begin, where deployments share virtual hosts.
    pub prefix: String,
    /// `connect_timeout`: how long to wait for a connection. Default 5s.
    pub connect_timeout: Duration,
    /// `publish_timeout`: how long to wait for the confirmation of what was published. Default 5s.
    pub publish_timeout: Duration,
    /// `poll`: time between two looks of the relay for what is to be told. Default 100ms.
    pub poll: Duration,
}

/// `[message_system]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageSystem {
    /// `body_bytes_max`: largest request, in bytes. Default 30000000.
    pub body_bytes_max: usize,
    /// `exchanges_max`: exchanges at once in one worker; more are answered 503. Default 64.
    pub exchanges_max: usize,
    /// `messages_max`: messages taken in one exchange; the agent sends the rest again. Default 100.
    pub messages_max: usize,
}

/// `[pingserver]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pingserver {
    /// `refresh`: time between two looks for who has something to fetch. Default 5s.
    pub refresh: Duration,
    /// `reload`: time between two looks for computers that are gone. Default 1m.
    pub reload: Duration,
    /// `write`: time between two writes of ping times. Default 10s.
    pub write: Duration,
}

/// `[api]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// `body_bytes_max`: largest request, in bytes. Default 8000000 (a script's attachments among it).
    pub body_bytes_max: usize,
    /// `requests_max`: requests at once in one worker; more are answered 503. Default 64.
    pub requests_max: usize,
    /// `clock_skew`: how far the time of a signed request may be from ours. Default 15m.
    pub clock_skew: Duration,
}

/// `[hostagent_messenger]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostagentMessenger {
    /// `poll`: time between two looks for orders that the broker did not tell of. Default 5s.
    pub poll: Duration,
}

/// The command line as written.
#[derive(Debug, Parser)]
#[command(version, about = "One worker behind the edge")]
struct Raw {
    /// Port to listen on
    #[arg(long, required_unless_present = "base", conflicts_with_all = ["base", "index"])]
    port: Option<u16>,
    /// First port of the range; with --index it gives the port
    #[arg(long, requires = "index")]
    base: Option<u16>,
    /// Which port of the range, from 0
    #[arg(long, requires = "base")]
    index: Option<u16>,
    /// Address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// How long work in flight may go on after SIGTERM, in seconds
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    drain: u16,
    /// File of settings; BACKENDS_CONFIG says the same
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer any request by telling what was seen; needs no database
    #[arg(long)]
    stub: bool,
}

impl Settings {
    /// Reads the process's own command line, file and environment. On a mistake it says what is
    /// wrong and exits with 2; `--help` and `--version` are answered and exit with 0.
    pub fn of_this_process() -> Self {
        Self::read(std::env::args_os(), std::env::vars_os())
            .unwrap_or_else(|problem| problem.exit())
    }

    /// Reads a command line, the program's name first, the file it names, and the environment.
    ///
    /// # Errors
    ///
    /// What is missing, unknown, contradictory or beyond its bound.
    pub fn read<W, V>(words: W, environment: V) -> Result<Self, clap::Error>
    where
        W: IntoIterator,
        W::Item: Into<OsString> + Clone,
        V: IntoIterator<Item = (OsString, OsString)>,
    {
        let raw = Raw::try_parse_from(words)?;
        let port = match (raw.port, raw.base, raw.index) {
            (Some(port), _, _) => Some(port),
            (None, Some(base), Some(index)) => base.checked_add(index),
            _ => None,
        };
        let port = port.ok_or_else(|| refuse("--base plus --index is beyond port 65535"))?;
        Ok(Self {
            address: SocketAddr::new(raw.host, port),
            drain_deadline: Duration::from_secs(raw.drain.into()),
            stub: raw.stub,
            shared: Shared::read(raw.config, environment).map_err(|problem| refuse(&problem))?,
        })
    }
}

impl Shared {
    /// Reads the file, where one is named, and the environment.
    ///
    /// # Errors
    ///
    /// Every mistake, one line each.
    pub fn read(
        file: Option<PathBuf>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, String> {
        let mut keys = keys::Keys::default();
        let environment: Vec<_> = environment.into_iter().collect();
        let named = environment
            .iter()
            .find(|(name, _)| name == "BACKENDS_CONFIG");
        let file = file.or_else(|| named.map(|(_, path)| path.into()));
        if let Some(path) = &file {
            let place = path.display().to_string();
            match std::fs::read_to_string(path) {
                Ok(text) => keys.add_file(&place, &text),
                Err(cause) => keys.problem(&place, &cause.to_string()),
            }
        }
        keys.add_environment(environment);
        let seconds = Duration::from_secs;
        let shared = Self {
            store: Store {
                url: keys.text("store", "url", ""),
                connections_max: keys.count("store", "connections_max", 1..=1000, 8),
                connect_timeout: keys.duration("store", "connect_timeout", seconds(5)),
                statement_timeout: keys.duration("store", "statement_timeout", seconds(30)),
            },
            broker: Broker {
                url: keys.address("broker", "url", "amqp"),
                hostagent_url: keys.address("broker", "hostagent_url", "amqp"),
                prefix: keys.text("broker", "prefix", ""),
                connect_timeout: keys.duration("broker", "connect_timeout", seconds(5)),
                publish_timeout: keys.duration("broker", "publish_timeout", seconds(5)),
                poll: keys.duration("broker", "poll", Duration::from_millis(100)),
            },
            message_system: MessageSystem {
                body_bytes_max: keys.count(
                    "message_system",
                    "body_bytes_max",
                    1024..=1 << 30,
                    30_000_000,
                ),
                exchanges_max: keys.count("message_system", "exchanges_max", 1..=10_000, 64),
                messages_max: keys.count("message_system", "messages_max", 1..=10_000, 100),
            },
            pingserver: Pingserver {
                refresh: keys.duration("pingserver", "refresh", seconds(5)),
                reload: keys.duration("pingserver", "reload", seconds(60)),
                write: keys.duration("pingserver", "write", seconds(10)),
            },
            api: Api {
                body_bytes_max: keys.count("api", "body_bytes_max", 1024..=1 << 30, 8_000_000),
                requests_max: keys.count("api", "requests_max", 1..=10_000, 64),
                clock_skew: keys.duration("api", "clock_skew", seconds(900)),
            },
            hostagent_messenger: HostagentMessenger {
                poll: keys.duration("hostagent_messenger", "poll", seconds(5)),
            },
            secret: secret::read(&mut keys),
            repository: repository::read(&mut keys),
            package_search: package_search::read(&mut keys),
        };
        if shared.broker.prefix.len() > 64 {
            keys.problem("broker.prefix", "a name has at most 64 bytes");
        }
        keys.finish().map(|()| shared)
    }
}

fn refuse(what: &str) -> clap::Error {
    clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{what}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Settings, String> {
        let words = std::iter::once("worker").chain(line.split_whitespace());
        Settings::read(words, []).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_worker_knows_its_place() {
        for (line, place) in [
            ("--port 8070", "127.0.0.1:8070"),
            ("--base 8070 --index 3", "127.0.0.1:8073"),
            ("--port 0 --host ::1", "[::1]:0"),
            ("--port 65535 --host 0.0.0.0", "0.0.0.0:65535"),
        ] {
            let settings = read(line).expect(line);
            assert_eq!(settings.address.to_string(), place, "{line}");
        }
    }

    #[test]
    fn a_wrong_command_line_is_refused_with_the_reason() {
        for (line, reason) in [
            ("", "--port"),
            ("--base 8070", "--index"),
            ("--index 1", "--base"),
            ("--port 1 --base 2 --index 3", "cannot be used with"),
            ("--port 70000", "70000"),
            ("--base 65535 --index 1", "beyond port 65535"),
            ("--port 1 --host here", "here"),
            ("--port 1 --colour red", "--colour"),
            ("--port 1 --config /nowhere/x", "/nowhere/x: "),
        ] {
            let problem = read(line).expect_err(line);
            assert!(problem.contains(reason), "{line}: {problem}");
        }
    }
}
