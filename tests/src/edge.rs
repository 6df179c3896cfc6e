//! What does the usual configuration look like? Three listeners, one pool, everything to it.
//!
//! `http` is plain and does not redirect, `https` is TLS with h2 and HTTP/1.1; pool `app` has the
//! workers that were given. Where these speak h2c there is `grpc`, too: TLS with the protocol `grpc`.
//! What a test is about is added in the words of the configuration language.

use crate::gateway::{Gateway, Plan};
use crate::worker::Worker;

/// The usual configuration.
pub struct Edge {
    ports: String,
    pool: String,
    limits: String,
    top: String,
    h2c: bool,
    env: Vec<(String, String)>,
}

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
<top>
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none, limits: { <limits> } }
  https: { bind: "127.0.0.1:0", limits: { <limits> }, tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
<grpc>
pools:
  app: { ports: <app><pool> }
routes:
  - { path: /, to: app, on: [http, https<on_grpc>] }
"#;

const GRPC: &str = r#"  grpc:  { bind: "127.0.0.1:0", limits: { <limits> }, protocol: grpc, tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }"#;

impl Edge {
    /// In front of one worker.
    pub fn to(worker: &Worker) -> Edge {
        Edge::to_ports([worker.port()])
    }

    /// In front of several.
    pub fn to_all(workers: &[Worker]) -> Edge {
        Edge::to_ports(workers.iter().map(Worker::port))
    }

    /// In front of ports on which somebody may listen or not.
    pub fn to_ports(ports: impl IntoIterator<Item = u16>) -> Edge {
        let ports: Vec<_> = ports.into_iter().map(|port| port.to_string()).collect();
        Edge {
            ports: format!("[{}]", ports.join(", ")),
            pool: String::new(),
            limits: String::new(),
            top: String::new(),
            h2c: false,
            env: Vec::new(),
        }
    }

    /// In front of these ports, in the words of the configuration language: `8090-9079`.
    pub fn to_range(ports: &str) -> Edge {
        let mut edge = Edge::to_ports([]);
        edge.ports = ports.to_owned();
        edge
    }

    /// The workers speak HTTP/2 in plain text.
    pub fn h2c(mut self) -> Edge {
        self.h2c = true;
        self.pool("protocol: h2c")
    }

    /// Adds settings of the pool: `balance: round-robin, hold: 5s`.
    pub fn pool(mut self, settings: &str) -> Edge {
        self.pool.push_str(", ");
        self.pool.push_str(settings);
        self
    }

    /// Sets limits of all three listeners: `idle_timeout: 1s`.
    pub fn limits(mut self, limits: &str) -> Edge {
        self.limits = limits.to_owned();
        self
    }

    /// Adds a line at the top: `drain: { deadline: 1s }`.
    pub fn top(mut self, line: &str) -> Edge {
        self.top.push_str(line);
        self.top.push('\n');
        self
    }

    /// Sets a variable of the gateway's environment.
    pub fn env(mut self, name: &str, value: &str) -> Edge {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the gateway.
    pub async fn start(self) -> Gateway {
        self.plan().start().await
    }

    /// As a plan, for what else there is to say.
    pub fn plan(self) -> Plan {
        let (grpc, on_grpc) = if self.h2c { (GRPC, ", grpc") } else { ("", "") };
        let plan = Gateway::with(YAML);
        let plan = self
            .env
            .iter()
            .fold(plan, |plan, (name, value)| plan.env(name, value));
        plan.text("grpc", grpc)
            .text("on_grpc", on_grpc)
            .text("top", &self.top)
            .text("limits", &self.limits)
            .text("app", &self.ports)
            .text("pool", &self.pool)
    }
}
