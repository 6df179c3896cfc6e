//! How does a page say no? To people with what went wrong and what to do next, in place of the one line that programs get.
//!
//! Whatever is refused below these routes comes by here: by us, or by what reads paths, queries and forms. It asks the
//! database for nothing, which may be why there is something to tell.

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use maud::{Markup, html};

use super::guard::{STRANGE, own_path};
use super::page::{self, Refused};
use crate::error::Because;
use crate::service::session_cookie::cookie;
use crate::store::person::Session;

/// Seconds after which a page that is not to be had is asked for again, where nothing else was said.
const AGAIN_AFTER: u32 = 5;
/// Screens that lost their page at one moment do not come back at one: so many seconds are between the first and the last.
const SPREAD: u32 = 5;

/// Puts a refusal into a page, for whoever asks for one.
pub async fn dress(request: Request, next: Next) -> Response {
    // What opens a socket shows nobody anything.
    let page = wants_html(request.headers()) && !request.headers().contains_key(header::UPGRADE);
    let (head, body) = request.into_parts();
    let asked = page.then(|| Asked::by(&head));
    let response = next.run(Request::from_parts(head, body)).await;
    match asked {
        Some(asked) if is_one(&response) && is_bare(&response) => asked.told(response),
        _ => response,
    }
}

/// Is it an answer that refuses?
pub fn is_one(response: &Response) -> bool {
    response.status().is_client_error() || response.status().is_server_error()
}

/// Is it no page yet?
fn is_bare(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

/// Does somebody look for a page? Programs do not say so.
pub fn wants_html(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().any(|value| {
        let text = value.to_str().unwrap_or_default();
        text.contains("text/html")
    })
}

/// What was asked, as far as it matters when it is refused.
struct Asked {
    /// Nothing was to be changed.
    reads: bool,
    /// The path, with its query.
    path: String,
    /// The page of ours from which it was asked.
    from: Option<String>,
    /// A session was shown.
    shown: bool,
}

impl Asked {
    fn by(head: &Parts) -> Self {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        Self {
            reads: matches!(head.method, Method::GET | Method::HEAD),
            path: own_path(path).to_owned(),
            from: came_from(&head.headers),
            shown: cookie(&head.headers).is_some(),
        }
    }

    /// The same refusal as a page.
    fn told(&self, response: Response) -> Response {
        let (mut head, _) = response.into_parts();
        let session = head.extensions.remove::<Session>();
        let why = head.extensions.get::<Because>().copied();
        let said = said(head.status, why, self.reads);
        let again = (self.reads && said.passes).then(|| {
            let wait = head.headers.get(header::RETRY_AFTER);
            let wait = wait.and_then(|wait| wait.to_str().ok()?.parse().ok());
            wait.unwrap_or(AGAIN_AFTER) + fastrand::u32(0..SPREAD)
        });
        let who = match &session {
            Some(session) => Refused::Known(session),
            None if self.shown => Refused::Shown,
            None => Refused::Stranger,
        };
        let body = html! {
            section class="card doubt" {
                p { (said.what) }
                @if again.is_some() { p { "It is tried again by itself." } }
                div class="orders" { (self.ways(&who, &said)) }
            }
        };
        let page = page::refusal(&who, said.title, &body, again).0;
        head.headers.remove(header::CONTENT_LENGTH);
        let kind = HeaderValue::from_static("text/html; charset=utf-8");
        head.headers.insert(header::CONTENT_TYPE, kind);
        Response::from_parts(head, Body::from(page))
    }

    /// Where to go from here.
    fn ways(&self, who: &Refused<'_>, said: &Said) -> Markup {
        let back = self.from.as_deref().filter(|from| *from != self.path);
        html! {
            @if self.reads && said.passes { a class="button" href=(self.path) { "Try again" } }
            @match (back, who) {
                (Some(back), _) => { a class="button" rel="prev" href=(back) { "Back" } }
                (None, Refused::Stranger) => { a class="button" href="/login" { "Sign in" } }
                (None, _) => { a class="button" href="/computers" { "All computers" } }
            }
        }
    }
}

/// The path of the page that a browser came from, where it is one of this host.
fn came_from(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name)?.to_str().ok();
    let (_, address) = text(header::REFERER)?.split_once("://")?;
    let path = address.strip_prefix(text(header::HOST)?)?;
    let path = path.split('#').next().unwrap_or_default();
    path.starts_with('/').then(|| own_path(path).to_owned())
}

