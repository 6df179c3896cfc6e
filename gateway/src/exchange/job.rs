//! What is tried, and what can come of it? The job that every attempt of an exchange shares, and the two ways an attempt
//! ends: before its response began, or after.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use http::Method;

use crate::config::model::{ListenerId, Statuses};
use crate::exchange::failure::Failure;
use crate::exchange::fields::Made;
use crate::exchange::flow::{Cause, Pace};
use crate::exchange::forward::{After, Passage};
use crate::http1::head::Limits;
use crate::io::Stream;
use crate::io::timer::Timers;
use crate::message::Request;
use crate::plan::Packer;
use crate::pool::{Outcome, WorkerId};
use crate::shard::Shared;
use crate::shard::tally::Tally;
use crate::upstream::Ticket;

/// A connection to a worker.
pub enum Connection {
    /// HTTP/1.1, and whether it was used before.
    Http1(Rc<Stream>, bool),
    /// A place in an HTTP/2 session.
    Http2(SendRequest<Bytes>, Ticket),
}

/// What is the same for every attempt of an exchange.
pub struct Job<'a> {
    /// The request.
    pub request: &'a Request,
    /// What the worker is told beside it.
    pub passage: Passage<'a>,
    /// The worker that the client's cookie names, in a sticky pool.
    pub home: Option<WorkerId>,
    /// A client that ends its side while it waits for the response's head has left.
    pub abort_on_close: bool,
    /// The client was told to send its body.
    pub told_to_go_on: bool,
    /// What the route changes about the response.
    pub made: Option<&'a Made<'a>>,
    /// Statuses of workers whose answers are replaced by ours.
    pub intercepted: &'a [Statuses],
    /// How the response is compressed, if it is one of those that are.
    pub packer: Option<Packer<'a>>,
    /// The request was a HEAD.
    pub to_head: bool,
    /// The client speaks gRPC.
    pub grpc: bool,
    /// A WebSocket is asked for, and the pool can have it; the key is ours where the client has none.
    pub upgrade: Option<Option<String>>,
    /// Bounds on the worker's head.
    pub limits: Limits,
    /// Bounds in time and size.
    pub bounds: Bounds,
    /// The data thread's deadlines.
    pub timers: &'a Timers,
    /// Knows whether the gateway stops.
    pub shared: &'a Shared,
    /// What is counted.
    pub tally: &'a Tally,
    /// Where the client came in.
    pub listener: ListenerId,
}

/// The time and size bounds of an exchange. Zero means none.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For the response's head, from the end of the request.
    pub response_timeout: Duration,
    /// Of the request's direction.
    pub request_pace: Pace,
    /// Of the response's direction.
    pub response_pace: Pace,
    /// A tunnel without a byte either way.
    pub tunnel_timeout: Duration,
    /// For the rest of a tunnel once one direction has ended.
    pub half_closed_timeout: Duration,
    /// For the client to take a head.
    pub patience: Duration,
}

/// What a worker may have seen of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Not a byte.
    Nothing,
    /// It said that it did not process it (RFC 9113 sections 6.8 and 8.7).
    Refused,
    /// Perhaps all; `stale` when a kept connection broke without a byte of an answer.
    Perhaps {
        /// The connection was used before.
        stale: bool,
    },
}

/// An attempt that failed before its response began.
#[derive(Debug)]
pub struct Lost {
    /// Why.
    pub failure: Failure,
    /// What the worker may have seen.
    pub sent: Sent,
    /// What the pool shall hear; nothing where the client is to blame.
    pub outcome: Option<Outcome>,
    /// The code with which the worker reset the stream.
    pub reset: Option<Reason>,
}

impl Lost {
    pub(super) fn client(cause: &Cause) -> Lost {
        let failure = match cause {
            Cause::Timeout => Failure::ClientTimeout,
            Cause::TooLarge => Failure::BodyTooLarge,
            Cause::Framing(_) => Failure::BadBody,
            Cause::Stopping => Failure::Stopping,
            Cause::Io(_) | Cause::Truncated | Cause::Reset(_) | Cause::Lost => Failure::ClientGone,
        };
        Lost {
            failure,
            sent: Sent::Perhaps { stale: false },
            outcome: None,
            reset: None,
        }
    }

    pub(super) fn worker(failure: Failure, sent: Sent, outcome: Outcome) -> Lost {
        Lost {
            failure,
            sent,
            outcome: Some(outcome),
            reset: None,
        }
    }

    pub(super) fn gone(sent: Sent) -> Lost {
        Lost::worker(Failure::WorkerLost, sent, Outcome::ConnectionLost)
    }

    pub(super) fn unsent() -> Lost {
        Lost {
            failure: Failure::Connect,
            sent: Sent::Nothing,
            outcome: None,
            reset: None,
        }
    }

    /// Another worker may do better; a client's own fault stays one, and who was slow once is not asked twice.
    pub(super) fn outcome_allows_retry(&self) -> bool {
        match self.failure {
            Failure::WorkerLost | Failure::Connect => true,
            Failure::WorkerTimeout => self.sent == Sent::Nothing,
            _ => false,
        }
    }
}

/// Whether sending the request again cannot do its work twice.
pub(super) fn safe(lost: &Lost, request: &Request) -> bool {
    match lost.sent {
        Sent::Nothing | Sent::Refused => true,
        Sent::Perhaps { .. } => [
            Method::GET,
            Method::HEAD,
            Method::OPTIONS,
            Method::PUT,
            Method::DELETE,
        ]
        .contains(&request.method),
    }
}

/// An attempt whose response began.
pub struct Done {
    /// What the client saw.
    pub status: u16,
    /// `None` when all went well.
    pub failure: Option<Failure>,
    /// What the client's connection does next.
    pub after: After,
    /// The connection, where the worker allows another request on it.
    pub reusable: Option<Rc<Stream>>,
    /// The request body was not read whole.
    pub unread: bool,
}

impl Done {
    /// The response began and did not come to its end.
    pub(super) fn failed(status: u16, failure: Failure) -> Done {
        Done {
            status,
            failure: Some(failure),
            after: After::Close,
            reusable: None,
            unread: true,
        }
    }
}
