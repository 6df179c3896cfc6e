//! What was I told? The command line, one file and the environment, as one checked value.
//!
//! A worker's place is `--port`, or `--base` and `--index` where a supervisor starts many of the
//! same kind and counts them. What workers share stands in a file (`--config`, or `BACKENDS_CONFIG`)
//! of sections and keys; each key may be set by the environment instead, `BACKENDS_STORE__URL` for
//! `url` in `[store]`. All mistakes that can be known before anything is connected are told at once, each
//! with its place: those of the command line, of the file, of the environment, and those that only
//! whoever uses a setting can see ([`Check`]).

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

mod keys;
mod line;
mod log;
mod package_search;
mod repository;
mod secret;

pub use package_search::PackageSearch;
pub use repository::Repository;
pub use secret::{Hidden, Keeper, Login, Secret, Source, Vault};

/// A mistake that only whoever uses a setting can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The section.
    pub section: &'static str,
    /// The key in it.
    pub key: &'static str,
    /// What is wrong, and what mends it. It names the key, which may stand nowhere.
    pub what: String,
}

impl Wrong {
    /// A key that is needed and not set.
    pub fn missing(section: &'static str, key: &'static str, why: &str) -> Self {
        let what = format!(
            "{section}.{key} is not set: give it by BACKENDS_{}__{}, or as `{key}` in [{section}] of the \
             file of --config{why}",
            section.to_ascii_uppercase(),
            key.to_ascii_uppercase()
        );
        Self { section, key, what }
    }
}

/// Looks for mistakes in settings. It may read files, and connects to nobody.
pub type Check = fn(&Shared) -> Vec<Wrong>;

/// What a worker is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens. Port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// How long work in flight may go on after the word to stop.
    pub drain_deadline: Duration,
    /// Be a stub: answer any request by telling what was seen, and need nothing.
    pub stub: bool,
    /// Which events are logged, in the form of `RUST_LOG`.
    pub log: String,
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

/// How requests come in; in the sections of those who take large ones from anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intake {
    /// `body_bytes_max`: largest request, in bytes. Default 30000000, of the API 8000000 (a script's attachments among it).
    pub body_bytes_max: usize,
    /// `body_timeout`: how long a request may take to come in, besides the time that its bytes give it; 408 after it.
    /// Default 1m.
    pub body_timeout: Duration,
    /// `body_rate`: every so many bytes that come in give a request one second more, up to `body_timeout` from then on.
    /// Default 500, below which the edge gives up, too.
    pub body_rate: usize,
    /// `memory_bytes_max`: memory for what comes in, and in the message system for what is read of it, in one worker, in
    /// bytes, beyond the first 256 KiB of each request, for which there are 64 MiB; 503 above. Default 268435456, of the API
    /// 67108864, and at least `body_bytes_max`.
    pub memory_bytes_max: usize,
}

impl Intake {
    /// Whoever takes larger requests has memory for one, where nothing is said of it.
    fn read(keys: &mut keys::Keys, section: &'static str, bytes_max: usize, memory: usize) -> Self {
        let body_bytes_max = keys.count(section, "body_bytes_max", 1024..=1 << 30, bytes_max);
        let memory = memory.max(body_bytes_max);
        Self {
            body_bytes_max,
            body_timeout: keys.duration(section, "body_timeout", Duration::from_mins(1)),
            body_rate: keys.count(section, "body_rate", 1..=1 << 30, 500),
            memory_bytes_max: keys.count(section, "memory_bytes_max", 1 << 20..=1 << 40, memory),
        }
    }
}

/// `[message_system]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageSystem {
    /// How requests come in.
    pub intake: Intake,
    /// `exchanges_max`: exchanges at once in one worker, from when all of a request has come in; more are answered 503.
    /// Default 64.
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
    /// How calls come in.
    pub intake: Intake,
    /// `requests_max`: calls at once in one worker, from when all of a call has come in; more are answered 503. Default 64.
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

impl Settings {
    /// Reads the process's own command line, file and environment. On a mistake it says what is
    /// wrong and exits with 2; `--help` and `--version` are answered and exit with 0.
    pub fn of_this_process(checks: &[Check]) -> Self {
        Self::read(std::env::args_os(), std::env::vars_os(), checks)
            .unwrap_or_else(|problem| problem.exit())
    }

    /// Reads a command line, the program's name first, the file it names, and the environment. What the
    /// checks find counts where the worker is no stub.
    ///
    /// # Errors
    ///
    /// All that is missing, unknown, contradictory or beyond its bound, one line each.
    pub fn read<W, V>(words: W, environment: V, checks: &[Check]) -> Result<Self, clap::Error>
    where
        W: IntoIterator,
        W::Item: Into<OsString>,
        V: IntoIterator<Item = (OsString, OsString)>,
    {
        let environment: Vec<_> = environment.into_iter().collect();
        let (told, mut problems) = line::read(words)?;
        let log = log::filter(&environment);
        let checks: &[Check] = if told.stub { &[] } else { checks };
        let shared = Shared::read(told.config, environment, checks);
        problems.extend(log.as_ref().err().cloned());
        problems.extend(shared.as_ref().err().cloned());
        match (shared, log) {
            (Ok(shared), Ok(log)) if problems.is_empty() => Ok(Self {
                address: told.address,
                drain_deadline: told.drain_deadline,
                stub: told.stub,
                log,
                shared,
            }),
            _ => {
                let text = format!("{}\n", problems.join("\n"));
                let kind = clap::error::ErrorKind::ValueValidation;
                Err(clap::Error::raw(kind, text))
            }
        }
    }
}

