//! What can be said on the command line? Verbs, options and exit codes; docs/cli.md has a chapter for each.
//!
//! | file | question |
//! |---|---|
//! | `ask` | Where is the running gateway, and what does its answer mean for the exit code? |
//! | `differ` | What would another configuration change? |
//! | `order` | How are workers taken out and let back, and pools closed? |
//! | `show` | What do people see of its answers? |
//! | `table` | How are rows shown? |

/// A line on standard output. A reader that went away (`| head`) is no failure.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// As [`say`], without the end of the line.
macro_rules! say_text {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = write!(std::io::stdout(), $($text)*);
    }};
}

mod ask;
mod differ;
mod order;
mod show;
mod table;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::app;
use crate::explain::Question;
use crate::observe::level::LogLevel;
use crate::rehearsal;
use ask::{Ask, Failed};

/// Portcullis: an edge gateway in front of port ranges of workers.
#[derive(Parser)]
#[command(name = "portcullis", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM (drains first) or SIGINT (at once). SIGHUP reloads, SIGQUIT upgrades.
    Run {
        /// Configuration file.
        #[arg(short, long, default_value = "routes.yaml", value_name = "FILE")]
        config: PathBuf,
    },
    /// Tell every problem of a configuration, certificates included, without running it. Exits 1 on errors.
    Check {
        /// Configuration file.
        #[arg(default_value = "routes.yaml", value_name = "FILE")]
        config: PathBuf,
        /// Print a JSON Schema of configuration files for editors, and check nothing.
        #[arg(long)]
        schema: bool,
    },
    /// Replace the running process by the binary and the configuration as they are now, without closing a socket.
    Upgrade {
        /// Its configuration file, which names the socket to ask at.
        #[arg(short, long, default_value = "routes.yaml", value_name = "FILE")]
        config: PathBuf,
    },
    /// Tell whether clients would trust a certificate: chain, key, names, expiry, and the rules of landscape-client, Go
    /// agents and browsers. Exits 0 only where all of them would.
    Certs {
        /// PEM file with the chain (and its key), or a configuration.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// PEM file with the authorities that clients trust; the system's by default.
        #[arg(long, value_name = "CA.pem")]
        ca: Option<PathBuf>,
        /// The name that clients ask for; the first of the certificate's by default.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// PEM file with the key, where FILE has none.
        #[arg(long, value_name = "KEY")]
        key: Option<PathBuf>,
        /// Tell it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Tell what would become of a request: listener, certificate, route and why, pool, workers, deadlines.
    Explain {
        #[command(flatten)]
        ask: Ask,
        /// Ask the running gateway: its configuration, its certificates, its workers as they are now.
        #[arg(long)]
        running: bool,
        /// The client's address.
        #[arg(long, default_value = "127.0.0.1", value_name = "ADDR")]
        from: IpAddr,
        /// The name that the client asks for in TLS, where it is not the URL's host.
        #[arg(long, value_name = "NAME")]
        tls: Option<String>,
        /// A field of the request, `Name: value`.
        #[arg(short = 'H', long = "header", value_name = "FIELD")]
        fields: Vec<String>,
        /// Method, for example GET.
        method: String,
        /// Absolute URL, for example https://landscape.example.com/ping
        url: String,
    },
    /// Show how the running gateway fares: listeners, pools, who is up.
    Status {
        #[command(flatten)]
        ask: Ask,
    },
    /// Show the workers of the running gateway: state, since when and why, requests and streams.
    Workers {
        #[command(flatten)]
        ask: Ask,
        /// Those of this pool; of all pools by default.
        pool: Option<String>,
        /// Show ports on which nobody listens, too.
        #[arg(long)]
        all: bool,
    },
    /// Show what is open: connections, requests and streams by listener, and the oldest WebSockets and gRPC streams.
    Connections {
        #[command(flatten)]
        ask: Ask,
        /// So many streams one by one, at most 1000.
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
    },
    /// Take workers out: nothing new goes there, what is in flight finishes. Holds over reloads, until `undrain`.
    Drain {
        #[command(flatten)]
        ask: Ask,
        /// HOST, HOST:PORT, HOST:PORT-PORT, PORT or PORT-PORT.
        worker: String,
        /// In this pool alone; in all pools by default.
        #[arg(long, value_name = "POOL")]
        pool: Option<String>,
        /// Return when nothing is in flight there.
        #[arg(long)]
        wait: bool,
        /// With --wait, give up after so many seconds; exit code 1.
        #[arg(long, value_name = "SECONDS", requires = "wait")]
        timeout: Option<u64>,
    },
    /// Let workers back that `drain` took out.
    Undrain {
        #[command(flatten)]
        ask: Ask,
        /// HOST, HOST:PORT, HOST:PORT-PORT, PORT or PORT-PORT.
        worker: String,
        /// In this pool alone; in all pools by default.
        #[arg(long, value_name = "POOL")]
        pool: Option<String>,
    },
    /// Set the share of workers. Holds over reloads, until `weight WORKER default`.
    Weight {
        #[command(flatten)]
        ask: Ask,
        /// HOST, HOST:PORT, HOST:PORT-PORT, PORT or PORT-PORT.
        worker: String,
        /// 0 to 1000 (100 unless configured), 0% to 1000% of what is configured, or `default`; 0 takes it out.
        weight: String,
        /// In this pool alone; in all pools by default.
        #[arg(long, value_name = "POOL")]
        pool: Option<String>,
    },
    /// Close a pool to clients, or open it: 503 with Retry-After, while what is open goes on. Holds over reloads.
    Maintenance {
        #[command(flatten)]
        ask: Ask,
        #[command(flatten)]
        order: order::PoolOrder,
    },
    /// Tell what a reload with a file would change. Exits 0 when nothing differs, 1 when something does, 2 in trouble.
    Diff {
        #[command(flatten)]
        ask: Ask,
        /// Compare with this file instead of the running gateway.
        #[arg(long, value_name = "OLD")]
        from: Option<PathBuf>,
        /// The new configuration.
        file: PathBuf,
    },
    /// Show or set which events the running gateway logs; holds until its end.
    LogLevel {
        #[command(flatten)]
        ask: Ask,
        /// off, error, warn, info, debug, trace, default (as at start), or a filter: info,gateway::discover=debug.
        level: Option<String>,
    },
    /// Have the running gateway read its configuration again, and tell what came of it.
    Reload {
        #[command(flatten)]
        ask: Ask,
    },
}

