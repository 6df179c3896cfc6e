//! What was told? Notes as they come, and that some may have been missed.

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions};
use lapin::types::FieldTable;
use lapin::{Connection, Consumer};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::topology::Vhost;
use super::{Backoff, Broker, BrokerError};
use crate::domain::event::{Event, Topic};

/// Notes that wait to be taken; then the broker waits, too.
const WAITING: usize = 256;

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// From now on it is told everything, but what was before it must look up.
    Anew,
    /// Something happened.
    Event(Event),
}

/// Listens to these topics for as long as the worker lives and the receiver is kept. Where the settings
/// name no broker nothing ever comes.
pub fn notes(broker: &Broker, vhost: Vhost, topics: &'static [Topic]) -> mpsc::Receiver<Told> {
    let (tell, told) = mpsc::channel(WAITING);
    if broker.is_set(vhost) {
        tokio::spawn(listen(broker.clone(), vhost, topics, tell));
    } else {
        // Kept open, so that whoever waits goes on waiting.
        let stopping = broker.0.worker.stopping();
        tokio::spawn(async move {
            stopping.await;
            drop(tell);
        });
    }
    told
}

async fn listen(broker: Broker, vhost: Vhost, topics: &'static [Topic], tell: mpsc::Sender<Told>) {
    let stopping = broker.0.worker.stopping();
    tokio::pin!(stopping);
    let mut backoff = Backoff::new();
    loop {
        let ended = tokio::select! {
            () = &mut stopping => return,
            () = tell.closed() => return,
            ended = hear(&broker, vhost, topics, &tell, &mut backoff) => ended,
        };
        let problem =
            ended.map_or_else(|problem| problem.to_string(), |()| "it hung up".to_owned());
        broker.says(vhost, "away");
        let pause = backoff.next();
        warn!(problem, ?pause, vhost = vhost.word(), "the broker is away");
        tokio::select! {
            () = &mut stopping => return,
            () = sleep(pause) => {}
        }
    }
}

async fn hear(
    broker: &Broker,
    vhost: Vhost,
    topics: &[Topic],
    tell: &mpsc::Sender<Told>,
    backoff: &mut Backoff,
) -> Result<(), BrokerError> {
    let patience = broker.0.settings.connect_timeout * 2;
    let opened = timeout(patience, open(broker, vhost, topics)).await;
    let (_connection, mut consumer) = opened.map_err(|_| BrokerError::Late(patience))??;
    *backoff = Backoff::new();
    broker.says(vhost, "connected");
    info!(vhost = vhost.word(), "the broker is there");
    if tell.send(Told::Anew).await.is_err() {
        return Ok(());
    }
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        let told = match Event::read(&delivery.data) {
            Some(event) if event.topic == Topic::Anything => Told::Anew,
            Some(event) => Told::Event(event),
            // Of another program: whatever it says, the database knows.
            None => Told::Anew,
        };
        if tell.send(told).await.is_err() {
            return Ok(());
        }
        delivery.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}

async fn open(
    broker: &Broker,
    vhost: Vhost,
    topics: &[Topic],
) -> Result<(Connection, Consumer), BrokerError> {
    let connection = broker.connect(vhost).await?;
    let channel = connection.create_channel().await?;
    let queue = broker.0.names.declare_ear(&channel, topics).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let consumer = channel
        .basic_consume(queue.into(), "".into(), options, arguments)
        .await?;
    Ok((connection, consumer))
}

/// A message out of a durable queue. Dropped without a word it is given to somebody else.
pub struct Work {
    delivery: Delivery,
}

impl Work {
    /// What it says.
    pub fn body(&self) -> &[u8] {
        &self.delivery.data
    }

    /// It is done: the broker may forget it.
    pub async fn done(self) {
        // Where the connection broke it comes again, to whoever listens then.
        let _ = self.delivery.ack(BasicAckOptions::default()).await;
    }

    /// It cannot be done now: it comes again.
    pub async fn again(self) {
        let options = BasicNackOptions {
            requeue: true,
            ..BasicNackOptions::default()
        };
        let _ = self.delivery.nack(options).await;
    }
}

/// Takes messages out of a durable queue, for as long as the worker lives and the receiver is kept.
/// Several may take from one.
pub fn work(broker: &Broker, vhost: Vhost, queue: &'static str) -> mpsc::Receiver<Work> {
    let (give, given) = mpsc::channel(WAITING);
    let broker = broker.clone();
    tokio::spawn(async move {
        let stopping = broker.0.worker.stopping();
        tokio::pin!(stopping);
        let mut backoff = Backoff::new();
        loop {
            tokio::select! {
                () = &mut stopping => return,
                () = give.closed() => return,
                // Whoever listens for notes in the same place tells when it is away.
                _ = take(&broker, vhost, queue, &give, &mut backoff) => {}
            }
            tokio::select! {
                () = &mut stopping => return,
                () = sleep(backoff.next()) => {}
            }
        }
    });
    given
}

async fn take(
    broker: &Broker,
    vhost: Vhost,
    queue: &str,
    give: &mpsc::Sender<Work>,
    backoff: &mut Backoff,
) -> Result<(), BrokerError> {
    let patience = broker.0.settings.connect_timeout * 2;
    let opened = timeout(patience, async {
        let connection = broker.connect(vhost).await?;
        let channel = connection.create_channel().await?;
        let name = broker.0.names.declare_work(&channel, queue).await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = channel
            .basic_consume(name.into(), "".into(), options, arguments)
            .await?;
        Ok::<_, BrokerError>((connection, consumer))
    });
    let (_connection, mut consumer) = opened.await.map_err(|_| BrokerError::Late(patience))??;
    *backoff = Backoff::new();
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        if give.send(Work { delivery }).await.is_err() {
            break;
        }
    }
    Ok(())
}
