//! Who was seen of late? A table of a fixed size that forgets the longest unused first.
//!
//! Promises: never more entries than its bound; a look-up is constant; memory is taken as keys come.

use std::collections::HashMap;

/// No entry.
const NONE: u32 = u32::MAX;

/// Values by key, from the newest to the longest unused.
#[derive(Debug)]
pub(super) struct Recent<V> {
    max: usize,
    places: HashMap<u64, u32>,
    entries: Vec<Entry<V>>,
    newest: u32,
    oldest: u32,
}

#[derive(Debug)]
struct Entry<V> {
    key: u64,
    value: V,
    newer: u32,
    older: u32,
}

impl<V> Recent<V> {
    /// Empty; holds so many, at least one and below 2^32.
    pub fn new(max: usize) -> Recent<V> {
        Recent {
            max: max.clamp(1, NONE as usize),
            places: HashMap::new(),
            entries: Vec::new(),
            newest: NONE,
            oldest: NONE,
        }
    }

    /// The value of a key, which is the newest from now on. A new key in a full table takes the place of the oldest.
    pub fn touch(&mut self, key: u64, make: impl FnOnce() -> V) -> &mut V {
        let place = match self.places.get(&key) {
            Some(&place) => {
                self.unlink(place);
                place
            }
            None => self.place_for(key, make()),
        };
        self.link(place);
        &mut self.entries[place as usize].value
    }

    /// How many keys it knows.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    fn place_for(&mut self, key: u64, value: V) -> u32 {
        let entry = Entry {
            key,
            value,
            newer: NONE,
            older: NONE,
        };
        let place = if self.entries.len() < self.max {
            let place = u32::try_from(self.entries.len()).expect("`max` is below 2^32");
            self.entries.push(entry);
            place
        } else {
            let place = self.oldest;
            self.unlink(place);
            let forgotten = std::mem::replace(&mut self.entries[place as usize], entry);
            self.places.remove(&forgotten.key);
            place
        };
        self.places.insert(key, place);
        place
    }

    fn unlink(&mut self, place: u32) {
        let Entry { newer, older, .. } = self.entries[place as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.entries[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.entries[older as usize].newer = newer,
        }
    }

    fn link(&mut self, place: u32) {
        let before = self.newest;
        let entry = &mut self.entries[place as usize];
        (entry.newer, entry.older) = (NONE, before);
        match before {
            NONE => self.oldest = place,
            before => self.entries[before as usize].newer = place,
        }
        self.newest = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_longest_unused_is_forgotten_first() {
        let mut recent = Recent::new(2);
        *recent.touch(1, || 0) += 1;
        *recent.touch(2, || 0) += 1;
        *recent.touch(1, || 0) += 1;
        *recent.touch(3, || 0) += 1;
        assert_eq!(*recent.touch(1, || 0), 2, "used since, so it stays");
        assert_eq!(*recent.touch(2, || 0), 0, "forgotten");
        assert_eq!(recent.len(), 2);
    }

    proptest! {
        #[test]
        fn it_does_what_a_plain_list_does(
            max in 1..6usize, keys in prop::collection::vec(0..9u64, 0..200)
        ) {
            let mut recent = Recent::new(max);
            let mut list: Vec<(u64, u32)> = Vec::new();
            for key in keys {
                let value = match list.iter().position(|(k, _)| *k == key) {
                    Some(at) => list.remove(at).1 + 1,
                    None => 1,
                };
                list.insert(0, (key, value));
                list.truncate(max);
                let touched = recent.touch(key, || 0);
                *touched += 1;
                prop_assert_eq!(*touched, value);
                prop_assert_eq!(recent.len(), list.len());
            }
        }
    }
}
