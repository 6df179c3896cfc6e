//! How is a counter found that may never be needed? A short list that grows at its end and is read without a lock.
//!
//! Promises: what was found once stays where it is; two threads that need the same key at the same moment get the same
//! value. Does not: take anything away, or serve long lists.

use std::sync::OnceLock;

/// Values by key, made when they are first asked for. For a handful of keys: it is searched from the front.
pub struct Few<K, V>(OnceLock<Box<Entry<K, V>>>);

struct Entry<K, V> {
    key: K,
    value: V,
    next: Few<K, V>,
}

impl<K: PartialEq + Copy, V> Few<K, V> {
    /// Empty.
    pub const fn new() -> Few<K, V> {
        Few(OnceLock::new())
    }

    /// The value of `key`; `make` makes it where there is none.
    pub fn get(&self, key: K, make: impl Fn() -> V) -> &V {
        let mut at = self;
        loop {
            let entry = at.0.get_or_init(|| {
                Box::new(Entry {
                    key,
                    value: make(),
                    next: Few::new(),
                })
            });
            if entry.key == key {
                return &entry.value;
            }
            at = &entry.next;
        }
    }
}

impl<K: PartialEq + Copy, V> Default for Few<K, V> {
    fn default() -> Self {
        Few::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_value_is_made_once_and_found_again() {
        let few = Few::new();
        let made = AtomicU32::new(0);
        let make = || made.fetch_add(1, Ordering::Relaxed);
        for key in [7, 8, 7, 9, 8] {
            few.get(key, make);
        }
        assert_eq!(made.load(Ordering::Relaxed), 3);
        assert_eq!((*few.get(7, make), *few.get(9, make)), (0, 2));
    }

    #[test]
    fn threads_that_ask_at_once_get_the_same_value() {
        let few = Few::new();
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for key in 0..20 {
                        few.get(key, || AtomicU32::new(0))
                            .fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        for key in 0..20 {
            let counted = few.get(key, || AtomicU32::new(0)).load(Ordering::Relaxed);
            assert_eq!(counted, 4, "key {key}");
        }
    }
}
