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
use crate::store::page::Detail;
use crate::store::person::Session;
use crate::store::{self, Store};
use crate::worker::Worker;

/// Pages of one worker that may listen at once; 503 above.
const LISTENERS_MAX: usize = 1000;
/// Notes that a slow page may be behind; then it is told once for all of them.
const BEHIND_MAX: usize = 256;
/// A page is told at most so often.
const BETWEEN: Duration = Duration::from_secs(1);
/// What shows an index is told again so long after: package search hears what we hear, and reads then. The longer one is
/// above its `refresh`, after which it has read at the latest.
static BEHIND: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(6)];
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
    /// Packages are looked for in an index, which is told when we are.
    index: bool,
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
            index: ground.settings.package_search.url.is_some(),
        }
    }

    /// Refuses whoever wants to hear of a computer or a host that their account does not have.
    async fn may_hear(&self, account: i64, interest: &mut Interest) -> Result<(), Error> {
        match interest {
            Interest::Computer { id, host } => {
                let detail = self.computer(account, id).await?;
                *host = detail.child.map(|child| child.host.to_string());
            }
            Interest::PackagesOf(id) => {
                self.computer(account, id).await?;
            }
            Interest::Host(uid) => {
                let uid = Uuid::try_parse(uid).map_err(|_| Error::NotFound)?;
                let mut connection = self.store.connection().await?;
                let tx = store::begin(&mut connection).await?;
                let host = store::wsl_page::host(&tx, account, uid).await?;
                host.ok_or(Error::NotFound)?;
            }
            _ => {}
        }
        Ok(())
    }

    async fn computer(&self, account: i64, id: &str) -> Result<Detail, Error> {
        let id = id.parse().map_err(|_| Error::NotFound)?;
        let mut connection = self.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        let detail = store::page::computer(&tx, account, id).await?;
        detail.ok_or(Error::NotFound)
    }
}

/// What concerns a page.
#[derive(Debug, PartialEq, Eq)]
enum Interest {
    /// Any computer.
    Computers,
    /// One, and the WSL host that it lives on.
    Computer { id: String, host: Option<String> },
    /// Who waits.
    Pending,
    /// What was ordered of anybody.
    Activities,
    /// What anybody has installed.
    Packages,
    /// What one has.
    PackagesOf(String),
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
            ["computers", id, "packages"] => Self::PackagesOf(id.to_owned()),
            ["computers", id, ..] => Self::Computer {
                id: id.to_owned(),
                host: None,
            },
            ["pending"] => Self::Pending,
            ["activities", ..] => Self::Activities,
            ["packages"] => Self::Packages,
            ["hosts", uid, ..] => Self::Host(uid.to_owned()),
            ["hosts"] => Self::Hosts,
            _ => Self::Computers,
        }
    }

    fn covers(&self, note: &Told) -> bool {
        use Topic::{
            ActivityChanged, ActivityOrdered, ComputerAccepted, ComputerChanged,
            ComputerRegistered, ComputerRemoved, ComputerReported, HostChanged, InterfacesChanged,
            PackagesChanged, PingsHeard,
        };
        let Told::Event(Event { topic, subject }) = note else {
            return true;
        };
        // Every page says how many computers there are, and how many wait.
        if matches!(
            topic,
            ComputerRegistered | ComputerAccepted | ComputerRemoved
        ) {
            return true;
        }
        match self {
            Self::Computers => matches!(
                topic,
                ComputerReported | ComputerChanged | InterfacesChanged | PingsHeard
            ),
            Self::Computer { id, host } => match topic {
                PackagesChanged => false,
                HostChanged => host
                    .as_ref()
                    .is_some_and(|uid| subject == uid || subject.is_empty()),
                // Last pings are told together, without names.
                _ => subject == id || subject.is_empty(),
            },
            Self::Pending => false,
            // Computers go by their titles there.
            Self::Activities => {
                matches!(topic, ActivityOrdered | ActivityChanged | ComputerChanged)
            }
            Self::Packages => *topic == PackagesChanged,
            Self::PackagesOf(id) => *topic == PackagesChanged && subject == id,
            Self::Hosts => *topic == HostChanged,
            // Hosts that lost their worker are told together, without names.
            // It names the computers that its instances are.
            Self::Host(uid) => match topic {
                HostChanged => subject == uid || subject.is_empty(),
                _ => *topic == ComputerChanged,
            },
        }
    }

    /// Does it show what an index knows?
    fn is_of_index(&self) -> bool {
        matches!(self, Self::Packages | Self::PackagesOf(_))
    }
}

/// When is a page told? At once, but not more often than it may be; once more for what others have to learn first.
#[derive(Debug)]
struct Bell {
    /// It may not be told before.
    next: Instant,
    changed: bool,
    /// When to tell it again, in order.
    again: Vec<Instant>,
}

impl Bell {
    fn new(now: Instant) -> Self {
        Self {
            next: now,
            changed: false,
            again: Vec::new(),
        }
    }

