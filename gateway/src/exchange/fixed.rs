//! What does the gateway say by itself where a route asks for it? Redirects and fixed answers.
//!
//! Promises: an answer is written with back-pressure and within the client's patience; a request body that was not read
//! ends the connection (RFC 9112 section 9.3). Does not: read files; their bytes are in the plan.

use std::task::{Context as Task, Poll};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Method, header};

use crate::config::model::{Action, Fixed, Redirect, RouteId};
use crate::exchange::answer::refuse;
use crate::exchange::client::{self, Client};
use crate::exchange::errors::Form;
use crate::exchange::failure::{Answer, Failure};
use crate::exchange::fields::Made;
use crate::exchange::finish::Summary;
use crate::exchange::flow::{Cause, Frame, Pace, Pull, Side, pump};
use crate::exchange::forward::After;
use crate::exchange::job::Lost;
use crate::exchange::packing::{self, Packed};
use crate::exchange::{admit, files};
use crate::message::{BodyKind, Fields, Request, Response};

/// Bytes written at a time.
const PIECE: usize = 64 * 1024;

/// Answers as the route says.
pub(super) async fn answer(
    request: &Request,
    body_done: bool,
    client: &mut Client,
    route: RouteId,
    grpc: bool,
    summary: &mut Summary<'_>,
) -> After {
    let plan = summary.plan;
    let _place = match admit::enter(plan, route) {
        Ok(place) => place,
        Err(failure) => return refuse(request, body_done, client, failure, grpc, summary).await,
    };
    // A call that came to a listener for all kinds: its client reads neither redirects nor bodies.
    if grpc {
        let failure = Failure::NotImplemented;
        return refuse(request, body_done, client, failure, grpc, summary).await;
    }
    let (response, body) = match &plan.route(route).action {
        Action::Redirect(redirect) => match redirected(redirect, request, summary) {
            Some(response) => (response, Bytes::new()),
            None => {
                let failure = Failure::BadHost;
                return refuse(request, body_done, client, failure, grpc, summary).await;
            }
        },
        Action::Respond(fixed) => responded(fixed),
        Action::Static(folder) => {
            return files::serve(request, body_done, client, route, folder, summary).await;
        }
        Action::Forward(_) | Action::Deny(_) => return After::Close,
    };
    deliver(request, body_done, client, response, body, summary).await
}

/// Where the client is sent; `None` where that needs a host and it named none.
fn redirected(redirect: &Redirect, request: &Request, summary: &Summary<'_>) -> Option<Response> {
    let filling = summary.filling(request);
    let hosted = |piece: &_| {
        use crate::config::model::Piece;
        matches!(piece, Piece::Host | Piece::Hostname)
    };
    if redirect.to.0.iter().any(hosted) && filling.hostname().is_empty() {
        return None;
    }
    let mut location = filling.fill(&redirect.to);
    if redirect.keep_query
        && let Some(at) = memchr::memchr(b'?', &request.target)
    {
        location.extend_from_slice(&request.target[at..]);
    }
    let mut map = HeaderMap::new();
    map.insert(header::LOCATION, HeaderValue::from_bytes(&location).ok()?);
    Some(Response {
        status: redirect.status,
        fields: Fields::Http2(map),
        body: BodyKind::Empty,
    })
}

fn responded(fixed: &Fixed) -> (Response, Bytes) {
    let body = fixed.body.bytes.clone();
    let mut map = HeaderMap::new();
    if !body.is_empty()
        && let Ok(kind) = HeaderValue::from_str(&fixed.content_type)
    {
        map.insert(header::CONTENT_TYPE, kind);
    }
    response(fixed.status, map, body)
}

/// Whether answers of our own are changed by the route, or by the file's top where there is no route.
pub(super) fn is_changed(summary: &Summary<'_>) -> bool {
    match summary.route {
        Some(route) => summary.plan.route(route).response_changes.is_some(),
        None => summary.plan.config.response_changes.is_some(),
    }
}

