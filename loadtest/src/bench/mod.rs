//! How do proxies compare? The cases run for each proxy in turn, interleaved, round after round.
//!
//! Each cell is a fresh proxy on core 0 and a fresh generator on core 1, where the origins run, too. The
//! order of the proxies turns from round to round. Nothing is left out of the results: a cell that
//! failed, or during which others used the proxy's core, is told as such.

pub mod case;
mod cell;
pub mod machine;
mod range;
pub mod report;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;

use crate::peer::Proxy;
use case::Case;
use cell::Bench;
use report::Results;

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A few minutes.
    Quick,
    /// Everything.
    Full,
}

impl Form {
    /// Warm-up and measured time of a cell, in seconds.
    fn times(self) -> (f64, f64) {
        match self {
            Form::Quick => (0.7, 1.5),
            Form::Full => (1.0, 3.0),
        }
    }

    /// Repetitions with logs and without.
    fn rounds(self) -> (usize, usize) {
        match self {
            Form::Quick => (3, 1),
            Form::Full => (5, 3),
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// How much.
    pub form: Form,
    /// Beginnings of names; empty for all of the form.
    pub cases: Vec<String>,
    /// Names; empty for all that are installed.
    pub proxies: Vec<String>,
    /// In place of the form's.
    pub rounds: Option<usize>,
    /// In place of the form's, of the table without logs.
    pub rounds_without_logs: Option<usize>,
    /// No second table.
    pub only_with_logs: bool,
    /// Directory of the results.
    pub out: PathBuf,
}

impl Options {
    fn chosen(&self) -> anyhow::Result<Vec<Case>> {
        let mut cases = case::all();
        if self.cases.is_empty() {
            cases.retain(|case| case.quick || self.form == Form::Full);
        } else {
            cases.retain(|case| {
                self.cases
                    .iter()
                    .any(|name| case.name.starts_with(name.as_str()))
            });
        }
        ensure!(!cases.is_empty(), "there is no such case");
        let wanted = self
            .proxies
            .iter()
            .map(|name| Proxy::named(name).with_context(|| format!("there is no proxy `{name}`")))
            .collect::<anyhow::Result<Vec<_>>>()?;
        for case in &mut cases {
            case.proxies
                .retain(|proxy| wanted.is_empty() || wanted.contains(proxy));
            case.proxies.retain(|proxy| proxy.binary().exists());
        }
        cases.retain(|case| !case.proxies.is_empty());
        Ok(cases)
    }
}

/// Tells the cases.
///
/// # Errors
///
/// No case or proxy is of a given name.
pub fn list(options: &Options) -> anyhow::Result<()> {
    for case in options.chosen()? {
        let proxies: Vec<_> = case.proxies.iter().map(|proxy| proxy.name()).collect();
        println!(
            "{:24} {:15} {}",
            case.name,
            case.figure.unit(),
            proxies.join(" ")
        );
    }
    Ok(())
}

/// Runs the comparison, prints its tables and writes its results.
///
/// # Errors
///
/// Portcullis is not built, a configuration is refused, or a file cannot be written. A failing cell is a
/// result and no error.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let cases = options.chosen()?;
    let cores = std::thread::available_parallelism().context("cores")?.get();
    ensure!(
        cores >= 2,
        "two cores are needed: one for the proxy, one for load and origin"
    );
    let dir = Scratch::new()?;
    let machine = machine::facts(&all_of(&cases));
    println!("{}", machine.text());
    let mut results = Results::new(machine, options.form, &cases);
    let bench = Bench::new(dir.0.clone(), options.form.times())?;
    bench.check(&all_of(&cases))?;
    let (with, without) = options.form.rounds();
    let without = if options.only_with_logs {
        0
    } else {
        let fewer = options.rounds.map_or(without, |rounds| rounds.min(without));
        options.rounds_without_logs.unwrap_or(fewer)
    };
    let with = options.rounds.unwrap_or(with);
    for round in 0..with.max(without) {
        for logs in [true, false] {
            if round >= if logs { with } else { without } {
                continue;
            }
            for case in cases.iter().filter(|case| logs || case.writes_lines()) {
                let mut order = case.proxies.clone();
                let turn = round % order.len();
                order.rotate_left(turn);
                for proxy in order {
                    let cell = bench.cell(case, proxy, logs, round);
                    eprintln!("{}", cell.line());
                    results.add(cell);
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
            // Also when it is stopped half-way there is something to read.
            results.write(&options.out)?;
        }
    }
    let path = results.write(&options.out)?;
    println!("{}\nwritten to {}", results.text(), path.display());
    if results.all_failed() {
        bail!("not one cell succeeded");
    }
    Ok(())
}

/// Tells how often Portcullis allocates for a request, on each path of the data.
///
/// # Errors
///
/// The counting build is not there or does not run.
pub fn allocations() -> anyhow::Result<()> {
    let dir = Scratch::new()?;
    let bench = Bench::new(dir.0.clone(), Form::Quick.times())?;
    println!(
        "{:24} {:>12} {:>24}",
        "case", "requests", "allocations per request"
    );
    for case in case::all()
        .iter()
        .filter(|case| ALLOCATING.contains(&case.name.as_str()))
    {
        let outcome = bench.allocations(case)?;
        let counted = outcome.counted.context("no counter")? as f64;
        let each = counted / outcome.requests.max(1) as f64;
        println!("{:24} {:>12} {each:>24.2}", case.name, outcome.requests);
    }
    Ok(())
}

/// One case for each path that data can take.
const ALLOCATING: [&str; 7] = [
    "h1-plain-64",
    "h1-tls-64",
    "h2-tls-8x10",
    "grpc-8x10",
    "handshake-full-ecdsa",
    "body-1m-down-tls",
    "body-1m-up-tls",
];

fn all_of(cases: &[Case]) -> Vec<Proxy> {
    let mut proxies: Vec<Proxy> = cases.iter().flat_map(|case| case.proxies.clone()).collect();
    proxies.sort_unstable();
    proxies.dedup();
    proxies
}

/// A directory in memory, so that logs cost no disk; removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Scratch> {
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() {
            memory
        } else {
            std::env::temp_dir()
        };
        let dir = parent.join(format!("loadtest-{}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        Ok(Scratch(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
