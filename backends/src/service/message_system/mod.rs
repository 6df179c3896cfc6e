//! How do agents report and get their orders? One POST is one exchange; attachments are fetched apart.
//!
//! An agent takes nothing but 200 for success and tries again after everything else, so nothing is
//! answered before it is stored. Workers keep nothing between requests: any of them may serve any
//! exchange, and one that is killed leaves an exchange done or not begun.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use super::Service;
use crate::bpickle::Limits;
use crate::domain::exchange as said;
use crate::error::Error;
use crate::front;
use crate::metrics::Metrics;
use crate::secret::Secrets;
use crate::serve::{Ground, Live};
use crate::settings::MessageSystem;
use crate::store::{self, Store};
use crate::stub;

mod exchange;
mod keys;
mod report;

/// The message system: where agents report and get their orders.
pub const SERVICE: Service = Service {
    name: "message-system",
    routes: stub::routes,
    open: Some(|ground| async { Ok(open(ground)) }.boxed()),
    check: None,
};

/// Bodies above this are read beside the other requests, bytes.
const ASIDE_BYTES: usize = 256 * 1024;

#[derive(Clone)]
struct Desk {
    store: Store,
    secrets: Secrets,
    metrics: Metrics,
    settings: MessageSystem,
    free: Arc<Semaphore>,
}

fn open(ground: Ground) -> Live {
    let settings = ground.settings.message_system;
    let desk = Desk {
        store: ground.store.clone(),
        secrets: ground.secrets.clone(),
        metrics: ground.metrics.clone(),
        free: Arc::new(Semaphore::new(settings.exchanges_max)),
        settings,
    };
    let routes = Router::new()
        .route("/message-system", post(converse))
        // A proxy of another kind leaves a suffix there.
        .route("/message-system/{*rest}", post(converse))
        .route("/attachment/{id}", get(attachment))
        .route("/attachments/{id}", get(attachment))
        .with_state(desk);
    Live {
        routes: front::around(routes, &ground.worker, &ground.metrics, &ground.store),
        last: None,
    }
}

async fn converse(State(desk): State<Desk>, request: Request) -> Result<Response, Error> {
    let answered = answer(&desk, request).await;
    let end = match &answered {
        Ok((_, end)) => end,
        Err(Error::Busy) => "busy",
        Err(Error::Store(_) | Error::Secret(_)) => "failed",
        Err(_) => "malformed",
    };
    desk.metrics.exchanges.with_label_values(&[end]).inc();
    let (answer, _) = answered?;
    let kind = HeaderValue::from_static("application/octet-stream");
    Ok(([(header::CONTENT_TYPE, kind)], answer).into_response())
}

async fn answer(desk: &Desk, request: Request) -> Result<(Vec<u8>, &'static str), Error> {
    // Held while the body comes, too: this is what bounds the memory of a worker.
    let _place = desk.free.try_acquire().map_err(|_| Error::Busy)?;
    let (head, body) = request.into_parts();
    let body = whole(&head.headers, body, desk.settings.body_bytes_max).await?;
    let request = parse(body).await?;
    let shown = text(&head.headers, "x-computer-id");
    let visitor = exchange::Visitor {
        identity: said::identity(shown),
        foreign: said::is_foreign(shown),
        token: text(&head.headers, "x-exchange-token").map(str::to_owned),
    };
    let keys = keys::Keys::of(&request, &desk.secrets).await?;
    let done = exchange::exchange(&desk.store, &desk.settings, &keys, visitor, request).await?;
    done.tally.count(&desk.metrics);
    Ok((done.answer.write(), done.end))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

async fn whole(headers: &HeaderMap, body: Body, most: usize) -> Result<Bytes, Error> {
    let announced = text(headers, "content-length").and_then(|text| text.parse::<u64>().ok());
    if announced.is_some_and(|length| length > most as u64) {
        return Err(Error::TooLarge(most));
    }
    to_bytes(body, most).await.map_err(|cause| {
        let mut source = std::error::Error::source(&cause);
        while let Some(inner) = source {
            if inner.is::<http_body_util::LengthLimitError>() {
                return Error::TooLarge(most);
            }
            source = inner.source();
        }
        Error::Malformed(cause.to_string())
    })
}

async fn parse(body: Bytes) -> Result<said::Request, Error> {
    let read = |body: Bytes| {
        said::Request::read(&body, Limits::default())
            .map_err(|problem| Error::Malformed(problem.to_string()))
    };
    if body.len() <= ASIDE_BYTES {
        return read(body);
    }
    let reading = tokio::task::spawn_blocking(move || read(body));
    reading
        .await
        .unwrap_or_else(|_| Err(Error::Malformed("the reader gave up".to_owned())))
}

async fn attachment(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let (Ok(id), Some(secure)) = (
        id.parse::<i64>(),
        said::identity(text(&headers, "x-computer-id")),
    ) else {
        return Err(Error::NotFound);
    };
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let content = store::activity::attachment(&tx, id, secure).await?;
    let kind = HeaderValue::from_static("application/octet-stream");
    match content {
        Some(content) => Ok(([(header::CONTENT_TYPE, kind)], content).into_response()),
        None => Err(Error::NotFound),
    }
}
