//! Has this computer something to fetch? Asked by every agent every half minute, answered from memory.
//!
//! A ping is not authenticated and says one number. It is looked up in a copy that is refreshed from
//! the database; a number that nobody has costs a look into that copy and nothing more. When whom was
//! heard of is kept and written in bulk, also when the worker stops; a worker that is killed loses
//! the last few seconds of it, which the next pings bring back. Notes of the broker say of whom to look
//! at once; without them the next refresh does.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{debug, warn};

use super::Service;
use crate::broker::consume::{self, Told};
use crate::broker::topology::Vhost;
use crate::domain::event::Topic;
use crate::error::Error;
use crate::front;
use crate::metrics::Metrics;
use crate::serve::{Ground, Live, StartError};
use crate::settings;
use crate::store::{Store, StoreError, ping};
use crate::stub;
use crate::worker::Worker;

/// The ping server: tells agents whether something waits for them.
pub const SERVICE: Service = Service {
    name: "pingserver",
    routes: stub::routes,
    open: Some(|ground| open(ground).boxed()),
    check: None,
};

/// Largest ping, bytes.
const BODY_BYTES_MAX: usize = 1024;
/// Numbers of computers are given before they are committed: so far back is looked again.
const OVERLAP: i64 = 1000;
/// What of all that happens says something about what to answer.
static TOPICS: [Topic; 5] = [
    Topic::ActivityOrdered,
    Topic::ComputerRegistered,
    Topic::ComputerAccepted,
    Topic::ComputerRemoved,
    Topic::ComputerReported,
];
/// Most computers that are looked up at once after notes.
const LOOK_MAX: usize = 1000;
/// So long notes are gathered before anybody is looked up: a storm of them is a few statements.
const GATHER: Duration = Duration::from_millis(20);
/// Most times in one statement.
const BATCH: usize = 5000;

/// What is known, as of the last refresh.
#[derive(Default)]
struct Roll {
    /// Number of the computer by what it pings with.
    computers: HashMap<i64, i64>,
    highest: i64,
    waited_for: HashSet<i64>,
    /// Not written yet: when a computer was heard of. At most as many as there are computers.
    heard: HashMap<i64, SystemTime>,
}

#[derive(Clone)]
struct Desk {
    store: Store,
    metrics: Metrics,
    roll: Arc<Mutex<Roll>>,
}

async fn open(ground: Ground) -> Result<Live, StartError> {
    let desk = Desk {
        store: ground.store.clone(),
        metrics: ground.metrics.clone(),
        roll: Arc::default(),
    };
    // A server that knows nobody would tell everybody no.
    desk.reload().await?;
    let routes = Router::new()
        .route("/ping", post(answer))
        .with_state(desk.clone());
    let settings = ground.settings.pingserver;
    let told = consume::notes(&ground.broker, Vhost::Services, &TOPICS);
    tokio::spawn(keep_told(desk.clone(), told, ground.worker.clone()));
    tokio::spawn(keep_fresh(
        desk.clone(),
        settings.clone(),
        ground.worker.clone(),
    ));
    tokio::spawn(keep_written(desk.clone(), settings, ground.worker.clone()));
    Ok(Live {
        routes: front::around(routes, &ground.worker, &ground.metrics, &ground.store),
        last: Some(async move { desk.write().await }.boxed()),
    })
}

async fn answer(State(desk): State<Desk>, request: Request) -> Result<Response, Error> {
    let body = to_bytes(request.into_body(), BODY_BYTES_MAX).await;
    let insecure = body.ok().and_then(|body| insecure_id(&body));
    let Some(insecure) = insecure else {
        desk.count("malformed");
        return Err(Error::Malformed("no ping".to_owned()));
    };
    let heard = desk.roll().hear(insecure, SystemTime::now());
    let yes = heard == Some(true);
    desk.count(match heard {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    });
    // Nothing but this one entry: an agent takes any other for no.
    let said = if yes {
        "du8:messagesb1;"
    } else {
        "du8:messagesb0;"
    };
    let kind = HeaderValue::from_static("application/octet-stream");
    Ok(([(header::CONTENT_TYPE, kind)], said).into_response())
}

/// The number in a form with `insecure_id`.
fn insecure_id(body: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(body).ok()?;
    let mut fields = text.trim_end().split('&');
    let value = fields.find_map(|field| field.strip_prefix("insecure_id="))?;
    // A number too large for us is a number that nobody has.
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().unwrap_or(-1))
}

