//! Which lines are written, and who writes them? The access log: buffered per data thread, written by a thread of its
//! own.
//!
//! Promises: writing never blocks a data thread; when the writer cannot follow, lines are dropped and counted. Refusals
//! that cost a stranger nothing fill no disk: of them so many a second are told, and how many were not. Does not: know
//! where lines go; that is its [`Destination`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use super::format::Format;
use super::journal;
use super::record::Record;

/// Blocks of lines that may wait for the writer: 8 MiB of them.
const WAITING_MAX: usize = 64;
/// Bytes gathered before a block is handed over; a tick hands over what there is. Each block wakes the writer, which
/// costs more than to write it.
const BLOCK: usize = 128 * 1024;
/// What a line adds to a full block, usually.
const LINE: usize = 4 * 1024;
/// For the last lines to be written when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// All of them, in parts per million.
pub const ALL: u32 = 1_000_000;

/// Where lines go. Used by one thread, which may wait here, but not for ever.
pub trait Destination: Send {
    /// Writes whole lines; says how many were lost.
    fn write(&mut self, block: &[u8]) -> u64;

    /// Begins anew: a file that was renamed is left alone, and its name is written to again.
    fn reopen(&mut self) {}
}

/// What is written, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How a line is written.
    pub format: Format,
    /// As an entry of the journal.
    pub journal: bool,
    /// So many of the exchanges that ended well, in parts per million.
    pub sample: u32,
    /// Lines per second and data thread about what was refused before it was a request, or for its rate; 0 for none.
    pub refused_per_second: u32,
    /// With the client's `User-Agent`.
    pub user_agent: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            format: Format::Json,
            journal: false,
            sample: ALL,
            refused_per_second: 100,
            user_agent: false,
        }
    }
}

/// The way to the writer.
#[derive(Clone)]
pub struct AccessLog {
    writer: Option<SyncSender<Message>>,
    settings: Settings,
    dropped: Arc<AtomicU64>,
    left_out: Arc<AtomicU64>,
}

enum Message {
    Lines(Vec<u8>),
    Reopen,
    Flush(std::sync::mpsc::Sender<()>),
}

impl AccessLog {
    /// A log that is not written.
    pub fn off() -> AccessLog {
        AccessLog {
            writer: None,
            settings: Settings::default(),
            dropped: Arc::default(),
            left_out: Arc::default(),
        }
    }

    /// A log written to `to` by a thread of its own.
    pub fn to(mut to: Box<dyn Destination>, settings: Settings) -> std::io::Result<AccessLog> {
        let (sender, receiver) = sync_channel::<Message>(WAITING_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = dropped.clone();
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || {
                for message in receiver {
                    match message {
                        // A log that cannot be written (a full disk, a closed pipe) must not stop the traffic.
                        Message::Lines(lines) => {
                            lost.fetch_add(to.write(&lines), Ordering::Relaxed);
                        }
                        Message::Reopen => to.reopen(),
                        Message::Flush(done) => {
                            let _ = done.send(());
                        }
                    }
                }
            })?;
        Ok(AccessLog {
            writer: Some(sender),
            settings,
            dropped,
            left_out: Arc::default(),
        })
    }

    /// Lines that were lost: the writer could not follow, or its destination did not take them.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Lines about refusals that were not written because there were too many.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// Asks the writer to begin its file anew.
    pub fn reopen(&self) {
        if let Some(writer) = &self.writer {
            // A writer that has no room for this has other worries; the file is looked at anyway, now and then.
            let _ = writer.try_send(Message::Reopen);
        }
    }

