//! Whose streams are held here? A switchboard: hosts by identity, each with a line to its stream's task.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::IntGauge;
use tokio::sync::watch;
use uuid::Uuid;

/// What a stream's task is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Look for orders. The number only grows, so that no call is lost.
    Look(u64),
    /// The host has another stream, or is forgotten: end.
    End,
}

/// A line to the task of one stream.
struct Line {
    stream: Uuid,
    call: watch::Sender<Call>,
}

/// All streams of one worker. Cheap to clone.
#[derive(Clone)]
pub struct Board {
    lines: Arc<Mutex<HashMap<Uuid, Line>>>,
    /// Streams that ended while that could not be stored: hosts, each with the stream.
    left: Arc<Mutex<Vec<(Uuid, Uuid)>>>,
    count: IntGauge,
}

impl Board {
    /// Nobody yet; `count` follows how many there are.
    pub fn new(count: IntGauge) -> Self {
        Self {
            lines: Arc::default(),
            left: Arc::default(),
            count,
        }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Uuid, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A host has this stream here. One that it had here before is ended.
    pub fn join(&self, uid: Uuid, stream: Uuid) -> watch::Receiver<Call> {
        let (call, called) = watch::channel(Call::Look(0));
        let mut lines = self.lines();
        if let Some(old) = lines.insert(uid, Line { stream, call }) {
            old.call.send_replace(Call::End);
        }
        self.count
            .set(i64::try_from(lines.len()).unwrap_or(i64::MAX));
        called
    }

    /// A stream is over; the host may have another one by now.
    pub fn leave(&self, uid: Uuid, stream: Uuid) {
        let mut lines = self.lines();
        if lines.get(&uid).is_some_and(|line| line.stream == stream) {
            lines.remove(&uid);
        }
        self.count
            .set(i64::try_from(lines.len()).unwrap_or(i64::MAX));
    }

    /// That a stream has ended is still to be stored.
    pub fn remember(&self, uid: Uuid, stream: Uuid) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.push((uid, stream));
    }

    /// All streams whose end is still to be stored; whoever cannot store one remembers it again.
    pub fn take_left(&self) -> Vec<(Uuid, Uuid)> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *left)
    }

    /// There may be orders for a host. Nothing happens where its stream is elsewhere.
    pub fn look(&self, uid: Uuid) {
        if let Some(line) = self.lines().get(&uid) {
            line.call.send_modify(|call| {
                if let Call::Look(number) = call {
                    *number = number.wrapping_add(1);
                }
            });
        }
    }

    /// This stream of a host is not the host's any more.
    pub fn end(&self, uid: Uuid, stream: Uuid) {
        let lines = self.lines();
        if let Some(line) = lines.get(&uid).filter(|line| line.stream == stream) {
            line.call.send_replace(Call::End);
        }
    }

    /// The stream of a host, where it is here.
    pub fn stream(&self, uid: Uuid) -> Option<Uuid> {
        self.lines().get(&uid).map(|line| line.stream)
    }

    /// All hosts here, each with its stream.
    pub fn all(&self) -> Vec<(Uuid, Uuid)> {
        let lines = self.lines();
        lines
            .iter()
            .map(|(uid, line)| (*uid, line.stream))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stream_of_a_host_is_its_stream() {
        let board = Board::new(IntGauge::new("a", "b").expect("a gauge"));
        let [host, one, two] = [1, 2, 3].map(Uuid::from_u128);
        let first = board.join(host, one);
        board.look(host);
        assert_eq!(*first.borrow(), Call::Look(1));
        let second = board.join(host, two);
        assert_eq!(*first.borrow(), Call::End);
        // What the first leaves behind does not concern the second.
        board.end(host, one);
        board.leave(host, one);
        assert_eq!(
            (*second.borrow(), board.stream(host)),
            (Call::Look(0), Some(two))
        );
        board.end(host, two);
        assert_eq!(*second.borrow(), Call::End);
        board.leave(host, two);
        assert_eq!((board.all(), board.count.get()), (vec![], 0));
    }
}