impl Roll {
    /// A computer was heard of. True where something waits for it; None for a number nobody has.
    fn hear(&mut self, insecure: i64, now: SystemTime) -> Option<bool> {
        let computer = *self.computers.get(&insecure)?;
        self.heard.insert(computer, now);
        Some(self.waited_for.contains(&insecure))
    }

    fn add(&mut self, computers: Vec<(i64, i64)>) {
        let highest = computers.iter().map(|(_, id)| *id).max();
        self.highest = self.highest.max(highest.unwrap_or(0));
        self.computers.extend(computers);
    }

    /// What is known anew of some computers, of all that were asked for: who is missing is gone.
    fn replace(&mut self, asked: &HashSet<i64>, found: &[(i64, i64, bool)]) {
        let there: HashSet<i64> = found.iter().map(|(_, id, _)| *id).collect();
        let identities: HashMap<i64, i64> = found.iter().map(|(own, id, _)| (*id, *own)).collect();
        // An identity that was replaced is void at once.
        let old = self.computers.iter().filter(|(own, id)| {
            asked.contains(*id) && identities.get(*id).is_none_or(|now| now != *own)
        });
        let void: Vec<i64> = match there.len() == asked.len() && self.knows(&identities) {
            true => Vec::new(),
            false => old.map(|(own, _)| *own).collect(),
        };
        for own in void {
            self.computers.remove(&own);
            self.waited_for.remove(&own);
        }
        for (own, id, waits) in found {
            self.computers.insert(*own, *id);
            self.highest = self.highest.max(*id);
            match waits {
                true => self.waited_for.insert(*own),
                false => self.waited_for.remove(own),
            };
        }
    }

    /// Are all these identities known? Then none was replaced, and nobody needs to be looked for.
    fn knows(&self, identities: &HashMap<i64, i64>) -> bool {
        let known = |(id, own): (&i64, &i64)| self.computers.get(own) == Some(id);
        identities.iter().all(known)
    }

    /// Takes up to `most` times that are not written.
    fn take(&mut self, most: usize) -> Vec<(i64, SystemTime)> {
        let ids: Vec<i64> = self.heard.keys().take(most).copied().collect();
        ids.into_iter()
            .filter_map(|id| self.heard.remove_entry(&id))
            .collect()
    }

    /// Puts back what could not be written, but for those heard of again meanwhile.
    fn put_back(&mut self, heard: Vec<(i64, SystemTime)>) {
        for (id, at) in heard {
            self.heard.entry(id).or_insert(at);
        }
    }
}

impl Desk {
    fn roll(&self) -> MutexGuard<'_, Roll> {
        // What another thread left behind in a panic is no worse than an old copy.
        self.roll.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, answer: &str) {
        self.metrics.pings.with_label_values(&[answer]).inc();
    }

    fn count_store(&self, what: &str, end: &Result<(), StoreError>) {
        let end = if end.is_ok() { "ok" } else { "failed" };
        self.metrics
            .ping_store
            .with_label_values(&[what, end])
            .inc();
    }

    /// Everything anew: computers that are gone are gone here, too.
    async fn reload(&self) -> Result<(), StoreError> {
        let connection = self.store.connection().await?;
        let computers = ping::computers(&connection, 0).await?;
        let waited_for = ping::waited_for(&connection).await?;
        let mut roll = self.roll();
        roll.computers.clear();
        roll.add(computers);
        roll.waited_for = waited_for.into_iter().collect();
        debug!(computers = roll.computers.len(), "reloaded");
        Ok(())
    }

    /// What is new: computers, and who is waited for.
    async fn refresh(&self) -> Result<(), StoreError> {
        let connection = self.store.connection().await?;
        let from = self.roll().highest - OVERLAP;
        let computers = ping::computers(&connection, from).await?;
        let waited_for = ping::waited_for(&connection).await?;
        let mut roll = self.roll();
        roll.add(computers);
        roll.waited_for = waited_for.into_iter().collect();
        Ok(())
    }

    /// What is known anew of these computers.
    async fn look(&self, asked: &HashSet<i64>) -> Result<(), StoreError> {
        let connection = self.store.connection().await?;
        let ids: Vec<i64> = asked.iter().copied().collect();
        let found = ping::some(&connection, &ids).await?;
        self.roll().replace(asked, &found);
        Ok(())
    }

    /// Writes all times that wait; what cannot be written waits on.
    async fn write(&self) {
        loop {
            let batch = self.roll().take(BATCH);
            if batch.is_empty() {
                break;
            }
            let written = async {
                let mut connection = self.store.connection().await?;
                ping::write(&mut connection, &batch).await
            };
            let written = written.await;
            self.count_store("write", &written);
            if let Err(problem) = written {
                warn!(%problem, "ping times are not written");
                self.roll().put_back(batch);
                break;
            }
        }
        let waiting = self.roll().heard.len();
        self.metrics
            .ping_waiting
            .set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }
}

