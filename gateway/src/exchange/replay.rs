//! Can a request body be sent again? It is kept on its way up to a bound, or taken whole before it goes on.
//!
//! Promises: what is kept is bounded by the pool's `retry`, the route's `buffer_request` and, for all exchanges together,
//! by `buffers_bytes_max`; a body that is longer goes on, but only once. Does not: decide whether it may be sent again.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};

use crate::exchange::failure::Failure;
use crate::exchange::flow::patience::Patience;
use crate::exchange::flow::{Cause, Frame, Pace, Pull, Source, Straight};
use crate::exchange::job::Lost;
use crate::exchange::mirror::Copy;
use crate::io::timer::Slot;
use crate::limit::memory::{Kept, Share};
use crate::message::Fields;

/// So much of each body is kept without asking whether there is room: small bodies are many, and counting costs.
const FREE: usize = 16 * 1024;

/// A request body that can be sent again: what was pulled is kept up to a bound.
pub struct Replay {
    source: Source,
    kept: Vec<Bytes>,
    kept_bytes: usize,
    limit: usize,
    /// Next kept piece to give out.
    at: usize,
    /// More was pulled than is kept.
    lost: bool,
    /// The body was taken to its end before it went on. Boxed: few are, and each exchange would hold the room for it.
    whole: Option<Box<Whole>>,
    committed: Rc<Cell<bool>>,
    budget: Option<Rc<Share>>,
    counted: Option<Kept>,
    copy: Option<Box<Copy>>,
}

/// The end of a body that was taken before it went on.
struct Whole {
    trailers: Option<Fields>,
}

impl Replay {
    /// Keeps up to `limit` bytes.
    pub fn new(source: Source, limit: usize) -> Replay {
        Replay {
            source,
            kept: Vec::new(),
            kept_bytes: 0,
            limit,
            at: 0,
            lost: false,
            whole: None,
            committed: Rc::default(),
            budget: None,
            counted: None,
            copy: None,
        }
    }

    /// Keeps no more than all bodies together may.
    pub fn within(mut self, budget: &Rc<Share>) -> Replay {
        if !self.is_empty() {
            self.budget = Some(budget.clone());
        }
        self
    }

    /// What comes from the client goes there, too.
    pub fn copy_to(&mut self, copy: Box<Copy>) {
        self.copy = Some(copy);
    }

    /// Starts again from the first byte; false when that is not possible any more.
    pub fn rewind(&mut self) -> bool {
        self.at = 0;
        !self.lost
    }

    /// A switch that, once set, says that nothing will be sent again: what was kept is let go.
    pub fn commit_switch(&self) -> Rc<Cell<bool>> {
        self.committed.clone()
    }

    /// Whether the body was pulled whole.
    pub fn is_done(&self) -> bool {
        self.source.is_done() && self.at == self.kept.len()
    }

    /// Whether the client has nothing more to send.
    pub fn is_received(&self) -> bool {
        self.source.is_done()
    }

    /// The body's source; what was kept is let go.
    pub fn take_source(&mut self) -> Source {
        self.let_go();
        std::mem::replace(&mut self.source, Source::Empty)
    }

    /// Whether there is no body.
    pub fn is_empty(&self) -> bool {
        matches!(self.source, Source::Empty)
    }

    /// Takes the body before it goes on: whole, or the first `limit` bytes of it and what came with them. `patience` is
    /// for the client's next piece; more than `bytes_max` (0: any) is too much.
    pub async fn gather(&mut self, limit: usize, pace: Pace, timer: &Slot) -> Result<(), Failure> {
        let bytes_max = pace.bytes_max;
        let mut patience = Patience::new(pace.read, pace.read_rate_min);
        while self.kept_bytes < limit {
            let moved = self.kept_bytes as u64;
            let frame = std::future::poll_fn(|cx| {
                let polled = self.source.poll_next(cx);
                patience.poll(cx, timer, moved, polled)
            })
            .await;
            timer.clear();
            let frame = frame
                .unwrap_or(Err(Cause::Timeout))
                .map_err(|cause| Lost::client(&cause).failure)?;
            self.note(&frame);
            match frame {
                Frame::Data(data) => {
                    let total = self.kept_bytes + data.len();
                    if bytes_max > 0 && total as u64 > bytes_max {
                        return Err(Failure::BodyTooLarge);
                    }
                    if !self.count(data.len()) {
                        return Err(Failure::BuffersFull);
                    }
                    self.keep(data);
                }
                Frame::End(trailers) => {
                    self.whole = Some(Box::new(Whole { trailers }));
                    break;
                }
            }
        }
        self.limit = self.limit.max(self.kept_bytes);
        Ok(())
    }

