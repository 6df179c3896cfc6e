//! Which packages match a query, and on which computers? A copy in memory that follows the database.
//!
//! Only other services ask, over JSON; who finds this service gone, late or behind asks the database
//! itself (`service::packages`).

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::FutureExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

use self::index::{Index, News};
use super::Service;
use crate::broker::consume::{self, Told};
use crate::broker::topology::Vhost;
use crate::domain::event::{Event, Topic};
use crate::domain::package_search::Question;
use crate::front;
use crate::metrics::Metrics;
use crate::serve::{Ground, Live};
use crate::store::package_feed::{self, Horizon};
use crate::store::{self, Store};
use crate::stub;
use crate::worker::Worker;

mod index;

/// Package search: one worker, used by other services only.
pub const SERVICE: Service = Service {
    name: "package-search",
    routes: stub::routes,
    open: Some(|ground| async { Ok(open(ground)) }.boxed()),
    check: None,
};

/// Largest question, bytes.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Questions at once; who asks more asks the database.
const AT_ONCE_MAX: usize = 8;
/// A copy that could not follow for so long is not asked any more.
const STALE: Duration = Duration::from_secs(60);
/// Notes are gathered for so long before the database is asked for all of them together.
const GATHER: Duration = Duration::from_millis(100);
/// Of its time the copy follows notes for one part in so many at most, so that a fleet that begins anew does not keep
/// the database busy.
const REST: u32 = 4;

/// What changes answers. One that registers with the right key is accepted at once.
static TOPICS: [Topic; 4] = [
    Topic::PackagesChanged,
    Topic::ComputerRegistered,
    Topic::ComputerAccepted,
    Topic::ComputerRemoved,
];

#[derive(Clone)]
struct Desk {
    store: Store,
    metrics: Metrics,
    index: Arc<RwLock<Index>>,
    followed: Arc<RwLock<Option<Instant>>>,
    /// Somebody says that packages changed.
    hint: Arc<Notify>,
    free: Arc<Semaphore>,
}

fn open(ground: Ground) -> Live {
    let desk = Desk {
        store: ground.store.clone(),
        metrics: ground.metrics.clone(),
        index: Arc::default(),
        followed: Arc::default(),
        hint: Arc::default(),
        free: Arc::new(Semaphore::new(AT_ONCE_MAX)),
    };
    let refresh = ground.settings.package_search.refresh;
    let notes = consume::notes(&ground.broker, Vhost::Services, &TOPICS);
    tokio::spawn(follow(desk.clone(), refresh, notes, ground.worker.clone()));
    let routes = Router::new()
        .route("/v1/search", post(search))
        .route("/v1/invalidate", post(invalidate))
        .with_state(desk.clone());
    let health = get(health).with_state((desk, ground.worker.clone()));
    Live {
        routes: front::around_with(routes, &ground.worker, &ground.metrics, health),
        last: None,
    }
}

/// A problem as the other services read it.
fn problem(status: StatusCode, message: &str) -> Response {
    let body = Json(serde_json::json!({ "error": "PackageSearch", "message": message }));
    (status, body).into_response()
}

async fn health(State((desk, worker)): State<(Desk, Worker)>) -> Response {
    match desk.is_fresh() {
        true => format!("ok\n{}", worker.conditions()).into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not loaded\n").into_response(),
    }
}

async fn search(State(desk): State<Desk>, request: Request) -> Response {
    let (end, response) = match answer(&desk, request.into_body()).await {
        Ok(response) => ("answered", response),
        Err((end, status, message)) => (end, problem(status, &message)),
    };
    desk.metrics
        .package_searches
        .with_label_values(&[end])
        .inc();
    response
}

