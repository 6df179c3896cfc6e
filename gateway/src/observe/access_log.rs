//! Where do the lines go? The access log: buffered per data thread, written by a thread of its own.
//!
//! Promises: writing never blocks a data thread; when the writer cannot follow, lines are dropped and counted.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

/// Blocks of lines that may wait for the writer.
const WAITING_MAX: usize = 256;
/// Bytes gathered before a block is handed over; a tick hands over what there is.
const BLOCK: usize = 32 * 1024;

/// The way to the writer.
#[derive(Clone)]
pub struct AccessLog {
    writer: Option<SyncSender<Message>>,
    dropped: Arc<AtomicU64>,
}

enum Message {
    Lines(Vec<u8>),
    Flush(std::sync::mpsc::Sender<()>),
}

impl AccessLog {
    /// A log that is not written.
    pub fn off() -> AccessLog {
        AccessLog {
            writer: None,
            dropped: Arc::default(),
        }
    }

    /// A log written to `out` by a thread of its own.
    pub fn to(mut out: Box<dyn Write + Send>) -> std::io::Result<AccessLog> {
        let (sender, receiver) = sync_channel::<Message>(WAITING_MAX);
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || {
                for message in receiver {
                    match message {
                        // A log that cannot be written (a full disk, a closed pipe) must not stop the traffic.
                        Message::Lines(lines) => {
                            let _ = out.write_all(&lines);
                        }
                        Message::Flush(done) => {
                            let _ = out.flush();
                            let _ = done.send(());
                        }
                    }
                }
            })?;
        Ok(AccessLog {
            writer: Some(sender),
            dropped: Arc::default(),
        })
    }

    /// Lines that were lost because the writer could not follow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until all that was handed over is written.
    pub fn flush(&self) {
        if let Some(writer) = &self.writer {
            let (done, wait) = std::sync::mpsc::channel();
            if writer.send(Message::Flush(done)).is_ok() {
                let _ = wait.recv();
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
}

impl Lines {
    /// None yet.
    pub fn new(log: AccessLog) -> Lines {
        Lines {
            log,
            block: Vec::new(),
            count: 0,
        }
    }

    /// Whether lines are wanted at all.
    pub fn wanted(&self) -> bool {
        self.log.writer.is_some()
    }

    /// Adds a line.
    pub fn add(&mut self, record: &super::record::Record<'_>) {
        if serde_json::to_writer(&mut self.block, record).is_ok() {
            self.block.push(b'\n');
            self.count += 1;
        }
        if self.block.len() >= BLOCK {
            self.hand_over();
        }
    }

    /// Gives what there is to the writer; false when there was nothing.
    pub fn hand_over(&mut self) -> bool {
        if self.block.is_empty() {
            return false;
        }
        let block = std::mem::take(&mut self.block);
        let count = std::mem::take(&mut self.count);
        if let Some(writer) = &self.log.writer {
            match writer.try_send(Message::Lines(block)) {
                Ok(()) => self.block.reserve(BLOCK / 8),
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    self.log.dropped.fetch_add(count, Ordering::Relaxed);
                }
            }
        }
        true
    }
}
