//! What does it come to? Sums of the counters by listener and by pool, for whoever asks under other names.

use std::collections::HashMap;

use prometheus::IntCounterVec;
use prometheus::core::Collector;

use super::Metrics;

/// Sums of a listener or a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sum {
    /// Exchanges by the class of their status, from 0 for none to 5 for 5xx.
    pub classes: [u64; 6],
    /// Bytes of request bodies.
    pub bytes_in: u64,
    /// Bytes of response bodies.
    pub bytes_out: u64,
    /// Requests denied or over a limit.
    pub denied: u64,
    /// Requests that could not be understood.
    pub bad: u64,
    /// Connections to workers that failed.
    pub connect_errors: u64,
    /// Attempts that failed later.
    pub response_errors: u64,
    /// Count and sum in seconds: waited, connected, first byte, whole.
    times: [(u64, f64); 4],
}

impl Sum {
    /// All exchanges.
    pub fn requests(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// Average times in seconds: waiting (over all requests), connecting, first byte, whole.
    pub fn averages(&self) -> [f64; 4] {
        let [(_, waited), rest @ ..] = self.times;
        let average = |(count, sum): (u64, f64)| if count == 0 { 0.0 } else { sum / count as f64 };
        let [connect, first_byte, whole] = rest.map(average);
        [
            average((self.requests(), waited)),
            connect,
            first_byte,
            whole,
        ]
    }
}

/// Sums by name.
#[derive(Debug, Default)]
pub struct Totals {
    listeners: HashMap<String, Sum>,
    pools: HashMap<String, Sum>,
}

impl Totals {
    /// Of a listener.
    pub fn listener(&self, name: &str) -> Sum {
        self.listeners.get(name).copied().unwrap_or_default()
    }

    /// Of a pool.
    pub fn pool(&self, name: &str) -> Sum {
        self.pools.get(name).copied().unwrap_or_default()
    }
}

const CLASSES: [&str; 6] = super::CLASSES;
/// Words of the log for requests that a rule or a limit refused ...
const DENIED: [&str; 4] = ["denied", "rate_limited", "route_full", "body_too_large"];
/// ... and for those that were wrong.
const BAD: [&str; 5] = [
    "bad_head",
    "bad_path",
    "bad_host",
    "bad_body",
    "client_timeout",
];

impl Metrics {
    /// Sums of what was counted so far.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        each(&self.exchanges.requests, |label, count| {
            let class = label("class");
            let class = CLASSES.iter().position(|c| *c == class).unwrap_or(0);
            totals
                .listeners
                .entry(label("listener"))
                .or_default()
                .classes[class] += count;
            totals.pools.entry(label("pool")).or_default().classes[class] += count;
        });
        each(&self.exchanges.bytes, |label, count| {
            let is_in = label("direction") == "in";
            for sum in [
                totals.listeners.entry(label("listener")).or_default(),
                totals.pools.entry(label("pool")).or_default(),
            ] {
                *(if is_in {
                    &mut sum.bytes_in
                } else {
                    &mut sum.bytes_out
                }) += count;
            }
        });
        each(&self.exchanges.failed, |label, count| {
            let sum = totals.listeners.entry(label("listener")).or_default();
            let end = label("end");
            if DENIED.contains(&end.as_str()) {
                sum.denied += count;
            } else if BAD.contains(&end.as_str()) {
                sum.bad += count;
            }
        });
        each(&self.pools.failures, |label, count| {
            let sum = totals.pools.entry(label("pool")).or_default();
            if label("reason").starts_with("connect_") {
                sum.connect_errors += count;
            } else {
                sum.response_errors += count;
            }
        });
        let pools = &self.pools;
        for (at, histograms) in [
            &pools.wait,
            &pools.connect,
            &pools.first_byte,
            &self.exchanges.duration,
        ]
        .into_iter()
        .enumerate()
        {
            let labels = histograms.family.labels;
            let place = labels.iter().position(|label| *label == "pool");
            histograms.each(|labels, counted| {
                if let Some(pool) = place.and_then(|at| labels.get(at)) {
                    let (count, sum) = &mut totals.pools.entry(pool.clone()).or_default().times[at];
                    *count += counted.count;
                    *sum += counted.sum_us as f64 / 1e6;
                }
            });
        }
        totals
    }
}

fn each(counters: &IntCounterVec, mut visit: impl FnMut(&dyn Fn(&str) -> String, u64)) {
    for family in counters.collect() {
        for metric in family.get_metric() {
            let label = |name: &str| {
                let labels = metric.get_label();
                let found = labels.iter().find(|pair| pair.name() == name);
                found.map_or_else(String::new, |pair| pair.value().to_owned())
            };
            visit(&label, metric.get_counter().get_value() as u64);
        }
    }
}
