//! How does a file come in? Piece by piece onto the disk, within bounds.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::Desk;
use crate::archive::incoming::{Load, Part};
use crate::error::Error;
use crate::store::repository::Pocket;

/// Largest `.changes`, bytes.
const CHANGES_BYTES_MAX: usize = 1 << 20;
/// What is read of a body that nobody wants, beyond the largest file.
const DISCARDED_BEYOND: u64 = 1 << 20;

/// Receives a file and keeps it until its `.changes` comes.
pub async fn keep(
    desk: &Desk,
    pocket: &Pocket,
    name: &str,
    headers: &HeaderMap,
    body: &mut Option<Body>,
) -> Result<(), Error> {
    let most = desk.settings.file_bytes_max;
    let announced = length(headers);
    if announced.is_some_and(|length| length > most) {
        return Err(too_large(most));
    }
    let (incoming, id) = (desk.incoming.clone(), pocket.id);
    let begun = beside(move || {
        let load = incoming.load(id)?;
        Ok((incoming.begin()?, load))
    });
    let (part, load) = begun.await?;
    let room = room(desk, load, announced.unwrap_or(0))?;
    let Some(stream) = body.as_mut() else {
        return Ok(());
    };
    let part = fill(desk, part, stream, most, room).await?;
    // All of it was read.
    body.take();
    let (incoming, name) = (desk.incoming.clone(), name.to_owned());
    beside(move || incoming.keep(part, id, &name)).await
}

/// How many bytes may still come for a pocket.
fn room(desk: &Desk, load: Load, announced: u64) -> Result<u64, Error> {
    let settings = &desk.settings;
    let room = settings.incoming_bytes_max.saturating_sub(load.bytes);
    if load.files >= settings.incoming_files_max || announced > room {
        return Err(full());
    }
    Ok(room)
}

fn full() -> Error {
    Error::Refused(
        StatusCode::INSUFFICIENT_STORAGE,
        "too much waits for its .changes in this pocket: try again later".to_owned(),
    )
}

fn too_large(most: u64) -> Error {
    let why = format!("a file has at most {most} bytes here");
    Error::Refused(StatusCode::PAYLOAD_TOO_LARGE, why)
}

async fn fill(
    desk: &Desk,
    mut part: Part,
    body: &mut Body,
    most: u64,
    room: u64,
) -> Result<Part, Error> {
    while let Some(piece) = piece(desk, body).await? {
        let size = part.size() + piece.len() as u64;
        if size > most {
            return Err(too_large(most));
        }
        if size > room {
            return Err(full());
        }
        part = beside(move || {
            part.write(&piece)?;
            Ok(part)
        })
        .await?;
    }
    Ok(part)
}

/// Receives a `.changes`.
pub async fn changes(
    desk: &Desk,
    headers: &HeaderMap,
    body: &mut Option<Body>,
) -> Result<Vec<u8>, Error> {
    let long = || too_large(CHANGES_BYTES_MAX as u64);
    if length(headers).is_some_and(|length| length > CHANGES_BYTES_MAX as u64) {
        return Err(long());
    }
    let mut bytes = Vec::new();
    let Some(stream) = body.as_mut() else {
        return Ok(bytes);
    };
    while let Some(piece) = piece(desk, stream).await? {
        if bytes.len() + piece.len() > CHANGES_BYTES_MAX {
            return Err(long());
        }
        bytes.extend_from_slice(&piece);
    }
    body.take();
    Ok(bytes)
}

/// Reads what is left of a body that nobody wants, so that the uploader reads the answer. One that is
/// longer than any file may be is left unread.
pub async fn discard(desk: &Desk, headers: &HeaderMap, mut body: Body) {
    let most = desk.settings.file_bytes_max + DISCARDED_BEYOND;
    if length(headers).is_some_and(|length| length > most) {
        return;
    }
    let mut read = 0;
    while let Ok(Some(piece)) = piece(desk, &mut body).await {
        read += piece.len() as u64;
        if read > most {
            return;
        }
    }
}

async fn piece(desk: &Desk, body: &mut Body) -> Result<Option<Bytes>, Error> {
    loop {
        let frame = timeout(desk.settings.piece_timeout, body.frame()).await;
        let Ok(frame) = frame else {
            let why = "the file did not come on".to_owned();
            return Err(Error::Refused(StatusCode::REQUEST_TIMEOUT, why));
        };
        match frame {
            None => return Ok(None),
            Some(Err(cause)) => return Err(Error::Malformed(cause.to_string())),
            Some(Ok(frame)) => {
                // Trailers say nothing to us.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Does what blocks beside the runtime.
pub async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(problem) => Err(std::io::Error::other(problem).into()),
    }
}
