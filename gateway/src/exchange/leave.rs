//! When does a long stream have to go? Not before the gateway stops, and then not all at the same moment.
//!
//! Promises: costs a load where the gateway serves; the moment is told anew when the gateway's end changes (another
//! process took over, then a signal stops this one). Does not: end anything.

use std::task::{Context, Poll};
use std::time::Instant;

use crate::io::timer::{Slot, Timers};
use crate::shard::{Shared, StreamKind};

/// A stream's moment to go.
pub(super) struct Leave {
    kind: StreamKind,
    /// How the gateway was ending when the moment was set.
    seen: u8,
    /// Made when it is needed.
    slot: Option<Slot>,
}

impl Leave {
    pub fn new(kind: StreamKind) -> Leave {
        Leave {
            kind,
            seen: 0,
            slot: None,
        }
    }

    /// Ready when the moment has come.
    pub fn poll(&mut self, cx: &mut Context<'_>, shared: &Shared, timers: &Timers) -> Poll<()> {
        let ending = shared.ending();
        if ending == 0 {
            return Poll::Pending;
        }
        let slot = self.slot.get_or_insert_with(|| timers.slot());
        if self.seen != ending {
            self.seen = ending;
            match shared.leave_after(self.kind, Instant::now()) {
                Some(after) => slot.set(after),
                None => slot.clear(),
            }
        }
        slot.poll_expired(cx)
    }
}
