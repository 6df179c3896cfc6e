//! What do people see? Computers with their network, who waits to be accepted, and what was ordered.
//!
//! Pages are made on the server, need no script, and show nothing that was not escaped. Everybody
//! signs in as `admin` with the password of the settings; without a password nobody gets in. What
//! changes something must come from a page of our own. A stub shows a page about the edge instead.

use axum::Router;
use axum::extract::{Form, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use futures_util::FutureExt;
use serde::Deserialize;

use self::page::Frame;
use super::Service;
use super::packages::Packages;
use crate::error::Error;
use crate::front;
use crate::serve::{Ground, Live};
use crate::store::{self, Store};

mod chart;
mod demo;
mod guard;
mod packages;
mod page;
mod repository;

/// The application server: what people open in a browser.
pub const SERVICE: Service = Service {
    name: "appserver",
    routes: demo::routes,
    open: Some(|ground| async { Ok(open(ground)) }.boxed()),
};

/// Computers on one page.
const PAGE_ROWS: i64 = 100;
/// Changes of interfaces and activities that a page shows.
const PAST_ROWS: i64 = 50;
/// Longest form, bytes.
const FORM_BYTES_MAX: usize = 16 * 1024;

const STYLE: &str = include_str!("style.css");

#[derive(Clone)]
struct Desk {
    store: Store,
    packages: Packages,
}

fn open(ground: Ground) -> Live {
    let guard = guard::Guard::new(&ground.settings.appserver.password);
    let settings = &ground.settings.package_search;
    let desk = Desk {
        store: ground.store.clone(),
        packages: Packages::new(&ground.store, &ground.metrics, settings),
    };
    let routes = Router::new()
        .route("/", get(|| async { Redirect::to("/computers") }))
        .route("/computers", get(computers))
        .route("/computers/{id}", get(computer))
        .merge(packages::routes())
        .route("/pending", get(pending))
        .route("/pending/decide", post(decide))
        .layer(axum::extract::DefaultBodyLimit::max(FORM_BYTES_MAX))
        .with_state(desk)
        .fallback(|| async { Error::NotFound })
        .layer(from_fn_with_state(guard, guard::admit))
        .route("/static/style.css", get(style))
        .merge(repository::routes(&ground.settings.repository))
        .layer(axum::middleware::from_fn(shield));
    Live {
        routes: front::around(routes, &ground.worker, &ground.metrics, &ground.store),
        last: None,
    }
}

async fn style() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
    ];
    (headers, STYLE).into_response()
}

/// Tells browsers to run nothing, to frame nothing and to keep nothing.
async fn shield(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let fields = response.headers_mut();
    for (name, value) in [
        (
            "content-security-policy",
            "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; \
             base-uri 'none'",
        ),
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
struct Asked {
    tag: Option<String>,
    #[serde(default)]
    from: u32,
}

async fn computers(
    State(desk): State<Desk>,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Error> {
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    store::page::in_utc(&tx).await?;
    let tag = asked.tag.as_deref().filter(|tag| !tag.is_empty());
    let from = i64::from(asked.from);
    // One more than is shown tells whether there is a next page.
    let rows = store::page::computers(&tx, true, tag, from, PAGE_ROWS + 1).await?;
    let counts = store::page::counts(&tx).await?;
    Ok(page::computers(
        &Frame { counts },
        tag,
        from,
        PAGE_ROWS,
        &rows,
    ))
}

async fn computer(State(desk): State<Desk>, Path(id): Path<String>) -> Result<Html<String>, Error> {
    let id: i64 = id.parse().map_err(|_| Error::NotFound)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    store::page::in_utc(&tx).await?;
    let detail = store::page::computer(&tx, id).await?;
    let computer = page::Computer {
        detail: detail.ok_or(Error::NotFound)?,
        interfaces: store::page::interfaces(&tx, id).await?,
        history: store::page::interface_history(&tx, id, PAST_ROWS).await?,
        traffic: store::page::traffic(&tx, id).await?,
        activities: store::page::activities(&tx, id, PAST_ROWS).await?,
    };
    let counts = store::page::counts(&tx).await?;
    Ok(page::computer(&Frame { counts }, &computer))
}

async fn pending(
    State(desk): State<Desk>,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Error> {
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    store::page::in_utc(&tx).await?;
    let from = i64::from(asked.from);
    let rows = store::page::computers(&tx, false, None, from, PAGE_ROWS).await?;
    let counts = store::page::counts(&tx).await?;
    Ok(page::pending(&Frame { counts }, &rows))
}

#[derive(Deserialize)]
struct Decided {
    id: i64,
    decision: Decision,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Decision {
    Accept,
    Reject,
}

async fn decide(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Form(decided): Form<Decided>,
) -> Result<Response, Error> {
    if !guard::is_ours(&headers) {
        return Err(Error::Denied("a form of another site"));
    }
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    // Somebody else may have decided meanwhile; the page that follows shows what is.
    let changed = match decided.decision {
        Decision::Accept => store::computer::accept(&tx, decided.id).await?,
        Decision::Reject => store::computer::reject(&tx, decided.id).await?,
    };
    store::commit(tx).await?;
    let accepted = matches!(decided.decision, Decision::Accept);
    tracing::info!(computer = decided.id, accepted, changed, "decided");
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, "/pending")]).into_response())
}
