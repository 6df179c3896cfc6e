//! What may programs ask and change? Two forms of one service: REST under `/api/v2`, and the older one
//! of signed calls at `/api/`.
//!
//! Both do the same by the same functions of the store; they differ in how a caller is known, how
//! arguments are written and which fields an answer has. Every answer, errors too, is JSON.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use super::intake::{self, Intake};
use super::packages::Packages;
use super::sign_in::Judge;
use super::{Service, sweep};
use crate::broker::topology::Vhost;
use crate::domain::query::Query;
use crate::error::Error;
use crate::front;
use crate::secret::{self, Secrets};
use crate::serve::{Ground, Live};
use crate::settings;
use crate::store::{self, Store};
use crate::stub;

mod caller;
mod legacy;
mod machine;
mod meant;
mod named;
mod package_order;
mod refusal;
mod script_text;
mod v2;
mod view;

/// The API: scripts and the command line.
pub const SERVICE: Service = Service {
    name: "api",
    routes: stub::routes,
    open: Some(|ground| async { Ok(open(ground)) }.boxed()),
    check: Some(check),
};

/// Most computers, activities and so on of one answer.
const ROWS_MAX: i64 = 1000;
/// Most computers of one answer that tells what they are made of, up to 1 MiB of each.
const HARDWARE_ROWS_MAX: i64 = 50;
/// Most computers whose packages are looked for by a query.
const SEARCHED_MAX: i64 = 100_000;

/// What every call may use.
#[derive(Clone)]
struct Desk {
    store: Store,
    secrets: Secrets,
    judge: Judge,
    packages: Packages,
    settings: settings::Api,
    intake: Intake,
    free: Arc<Semaphore>,
}

impl Desk {
    /// The computers whose packages are looked for by a query; None for all, whichever these are.
    async fn scope(&self, account: i64, query: &Query) -> store::Result<Option<Vec<i64>>> {
        if query.all.is_empty() {
            return Ok(None);
        }
        let mut connection = self.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        let ids = store::search::ids(&tx, account, query, 0, SEARCHED_MAX).await?;
        Ok(Some(ids))
    }
}

fn open(ground: Ground) -> Live {
    let settings = ground.settings.api.clone();
    let desk = Desk {
        store: ground.store.clone(),
        secrets: ground.secrets.clone(),
        judge: Judge::new(ground.store.clone()),
        packages: Packages::new(
            &ground.store,
            &ground.metrics,
            &ground.settings.package_search,
        ),
        intake: Intake::new(&settings.intake),
        free: Arc::new(Semaphore::new(settings.requests_max)),
        settings,
    };
    if !ground.broker.is_set(Vhost::Services) {
        sweep::begin(&ground);
    }
    let routes = Router::new()
        .route("/api", get(legacy::call).post(legacy::call))
        .route("/api/", get(legacy::call).post(legacy::call))
        .route("/api/login", post(v2::login::by_password))
        .nest("/api/v2", v2::routes())
        .fallback(nothing)
        .method_not_allowed_fallback(not_so)
        .layer(from_fn(in_json))
        .layer(from_fn_with_state(desk.clone(), within_bounds))
        .with_state(desk);
    Live {
        routes: front::around(routes, &ground.worker, &ground.metrics, &ground.store),
        last: None,
    }
}

/// More calls at once than a worker takes are sent away. One takes its place when all of it is there, so that nobody who
/// trickles, or who is not known yet, takes it from others.
async fn within_bounds(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let arrived = async {
        if desk.free.available_permits() == 0 {
            return Err(Error::Busy);
        }
        let (head, body) = request.into_parts();
        let (body, share) = desk.intake.whole(&head.headers, body).await?;
        let place = intake::place(&desk.free).await?;
        Ok((Request::from_parts(head, Body::from(body)), share, place))
    };
    match arrived.await {
        Ok((request, _share, _place)) => next.run(request).await,
        Err(problem) => refusal::Refusal::from(problem).into_response(),
    }
}

fn check(shared: &settings::Shared) -> Vec<settings::Wrong> {
    [room_for_one(shared), secret::check_kept(shared)].concat()
}

fn room_for_one(shared: &settings::Shared) -> Vec<settings::Wrong> {
    let intake = &shared.api.intake;
    intake::check("api", intake, intake.body_bytes_max)
}

/// A path that cannot be read is refused before any handler is asked; programs are told so as of all else.
async fn in_json(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let json = HeaderValue::from_static("application/json");
    let told = response.headers().get(header::CONTENT_TYPE) == Some(&json);
    match response.status() {
        status if status.is_client_error() && !told => {
            let message = "the path cannot be read";
            refusal::Refusal::new(status, "InvalidParameter", message).into_response()
        }
        _ => response,
    }
}

async fn nothing() -> Response {
    refusal::Refusal::unknown("NotFound", "there is nothing at this path").into_response()
}

async fn not_so() -> Response {
    let message = "this path does not take this method";
    let status = StatusCode::METHOD_NOT_ALLOWED;
    refusal::Refusal::new(status, "MethodNotAllowed", message).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_takes_larger_calls_has_memory_for_one_unless_less_is_set() {
        let read = |variables: &[(&str, &str)]| {
            let variables = variables.iter().map(|(name, value)| {
                let name = format!("BACKENDS_API__{name}");
                (name.into(), (*value).into())
            });
            let shared = settings::Shared::read(None, variables, &[room_for_one]);
            shared.map(|shared| shared.api.intake.memory_bytes_max)
        };
        let large = ("BODY_BYTES_MAX", "100000000");
        assert_eq!(read(&[]), Ok(1 << 26));
        assert_eq!(read(&[large]), Ok(100_000_000));
        let problems = read(&[large, ("MEMORY_BYTES_MAX", "99999999")]).expect_err("too little");
        assert!(problems.contains("at least 100000000"), "{problems}");
    }
}
