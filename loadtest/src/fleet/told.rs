//! What was seen? Latency and errors by kind of request, messages, orders and streams; for people and machines.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::host::Heard;

/// Longest latency that is told apart: an hour.
const MICROS_MAX: u64 = 3_600_000_000;

/// Kinds of requests. A stream is answered when the host has its place; how it ends is an error of its kind.
pub const KINDS: [&str; 6] = ["register", "ping", "exchange", "call", "stream", "status"];

/// What was seen so far.
pub struct Told {
    latency: [Histogram<u64>; KINDS.len()],
    errors: BTreeMap<(&'static str, String), u64>,
    pub registered: u64,
    pub acknowledged: u64,
    pub ordered: u64,
    pub results: u64,
    /// Of hosts.
    pub streams_open: usize,
    pub reconnects: u64,
    pub host_ordered: u64,
    pub host_taken: u64,
    pub host_repeated: u64,
    /// Answered ones.
    pub statuses: u64,
}

/// What was seen of WSL hosts, in the end.
#[derive(Debug, Default, Serialize)]
pub struct Hosts {
    pub hosts: usize,
    /// Streams that were open.
    pub streams_open: usize,
    pub reconnects: u64,
    /// That a database said it has.
    pub orders_given: u64,
    /// That hosts were told, each once.
    pub orders_taken: u64,
    /// That came again under the same number, after a stream broke.
    pub orders_repeated: u64,
    /// That a server said it has.
    pub statuses_answered: u64,
    /// Whose every status was answered, and which have their identity and their stream in the end.
    pub converged: usize,
    /// Hosts that were compared with the database; none without `--database`.
    pub compared: Option<usize>,
}

/// What the processes of `--measure` used.
#[derive(Debug, Serialize)]
pub struct Used {
    /// Proportional set size before anybody came, bytes.
    pub memory_before: u64,
    /// And in the end, with everybody there.
    pub memory_after: u64,
    /// What came on top for each stream that was open then.
    pub memory_per_stream: Option<f64>,
    /// CPU time of the whole run, seconds.
    pub cpu_seconds: f64,
    /// Share of one core in the last ten seconds.
    pub cpu_share_last: f64,
}

/// One kind of request, in the end.
#[derive(Debug, Serialize)]
pub struct Kind {
    pub answered: u64,
    /// Milliseconds.
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
    /// By cause.
    pub errors: BTreeMap<String, u64>,
}

/// All of it, in the end.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub clients: usize,
    pub registered: u64,
    pub seconds: f64,
    pub requests: BTreeMap<&'static str, Kind>,
    /// Messages that a server said it has.
    pub messages_acknowledged: u64,
    pub orders_given: u64,
    pub orders_done: u64,
    /// Clients whose every message was acknowledged in the end.
    pub converged: usize,
    /// Computers that were compared with the database; none without `--database`.
    pub compared: Option<usize>,
    /// What does not agree, the first of it.
    pub problems: Vec<String>,
    pub problems_total: usize,
    pub hosts: Hosts,
    /// None without `--measure`.
    pub used: Option<Used>,
}

impl Told {
    pub fn new() -> Told {
        let histogram = || Histogram::new_with_max(MICROS_MAX, 3).expect("the bounds are allowed");
        Told {
            latency: KINDS.map(|_| histogram()),
            errors: BTreeMap::new(),
            registered: 0,
            acknowledged: 0,
            ordered: 0,
            results: 0,
            streams_open: 0,
            reconnects: 0,
            host_ordered: 0,
            host_taken: 0,
            host_repeated: 0,
            statuses: 0,
        }
    }

