//! What is one measurement? A fresh proxy, a case and its figures.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use super::case::{Case, Figure, MIX_SLOTS, MIX_WORKERS, Work};
use super::range;
use crate::load::Outcome;
use crate::origin::Origin;
use crate::peer::{Certificate, Key, Pinned, Pool, Process, Proxy, Setup, free_ports};
use crate::scenario::{Load, Scenario};

/// Ports of one bench, in a row: listeners first, then workers.
const PORTS: u16 = 1100;
const WORKERS: u16 = 20;
/// Where load and origins run while the proxy has its own core.
const OTHERS: &str = "1";

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// Name of the case.
    pub case: String,
    /// Who was measured.
    pub proxy: Proxy,
    /// Access logs were on.
    pub logs: bool,
    /// From 0.
    pub round: usize,
    /// The figure that is compared, in the case's unit; `None` where the cell failed.
    pub figure: Option<f64>,
    /// Everything that was measured.
    pub outcome: Option<Outcome>,
    /// Milliseconds until a new worker of the range was found.
    pub found_ms: Option<f64>,
    /// Why it failed.
    pub failure: Option<String>,
}

impl Cell {
    /// One line while the bench runs.
    pub fn line(&self) -> String {
        let logs = if self.logs { "" } else { " (no log)" };
        let figure = match (self.figure, &self.failure) {
            (Some(figure), _) => format!("{figure:.2}"),
            (None, failure) => format!("failed: {}", failure.as_deref().unwrap_or("no figure")),
        };
        let errors = self
            .outcome
            .as_ref()
            .filter(|outcome| outcome.errors > 0)
            .map_or_else(String::new, |outcome| {
                format!(
                    "  {} errors, first: {}",
                    outcome.errors,
                    outcome.first_error.clone().unwrap_or_default()
                )
            });
        let rate = self.outcome.as_ref().map_or(0.0, Outcome::rate);
        format!(
            "{:>2} {:24} {:11}{logs} {figure}  ({rate:.0}/s){errors}",
            self.round + 1,
            self.case,
            self.proxy.name()
        )
    }
}

/// What cells have in common.
pub struct Bench {
    dir: PathBuf,
    /// One for each kind of key, in their order.
    certificates: Vec<Certificate>,
    times: (f64, f64),
    first_port: u16,
    me: PathBuf,
}

impl Bench {
    /// Finds ports and makes certificates.
    ///
    /// # Errors
    ///
    /// There are not enough ports, or a file cannot be written.
    pub fn new(dir: PathBuf, times: (f64, f64)) -> anyhow::Result<Bench> {
        let certificates = Key::ALL.map(|key| Certificate::make(&dir, key));
        let certificates = certificates.into_iter().collect::<anyhow::Result<_>>()?;
        Ok(Bench {
            dir,
            certificates,
            times,
            first_port: free_ports(20_000, PORTS)?,
            me: std::env::current_exe().context("own executable")?,
        })
    }

    /// Asks each proxy whether it takes its configuration.
    ///
    /// # Errors
    ///
    /// One does not.
    pub fn check(&self, proxies: &[Proxy]) -> anyhow::Result<()> {
        for logs in [true, false] {
            let setup = self.setup(None, logs);
            for proxy in proxies {
                crate::peer::check(*proxy, &proxy.prepare(&setup)?)?;
            }
        }
        Ok(())
    }

    /// Measures; a failure is in the cell.
    pub fn cell(&self, case: &Case, proxy: Proxy, logs: bool, round: usize) -> Cell {
        let mut cell = Cell {
            case: case.name.clone(),
            proxy,
            logs,
            round,
            figure: None,
            outcome: None,
            found_ms: None,
            failure: None,
        };
        if let Err(error) = self.measure(case, proxy, &mut cell) {
            cell.failure = Some(format!("{error:#}"));
            cell.figure = None;
        }
        cell
    }

