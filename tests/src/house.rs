//! What does the whole house look like? A database, one worker of each service that people and agents
//! meet, and the edge in front.

use crate::agent::{Agent, Way};
use crate::bpickle::{Pickle, d, i, l, s, u};
use crate::gateway::Gateway;
use crate::person::{Browser, EMAIL, Rest};
use crate::ports::free_range;
use crate::stack::{Database, Service};

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  appserver:      { ports: <appserver> }
  pingserver:     { ports: <pingserver> }
  message-system: { ports: <messages> }
  api:            { ports: <api> }
routes:
  - { path: /,               to: appserver }
  - { path: /ping,           to: pingserver }
  - { path: /message-system, to: message-system }
  - { path: /attachment,     to: message-system }
  - { path: /api,            to: api }
"#;

/// All of it; the administrator of tests is there.
pub struct House {
    /// The database.
    pub database: Database,
    /// The edge.
    pub gateway: Gateway,
    /// Appserver, ping server, message system, API.
    pub services: Vec<Service>,
    settings: Vec<(String, String)>,
}

impl House {
    /// With secrets in the database.
    pub async fn start() -> House {
        House::with(&[]).await
    }

    /// With these settings of every service.
    pub async fn with(settings: &[(&str, &str)]) -> House {
        let database = Database::fresh();
        let always = [
            ("PINGSERVER__REFRESH", "50ms"),
            ("PINGSERVER__WRITE", "50ms"),
        ];
        let settings = [&always[..], settings].concat();
        let ports: Vec<u16> = (0..4).map(|_| free_range(1)).collect();
        let programs = ["appserver", "pingserver", "message-server", "api"];
        let services = programs
            .iter()
            .zip(&ports)
            .map(|(program, port)| Service::at(program, &database, *port, &settings))
            .collect();
        let gateway = Gateway::with(YAML)
            .ports("appserver", [ports[0]])
            .ports("pingserver", [ports[1]])
            .ports("messages", [ports[2]])
            .ports("api", [ports[3]])
            .start()
            .await;
        database.administrator();
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        House {
            database,
            gateway,
            services,
            settings: settings.iter().map(owned).collect(),
        }
    }

    /// The settings of its services.
    pub fn settings(&self) -> Vec<(&str, &str)> {
        self.settings
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect()
    }

    /// Way of an agent: through the edge.
    pub fn way(&self) -> Way<'_> {
        Way::Edge(&self.gateway)
    }

    /// The administrator with a token.
    pub async fn rest(&self) -> Rest<'_> {
        Rest::log_in(&self.gateway, EMAIL).await
    }

    /// The administrator in front of the pages.
    pub async fn browser(&self) -> Browser<'_> {
        Browser::sign_in(&self.gateway, EMAIL).await
    }

    /// An agent whose computer is accepted, and the computer's number.
    pub async fn computer(&self, title: &str) -> (Agent, i64) {
        let mut agent = Agent::new(title);
        agent.set_up(&self.way(), None).await;
        self.database
            .sql("update computer set accepted = true, accepted_at = now() where not accepted");
        agent.exchange(&self.way()).await.expect("an exchange");
        let sql = format!("select max(id) from computer where title = '{title}'");
        let id = self.database.sql(&sql).parse().expect("a number");
        (agent, id)
    }
}

/// A report of one interface, `eth0`, with this address.
pub fn network(address: &str) -> Pickle {
    let eth0 = d([
        ("broadcast_address", s("192.0.2.255")),
        ("flags", i(4163)),
        ("interface", s("eth0")),
        ("ip_address", s(address)),
        ("mac_address", s("02:fc:00:00:00:01")),
        ("netmask", s("255.255.255.0")),
    ]);
    let speed = d([
        ("duplex", Pickle::Bool(true)),
        ("interface", s("eth0")),
        ("speed", i(1000)),
    ]);
    d([
        ("device-speeds", l([speed])),
        ("devices", l([eth0])),
        ("type", u("network-device")),
    ])
}
