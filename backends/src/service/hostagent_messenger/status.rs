//! How far are orders? Statuses are stored before they are answered. While the database is away they are put
//! into a durable queue of the broker, from where any worker stores them later.

use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Duration, sleep};
use tonic::{Request, Response, Status, Streaming};
use tracing::{info, warn};
use uuid::Uuid;

use super::Desk;
use super::host::{Down, hold};
use crate::broker::publish::Publisher;
use crate::broker::topology::{HOST_STATUSES, Vhost};
use crate::broker::{Broker, consume};
use crate::domain::wsl::{ERROR_BYTES_MAX, Progress, bounded};
use crate::proto::hostagent::landscape_host_agent_server::LandscapeHostAgent;
use crate::proto::hostagent::{CommandState, CommandStatus, Empty, HostAgentInfo};
use crate::store::{self, StoreError, wsl};

/// Before what could not be stored is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// A status that waits, as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Waiting {
    /// A number, as text.
    request_id: String,
    state: i32,
    error: String,
}

#[tonic::async_trait]
impl LandscapeHostAgent for Desk {
    type ConnectStream = Down;

    async fn connect(
        &self,
        request: Request<Streaming<HostAgentInfo>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        Ok(Response::new(hold(self.clone(), request.into_inner())))
    }

    async fn send_command_status(
        &self,
        request: Request<CommandStatus>,
    ) -> Result<Response<Empty>, Status> {
        let status = request.into_inner();
        let Ok(request_id) = Uuid::try_parse(&status.request_id) else {
            // Of no order of ours. To refuse it would put the agent out of work.
            warn!("a status of an order that nobody gave");
            self.count("stranger");
            return Ok(Response::new(Empty {}));
        };
        let waiting = Waiting {
            request_id: request_id.to_string(),
            state: status.command_state,
            error: bounded(&status.error, ERROR_BYTES_MAX),
        };
        let Err(problem) = self.store_status(&waiting).await else {
            return Ok(Response::new(Empty {}));
        };
        warn!(%problem, "a status is not stored yet");
        match self.put_aside(&waiting).await {
            Ok(()) => Ok(Response::new(Empty {})),
            Err(()) => Err(Status::unavailable("try again later")),
        }
    }
}

impl Desk {
    fn count(&self, end: &str) {
        self.metrics.host_commands.with_label_values(&[end]).inc();
    }

    async fn store_status(&self, status: &Waiting) -> Result<(), StoreError> {
        let progress = match CommandState::try_from(status.state) {
            Ok(CommandState::Queued) => Progress::Queued,
            Ok(CommandState::InProgress) => Progress::InProgress,
            Ok(CommandState::Completed) if status.error.is_empty() => Progress::Succeeded,
            Ok(CommandState::Completed) => Progress::Failed,
            Err(_) => {
                self.count("stranger");
                return Ok(());
            }
        };
        let Ok(request_id) = Uuid::try_parse(&status.request_id) else {
            self.count("stranger");
            return Ok(());
        };
        let mut connection = self.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        let new = wsl::progress(&tx, request_id, progress, &status.error).await?;
        store::commit(tx).await?;
        self.count(if new { progress.word() } else { "repeated" });
        info!(request = %status.request_id, state = progress.word(), new, "an order's status");
        Ok(())
    }

    async fn put_aside(&self, status: &Waiting) -> Result<(), ()> {
        let (Some(aside), Ok(body)) = (&self.aside, serde_json::to_vec(status)) else {
            return Err(());
        };
        let mut publisher: OwnedMutexGuard<Publisher> = aside.clone().lock_owned().await;
        let put = publisher.work(HOST_STATUSES, body).await;
        put.map_err(|problem| warn!(%problem, "a status is not kept"))
    }
}

/// Stores what was put aside, for as long as the worker lives.
pub async fn keep_storing(desk: Desk, broker: Broker) {
    let mut given = consume::work(&broker, Vhost::Hostagent, HOST_STATUSES);
    while let Some(work) = given.recv().await {
        let Ok(status) = serde_json::from_slice::<Waiting>(work.body()) else {
            warn!("what lies in the queue of statuses is none");
            work.done().await;
            continue;
        };
        match desk.store_status(&status).await {
            Ok(()) => work.done().await,
            Err(_) => {
                work.again().await;
                sleep(AGAIN).await;
            }
        }
    }
}
