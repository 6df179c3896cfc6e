//! What load is wanted? A file of YAML (or JSON) becomes a [`Scenario`]; every key is in `loadtest/README.md`.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

/// One run of the generator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Where connections go.
    pub target: SocketAddr,
    /// TLS 1.3 (AES-256-GCM, X25519). The certificate is not checked.
    #[serde(default)]
    pub tls: bool,
    /// `Host`, `:authority` and the name asked for in TLS.
    #[serde(default = "host")]
    pub host: String,
    /// What is spoken.
    #[serde(default)]
    pub protocol: Protocol,
    /// How load comes.
    pub load: Load,
    /// What is asked for; at least one.
    #[serde(default = "requests")]
    pub requests: Vec<Request>,
    /// Seconds before the measurement.
    #[serde(default = "one")]
    pub warm_up: f64,
    /// Seconds of the measurement.
    #[serde(default = "three")]
    pub time: f64,
    /// Processes whose CPU time and memory are read, with all their descendants.
    #[serde(default)]
    pub account: Vec<u32>,
    /// Where a counter is read at both ends of the measurement: a decimal number in a line, for who connects.
    #[serde(default)]
    pub counter: Option<SocketAddr>,
    /// A core whose busy time is read, to see how much of it others used.
    #[serde(default)]
    pub core: Option<usize>,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1 with kept connections.
    #[default]
    Http1,
    /// HTTP/2; over TLS by ALPN, else with prior knowledge.
    Http2,
    /// gRPC: unary calls, or open streams where the load is `idle`.
    Grpc,
    /// WebSocket; only with `idle`.
    WebSocket,
}

/// How load comes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// The next request when the last one is answered.
    Closed {
        /// Connections.
        connections: usize,
        /// Requests at once on each; more than 1 only with HTTP/2 and gRPC.
        #[serde(default = "one_stream")]
        streams: usize,
    },
    /// At a fixed rate, whether or not answers come. Latency counts from the intended time.
    Open {
        /// Requests per second.
        rate: f64,
        /// Connections at most; requests that find none wait.
        connections: usize,
        /// Seconds after the intended time when a client gives up.
        #[serde(default = "ten")]
        deadline: f64,
    },
    /// A new connection for each request.
    Handshakes {
        /// Connections at once.
        connections: usize,
        /// Whether TLS sessions are resumed.
        #[serde(default)]
        resume: bool,
    },
    /// Connections that are opened, used once and held.
    Idle {
        /// How many.
        connections: usize,
    },
}

/// One kind of request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The method.
    #[serde(default = "get")]
    pub method: String,
    /// The path.
    pub path: String,
    /// Bytes of the body; of gRPC, of the message.
    #[serde(default)]
    pub body: u64,
    /// Its share among all requests.
    #[serde(default = "one")]
    pub weight: f64,
}

impl Request {
    /// A GET.
    pub fn get(path: &str) -> Request {
        Request {
            method: get(),
            path: path.to_owned(),
            body: 0,
            weight: 1.0,
        }
    }

    /// A POST with so many bytes.
    pub fn post(path: &str, body: u64) -> Request {
        Request {
            method: "POST".to_owned(),
            body,
            ..Request::get(path)
        }
    }

    /// With another share.
    pub fn weighing(self, weight: f64) -> Request {
        Request { weight, ..self }
    }
}

impl Scenario {
    /// Reads and checks a scenario.
    ///
    /// # Errors
    ///
    /// It is not as the reference says, or asks for what cannot be done together.
    pub fn read(text: &str) -> anyhow::Result<Scenario> {
        let scenario: Scenario = serde_saphyr::from_str(text).context("scenario")?;
        scenario.check()?;
        Ok(scenario)
    }

