//! Is there room for more bytes to keep?
//!
//! Promises: all that is kept together is never more than the bound, also when data threads come at the same moment; what
//! was kept is given back by drop. Does not: keep anything itself, or wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Bytes that may be kept at once.
#[derive(Debug)]
pub struct Budget {
    max: AtomicUsize,
    kept: AtomicUsize,
    refused: AtomicU64,
}

/// Bytes that are kept, until dropped.
#[derive(Debug)]
pub struct Kept {
    budget: Arc<Budget>,
    bytes: usize,
}

/// The same budget in the hands of one thread, whose users are counted without the other threads.
#[derive(Debug)]
pub struct Share(pub Arc<Budget>);

impl Budget {
    /// So many bytes.
    pub fn new(max: usize) -> Budget {
        Budget {
            max: AtomicUsize::new(max),
            kept: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Another bound. What is kept beyond it stays until it is given back.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Bytes kept now.
    pub fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// How often there was no room.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// An empty place.
    pub fn keep(self: &Arc<Budget>) -> Kept {
        Kept {
            budget: self.clone(),
            bytes: 0,
        }
    }
}

impl Kept {
    /// So many bytes more, if there is room; else nothing changes.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let max = self.budget.max.load(Ordering::Relaxed);
        let more = |kept: usize| kept.checked_add(bytes).filter(|kept| *kept <= max);
        let kept = &self.budget.kept;
        let grown = kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        match grown {
            Ok(_) => self.bytes += bytes,
            Err(_) => {
                self.budget.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        grown.is_ok()
    }

    /// Gives everything back.
    pub fn let_go(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let before = self.budget.kept.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "given back what was not kept");
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_and_what_is_dropped_makes_room() {
        let budget = Arc::new(Budget::new(100));
        let (mut one, mut other) = (budget.keep(), budget.keep());
        assert!(one.grow(60) && other.grow(40));
        assert!(!other.grow(1) && !other.grow(usize::MAX));
        assert_eq!((budget.kept(), budget.refused()), (100, 2));
        drop(one);
        assert!(other.grow(60));
        budget.set_max(50);
        assert!(!other.grow(1));
        other.let_go();
        assert_eq!(budget.kept(), 0);
        assert!(other.grow(50));
        drop(other);
        assert_eq!(budget.kept(), 0);
    }

    #[test]
    fn the_bound_holds_between_threads() {
        let budget = Arc::new(Budget::new(50));
        let most = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let mut kept = budget.keep();
                        if kept.grow(20) {
                            most.fetch_max(budget.kept(), Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert!(most.load(Ordering::Relaxed) <= 50);
        assert_eq!(budget.kept(), 0);
    }
}
