//! How much memory may what comes in take? So much for all requests of a worker, by the bytes that are there.
//!
//! The first of each request is taken from a part that is for nothing else, so that large requests leave the others
//! room. Whoever finds none is told to come again: nobody waits who holds something.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::error::Error;

/// What is counted, bytes.
const UNIT: usize = 1024;
/// The first of each request, bytes: more than the usual report takes with all that is read of it.
const FIRST_BYTES: usize = 256 * 1024;
/// For the first of all requests, bytes.
const FIRST_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The room of a worker. Cheap to clone; all clones are the same room.
#[derive(Clone)]
pub struct Room {
    first: Arc<Semaphore>,
    more: Arc<Semaphore>,
}

impl Room {
    /// One with so many bytes, besides those for the first of each request.
    pub fn new(bytes_max: usize) -> Self {
        let units =
            |bytes: usize| Arc::new(Semaphore::new((bytes / UNIT).min(Semaphore::MAX_PERMITS)));
        Self {
            first: units(FIRST_BYTES_MAX),
            more: units(bytes_max),
        }
    }

    /// The share of one request, which has nothing yet.
    pub fn share(&self) -> Share {
        Share {
            room: self.clone(),
            bytes: 0,
            first: 0,
            more: 0,
        }
    }
}

/// What one request takes. Given back when it is dropped.
pub struct Share {
    room: Room,
    bytes: usize,
    /// Units that it has of either part.
    first: usize,
    more: usize,
}

impl Share {
    /// So many bytes more.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] where there is no room for them; what it had it keeps.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let grown = self.bytes.saturating_add(bytes);
        let wanted = grown.div_ceil(UNIT);
        let missing = wanted.saturating_sub(self.first + self.more);
        let first = (FIRST_BYTES / UNIT).saturating_sub(self.first).min(missing);
        // Where many small ones took all that is theirs, one more may still find room beside the large ones.
        let first = if take(&self.room.first, first) {
            first
        } else {
            0
        };
        self.first += first;
        let more = missing - first;
        if !take(&self.room.more, more) {
            return Err(Error::Busy);
        }
        self.more += more;
        self.bytes = grown;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.first.add_permits(self.first);
        self.room.more.add_permits(self.more);
    }
}

/// Takes so many units, or none.
fn take(from: &Semaphore, units: usize) -> bool {
    let Ok(units) = u32::try_from(units) else {
        return false;
    };
    from.try_acquire_many(units)
        .map(tokio::sync::SemaphorePermit::forget)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn free(room: &Room) -> (usize, usize) {
        (
            room.first.available_permits(),
            room.more.available_permits(),
        )
    }

    #[test]
    fn large_ones_leave_small_ones_their_room_and_give_all_of_it_back() {
        let room = Room::new(8 * MIB);
        let before = free(&room);
        let mut large = room.share();
        assert!(large.grow(8 * MIB).is_ok());
        let mut another = room.share();
        assert!(another.grow(MIB).is_err());
        // It keeps what it had, and may go on with less.
        assert!(another.grow(100).is_ok());
        let mut small: Vec<Share> = (0..100).map(|_| room.share()).collect();
        for share in &mut small {
            assert!(share.grow(1).is_ok() && share.grow(FIRST_BYTES - 1).is_ok());
        }
        drop((large, another, small));
        assert_eq!(free(&room), before);
    }

    #[test]
    fn what_comes_byte_by_byte_takes_what_it_is() {
        let room = Room::new(8 * MIB);
        let before = free(&room);
        let mut share = room.share();
        for _ in 0..10_000 {
            assert!(share.grow(1).is_ok());
        }
        assert_eq!(free(&room), (before.0 - 10, before.1));
        assert!(share.grow(usize::MAX).is_err());
    }

    #[test]
    fn small_ones_that_are_too_many_for_their_part_use_the_other_one() {
        let room = Room::new(8 * MIB);
        let fill = |_| {
            let mut share = room.share();
            share.grow(FIRST_BYTES).map(|()| share)
        };
        let count = (FIRST_BYTES_MAX + 8 * MIB) / FIRST_BYTES;
        let shares: Vec<_> = (0..count).map(fill).collect();
        assert!(shares.iter().all(Result::is_ok));
        assert!(room.share().grow(1).is_err());
    }
}
