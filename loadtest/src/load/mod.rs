//! What comes of a load? One run of a [`Scenario`] in one thread, from the warm-up to the figures.
//!
//! Only what ends inside the measured time counts. The account of the proxy is read at its two ends,
//! while the load goes on. An answer that is not 2xx, or is cut, is an error and no request.

mod http1;
mod http2;
mod idle;
mod multiplexed;
mod open;
mod wire;

use std::cell::{Cell, RefCell};
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};

use crate::account::{CpuTime, Processes, Reading, core_busy};
use crate::scenario::{Load, Protocol, Scenario};
use crate::tls;

/// Largest latency that is told apart, in microseconds.
const LATENCY_MAX: u64 = 600_000_000;

/// The figures of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Measured time in seconds.
    pub seconds: f64,
    /// Requests answered with 2xx; of `idle`, connections held.
    pub requests: u64,
    /// Requests that failed.
    pub errors: u64,
    /// What the first failure was.
    pub first_error: Option<String>,
    /// Bytes of bodies, both directions.
    pub bytes: u64,
    /// CPU time of the processes accounted for.
    pub cpu: Option<CpuTime>,
    /// Share of the watched core that neither those processes nor idling had, 0 to 1.
    pub others: Option<f64>,
    /// Time from a request's start (open loop: intended start) to the end of its answer.
    pub latency: Option<Latency>,
    /// How evenly connections are served.
    pub fairness: Option<Fairness>,
    /// What the counter rose by.
    pub counted: Option<u64>,
    /// Share of handshakes that resumed a session.
    pub resumed: Option<f64>,
    /// Bytes of memory that each held connection takes.
    pub bytes_per_connection: Option<f64>,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// The medians of the single connections, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Fairness {
    /// Of the connection in the middle.
    pub median: f64,
    /// Of the slowest connection.
    pub worst: f64,
}

impl Outcome {
    /// CPU time per request in microseconds.
    pub fn cpu_per_request(&self) -> Option<f64> {
        let cpu = self.cpu?.total().as_secs_f64();
        (self.requests > 0).then(|| cpu * 1e6 / self.requests as f64)
    }

    /// Requests per second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds.max(1e-9)
    }
}

/// Runs a scenario.
///
/// # Errors
///
/// The target cannot be reached at all, or the account cannot be read.
pub async fn run(scenario: Scenario, progress: bool) -> anyhow::Result<Outcome> {
    let resume = matches!(scenario.load, Load::Handshakes { resume: true, .. });
    let tls = match scenario.tls {
        true => Some(tls::client(scenario.protocol, resume)?),
        false => None,
    };
    let run = Rc::new(Run::new(scenario, tls));
    if progress {
        tokio::task::spawn_local(tell_progress(run.clone()));
    }
    match run.scenario.load {
        Load::Closed {
            connections,
            streams,
        } if run.scenario.is_mixed() => multiplexed::closed(&run, connections, streams),
        Load::Closed {
            connections,
            streams,
        } => {
            for me in 0..connections {
                match run.scenario.protocol {
                    Protocol::Http2 | Protocol::Grpc => {
                        tokio::task::spawn_local(http2::closed(run.clone(), me, streams));
                    }
                    Protocol::Http1 | Protocol::WebSocket => {
                        tokio::task::spawn_local(http1::closed(run.clone(), me));
                    }
                }
            }
        }
        Load::Open {
            rate,
            connections,
            deadline,
        } => {
            let deadline = Duration::from_secs_f64(deadline);
            match run.scenario.protocol {
                Protocol::Http2 | Protocol::Grpc => {
                    multiplexed::open(&run, rate, connections, deadline);
                }
                Protocol::Http1 | Protocol::WebSocket => {
                    open::start(&run, rate, connections, deadline);
                }
            }
        }
        Load::Handshakes { connections, .. } => {
            for me in 0..connections {
                let tls = match run.tls {
                    Some(_) => Some(tls::client(Protocol::Http1, resume)?),
                    None => None,
                };
                tokio::task::spawn_local(http1::handshakes(run.clone(), me, tls));
            }
        }
        Load::Idle { connections } => return idle::hold(&run, connections).await,
    }
    tokio::time::sleep(Duration::from_secs_f64(run.scenario.warm_up)).await;
    let before = run.begin()?;
    tokio::time::sleep(Duration::from_secs_f64(run.scenario.time)).await;
    run.end(before)
}

/// What the tasks of a run share.
struct Run {
    scenario: Scenario,
    tls: Option<Arc<ClientConfig>>,
    measuring: Cell<bool>,
    requests: Cell<u64>,
    errors: Cell<u64>,
    bytes: Cell<u64>,
    handshakes: Cell<u64>,
    resumed: Cell<u64>,
    first_error: RefCell<Option<String>>,
    /// Microseconds, by connection.
    samples: RefCell<Vec<Vec<u32>>>,
}

struct Before {
    at: Instant,
    processes: Processes,
    account: Reading,
    busy: Duration,
    counter: Option<u64>,
}

impl Run {
    fn new(scenario: Scenario, tls: Option<Arc<ClientConfig>>) -> Run {
        Run {
            scenario,
            tls,
            measuring: Cell::new(false),
            requests: Cell::new(0),
            errors: Cell::new(0),
            bytes: Cell::new(0),
            handshakes: Cell::new(0),
            resumed: Cell::new(0),
            first_error: RefCell::default(),
            samples: RefCell::default(),
        }
    }

    fn begin(&self) -> anyhow::Result<Before> {
        let processes = self.processes()?;
        let before = Before {
            account: processes.read()?,
            processes,
            busy: self.busy()?,
            counter: self.counter()?,
            at: Instant::now(),
        };
        self.measuring.set(true);
        Ok(before)
    }

