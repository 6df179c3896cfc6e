//! What is counted, under which name? Every metric of the services.
//!
//! Labels are words of our own, never of a request. Each worker counts for itself.

use std::time::Duration;

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

/// Seconds.
const BUCKETS: [f64; 11] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0,
];

/// The registry and what is counted in it. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    seconds: Histogram,
    /// Exchanges by how they ended: `known`, `stranger`, `unknown`, `clone`, `malformed`, `busy`,
    /// `late`, `failed`.
    pub exchanges: IntCounterVec,
    /// Messages from agents by what became of them: `stored`, `repeated`, `invalid`, `not_taken`,
    /// `late` (left for the next exchange).
    pub messages: IntCounterVec,
    /// Rows of messages that did not fit; what they stood in was stored without them.
    pub rows_left_out: IntCounter,
    /// Registrations by what was decided: `accepted`, `pending`, `unknown_account`, `max_pending`,
    /// `invalid`.
    pub registrations: IntCounterVec,
    /// Pings by answer: `yes`, `no`, `unknown`, `malformed`.
    pub pings: IntCounterVec,
    /// Work of the ping server in the database, by what (`refresh`, `told`, `write`) and how it ended (`ok`,
    /// `failed`).
    pub ping_store: IntCounterVec,
    /// Files that were uploaded, by how that ended: `stored`, `imported` and `repeated` (a `.changes`),
    /// `refused`, `busy`, `failed`; and those that `expired`.
    pub uploads: IntCounterVec,
    /// Questions to package search, by how they ended: `answered`, `busy`, `not_loaded`, `malformed`,
    /// `failed`.
    pub package_searches: IntCounterVec,
    /// What is in its copy: `packages`, `computers`.
    pub package_index: IntGaugeVec,
    /// Questions for packages, by who answered: `index`, `sql`.
    pub package_questions: IntCounterVec,
    /// Ping times that wait to be written.
    pub ping_waiting: IntGauge,
    /// Notes of the outbox by what became of them: `told`, `lost` (too many waited).
    pub notes: IntCounterVec,
    /// Notes that wait to be told.
    pub notes_waiting: IntGauge,
    /// For how long the oldest of them does, seconds.
    pub notes_oldest: Gauge,
    /// Streams of WSL hosts.
    pub host_streams: IntGauge,
    /// Orders to WSL hosts by what was heard of them: `sent`, then `queued`, `in_progress`, `succeeded`,
    /// `failed`; `repeated` and `stranger` change nothing.
    pub host_commands: IntCounterVec,
}

impl Metrics {
    /// All metrics, at zero.
    ///
    /// # Errors
    ///
    /// Two metrics of one name, which a test would meet.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let requests = counter(
            "backends_requests_total",
            "Requests that were answered, by class of the status.",
            &["class"],
        )?;
        let exchanges = counter(
            "backends_exchanges_total",
            "Exchanges with agents, by how they ended.",
            &["end"],
        )?;
        let messages = counter(
            "backends_messages_total",
            "Messages from agents, by what became of them.",
            &["end"],
        )?;
        let rows_left_out = IntCounter::new(
            "backends_rows_left_out_total",
            "Rows of messages from agents that did not fit and were left out.",
        )?;
        registry.register(Box::new(rows_left_out.clone()))?;
        let registrations = counter(
            "backends_registrations_total",
            "Registrations, by what was decided.",
            &["decision"],
        )?;
        let pings = counter(
            "backends_pings_total",
            "Pings, by what was answered.",
            &["answer"],
        )?;
        let ping_store = counter(
            "backends_ping_store_total",
            "Looks into the database and writes by the ping server, by how they ended.",
            &["what", "end"],
        )?;
        let uploads = counter(
            "backends_uploads_total",
            "Files that were uploaded, by how that ended.",
            &["end"],
        )?;
        let package_searches = counter(
            "backends_package_searches_total",
            "Questions to package search, by how they ended.",
            &["end"],
        )?;
        let package_questions = counter(
            "backends_package_questions_total",
            "Questions for packages, by who answered.",
            &["by"],
        )?;
        let package_index = IntGaugeVec::new(
            Opts::new(
                "backends_package_index",
                "What package search has in memory.",
            ),
            &["what"],
        )?;
        registry.register(Box::new(package_index.clone()))?;
        let ping_waiting = IntGauge::new(
            "backends_ping_waiting",
            "Computers whose last ping is not written yet.",
        )?;
        registry.register(Box::new(ping_waiting.clone()))?;
        let notes = counter(
            "backends_outbox_notes_total",
            "Notes of the outbox, by what became of them.",
            &["end"],
        )?;
        let notes_waiting = IntGauge::new(
            "backends_outbox_waiting",
            "Notes that wait to be told to the broker.",
        )?;
        registry.register(Box::new(notes_waiting.clone()))?;
        let notes_oldest = Gauge::new(
            "backends_outbox_oldest_seconds",
            "For how long the oldest note waits.",
        )?;
        registry.register(Box::new(notes_oldest.clone()))?;
        let host_streams = IntGauge::new("backends_host_streams", "Streams of WSL hosts.")?;
        registry.register(Box::new(host_streams.clone()))?;
        let host_commands = counter(
            "backends_host_commands_total",
            "Orders to WSL hosts, by what was heard of them.",
            &["state"],
        )?;
        let options = HistogramOpts::new(
            "backends_request_seconds",
            "From the head of a request to the head of its answer, seconds.",
        );
        let seconds = Histogram::with_opts(options.buckets(BUCKETS.to_vec()))?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self {
            registry,
            requests,
            seconds,
            exchanges,
            messages,
            rows_left_out,
            registrations,
            pings,
            ping_store,
            uploads,
            package_searches,
            package_index,
            package_questions,
            ping_waiting,
            notes,
            notes_waiting,
            notes_oldest,
            host_streams,
            host_commands,
        })
    }

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
