//! What went wrong, whose fault is it, and what does the client see?
//!
//! Promises: one exhaustive table from failure to answer. Client text never names an address or a path.

use crate::http1::head::BadHead;

/// Why an exchange could not be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The head is refused.
    BadHead(BadHead),
    /// The path is refused.
    BadPath,
    /// The authority is refused.
    BadHost,
    /// The configuration denies it with this status.
    Denied(u16),
    /// The route is not for the client's network.
    Network,
    /// The client asks too often; a token is there in so many seconds.
    RateLimited(u16),
    /// Too many exchanges of the route at once.
    RouteFull,
    /// There is no room to keep the request's body.
    BuffersFull,
    /// The process uses as much memory as it may.
    MemoryFull,
    /// The pool is in maintenance.
    Maintenance,
    /// No route matches.
    NoRoute,
    /// The body is longer than the listener or the route allows.
    BodyTooLarge,
    /// The client's body has wrong framing.
    BadBody,
    /// The client stopped sending within its request.
    ClientTimeout,
    /// The client went away.
    ClientGone,
    /// No worker came up in time, or too many requests wait already.
    NoWorker,
    /// Every worker is at its cap, and the queue is full or too slow.
    Busy,
    /// No connection to a worker could be made.
    Connect,
    /// The worker went away before it answered.
    WorkerLost,
    /// The worker's answer is no HTTP.
    BadAnswer,
    /// The worker did not answer in time.
    WorkerTimeout,
    /// The worker answered with an error that is replaced by ours.
    Intercepted {
        /// Its status.
        status: u16,
        /// Its `Retry-After`, in seconds.
        retry_after: Option<u16>,
    },
    /// There is no such file in the folder of the route.
    NoFile,
    /// Only GET and HEAD have a meaning for files.
    NoMethod,
    /// The file system fails.
    FileBroken,
    /// The protocol asked for cannot reach this pool.
    NotImplemented,
    /// The gateway is stopping and the request was not begun.
    Stopping,
}

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// A short sentence for the body.
    pub text: &'a str,
    /// Seconds of `Retry-After`, where trying again can help.
    pub retry_after: Option<u16>,
    /// The same on gRPC.
    pub grpc: GrpcStatus,
}

/// The gRPC statuses that the gateway gives. PERMISSION_DENIED or UNIMPLEMENTED would switch some fleets' agents off for
/// good, so everything is UNAVAILABLE, which every client tries again, but what the client itself can mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcStatus {
    /// Try again, here or elsewhere.
    Unavailable,
    /// Ask less often.
    ResourceExhausted,
}

impl GrpcStatus {
    /// The number.
    pub fn number(self) -> u8 {
        match self {
            GrpcStatus::Unavailable => 14,
            GrpcStatus::ResourceExhausted => 8,
        }
    }

    /// The number, as `grpc-status` has it.
    pub fn code(self) -> &'static str {
        match self {
            GrpcStatus::Unavailable => "14",
            GrpcStatus::ResourceExhausted => "8",
        }
    }
}

