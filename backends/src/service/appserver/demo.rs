//! What does the application server show as a stub? A page that shows where a request went.
//!
//! A browser that asks for `/` gets the page; everything else is answered like any stub. The page
//! is one file without a build step.

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::any;
use serde_json::json;

use super::refusal::wants_html;
use crate::map::MAP;
use crate::stub;
use crate::worker::Worker;

const PAGE: &str = include_str!("demo.html");

/// The routes of a stub.
pub fn routes(worker: &Worker) -> Router {
    let routes = Router::new()
        .route("/", any(home))
        .fallback(stub::answer)
        .with_state(worker.clone());
    stub::with_name(routes, worker)
}

async fn home(
    state: State<Worker>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: Request,
) -> Response {
    let reads = request.method() == Method::GET || request.method() == Method::HEAD;
    if upgrade.is_err() && reads && wants_html(request.headers()) {
        let headers = [
            (header::CACHE_CONTROL, "no-store"),
            (header::VARY, "accept"),
        ];
        return (headers, Html(page(&state))).into_response();
    }
    stub::answer(state, upgrade, request).await
}

/// The page with this worker's facts in it. All of them are numbers and names of our own, so
/// nothing needs escaping.
fn page(worker: &Worker) -> String {
    let spans: Vec<_> = MAP
        .iter()
        .map(|span| {
            json!({
                "service": span.service, "first": span.first, "last": span.last,
                "speaks": span.speaks, "path": span.path,
            })
        })
        .collect();
    let facts = json!({
        "service": worker.service,
        "port": worker.address.port(),
        "pid": worker.pid,
        "map": spans,
    });
    PAGE.replace("{{service}}", worker.service)
        .replace("{{port}}", &worker.address.port().to_string())
        .replace("{{pid}}", &worker.pid.to_string())
        .replace("{{facts}}", &facts.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_no_gap_left() {
        let (worker, _stop) = Worker::new("appserver", ([127, 0, 0, 1], 8070).into());
        let page = page(&worker);
        assert!(page.contains("8070") && page.contains("message-system"));
        assert!(!page.contains("{{"));
    }
}