    /// A scenario with every default.
    pub fn new(target: SocketAddr, protocol: Protocol, load: Load) -> Scenario {
        Scenario {
            target,
            tls: false,
            host: host(),
            protocol,
            load,
            requests: requests(),
            warm_up: one(),
            time: three(),
            account: Vec::new(),
            counter: None,
            core: None,
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.requests.is_empty(), "`requests` is empty");
        ensure!(
            self.time > 0.0 && self.warm_up >= 0.0,
            "`time` must be more than 0, `warm_up` 0 or more"
        );
        let multiplexed = matches!(self.protocol, Protocol::Http2 | Protocol::Grpc);
        match self.load {
            Load::Closed {
                connections,
                streams,
            } => {
                ensure!(
                    connections > 0 && streams > 0,
                    "`connections` and `streams` begin at 1"
                );
                ensure!(
                    multiplexed || streams == 1,
                    "only `http2` and `grpc` have `streams`"
                );
                ensure!(
                    self.protocol != Protocol::WebSocket,
                    "`websocket` goes with `idle` only"
                );
            }
            Load::Open {
                rate,
                connections,
                deadline,
            } => {
                ensure!(
                    rate > 0.0 && connections > 0 && deadline > 0.0,
                    "`rate`, `connections` and `deadline` must be more than 0"
                );
                ensure!(
                    self.protocol != Protocol::WebSocket,
                    "`websocket` goes with `idle` only"
                );
            }
            Load::Handshakes {
                connections,
                resume,
            } => {
                ensure!(connections > 0, "`connections` begin at 1");
                ensure!(
                    self.protocol == Protocol::Http1,
                    "`handshakes` go with `http1` only"
                );
                ensure!(self.tls || !resume, "`resume` needs `tls`");
            }
            Load::Idle { connections } => ensure!(connections > 0, "`connections` begin at 1"),
        }
        for request in &self.requests {
            let path = &request.path;
            ensure!(
                path.starts_with('/') && path.parse::<http::Uri>().is_ok(),
                "`{path}` is no path: it begins with `/` and has no blanks"
            );
            let method = &request.method;
            ensure!(
                http::Method::from_bytes(method.as_bytes()).is_ok(),
                "`{method}` is no method"
            );
        }
        let host = &self.host;
        ensure!(
            host.parse::<http::uri::Authority>().is_ok(),
            "`{host}` is no host"
        );
        Ok(())
    }

    /// Whether a closed loop of HTTP/2 needs more than the one small request, again and again, that the light writer of
    /// frames can do.
    pub fn is_mixed(&self) -> bool {
        matches!(self.protocol, Protocol::Http2 | Protocol::Grpc)
            && (self.requests.len() > 1
                || self.requests.iter().any(|request| request.body > 16_384))
    }
}

fn host() -> String {
    "bench.example".to_owned()
}
fn get() -> String {
    "GET".to_owned()
}
fn requests() -> Vec<Request> {
    vec![Request::get("/")]
}
fn one() -> f64 {
    1.0
}
fn three() -> f64 {
    3.0
}
fn ten() -> f64 {
    10.0
}
fn one_stream() -> usize {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_scenario_has_defaults() {
        let text = "target: 127.0.0.1:8080\nload: { closed: { connections: 64 } }\n";
        let scenario = Scenario::read(text).unwrap();
        assert_eq!(
            scenario.load,
            Load::Closed {
                connections: 64,
                streams: 1
            }
        );
        assert_eq!(scenario.requests[0].path, "/");
        assert_eq!((scenario.warm_up, scenario.time), (1.0, 3.0));
    }

    #[test]
    fn json_is_read_as_well() {
        let load = Load::Open {
            rate: 100.0,
            connections: 10,
            deadline: 2.0,
        };
        let mut wanted = Scenario::new(([127, 0, 0, 1], 1).into(), Protocol::Http1, load);
        wanted.requests = vec![Request::post("/x", 30_000).weighing(8.0)];
        let read = Scenario::read(&serde_json::to_string(&wanted).unwrap()).unwrap();
        assert_eq!(read.load, load);
        assert_eq!(
            (read.requests[0].body, read.requests[0].weight),
            (30_000, 8.0)
        );
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for (case, says) in [
            ("load: { closed: { connections: 0 } }", "begin at 1"),
            (
                "load: { closed: { connections: 1, streams: 2 } }",
                "streams",
            ),
            (
                "load: { handshakes: { connections: 1, resume: true } }",
                "needs `tls`",
            ),
            (
                "protocol: websocket\nload: { open: { rate: 1, connections: 1 } }",
                "idle",
            ),
            (
                "load: { idle: { connections: 1 } }\nrequests: [{ path: ping }]",
                "is no path",
            ),
            (
                "load: { idle: { connections: 1 } }\nrequests: [{ path: /, method: 'A B' }]",
                "is no method",
            ),
            (
                "load: { idle: { connections: 1 } }\nhost: 'a b'",
                "is no host",
            ),
            ("load: { idle: { connections: 1 } }\nrequests: []", "empty"),
            ("load: { idle: { connections: 1 } }\nspeed: 1", "speed"),
        ] {
            let text = format!("target: 127.0.0.1:1\n{case}\n");
            let error = format!("{:#}", Scenario::read(&text).expect_err(case));
            assert!(error.contains(says), "{case}: {error}");
        }
    }

    #[test]
    fn the_examples_can_be_read() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
        let mut seen = 0;
        for file in std::fs::read_dir(dir).unwrap() {
            let path = file.unwrap().path();
            Scenario::read(&std::fs::read_to_string(&path).unwrap())
                .unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
            seen += 1;
        }
        assert!(seen > 0);
    }
}
