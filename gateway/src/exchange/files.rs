//! How is a file served? Conditions, ranges and packed forms (RFC 9110 sections 8, 13 and 14), with back-pressure.
//!
//! Promises: the file system is asked on threads that may block, a bounded number at a time; of a file one piece is held at
//! a time, however large it is and however slow its reader. Does not: list folders.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use tokio::sync::Semaphore;

use crate::config::model::{Folder, PathMatch, RouteId};
use crate::exchange::accept;
use crate::exchange::answer::refuse;
use crate::exchange::client::Client;
use crate::exchange::errors;
use crate::exchange::failure::Failure;
use crate::exchange::finish::Summary;
use crate::exchange::fixed::{own, write};
use crate::exchange::flow::{Cause, Frame, Pull};
use crate::exchange::forward::After;
use crate::files::conditions::{Verdict, judge, whole_seconds};
use crate::files::{Found, Opened, Packed, below, find};
use crate::message::{BodyKind, Fields, Request, Response};
use crate::route::path;

/// Bytes read at a time: what a response holds of its file.
const PIECE: u64 = 64 * 1024;

/// Answers with a file of the folder.
pub(super) async fn serve(
    request: &Request,
    body_done: bool,
    client: &mut Client,
    route: RouteId,
    folder: &Folder,
    summary: &mut Summary<'_>,
) -> After {
    if request.method != Method::GET && request.method != Method::HEAD {
        return not_this_method(request, body_done, client, summary).await;
    }
    let found = {
        let looked = look_up(request, route, folder, summary);
        let timer = summary.cx.shard.timers.slot();
        timer.within(summary.patience(), looked).await
    };
    let failure = match found {
        Ok(Found::File(opened)) => {
            return send(request, body_done, client, folder, opened, summary).await;
        }
        Ok(Found::Folder) => {
            let response = to_folder(request, summary);
            return write(request, body_done, client, response, &mut Nothing, summary).await;
        }
        Ok(Found::Nothing) => Failure::NoFile,
        Ok(Found::Forbidden) => Failure::Denied(403),
        Ok(Found::Broken(error)) => {
            tracing::warn!(folder = %folder.root.display(), %error, "a file cannot be read");
            Failure::FileBroken
        }
        Err(_) => Failure::FileBroken,
    };
    refuse(request, body_done, client, failure, false, summary).await
}

async fn look_up(
    request: &Request,
    route: RouteId,
    folder: &Folder,
    summary: &Summary<'_>,
) -> Found {
    let target = &request.target[..];
    let end = memchr::memchr(b'?', target).unwrap_or(target.len());
    // It was normalised once already, to find the route.
    let Ok(normal) = path::normalise(&target[..end]) else {
        return Found::Nothing;
    };
    let rest = match &summary.plan.route(route).path {
        PathMatch::Prefix(prefix) => path::below(normal.matched().as_bytes(), prefix),
        PathMatch::Exact(_) => b"",
    };
    let Some(path) = std::str::from_utf8(rest)
        .ok()
        .and_then(|rest| below(folder, rest))
    else {
        return Found::Nothing;
    };
    // `/static` alone is the folder without its slash: links in its index would lead elsewhere.
    if rest.is_empty() && matches!(summary.plan.route(route).path, PathMatch::Prefix(_)) {
        return match folder.index {
            Some(_) => Found::Folder,
            None => Found::Nothing,
        };
    }
    let accepted = if folder.precompressed {
        accept::encodings(&request.fields, &Packed::ALL.map(Packed::name))
            .into_iter()
            .filter_map(|name| Packed::ALL.into_iter().find(|packed| packed.name() == name))
            .collect()
    } else {
        Vec::new()
    };
    let folder = folder.clone();
    let work = move || find(&folder, &path, &accepted);
    match blocking(summary.plan.file_readers.clone(), work).await {
        Ok(found) => found,
        Err(error) => Found::Broken(error),
    }
}

/// Runs what blocks on a thread that may; only so many at a time.
async fn blocking<T: Send + 'static>(
    readers: Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let permit = readers.acquire_owned().await.map_err(io::Error::other)?;
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    done.await.map_err(io::Error::other)
}