    fn measure(&self, case: &Case, proxy: Proxy, cell: &mut Cell) -> anyhow::Result<()> {
        let setup = self.setup(Some(case), cell.logs);
        let _ = fs::remove_dir_all(setup.dir.join(proxy.name()));
        let command = proxy.prepare(&setup)?;
        let cores = if setup.threads > 1 { "0,1" } else { "0" };
        let others = match case.work {
            Work::Load { together: true, .. } => cores,
            _ => OTHERS,
        };
        let _origin = self.origin(&self.origins(case, &setup), others)?;
        let ports = [setup.plain, setup.tls, setup.grpc];
        let process = Process::proxy(
            proxy,
            &command,
            &Pinned(cores.to_owned()),
            match proxy {
                Proxy::Apache => &ports[..2],
                _ => &ports,
            },
            &setup.dir,
        )?;
        if matches!(case.work, Work::Range) {
            let (idle, found) = range::watch(&setup, process.id(), |port| {
                let one = Origin {
                    http: vec![(port, port)],
                    slots: 1,
                    ..Origin::default()
                };
                self.origin(&one, OTHERS)
            })?;
            cell.figure = Some(idle);
            cell.found_ms = Some(found);
            return Ok(());
        }
        let mut scenario = case.scenario(&setup, process.id());
        (scenario.warm_up, scenario.time) = self.times;
        if matches!(case.work, Work::Mix(_)) {
            // Until the line is as long as it gets.
            scenario.warm_up = 3.0;
            scenario.time = 5.0;
        }
        let outcome = self.generate(&scenario, others)?;
        cell.figure = figure(case, &outcome);
        cell.outcome = Some(outcome);
        Ok(())
    }

    /// Runs a case through a counting build of the gateway; see `gateway/examples/allocations.rs`.
    ///
    /// # Errors
    ///
    /// Something does not start, or the load fails.
    pub fn allocations(&self, case: &Case) -> anyhow::Result<Outcome> {
        let setup = self.setup(Some(case), true);
        let mut command = Proxy::Portcullis.prepare(&setup)?;
        let counter = SocketAddr::from((Ipv4Addr::LOCALHOST, setup.admin + 1));
        command
            .env
            .push(("ALLOCATIONS".to_owned(), counter.to_string()));
        let _origin = self.origin(&self.origins(case, &setup), OTHERS)?;
        let ports = [setup.plain, setup.tls, setup.grpc, counter.port()];
        let pinned = Pinned("0".to_owned());
        let process = Process::proxy(Proxy::Portcullis, &command, &pinned, &ports, &setup.dir)?;
        let mut scenario = case.scenario(&setup, process.id());
        (scenario.warm_up, scenario.time) = self.times;
        scenario.counter = Some(counter);
        self.generate(&scenario, OTHERS)
    }

    fn setup(&self, case: Option<&Case>, logs: bool) -> Setup {
        let first = self.first_port;
        let four = |name, prefix, at: u16| Pool {
            name,
            prefix,
            ports: (first + WORKERS + at, first + WORKERS + at + 3),
        };
        let all = Pool {
            name: "workers",
            prefix: "/",
            ports: (first + WORKERS, first + WORKERS + MIX_WORKERS - 1),
        };
        let range = Pool {
            ports: (first + WORKERS, first + WORKERS + 989),
            ..all.clone()
        };
        let (pools, in_flight_max) = match case.map(|case| &case.work) {
            Some(Work::Range) => (vec![range], None),
            Some(Work::Mix(_)) => (vec![all], Some(MIX_SLOTS)),
            Some(Work::Load { .. }) | None => (
                vec![
                    four("ping", "/ping", 0),
                    four("messages", "/message-system", 10),
                    four("api", "/api", 20),
                    four("app", "/", 30),
                ],
                None,
            ),
        };
        let threads = match case.map(|case| &case.work) {
            Some(Work::Load { threads, .. }) => *threads,
            _ => 1,
        };
        let key = case.map_or(Key::Ecdsa, |case| case.key);
        Setup {
            dir: self.dir.clone(),
            plain: first,
            tls: first + 1,
            grpc: first + 2,
            admin: first + 3,
            pools,
            echo: first + 10,
            silent: first + 11,
            certificate: self.certificates[key as usize].clone(),
            logs,
            threads,
            in_flight_max,
        }
    }

    fn origins(&self, case: &Case, setup: &Setup) -> Origin {
        let live = setup.pools.iter().map(|pool| match case.work {
            Work::Range => (pool.ports.0, pool.ports.0 + 3),
            Work::Load { .. } | Work::Mix(_) => pool.ports,
        });
        Origin {
            http: live.collect(),
            echo: vec![setup.echo],
            silent: vec![setup.silent],
            slots: MIX_SLOTS as usize,
        }
    }

