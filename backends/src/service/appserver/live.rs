//! How does an open page learn that it is old? Over a WebSocket: one word, after which its script fetches it anew.
//!
//! A worker listens to the broker once for all its pages. A page names itself and is told what concerns it,
//! at most once in [`BETWEEN`]. Nothing about computers travels here, so that who sees what is decided in one place: a
//! list may be told for what another account has, and is then the same as before.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::{Instant, interval, sleep_until};
use uuid::Uuid;

use super::guard;
use crate::broker::consume::{self, Told};
use crate::broker::topology::Vhost;
use crate::domain::event::{Event, Topic};
use crate::error::Error;
use crate::serve::Ground;
use crate::store::person::Session;
use crate::store::{self, Store};
use crate::worker::Worker;

/// Pages of one worker that may listen at once; 503 above.
const LISTENERS_MAX: usize = 1000;
/// Notes that a slow page may be behind; then it is told once for all of them.
const BEHIND_MAX: usize = 256;
/// A page is told at most so often.
const BETWEEN: Duration = Duration::from_secs(1);
/// Between two questions whether the browser is still there, and the longest silence of one that is.
const ASK: Duration = Duration::from_secs(30);
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// Longest message of a browser, which has nothing to say, bytes.
const MESSAGE_BYTES_MAX: usize = 1024;
/// WebSocket's word for "the server goes away" (RFC 6455 section 7.4.1).
const GOING_AWAY: u16 = 1001;

/// Everything that a page may show.
static TOPICS: [Topic; 11] = [
    Topic::ActivityOrdered,
    Topic::ActivityChanged,
    Topic::ComputerRegistered,
    Topic::ComputerAccepted,
    Topic::ComputerRemoved,
    Topic::ComputerReported,
    Topic::ComputerChanged,
    Topic::InterfacesChanged,
    Topic::PackagesChanged,
    Topic::PingsHeard,
    Topic::HostChanged,
];

/// Who listens in this worker. Cheap to clone.
#[derive(Clone)]
pub struct Ears {
    store: Store,
    told: broadcast::Sender<Told>,
    free: Arc<Semaphore>,
    worker: Worker,
    broker: bool,
}

impl Ears {
    /// Listens to the broker for as long as the worker lives.
    pub fn new(ground: &Ground) -> Self {
        let (tell, _) = broadcast::channel(BEHIND_MAX);
        let mut notes = consume::notes(&ground.broker, Vhost::Services, &TOPICS);
        let told = tell.clone();
        tokio::spawn(async move {
            while let Some(note) = notes.recv().await {
                // Nobody may be listening, which is fine.
                let _ = tell.send(note);
            }
        });
        Self {
            store: ground.store.clone(),
            told,
            free: Arc::new(Semaphore::new(LISTENERS_MAX)),
            worker: ground.worker.clone(),
            broker: ground.broker.is_set(Vhost::Services),
        }
    }

    /// Refuses whoever wants to hear of a computer or a host that their account does not have.
    async fn may_hear(&self, account: i64, interest: &Interest) -> Result<(), Error> {
        let known = match interest {
            Interest::Computers | Interest::Hosts => true,
            Interest::Computer(id) => {
                let id = id.parse().map_err(|_| Error::NotFound)?;
                let mut connection = self.store.connection().await?;
                let tx = store::begin(&mut connection).await?;
                store::page::computer(&tx, account, id).await?.is_some()
            }
            Interest::Host(uid) => {
                let uid = Uuid::try_parse(uid).map_err(|_| Error::NotFound)?;
                let mut connection = self.store.connection().await?;
                let tx = store::begin(&mut connection).await?;
                store::wsl_page::host(&tx, account, uid).await?.is_some()
            }
        };
        known.then_some(()).ok_or(Error::NotFound)
    }
}

/// What concerns a page.
#[derive(Debug, PartialEq, Eq)]
enum Interest {
    /// Any computer.
    Computers,
    /// One.
    Computer(String),
    /// Any WSL host.
    Hosts,
    /// One.
    Host(String),
}

