//! Which pool would serve it now, and what else is done about it on the way there?

use std::net::IpAddr;
use std::sync::Arc;

use super::{Told, answer_text};
use crate::config::model::{Forward, Maintenance, Pool as Model};
use crate::exchange::failure::{Answer, Failure};
use crate::exchange::standby;
use crate::plan::Plan;
use crate::pool::Pool;

/// What a client is told of a pool in maintenance, if it is not let in nevertheless.
pub(super) fn closed(plan: &Plan, forward: &Forward, client: IpAddr) -> Option<Maintenance> {
    let closed = plan.pool(forward.pool).maintenance()?;
    (!closed.allow.contains(client)).then_some(closed)
}

/// The answer of a pool in maintenance.
pub(super) fn closed_answer(closed: &Maintenance, grpc: bool) -> String {
    let answer = Answer {
        text: &closed.text,
        retry_after: Some(closed.retry_after),
        ..Failure::Maintenance.answer()
    };
    answer_text(&answer, grpc)
}

/// The pool that would get the request now. Tells of those that stand in for others.
pub(super) fn serving<'a>(told: &mut Told, plan: &'a Plan, forward: &Forward) -> &'a Arc<Pool> {
    let chosen = standby::choose(plan, forward);
    let mut before = plan.pool(forward.pool).name();
    for backup in &forward.backups {
        let name = plan.pool(backup.pool).name();
        let now = if chosen == backup.pool {
            ", as now"
        } else {
            ""
        };
        let when = match backup.below {
            1 => format!("while no worker of `{before}` is up"),
            n => format!("while fewer than {n} workers of `{before}` are up"),
        };
        told.line("backup", &format!("`{name}` {when}{now}"));
        before = name;
    }
    plan.pool(chosen)
}

/// Tells what else is done: whose worker it is, when its body goes on, who gets a copy.
pub(super) fn beside(told: &mut Told, plan: &Plan, forward: &Forward, model: &Model) {
    if let Some(sticky) = &model.sticky {
        let cookie = &sticky.cookie;
        told.line(
            "sticky",
            &format!("the worker that the cookie `{cookie}` names, while it is up and has room"),
        );
    }
    if let Some(max) = forward.buffer_request {
        told.line(
            "body",
            &format!("taken whole before a worker is asked for, up to {max} bytes"),
        );
    }
    if let Some(mirror) = &forward.mirror {
        let (share, pool) = (mirror.share, plan.pool(mirror.pool).name());
        told.line(
            "mirror",
            &format!("{share} % of such requests go to `{pool}`, too"),
        );
    }
}
