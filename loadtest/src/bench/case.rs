//! What is compared? Every case, by its name, and the load it stands for.

use std::net::{Ipv4Addr, SocketAddr};

use crate::peer::{Key, Proxy, Setup};
use crate::scenario::{Load, Protocol, Request, Scenario};

const MIB: u64 = 1 << 20;

/// One comparison.
#[derive(Clone, Debug)]
pub struct Case {
    /// As it is asked for and told.
    pub name: String,
    /// What is done.
    pub work: Work,
    /// Which figure is compared.
    pub figure: Figure,
    /// Kind of the certificate's key.
    pub key: Key,
    /// Who takes part.
    pub proxies: Vec<Proxy>,
    /// Whether the quick form has it.
    pub quick: bool,
}

/// What is done.
#[derive(Clone, Debug)]
pub enum Work {
    /// Load on a listener.
    Load {
        /// Where.
        door: Door,
        /// What is spoken.
        protocol: Protocol,
        /// How it comes.
        load: Load,
        /// What is asked for.
        requests: Vec<Request>,
        /// Threads and cores of the proxy: 1, or 2 of which one is shared with the load.
        threads: usize,
        /// Load and origins run on the same cores as the proxy.
        together: bool,
    },
    /// 990 ports with 4 workers: CPU time while nothing is asked, and how soon a fifth worker is found.
    Range,
    /// The mix of a fleet at so many times what the workers can take.
    Mix(f64),
}

/// A listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// HTTP.
    Plain,
    /// HTTPS.
    Tls,
    /// gRPC over TLS.
    Grpc,
}

/// A figure that is compared. Of rates more is better, of all else less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// CPU time per request.
    CpuPerRequest,
    /// CPU time per MiB of body.
    CpuPerMib,
    /// Memory of a held connection.
    Memory,
    /// CPU time per second without load.
    IdleCpu,
    /// Requests answered well.
    Goodput,
    /// Requests answered while everything shares the cores.
    Throughput,
}

impl Figure {
    /// Its unit.
    pub fn unit(self) -> &'static str {
        match self {
            Figure::CpuPerRequest => "us/request",
            Figure::CpuPerMib => "us/MiB",
            Figure::Memory => "KiB/connection",
            Figure::IdleCpu => "ms/s",
            Figure::Goodput => "good/s",
            Figure::Throughput => "requests/s",
        }
    }

    /// Whether more of it is better.
    pub fn is_a_rate(self) -> bool {
        matches!(self, Figure::Goodput | Figure::Throughput)
    }
}

impl Case {
    /// Whether its figure depends on the access log: what is held or idle writes none.
    pub fn writes_lines(&self) -> bool {
        !matches!(self.figure, Figure::Memory | Figure::IdleCpu)
    }

    /// The scenario of a case's load.
    pub fn scenario(&self, setup: &Setup, account: u32) -> Scenario {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut scenario = match &self.work {
            Work::Load {
                door,
                protocol,
                load,
                requests,
                ..
            } => {
                let port = match door {
                    Door::Plain => setup.plain,
                    Door::Tls => setup.tls,
                    Door::Grpc => setup.grpc,
                };
                let mut scenario = Scenario::new(at(port), *protocol, *load);
                scenario.tls = *door != Door::Plain;
                scenario.requests.clone_from(requests);
                scenario
            }
            Work::Mix(times) => {
                let rate = MIX_CAPACITY * times;
                let load = Load::Open {
                    rate,
                    connections: 4000,
                    deadline: 2.0,
                };
                let mut scenario = Scenario::new(at(setup.plain), Protocol::Http1, load);
                scenario.requests = mix();
                scenario
            }
            Work::Range => Scenario::new(
                at(setup.plain),
                Protocol::Http1,
                Load::Idle { connections: 1 },
            ),
        };
        scenario.account = vec![account];
        // Who else has the core is no question where load and origins share it.
        let together = matches!(self.work, Work::Load { together: true, .. });
        scenario.core = (!together).then_some(0);
        scenario
    }
}

/// Everything on one core, and the same on two. With a key so long the load has next to nothing to do beside the proxy.
pub const CORES: [&str; 2] = ["cores-1-rsa4096", "cores-2-rsa4096"];

/// Workers of the mix, and requests that each serves at once.
pub const MIX_WORKERS: u16 = 4;
/// See [`MIX_WORKERS`].
pub const MIX_SLOTS: u32 = 4;
/// Requests per second that they can take: slots by the mean time in one, and a millisecond that timers add.
const MIX_CAPACITY: f64 = 16.0 / 0.010_3;

/// 90 % ping, 8 % exchange of 30 KB, 1 % API, 1 % page.
fn mix() -> Vec<Request> {
    vec![
        Request::get("/ping/work/5/64").weighing(90.0),
        Request::post("/message-system/work/40/300", 30_000).weighing(8.0),
        Request::get("/api/work/100/2000").weighing(1.0),
        Request::get("/work/60/40000").weighing(1.0),
    ]
}

