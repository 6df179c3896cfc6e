//! What happens to every request of a service that is written? It gets an identity, is counted and
//! told, and the answer names the worker.
//!
//! `X-Request-ID` of the edge is kept where it is sane and made where there is none. `/health` says
//! whether the worker can do its work, `/metrics` what it counted; the edge lets nobody outside reach
//! the latter.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use tracing::{Instrument, info, info_span};

use crate::metrics::Metrics;
use crate::store::Store;
use crate::stub;
use crate::worker::Worker;

/// The edge's name for a request.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest identity that is kept, bytes.
const REQUEST_ID_MAX: usize = 128;

/// Puts the common behaviour around the routes of a service.
pub fn around(routes: Router, worker: &Worker, metrics: &Metrics, store: &Store) -> Router {
    let health = get(health).with_state((store.clone(), worker.clone()));
    around_with(routes, worker, metrics, health)
}

/// As [`around`], for a service that knows by itself whether it can do its work.
pub fn around_with(
    routes: Router,
    worker: &Worker,
    metrics: &Metrics,
    health: MethodRouter,
) -> Router {
    let own = Router::new()
        .route("/health", health)
        .route("/metrics", get(tell).with_state(metrics.clone()));
    let metrics = Arc::new(metrics.clone());
    let routes = routes
        .merge(own)
        .layer(from_fn_with_state(metrics, identify));
    stub::with_name(routes, worker)
}

async fn health(State((store, worker)): State<(Store, Worker)>) -> Response {
    match store.check().await {
        Ok(()) => format!("ok\n{}", worker.conditions()).into_response(),
        Err(problem) => {
            tracing::warn!(%problem, "not healthy");
            (StatusCode::SERVICE_UNAVAILABLE, "no database\n").into_response()
        }
    }
}

async fn tell(State(metrics): State<Metrics>) -> Response {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4");
    ([(header::CONTENT_TYPE, kind)], metrics.text()).into_response()
}

async fn identify(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers().get(&X_REQUEST_ID));
    let span = info_span!("request", id = %id.to_str().unwrap_or_default());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, time) = (response.status().as_u16(), began.elapsed());
    metrics.answered(status, time);
    #[allow(clippy::cast_possible_truncation)]
    let micros = time.as_micros() as u64;
    info!(parent: &span, %method, path, status, micros, "answered");
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
}

/// The identity that was sent, where it is short and visible ASCII; else a new one.
fn request_id(sent: Option<&HeaderValue>) -> HeaderValue {
    let sane = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=REQUEST_ID_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    sent.filter(sane).cloned().unwrap_or_else(|| {
        let text = format!("{:032x}", fastrand::u128(..));
        HeaderValue::from_str(&text).expect("hexadecimal digits are a field value")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_identity_is_kept() {
        let kept = HeaderValue::from_static("abc-1");
        assert_eq!(request_id(Some(&kept)), kept);
        for wrong in ["", "a b", &"x".repeat(129)] {
            let wrong = HeaderValue::from_str(wrong).expect("a value");
            assert_eq!(request_id(Some(&wrong)).len(), 32);
        }
        assert_ne!(request_id(None), request_id(None));
    }
}
