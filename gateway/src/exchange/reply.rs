//! What does the worker say? The response's head, from HTTP/1 or HTTP/2, and where its body comes from.
//!
//! Promises: a failure says what the worker may have seen of the request.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as Task, Poll, ready};

use bytes::BytesMut;
use h2::Reason;
use h2::client::ResponseFuture;

use crate::exchange::failure::Failure;
use crate::exchange::flow::Source;
use crate::exchange::job::{Job, Lost, Sent};
use crate::http1::body::Decoder;
use crate::http1::head::parse_response;
use crate::io::Stream;
use crate::message::{BodyKind, Fields, Response};
use crate::pool::Outcome;
use crate::upstream::Ticket;

/// Where the response comes from.
pub(super) enum Reply {
    Http1 {
        stream: Rc<Stream>,
        buf: BytesMut,
        reused: bool,
    },
    Http2 {
        response: ResponseFuture,
        ticket: Ticket,
    },
}

pub(super) enum Head {
    Informational(Response),
    Final(Response, bool, Option<Source>),
    Switch(Response),
}

impl Reply {
    pub(super) fn sent(&self) -> Sent {
        match self {
            Reply::Http1 { stream, .. } if !stream.wrote() => Sent::Nothing,
            Reply::Http1 { reused, buf, .. } => Sent::Perhaps {
                stale: *reused && buf.is_empty(),
            },
            Reply::Http2 { .. } => Sent::Perhaps { stale: false },
        }
    }

    pub(super) fn timed_out(&self, broken: bool) -> Lost {
        if broken {
            return Lost::gone(self.sent());
        }
        Lost::worker(
            Failure::WorkerTimeout,
            Sent::Perhaps { stale: false },
            Outcome::ResponseTimeout,
        )
    }

    pub(super) fn poll_head(
        &mut self,
        cx: &mut Task<'_>,
        job: &Job<'_>,
    ) -> Poll<Result<Head, Lost>> {
        match self {
            Reply::Http1 { stream, buf, .. } => loop {
                match parse_response(buf, &job.limits, job.to_head) {
                    Ok(Some(parsed)) if parsed.upgrade => {
                        return Poll::Ready(if job.upgrade.is_some() {
                            Ok(Head::Switch(parsed.response))
                        } else {
                            Err(Lost::worker(
                                Failure::BadAnswer,
                                Sent::Perhaps { stale: false },
                                Outcome::BadAnswer,
                            ))
                        });
                    }
                    Ok(Some(parsed)) if parsed.response.status < 200 => {
                        return Poll::Ready(Ok(Head::Informational(parsed.response)));
                    }
                    Ok(Some(parsed)) => {
                        return Poll::Ready(Ok(Head::Final(
                            parsed.response,
                            parsed.keep_alive,
                            None,
                        )));
                    }
                    Ok(None) => match ready!(stream.poll_fill(cx, buf)) {
                        Ok(0) | Err(_) => return Poll::Ready(Err(Lost::gone(self.sent()))),
                        Ok(_) => {}
                    },
                    Err(_) => {
                        return Poll::Ready(Err(Lost::worker(
                            Failure::BadAnswer,
                            Sent::Perhaps { stale: false },
                            Outcome::BadAnswer,
                        )));
                    }
                }
            },
            Reply::Http2 { response, ticket } => {
                if let Poll::Ready(Some(Ok(informational))) = response.poll_informational(cx) {
                    let (head, ()) = informational.into_parts();
                    return Poll::Ready(Ok(Head::Informational(Response {
                        status: head.status.as_u16(),
                        fields: Fields::Http2(head.headers),
                        body: BodyKind::Empty,
                    })));
                }
                Poll::Ready(match ready!(Pin::new(response).poll(cx)) {
                    Ok(response) => Ok(http2_head(response, job.to_head)),
                    Err(error) => Err(http2_lost(&error, ticket)),
                })
            }
        }
    }

    /// The body of an HTTP/1 response.
    pub(super) fn source(&mut self, response: &Response, job: &Job<'_>) -> Source {
        match self {
            Reply::Http1 { stream, buf, .. } => Source::Http1 {
                stream: stream.clone(),
                buf: std::mem::take(buf),
                decoder: Decoder::new(response.body, job.limits),
            },
            Reply::Http2 { .. } => Source::Empty,
        }
    }
}

fn http2_head(response: http::Response<h2::RecvStream>, to_head: bool) -> Head {
    let (head, recv) = response.into_parts();
    let length = head
        .headers
        .get(http::header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse().ok());
    let body = match length {
        _ if to_head || recv.is_end_stream() => BodyKind::Empty,
        Some(length) => BodyKind::Length(length),
        None => BodyKind::Open,
    };
    let response = Response {
        status: head.status.as_u16(),
        fields: Fields::Http2(head.headers),
        body,
    };
    Head::Final(response, true, Some(Source::http2(recv)))
}

fn http2_lost(error: &h2::Error, ticket: &Ticket) -> Lost {
    let graceful =
        error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
    if error.is_go_away() || error.is_io() {
        ticket.retire();
    }
    if graceful
        || (error.is_reset() && error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM))
    {
        return Lost {
            outcome: None,
            ..Lost::gone(Sent::Refused)
        };
    }
    let reset = error
        .reason()
        .filter(|_| error.is_reset() && error.is_remote());
    Lost {
        reset,
        ..Lost::gone(Sent::Perhaps { stale: false })
    }
}