    /// Something changed.
    fn ring(&mut self, now: Instant, again: &[Duration]) {
        self.changed = true;
        self.again = again.iter().map(|late| now + *late).collect();
    }

    /// When the page is to be told.
    fn due(&self) -> Option<Instant> {
        match self.changed {
            true => Some(self.next),
            false => self.again.first().map(|at| self.next.max(*at)),
        }
    }

    /// It is told.
    fn told(&mut self, now: Instant) {
        (self.changed, self.next) = (false, now + BETWEEN);
        self.again.retain(|at| *at > now);
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
    let mut interest = Interest::of(&asked.page);
    ears.may_hear(session.person.account, &mut interest).await?;
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
    let again: &'static [Duration] = match ears.index && interest.is_of_index() {
        true => &BEHIND[..],
        false => &[],
    };
    Ok(upgrade
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| attend(socket, interest, again, told, worker, place)))
}

async fn attend(
    mut socket: WebSocket,
    interest: Interest,
    again: &'static [Duration],
    mut told: broadcast::Receiver<Told>,
    worker: Worker,
    _place: OwnedSemaphorePermit,
) {
    let stopping = worker.stopping();
    tokio::pin!(stopping);
    let mut ask = interval(ASK);
    ask.reset();
    let mut heard = Instant::now();
    let mut bell = Bell::new(heard);
    loop {
        let due = bell.due();
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
                let concerns = match note {
                    Ok(note) => interest.covers(&note),
                    Err(broadcast::error::RecvError::Lagged(_)) => true,
                    Err(broadcast::error::RecvError::Closed) => return,
                };
                if concerns {
                    bell.ring(Instant::now(), again);
                }
                continue;
            }
            () = sleep_until(due.unwrap_or(heard)), if due.is_some() => {
                bell.told(Instant::now());
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
        let notes = [
            note(Topic::ComputerReported, "7"),
            note(Topic::ActivityChanged, "7"),
            note(Topic::PackagesChanged, "7"),
            note(Topic::HostChanged, "u"),
            note(Topic::PingsHeard, ""),
            note(Topic::ComputerChanged, "7"),
            note(Topic::ComputerChanged, ""),
        ];
        for (page, told) in [
            ("/computers", [true, false, false, false, true, true, true]),
            ("/computers/7", [true, true, false, false, true, true, true]),
            (
                "/computers/7/interfaces",
                [true, true, false, false, true, true, true],
            ),
            (
                "/computers/77",
                [false, false, false, false, true, false, true],
            ),
            (
                "/computers/7/packages",
                [false, false, true, false, false, false, false],
            ),
            ("/computers/77/packages", [false; 7]),
            (
                "/packages",
                [false, false, true, false, false, false, false],
            ),
            ("/pending", [false; 7]),
            (
                "/activities",
                [false, true, false, false, false, true, true],
            ),
            (
                "/activities/3",
                [false, true, false, false, false, true, true],
            ),
            ("/hosts", [false, false, false, true, false, false, false]),
            ("/hosts/u", [false, false, false, true, false, true, true]),
            (
                "/hosts/u/sure",
                [false, false, false, true, false, true, true],
            ),
            ("/hosts/v", [false, false, false, false, false, true, true]),
            ("", [true, false, false, false, true, true, true]),
        ] {
            let interest = Interest::of(page);
            assert_eq!(
                notes.each_ref().map(|note| interest.covers(note)),
                told,
                "{page}"
            );
            // How many there are stands on every page.
            assert!(
                interest.covers(&note(Topic::ComputerRegistered, "8")),
                "{page}"
            );
            assert!(interest.covers(&Told::Anew));
            let of_hosts = page.starts_with("/hosts");
            assert_eq!(
                interest.covers(&note(Topic::HostChanged, "")),
                of_hosts,
                "{page}"
            );
        }
        let child = Interest::Computer {
            id: "7".to_owned(),
            host: Some("u".to_owned()),
        };
        assert!(child.covers(&notes[3]) && !child.covers(&note(Topic::HostChanged, "v")));
        assert!(child.covers(&note(Topic::HostChanged, "")));
    }

    #[test]
    fn a_page_is_told_at_once_then_at_most_so_often_and_again_for_an_index() {
        let start = Instant::now();
        let mut bell = Bell::new(start);
        assert_eq!(bell.due(), None);
        bell.ring(start, &BEHIND);
        assert_eq!(bell.due(), Some(start));
        bell.told(start);
        assert_eq!(bell.due(), Some(start + BEHIND[0]));
        let second = start + BEHIND[0];
        bell.ring(second, &BEHIND);
        bell.told(second);
        // The wait for the index begins anew with each change.
        let due = second + BEHIND[0];
        assert_eq!(bell.due(), Some(due));
        bell.told(due);
        assert_eq!(bell.due(), Some(second + BEHIND[1]));
        bell.told(second + BEHIND[1]);
        assert_eq!(bell.due(), None);
        // Without one it is told once, and not before it may be.
        bell.ring(second + BEHIND[1], &[]);
        assert_eq!(bell.due(), Some(second + BEHIND[1] + BETWEEN));
    }
}
