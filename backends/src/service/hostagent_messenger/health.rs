//! Does a worker serve? The health protocol of gRPC: yes, until it is told to stop.

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, future, stream};
use tonic::{Request, Response, Status};

use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::health_server::Health;
use crate::proto::health::{HealthCheckRequest, HealthCheckResponse};
use crate::worker::Worker;

const UNKNOWN_SERVICE: &str = "no such service";

/// The health protocol of one worker with one service.
#[derive(Debug)]
pub struct Doctor {
    worker: Worker,
    service: &'static str,
}

impl Doctor {
    /// Of a service with this full name.
    pub fn new(worker: &Worker, service: &'static str) -> Self {
        let worker = worker.clone();
        Self { worker, service }
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || service == self.service
    }
}

#[tonic::async_trait]
impl Health for Doctor {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match self.knows(&request.get_ref().service) {
            true => Ok(Response::new(health(ServingStatus::Serving))),
            false => Err(Status::not_found(UNKNOWN_SERVICE)),
        }
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let now = match self.knows(&request.get_ref().service) {
            true => ServingStatus::Serving,
            false => ServingStatus::ServiceUnknown,
        };
        let stop = self.worker.stopping();
        let then = stream::once(stop).map(|()| Ok(health(ServingStatus::NotServing)));
        let states = stream::once(future::ready(Ok(health(now)))).chain(then);
        Ok(Response::new(states.boxed()))
    }
}

fn health(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}
