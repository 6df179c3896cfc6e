//! How are WSL hosts reached? One long gRPC stream for each host agent; orders go down, news come up.
//!
//! What a host tells is stored; what is ordered waits in the database until the worker that holds the
//! host's stream hears of it over the broker, or looks by itself. A host has one stream: a newer one takes
//! the place of an older, wherever that is. gRPC's PERMISSION_DENIED and INVALID_ARGUMENT put an agent out
//! of work until somebody changes its configuration, so they are said only when that is what is wrong;
//! everything else is UNAVAILABLE, ABORTED or RESOURCE_EXHAUSTED, after which agents come again.

use std::sync::Arc;

use axum::Router;
use futures_util::FutureExt;
use tokio::sync::Mutex;
use tracing::{info, warn};

use self::board::Board;
use self::health::Doctor;
use super::Service;
use crate::broker::publish::Publisher;
use crate::broker::topology::Vhost;
use crate::front;
use crate::metrics::Metrics;
use crate::proto::health::health_server::HealthServer;
use crate::proto::hostagent::landscape_host_agent_server::LandscapeHostAgentServer;
use crate::secret::Secrets;
use crate::serve::{Ground, Live, StartError};
use crate::store::{self, Store};
use crate::worker::Worker;

mod board;
mod echo;
mod health;
mod host;
mod orders;
mod status;

/// The hostagent messenger: one long stream per host agent.
pub const SERVICE: Service = Service {
    name: "hostagent-messenger",
    routes: echo::routes,
    open: Some(|ground| open(ground).boxed()),
    check: None,
};

/// The service's name in gRPC.
const NAME: &str = "landscapehostagentapi.LandscapeHostAgent";
/// Largest message of an agent, bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// What every call works with.
#[derive(Clone)]
struct Desk {
    store: Store,
    secrets: Secrets,
    metrics: Metrics,
    worker: Worker,
    board: Board,
    /// Where statuses go while the database is away; None without a broker.
    aside: Option<Arc<Mutex<Publisher>>>,
}

async fn open(ground: Ground) -> Result<Live, StartError> {
    let vhost = Vhost::Hostagent;
    let aside = ground.broker.is_set(vhost);
    let desk = Desk {
        store: ground.store.clone(),
        secrets: ground.secrets.clone(),
        metrics: ground.metrics.clone(),
        worker: ground.worker.clone(),
        board: Board::new(ground.metrics.host_streams.clone()),
        aside: aside.then(|| Arc::new(Mutex::new(Publisher::new(&ground.broker, vhost)))),
    };
    desk.forget_streams().await?;
    let poll = ground.settings.hostagent_messenger.poll;
    let looking = tokio::spawn(orders::keep_looking(
        desk.clone(),
        ground.broker.clone(),
        poll,
    ));
    if aside {
        tokio::spawn(status::keep_storing(desk.clone(), ground.broker.clone()));
    }
    // It stores at the stop that streams are over, and may not be done when the last of them has ended. That is not stored
    // again later: whoever has this place by then may have streams of its own.
    let last = async move { drop(looking.await) };
    let agent = LandscapeHostAgentServer::new(desk)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(usize::MAX);
    let health = HealthServer::new(Doctor::new(&ground.worker, NAME));
    let calls: Router = tonic::service::Routes::new(agent)
        .add_service(health)
        .into_axum_router();
    Ok(Live {
        routes: front::around(calls, &ground.worker, &ground.metrics, &ground.store),
        last: Some(last.boxed()),
    })
}

impl Desk {
    /// Streams of a worker in this place are over: of one that was killed before, or of this one, which stops.
    async fn forget_streams(&self) -> Result<(), store::StoreError> {
        let mut connection = self.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        // A worker of before told no machine.
        let names = [self.worker.machine_label(), self.worker.label()];
        let count = store::wsl::forget_streams(&tx, &names).await?;
        store::commit(tx).await?;
        if count > 0 {
            info!(count, "streams of this worker are over");
        }
        Ok(())
    }

    /// Streams end with the worker. Where that cannot be stored their hosts count as connected until they come again.
    async fn forget_streams_at_the_end(&self) {
        if let Err(problem) = self.forget_streams().await {
            warn!(%problem, "hosts count as connected until they come again");
        }
    }
}