    /// A host was told something.
    pub fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Done => self.host_taken += 1,
            Heard::Again => self.host_repeated += 1,
            Heard::Identity | Heard::Nonsense => {}
        }
    }

    /// A request ended.
    pub fn ended(&mut self, kind: &'static str, time: Duration, failure: Option<&str>) {
        if let Some(failure) = failure {
            *self.errors.entry((kind, failure.to_owned())).or_default() += 1;
            return;
        }
        if let Some(at) = KINDS.iter().position(|known| *known == kind) {
            let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            self.latency[at].saturating_record(micros);
        }
    }

    /// One line while it runs.
    pub fn line(&self, seconds: u64, clients: usize, hosts: usize) -> String {
        let errors: u64 = self.errors.values().sum();
        let [_, ping, exchange, call, ..] = &self.latency;
        let p99 = |histogram: &Histogram<u64>| histogram.value_at_quantile(0.99) as f64 / 1000.0;
        let mut line = format!("{seconds:4} s");
        if clients > 0 {
            line += &format!(
                "  {}/{clients} registered  {} pings (p99 {:.1} ms)  {} exchanges (p99 {:.1} ms)  \
                 {} messages  {}/{} orders",
                self.registered,
                ping.len(),
                p99(ping),
                exchange.len(),
                p99(exchange),
                self.acknowledged,
                self.results,
                self.ordered,
            );
        }
        if !call.is_empty() {
            line += &format!("  {} calls (p99 {:.1} ms)", call.len(), p99(call));
        }
        if hosts > 0 {
            line += &format!(
                "  {}/{hosts} streams  {} reconnects  {}/{} host orders  {} statuses",
                self.streams_open,
                self.reconnects,
                self.host_taken,
                self.host_ordered,
                self.statuses
            );
        }
        line + &format!("  {errors} errors")
    }

    /// Every kind, in the end.
    pub fn kinds(&self) -> BTreeMap<&'static str, Kind> {
        let kinds = KINDS.iter().zip(&self.latency).map(|(kind, histogram)| {
            let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
            let errors = self.errors.iter().filter(|((of, _), _)| of == kind);
            let told = Kind {
                answered: histogram.len(),
                p50: ms(0.5),
                p90: ms(0.9),
                p99: ms(0.99),
                max: ms(1.0),
                errors: errors
                    .map(|((_, cause), count)| (cause.clone(), *count))
                    .collect(),
            };
            (*kind, told)
        });
        kinds.collect()
    }
}

impl Outcome {
    /// Did everything come to its end, and does the database agree?
    pub fn is_good(&self) -> bool {
        self.converged == self.clients
            && self.hosts.converged == self.hosts.hosts
            && self.problems_total == 0
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:18} {} of {} registered, {} converged, {:.1} s\n",
            "clients", self.registered, self.clients, self.converged, self.seconds
        );
        for (kind, told) in &self.requests {
            if told.answered == 0 && told.errors.is_empty() {
                continue;
            }
            text += &format!(
                "{kind:18} {} answered  p50 {:.1}  p90 {:.1}  p99 {:.1}  max {:.1} ms\n",
                told.answered, told.p50, told.p90, told.p99, told.max
            );
            for (cause, count) in &told.errors {
                text += &format!("{:18} {count} x {cause}\n", "");
            }
        }
        text += &format!(
            "{:18} {} acknowledged\n",
            "messages", self.messages_acknowledged
        );
        text += &format!(
            "{:18} {} given, {} done\n",
            "orders", self.orders_given, self.orders_done
        );
        if self.hosts.hosts > 0 {
            text += &self.hosts.table();
        }
        if let Some(used) = &self.used {
            text += &used.table();
        }
        if let Some(compared) = self.compared {
            let hosts = self.hosts.compared.unwrap_or(0);
            text += &format!(
                "{:18} {compared} computers and {hosts} hosts compared, {} problems\n",
                "database", self.problems_total
            );
        }
        for problem in &self.problems {
            text += &format!("{:18} {problem}\n", "");
        }
        text
    }
}

impl Hosts {
    fn table(&self) -> String {
        format!(
            "{:18} {} of {} streams open, {} converged, {} reconnects\n\
             {:18} {} given, {} taken, {} came again, {} statuses answered\n",
            "hosts",
            self.streams_open,
            self.hosts,
            self.converged,
            self.reconnects,
            "orders of hosts",
            self.orders_given,
            self.orders_taken,
            self.orders_repeated,
            self.statuses_answered
        )
    }
}

