//! How do agents report and get their orders? One POST is one exchange; attachments are fetched apart.
//!
//! An agent takes nothing but 200 for success and tries again after everything else, so nothing is
//! answered before it is stored. Workers keep nothing between requests: any of them may serve any
//! exchange, and one that is killed leaves an exchange done or not begun.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use super::Service;
use super::intake::{self, Intake, Share};
use crate::bpickle::{Limits, weight, weight_max};
use crate::domain::exchange as said;
use crate::error::Error;
use crate::front;
use crate::metrics::Metrics;
use crate::secret::Secrets;
use crate::serve::{Ground, Live};
use crate::settings::{MessageSystem, Shared, Wrong};
use crate::store::{self, Store};
use crate::stub;

mod counter;
mod exchange;
mod keys;
mod report;
mod stranger;
mod tally;

/// The message system: where agents report and get their orders.
pub const SERVICE: Service = Service {
    name: "message-system",
    routes: stub::routes,
    open: Some(|ground| async { Ok(open(ground)) }.boxed()),
    check: Some(check),
};

/// Bodies above this are read beside the other requests, bytes.
const ASIDE_BYTES: usize = 256 * 1024;

/// Is there memory for one request, however large it is and whatever it says?
fn check(shared: &Shared) -> Vec<Wrong> {
    let settings = &shared.message_system.intake;
    let bytes = settings.body_bytes_max;
    let takes = bytes.saturating_add(weight_max(bytes, Limits::default()));
    intake::check("message_system", settings, takes)
}

#[derive(Clone)]
struct Desk {
    store: Store,
    secrets: Secrets,
    metrics: Metrics,
    settings: MessageSystem,
    intake: Intake,
    free: Arc<Semaphore>,
}

fn open(ground: Ground) -> Live {
    let settings = ground.settings.message_system;
    let desk = Desk {
        store: ground.store.clone(),
        secrets: ground.secrets.clone(),
        metrics: ground.metrics.clone(),
        intake: Intake::new(&settings.intake),
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
        Err(Error::Refused(StatusCode::REQUEST_TIMEOUT, _)) => "late",
        Err(Error::Store(_) | Error::Secret(_)) => "failed",
        Err(_) => "malformed",
    };
    desk.metrics.exchanges.with_label_values(&[end]).inc();
    let (answer, _) = answered?;
    let kind = HeaderValue::from_static("application/octet-stream");
    Ok(([(header::CONTENT_TYPE, kind)], answer).into_response())
}

async fn answer(desk: &Desk, request: Request) -> Result<(Vec<u8>, &'static str), Error> {
    if desk.free.available_permits() == 0 {
        return Err(Error::Busy);
    }
    let (head, body) = request.into_parts();
    let (body, share) = desk.intake.whole(&head.headers, body).await?;
    let _place = intake::place(&desk.free).await?;
    let (request, _share) = parse(body, share).await?;
    let shown = text(&head.headers, "x-computer-id");
    let visitor = exchange::Visitor {
        identity: said::identity(shown),
        foreign: said::is_foreign(shown),
        token: text(&head.headers, "x-exchange-token").map(str::to_owned),
    };
    let keys = keys::Keys::of(&request, desk.settings.messages_max, &desk.secrets).await?;
    let done = exchange::exchange(&desk.store, &desk.settings, &keys, visitor, request).await?;
    done.tally.count(&desk.metrics);
    Ok((done.answer.write(), done.end))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Reads a request, when there is room for what may become of it. What is in it lives as long as its share.
async fn parse(body: Vec<u8>, mut share: Share) -> Result<(said::Request, Share), Error> {
    let aside = body.len() > ASIDE_BYTES;
    let read = move || {
        let limits = Limits::default();
        share.grow(weight(&body, limits))?;
        let request = said::Request::read(&body, limits)
            .map_err(|problem| Error::Malformed(problem.to_string()))?;
        Ok((request, share))
    };
    if !aside {
        return read();
    }
    let reading = tokio::task::spawn_blocking(read);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_does_not_hold_one_request_is_a_mistake() {
        let read = |memory: &str| {
            let variables = [
                ("BACKENDS_MESSAGE_SYSTEM__BODY_BYTES_MAX", "1000000"),
                ("BACKENDS_MESSAGE_SYSTEM__MEMORY_BYTES_MAX", memory),
            ];
            let variables = variables.map(|(name, value)| (name.into(), value.into()));
            Shared::read(None, variables, &[check]).map(|_| ())
        };
        assert_eq!(read("66000000"), Ok(()));
        let problems = read("65999999").expect_err("too little");
        assert!(problems.contains("at least 66000000"), "{problems}");
        assert!(Shared::read(None, [], &[check]).is_ok(), "the defaults");
    }
}
