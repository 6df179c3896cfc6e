//! What do people see? Computers with their network, who waits to be accepted, and what was ordered.
//!
//! Pages are made on the server and show nothing that was not escaped. They need no script; the one that there is
//! fetches a page anew when the broker told that what it shows has changed. People sign in
//! as the persons of the API. What changes something must come from a page of their own session. A stub
//! shows a page about the edge instead.

use axum::Router;
use axum::extract::{Query, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use futures_util::FutureExt;
use serde::Deserialize;

use self::page::Frame;
use super::Service;
use super::packages::Packages;
use super::sign_in::Judge;
use crate::archive;
use crate::error::Error;
use crate::front;
use crate::serve::{Ground, Live};
use crate::store::person::Session;
use crate::store::{self, Store, Tx};

mod activities;
mod chart;
mod computers;
mod demo;
mod guard;
mod hosts;
mod live;
mod packages;
mod page;
mod pending;
mod refusal;
mod repository;

/// The application server: what people open in a browser.
pub const SERVICE: Service = Service {
    name: "appserver",
    routes: demo::routes,
    open: Some(|ground| async { Ok(open(ground)) }.boxed()),
    check: Some(archive::check),
};

/// Computers on one page.
const PAGE_ROWS: i64 = 100;
/// Changes of interfaces and activities that a page shows.
const PAST_ROWS: i64 = 50;
/// Longest form, bytes.
const FORM_BYTES_MAX: usize = 16 * 1024;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("live.js");
const ICON: &str = include_str!("icon.svg");

#[derive(Clone)]
struct Desk {
    store: Store,
    judge: Judge,
    packages: Packages,
}

fn open(ground: Ground) -> Live {
    let search = &ground.settings.package_search;
    let desk = Desk {
        store: ground.store.clone(),
        judge: Judge::new(ground.store.clone()),
        packages: Packages::new(&ground.store, &ground.metrics, search),
    };
    let ears = live::Ears::new(&ground);
    let routes = Router::new()
        .route("/", get(|| async { Redirect::to("/computers") }))
        .merge(computers::routes())
        .merge(packages::routes())
        .merge(pending::routes())
        .merge(activities::routes())
        .merge(hosts::routes())
        .route("/logout", post(guard::log_out))
        .route("/live", get(live::listen).with_state(ears))
        .fallback(|| async { Error::NotFound })
        .layer(from_fn_with_state(desk.clone(), guard::admit))
        .route("/login", get(login).post(guard::log_in))
        .layer(axum::extract::DefaultBodyLimit::max(FORM_BYTES_MAX))
        .with_state(desk)
        .layer(axum::middleware::from_fn(refusal::dress))
        .route(page::STYLE, get(|| async { kept("text/css", STYLE) }))
        .route(
            page::LIVE,
            get(|| async { kept("text/javascript", SCRIPT) }),
        )
        .route(page::ICON, get(|| async { kept("image/svg+xml", ICON) }))
        .merge(repository::routes(&ground.settings.repository))
        .layer(axum::middleware::from_fn(shield));
    Live {
        routes: front::around(routes, &ground.worker, &ground.metrics, &ground.store),
        last: None,
    }
}

/// A file that browsers may keep for a while.
fn kept(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, format!("{kind}; charset=utf-8")),
        (header::CACHE_CONTROL, "public, max-age=3600".to_owned()),
    ];
    (headers, text).into_response()
}

/// What browsers may do with a page: run the one script of ours, which is named by this host, show pictures and
/// style of this host, and nothing else.
fn policy(host: Option<&HeaderValue>) -> HeaderValue {
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let sane = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    let (script, socket) = match !host.is_empty() && host.bytes().all(sane) {
        true => (
            format!("{host}{}", page::LIVE),
            format!("'self' wss://{host}"),
        ),
        false => ("'none'".to_owned(), "'none'".to_owned()),
    };
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; script-src {script}; connect-src {socket}; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    );
    // Letters, digits and the signs above are a field value.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// Tells browsers to run nothing of others, to frame nothing and to keep nothing.
async fn shield(request: Request, next: Next) -> Response {
    let policy = policy(request.headers().get(header::HOST));
    let mut response = next.run(request).await;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_SECURITY_POLICY, policy);
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
    ] {
        fields.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    let kept = fields.contains_key(header::CACHE_CONTROL);
    if !kept {
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

#[derive(Deserialize)]
struct Back {
    #[serde(default)]
    next: String,
}

async fn login(Query(back): Query<Back>) -> Html<String> {
    page::login(&back.next, "", None)
}

/// What stands around the pages of a session.
async fn frame<'a>(tx: &Tx<'_>, session: &'a Session) -> Result<Frame<'a>, Error> {
    let counts = store::page::counts(tx, session.person.account).await?;
    Ok(Frame { counts, session })
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    from: u32,
}

/// On to another page, which is fetched.
fn to(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_one_script_and_nothing_that_a_client_wrote() {
        let told = |host: &'static str| {
            let policy = policy(Some(&HeaderValue::from_static(host)));
            policy.to_str().expect("visible ASCII").to_owned()
        };
        let ours = told("edge.test:8443");
        assert!(
            ours.contains("script-src edge.test:8443/static/live.js;"),
            "{ours}"
        );
        for wrong in ["", "*", "a; script-src *", "a b", "'unsafe-inline'"] {
            let policy = told(wrong);
            assert!(
                policy.contains("script-src 'none'; connect-src 'none'"),
                "{policy}"
            );
        }
    }
}