type Refusal = (&'static str, StatusCode, String);

async fn answer(desk: &Desk, body: Body) -> Result<Response, Refusal> {
    let away = |end, message: &str| (end, StatusCode::SERVICE_UNAVAILABLE, message.to_owned());
    let place = Arc::clone(&desk.free).try_acquire_owned();
    let place = place.map_err(|_| away("busy", "too many questions at once"))?;
    let question: Question = read(body).await?;
    if !desk.is_fresh() {
        return Err(away("not_loaded", "the packages are not loaded"));
    }
    let index = Arc::clone(&desk.index);
    let found = tokio::task::spawn_blocking(move || {
        let _place = place;
        let index = index.read().unwrap_or_else(PoisonError::into_inner);
        serde_json::to_vec(&index.answer(&question))
    });
    match found.await {
        Ok(Ok(json)) => Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response()),
        Ok(Err(cause)) => Err(away("failed", &cause.to_string())),
        Err(cause) => Err(away("failed", &cause.to_string())),
    }
}

async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let malformed = |message: String| ("malformed", StatusCode::BAD_REQUEST, message);
    let body = to_bytes(body, BODY_BYTES_MAX).await;
    let body = body.map_err(|cause| malformed(cause.to_string()))?;
    serde_json::from_slice(&body).map_err(|cause| malformed(cause.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    /// All that is new is read at once, whichever computers are named.
    #[serde(rename = "computer_ids")]
    _computer_ids: Vec<i64>,
}

/// Somebody knows that packages changed: look now.
async fn invalidate(State(desk): State<Desk>, request: Request) -> Response {
    match read::<Changed>(request.into_body()).await {
        Ok(_) => {
            desk.hint.notify_one();
            StatusCode::ACCEPTED.into_response()
        }
        Err((_, status, message)) => problem(status, &message),
    }
}

impl Desk {
    fn is_fresh(&self) -> bool {
        let followed = *self.followed.read().unwrap_or_else(PoisonError::into_inner);
        followed.is_some_and(|at| at.elapsed() < STALE)
    }

    /// Takes what is new since the horizon, and returns the next. Which computers there are is looked at only
    /// where that may have changed: it is told for all of them.
    async fn refresh(&self, since: Option<&Horizon>, roll: bool) -> store::Result<Horizon> {
        let mut connection = self.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        let horizon = package_feed::horizon(&tx).await?;
        let news = News {
            packages: package_feed::packages(&tx, since).await?,
            holdings: package_feed::holdings(&tx, since).await?,
            roll: match roll {
                true => Some(package_feed::roll(&tx).await?),
                false => None,
            },
            as_of: horizon.as_of,
        };
        let (packages, computers) = {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            index.take(news);
            index.size()
        };
        let size = |what, count| {
            let gauge = self.metrics.package_index.with_label_values(&[what]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        };
        size("packages", packages);
        size("computers", computers);
        let mut followed = self
            .followed
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if followed.replace(Instant::now()).is_none() {
            info!(packages, computers, "loaded");
        }
        Ok(horizon)
    }
}

/// Follows the database until the worker stops: at once where it is told, else by turns.
async fn follow(desk: Desk, refresh: Duration, mut notes: mpsc::Receiver<Told>, worker: Worker) {
    let stopping = worker.stopping();
    tokio::pin!(stopping);
    let mut ticks = interval(refresh);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut horizon, mut pause) = (None, GATHER);
    // Computers were looked at with the last horizon.
    let mut known = false;
    loop {
        tokio::select! {
            () = &mut stopping => return,
            _ = ticks.tick() => known = false,
            () = desk.hint.notified() => known = false,
            told = notes.recv() => {
                // None: the worker stops.
                let Some(told) = told else { return };
                known &= !is_about_roll(&told);
                tokio::select! {
                    () = &mut stopping => return,
                    () = sleep(pause) => {}
                }
            }
        }
        while let Ok(told) = notes.try_recv() {
            known &= !is_about_roll(&told);
        }
        let began = Instant::now();
        match desk.refresh(horizon.as_ref(), !known).await {
            Ok(next) => (horizon, known) = (Some(next), true),
            // What was not read now is read the next time.
            Err(problem) => warn!(%problem, "the packages could not be followed"),
        }
        pause = (began.elapsed() * REST).clamp(GATHER, refresh.max(GATHER));
    }
}

/// Does it tell that other computers are there?
fn is_about_roll(told: &Told) -> bool {
    match told {
        Told::Event(Event { topic, .. }) => *topic != Topic::PackagesChanged,
        Told::Anew => true,
    }
}
