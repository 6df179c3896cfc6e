//! What is it called? Every exchange and queue, in one place.
//!
//! In the virtual host of the services one exchange carries every note, under its topic. Each worker
//! that wants to hear has a queue of its own, named by the server, which ends with its connection.
//! The virtual host of the host agents has the same for what concerns the streams of hosts, and the
//! durable queues that a Landscape server has there.

use lapin::options::{
    BasicQosOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use crate::domain::event::Topic;

/// Where notes go, in either virtual host; a topic exchange.
pub const EVENTS: &str = "landscape-server-events";

/// What hosts say, at a Landscape server. Declared, so that the virtual host looks as its tools and monitoring expect
/// it, and neither written nor read: the form of its messages is not published, and what a host says is stored by the
/// worker that holds its stream, in the order in which it came. Through a queue older news could be stored over newer.
pub const HOST_TASKS: &str = "landscape-server-hostagent-task-queue";
/// That hosts live, at a Landscape server. Declared like [`HOST_TASKS`] and not used: an agent sends no pings, and
/// whether it has a stream stands in the database.
pub const HOST_PINGS: &str = "landscape-server-hostagent-ping-queue";
/// How far commands are, while it cannot be stored at once.
pub const HOST_STATUSES: &str = "landscape-server-hostagent-command-status-queue";

/// Most notes that wait for one worker; then the oldest go, and the worker learns it from the database.
const EVENTS_WAITING_MAX: i32 = 10_000;
/// Most messages that wait in a durable queue; more are refused, and who sent them is told so.
const WORK_WAITING_MAX: i32 = 100_000;
/// Messages that are on the way to one worker and not acknowledged.
const PREFETCH: u16 = 256;

/// Which of the two virtual hosts?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vhost {
    /// `landscape`
    Services,
    /// `landscape-hostagent`
    Hostagent,
}

impl Vhost {
    /// In which of them a note travels.
    pub fn of(topic: Topic) -> &'static [Self] {
        match topic {
            Topic::Anything => &[Self::Services, Self::Hostagent],
            Topic::HostConnected | Topic::HostOrdered => &[Self::Hostagent],
            _ => &[Self::Services],
        }
    }

    /// The word for it in a worker's health.
    pub fn word(self) -> &'static str {
        match self {
            Self::Services => "broker",
            Self::Hostagent => "broker-hostagent",
        }
    }
}

/// The names of one deployment: all begin with its prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// Names that begin with this; empty where a deployment has its virtual hosts for itself.
    pub fn new(prefix: &str) -> Self {
        let prefix = prefix.to_owned();
        Self { prefix }
    }

    /// The name as it is at the server.
    pub fn of(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Declares the exchange of notes.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn declare_events(&self, channel: &Channel) -> lapin::Result<()> {
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let (name, kind) = (self.of(EVENTS), ExchangeKind::Topic);
        channel
            .exchange_declare(name.into(), kind, options, FieldTable::default())
            .await
    }

    /// Declares a queue of one worker's own for these topics, and returns its name.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn declare_ear(&self, channel: &Channel, topics: &[Topic]) -> lapin::Result<String> {
        self.declare_events(channel).await?;
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        let mut bound = FieldTable::default();
        bound.insert(
            "x-max-length".into(),
            AMQPValue::LongInt(EVENTS_WAITING_MAX),
        );
        let queue = channel.queue_declare("".into(), options, bound).await?;
        for topic in topics.iter().chain(&[Topic::Anything]) {
            channel
                .queue_bind(
                    queue.name().clone(),
                    self.of(EVENTS).into(),
                    topic.name().into(),
                    QueueBindOptions::default(),
                    FieldTable::default(),
                )
                .await?;
        }
        Ok(queue.name().to_string())
    }

    /// Declares every durable queue of the host agents, also those that are there for others alone.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn declare_all_work(&self, channel: &Channel) -> lapin::Result<()> {
        for queue in [HOST_TASKS, HOST_PINGS, HOST_STATUSES] {
            self.declare_work(channel, queue).await?;
        }
        Ok(())
    }

    /// Declares a durable queue, and returns its name.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn declare_work(&self, channel: &Channel, queue: &str) -> lapin::Result<String> {
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let mut bound = FieldTable::default();
        bound.insert("x-max-length".into(), AMQPValue::LongInt(WORK_WAITING_MAX));
        let refuse = AMQPValue::LongString("reject-publish".into());
        bound.insert("x-overflow".into(), refuse);
        let name = self.of(queue);
        channel
            .queue_declare(name.as_str().into(), options, bound)
            .await?;
        Ok(name)
    }
}
