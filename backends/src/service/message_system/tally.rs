//! What became of the messages of one exchange, for the metrics.

use crate::domain::exchange::{Request, Said};
use crate::metrics::Metrics;

/// What became of the messages of one exchange.
#[derive(Debug, Default)]
pub struct Tally {
    pub(super) stored: u64,
    pub(super) repeated: u64,
    pub(super) invalid: u64,
    pub(super) not_taken: u64,
    pub(super) late: u64,
    pub(super) left_out: u64,
    pub(super) decisions: Vec<&'static str>,
}

impl Tally {
    /// Nothing of a request is taken but this one message, if it is there.
    pub(super) fn beside(&mut self, request: &Request, taken: Option<&Said>) {
        let all = request.messages.len() + request.left;
        self.not_taken += (all - usize::from(taken.is_some())) as u64;
    }

    /// Adds it to the metrics; only when all of it is stored.
    pub fn count(&self, metrics: &Metrics) {
        for (end, count) in [
            ("stored", self.stored),
            ("repeated", self.repeated),
            ("invalid", self.invalid),
            ("not_taken", self.not_taken),
            ("late", self.late),
        ] {
            metrics.messages.with_label_values(&[end]).inc_by(count);
        }
        metrics.rows_left_out.inc_by(self.left_out);
        for decision in &self.decisions {
            metrics.registrations.with_label_values(&[decision]).inc();
        }
    }
}