    /// Waits until all that was handed over is written, a few seconds at the most.
    pub fn flush(&self) {
        if let Some(writer) = &self.writer {
            let (done, wait) = std::sync::mpsc::channel();
            let asked = Instant::now();
            let mut message = Message::Flush(done);
            while asked.elapsed() < LAST_WORDS {
                match writer.try_send(message) {
                    Ok(()) => {
                        let _ = wait.recv_timeout(LAST_WORDS.saturating_sub(asked.elapsed()));
                        return;
                    }
                    Err(TrySendError::Full(back)) => message = back,
                    Err(TrySendError::Disconnected(_)) => return,
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// The lines of a data thread.
pub struct Lines {
    log: AccessLog,
    block: Vec<u8>,
    /// Lines in it.
    count: u64,
    refusals: Refusals,
}

impl Lines {
    /// None yet.
    pub fn new(log: AccessLog, now: Instant) -> Lines {
        Lines {
            refusals: Refusals::new(log.settings.refused_per_second, now),
            log,
            block: Vec::new(),
            count: 0,
        }
    }

    /// Whether lines are wanted at all.
    pub fn wanted(&self) -> bool {
        self.log.writer.is_some()
    }

    /// What is written, and how.
    pub fn settings(&self) -> &Settings {
        &self.log.settings
    }

    /// Whether an exchange that ended well is worth a line.
    pub fn samples(&self, random: impl FnOnce() -> u64) -> bool {
        let sample = self.log.settings.sample;
        sample >= ALL || random() % u64::from(ALL) < u64::from(sample)
    }

    /// Whether a refusal may have a line now, and how many had none before it.
    pub fn admits_refusal(&mut self, now: Instant) -> Option<u64> {
        let admitted = self.refusals.admit(now);
        if admitted.is_none() {
            self.log.left_out.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// Adds a line.
    pub fn add(&mut self, record: &Record<'_>) {
        let Settings {
            format, journal, ..
        } = self.log.settings;
        if journal {
            journal::write(&mut self.block, format, record);
        } else {
            format.write(&mut self.block, record);
            self.block.push(b'\n');
        }
        self.count += 1;
        if self.block.len() >= BLOCK {
            self.hand_over();
        }
    }

    /// Gives what there is to the writer; false when there was nothing.
    pub fn hand_over(&mut self) -> bool {
        if self.block.is_empty() {
            return false;
        }
        // The next block will be about as long, and one that grows is copied each time.
        let next = Vec::with_capacity((self.block.len() * 3 / 2).min(BLOCK) + LINE);
        let block = std::mem::replace(&mut self.block, next);
        let count = std::mem::take(&mut self.count);
        if let Some(writer) = &self.log.writer {
            match writer.try_send(Message::Lines(block)) {
                Ok(()) => {}
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    self.log.dropped.fetch_add(count, Ordering::Relaxed);
                }
            }
        }
        true
    }
}

/// A bucket of lines about refusals, filled again every second.
struct Refusals {
    per_second: u32,
    left: u32,
    since: Instant,
    left_out: u64,
}

impl Refusals {
    fn new(per_second: u32, now: Instant) -> Refusals {
        Refusals {
            per_second,
            left: per_second,
            since: now,
            left_out: 0,
        }
    }

    fn admit(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            self.left = self.per_second;
            self.since = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Some(std::mem::take(&mut self.left_out))
            }
            None => {
                self.left_out += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::time::Moment;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Waits at a gate before each block.
    struct Slow(Receiver<()>, Sender<Vec<u8>>);

    impl Destination for Slow {
        fn write(&mut self, block: &[u8]) -> u64 {
            let _ = self.0.recv();
            let _ = self.1.send(block.to_vec());
            0
        }
    }

    /// Takes nothing.
    struct Full;

    impl Destination for Full {
        fn write(&mut self, block: &[u8]) -> u64 {
            block.iter().filter(|c| **c == b'\n').count() as u64
        }
    }

    fn record() -> Record<'static> {
        Record::new(Moment(0), "http", ([127, 0, 0, 1], 1).into())
    }

    #[test]
    fn a_slow_writer_costs_lines_and_never_time() {
        let (gate, wait) = channel();
        let (written, read) = channel();
        let log = AccessLog::to(Box::new(Slow(wait, written)), Settings::default()).unwrap();
        let mut lines = Lines::new(log.clone(), Instant::now());
        let blocks = WAITING_MAX as u64 + 50;
        for _ in 0..blocks {
            lines.add(&record());
            lines.add(&record());
            lines.hand_over();
        }
        // One block may be in the writer's hands.
        let lost = log.dropped();
        assert!((98..=100).contains(&lost), "{lost}");
        drop(gate);
        log.flush();
        let whole: usize = read
            .try_iter()
            .map(|block| block.iter().filter(|c| **c == b'\n').count())
            .sum();
        assert_eq!(
            whole as u64 + lost,
            blocks * 2,
            "every line is accounted for"
        );
    }

    #[test]
    fn what_a_destination_does_not_take_is_counted() {
        let log = AccessLog::to(Box::new(Full), Settings::default()).unwrap();
        let mut lines = Lines::new(log.clone(), Instant::now());
        lines.add(&record());
        lines.add(&record());
        lines.hand_over();
        log.flush();
        assert_eq!(log.dropped(), 2);
    }

    #[test]
    fn refusals_are_told_so_many_a_second_and_how_many_were_not() {
        let now = Instant::now();
        let mut refusals = Refusals::new(2, now);
        let told: Vec<_> = (0..5).map(|_| refusals.admit(now)).collect();
        assert_eq!(told, [Some(0), Some(0), None, None, None]);
        let later = now + Duration::from_secs(1);
        assert_eq!(refusals.admit(later), Some(3));
        assert_eq!(refusals.admit(later), Some(0));
        assert_eq!(refusals.admit(later), None);
        assert_eq!(Refusals::new(0, now).admit(later), None, "none at all");
    }

    #[test]
    fn a_sample_is_about_its_share() {
        let settings = Settings {
            sample: 100_000,
            ..Settings::default()
        };
        let log = AccessLog::to(Box::new(Full), settings).unwrap();
        let lines = Lines::new(log, Instant::now());
        let mut rng = fastrand::Rng::with_seed(7);
        let taken = (0..10_000)
            .filter(|_| lines.samples(|| rng.u64(..)))
            .count();
        assert!((800..1200).contains(&taken), "{taken}");
    }
}
