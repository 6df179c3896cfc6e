//! What does a service answer until it is written? It tells what it saw, or does what the path wishes.
//!
//! Any path is answered with JSON that describes the worker and the request as it arrived. A path
//! whose end is a [`wish`] makes the worker behave that way instead, under any prefix, so that it
//! works through every route of the edge. A WebSocket upgrade on any path gets an echo.

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

use crate::worker::Worker;

mod mirror;
mod reply;
mod websocket;
pub mod wish;

/// Names the worker in every answer: `x-worker: api:9080`.
pub const X_WORKER: HeaderName = HeaderName::from_static("x-worker");

/// The routes of a service that is not written yet.
pub fn routes(worker: &Worker) -> Router {
    with_name(
        Router::new().fallback(answer).with_state(worker.clone()),
        worker,
    )
}

/// The same routes with the worker's name in every answer.
pub fn with_name(routes: Router, worker: &Worker) -> Router {
    let name = HeaderValue::from_str(&worker.label())
        .expect("a service name and a port are visible ASCII");
    routes.layer(axum::middleware::map_response(
        move |mut response: Response| {
            response.headers_mut().insert(X_WORKER, name.clone());
            async move { response }
        },
    ))
}

/// Answers any request as a stub does.
pub async fn answer(
    State(worker): State<Worker>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: Request,
) -> Response {
    if let Ok(upgrade) = upgrade {
        return websocket::echo(upgrade, worker);
    }
    match wish::read(request.uri().path(), request.uri().query()) {
        None => mirror::tell(&worker, request).await,
        Some(wish) => reply::grant(wish, request).await,
    }
}
