//! Where do uploaded packages go? Into a pocket of a repository, once their `.changes` says they are all
//! there.
//!
//! An uploader PUTs one file after the other, each on a connection of its own, the `.changes` last; that
//! is answered when its packages are in the pool and `apt` sees them, or with the reason why not. There
//! is no sign-in: what counts is the signature of the `.changes`. Workers share the folder and the
//! database and keep nothing else, so any of them may take any file.
//!
//! An uploader sends its whole file before it reads an answer, so a refusal comes after the body was
//! read, as far as it is not absurdly long.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Service;
use crate::archive;
use crate::archive::incoming::Incoming;
use crate::archive::openpgp::Signer;
use crate::domain::repository::{Place, is_plain};
use crate::error::Error;
use crate::front;
use crate::metrics::Metrics;
use crate::serve::{Ground, Live, StartError};
use crate::settings::{Repository, Shared, Wrong};
use crate::store::{self, Store};
use crate::stub;

mod import;
mod receive;
mod show;

/// Package upload: one worker, large bodies.
pub const SERVICE: Service = Service {
    name: "package-upload",
    routes: stub::routes,
    open: Some(|ground| async { open(ground) }.boxed()),
    check: Some(check),
};

#[derive(Clone)]
struct Desk {
    store: Store,
    metrics: Metrics,
    settings: Repository,
    directory: PathBuf,
    incoming: Incoming,
    signer: Option<Arc<Signer>>,
    free: Arc<Semaphore>,
}

/// What it needs of its settings.
fn check(settings: &Shared) -> Vec<Wrong> {
    let repository = &settings.repository;
    let mut wrong = archive::check(settings);
    if repository.directory.is_none() {
        wrong.push(Wrong::missing("repository", "directory", ""));
    }
    if let Err(problem) = signer(repository) {
        wrong.push(Wrong {
            section: "repository",
            key: "signing_key",
            what: format!(
                "`signing_key`: {problem}; `schema signing-key FILE` makes one, without one nothing is signed"
            ),
        });
    }
    wrong
}

/// The key that signs, if there is to be one.
fn signer(settings: &Repository) -> Result<Option<Signer>, String> {
    let Some(path) = &settings.signing_key else {
        return Ok(None);
    };
    let at = |problem: String| format!("{}: {problem}", path.display());
    let armored = std::fs::read_to_string(path).map_err(|cause| at(cause.to_string()))?;
    Signer::read(&armored).map(Some).map_err(at)
}

fn open(ground: Ground) -> Result<Live, StartError> {
    let settings = ground.settings.repository;
    let wrong = |what: String| StartError::Setting("repository", what);
    // That there is one was checked.
    let directory = settings.directory.clone().unwrap_or_default();
    let signer = signer(&settings).map_err(|problem| wrong(format!("signing_key: {problem}")))?;
    std::fs::create_dir_all(&directory)
        .map_err(|cause| wrong(format!("directory: {}: {cause}", directory.display())))?;
    let desk = Desk {
        store: ground.store.clone(),
        metrics: ground.metrics.clone(),
        incoming: Incoming::below(&directory),
        directory,
        signer: signer.map(Arc::new),
        free: Arc::new(Semaphore::new(settings.uploads_max)),
        settings,
    };
    tokio::spawn(show::keep_shown(desk.clone(), ground.worker.clone()));
    // The edge may strip the prefix or leave it.
    let routes = Router::new()
        .route(
            "/upload/{account}/{distribution}/{series}/{pocket}/{file}",
            put(take),
        )
        .route(
            "/{account}/{distribution}/{series}/{pocket}/{file}",
            put(take),
        )
        .fallback(nothing)
        .with_state(desk);
    Ok(Live {
        routes: front::around(routes, &ground.worker, &ground.metrics, &ground.store),
        last: None,
    })
}

/// What is no upload is refused when all of it was read.
async fn nothing(State(desk): State<Desk>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    receive::discard(&desk, &head.headers, body).await;
    Error::NotFound.into_response()
}

type Segments = Path<(String, String, String, String, String)>;

async fn take(
    State(desk): State<Desk>,
    Path((account, distribution, series, pocket, file)): Segments,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let place = Place::new(&account, &distribution, &series, &pocket);
    let mut body = Some(body);
    let taken = match place.filter(|_| is_plain(&file)) {
        None => Err(Error::Refused(
            StatusCode::BAD_REQUEST,
            "names of files and pockets are letters, digits and + - . _ ~".to_owned(),
        )),
        Some(place) => put_file(&desk, &place, &file, &head.headers, &mut body).await,
    };
    // What was not read by then was not wanted.
    if let Some(body) = body {
        receive::discard(&desk, &head.headers, body).await;
    }
    let end = match &taken {
        Ok((end, _)) => end,
        Err(Error::Refused(..) | Error::NotFound | Error::TooLarge(_)) => "refused",
        Err(Error::Busy) => "busy",
        Err(_) => "failed",
    };
    desk.metrics.uploads.with_label_values(&[end]).inc();
    match taken {
        Ok((_, said)) => {
            let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            (StatusCode::CREATED, kind, said).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

/// Takes one file. How it ended, in the word of the metrics, and what the uploader is told.
async fn put_file(
    desk: &Desk,
    place: &Place,
    file: &str,
    headers: &HeaderMap,
    body: &mut Option<Body>,
) -> Result<(&'static str, String), Error> {
    let place_free = timeout(desk.settings.piece_timeout, desk.free.acquire()).await;
    let Ok(Ok(_place)) = place_free else {
        return Err(Error::Busy);
    };
    let pocket = {
        let mut connection = desk.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        store::repository::find_pocket(&tx, place).await?
    };
    let Some(pocket) = pocket else {
        let why = format!("there is no pocket {place}");
        return Err(Error::Refused(StatusCode::NOT_FOUND, why));
    };
    if file.ends_with(".changes") {
        let bytes = receive::changes(desk, headers, body).await?;
        return import::import(desk, &pocket, file, &bytes).await;
    }
    receive::keep(desk, &pocket, file, headers, body).await?;
    Ok(("stored", String::new()))
}