async fn not_this_method(
    request: &Request,
    body_done: bool,
    client: &mut Client,
    summary: &mut Summary<'_>,
) -> After {
    let failure = Failure::NoMethod;
    summary.refused(failure);
    let answer = failure.answer();
    let (plan, on) = (summary.plan, summary.cx.listener);
    let id = &summary.request_id;
    let page = errors::page(plan, on, summary.route, request, answer, id);
    let (mut response, body) = own(answer, None, page);
    if let Fields::Http2(map) = &mut response.fields {
        map.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    super::fixed::deliver(request, body_done, client, response, body, summary).await
}

/// To the folder's own spelling, so that what its index names relative to it is found.
fn to_folder(request: &Request, summary: &Summary<'_>) -> Response {
    let mut location = Vec::new();
    summary
        .filling(request)
        .with_path(|path| location.extend_from_slice(path));
    location.push(b'/');
    if let Some(at) = memchr::memchr(b'?', &request.target) {
        location.extend_from_slice(&request.target[at..]);
    }
    let mut map = HeaderMap::new();
    if let Ok(location) = HeaderValue::from_bytes(&location) {
        map.insert(header::LOCATION, location);
    }
    Response {
        status: 301,
        fields: Fields::Http2(map),
        body: BodyKind::Empty,
    }
}

async fn send(
    request: &Request,
    body_done: bool,
    client: &mut Client,
    folder: &Folder,
    opened: Opened,
    summary: &mut Summary<'_>,
) -> After {
    let etag = opened.etag();
    // A date in the future would make the client wait for it (RFC 9110 section 8.8.2.1).
    let modified = opened.modified.min(summary.wall_clock());
    let verdict = judge(&request.fields, &etag, modified, opened.length);
    let mut map = HeaderMap::new();
    let mut put = |name, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            map.insert(name, value);
        }
    };
    put(header::ETAG, etag);
    let date = httpdate::fmt_http_date(whole_seconds(modified));
    put(header::LAST_MODIFIED, date);
    if let Some(cache) = folder.cache {
        put(
            header::CACHE_CONTROL,
            format!("max-age={}", cache.as_secs()),
        );
    }
    if folder.precompressed {
        put(header::VARY, "accept-encoding".to_owned());
    }
    let (status, first, count) = match verdict {
        Verdict::Whole => (200, 0, opened.length),
        Verdict::Part(first, count) => {
            let (last, whole) = (first + count - 1, opened.length);
            put(
                header::CONTENT_RANGE,
                format!("bytes {first}-{last}/{whole}"),
            );
            (206, first, count)
        }
        Verdict::NotModified => (304, 0, 0),
        Verdict::Failed => (412, 0, 0),
        Verdict::Unsatisfiable => {
            put(header::CONTENT_RANGE, format!("bytes */{}", opened.length));
            (416, 0, 0)
        }
    };
    if status < 300 {
        put(header::ACCEPT_RANGES, "bytes".to_owned());
        put(header::CONTENT_TYPE, type_of(&opened.name));
        put(header::CONTENT_LENGTH, count.to_string());
        put(header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned());
        if let Some(packed) = opened.packed {
            put(header::CONTENT_ENCODING, packed.name().to_owned());
        }
    }
    let response = Response {
        status,
        fields: Fields::Http2(map),
        body: match count {
            0 => BodyKind::Empty,
            count => BodyKind::Length(count),
        },
    };
    if request.method == Method::HEAD || count == 0 {
        return write(request, body_done, client, response, &mut Nothing, summary).await;
    }
    let mut body = Reading {
        file: Arc::new(opened.file),
        at: first,
        left: count,
        readers: summary.plan.file_readers.clone(),
        piece: None,
    };
    write(request, body_done, client, response, &mut body, summary).await
}

/// By the ending of the name.
fn type_of(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let file = name.rsplit('/').next().unwrap_or_default();
    match mime_guess::from_path(file).first_raw() {
        Some(kind) if kind.starts_with("text/") => format!("{kind}; charset=utf-8"),
        Some(kind) => kind.to_owned(),
        None => "application/octet-stream".to_owned(),
    }
}

/// No body.
struct Nothing;

impl Pull for Nothing {
    fn poll_pull(&mut self, _: &mut Task<'_>) -> Poll<Result<Frame, Cause>> {
        Poll::Ready(Ok(Frame::End(None)))
    }
}

/// A part of a file, piece by piece: the next is read when the client has taken the last.
struct Reading {
    file: Arc<File>,
    at: u64,
    left: u64,
    readers: Arc<Semaphore>,
    piece: Option<Pin<Box<dyn Future<Output = io::Result<Bytes>>>>>,
}

impl Pull for Reading {
    fn poll_pull(&mut self, cx: &mut Task<'_>) -> Poll<Result<Frame, Cause>> {
        if self.left == 0 {
            return Poll::Ready(Ok(Frame::End(None)));
        }
        let piece = self.piece.get_or_insert_with(|| {
            let (file, at) = (self.file.clone(), self.at);
            let mut buf = vec![0; self.left.min(PIECE) as usize];
            let work = move || {
                let read = file.read_at(&mut buf, at)?;
                buf.truncate(read);
                Ok(Bytes::from(buf))
            };
            let reading = blocking(self.readers.clone(), work);
            Box::pin(async move { reading.await? })
        });
        let read = ready!(piece.as_mut().poll(cx));
        self.piece = None;
        match read {
            // It has become shorter since its head was sent.
            Ok(data) if data.is_empty() => Poll::Ready(Err(Cause::Truncated)),
            Ok(data) => {
                self.at += data.len() as u64;
                self.left -= data.len() as u64;
                Poll::Ready(Ok(Frame::Data(data)))
            }
            Err(error) => Poll::Ready(Err(Cause::Io(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_by_the_ending() {
        for (name, kind) in [
            ("a/index.html", "text/html; charset=utf-8"),
            ("x.JSON", "application/json"),
            ("a.tar.gz", "application/gzip"),
            ("dists/InRelease", "application/octet-stream"),
            ("a.html/b", "application/octet-stream"),
        ] {
            assert_eq!(type_of(name.as_bytes()), kind, "{name}");
        }
    }
}
