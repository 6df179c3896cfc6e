//! How is something told? With the broker's confirmation, within a deadline, or it counts as not told.

use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Connection};
use tokio::time::timeout;

use super::topology::{EVENTS, Vhost};
use super::{Broker, BrokerError};
use crate::domain::event::Event;

/// AMQP's number for "keep it also when you are started anew".
const LASTING: u8 = 2;

/// A way to publish in one virtual host, over a connection of its own that is made when it is needed and
/// given up after any mistake.
pub struct Publisher {
    broker: Broker,
    vhost: Vhost,
    open: Option<Open>,
}

struct Open {
    channel: Channel,
    // Ends with the last of these.
    _connection: Connection,
}

impl Publisher {
    /// Nothing is connected yet.
    pub fn new(broker: &Broker, vhost: Vhost) -> Self {
        Self {
            broker: broker.clone(),
            vhost,
            open: None,
        }
    }

    /// Publishes notes in their order, and returns when the broker has confirmed all of them. After an error
    /// any of them may have been published.
    ///
    /// # Errors
    ///
    /// The broker is away, late, or refuses.
    pub async fn notes(&mut self, events: &[&Event]) -> Result<(), BrokerError> {
        let exchange = self.broker.0.names.of(EVENTS);
        let messages: Vec<_> = events
            .iter()
            .map(|event| (event.topic.name(), event.write()))
            .collect();
        self.all(&exchange, &messages).await
    }

    /// Publishes one message into a durable queue, which is kept also when the broker is started anew.
    ///
    /// # Errors
    ///
    /// The broker is away, late, or refuses.
    pub async fn work(&mut self, queue: &str, body: Vec<u8>) -> Result<(), BrokerError> {
        let name = self.broker.0.names.of(queue);
        // The exchange without a name brings a message to the queue of its key.
        self.all("", &[(name.as_str(), body)]).await
    }

    /// Is the broker there? Connects where it must.
    ///
    /// # Errors
    ///
    /// It is not.
    pub async fn check(&mut self) -> Result<(), BrokerError> {
        self.all("", &[]).await
    }

    async fn all(
        &mut self,
        exchange: &str,
        messages: &[(&str, Vec<u8>)],
    ) -> Result<(), BrokerError> {
        let patience = self.patience();
        let done = timeout(patience, self.try_all(exchange, messages)).await;
        let done = done.unwrap_or(Err(BrokerError::Late(patience)));
        if done.is_err() {
            self.open = None;
        }
        let state = if done.is_ok() { "connected" } else { "away" };
        self.broker.says(self.vhost, state);
        done
    }

    fn patience(&self) -> Duration {
        let settings = &self.broker.0.settings;
        settings.connect_timeout + settings.publish_timeout
    }

    async fn try_all(
        &mut self,
        exchange: &str,
        messages: &[(&str, Vec<u8>)],
    ) -> Result<(), BrokerError> {
        let channel = self.channel().await?;
        let mut confirms = Vec::with_capacity(messages.len());
        for (key, body) in messages {
            let properties = BasicProperties::default()
                .with_delivery_mode(LASTING)
                .with_content_type("application/json".into());
            let (exchange, key) = (exchange.into(), (*key).into());
            let options = BasicPublishOptions::default();
            let confirm = channel
                .basic_publish(exchange, key, options, body, properties)
                .await?;
            confirms.push(confirm);
        }
        for confirm in confirms {
            if !confirm.await?.is_ack() {
                return Err(BrokerError::Refused);
            }
        }
        Ok(())
    }

    async fn channel(&mut self) -> Result<&Channel, BrokerError> {
        let lives = |open: &Open| open.channel.status().connected();
        if self.open.as_ref().is_none_or(|open| !lives(open)) {
            let connection = self.broker.connect(self.vhost).await?;
            let channel = connection.create_channel().await?;
            let options = ConfirmSelectOptions::default();
            channel.confirm_select(options).await?;
            let names = &self.broker.0.names;
            names.declare_events(&channel).await?;
            if self.vhost == Vhost::Hostagent {
                names.declare_all_work(&channel).await?;
            }
            self.open = Some(Open {
                channel,
                _connection: connection,
            });
        }
        let open = self.open.as_ref();
        open.map(|open| &open.channel).ok_or(BrokerError::Refused)
    }
}
