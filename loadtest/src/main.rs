//! How is it started? `run`, `origin`, `fleet` and `bench`; see `loadtest/README.md`.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use loadtest::bench::{self, Form, Options};
use loadtest::fleet;
use loadtest::load::{self, Outcome};
use loadtest::origin::Origin;
use loadtest::scenario::Scenario;

/// Sends load, answers it, and compares proxies between the two.
#[derive(Parser)]
#[command(name = "loadtest", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send the load of a scenario and tell the figures.
    Run {
        /// A file of YAML or JSON; `-` for standard input.
        scenario: PathBuf,
        /// Figures as JSON, and no progress.
        #[arg(long)]
        json: bool,
    },
    /// Answer, until stopped.
    Origin {
        /// What to listen on, as JSON: { "http": [[20000, 20003]], "echo": [20050], "silent": [], "slots": 4 }.
        wanted: String,
    },
    /// Be a fleet of agents and WSL hosts, and look whether everything that was acknowledged is stored once.
    Fleet(Box<fleet::Options>),
    /// Count the allocations of a request; PORTCULLIS_BIN names the build that counts.
    Allocations,
    /// Compare Portcullis with other proxies on this machine.
    Bench {
        /// quick (a few minutes) or full (hours).
        #[arg(long, default_value = "quick")]
        form: Form,
        /// Only these cases: names, or beginnings of names, separated by commas.
        #[arg(long, value_delimiter = ',')]
        cases: Vec<String>,
        /// Only these proxies, separated by commas.
        #[arg(long, value_delimiter = ',')]
        proxies: Vec<String>,
        /// Repetitions, in place of the form's.
        #[arg(long)]
        rounds: Option<usize>,
        /// Repetitions of the table without logs, in place of the form's.
        #[arg(long)]
        rounds_without_logs: Option<usize>,
        /// Leave the table without logs out.
        #[arg(long)]
        only_with_logs: bool,
        /// Where results go.
        #[arg(long, default_value = "loadtest/results")]
        out: PathBuf,
        /// Tell the cases and end.
        #[arg(long)]
        list: bool,
    },
}

fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> anyhow::Result<()> {
    // Ten thousand connections need as many descriptors.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    match command {
        Command::Run { scenario, json } => {
            let mut text = String::new();
            if scenario.as_os_str() == "-" {
                std::io::stdin()
                    .read_to_string(&mut text)
                    .context("standard input")?;
            } else {
                text =
                    std::fs::read_to_string(&scenario).context(scenario.display().to_string())?;
            }
            let scenario = Scenario::read(&text)?;
            let outcome = in_one_thread(load::run(scenario, !json))?;
            if json {
                println!("{}", serde_json::to_string(&outcome)?);
            } else {
                print!("{}", table(&outcome));
            }
            Ok(())
        }
        Command::Origin { wanted } => {
            let origin: Origin = serde_json::from_str(&wanted).context("what to listen on")?;
            in_one_thread(origin.serve())
        }
        Command::Fleet(options) => {
            let json = options.json;
            let outcome = in_one_thread(fleet::run(*options))?;
            if json {
                println!("{}", serde_json::to_string(&outcome)?);
            } else {
                print!("{}", outcome.table());
            }
            anyhow::ensure!(outcome.is_good(), "the fleet did not converge");
            Ok(())
        }
        Command::Allocations => bench::allocations(),
        Command::Bench {
            form,
            cases,
            proxies,
            rounds,
            rounds_without_logs,
            only_with_logs,
            out,
            list,
        } => {
            let options = Options {
                form,
                cases,
                proxies,
                rounds,
                rounds_without_logs,
                only_with_logs,
                out,
            };
            if list {
                bench::list(&options)
            } else {
                bench::run(&options)
            }
        }
    }
}

fn in_one_thread<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("runtime")?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, work)
}

fn table(outcome: &Outcome) -> String {
    let mut rows = vec![
        (
            "requests",
            format!("{} in {:.2} s", outcome.requests, outcome.seconds),
        ),
        ("rate", format!("{:.0}/s", outcome.rate())),
        ("errors", outcome.errors.to_string()),
        (
            "bodies",
            format!(
                "{:.1} MiB/s",
                outcome.bytes as f64 / 1_048_576.0 / outcome.seconds
            ),
        ),
    ];
    if let Some(error) = &outcome.first_error {
        rows.push(("first error", error.clone()));
    }
    if let Some(latency) = outcome.latency {
        rows.push((
            "latency",
            format!(
                "p50 {:.2}  p90 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2} ms",
                latency.p50, latency.p90, latency.p99, latency.p999, latency.max
            ),
        ));
    }
    if let Some(fair) = outcome.fairness {
        rows.push((
            "connections' p50",
            format!("median {:.2}, worst {:.2} ms", fair.median, fair.worst),
        ));
    }
    if let Some(resumed) = outcome.resumed {
        rows.push(("resumed", format!("{:.1} % of handshakes", resumed * 100.0)));
    }
    if let (Some(cpu), Some(each)) = (outcome.cpu, outcome.cpu_per_request()) {
        let (user, system) = (cpu.user.as_secs_f64(), cpu.system.as_secs_f64());
        rows.push((
            "cpu",
            format!("{each:.2} us/request (user {user:.3} s, system {system:.3} s)"),
        ));
    }
    if let Some(bytes) = outcome.bytes_per_connection {
        rows.push(("memory", format!("{:.2} KiB/connection", bytes / 1024.0)));
    }
    rows.iter()
        .map(|(name, value)| format!("{name:18} {value}\n"))
        .collect()
}