    /// Bytes that are kept.
    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Pieces that are small lie in blocks that are not: they are put together, so that what is counted is what is held.
    fn keep(&mut self, data: Bytes) {
        const SMALL: usize = 4 * 1024;
        self.kept_bytes += data.len();
        match self.kept.pop() {
            Some(last) if last.len() + data.len() <= SMALL => {
                let mut both = BytesMut::with_capacity(last.len() + data.len());
                both.extend_from_slice(&last);
                both.extend_from_slice(&data);
                self.kept.push(both.freeze());
            }
            last => {
                self.kept.extend(last);
                self.kept.push(data);
            }
        }
    }

    /// Counts bytes that are to be kept, if there is room for them.
    fn count(&mut self, bytes: usize) -> bool {
        match &self.budget {
            None => true,
            Some(budget) => self
                .counted
                .get_or_insert_with(|| budget.0.keep())
                .grow(bytes),
        }
    }

    /// Whether a piece on its way can be kept.
    fn fits(&mut self, bytes: usize) -> bool {
        let total = self.kept_bytes + bytes;
        if self.committed.get() || self.lost || total > self.limit {
            return false;
        }
        if total <= FREE {
            return true;
        }
        // What was free until now counts from now on.
        let uncounted = if self.counted.is_some() { bytes } else { total };
        self.count(uncounted)
    }

    fn note(&mut self, frame: &Frame) {
        let Some(copy) = &mut self.copy else { return };
        match frame {
            Frame::Data(data) => {
                if !copy.add(data) {
                    self.copy = None;
                }
            }
            Frame::End(_) => {
                if let Some(copy) = self.copy.take() {
                    copy.send();
                }
            }
        }
    }

    fn let_go(&mut self) {
        self.lost |= self.at > 0;
        self.kept = Vec::new();
        self.kept_bytes = 0;
        self.counted = None;
        self.at = 0;
    }
}

impl Pull for Replay {
    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Cause>> {
        if let Some(data) = self.kept.get(self.at) {
            let data = data.clone();
            self.at += 1;
            return Poll::Ready(Ok(Frame::Data(data)));
        }
        if self.committed.get() && !self.kept.is_empty() {
            self.let_go();
        }
        if let Some(whole) = &mut self.whole {
            let trailers = whole.trailers.take();
            // Trailers come once: a body that had some cannot be sent again after them.
            self.lost |= trailers.is_some();
            return Poll::Ready(Ok(Frame::End(trailers)));
        }
        let frame = ready!(self.source.poll_next(cx))?;
        self.note(&frame);
        match &frame {
            Frame::Data(data) if self.fits(data.len()) => {
                self.kept_bytes += data.len();
                self.kept.push(data.clone());
                self.at += 1;
            }
            Frame::Data(_) => {
                self.let_go();
                self.lost = true;
            }
            Frame::End(Some(_)) => self.lost = true,
            Frame::End(None) => {}
        }
        Poll::Ready(Ok(frame))
    }

    fn is_last(&self) -> bool {
        let rest = match &self.whole {
            Some(whole) => whole.trailers.is_none(),
            None => self.source.is_done(),
        };
        rest && self.at == self.kept.len()
    }

    fn straight(&mut self) -> Option<Straight<'_>> {
        let is_wanted = self.whole.is_some() || self.copy.is_some();
        if is_wanted || !self.kept.is_empty() || !(self.lost || self.committed.get()) {
            return None;
        }
        let straight = self.source.straight()?;
        // What goes past is not kept.
        self.lost = true;
        Some(straight)
    }
}
