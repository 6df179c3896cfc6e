//! What is said when a call is not served? One JSON object with a code for programs and a text for
//! people; the log has the reason. Several mistakes of one call are told together.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::domain::query;
use crate::error::Error;
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
    /// Each of several mistakes; none where it is one.
    pub several: Vec<Refusal>,
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
            several: Vec::new(),
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

/// What is wrong with a call, gathered so that all of it is told at once.
#[derive(Debug, Default)]
pub struct Mistakes(Vec<Refusal>);

impl Mistakes {
    /// What was read; where that is a mistake, something in its place, and the mistake is kept.
    pub fn keep<T: Default>(&mut self, read: Answer<T>) -> T {
        read.unwrap_or_else(|mistake| {
            self.0.push(mistake);
            T::default()
        })
    }

    /// Goes on where there were none.
    ///
    /// # Errors
    ///
    /// The only mistake, or `MultiError` with all of them.
    pub fn none(mut self) -> Answer<()> {
        // Two that gathered the same arguments tell the same.
        let mut all: Vec<Refusal> = Vec::new();
        for mistake in self.0.drain(..) {
            let single = match mistake.several.is_empty() {
                true => vec![mistake],
                false => mistake.several,
            };
            for one in single {
                if !all.contains(&one) {
                    all.push(one);
                }
            }
        }
        if all.len() < 2 {
            return all.pop().map_or(Ok(()), Err);
        }
        let told: Vec<&str> = all.iter().map(|one| one.message.as_str()).collect();
        let message = format!("{} mistakes: {}", all.len(), told.join("; "));
        let mut refusal = Refusal::argument("MultiError", message);
        refusal.several = all;
        Err(refusal)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        tracing::info!(code = self.code, message = %self.message, "refused");
        let view = |one: &Self| json!({"error": one.code, "message": one.message});
        let mut said = view(&self);
        if !self.several.is_empty() {
            said["errors"] = self.several.iter().map(view).collect();
        }
        let said = said.to_string();
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

/// Of a call that did not come in.
impl From<Error> for Refusal {
    fn from(problem: Error) -> Self {
        match problem {
            Error::TooLarge(_) => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "TooLarge",
                problem.to_string(),
            ),
            Error::Refused(status, why) => Self::new(status, "TooSlow", why),
            Error::Malformed(_) => Self::argument("InvalidBody", "the body did not arrive"),
            busy => Self::later(&busy.to_string()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mistake_is_told_as_it_is_and_more_are_told_together_each_once() {
        let mut mistakes = Mistakes::default();
        assert_eq!(mistakes.keep(Ok(7)), 7);
        assert_eq!(mistakes.none(), Ok(()));

        let wrong = |name: &str| Refusal::missing(name);
        let mut mistakes = Mistakes::default();
        assert_eq!(mistakes.keep::<i64>(Err(wrong("a"))), 0);
        let one = mistakes.none().expect_err("a mistake");
        assert_eq!((one.code, one.several.len()), ("MissingParameter", 0));

        let mut mistakes = Mistakes::default();
        for name in ["a", "b", "a"] {
            mistakes.keep::<i64>(Err(wrong(name)));
        }
        let two = mistakes.none().expect_err("mistakes");
        assert_eq!(
            (two.status, two.code),
            (StatusCode::BAD_REQUEST, "MultiError")
        );
        assert_eq!(two.several, [wrong("a"), wrong("b")]);
        assert!(two.message.contains("`a`") && two.message.contains("`b`"));

        // Gathered within what is gathered, they stand beside the others.
        let mut outer = Mistakes::default();
        outer.keep::<i64>(Err(two));
        outer.keep::<i64>(Err(wrong("c")));
        let three = outer.none().expect_err("mistakes");
        assert_eq!(three.several, [wrong("a"), wrong("b"), wrong("c")]);
    }
}
