//! How do services tell each other? Notes over RabbitMQ; the only AMQP.
//!
//! Who listens hears, besides the notes, when it may have missed some, and then looks everything up
//! anew; so RabbitMQ may be away for as long as it likes, and a service that was told of none works by
//! looking into the database now and then. Connections that break are made again, at most every
//! `BACKOFF_MAX`, for as long as the worker lives; every wait has a deadline.

use std::sync::Arc;
use std::time::Duration;

use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use tokio::time::timeout;

use crate::settings::{self, Shared, Wrong};
use crate::worker::Worker;

pub mod consume;
pub mod publish;
pub mod topology;

use topology::{Names, Vhost};

/// Shortest and longest time between two tries to connect.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// See [`BACKOFF_MIN`].
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// What stands between us and the broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The settings name none.
    #[error("broker.{0} is not set")]
    None(&'static str),
    /// It did not answer in time.
    #[error("the broker did not answer within {0:?}")]
    Late(Duration),
    /// It refused, or the connection broke.
    #[error("the broker: {0}")]
    Amqp(#[from] lapin::Error),
    /// It did not take a message.
    #[error("the broker did not take a message")]
    Refused,
}

/// What is wrong with the addresses of the broker; there need be none.
pub fn check(settings: &Shared) -> Vec<Wrong> {
    let broker = &settings.broker;
    let urls = [
        ("url", "landscape", &broker.url),
        (
            "hostagent_url",
            "landscape-hostagent",
            &broker.hostagent_url,
        ),
    ];
    let wrong = urls.into_iter().filter(|(_, _, url)| {
        let right = url
            .parse::<AMQPUri>()
            .is_ok_and(|uri| !uri.authority.host.is_empty());
        !url.is_empty() && !right
    });
    // Without the address, and what the parser says of it, which may hold a password.
    let told = wrong.map(|(key, vhost, _)| Wrong {
        section: "broker",
        key,
        what: format!("`{key}` is no address of the form amqp://user:password@host:port/{vhost}"),
    });
    told.collect()
}

/// What is missing for a program that is about the broker.
pub fn check_set(settings: &Shared) -> Vec<Wrong> {
    let broker = &settings.broker;
    let urls = [
        ("url", &broker.url),
        ("hostagent_url", &broker.hostagent_url),
    ];
    let missing = urls.into_iter().filter(|(_, url)| url.is_empty());
    let told = missing.map(|(key, _)| Wrong::missing("broker", key, ""));
    told.collect()
}

/// The broker as the settings name it, or none. Cheap to clone.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    settings: settings::Broker,
    names: Names,
    worker: Worker,
}

impl Broker {
    /// For this worker. Nothing is connected before somebody listens or publishes.
    pub fn new(settings: &settings::Broker, worker: &Worker) -> Self {
        let broker = Self(Arc::new(Inner {
            settings: settings.clone(),
            names: Names::new(&settings.prefix),
            worker: worker.clone(),
        }));
        if !broker.is_set(Vhost::Services) {
            worker.says(Vhost::Services.word(), "none, looking by turns");
        }
        broker
    }

    /// Do the settings name it?
    pub fn is_set(&self, vhost: Vhost) -> bool {
        !self.url(vhost).is_empty()
    }

    fn url(&self, vhost: Vhost) -> &str {
        match vhost {
            Vhost::Services => &self.0.settings.url,
            Vhost::Hostagent => &self.0.settings.hostagent_url,
        }
    }

    /// One try to connect.
    async fn connect(&self, vhost: Vhost) -> Result<Connection, BrokerError> {
        let url = self.url(vhost);
        if url.is_empty() {
            let key = match vhost {
                Vhost::Services => "url",
                Vhost::Hostagent => "hostagent_url",
            };
            return Err(BrokerError::None(key));
        }
        let label = self.0.worker.label();
        let properties = ConnectionProperties::default().with_connection_name(label.into());
        let patience = self.0.settings.connect_timeout;
        timeout(patience, Connection::connect(url, properties))
            .await
            .map_err(|_| BrokerError::Late(patience))?
            .map_err(BrokerError::from)
    }

    fn says(&self, vhost: Vhost, state: &str) {
        self.0.worker.says(vhost.word(), state);
    }
}

/// How long until the next try? Twice as long each time, and never at the same moment as others.
struct Backoff(Duration);

impl Backoff {
    fn new() -> Self {
        Self(BACKOFF_MIN)
    }

    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(BACKOFF_MAX);
        now.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_told_without_the_password_in_it() {
        let read = |url: &str| {
            let set = [("BACKENDS_BROKER__URL".into(), url.into())];
            Shared::read(None, set, &[check])
        };
        for url in [
            "amqp://u:s3cret@h:port/v",
            "amqp://u:s3cret@/v",
            "amqp://u:s3cret@h h/v",
        ] {
            let told = read(url).expect_err(url);
            let place = "BACKENDS_BROKER__URL: `url` is no address of the form";
            assert!(
                told.starts_with(place) && !told.contains("s3cret"),
                "{told}"
            );
        }
        assert!(read("amqp://u:p@127.0.0.1:5672/landscape").is_ok());
        assert!(read("").is_ok());
        let none = Shared::read(None, [], &[check, check_set]).expect_err("none is set");
        for key in ["broker.url is not set", "broker.hostagent_url is not set"] {
            assert!(none.contains(key), "{none}");
        }
    }

    #[test]
    fn tries_come_seldom_but_never_stop() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..100).map(|_| backoff.next()).collect();
        assert!(waits[0] <= BACKOFF_MIN && waits[0] >= BACKOFF_MIN / 2);
        assert!(waits.iter().all(|wait| *wait <= BACKOFF_MAX));
        assert!(waits[99] >= BACKOFF_MAX / 2);
    }
}
