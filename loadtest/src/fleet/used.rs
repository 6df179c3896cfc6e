//! What does the fleet cost those that serve it? Memory and CPU time of processes, before and with everybody there.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::told::Used;
use crate::account::{Processes, Reading};

/// So much of the end is told by itself.
const LAST: Duration = Duration::from_secs(10);

/// The account of some processes. Cheap to clone.
#[derive(Clone)]
pub struct Account(Option<Rc<Inner>>);

struct Inner {
    processes: Processes,
    memory_before: u64,
    first: Reading,
    /// A reading each second, of the last while.
    readings: RefCell<Vec<(Instant, Reading)>>,
}

impl Inner {
    fn keep(&self, now: Reading) {
        let mut readings = self.readings.borrow_mut();
        readings.push((Instant::now(), now));
        readings.retain(|(at, _)| at.elapsed() <= LAST);
    }
}

impl Account {
    /// Begins with a reading. Nothing is read where nobody is named.
    ///
    /// # Errors
    ///
    /// One of the processes is not there.
    pub fn open(ids: &[u32]) -> anyhow::Result<Account> {
        if ids.is_empty() {
            return Ok(Account(None));
        }
        let processes = Processes::below(ids)?;
        let first = processes.read()?;
        Ok(Account(Some(Rc::new(Inner {
            memory_before: processes.memory()?,
            readings: RefCell::new(vec![(Instant::now(), first)]),
            processes,
            first,
        }))))
    }

    /// Reads each second, for ever.
    pub async fn keep_reading(&self) {
        let Some(inner) = &self.0 else { return };
        // One that was killed is read no more.
        while let Ok(now) = inner.processes.read() {
            inner.keep(now);
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// What was used until now, with so many streams open.
    ///
    /// # Errors
    ///
    /// One of the processes is gone.
    pub fn used(&self, streams: usize) -> anyhow::Result<Option<Used>> {
        let Some(inner) = &self.0 else {
            return Ok(None);
        };
        let (now, memory_after) = (inner.processes.read()?, inner.processes.memory()?);
        let more = memory_after.saturating_sub(inner.memory_before) as f64;
        let share = match inner.readings.borrow().first() {
            Some((at, then)) if at.elapsed() > Duration::ZERO => {
                now.since(then).total().as_secs_f64() / at.elapsed().as_secs_f64()
            }
            _ => 0.0,
        };
        Ok(Some(Used {
            memory_before: inner.memory_before,
            memory_after,
            memory_per_stream: (streams > 0).then(|| more / streams as f64),
            cpu_seconds: now.since(&inner.first).total().as_secs_f64(),
            cpu_share_last: share,
        }))
    }
}