    fn end(&self, before: Before) -> anyhow::Result<Outcome> {
        self.measuring.set(false);
        let seconds = before.at.elapsed().as_secs_f64();
        let cpu = before.processes.read()?.since(&before.account);
        let busy = self.busy()?.saturating_sub(before.busy);
        let counter = self.counter()?;
        let accounted = !before.processes.ids().is_empty();
        let samples = self.samples.borrow();
        let handshakes = self.handshakes.get();
        Ok(Outcome {
            seconds,
            requests: self.requests.get(),
            errors: self.errors.get(),
            first_error: self.first_error.borrow().clone(),
            bytes: self.bytes.get(),
            cpu: accounted.then_some(cpu),
            others: self
                .scenario
                .core
                .map(|_| (busy.as_secs_f64() - cpu.total().as_secs_f64()).max(0.0) / seconds),
            counted: counter
                .zip(before.counter)
                .map(|(now, then)| now.saturating_sub(then)),
            latency: latency(&samples)?,
            fairness: fairness(&samples),
            resumed: (handshakes > 0).then(|| self.resumed.get() as f64 / handshakes as f64),
            bytes_per_connection: None,
        })
    }

    fn counter(&self) -> anyhow::Result<Option<u64>> {
        let Some(at) = self.scenario.counter else {
            return Ok(None);
        };
        let mut text = String::new();
        let mut socket = TcpStream::connect(at).context("counter")?;
        let line = BufReader::new(&mut socket).read_line(&mut text);
        line.context("counter")?;
        Ok(Some(text.trim().parse().context("counter")?))
    }

    /// Found anew each time: some programs make their children after they listen.
    fn processes(&self) -> anyhow::Result<Processes> {
        Processes::below(&self.scenario.account)
    }

    fn busy(&self) -> anyhow::Result<Duration> {
        self.scenario.core.map_or(Ok(Duration::ZERO), core_busy)
    }

    /// A place for the times of one connection.
    fn connection(&self) -> usize {
        let mut samples = self.samples.borrow_mut();
        samples.push(Vec::new());
        samples.len() - 1
    }

    fn count(&self, connection: usize, took: Duration) {
        if self.measuring.get() {
            self.requests.set(self.requests.get() + 1);
            let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
            self.samples.borrow_mut()[connection].push(micros);
        }
    }

    /// Bytes of a body, as they move: large bodies do not end often enough to be counted whole.
    fn moved(&self, bytes: u64) {
        if self.measuring.get() {
            self.bytes.set(self.bytes.get() + bytes);
        }
    }

    fn handshake(&self, resumed: bool) {
        if self.measuring.get() {
            self.handshakes.set(self.handshakes.get() + 1);
            self.resumed.set(self.resumed.get() + u64::from(resumed));
        }
    }

    fn fail(&self, what: impl std::fmt::Display) {
        self.first_error
            .borrow_mut()
            .get_or_insert_with(|| what.to_string());
        // Failures of the warm-up are told, not counted.
        if self.measuring.get() {
            self.errors.set(self.errors.get() + 1);
        }
    }
}

/// All connections in one histogram.
fn latency(samples: &[Vec<u32>]) -> anyhow::Result<Option<Latency>> {
    let mut all: Histogram<u64> =
        Histogram::new_with_bounds(1, LATENCY_MAX, 3).context("histogram")?;
    for micros in samples.iter().flatten() {
        all.saturating_record(u64::from(*micros));
    }
    let at = |quantile: f64| all.value_at_quantile(quantile) as f64 / 1000.0;
    Ok((!all.is_empty()).then(|| Latency {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: all.max() as f64 / 1000.0,
    }))
}

/// Connections with fewer than ten answers say nothing about themselves; those with none in all the
/// time are the worst there can be.
fn fairness(samples: &[Vec<u32>]) -> Option<Fairness> {
    let mut medians: Vec<u32> = samples
        .iter()
        .filter(|micros| micros.is_empty() || micros.len() >= 10)
        .map(|micros| {
            let mut sorted = micros.clone();
            sorted.sort_unstable();
            sorted.get(sorted.len() / 2).copied().unwrap_or(u32::MAX)
        })
        .collect();
    medians.sort_unstable();
    Some(Fairness {
        median: f64::from(*medians.get(medians.len() / 2)?) / 1000.0,
        worst: f64::from(*medians.last()?) / 1000.0,
    })
}

async fn tell_progress(run: Rc<Run>) {
    let (mut last, began) = (0, Instant::now());
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = run.requests.get();
        eprintln!(
            "{:4.0} s  {} requests ({}/s), {} errors{}",
            began.elapsed().as_secs_f64(),
            now,
            now - last,
            run.errors.get(),
            if run.measuring.get() {
                ""
            } else {
                "  (not measuring)"
            }
        );
        last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_of_connections_are_merged() {
        let latency = latency(&[vec![1000; 98], vec![9000, 50_000]])
            .unwrap()
            .unwrap();
        assert!((latency.p50 - 1.0).abs() < 0.01);
        assert!((latency.p99 - 9.0).abs() < 0.05);
        assert!((latency.max - 50.0).abs() < 0.1);
        assert!(super::latency(&[vec![]]).unwrap().is_none());
    }

    #[test]
    fn a_starved_connection_is_the_worst() {
        let even = fairness(&[vec![1000; 20], vec![2000; 20], vec![3000; 20], vec![9; 3]]).unwrap();
        assert_eq!((even.median, even.worst), (2.0, 3.0));
        let starved = fairness(&[vec![1000; 20], vec![1000; 20], vec![]]).unwrap();
        assert!(starved.worst > 1e6);
    }
}
