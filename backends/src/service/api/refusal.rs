//! What is said when a call is not served? One JSON object with a code for programs and a text for
//! people; the log has the reason.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::domain::query;
use crate::secret::SecretError;
use crate::service::sign_in::Denied;
use crate::store::StoreError;

/// A call that is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: StatusCode,
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// What a handler answers.
pub type Answer<T> = Result<T, Refusal>;

impl Refusal {
    /// Another kind.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            code,
            message,
        }
    }

    /// An argument is not what it should be.
    pub fn argument(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// An argument is missing.
    pub fn missing(name: &str) -> Self {
        let message = format!("the parameter `{name}` is missing");
        Self::argument("MissingParameter", message)
    }

    /// There is no such thing.
    pub fn unknown(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// Nobody of ours asks.
    pub fn nobody(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "AuthFailure", message)
    }

    /// Somebody asks for what is not theirs.
    pub fn not_theirs() -> Self {
        let message = "your role does not allow this";
        Self::new(StatusCode::FORBIDDEN, "Unauthorised", message)
    }

    /// Not now.
    pub fn later(message: &str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            message,
        )
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        tracing::info!(code = self.code, message = %self.message, "refused");
        let said = json!({"error": self.code, "message": self.message}).to_string();
        let kind = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (self.status, kind, said).into_response();
        let fields = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            fields.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            fields.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<StoreError> for Refusal {
    fn from(problem: StoreError) -> Self {
        tracing::error!(%problem, "not served");
        Self::later("try again later")
    }
}

impl From<SecretError> for Refusal {
    fn from(problem: SecretError) -> Self {
        tracing::error!(%problem, "a secret is not to be had");
        Self::later("try again later")
    }
}

impl From<query::Wrong> for Refusal {
    fn from(wrong: query::Wrong) -> Self {
        Self::argument("InvalidQuery", wrong.to_string())
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Wrong => Self::new(
                StatusCode::UNAUTHORIZED,
                "InvalidCredentials",
                denied.to_string(),
            ),
            Denied::Locked => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "TooManyTries",
                denied.to_string(),
            ),
            Denied::Busy => Self::later("too many sign in at once: try again"),
            Denied::Store(problem) => problem.into(),
        }
    }
}