/// Does what the command line says.
pub fn run(cli: Cli, level: LogLevel) -> ExitCode {
    match cli.command {
        Command::Run { config } => app::run(&config, level),
        Command::Check { schema: true, .. } => app::schema(),
        Command::Check { config, .. } => app::check(&config),
        Command::Upgrade { config } => app::upgrade(&config),
        Command::Certs {
            file,
            ca,
            name,
            key,
            json,
        } => {
            let question = rehearsal::Question {
                file,
                ca,
                name,
                key,
            };
            app::certs(&question, json)
        }
        Command::Explain {
            ask,
            running,
            from,
            tls,
            fields,
            method,
            url,
        } => {
            let question = Question {
                from,
                tls_name: tls,
                method,
                url,
                fields,
            };
            if running {
                done(ask.gateway().and_then(|it| show::explain(&it, &question)))
            } else {
                app::explain(&ask.config, &question)
            }
        }
        Command::Status { ask } => done(ask.gateway().and_then(|it| show::status(&it))),
        Command::Workers { ask, pool, all } => done(
            ask.gateway()
                .and_then(|it| show::workers(&it, pool.as_deref(), all)),
        ),
        Command::Connections { ask, limit } => {
            done(ask.gateway().and_then(|it| show::connections(&it, limit)))
        }
        Command::Drain {
            ask,
            worker,
            pool,
            wait,
            timeout,
        } => done(ask.gateway().and_then(|it| {
            let body = order::body(&worker, pool.as_deref(), None);
            order::drain(&it, &body, wait, timeout.map(Duration::from_secs))
        })),
        Command::Undrain { ask, worker, pool } => done(ask.gateway().and_then(|it| {
            let body = order::body(&worker, pool.as_deref(), None);
            order::carry_out(&it, "undrain", &body)
        })),
        Command::Weight {
            ask,
            worker,
            weight,
            pool,
        } => done(ask.gateway().and_then(|it| {
            let body = order::body(&worker, pool.as_deref(), Some(&weight));
            order::carry_out(&it, "weight", &body)
        })),
        Command::Maintenance { ask, order } => {
            done(ask.gateway().and_then(|it| order::maintenance(&it, &order)))
        }
        Command::Diff {
            ask,
            from: Some(from),
            file,
        } => done(differ::files(&from, &file, ask.json)),
        Command::Diff { ask, file, .. } => done(differ::running(&ask, &file)),
        Command::LogLevel { ask, level } => done(
            ask.gateway()
                .and_then(|it| show::log_level(&it, level.as_deref())),
        ),
        Command::Reload { ask } => done(ask.gateway().and_then(|it| show::reload(&it))),
    }
}

fn done(result: Result<ExitCode, Failed>) -> ExitCode {
    result.unwrap_or_else(ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, CommandFactory};

    const DOCS: &str = include_str!("../../../docs/cli.md");

    /// The chapter of a verb; options of every verb that asks stand in a chapter of their own.
    fn chapter(verb: &str) -> &str {
        let start = format!("### `{verb}`\n");
        let (_, after) = DOCS
            .split_once(&start)
            .unwrap_or_else(|| panic!("docs/cli.md has no chapter {start:?}"));
        after.split("\n##").next().unwrap_or_default()
    }

    #[test]
    fn every_verb_and_option_stands_in_the_documentation() {
        let (_, shared) = DOCS
            .split_once("## Verbs that ask a running gateway\n")
            .expect("a chapter for those that ask");
        let shared = shared.split("\n###").next().unwrap_or_default();
        let asks = Ask::augment_args(clap::Command::new("ask"));
        let shared_ids: Vec<_> = asks
            .get_arguments()
            .map(|arg| arg.get_id().clone())
            .collect();
        for verb in Cli::command().get_subcommands() {
            let chapter = chapter(verb.get_name());
            let asks = verb.get_arguments().any(|arg| arg.get_id() == "admin");
            for option in verb.get_arguments() {
                let Some(long) = option.get_long() else {
                    continue;
                };
                let own = !(asks && shared_ids.contains(option.get_id()));
                let text = if own { chapter } else { shared };
                let found = [format!("`--{long}`"), format!("`--{long} ")]
                    .iter()
                    .any(|word| text.contains(word));
                assert!(
                    found,
                    "--{long} of `{}` is not in docs/cli.md",
                    verb.get_name()
                );
            }
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