/// What a failure is answered with, in the client's form, and such that it can be changed.
pub(super) fn own(
    answer: Answer,
    location: Option<&str>,
    page: Option<(Form, Bytes)>,
) -> (Response, Bytes) {
    let mut map = HeaderMap::new();
    let (form, body) = page.unwrap_or_else(|| (Form::Text, client::body_of(answer).into()));
    if let Some(location) = location.and_then(|location| HeaderValue::from_str(location).ok()) {
        map.insert(header::LOCATION, location);
    }
    if let Some(seconds) = answer.retry_after {
        map.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if answer.status == 405 {
        map.insert(header::ALLOW, HeaderValue::from_static(client::METHODS));
    }
    if !body.is_empty() {
        let kind = HeaderValue::from_static(form.content_type());
        map.insert(header::CONTENT_TYPE, kind);
    }
    if form != Form::Text {
        // Another client reads another form, and some errors may be kept (RFC 9110 section 15.1).
        map.insert(header::VARY, HeaderValue::from_static("accept"));
        map.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response(answer.status, map, body)
}

fn response(status: u16, map: HeaderMap, body: Bytes) -> (Response, Bytes) {
    let response = Response {
        status,
        fields: Fields::Http2(map),
        body: match body.len() {
            0 => BodyKind::Empty,
            length => BodyKind::Length(length as u64),
        },
    };
    (response, body)
}

/// Writes an answer of our own, with what the route changes about responses.
pub(super) async fn deliver(
    request: &Request,
    body_done: bool,
    client: &mut Client,
    mut response: Response,
    body: Bytes,
    summary: &mut Summary<'_>,
) -> After {
    let to_head = request.method == Method::HEAD;
    if let (Fields::Http2(map), BodyKind::Length(length)) = (&mut response.fields, response.body) {
        map.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let body = if to_head { Bytes::new() } else { body };
    write(
        request,
        body_done,
        client,
        response,
        &mut Whole(body),
        summary,
    )
    .await
}

/// Writes a response whose body is pulled from `body`.
pub(super) async fn write(
    request: &Request,
    body_done: bool,
    client: &mut Client,
    mut response: Response,
    body: &mut impl Pull,
    summary: &mut Summary<'_>,
) -> After {
    summary.status = response.status;
    // Who has a clock says when (RFC 9110 section 6.6.1).
    if let Fields::Http2(map) = &mut response.fields
        && let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(summary.wall_clock()))
    {
        map.insert(header::DATE, date);
    }
    let packer = summary
        .route
        .and_then(|route| summary.plan.packer(summary.cx.listener, route));
    let encoder = packer.and_then(|packer| packing::begin(packer, request, &mut response));
    let mut body = Packed::new(body, encoder);
    let to_head = request.method == Method::HEAD;
    let ending = !body_done || summary.cx.shard.shared.is_draining();
    let wanted = match client {
        Client::Http1 {
            keep_alive: false, ..
        } => After::Close,
        _ if ending => After::Close,
        _ => After::Keep,
    };
    let started = {
        let filling = summary.filling(request);
        let made = Made::of_response(&filling);
        client.start(response, to_head, wanted, made.as_deref())
    };
    let Ok((mut sink, after)) = started else {
        summary.end = Failure::ClientGone.word();
        return After::Close;
    };
    let pace = Pace {
        read: summary.patience(),
        write: summary.patience(),
        bytes_max: 0,
        read_rate_min: 0,
        write_rate_min: summary.rate_min(),
    };
    let timer = summary.cx.shard.timers.slot();
    let tally = summary.tally.clone();
    match pump(&mut body, &mut sink, pace, &timer, &tally.bytes_out).await {
        Ok(()) => after,
        Err(error) => {
            sink.reset(Reason::CANCEL);
            if summary.end == "ok" {
                let failure = match error.side {
                    Side::Sink => Lost::client(&error.cause).failure,
                    Side::Source => Failure::FileBroken,
                };
                summary.end = failure.word();
            }
            After::Close
        }
    }
}

/// A body that is there, in pieces.
struct Whole(Bytes);

impl Pull for Whole {
    fn poll_pull(&mut self, _: &mut Task<'_>) -> Poll<Result<Frame, Cause>> {
        if self.0.is_empty() {
            return Poll::Ready(Ok(Frame::End(None)));
        }
        let piece = self.0.split_to(self.0.len().min(PIECE));
        Poll::Ready(Ok(Frame::Data(piece)))
    }
}
