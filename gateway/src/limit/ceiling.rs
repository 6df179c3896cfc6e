//! Is the memory used up? One answer for all threads, with a gap between yes and no.
//!
//! Promises: asking is one load. Does not: measure; what is used and what is there is handed in.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How much memory the process may use before it takes no more requests.
#[derive(Debug, Default)]
pub struct Ceiling {
    max: AtomicU64,
    reached: AtomicBool,
}

impl Ceiling {
    /// Takes a measurement, both in bytes; `None` is no limit. Returns what [`Ceiling::is_reached`] has become, if that is
    /// another answer than before: yes above `max`, no again a twentieth below it.
    pub fn measure(&self, used: u64, max: Option<u64>) -> Option<bool> {
        self.max.store(max.unwrap_or(0), Ordering::Relaxed);
        let before = self.is_reached();
        let now = match max {
            None => false,
            Some(max) if before => used > max - max / 20,
            Some(max) => used > max,
        };
        self.reached.store(now, Ordering::Relaxed);
        (now != before).then_some(now)
    }

    /// Whether nothing more should be begun.
    pub fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// Bytes; 0 is no limit.
    pub fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reached_is_left_only_some_way_below() {
        let ceiling = Ceiling::default();
        assert_eq!(ceiling.measure(100, Some(100)), None);
        assert_eq!(ceiling.measure(101, Some(100)), Some(true));
        assert_eq!(ceiling.measure(96, Some(100)), None, "still too near");
        assert!(ceiling.is_reached());
        assert_eq!(ceiling.measure(95, Some(100)), Some(false));
        assert_eq!((ceiling.is_reached(), ceiling.max()), (false, 100));
    }

    #[test]
    fn without_a_limit_nothing_is_ever_reached() {
        let ceiling = Ceiling::default();
        assert_eq!(ceiling.measure(2, Some(1)), Some(true));
        assert_eq!(ceiling.measure(u64::MAX, None), Some(false));
        assert_eq!(ceiling.max(), 0);
    }
}
