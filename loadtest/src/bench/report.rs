//! What came of it? Medians, ranges and ratios for people, every cell for machines.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::Form;
use super::case::{self, Case, Figure};
use super::cell::Cell;
use super::machine::Machine;
use crate::peer::Proxy;

/// Others had more of the proxy's core than this in a cell that is not to be trusted.
const OTHERS_MAX: f64 = 0.05;

/// All cells of a bench.
pub struct Results {
    machine: Machine,
    form: Form,
    cases: Vec<(String, Figure)>,
    proxies: Vec<Proxy>,
    cells: Vec<Cell>,
}

#[derive(Serialize)]
struct File<'r> {
    form: String,
    machine: &'r Machine,
    cells: &'r [Cell],
}

impl Results {
    /// None yet.
    pub fn new(machine: Machine, form: Form, cases: &[Case]) -> Results {
        Results {
            machine,
            form,
            cases: cases
                .iter()
                .map(|case| (case.name.clone(), case.figure))
                .collect(),
            proxies: super::all_of(cases),
            cells: Vec::new(),
        }
    }

    /// Takes a cell.
    pub fn add(&mut self, cell: Cell) {
        self.cells.push(cell);
    }

    /// Whether there is not one figure.
    pub fn all_failed(&self) -> bool {
        self.cells.iter().all(|cell| cell.figure.is_none())
    }

    /// Writes `<time>-<form>-<commit>.json` and `.md`; gives the latter's path.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn write(&self, dir: &Path) -> anyhow::Result<PathBuf> {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        let form = format!("{:?}", self.form).to_lowercase();
        let name = format!("{}-{form}-{}", self.machine.time, self.machine.commit);
        let json = dir.join(format!("{name}.json"));
        let file = File {
            form,
            machine: &self.machine,
            cells: &self.cells,
        };
        fs::write(&json, serde_json::to_string_pretty(&file)?)
            .with_context(|| json.display().to_string())?;
        let text = dir.join(format!("{name}.md"));
        fs::write(&text, self.text()).with_context(|| text.display().to_string())?;
        Ok(text)
    }

    /// The tables.
    pub fn text(&self) -> String {
        let mut text = format!("# Comparison\n\n{}", self.machine.text());
        for (logs, title) in [
            (true, "Access logs and statistics on"),
            (false, "Access logs off, statistics on"),
        ] {
            if !self.cells.iter().any(|cell| cell.logs == logs) {
                continue;
            }
            let _ = write!(
                text,
                "\n## {title}\n\n{}\n{}",
                self.figures(logs),
                self.behaviour(logs)
            );
        }
        text + &self.doubts()
    }

    fn figures(&self, logs: bool) -> String {
        let mut text = String::from(
            "Median [smallest to largest]; less is better, but for what is counted per second. A ratio below 1 says that Portcullis used, or did, less.\n\n| Case | unit |",
        );
        for proxy in &self.proxies {
            let _ = write!(text, " {} |", proxy.name());
        }
        text.push_str(" to haproxy | to nginx | to the best peer |\n|---|---|");
        text.push_str(&"---|".repeat(self.proxies.len() + 3));
        text.push('\n');
        for (case, figure) in &self.cases {
            let _ = write!(text, "| {case} | {} |", figure.unit());
            for proxy in &self.proxies {
                let _ = write!(text, " {} |", range(&self.values(case, *proxy, logs)));
            }
            let ratio = |peer: Option<f64>| match (self.median(case, Proxy::Portcullis, logs), peer)
            {
                (Some(ours), Some(peer)) if peer > 0.0 => format!("{:.2}", ours / peer),
                _ => "-".to_owned(),
            };
            let haproxy = self.median(case, Proxy::Haproxy, logs);
            let nginx = self.median(case, Proxy::Nginx, logs);
            let peers = self
                .proxies
                .iter()
                .filter(|proxy| **proxy != Proxy::Portcullis);
            let peers = peers.filter_map(|proxy| self.median(case, *proxy, logs));
            let best = match figure {
                rate if rate.is_a_rate() => peers.reduce(f64::max),
                _ => peers.reduce(f64::min),
            };
            let _ = writeln!(
                text,
                " {} | {} | {} |",
                ratio(haproxy),
                ratio(nginx),
                ratio(best)
            );
        }
        text + &self.scaling(logs)
    }

    /// What two cores do in place of one.
    fn scaling(&self, logs: bool) -> String {
        let grown = self.proxies.iter().filter_map(|proxy| {
            let [one, two] = case::CORES.map(|case| self.median(case, *proxy, logs));
            Some(format!("{} {:.2}", proxy.name(), two? / one?))
        });
        let grown: Vec<String> = grown.collect();
        match grown.is_empty() {
            true => String::new(),
            false => format!(
                "\nTwo cores, shared by proxy, load and origins, do so many times what one does: {}.\n",
                grown.join(", ")
            ),
        }
    }

    /// Throughput, latency and evenness: medians over the rounds.
    fn behaviour(&self, logs: bool) -> String {
        let mut text = String::from(
            "Requests per second; p50 / p99 in ms; the slowest connection's p50 as a multiple of the middle one's; time to \
             find a new worker. Load and origin share a core, so the rate is often theirs.\n\n| Case |",
        );
        for proxy in &self.proxies {
            let _ = write!(text, " {} |", proxy.name());
        }
        text.push_str("\n|---|");
        text.push_str(&"---|".repeat(self.proxies.len()));
        text.push('\n');
        for (case, _) in &self.cases {
            let _ = write!(text, "| {case} |");
            for proxy in &self.proxies {
                let of = |value: &dyn Fn(&Cell) -> Option<f64>| {
                    let cells = self.cells.iter().filter(|cell| {
                        cell.case == *case
                            && cell.proxy == *proxy
                            && cell.logs == logs
                            && cell.figure.is_some()
                    });
                    median(&cells.filter_map(value).collect::<Vec<_>>())
                };
                let rate = of(&|cell| cell.outcome.as_ref().map(crate::load::Outcome::rate));
                let p50 = of(&|cell| Some(cell.outcome.as_ref()?.latency?.p50));
                let p99 = of(&|cell| Some(cell.outcome.as_ref()?.latency?.p99));
                let worst = of(&|cell| {
                    let fair = cell.outcome.as_ref()?.fairness?;
                    Some(fair.worst / fair.median.max(1e-6))
                });
                let found = of(&|cell| cell.found_ms);
                let told = match (rate, p50, p99, worst, found) {
                    (_, _, _, _, Some(found)) => format!("found in {found:.0} ms"),
                    (Some(rate), Some(p50), Some(p99), Some(worst), _) => {
                        format!("{rate:.0}; {p50:.2} / {p99:.2}; {worst:.1}x")
                    }
                    _ => "-".to_owned(),
                };
                let _ = write!(text, " {told} |");
            }
            text.push('\n');
        }
        text
    }

    /// Cells that failed or cannot be trusted.
    fn doubts(&self) -> String {
        let mut text = String::new();
        for cell in &self.cells {
            let others = cell
                .outcome
                .as_ref()
                .and_then(|outcome| outcome.others)
                .unwrap_or(0.0);
            let errors = cell.outcome.as_ref().map_or(0, |outcome| outcome.errors);
            if cell.figure.is_none() || errors > 0 {
                let _ = writeln!(text, "* {}", cell.line().trim());
            } else if others > OTHERS_MAX {
                let _ = writeln!(
                    text,
                    "* {}; others had {:.0} % of the core",
                    cell.line().trim(),
                    others * 100.0
                );
            }
        }
        if text.is_empty() {
            return "\nNo cell failed, and nobody else used the proxy's core.\n".to_owned();
        }
        format!(
            "\n## Cells that failed, had errors, or shared the proxy's core with others\n\n{text}"
        )
    }

    fn values(&self, case: &str, proxy: Proxy, logs: bool) -> Vec<f64> {
        self.cells
            .iter()
            .filter(|cell| cell.case == case && cell.proxy == proxy && cell.logs == logs)
            .filter_map(|cell| cell.figure)
            .collect()
    }

    fn median(&self, case: &str, proxy: Proxy, logs: bool) -> Option<f64> {
        median(&self.values(case, proxy, logs))
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    Some(if sorted.len() % 2 == 1 {
        upper
    } else {
        (sorted[sorted.len() / 2 - 1] + upper) / 2.0
    })
}

