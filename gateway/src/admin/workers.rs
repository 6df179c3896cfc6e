//! Which workers does an operator mean, and what becomes of them?
//!
//! Promises: a worker, a host, a port or a range of ports is meant as it is written; an order reaches every pool that has
//! them, or the one that is named. The answer tells what still goes on there. Does not: wait.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use serde_json::{Value, json};

use super::http::Answer;
use super::status::worker_line;
use crate::pool::{Pool, State, Transition};
use crate::shard::Shared;

/// Heaviest weight.
const WEIGHT_MAX: u16 = 1000;

/// Workers as an operator names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Meant {
    host: Option<IpAddr>,
    /// First and last.
    ports: Option<(u16, u16)>,
}

impl Meant {
    /// `HOST`, `HOST:PORT`, `HOST:PORT-PORT`, `PORT` or `PORT-PORT`; IPv6 in brackets where ports follow.
    fn parse(text: &str) -> Option<Meant> {
        let host = |text: &str| match text {
            "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            text => {
                let bare = text
                    .strip_prefix('[')
                    .and_then(|text| text.strip_suffix(']'));
                bare.unwrap_or(text).parse().ok()
            }
        };
        if let Some(host) = host(text) {
            return Some(Meant {
                host: Some(host),
                ports: None,
            });
        }
        if let Some(ports) = ports(text) {
            return Some(Meant {
                host: None,
                ports: Some(ports),
            });
        }
        let (of, rest) = text.rsplit_once(':')?;
        Some(Meant {
            host: Some(host(of)?),
            ports: Some(ports(rest)?),
        })
    }

    fn has(&self, worker: SocketAddr) -> bool {
        let port = worker.port();
        self.host.is_none_or(|host| host == worker.ip())
            && self
                .ports
                .is_none_or(|(first, last)| (first..=last).contains(&port))
    }
}

fn ports(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse().ok())?
    };
    let (first, last): (u16, u16) = (number(first)?, number(last)?);
    (first > 0 && first <= last).then_some((first, last))
}

/// What shall become of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing new goes there.
    Drain,
    /// Back to work.
    Undrain,
    /// Another share.
    Weight,
}

/// A worker's share as an operator writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// As in the configuration, where 100 is the default.
    Of(u16),
    /// Of what is configured.
    Percent(u32),
    Configured,
}

impl Weight {
    fn parse(value: &Value) -> Option<Weight> {
        let number = |number: u64| u16::try_from(number).ok().filter(|n| *n <= WEIGHT_MAX);
        match value {
            Value::Number(it) => it.as_u64().and_then(number).map(Weight::Of),
            Value::String(it) if it == "default" => Some(Weight::Configured),
            Value::String(it) => match it.strip_suffix('%') {
                Some(percent) => percent
                    .parse()
                    .ok()
                    .filter(|p| *p <= 1000)
                    .map(Weight::Percent),
                None => it.parse().ok().and_then(number).map(Weight::Of),
            },
            _ => None,
        }
    }

    fn of(self, configured: u16) -> Option<u16> {
        match self {
            Weight::Of(weight) => Some(weight),
            Weight::Configured => None,
            Weight::Percent(0) => Some(0),
            // What is more than nothing stays more than nothing.
            Weight::Percent(percent) => {
                let share = u32::from(configured) * percent / 100;
                Some(share.clamp(1, u32::from(WEIGHT_MAX)) as u16)
            }
        }
    }
}

/// Carries an order out; `body` is JSON with `worker`, perhaps `pool`, and `weight` where that is meant.
pub fn carry_out(shared: &Shared, order: Order, body: &[u8], now: Instant) -> Answer {
    const FORM: &str = "send JSON such as {\"worker\": \"127.0.0.1:8080\", \"pool\": \"api\"}; `worker` is HOST, HOST:PORT, HOST:PORT-PORT, PORT or PORT-PORT";
    let Ok(asked) = serde_json::from_slice::<Value>(body) else {
        return Answer::refused(400, "the body is no JSON", FORM);
    };
    let named = match &asked["worker"] {
        Value::String(text) => text.clone(),
        Value::Number(port) => port.to_string(),
        _ => return Answer::refused(400, "`worker` is missing", FORM),
    };
    let Some(meant) = Meant::parse(&named) else {
        let error = format!("`{named}` names no worker, host or port");
        return Answer::refused(400, &error, FORM);
    };
    let weight = match order {
        Order::Weight => match Weight::parse(&asked["weight"]) {
            Some(weight) => weight,
            None => {
                return Answer::refused(
                    400,
                    "`weight` is missing or no weight",
                    "0 to 1000 (a worker has 100 unless its host says otherwise), 0% to 1000% of what is configured, or \"default\"",
                );
            }
        },
        Order::Drain | Order::Undrain => Weight::Configured,
    };
    let pool = asked["pool"].as_str();
    let plan = shared.plan.load();
    if let Some(name) = pool
        && !plan.pools.iter().any(|pool| pool.name() == name)
    {
        let names: Vec<_> = plan.pools.iter().map(|pool| pool.name()).collect();
        let fix = format!("pools are {}", names.join(", "));
        return Answer::refused(404, &format!("there is no pool `{name}`"), &fix);
    }
    let wanted = plan
        .pools
        .iter()
        .filter(|found| pool.is_none_or(|name| found.name() == name));
    let mut done = Done::default();
    for pool in wanted {
        done.order(pool, &meant, order, weight, now);
    }
    if done.ordered == 0 {
        let error = match pool {
            Some(pool) => format!("pool `{pool}` has no worker `{named}`"),
            None => format!("no pool has a worker `{named}`"),
        };
        let fix = "`portcullis workers --all` (GET /v1/workers?all) tells which there are";
        return Answer::refused(404, &error, fix);
    }
    if done.changed > 0 {
        shared.workers_changed();
        let (worker, workers) = (&named, done.changed);
        match order {
            Order::Drain => tracing::info!(worker, workers, "drained by an operator"),
            Order::Undrain => tracing::info!(worker, workers, "drain ended by an operator"),
            Order::Weight => tracing::info!(worker, workers, ?weight, "weight set by an operator"),
        }
    }
    Answer::json(200, &done.told())
}