async fn keep_fresh(desk: Desk, settings: settings::Pingserver, worker: Worker) {
    let mut refresh = interval(settings.refresh);
    let mut reload = interval(settings.reload);
    for timer in [&mut refresh, &mut reload] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        timer.reset();
    }
    let stopping = worker.stopping();
    tokio::pin!(stopping);
    loop {
        let done = tokio::select! {
            () = &mut stopping => return,
            _ = reload.tick() => desk.reload().await,
            _ = refresh.tick() => desk.refresh().await,
        };
        desk.count_store("refresh", &done);
        if let Err(problem) = done {
            warn!(%problem, "answering from an old copy");
        }
    }
}

/// Looks up whom the notes are about. What fails is looked up by the next refresh.
async fn keep_told(desk: Desk, mut told: mpsc::Receiver<Told>, worker: Worker) {
    let stopping = worker.stopping();
    tokio::pin!(stopping);
    loop {
        let first = tokio::select! {
            () = &mut stopping => return,
            first = told.recv() => first,
        };
        let Some(first) = first else { return };
        sleep(GATHER).await;
        let (mut anew, mut asked) = (false, HashSet::new());
        let mut next = Some(first);
        while let Some(note) = next {
            match note {
                Told::Anew => anew = true,
                Told::Event(event) => asked.extend(event.computer()),
            }
            next = match asked.len() < LOOK_MAX {
                true => told.try_recv().ok(),
                false => None,
            };
        }
        let done = match anew {
            true => desk.reload().await,
            false => desk.look(&asked).await,
        };
        desk.count_store("told", &done);
        if let Err(problem) = done {
            warn!(%problem, "answering from an old copy");
        }
    }
}

async fn keep_written(desk: Desk, settings: settings::Pingserver, worker: Worker) {
    let mut write = interval(settings.write);
    write.set_missed_tick_behavior(MissedTickBehavior::Delay);
    write.reset();
    let stopping = worker.stopping();
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            // What is left is written when the last ping has been answered.
            () = &mut stopping => return,
            _ = write.tick() => desk.write().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_says_one_number() {
        for (body, number) in [
            (b"insecure_id=1000".as_slice(), Some(1000)),
            (b"a=b&insecure_id=7&c=d", Some(7)),
            (b"insecure_id=0\r\n", Some(0)),
            (b"insecure_id=99999999999999999999", Some(-1)),
            (b"insecure_id=", None),
            (b"insecure_id=-1", None),
            (b"insecure_id=1%30", None),
            (b"", None),
            (b"\xff", None),
        ] {
            assert_eq!(insecure_id(body), number, "{}", body.escape_ascii());
        }
    }

    #[test]
    fn what_is_looked_up_takes_the_place_of_what_was_known() {
        let mut roll = Roll::default();
        roll.add(vec![(100, 1), (200, 2), (300, 3)]);
        roll.waited_for.extend([200, 300]);
        // The first waits now, the second has a new identity, the third is gone, the fourth is new.
        let asked = HashSet::from([1, 2, 3, 4]);
        roll.replace(&asked, &[(100, 1, true), (201, 2, false), (400, 4, false)]);
        let known = HashMap::from([(100, 1), (201, 2), (400, 4)]);
        assert_eq!((&roll.computers, roll.highest), (&known, 4));
        assert_eq!(roll.waited_for, HashSet::from([100]));
        roll.replace(&HashSet::from([1]), &[(100, 1, false)]);
        assert_eq!((&roll.computers, roll.waited_for.len()), (&known, 0));
    }

    #[test]
    fn strangers_leave_no_trace_and_nothing_is_lost_when_a_write_fails() {
        let (early, late) = (SystemTime::UNIX_EPOCH, SystemTime::now());
        let mut roll = Roll::default();
        roll.add(vec![(100, 1), (200, 2)]);
        roll.waited_for.insert(200);
        assert_eq!(roll.hear(300, late), None);
        assert_eq!(roll.hear(100, early), Some(false));
        assert_eq!(roll.hear(200, early), Some(true));
        assert_eq!(roll.heard.len(), 2);
        let taken = roll.take(10);
        assert_eq!((taken.len(), roll.heard.len()), (2, 0));
        assert_eq!(roll.hear(100, late), Some(false));
        roll.put_back(taken);
        assert_eq!(roll.heard, HashMap::from([(1, late), (2, early)]));
    }
}