/// All of them, in the order in which they run.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    let everyone = Proxy::ALL.to_vec();
    let with_grpc: Vec<Proxy> = Proxy::ALL
        .into_iter()
        .filter(|proxy| *proxy != Proxy::Apache)
        .collect();
    let load = |door, protocol, load, request| Work::Load {
        door,
        protocol,
        load,
        requests: vec![request],
        threads: 1,
        together: false,
    };
    let mut add = |name: &str, quick, proxies: &[Proxy], figure, work| {
        cases.push(Case {
            name: name.to_owned(),
            work,
            figure,
            key: Key::of(name),
            proxies: proxies.to_vec(),
            quick,
        });
    };
    for (what, door) in [("plain", Door::Plain), ("tls", Door::Tls)] {
        for connections in [64, 512] {
            let closed = Load::Closed {
                connections,
                streams: 1,
            };
            add(
                &format!("h1-{what}-{connections}"),
                true,
                &everyone,
                Figure::CpuPerRequest,
                load(door, Protocol::Http1, closed, Request::get("/ping")),
            );
        }
    }
    for streams in [10, 100] {
        let closed = Load::Closed {
            connections: 8,
            streams,
        };
        add(
            &format!("h2-tls-8x{streams}"),
            true,
            &everyone,
            Figure::CpuPerRequest,
            load(Door::Tls, Protocol::Http2, closed, Request::get("/ping")),
        );
    }
    for streams in [10, 100] {
        let closed = Load::Closed {
            connections: 8,
            streams,
        };
        add(
            &format!("grpc-8x{streams}"),
            true,
            &with_grpc,
            Figure::CpuPerRequest,
            load(
                Door::Grpc,
                Protocol::Grpc,
                closed,
                Request::post("/bench.Echo/Unary", 64),
            ),
        );
    }
    for key in ["ecdsa", "rsa"] {
        for (what, resume) in [("full", false), ("resumed", true)] {
            let handshakes = Load::Handshakes {
                connections: 16,
                resume,
            };
            add(
                &format!("handshake-{what}-{key}"),
                key == "ecdsa",
                &everyone,
                Figure::CpuPerRequest,
                load(
                    Door::Tls,
                    Protocol::Http1,
                    handshakes,
                    Request::get("/ping"),
                ),
            );
        }
    }
    for (size, bytes, connections) in [("1m", MIB, 8), ("200m", 200_000_000, 2)] {
        for (what, door) in [("plain", Door::Plain), ("tls", Door::Tls)] {
            let closed = Load::Closed {
                connections,
                streams: 1,
            };
            let down = Request::get(&format!("/bytes/{bytes}"));
            let up = Request::post("/upload", bytes);
            for (way, request) in [("down", down), ("up", up)] {
                add(
                    &format!("body-{size}-{way}-{what}"),
                    size == "1m" && (way == "down" || what == "tls"),
                    &everyone,
                    Figure::CpuPerMib,
                    load(door, Protocol::Http1, closed, request),
                );
            }
        }
    }
    let idle = |connections| Load::Idle { connections };
    let kept = [
        Proxy::Portcullis,
        Proxy::Haproxy,
        Proxy::Nginx,
        Proxy::Caddy,
    ];
    let ping = Request::get("/ping");
    add(
        "idle-tls-h1",
        false,
        &kept,
        Figure::Memory,
        load(Door::Tls, Protocol::Http1, idle(10_000), ping.clone()),
    );
    add(
        "idle-tls-h2",
        false,
        &kept,
        Figure::Memory,
        load(Door::Tls, Protocol::Http2, idle(10_000), ping),
    );
    let silent = Request::post("/bench.Silent/Stream", 64);
    add(
        "silent-grpc",
        false,
        &kept,
        Figure::Memory,
        load(Door::Grpc, Protocol::Grpc, idle(9_000), silent),
    );
    let websocket = Request::get("/ws");
    add(
        "silent-websocket",
        false,
        &kept,
        Figure::Memory,
        load(Door::Tls, Protocol::WebSocket, idle(9_000), websocket),
    );
    let two = [Proxy::Portcullis, Proxy::Haproxy];
    add("range-990", false, &two, Figure::IdleCpu, Work::Range);
    for times in [1.0, 2.0, 4.0] {
        add(
            &format!("mix-{times}x"),
            false,
            &two,
            Figure::Goodput,
            Work::Mix(times),
        );
    }
    for threads in [1, 2] {
        let load = Load::Open {
            rate: 8000.0,
            connections: 64,
            deadline: 10.0,
        };
        let work = Work::Load {
            door: Door::Tls,
            protocol: Protocol::Http1,
            load,
            requests: vec![Request::get("/ping")],
            threads,
            together: false,
        };
        add(
            &format!("threads-{threads}"),
            false,
            &two,
            Figure::CpuPerRequest,
            work,
        );
    }
    for (threads, name) in (1..).zip(CORES) {
        let load = Load::Handshakes {
            connections: 16,
            resume: false,
        };
        let work = Work::Load {
            door: Door::Tls,
            protocol: Protocol::Http1,
            load,
            requests: vec![Request::get("/ping")],
            threads,
            together: true,
        };
        add(name, false, &two, Figure::Throughput, work);
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_case_is_about_us_and_a_peer() {
        let cases = all();
        for case in &cases {
            assert_eq!(
                cases.iter().filter(|other| other.name == case.name).count(),
                1,
                "{}",
                case.name
            );
            assert_eq!(case.proxies[0], Proxy::Portcullis, "{}", case.name);
            assert!(case.proxies.contains(&Proxy::Haproxy), "{}", case.name);
        }
        assert!(
            cases
                .iter()
                .any(|case| case.quick && case.name == "h2-tls-8x100")
        );
    }

    #[test]
    fn the_mix_is_as_its_capacity_says() {
        let mean: f64 = mix()
            .iter()
            .map(|request| {
                let time: f64 = request
                    .path
                    .split("/work/")
                    .nth(1)
                    .unwrap()
                    .split('/')
                    .next()
                    .unwrap()
                    .parse()
                    .unwrap();
                time * request.weight / 100.0
            })
            .sum();
        let slots = f64::from(MIX_WORKERS) * f64::from(MIX_SLOTS);
        assert!(
            (slots / (mean + 1.0) * 1000.0 - MIX_CAPACITY).abs() < 1.0,
            "{mean}"
        );
    }
}
