//! Which long streams are open? Each data thread keeps its own; an operator's question goes round and is answered by all.
//!
//! Promises: a request that becomes no long stream costs nothing; nobody waits for an answer but who asked, and not for
//! long. Does not: count connections; [`super::Clients`] does.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::tally::Tally;

/// A data thread that has not answered by then is left out.
const PATIENCE: Duration = Duration::from_secs(2);

/// An open stream, as operators are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongStream {
    /// When its request was whole.
    pub since: Instant,
    /// Name of the listener.
    pub listener: String,
    /// `websocket` or `grpc`.
    pub kind: &'static str,
    /// Who asked.
    pub client: IpAddr,
    /// Name of the route.
    pub route: String,
    /// Name of the pool.
    pub pool: String,
    /// Where it goes.
    pub worker: SocketAddr,
    /// Its id.
    pub request_id: String,
    /// Bytes from the client, so far.
    pub bytes_in: u64,
    /// Bytes to the client, so far.
    pub bytes_out: u64,
}

/// The streams of a data thread, the oldest first.
#[derive(Default)]
pub struct Streams {
    next: Cell<u64>,
    open: RefCell<BTreeMap<u64, Open>>,
}

struct Open {
    stream: LongStream,
    tally: Rc<Tally>,
}

/// A stream's place; given back on drop.
pub struct Place {
    streams: Rc<Streams>,
    number: u64,
}

impl Streams {
    /// One more; its counts are read where they are kept.
    pub fn enter(self: &Rc<Self>, stream: LongStream, tally: Rc<Tally>) -> Place {
        let number = self.next.get();
        self.next.set(number + 1);
        let open = Open { stream, tally };
        self.open.borrow_mut().insert(number, open);
        Place {
            streams: self.clone(),
            number,
        }
    }

    /// The oldest, so many at most.
    fn oldest(&self, limit: usize) -> Vec<LongStream> {
        let open = self.open.borrow();
        let told = open.values().take(limit).map(|open| LongStream {
            bytes_in: open.tally.bytes_in.get(),
            bytes_out: open.tally.bytes_out.get(),
            ..open.stream.clone()
        });
        told.collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.streams.open.borrow_mut().remove(&self.number);
    }
}

/// What an operator wants to know of every data thread.
#[derive(Clone, Debug)]
pub struct Question {
    limit: usize,
    answers: mpsc::UnboundedSender<Vec<LongStream>>,
}

impl Question {
    /// Answers for a data thread.
    pub fn answer(&self, streams: &Streams) {
        // Who asked may have gone.
        let _ = self.answers.send(streams.oldest(self.limit));
    }
}

/// Asks so many data threads by way of `send`: the oldest streams of all.
pub async fn ask(
    threads: usize,
    limit: usize,
    send: impl FnOnce(Option<Arc<Question>>),
) -> Vec<LongStream> {
    let (answers, mut answered) = mpsc::unbounded_channel();
    send(Some(Arc::new(Question { limit, answers })));
    let mut all = Vec::new();
    let collect = async {
        for _ in 0..threads {
            match answered.recv().await {
                Some(streams) => all.extend(streams),
                None => break,
            }
        }
    };
    let _ = tokio::time::timeout(PATIENCE, collect).await;
    all.sort_by_key(|stream| stream.since);
    all.truncate(limit);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(since: Instant, id: &str) -> LongStream {
        LongStream {
            since,
            listener: "https".into(),
            kind: "websocket",
            client: [127, 0, 0, 1].into(),
            route: "/".into(),
            pool: "app".into(),
            worker: SocketAddr::from(([127, 0, 0, 1], 1)),
            request_id: id.into(),
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    #[test]
    fn the_oldest_are_told_with_their_counts_and_places_are_given_back() {
        let streams = Rc::new(Streams::default());
        let now = Instant::now();
        let tally = Rc::new(Tally::default());
        let enter = |id| streams.enter(stream(now, id), tally.clone());
        let places = ["a", "b", "c"].map(enter);
        tally.bytes_in.set(7);
        let told = streams.oldest(2);
        assert_eq!((told.len(), told[0].bytes_in), (2, 7));
        assert_eq!(told[1].request_id, "b");
        let [first, _second, third] = places;
        drop(first);
        let ids = || -> Vec<_> {
            let left = streams.oldest(9).into_iter();
            left.map(|stream| stream.request_id).collect()
        };
        assert_eq!(ids(), ["b", "c"]);
        drop(third);
        assert_eq!(ids(), ["b"]);
    }
}