impl Shared {
    /// Reads the file, where one is named, and the environment, and has the checks look at them.
    ///
    /// # Errors
    ///
    /// Every mistake, one line each.
    pub fn read(
        file: Option<PathBuf>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        checks: &[Check],
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
                Err(cause) => keys.unread(&place, &cause),
            }
        }
        keys.add_environment(environment);
        let shared = Self::of(&mut keys);
        for wrong in checks.iter().flat_map(|check| check(&shared)) {
            keys.found(&wrong);
        }
        keys.finish().map(|()| shared)
    }

    /// What the keys say.
    fn of(keys: &mut keys::Keys) -> Self {
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
                intake: Intake::read(keys, "message_system", 30_000_000, 1 << 28),
                exchanges_max: keys.count("message_system", "exchanges_max", 1..=10_000, 64),
                messages_max: keys.count("message_system", "messages_max", 1..=10_000, 100),
            },
            pingserver: Pingserver {
                refresh: keys.duration("pingserver", "refresh", seconds(5)),
                reload: keys.duration("pingserver", "reload", seconds(60)),
                write: keys.duration("pingserver", "write", seconds(10)),
            },
            api: Api {
                intake: Intake::read(keys, "api", 8_000_000, 1 << 26),
                requests_max: keys.count("api", "requests_max", 1..=10_000, 64),
                clock_skew: keys.duration("api", "clock_skew", seconds(900)),
            },
            hostagent_messenger: HostagentMessenger {
                poll: keys.duration("hostagent_messenger", "poll", seconds(5)),
            },
            secret: secret::read(keys),
            repository: repository::read(keys),
            package_search: package_search::read(keys),
        };
        if shared.broker.prefix.len() > 64 {
            keys.wrong("broker", "prefix", "`prefix` has at most 64 bytes");
        }
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        line: &str,
        variables: &[(&str, &str)],
        checks: &[Check],
    ) -> Result<Settings, Vec<String>> {
        let words = std::iter::once("worker").chain(line.split_whitespace());
        let variables = variables.iter().map(|(a, b)| (a.into(), b.into()));
        Settings::read(words, variables, checks).map_err(|problem| {
            let text = problem.to_string();
            let text = text.strip_prefix("error: ").expect("said by clap");
            text.trim_end().lines().map(str::to_owned).collect()
        })
    }

    fn nothing_is_there(shared: &Shared) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        if shared.store.url.is_empty() {
            wrong.push(Wrong::missing("store", "url", ""));
        }
        wrong.push(Wrong {
            section: "broker",
            key: "url",
            what: "broker.url: nobody is there".to_owned(),
        });
        wrong
    }

    #[test]
    fn a_worker_knows_its_place() {
        for (line, place) in [
            ("--port 8070", "127.0.0.1:8070"),
            ("--base 8070 --index 3", "127.0.0.1:8073"),
            ("--port 0 --host ::1", "[::1]:0"),
            ("--port 65535 --host 0.0.0.0", "0.0.0.0:65535"),
        ] {
            let settings = read(line, &[], &[]).expect(line);
            assert_eq!(settings.address.to_string(), place, "{line}");
        }
    }

    #[test]
    fn mistakes_of_every_kind_are_told_in_one_message() {
        let variables = [
            ("BACKENDS_BROKER__URL", "amqp://x"),
            ("BACKENDS_PINGSERVER__WRITE", "soon"),
            ("RUST_LOG", "backends=loud"),
        ];
        let line = "--colour red --port 70000 --drain soon";
        let problems = read(line, &variables, &[nothing_is_there]).expect_err("wrong");
        let told = [
            "command line: unexpected argument '--colour' found",
            "command line: --port ",
            "command line: --drain ",
            "RUST_LOG: ",
            "BACKENDS_PINGSERVER__WRITE: `write`",
            "store.url is not set: give it by BACKENDS_STORE__URL, or as `url` in [store]",
            "BACKENDS_BROKER__URL: broker.url: nobody is there",
        ];
        assert_eq!(problems.len(), told.len(), "{problems:#?}");
        for part in told {
            let is_told = problems.iter().any(|problem| problem.starts_with(part));
            assert!(is_told, "{part}: {problems:#?}");
        }
    }

    #[test]
    fn what_follows_from_a_mistake_is_none() {
        let broken = [("BACKENDS_BROKER__URL", "http://x")];
        let url = [("BACKENDS_STORE__URL", "x")];
        let variables = [broken, url].concat();
        let problems = read("--port 1", &variables, &[nothing_is_there]).expect_err("wrong");
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(
            problems[0].contains("begins with `amqp://`"),
            "{problems:#?}"
        );
    }

    #[test]
    fn what_a_file_may_say_that_cannot_be_read_is_not_missing() {
        let line = "--port 1 --config /nowhere/x";
        let needed: Check = |_| vec![Wrong::missing("store", "url", "")];
        let problems = read(line, &[], &[needed]).expect_err("wrong");
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[0].starts_with("/nowhere/x: "), "{problems:#?}");
    }

    #[test]
    fn a_stub_needs_nothing() {
        let settings = read("--port 1 --stub", &[], &[nothing_is_there]);
        assert!(settings.expect("right").stub);
    }
}