#[derive(Default)]
struct Done {
    /// Ports that the order meant.
    ordered: usize,
    /// Those of them to which it was news.
    changed: usize,
    workers: Vec<Value>,
    emptied: Vec<String>,
}

impl Done {
    fn order(&mut self, pool: &Pool, meant: &Meant, order: Order, weight: Weight, now: Instant) {
        let before = pool.snapshot();
        let ordered = before.iter().filter(|worker| meant.has(worker.addr));
        let live_before = pool.live();
        let mut any = false;
        for worker in ordered {
            any = true;
            self.ordered += 1;
            let news = match order {
                Order::Drain => worker.drained.is_none(),
                Order::Undrain => worker.drained.is_some(),
                Order::Weight => {
                    weight
                        .of(worker.weight_configured)
                        .unwrap_or(worker.weight_configured)
                        != worker.weight
                }
            };
            if !news {
                continue;
            }
            self.changed += 1;
            let change: Option<Transition> = match order {
                Order::Drain => pool.set_drain(worker.id, true, now),
                Order::Undrain => pool.set_drain(worker.id, false, now),
                Order::Weight => {
                    pool.set_weight(worker.id, weight.of(worker.weight_configured), now)
                }
            };
            if let Some(change) = change {
                tracing::debug!(pool = pool.name(), worker = %worker.addr, state = %change.to, "worker changed");
            }
        }
        if !any {
            return;
        }
        if live_before > 0 && pool.live() == 0 {
            self.emptied.push(pool.name().to_owned());
        }
        for worker in pool.snapshot() {
            let busy = worker.requests > 0 || worker.streams > 0;
            if meant.has(worker.addr) && (worker.state != State::Absent || busy) {
                let mut line = worker_line(&worker, now);
                line["pool"] = pool.name().into();
                self.workers.push(line);
            }
        }
    }

    fn told(&self) -> Value {
        json!({
            "ordered": self.ordered,
            "changed": self.changed,
            "workers": self.workers,
            "emptied": self.emptied,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn workers_hosts_ports_and_ranges_are_told_apart() {
        for (text, yes, no) in [
            ("127.0.0.1", "127.0.0.1:1", "127.0.0.2:1"),
            ("localhost:8080", "127.0.0.1:8080", "127.0.0.1:8081"),
            ("127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.2:8080"),
            ("10.0.0.1:8080-8089", "10.0.0.1:8089", "10.0.0.1:8090"),
            ("8080", "10.0.0.1:8080", "10.0.0.1:8081"),
            ("8080-8081", "10.0.0.1:8081", "10.0.0.1:8082"),
            ("::1", "[::1]:5", "[::2]:5"),
            ("[::1]:5", "[::1]:5", "[::1]:6"),
        ] {
            let meant = Meant::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert!(meant.has(yes.parse().unwrap()), "{text} {yes}");
            assert!(!meant.has(no.parse().unwrap()), "{text} {no}");
        }
        for text in [
            "",
            "0",
            "70000",
            "9-8",
            "edge",
            "127.0.0.1:",
            "a:80",
            "+80",
            "-",
        ] {
            assert_eq!(Meant::parse(text), None, "{text}");
        }
    }

    #[test]
    fn weights_are_absolute_or_of_what_is_configured() {
        for (value, configured, weight) in [
            (json!(50), 100, Some(50)),
            (json!("0"), 100, Some(0)),
            (json!("50%"), 30, Some(15)),
            (json!("1%"), 10, Some(1)),
            (json!("0%"), 10, Some(0)),
            (json!("1000%"), 1000, Some(1000)),
            (json!("default"), 10, None),
        ] {
            assert_eq!(
                Weight::parse(&value).unwrap().of(configured),
                weight,
                "{value}"
            );
        }
        for value in [
            json!(1001),
            json!(-1),
            json!("x"),
            json!("1001%"),
            Value::Null,
        ] {
            assert_eq!(Weight::parse(&value), None, "{value}");
        }
    }
}