    fn origin(&self, origin: &Origin, cores: &str) -> anyhow::Result<Process> {
        let mut start = Pinned(cores.to_owned()).start(&self.me);
        start
            .args(["origin", &serde_json::to_string(origin)?])
            .stdout(Stdio::piped());
        let (process, mut child) = spawn("origin", &mut start)?;
        let mut line = String::new();
        let out = child.take().context("standard output")?;
        BufReader::new(out).read_line(&mut line).context("origin")?;
        ensure!(line.trim() == "ready", "the origin did not start");
        Ok(process)
    }

    fn generate(&self, scenario: &Scenario, cores: &str) -> anyhow::Result<Outcome> {
        let mut start = Pinned(cores.to_owned()).start(&self.me);
        start.args(["run", "--json", "-"]);
        let mut child: Child = start
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("generator")?;
        let text = serde_json::to_string(scenario)?;
        child
            .stdin
            .take()
            .context("standard input")?
            .write_all(text.as_bytes())?;
        let output = child.wait_with_output().context("generator")?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        serde_json::from_slice(&output.stdout).context("the generator's figures")
    }
}

fn spawn(
    name: &str,
    start: &mut std::process::Command,
) -> anyhow::Result<(Process, Option<std::process::ChildStdout>)> {
    let mut process = Process::start(name, start)?;
    let out = process.stdout();
    Ok((process, out))
}

/// The figure of a case; none where nothing was done, or much of it went wrong.
fn figure(case: &Case, outcome: &Outcome) -> Option<f64> {
    let overload = matches!(case.work, Work::Mix(_));
    if outcome.requests == 0 || (!overload && outcome.errors * 100 > outcome.requests) {
        return None;
    }
    if let Work::Load {
        load: Load::Handshakes { resume, .. },
        ..
    } = case.work
    {
        // A proxy that resumes where it should not, or does not where it should, did other work.
        let resumed = outcome.resumed.unwrap_or(0.0);
        if (resume && resumed < 0.99) || (!resume && resumed > 0.0) {
            return None;
        }
    }
    match case.figure {
        Figure::CpuPerRequest => outcome.cpu_per_request(),
        Figure::CpuPerMib => {
            let mebibytes = outcome.bytes as f64 / 1_048_576.0;
            Some(outcome.cpu?.total().as_secs_f64() * 1e6 / mebibytes)
        }
        Figure::Memory => Some(outcome.bytes_per_connection? / 1024.0),
        Figure::IdleCpu => None,
        Figure::Goodput | Figure::Throughput => Some(outcome.rate()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::CpuTime;
    use crate::bench::case;
    use std::time::Duration;

    fn named(name: &str) -> Case {
        case::all()
            .into_iter()
            .find(|case| case.name == name)
            .unwrap()
    }

    fn outcome(requests: u64, errors: u64, resumed: f64) -> Outcome {
        Outcome {
            seconds: 1.0,
            requests,
            errors,
            bytes: 2 << 20,
            cpu: Some(CpuTime {
                user: Duration::from_millis(10),
                system: Duration::from_millis(10),
            }),
            resumed: Some(resumed),
            ..Outcome::default()
        }
    }

    #[test]
    fn figures_have_the_units_of_their_cases() {
        assert_eq!(
            figure(&named("h1-tls-64"), &outcome(1000, 0, 0.0)),
            Some(20.0)
        );
        assert_eq!(
            figure(&named("body-1m-down-tls"), &outcome(2, 0, 0.0)),
            Some(10_000.0)
        );
    }

    #[test]
    fn what_went_wrong_is_no_figure() {
        assert_eq!(figure(&named("h1-tls-64"), &outcome(1000, 11, 0.0)), None);
        assert_eq!(figure(&named("h1-tls-64"), &outcome(0, 0, 0.0)), None);
        assert_eq!(
            figure(&named("handshake-full-ecdsa"), &outcome(1000, 0, 0.2)),
            None
        );
        assert_eq!(
            figure(&named("handshake-resumed-ecdsa"), &outcome(1000, 0, 0.2)),
            None
        );
        assert!(figure(&named("handshake-resumed-rsa"), &outcome(1000, 0, 1.0)).is_some());
        assert!(
            figure(&named("mix-4x"), &outcome(1000, 3000, 0.0)).is_some(),
            "overload sheds"
        );
    }
}
