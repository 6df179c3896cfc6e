//! Has the file changed? A reload without anybody asking for it.
//!
//! Promises: the file is looked at once a second where `reload: { on_change: on }` says so, also behind links and where
//! another file takes its place; it is read once it has stayed the same for a second, so not while it is written. One
//! with mistakes is told once and not read again before it changes. Looking costs one system call.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{Reload, Way};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// What tells one state of a file from another: device, number, size, and when its content and it were changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark([i64; 7]);

impl Mark {
    /// The file's, behind links; `None` where there is none.
    pub fn of(path: &Path) -> Option<Mark> {
        let found = std::fs::metadata(path).ok()?;
        Some(Mark([
            found.dev() as i64,
            found.ino() as i64,
            found.size() as i64,
            found.mtime(),
            found.mtime_nsec(),
            found.ctime(),
            found.ctime_nsec(),
        ]))
    }
}

/// What was seen, and what is to be done about it.
#[derive(Default)]
struct Watch {
    last: Option<Mark>,
}

impl Watch {
    /// Whether the file is to be read: it is another than the one that was `read`, and the same as at the last look.
    fn look(&mut self, now: Option<Mark>, read: Option<Mark>) -> bool {
        let settled = now.is_some() && now == self.last;
        self.last = now;
        settled && now != read
    }
}

/// Looks until the process ends.
pub async fn watch(reload: Arc<Reload>) {
    let mut watch = Watch::default();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if !reload.shared.plan.load().config.reload.on_change {
            // From the moment it is turned on, changes count.
            watch = Watch::default();
            continue;
        }
        if reload.shared.is_draining() {
            return;
        }
        let read = *reload.read.lock().unwrap_or_else(PoisonError::into_inner);
        if watch.look(Mark::of(&reload.path), read) {
            // Told by itself.
            let _ = reload.reload(Way::File);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: i64) -> Option<Mark> {
        Some(Mark([number; 7]))
    }

    #[test]
    fn a_file_is_read_once_it_stays_the_same_and_only_once() {
        let mut watch = Watch::default();
        let mut read = mark(1);
        let looks = [
            (mark(1), false),
            (mark(1), false),
            (mark(2), false),
            // Still being written.
            (mark(3), false),
            (mark(3), true),
            (mark(3), false),
            // Replaced: gone for a moment.
            (None, false),
            (mark(4), false),
            (mark(4), true),
            (mark(4), false),
        ];
        for (at, (seen, expected)) in looks.into_iter().enumerate() {
            assert_eq!(watch.look(seen, read), expected, "look {at}");
            if expected {
                read = seen;
            }
        }
    }
}