/// What is told of a refusal.
struct Said {
    title: &'static str,
    what: &'static str,
    /// It is over by and by.
    passes: bool,
}

fn said(status: StatusCode, why: Option<Because>, reads: bool) -> Said {
    let (title, what) = match status {
        StatusCode::FORBIDDEN if why == Some(Because(STRANGE)) => (
            "Nothing was changed",
            "This form is not of the session that you are in now: its page was opened before you signed in again, or \
             it is of another site. Go back, where it is made anew, and do it once more.",
        ),
        StatusCode::FORBIDDEN => (
            "Not allowed",
            "It is not for your role. An administrator of your account may do it, or give you the role.",
        ),
        StatusCode::NOT_FOUND => (
            "Not found",
            "There is no such page, or what it showed is gone.",
        ),
        StatusCode::METHOD_NOT_ALLOWED => (
            "Nothing to see here",
            "Forms are sent to this address; there is no page.",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => (
            "Too large",
            "What was sent is larger than it may be. Nothing was changed.",
        ),
        status if status.is_server_error() && reads => (
            "Not to be had just now",
            "Something that this page needs is away or has too much to do.",
        ),
        status if status.is_server_error() => (
            "Not done, as far as is known",
            "Something that is needed is away or has too much to do. Go back and look whether it was done before you \
             do it once more.",
        ),
        _ => (
            "Not understood",
            "What was asked is not what this page takes. Nothing was changed.",
        ),
    };
    Said {
        title,
        what,
        passes: status.is_server_error(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_of_this_host_is_gone_back_to() {
        for (from, back) in [
            (
                "https://edge.test:8443/pending?from=100",
                Some("/pending?from=100"),
            ),
            ("https://edge.test:8443/", Some("/")),
            ("https://edge.test:8443", None),
            ("https://edge.test:84430/pending", None),
            ("https://evil.test/pending", None),
            ("https://edge.test:8443//evil.test", Some("/")),
            ("edge.test:8443/pending", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("edge.test:8443"));
            headers.insert(header::REFERER, HeaderValue::from_static(from));
            assert_eq!(came_from(&headers).as_deref(), back, "{from}");
        }
    }

    #[tokio::test]
    async fn a_refusal_keeps_its_status_and_fields_and_shows_what_was_asked_escaped() {
        let asked = Asked {
            reads: true,
            path: "/a?b=\"><script>".to_owned(),
            from: Some("/c?d=\"><script>".to_owned()),
            shown: true,
        };
        let mut bare = Response::new(Body::from("try again later\n"));
        *bare.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        let wait = HeaderValue::from_static("60");
        bare.headers_mut().insert(header::RETRY_AFTER, wait.clone());
        bare.headers_mut().insert(header::CONTENT_LENGTH, 16.into());
        let page = asked.told(bare);
        assert_eq!(page.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(page.headers().get(header::RETRY_AFTER), Some(&wait));
        assert_eq!(page.headers().get(header::CONTENT_LENGTH), None);
        let text = axum::body::to_bytes(page.into_body(), 1 << 20).await;
        let text = String::from_utf8(text.expect("it is in memory").into()).expect("text");
        assert!(!text.contains("<script"), "{text}");
        let again = text.split("http-equiv=\"refresh\" content=\"").nth(1);
        let again = again.and_then(|rest| rest.split('"').next()?.parse::<u32>().ok());
        assert!(
            again.is_some_and(|again| (60..65).contains(&again)),
            "{text}"
        );
    }

    #[test]
    fn what_changes_something_is_not_said_to_be_tried_again_by_itself() {
        let post = said(StatusCode::SERVICE_UNAVAILABLE, None, false);
        assert!(post.what.contains("look whether it was done"));
        let role = said(
            StatusCode::FORBIDDEN,
            Some(Because("not in this role")),
            false,
        );
        let form = said(StatusCode::FORBIDDEN, Some(Because(STRANGE)), false);
        assert!(role.title != form.title && form.what.contains("signed in again"));
    }
}
