//! Who may see the pages? Whoever knows the password, and nobody where none is set.
//!
//! It is HTTP's Basic scheme (RFC 7617) over the edge's TLS: no session, no cookie. Since browsers
//! send it along whoever asks them to, what changes something is also asked where it comes from.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The user's name.
const USER: &str = "admin";

/// What opens the door. Cheap to clone.
#[derive(Clone)]
pub struct Guard(Option<Arc<str>>);

impl Guard {
    /// For this password; an empty one opens nothing.
    pub fn new(password: &str) -> Self {
        let opens = (!password.is_empty()).then(|| {
            let word = STANDARD.encode(format!("{USER}:{password}"));
            Arc::from(format!("Basic {word}"))
        });
        Self(opens)
    }

    fn opens_for(&self, shown: Option<&HeaderValue>) -> bool {
        let (Some(right), Some(shown)) = (&self.0, shown) else {
            return false;
        };
        let (right, shown) = (right.as_bytes(), shown.as_bytes());
        // Without telling by its time how much was right.
        let differ = right.iter().zip(shown).fold(0, |all, (a, b)| all | (a ^ b));
        right.len() == shown.len() && differ == 0
    }
}

/// Lets in who shows the password, and asks for it otherwise.
pub async fn admit(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION);
    if guard.opens_for(shown) {
        return next.run(request).await;
    }
    if guard.0.is_none() {
        let said = "nobody may sign in: appserver.password is not set\n";
        return (StatusCode::FORBIDDEN, said).into_response();
    }
    if shown.is_some() {
        tracing::warn!("a wrong password");
    }
    let ask = HeaderValue::from_static("Basic realm=\"appserver\", charset=\"UTF-8\"");
    let asked = [(header::WWW_AUTHENTICATE, ask)];
    (StatusCode::UNAUTHORIZED, asked, "sign in\n").into_response()
}

/// Does a request that changes something come from a page of ours? Browsers say where it comes from;
/// a program that says nothing was not lured into asking.
pub fn is_ours(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    match (text("origin"), text("sec-fetch-site")) {
        (Some(origin), _) => {
            let from = origin.split_once("://").map(|(_, authority)| authority);
            from.is_some() && from == text("host")
        }
        (None, Some(site)) => site == "same-origin" || site == "none",
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_opens() {
        let shown = |user: &str| {
            let word = STANDARD.encode(user);
            HeaderValue::from_str(&format!("Basic {word}")).expect("a value")
        };
        let guard = Guard::new("secret");
        assert!(guard.opens_for(Some(&shown("admin:secret"))));
        for wrong in ["admin:secre", "admin:secret1", "root:secret", "", "admin:"] {
            assert!(!guard.opens_for(Some(&shown(wrong))), "{wrong}");
        }
        assert!(!guard.opens_for(None));
        assert!(!Guard::new("").opens_for(Some(&shown("admin:"))));
    }

    #[test]
    fn a_form_of_another_site_is_not_ours() {
        for (fields, ours) in [
            (vec![("host", "a")], true),
            (vec![("host", "a:8"), ("origin", "https://a:8")], true),
            (vec![("host", "a"), ("origin", "https://b")], false),
            (vec![("host", "a"), ("origin", "null")], false),
            (vec![("origin", "https://a")], false),
            (vec![("host", "a"), ("sec-fetch-site", "same-origin")], true),
            (vec![("host", "a"), ("sec-fetch-site", "cross-site")], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            assert_eq!(is_ours(&headers), ours, "{fields:?}");
        }
    }
}
