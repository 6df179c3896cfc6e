//! What is counted, under which name? Every metric of the services.
//!
//! Labels are words of our own, never of a request. Each worker counts for itself.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

/// Seconds.
const BUCKETS: [f64; 11] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0,
];

/// A kind of metric.
trait Kind: Collector + Clone + Sized + 'static {
    fn of(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self>;
}

impl Kind for IntCounterVec {
    fn of(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self> {
        Self::new(Opts::new(name, help), labels)
    }
}

impl Kind for IntCounter {
    fn of(name: &str, help: &str, _: &[&str]) -> prometheus::Result<Self> {
        Self::new(name, help)
    }
}

impl Kind for IntGaugeVec {
    fn of(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self> {
        Self::new(Opts::new(name, help), labels)
    }
}

impl Kind for IntGauge {
    fn of(name: &str, help: &str, _: &[&str]) -> prometheus::Result<Self> {
        Self::new(name, help)
    }
}

impl Kind for Gauge {
    fn of(name: &str, help: &str, _: &[&str]) -> prometheus::Result<Self> {
        Self::new(name, help)
    }
}

impl Kind for Histogram {
    fn of(name: &str, help: &str, _: &[&str]) -> prometheus::Result<Self> {
        Self::with_opts(HistogramOpts::new(name, help).buckets(BUCKETS.to_vec()))
    }
}

/// Makes [`Metrics`] of a table: field, kind, name, help and labels of each, in one place.
macro_rules! metrics {
    ($($(#[$said:meta])* $see:vis $field:ident: $kind:ident = $name:literal, $help:literal, [$($label:literal),*];)*) => {
        /// The registry and what is counted in it. Cheap to clone; all clones count together.
        #[derive(Clone)]
        pub struct Metrics {
            registry: Registry,
            $($(#[$said])* $see $field: $kind,)*
        }

        impl Metrics {
            /// All metrics, at zero.
            ///
            /// # Errors
            ///
            /// Two metrics of one name, which a test would meet.
            pub fn new() -> Result<Self, prometheus::Error> {
                let registry = Registry::new();
                $(
                    let $field = <$kind as Kind>::of($name, $help, &[$($label),*])?;
                    registry.register(Box::new($field.clone()))?;
                )*
                Ok(Self { registry, $($field),* })
            }
        }
    };
}

metrics! {
    requests: IntCounterVec = "backends_requests_total",
        "Requests that were answered, by class of the status.", ["class"];

    seconds: Histogram = "backends_request_seconds",
        "From the head of a request to the head of its answer, seconds.", [];

    /// Exchanges by how they ended: `known`, `stranger`, `unknown`, `clone`, `malformed`, `busy`,
    /// `late`, `failed`.
    pub exchanges: IntCounterVec = "backends_exchanges_total",
        "Exchanges with agents, by how they ended.", ["end"];

    /// Messages from agents by what became of them: `stored`, `repeated`, `invalid`, `not_taken`,
    /// `late` (left for the next exchange).
    pub messages: IntCounterVec = "backends_messages_total",
        "Messages from agents, by what became of them.", ["end"];

    /// Rows of messages that did not fit; what they stood in was stored without them.
    pub rows_left_out: IntCounter = "backends_rows_left_out_total",
        "Rows of messages from agents that did not fit and were left out.", [];

    /// Registrations by what was decided: `accepted`, `pending`, `unknown_account`, `max_pending`,
    /// `invalid`.
    pub registrations: IntCounterVec = "backends_registrations_total",
        "Registrations, by what was decided.", ["decision"];

    /// Pings by answer: `yes`, `no`, `unknown`, `malformed`.
    pub pings: IntCounterVec = "backends_pings_total",
        "Pings, by what was answered.", ["answer"];

    /// Work of the ping server in the database, by what (`refresh`, `told`, `write`) and how it ended (`ok`,
    /// `failed`).
    pub ping_store: IntCounterVec = "backends_ping_store_total",
        "Looks into the database and writes by the ping server, by how they ended.", ["what", "end"];

    /// Files that were uploaded, by how that ended: `stored`, `imported` and `repeated` (a `.changes`),
    /// `refused`, `busy`, `failed`; and those that `expired`.
    pub uploads: IntCounterVec = "backends_uploads_total",
        "Files that were uploaded, by how that ended.", ["end"];

    /// Questions to package search, by how they ended: `answered`, `busy`, `not_loaded`, `malformed`,
    /// `failed`.
    pub package_searches: IntCounterVec = "backends_package_searches_total",
        "Questions to package search, by how they ended.", ["end"];

    /// What is in its copy: `packages`, `computers`.
    pub package_index: IntGaugeVec = "backends_package_index",
        "What package search has in memory.", ["what"];

    /// Questions for packages, by who answered: `index`, `sql`.
    pub package_questions: IntCounterVec = "backends_package_questions_total",
        "Questions for packages, by who answered.", ["by"];

    /// Ping times that wait to be written.
    pub ping_waiting: IntGauge = "backends_ping_waiting",
        "Computers whose last ping is not written yet.", [];

    /// Notes of the outbox by what became of them: `told`, `lost` (too many waited).
    pub notes: IntCounterVec = "backends_outbox_notes_total",
        "Notes of the outbox, by what became of them.", ["end"];

    /// Notes that wait to be told.
    pub notes_waiting: IntGauge = "backends_outbox_waiting",
        "Notes that wait to be told to the broker.", [];

    /// For how long the oldest of them does, seconds.
    pub notes_oldest: Gauge = "backends_outbox_oldest_seconds",
        "For how long the oldest note waits.", [];

    /// Computers that are gone and have left behind what they measured.
    pub sweep_waiting: IntGauge = "backends_sweep_waiting",
        "Removed computers whose measurements are not deleted yet.", [];

    /// Streams of WSL hosts.
    pub host_streams: IntGauge = "backends_host_streams",
        "Streams of WSL hosts.", [];

    /// Orders to WSL hosts by what was heard of them: `sent`, then `queued`, `in_progress`, `succeeded`,
    /// `failed`; `repeated` and `stranger` change nothing.
    pub host_commands: IntCounterVec = "backends_host_commands_total",
        "Orders to WSL hosts, by what was heard of them.", ["state"];
}

impl Metrics {
    /// A request was answered.
    pub fn answered(&self, status: u16, time: Duration) {
        let class = match status {
            100..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        self.requests.with_label_values(&[class]).inc();
        self.seconds.observe(time.as_secs_f64());
    }

    /// Everything in the text form of Prometheus.
    pub fn text(&self) -> String {
        let mut out = Vec::new();
        // Writing into memory does not fail; half a page is better than none.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_told() {
        let metrics = Metrics::new().expect("no two of one name");
        metrics.answered(204, Duration::from_millis(1));
        metrics.pings.with_label_values(&["yes"]).inc();
        let text = metrics.text();
        assert!(
            text.contains("backends_requests_total{class=\"2xx\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("backends_pings_total{answer=\"yes\"} 1"),
            "{text}"
        );
    }
}