fn range(values: &[f64]) -> String {
    let Some(middle) = median(values) else {
        return "-".to_owned();
    };
    let digits = if middle < 10.0 {
        2
    } else {
        usize::from(middle < 100.0)
    };
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.len() == 1 {
        format!("{middle:.digits$}")
    } else {
        format!("{middle:.digits$} [{least:.digits$} to {most:.digits$}]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::case;

    #[test]
    fn medians_and_ranges_are_of_all_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        assert_eq!(range(&[3.0, 1.0, 2.0]), "2.00 [1.00 to 3.00]");
        assert_eq!(range(&[120.4]), "120");
        assert_eq!(range(&[]), "-");
    }

    #[test]
    fn ratios_are_to_the_better_peer_and_failures_are_told() {
        let cases: Vec<Case> = case::all()
            .into_iter()
            .filter(|case| case.name == "h1-tls-64")
            .collect();
        let mut results = Results::new(Machine::default(), Form::Quick, &cases);
        for (proxy, figure) in [
            (Proxy::Portcullis, Some(10.0)),
            (Proxy::Haproxy, Some(20.0)),
            (Proxy::Nginx, Some(16.0)),
            (Proxy::Caddy, None),
        ] {
            results.add(Cell {
                case: "h1-tls-64".to_owned(),
                proxy,
                logs: true,
                round: 0,
                figure,
                outcome: None,
                found_ms: None,
                failure: Some("gone".to_owned()),
            });
        }
        let text = results.text();
        assert!(text.contains("| 0.50 | 0.62 | 0.62 |"), "{text}");
        assert!(text.contains("failed: gone"), "{text}");
        assert!(!text.contains("logs off"), "{text}");
    }
}
