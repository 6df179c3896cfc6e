//! What is due next?
//!
//! A list of numbered things, each with at most one date. Setting a date replaces the one before.
//! The memory is bounded by the number of things, however often dates change.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Dates of the things `0..len`.
#[derive(Debug)]
pub(super) struct Agenda {
    dates: BinaryHeap<Reverse<(Instant, u32)>>,
    /// The valid date of each thing; entries of `dates` that disagree are void.
    valid: Vec<Option<Instant>>,
}

impl Agenda {
    /// An agenda of so many things, none with a date.
    pub(super) fn new(len: usize) -> Self {
        Agenda {
            dates: BinaryHeap::new(),
            valid: vec![None; len],
        }
    }

    /// Gives a thing a date.
    pub(super) fn set(&mut self, thing: usize, at: Instant) {
        let Some(valid) = self.valid.get_mut(thing) else {
            return;
        };
        if *valid == Some(at) {
            return;
        }
        *valid = Some(at);
        self.dates.push(Reverse((at, thing as u32)));
        if self.dates.len() > 2 * self.valid.len() + 16 {
            self.clean();
        }
    }

    /// Takes a thing's date away.
    pub(super) fn clear(&mut self, thing: usize) {
        if let Some(valid) = self.valid.get_mut(thing) {
            *valid = None;
        }
    }

    /// A thing's date.
    pub(super) fn at(&self, thing: usize) -> Option<Instant> {
        self.valid.get(thing).copied().flatten()
    }

    /// The earliest date.
    pub(super) fn next_at(&mut self) -> Option<Instant> {
        while let Some(&Reverse((at, thing))) = self.dates.peek() {
            if self.at(thing as usize) == Some(at) {
                return Some(at);
            }
            self.dates.pop();
        }
        None
    }

    /// Takes out the thing that is due the longest, if any is.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<usize> {
        if self.next_at()? > now {
            return None;
        }
        let Reverse((_, thing)) = self.dates.pop()?;
        self.clear(thing as usize);
        Some(thing as usize)
    }

    fn clean(&mut self) {
        let valid = &self.valid;
        let mut seen = vec![false; valid.len()];
        self.dates.retain(|Reverse((at, thing))| {
            let thing = *thing as usize;
            valid[thing] == Some(*at) && !std::mem::replace(&mut seen[thing], true)
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_date_replaces_the_old() {
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        let mut agenda = Agenda::new(3);
        agenda.set(0, later(1));
        agenda.set(1, later(2));
        agenda.set(0, later(3));
        assert_eq!(agenda.next_at(), Some(later(2)));
        assert_eq!(agenda.take_due(later(1)), None);
        assert_eq!(agenda.take_due(later(9)), Some(1));
        assert_eq!(agenda.take_due(later(9)), Some(0));
        assert_eq!(agenda.take_due(later(9)), None);
        agenda.set(7, now);
        assert_eq!(agenda.next_at(), None);
    }

    proptest! {
        #[test]
        fn an_agenda_does_what_a_plain_list_does(steps in prop::collection::vec((0usize..5, 0u64..40, 0u8..4), 0..400)) {
            let start = Instant::now();
            let at = |n| start + Duration::from_millis(n);
            let mut agenda = Agenda::new(5);
            let mut plain = [None; 5];
            for (thing, date, step) in steps {
                match step {
                    0 => { agenda.clear(thing); plain[thing] = None; }
                    1 => {
                        let due = plain.iter().flatten().min().copied().filter(|&due| due <= at(date));
                        let taken = agenda.take_due(at(date));
                        prop_assert_eq!(taken.is_some(), due.is_some());
                        if let Some(taken) = taken {
                            prop_assert_eq!(plain[taken].take(), due);
                        }
                    }
                    _ => { agenda.set(thing, at(date)); plain[thing] = Some(at(date)); }
                }
                prop_assert_eq!(agenda.next_at(), plain.iter().flatten().min().copied());
                prop_assert!(agenda.dates.len() <= 27);
            }
        }
    }
}
