//! Is there a place for one more exchange?
//!
//! Promises: never more at once than the bound, also when data threads come at the same moment; a place is given back by
//! drop. Does not: wait; who finds no place is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The places of a route.
#[derive(Debug)]
pub struct Places {
    max: u32,
    taken: Arc<AtomicU32>,
}

/// A place that is taken, until dropped.
#[derive(Debug)]
pub struct Place(Arc<AtomicU32>);

impl Places {
    /// So many; who holds a place of `before` still counts.
    pub fn new(max: u32, before: Option<&Places>) -> Places {
        let taken = before.map_or_else(Arc::default, |before| before.taken.clone());
        Places { max, taken }
    }

    /// Takes a place, if one is free.
    pub fn enter(&self) -> Option<Place> {
        let one_more = |taken: u32| (taken < self.max).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()
            .map(|_| Place(self.taken.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let places = Places::new(2, None);
        let (first, second) = (places.enter(), places.enter());
        assert!(first.is_some() && second.is_some() && places.enter().is_none());
        drop(first);
        let third = places.enter();
        assert!(third.is_some() && places.enter().is_none());
    }

    #[test]
    fn a_new_bound_counts_who_is_there_already() {
        let before = Places::new(3, None);
        let held = [(); 3].map(|()| before.enter());
        assert!(held.iter().all(Option::is_some));
        let after = Places::new(2, Some(&before));
        assert!(after.enter().is_none());
        let [first, second, _third] = held;
        drop((first, second));
        let taken = after.enter();
        assert!(taken.is_some() && after.enter().is_none() && before.enter().is_some());
    }

    #[test]
    fn threads_that_come_at_once_get_no_place_too_many() {
        let places = Places::new(5, None);
        let most = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let place = places.enter();
                        most.fetch_max(places.taken.load(Ordering::Relaxed), Ordering::Relaxed);
                        drop(place);
                    }
                });
            }
        });
        assert!(most.load(Ordering::Relaxed) <= 5);
        assert_eq!(places.taken.load(Ordering::Relaxed), 0);
    }
}
