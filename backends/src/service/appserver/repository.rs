//! How do packages get to apt? As files, by ranges and conditions, without a listing.
//!
//! `/repository/ACCOUNT/DISTRIBUTION/dists/...` and `.../pool/...` are served from the folder into which
//! package upload writes; nothing else of it is. Names that begin with a dot belong to nobody.
//! `/hash-id-databases/UUID_CODENAME_ARCH` are files of another folder. Nobody signs in for either.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tower_http::services::ServeDir;

use crate::domain::repository::is_plain;
use crate::error::Error;
use crate::settings;

/// What a segment of a path may hold as it is.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The files under a folder.
#[derive(Clone)]
struct Files(Option<Arc<ServeDir>>);

impl Files {
    fn below(folder: Option<&PathBuf>) -> Self {
        Self(folder.map(|folder| {
            // A folder is nothing that could be shown.
            Arc::new(ServeDir::new(folder).append_index_html_on_directories(false))
        }))
    }

    async fn serve(
        &self,
        segments: &[String],
        request: Request,
        kept: &'static str,
    ) -> Result<Response, Error> {
        let files = self.0.as_ref().ok_or(Error::NotFound)?;
        let path: String = segments
            .iter()
            .map(|segment| format!("/{}", utf8_percent_encode(segment, KEPT)))
            .collect();
        let (mut head, _) = request.into_parts();
        head.uri = path.parse::<Uri>().map_err(|_| Error::NotFound)?;
        let request = Request::from_parts(head, Body::empty());
        let mut files = ServeDir::clone(files);
        let served = match files.try_call(request).await {
            Ok(served) => served,
            Err(cause) => return Err(missing(cause)),
        };
        // A missing file and a folder are the same: there is nothing.
        if matches!(
            served.status(),
            StatusCode::NOT_FOUND | StatusCode::TEMPORARY_REDIRECT
        ) {
            return Err(Error::NotFound);
        }
        let mut response = served.map(Body::new).into_response();
        if response.status().is_success() {
            response
                .headers_mut()
                .insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
        }
        Ok(response)
    }
}

/// A file that is not there is no failure of the file system's.
fn missing(cause: std::io::Error) -> Error {
    use std::io::ErrorKind::{InvalidFilename, IsADirectory, NotADirectory, NotFound};
    match cause.kind() {
        NotFound | NotADirectory | IsADirectory | InvalidFilename => Error::NotFound,
        _ => Error::Files(cause),
    }
}

/// The routes of files.
pub fn routes(settings: &settings::Repository) -> Router {
    let repository = Router::new()
        .route("/repository", get(repository))
        .route("/repository/", get(repository))
        .route("/repository/{*path}", get(repository))
        .with_state(Files::below(settings.directory.as_ref()));
    let databases = Router::new()
        .route("/hash-id-databases/{name}", get(database))
        .with_state(Files::below(settings.hash_id_databases.as_ref()));
    repository.merge(databases)
}

async fn repository(State(files): State<Files>, request: Request) -> Result<Response, Error> {
    let segments = segments(request.uri().path()).ok_or(Error::NotFound)?;
    let [_, _, _, area, below @ ..] = &segments[..] else {
        return Err(Error::NotFound);
    };
    // What a digest names never changes, and neither does a package.
    let kept = match area.as_str() {
        _ if below.is_empty() => return Err(Error::NotFound),
        "pool" => "public, max-age=86400",
        "dists" if below.iter().any(|name| name == "by-hash") => "public, max-age=3600",
        "dists" => "no-cache",
        _ => return Err(Error::NotFound),
    };
    let segments = segments.get(1..).unwrap_or_default().to_vec();
    files.serve(&segments, request, kept).await
}

/// The segments of a path, decoded, where each is the name of a file that is not hidden.
fn segments(path: &str) -> Option<Vec<String>> {
    let mut segments = Vec::new();
    for segment in path.strip_prefix('/')?.split('/') {
        let segment = percent_decode_str(segment).decode_utf8().ok()?;
        let wrong =
            segment.is_empty() || segment.starts_with('.') || segment.contains(['/', '\\', '\0']);
        if wrong {
            return None;
        }
        segments.push(segment.into_owned());
    }
    Some(segments)
}

async fn database(
    State(files): State<Files>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Error> {
    let parts: Vec<&str> = name.split('_').collect();
    let [uuid, code_name, architecture] = &parts[..] else {
        return Err(Error::NotFound);
    };
    let named =
        uuid::Uuid::try_parse(uuid).is_ok() && is_plain(code_name) && is_plain(architecture);
    match named {
        true => files.serve(&[name], request, "no-cache").await,
        false => Err(Error::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_climb_or_find_what_is_hidden() {
        let path = "/repository/a/b/pool/main/g/g%2b%2b/g%2b%2b_1~rc_all.deb";
        let found = segments(path).expect("plain");
        assert_eq!(found.last().map(String::as_str), Some("g++_1~rc_all.deb"));
        for path in [
            "/repository/a/../b",
            "/repository/a/%2e%2e/b",
            "/repository/.incoming/1/x",
            "/repository/a/b/dists/%2ework/x",
            "/repository/a/b%2fc/dists",
            "/repository//b",
            "/repository/a/b/dists/",
            "/repository/a/b/%ff",
        ] {
            assert_eq!(segments(path), None, "{path}");
        }
    }
}
