//! Where does a request go as long as it has no answer, and within which bounds?

use std::sync::Arc;
use std::time::Duration;

use crate::config::model::{Forward, Listener, PoolId, WorkerProtocol};
use crate::exchange::context::Context;
use crate::exchange::failure::Failure;
use crate::exchange::finish::Summary;
use crate::exchange::flow::Pace;
use crate::exchange::job::{Bounds, Job};
use crate::exchange::{admit, standby};
use crate::io::timer::Timers;
use crate::plan::Plan;
use crate::pool::Pool;

/// Where a request goes, as long as it has no answer.
pub(super) struct Standing<'a> {
    pub(super) plan: &'a Plan,
    pub(super) forward: &'a Forward,
    pub(super) chosen: PoolId,
}

impl<'a> Standing<'a> {
    pub(super) fn pool(&self) -> &'a Arc<Pool> {
        self.plan.pool(self.chosen)
    }

    /// Waits for a worker; `None` when another pool is to be asked.
    pub(super) async fn unless_changed<T>(
        &self,
        timers: &Timers,
        waiting: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Option<T>, Failure> {
        standby::unless_changed(self.plan, self.forward, self.chosen, timers, waiting).await
    }

    /// Looks again where it goes; when that is elsewhere, the job is made to fit. Says whether it was.
    pub(super) fn moves(
        &mut self,
        cx: &Context,
        job: &mut Job<'a>,
        summary: &mut Summary<'_>,
    ) -> bool {
        let chosen = standby::choose(self.plan, self.forward);
        if chosen == self.chosen {
            return false;
        }
        self.chosen = chosen;
        summary.pool = Some(chosen);
        let pool = self.pool();
        let listener = self.plan.listener(cx.listener);
        let body_bytes_max = job.bounds.request_pace.bytes_max;
        job.bounds = bounds(listener, pool, self.forward, body_bytes_max, job.grpc);
        job.limits.head_bytes = pool.model().head_bytes_max;
        job.home = admit::home(pool, job.request);
        job.abort_on_close = pool.model().abort_on_close;
        job.passage.hidden_cookie = hidden_cookie(pool);
        job.passage.to_tls = pool.model().tls.is_some();
        true
    }
}

pub(super) fn hidden_cookie(pool: &Pool) -> Option<&str> {
    let sticky = pool.model().sticky.as_ref()?;
    sticky.hide.then_some(&sticky.cookie)
}

/// The bounds of an exchange. Streams that live for days have none in time.
pub(super) fn bounds(
    listener: &Listener,
    pool: &Pool,
    forward: &Forward,
    body_bytes_max: u64,
    grpc: bool,
) -> Bounds {
    let limits = &listener.limits;
    let model = pool.model();
    // A content type alone lifts no deadline: a pool that cannot speak gRPC has no streams that live for days.
    let endless = grpc && model.protocol == WorkerProtocol::H2c;
    let timed = |after: Duration| if endless { Duration::ZERO } else { after };
    Bounds {
        response_timeout: timed(forward.response_timeout.unwrap_or(model.response_timeout)),
        request_pace: Pace {
            read: timed(limits.body_timeout),
            write: timed(model.response_timeout),
            bytes_max: body_bytes_max,
            read_rate_min: limits.body_rate_min,
            write_rate_min: 0,
        },
        response_pace: Pace {
            read: timed(model.body_timeout),
            write: timed(limits.body_timeout),
            bytes_max: 0,
            read_rate_min: 0,
            write_rate_min: limits.body_rate_min,
        },
        tunnel_timeout: limits.tunnel_timeout,
        half_closed_timeout: limits.body_timeout,
        patience: limits.body_timeout,
    }
}