impl Failure {
    /// What the client sees.
    pub fn answer(self) -> Answer<'static> {
        let answer = |status, text| Answer {
            status,
            text,
            retry_after: None,
            grpc: GrpcStatus::Unavailable,
        };
        let later = |status, text| Answer {
            status,
            text,
            retry_after: Some(5),
            ..answer(status, text)
        };
        match self {
            Failure::BadHead(bad) => answer(bad.status(), "the request could not be understood"),
            Failure::BadPath => answer(400, "the path could not be understood"),
            Failure::BadHost => answer(400, "the host could not be understood"),
            Failure::Denied(status) => answer(status, "not available here"),
            Failure::Network => answer(403, "not available here"),
            // The one answer that is not UNAVAILABLE on gRPC: who asks too often must not ask again at once.
            Failure::RateLimited(seconds) => Answer {
                retry_after: Some(seconds),
                grpc: GrpcStatus::ResourceExhausted,
                ..answer(429, "too many requests")
            },
            Failure::BuffersFull => Answer {
                grpc: GrpcStatus::ResourceExhausted,
                ..later(503, "too many uploads at once")
            },
            Failure::MemoryFull => later(503, "too much is going on"),
            // The pool has words of its own for it.
            Failure::Maintenance => later(503, "closed for maintenance"),
            Failure::RouteFull => later(503, "too many requests at once"),
            // Never 404: fleet agents read one as an old server and change their ways.
            Failure::NoRoute => later(503, "nothing is served here"),
            Failure::BodyTooLarge => answer(413, "the request body is too large"),
            Failure::BadBody => answer(400, "the request body could not be understood"),
            Failure::ClientTimeout => answer(408, "the request took too long to arrive"),
            Failure::ClientGone => answer(499, "the client went away"),
            Failure::NoWorker => later(503, "no worker is available"),
            Failure::Busy => later(503, "all workers are busy"),
            Failure::Connect => later(503, "no worker could be reached"),
            Failure::WorkerLost => answer(502, "the worker went away"),
            Failure::BadAnswer => answer(502, "the worker's answer could not be understood"),
            Failure::WorkerTimeout => answer(504, "the worker did not answer in time"),
            Failure::Intercepted {
                status,
                retry_after,
            } => Answer {
                retry_after,
                ..answer(status, "the worker answered with an error")
            },
            // The one 404 of our own: an operator who serves a folder means it.
            Failure::NoFile => answer(404, "there is no such file"),
            Failure::NoMethod => answer(405, "only reading is possible here"),
            Failure::FileBroken => answer(500, "the file could not be read"),
            Failure::NotImplemented => answer(501, "this protocol is not available here"),
            Failure::Stopping => later(503, "restarting"),
        }
    }

    /// The word for the access log and the metrics: who ended the exchange and why.
    pub fn word(self) -> &'static str {
        match self {
            Failure::BadHead(_) => "bad_head",
            Failure::BadPath => "bad_path",
            Failure::BadHost => "bad_host",
            Failure::Denied(_) | Failure::Network => "denied",
            Failure::RateLimited(_) => "rate_limited",
            Failure::RouteFull => "route_full",
            Failure::BuffersFull => "buffers_full",
            Failure::MemoryFull => "memory_full",
            Failure::Maintenance => "maintenance",
            Failure::NoRoute => "no_route",
            Failure::BodyTooLarge => "body_too_large",
            Failure::BadBody => "bad_body",
            Failure::ClientTimeout => "client_timeout",
            Failure::ClientGone => "client_gone",
            Failure::NoWorker => "no_worker",
            Failure::Busy => "busy",
            Failure::Connect => "connect",
            Failure::WorkerLost => "worker_lost",
            Failure::BadAnswer => "bad_answer",
            Failure::WorkerTimeout => "worker_timeout",
            Failure::Intercepted { .. } => "intercepted",
            Failure::NoFile => "no_file",
            Failure::NoMethod => "no_method",
            Failure::FileBroken => "file_broken",
            Failure::NotImplemented => "not_implemented",
            Failure::Stopping => "stopping",
        }
    }

    /// What the word does not say; empty where it says it all. Never a peer's own words.
    pub fn detail(self) -> &'static str {
        match self {
            Failure::BadHead(bad) => bad.cause(),
            _ => "",
        }
    }

    /// Whether the client's connection can carry on after the answer: not when its bytes are in doubt.
    pub fn keeps_connection(self) -> bool {
        matches!(
            self,
            Failure::Denied(_)
                | Failure::Network
                | Failure::RateLimited(_)
                | Failure::RouteFull
                | Failure::BuffersFull
                | Failure::Maintenance
                | Failure::NoRoute
                | Failure::NoWorker
                | Failure::Busy
                | Failure::Connect
                | Failure::WorkerLost
                | Failure::BadAnswer
                | Failure::WorkerTimeout
                | Failure::Intercepted { .. }
                | Failure::NoFile
                | Failure::NoMethod
                | Failure::FileBroken
                | Failure::BadPath
                | Failure::BadHost
                | Failure::NotImplemented
        )
    }
}

#[cfg(test)]
mod tests;
