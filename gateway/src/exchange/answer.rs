//! How is a client told what the gateway says by itself? Refusals, redirects, maintenance.

use crate::config::model::Maintenance;
use crate::exchange::client::Client;
use crate::exchange::failure::{Answer, Failure};
use crate::exchange::finish::Summary;
use crate::exchange::flow::Source;
use crate::exchange::forward::After;
use crate::exchange::{errors, fixed};
use crate::message::Request;

pub(super) async fn respond(
    request: &Request,
    source: &Source,
    client: &mut Client,
    answer: Answer<'_>,
    location: Option<&str>,
    grpc: bool,
    summary: &mut Summary<'_>,
) -> After {
    let close = !source.is_done();
    say(request, client, answer, location, grpc, close, summary).await
}

/// Answers by ourselves. A client that does not take the answer is cut, like one that does not take a worker's.
async fn say(
    request: &Request,
    client: &mut Client,
    answer: Answer<'_>,
    location: Option<&str>,
    grpc: bool,
    close: bool,
    summary: &mut Summary<'_>,
) -> After {
    let page = match location {
        None if !grpc => errors::page(
            summary.plan,
            summary.cx.listener,
            summary.route,
            request,
            answer,
            &summary.request_id,
        ),
        _ => None,
    };
    if page.is_some() || (!grpc && fixed::is_changed(summary)) {
        let (response, body) = fixed::own(answer, location, page);
        let said = fixed::deliver(request, !close, client, response, body, summary);
        return Box::pin(said).await;
    }
    summary.status = if grpc { 200 } else { answer.status };
    if grpc {
        summary.tally.grpc_status.set(Some(answer.grpc.number()));
    }
    let close = close || summary.cx.shard.shared.is_draining();
    let said = client.answer(Some(request), answer, location, grpc, close);
    let timer = summary.cx.shard.timers.slot();
    match timer.within(summary.patience(), said).await {
        Ok(Ok(bytes)) => summary.tally.bytes_out.set(bytes),
        Ok(Err(_)) | Err(_) => return After::Close,
    }
    match client {
        Client::Http1 {
            keep_alive: true, ..
        }
        | Client::Http2 { .. } => After::Keep,
        Client::Http1 { .. } => After::Close,
    }
}

pub(super) async fn refuse(
    request: &Request,
    body_done: bool,
    client: &mut Client,
    failure: Failure,
    grpc: bool,
    summary: &mut Summary<'_>,
) -> After {
    let answer = failure.answer();
    summary.refused(failure);
    if failure == Failure::ClientGone {
        return After::Close;
    }
    let close = !body_done || !failure.keeps_connection();
    say(request, client, answer, None, grpc, close, summary).await
}

/// Answers for a pool in maintenance.
pub(super) async fn turn_away(
    request: &Request,
    body_done: bool,
    client: &mut Client,
    closed: Maintenance,
    grpc: bool,
    summary: &mut Summary<'_>,
) -> After {
    summary.refused(Failure::Maintenance);
    let answer = Answer {
        text: &closed.text,
        retry_after: Some(closed.retry_after),
        ..Failure::Maintenance.answer()
    };
    say(request, client, answer, None, grpc, !body_done, summary).await
}
