//! Which way did a request take through the fleet? Traces: who began them is read from the request, what happened here is
//! sent to a collector as a span.
//!
//! Promises: an exchange that is not sampled costs a random number at most; spans are sent by a thread of their own, and
//! what it cannot keep up with is dropped and counted. Does not: decide for others, or keep spans.

pub mod context;
mod export;
pub mod span;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use context::Context;
use span::Span;

/// Spans that may wait for the exporter.
const WAITING_MAX: usize = 2048;
/// For the last spans when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// All of them, in parts per million.
const ALL: u32 = 1_000_000;

/// What is traced, and who hears of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the collector takes spans: `http://127.0.0.1:4318/v1/traces`.
    pub url: String,
    /// What we are called there.
    pub service: String,
    /// So many traces are begun, in parts per million of the exchanges that belong to none.
    pub sample: u32,
    /// An exchange that belongs to a trace is sampled when its caller was; else by `sample` like any other.
    pub parent_based: bool,
}

/// Begins spans and takes them when they have ended.
pub struct Tracer {
    settings: Settings,
    sender: SyncSender<Message>,
    exported: Arc<AtomicU64>,
    dropped: Arc<AtomicU64>,
}

enum Message {
    Span(Box<Span>),
    Flush(std::sync::mpsc::Sender<()>),
}

/// A trace that an exchange has a part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The trace, and our span in it: what the worker is told.
    pub here: Context,
    /// The span that called us.
    pub parent: Option<[u8; 8]>,
}

impl Tracer {
    /// Starts the exporter. The collector need not be there yet.
    pub fn start(settings: Settings) -> std::io::Result<Tracer> {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let tracer = Tracer {
            settings: settings.clone(),
            sender,
            exported: Arc::default(),
            dropped: Arc::default(),
        };
        let (exported, dropped) = (tracer.exported.clone(), tracer.dropped.clone());
        std::thread::Builder::new()
            .name("traces".into())
            .spawn(move || export::run(&settings, &receiver, &exported, &dropped))?;
        Ok(tracer)
    }

    /// Whether an exchange with this `traceparent` has a span, and which. `random` is asked for numbers.
    pub fn begin(&self, traceparent: Option<&[u8]>, random: impl Fn() -> u64) -> Option<Part> {
        let caller = traceparent.and_then(Context::parse);
        let by_chance = || {
            let sample = self.settings.sample;
            sample >= ALL || random() % u64::from(ALL) < u64::from(sample)
        };
        let sampled = match caller {
            Some(caller) if self.settings.parent_based => caller.sampled,
            _ => by_chance(),
        };
        sampled.then(|| {
            // Neither may be all zeros (W3C Trace Context section 3.2.2).
            let number = || random().max(1);
            let trace_id = caller.map_or_else(
                || (u128::from(number()) << 64) | u128::from(random()),
                |caller| caller.trace_id,
            );
            Part {
                here: Context {
                    trace_id,
                    span_id: number().to_be_bytes(),
                    sampled: true,
                },
                parent: caller.map(|caller| caller.span_id),
            }
        })
    }

    /// Takes a span that has ended.
    pub fn end(&self, span: Box<Span>) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.sender.try_send(Message::Span(span))
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Spans that the collector has taken.
    pub fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// Spans that were lost.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what has ended so far was sent, two seconds at the most.
    pub fn flush(&self) {
        let (done, wait) = std::sync::mpsc::channel();
        if self.sender.try_send(Message::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(LAST_WORDS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracer(sample: u32, parent_based: bool) -> Tracer {
        let (sender, _) = sync_channel(1);
        Tracer {
            settings: Settings {
                url: String::new(),
                service: String::new(),
                sample,
                parent_based,
            },
            sender,
            exported: Arc::default(),
            dropped: Arc::default(),
        }
    }

    const SAMPLED: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const NOT: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    #[test]
    fn a_caller_decides_where_it_is_asked() {
        let none = tracer(0, true);
        let part = none.begin(Some(SAMPLED), || 7).unwrap();
        assert_eq!(
            part.here.trace_id,
            0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c
        );
        assert_eq!(part.parent, Some(0xb7ad_6b71_6920_3331_u64.to_be_bytes()));
        assert_eq!(part.here.span_id, 7_u64.to_be_bytes());
        assert_eq!(none.begin(Some(NOT), || 7), None);
        assert_eq!(none.begin(None, || 7), None);
        assert_eq!(none.begin(Some(b"nonsense"), || 7), None);
        let all = tracer(ALL, true);
        assert_eq!(all.begin(Some(NOT), || 7), None);
        assert_eq!(
            all.begin(None, || 0).unwrap().here.span_id,
            1_u64.to_be_bytes()
        );
        assert_eq!(all.begin(Some(b"nonsense"), || 7).unwrap().parent, None);
    }

    #[test]
    fn chance_decides_where_the_caller_is_not_asked() {
        let none = tracer(0, false);
        assert_eq!(none.begin(Some(SAMPLED), || 7), None);
        let all = tracer(ALL, false);
        let part = all.begin(Some(NOT), || 7).unwrap();
        assert!(part.parent.is_some(), "it stays in its trace");
        let some = tracer(100_000, false);
        let rng = std::cell::RefCell::new(fastrand::Rng::with_seed(7));
        let random = || rng.borrow_mut().u64(..);
        let begun = (0..10_000)
            .filter(|_| some.begin(None, random).is_some())
            .count();
        assert!((800..1200).contains(&begun), "{begun}");
    }

    #[test]
    fn an_exporter_that_does_not_follow_costs_spans() {
        let (sender, _receiver) = sync_channel(1);
        let tracer = Tracer {
            sender,
            ..tracer(ALL, true)
        };
        for _ in 0..3 {
            tracer.end(Box::default());
        }
        assert_eq!(tracer.dropped(), 2);
    }
}