impl Interest {
    /// Of the page with this path.
    fn of(path: &str) -> Self {
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match segments[..] {
            ["computers", id, ..] => Self::Computer(id.to_owned()),
            ["hosts", uid] => Self::Host(uid.to_owned()),
            ["hosts"] => Self::Hosts,
            _ => Self::Computers,
        }
    }

    fn covers(&self, note: &Told) -> bool {
        let Told::Event(Event { topic, subject }) = note else {
            return true;
        };
        let of_host = *topic == Topic::HostChanged;
        match self {
            Self::Computers => !of_host,
            // Last pings are told together, without names.
            Self::Computer(id) => !of_host && (subject == id || subject.is_empty()),
            Self::Hosts => of_host,
            Self::Host(uid) => of_host && subject == uid,
        }
    }
}

#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    page: String,
}

/// `/live?page=PATH`
pub async fn listen(
    State(ears): State<Ears>,
    Extension(session): Extension<Session>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Error> {
    // A page of another site could open it in the visitor's session.
    if !guard::is_ours(&headers) {
        return Err(Error::Denied("a socket of another site"));
    }
    let interest = Interest::of(&asked.page);
    ears.may_hear(session.person.account, &interest).await?;
    if !ears.broker {
        let said = "nothing is told here: broker.url is not set\n";
        let wait = [(header::RETRY_AFTER, "60")];
        return Ok((StatusCode::SERVICE_UNAVAILABLE, wait, said).into_response());
    }
    let place = Arc::clone(&ears.free).try_acquire_owned();
    let place = place.map_err(|_| Error::Busy)?;
    // From here on, so that nothing is missed between the page and the socket.
    let told = ears.told.subscribe();
    let worker = ears.worker.clone();
    Ok(upgrade
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| attend(socket, interest, told, worker, place)))
}

async fn attend(
    mut socket: WebSocket,
    interest: Interest,
    mut told: broadcast::Receiver<Told>,
    worker: Worker,
    _place: OwnedSemaphorePermit,
) {
    let stopping = worker.stopping();
    tokio::pin!(stopping);
    let mut ask = interval(ASK);
    ask.reset();
    let (mut heard, mut next, mut changed) = (Instant::now(), Instant::now(), false);
    loop {
        let say = tokio::select! {
            () = &mut stopping => {
                let frame = CloseFrame { code: GOING_AWAY, reason: "the worker stops".into() };
                let _ = socket.send(Message::Close(Some(frame))).await;
                return;
            }
            said = socket.recv() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {
                    heard = Instant::now();
                    continue;
                }
            },
            _ = ask.tick() => {
                if heard.elapsed() > SILENCE_MAX {
                    return;
                }
                Message::Ping(Vec::new().into())
            }
            note = told.recv() => {
                changed |= match note {
                    Ok(note) => interest.covers(&note),
                    Err(broadcast::error::RecvError::Lagged(_)) => true,
                    Err(broadcast::error::RecvError::Closed) => return,
                };
                continue;
            }
            () = sleep_until(next), if changed => {
                (changed, next) = (false, Instant::now() + BETWEEN);
                Message::Text("changed".into())
            }
        };
        if socket.send(say).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_told_what_it_shows() {
        let note = |topic, subject: &str| Told::Event(Event::of(topic, subject));
        let reported = note(Topic::ComputerReported, "7");
        let host = note(Topic::HostChanged, "u");
        let pings = note(Topic::PingsHeard, "");
        for (page, of_reported, of_host, of_pings) in [
            ("/computers", true, false, true),
            ("/computers/7", true, false, true),
            ("/computers/77", false, false, true),
            ("/computers/7/packages", true, false, true),
            ("/packages", true, false, true),
            ("/pending", true, false, true),
            ("/hosts", false, true, false),
            ("/hosts/u", false, true, false),
            ("/hosts/v", false, false, false),
            ("", true, false, true),
        ] {
            let interest = Interest::of(page);
            let covered = [&reported, &host, &pings].map(|note| interest.covers(note));
            assert_eq!(covered, [of_reported, of_host, of_pings], "{page}");
            assert!(interest.covers(&Told::Anew));
        }
    }
}
