//! Who may see the pages? The API's persons, signed in by e-mail address and password.
//!
//! A session is a cookie that scripts cannot read and other sites cannot send; the database knows it by
//! its digest alone. What changes something is asked where it comes from, and shows a word that only
//! pages of this session hold.

use axum::extract::{Form, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{Desk, page, refusal};
use crate::domain::person::{Person, Role};
use crate::error::Error;
use crate::secret::random;
pub use crate::service::session_cookie::is_ours;
use crate::service::session_cookie::{COOKIE, cookie, digest_of};
use crate::service::sign_in::Denied;
use crate::store;
use crate::store::person::Session;

/// The field of every form that changes something.
pub const FORM_TOKEN: &str = "form_token";
/// The field of a form by which somebody says that they are sure.
pub const SURE: &str = "sure";

/// Why a form is refused that a page of another session or site holds.
pub const STRANGE: &str = "a form of another site or session";
/// Longest path of ours that somebody is sent to or shown because a request named it, bytes.
const PATH_BYTES_MAX: usize = 2048;

/// Lets in who is signed in; others are shown where to do that.
pub async fn admit(State(desk): State<Desk>, mut request: Request, next: Next) -> Response {
    let session = match session(&desk, request.headers()).await {
        Ok(session) => session,
        Err(problem) => return problem.into_response(),
    };
    if let Some(session) = session {
        request.extensions_mut().insert(session.clone());
        let mut response = next.run(request).await;
        // The page that tells of it stands in the session, too.
        if refusal::is_one(&response) {
            response.extensions_mut().insert(session);
        }
        return response;
    }
    let reads = request.method() == Method::GET;
    let back = request.uri().path_and_query().filter(|_| reads);
    let back = back.map_or("/", |back| own_path(back.as_str()));
    let back = utf8_percent_encode(back, NON_ALPHANUMERIC);
    Redirect::to(&format!("/login?next={back}")).into_response()
}

async fn session(desk: &Desk, headers: &HeaderMap) -> Result<Option<Session>, Error> {
    let Some(cookie) = cookie(headers) else {
        return Ok(None);
    };
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    Ok(store::person::session(&tx, &digest_of(cookie)).await?)
}

/// What a form of ours says besides its own fields.
#[derive(Deserialize)]
pub struct Shown {
    /// The word of the session.
    #[serde(default)]
    pub form_token: String,
}

/// Refuses a change that does not come from a page of this session, or by whoever may not make it.
///
/// # Errors
///
/// It does not, or they may not.
pub fn check<'a>(
    session: &'a Session,
    headers: &HeaderMap,
    form_token: &str,
    role: Role,
) -> Result<&'a Person, Error> {
    let (right, shown) = (session.form_token.as_bytes(), form_token.as_bytes());
    let same = aws_lc_rs::constant_time::verify_slices_are_equal(right, shown).is_ok();
    if !same || !is_ours(headers) {
        return Err(Error::Denied(STRANGE));
    }
    may(session, role)?;
    Ok(&session.person)
}

/// Refuses whoever may not do what this role is needed for.
///
/// # Errors
///
/// They may not.
pub fn may(session: &Session, role: Role) -> Result<(), Error> {
    match session.person.role >= role {
        true => Ok(()),
        false => Err(Error::Denied("not in this role")),
    }
}

/// What somebody who signs in says.
#[derive(Deserialize)]
pub struct Said {
    email: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// `POST /login`
pub async fn log_in(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Form(said): Form<Said>,
) -> Result<Response, Error> {
    if !is_ours(&headers) {
        return Err(Error::Denied(STRANGE));
    }
    let person = match desk.judge.person(said.email.trim(), &said.password).await {
        Ok(person) => person,
        Err(Denied::Store(problem)) => return Err(problem.into()),
        Err(denied) => {
            let (status, told) = match denied {
                Denied::Busy => (StatusCode::SERVICE_UNAVAILABLE, denied.to_string()),
                Denied::Locked => (StatusCode::TOO_MANY_REQUESTS, denied.to_string()),
                _ => (StatusCode::FORBIDDEN, denied.to_string()),
            };
            let page = page::login(&said.next, &said.email, Some(&told));
            return Ok((status, page).into_response());
        }
    };
    let cookie = URL_SAFE_NO_PAD.encode(random::<32>()?);
    let form_token = URL_SAFE_NO_PAD.encode(random::<18>()?);
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    store::person::begin_session(&tx, person.id, &digest_of(&cookie), &form_token).await?;
    store::commit(tx).await?;
    tracing::info!(person = person.id, "signed in");
    Ok(with_cookie(&said.next, &cookie, 12 * 3600))
}

/// `POST /logout`
pub async fn log_out(
    State(desk): State<Desk>,
    axum::Extension(session): axum::Extension<Session>,
    headers: HeaderMap,
    Form(shown): Form<Shown>,
) -> Result<Response, Error> {
    check(&session, &headers, &shown.form_token, Role::Viewer)?;
    if let Some(cookie) = cookie(&headers) {
        let mut connection = desk.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        store::person::end_session(&tx, &digest_of(cookie)).await?;
        store::commit(tx).await?;
    }
    Ok(with_cookie("/login", "", 0))
}

/// Sends on to a page of ours, with the cookie.
fn with_cookie(next: &str, cookie: &str, seconds: u32) -> Response {
    let field =
        format!("{COOKIE}={cookie}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax");
    let mut response =
        (StatusCode::SEE_OTHER, [(header::LOCATION, own_path(next))]).into_response();
    if let Ok(field) = HeaderValue::from_str(&field) {
        response.headers_mut().insert(header::SET_COOKIE, field);
    }
    response
}

/// A path on this very site, whatever somebody wrote into a link; `/` in place of any other, and of one above
/// [`PATH_BYTES_MAX`].
pub fn own_path(next: &str) -> &str {
    let plain = next.len() <= PATH_BYTES_MAX
        && next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains('\\')
        && next.bytes().all(|byte| byte.is_ascii_graphic());
    if plain { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for (next, path) in [
            ("/computers?tag=a", "/computers?tag=a"),
            ("", "/"),
            ("//evil.test", "/"),
            ("/\\evil.test", "/"),
            ("https://evil.test", "/"),
            ("/a\r\nSet-Cookie: x", "/"),
        ] {
            assert_eq!(own_path(next), path, "{next:?}");
        }
        assert_eq!(own_path(&format!("/{}", "a".repeat(3000))), "/");
    }
}