impl Used {
    fn table(&self) -> String {
        let kib = |bytes: f64| bytes / 1024.0;
        let mut text = format!(
            "{:18} {:.0} KiB before, {:.0} KiB after",
            "memory",
            kib(self.memory_before as f64),
            kib(self.memory_after as f64)
        );
        if let Some(each) = self.memory_per_stream {
            text += &format!(", {:.1} KiB for each open stream", kib(each));
        }
        text + &format!(
            "\n{:18} {:.1} s, {:.2} % of a core in the last ten seconds\n",
            "cpu",
            self.cpu_seconds,
            self.cpu_share_last * 100.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_told_by_kind_and_errors_by_cause() {
        let mut told = Told::new();
        for ms in [1, 20, 300] {
            told.ended("exchange", Duration::from_millis(ms), None);
        }
        told.ended("exchange", Duration::from_secs(9), Some("status 503"));
        told.ended("ping", Duration::from_millis(5), None);
        let kinds = told.kinds();
        let exchange = &kinds["exchange"];
        assert_eq!((exchange.answered, kinds["register"].answered), (3, 0));
        assert!((exchange.p50 - 20.0).abs() < 0.1, "{exchange:?}");
        assert!((exchange.max - 300.0).abs() < 1.0, "{exchange:?}");
        assert_eq!(exchange.errors["status 503"], 1);
        assert!(kinds["ping"].errors.is_empty());
    }

    fn some() -> Told {
        let mut told = Told::new();
        for (kind, ms) in [("ping", 4), ("exchange", 20), ("exchange", 40)] {
            told.ended(kind, Duration::from_millis(ms), None);
        }
        told.ended("exchange", Duration::from_secs(9), Some("status 503"));
        told.ended("exchange", Duration::from_secs(9), Some("cut"));
        told.ended("exchange", Duration::from_secs(9), Some("cut"));
        (told.registered, told.acknowledged) = (7, 33);
        (told.ordered, told.results) = (3, 2);
        told
    }

    /// The figures of a histogram are of three digits: what it says of 40 ms, told as 40.0 ms.
    const AGENTS: &str = "   5 s  7/10 registered  1 pings (p99 4.0 ms)  2 exchanges (p99 40.0 ms)  33 messages  2/3 orders";

    #[test]
    fn the_line_tells_how_far_whoever_is_there_is() {
        let mut told = some();
        assert_eq!(told.line(5, 10, 0), format!("{AGENTS}  3 errors"));
        told.ended("call", Duration::from_millis(8), None);
        (told.streams_open, told.reconnects) = (4, 1);
        (told.host_ordered, told.host_taken, told.statuses) = (9, 8, 21);
        let hosts = "  4/6 streams  1 reconnects  8/9 host orders  21 statuses";
        assert_eq!(
            told.line(5, 10, 6),
            format!("{AGENTS}  1 calls (p99 8.0 ms){hosts}  3 errors")
        );
        assert_eq!(
            Told::new().line(1234, 0, 6),
            "1234 s  0/6 streams  0 reconnects  0/0 host orders  0 statuses  0 errors"
        );
    }

    fn outcome(told: &Told) -> Outcome {
        Outcome {
            clients: 10,
            registered: told.registered,
            seconds: 61.2,
            requests: told.kinds(),
            messages_acknowledged: told.acknowledged,
            orders_given: told.ordered,
            orders_done: told.results,
            converged: 9,
            compared: None,
            problems: Vec::new(),
            problems_total: 0,
            hosts: Hosts::default(),
            used: None,
        }
    }

    #[test]
    fn the_table_has_a_row_for_what_was_and_none_for_what_was_not() {
        let mut outcome = outcome(&some());
        let agents = "\
clients            7 of 10 registered, 9 converged, 61.2 s
exchange           2 answered  p50 20.0  p90 40.0  p99 40.0  max 40.0 ms
                   2 x cut
                   1 x status 503
ping               1 answered  p50 4.0  p90 4.0  p99 4.0  max 4.0 ms
messages           33 acknowledged
orders             3 given, 2 done
";
        assert_eq!(outcome.table(), agents);
        assert!(!outcome.is_good(), "one did not converge");

        outcome.hosts = Hosts {
            hosts: 6,
            streams_open: 5,
            reconnects: 2,
            orders_given: 9,
            orders_taken: 8,
            orders_repeated: 1,
            statuses_answered: 21,
            converged: 5,
            compared: Some(6),
        };
        outcome.used = Some(Used {
            memory_before: 20 << 20,
            memory_after: 21 << 20,
            memory_per_stream: Some(6553.6),
            cpu_seconds: 1.26,
            cpu_share_last: 0.0123,
        });
        outcome.compared = Some(10);
        outcome.problems = vec!["fleet-3: nothing of order 4".to_owned()];
        outcome.problems_total = 1;
        let hosts = "\
hosts              5 of 6 streams open, 5 converged, 2 reconnects
orders of hosts    9 given, 8 taken, 1 came again, 21 statuses answered
memory             20480 KiB before, 21504 KiB after, 6.4 KiB for each open stream
cpu                1.3 s, 1.23 % of a core in the last ten seconds
database           10 computers and 6 hosts compared, 1 problems
                   fleet-3: nothing of order 4
";
        assert_eq!(outcome.table(), format!("{agents}{hosts}"));
    }

    #[test]
    fn a_fleet_is_good_when_all_came_to_their_end_and_nothing_disagrees() {
        let good = |change: fn(&mut Outcome)| {
            let mut outcome = outcome(&some());
            outcome.converged = outcome.clients;
            (outcome.hosts.hosts, outcome.hosts.converged) = (6, 6);
            change(&mut outcome);
            outcome.is_good()
        };
        assert!(good(|_| {}));
        assert!(!good(|outcome| outcome.converged -= 1));
        assert!(!good(|outcome| outcome.hosts.converged -= 1));
        assert!(!good(|outcome| outcome.problems_total = 1));
    }
}
