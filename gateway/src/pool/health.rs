//! Do the active checks speak for a worker?
//!
//! Hysteresis by counts: `rise` good checks in a row bring a worker up, `fall` failed ones take it
//! down. The one exception: a worker that never passed is told unhealthy by its first failed
//! check, as it has no traffic to lose.

use crate::config::model::Health;

/// What the checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not enough is known yet.
    Open,
    /// Passed.
    Good,
    /// Failed.
    Bad,
}

/// The checks of one worker so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    verdict: Verdict,
    good_in_a_row: u32,
    bad_in_a_row: u32,
}

impl Checked {
    /// Nothing is known.
    pub(super) fn new() -> Self {
        Checked {
            verdict: Verdict::Open,
            good_in_a_row: 0,
            bad_in_a_row: 0,
        }
    }

    /// Good until the checks say otherwise.
    pub(super) fn passed() -> Self {
        Checked {
            verdict: Verdict::Good,
            ..Checked::new()
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Counts a check that passed.
    pub(super) fn pass(&mut self, health: &Health) {
        self.bad_in_a_row = 0;
        self.good_in_a_row = self.good_in_a_row.saturating_add(1);
        if self.good_in_a_row >= health.rise {
            self.verdict = Verdict::Good;
        }
    }

    /// Counts a check that failed.
    pub(super) fn fail(&mut self, health: &Health) {
        self.good_in_a_row = 0;
        self.bad_in_a_row = self.bad_in_a_row.saturating_add(1);
        if self.verdict == Verdict::Open || self.bad_in_a_row >= health.fall {
            self.verdict = Verdict::Bad;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::model::Check;

    fn health(rise: u32, fall: u32) -> Health {
        Health {
            check: Check::Tcp,
            interval: Duration::from_secs(5),
            interval_failing: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            rise,
            fall,
        }
    }

    /// Plays `+` and `-` and writes down the verdict after each.
    fn play(rise: u32, fall: u32, results: &str) -> String {
        let health = health(rise, fall);
        let mut checked = Checked::new();
        results
            .chars()
            .map(|result| {
                match result {
                    '+' => checked.pass(&health),
                    _ => checked.fail(&health),
                }
                match checked.verdict() {
                    Verdict::Open => 'o',
                    Verdict::Good => 'g',
                    Verdict::Bad => 'b',
                }
            })
            .collect()
    }

    #[test]
    fn rise_and_fall_count_in_a_row() {
        for (rise, fall, results, verdicts) in [
            (1, 3, "+--+---+", "ggggggbg"),
            (2, 2, "+-++-+--", "obbgggg b"),
            (2, 1, "++-+-++", "ogbbbbg"),
            (3, 3, "++", "oo"),
            (1, 1, "-+-+", "bgbg"),
        ] {
            assert_eq!(
                play(rise, fall, results),
                verdicts.replace(' ', ""),
                "{rise}/{fall} {results}"
            );
        }
    }
}
