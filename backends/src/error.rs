//! What can fail, and what is said about it? The client gets a status and a short text, the log the
//! reason.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::secret::SecretError;
use crate::store::StoreError;

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database did not do its part; the client may try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A secret could not be told; the client may try again.
    #[error("a secret is not to be had: {0}")]
    Secret(#[from] SecretError),
    /// The request is not what it should be.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The request is larger than it may be.
    #[error("the body has more than {0} bytes")]
    TooLarge(usize),
    /// Too much to do.
    #[error("too many requests at once")]
    Busy,
    /// There is no such thing.
    #[error("not found")]
    NotFound,
    /// Refused, with a reason that the client is told: whoever uploads can mend it.
    #[error("refused with {0}: {1}")]
    Refused(StatusCode, String),
    /// The file system did not do its part.
    #[error("the file system: {0}")]
    Files(#[from] std::io::Error),
    /// Not for this client.
    #[error("not allowed: {0}")]
    Denied(&'static str),
}

/// Why somebody was denied, in words of ours: beside the answer, for who tells more of it than programs are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Because(pub &'static str);

impl Error {
    fn said(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Refused(status, _) => (*status, ""),
            Self::Store(_) | Self::Secret(_) | Self::Files(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "try again later\n")
            }
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed request\n"),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too large\n"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy\n"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not found\n"),
            Self::Denied(_) => (StatusCode::FORBIDDEN, "not allowed\n"),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, text) = self.said();
        match &self {
            Self::Store(_) | Self::Secret(_) | Self::Files(_) => {
                tracing::error!(problem = %self, "not served");
            }
            Self::Refused(status, why) => {
                tracing::warn!(problem = %self, "refused");
                return (*status, format!("{why}\n")).into_response();
            }
            Self::NotFound => {}
            other => tracing::warn!(problem = %other, "refused"),
        }
        let mut response = (status, text).into_response();
        if let Self::Denied(why) = self {
            response.extensions_mut().insert(Because(why));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let wait = HeaderValue::from_static("5");
            response.headers_mut().insert(header::RETRY_AFTER, wait);
        }
        response
    }
}
