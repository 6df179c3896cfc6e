//! How do small objects and large buffers share pages? Slots of five pages:
//!
//! | page 0 | | pages 1 to 4 |
//! |---|---|---|
//! | [`FRONT`] bytes for small objects, one behind the other | the first [`HEAD`] bytes of the buffer | the rest of the buffer |
//!
//! Promises: constant time, but for a call of the kernel when a slot beyond [`HOT_MAX`] falls empty. Does not: fill the holes
//! that small objects leave before the last of a slot goes, since those of one connection go together.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

pub(super) const PAGE: usize = 4096;
/// Of a buffer, in the shared page: what an idle connection has touched of it fits in.
const HEAD: usize = 512;
pub(super) const FRONT: usize = PAGE - HEAD;
const SLOT: usize = 5 * PAGE;
/// Room for a buffer.
pub(super) const BUFFER: usize = SLOT - FRONT;
/// Smaller objects are packed well by any allocator.
pub(super) const SMALL_MIN: usize = 64;
/// Alignment of all that is handed out.
pub(super) const ALIGN: usize = 16;
/// Addresses are plenty: this many slots serve 300,000 connections.
const SLOTS: usize = 1 << 20;
pub(super) const ARENA_BYTES: usize = SLOTS * SLOT;
/// Empty slots whose pages are kept for the next.
pub(super) const HOT_MAX: u32 = 64;
/// Slots that are looked into for room for a small object.
const LOOKS: usize = 4;
const NONE: u32 = u32::MAX;

/// Reserved addresses, and what is known of each slot.
pub(super) struct Arena {
    base: NonNull<u8>,
    state: Mutex<State>,
}

// SAFETY: the memory behind `base` is handed out in pieces that do not overlap; all that is known of them is behind the lock.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

struct State {
    /// Zeroed pages of the kernel's: a slot that was never used costs nothing.
    slots: NonNull<[Slot; SLOTS]>,
    /// Slots that were ever used: the first ones.
    used: u32,
    /// First of each list, by [`Place`].
    lists: [u32; 4],
    hot: u32,
}

/// All zeros is a slot that was never used.
#[derive(Clone, Copy)]
#[repr(C)]
struct Slot {
    before: u32,
    after: u32,
    /// Bytes of the front that are taken, up to the last object that is.
    taken: u16,
    /// Small objects in the front.
    small: u16,
    /// The buffer is taken.
    buffer: bool,
    place: Place,
}

/// The list that a slot is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Place {
    /// None: it is taken, and full.
    Full = 0,
    /// Its buffer is taken, and small objects have room.
    Open = 1,
    /// Small objects are left, the buffer is not taken.
    Half = 2,
    /// Nothing is taken, and its pages are kept.
    Hot = 3,
    /// Nothing is taken, and its pages were given back.
    Cold = 4,
}

impl Slot {
    fn left(&self) -> usize {
        FRONT - usize::from(self.taken)
    }
}

impl State {
    fn slot(&mut self, number: u32) -> &mut Slot {
        // SAFETY: `slots` is mapped for as long as the arena, any bytes that are written there are written as a `Slot`, and all
        // zeros are one; indexing checks the bound.
        let slots = unsafe { self.slots.as_mut() };
        &mut slots[number as usize % SLOTS]
    }

    fn first(&self, of: Place) -> Option<u32> {
        let first = self.lists[of as usize - 1];
        (first != NONE).then_some(first)
    }

    fn link(&mut self, number: u32, to: Place) {
        let first = (to != Place::Full).then(|| self.first(to)).flatten();
        if let Some(first) = first {
            self.slot(first).before = number;
        }
        let slot = self.slot(number);
        (slot.place, slot.before, slot.after) = (to, NONE, first.unwrap_or(NONE));
        if to != Place::Full {
            self.lists[to as usize - 1] = number;
        }
        self.hot += u32::from(to == Place::Hot);
    }

    fn unlink(&mut self, number: u32) {
        let Slot {
            before,
            after,
            place,
            ..
        } = *self.slot(number);
        if place == Place::Full {
            return;
        }
        self.hot -= u32::from(place == Place::Hot);
        match before {
            NONE => self.lists[place as usize - 1] = after,
            before => self.slot(before).after = after,
        }
        if after != NONE {
            self.slot(after).before = before;
        }
    }

    /// Puts the slot into the list in which it belongs now; says whether its pages are to be given back.
    fn settle(&mut self, number: u32) -> bool {
        let slot = *self.slot(number);
        let to = match (slot.buffer, slot.small) {
            (true, _) if slot.left() >= SMALL_MIN => Place::Open,
            (true, _) => Place::Full,
            (false, 1..) => Place::Half,
            (false, 0) if self.hot < HOT_MAX => Place::Hot,
            (false, 0) => Place::Cold,
        };
        if to != slot.place {
            self.unlink(number);
            self.link(number, to);
        }
        to == Place::Cold
    }

    /// A slot whose buffer is not taken.
    fn for_buffer(&mut self) -> Option<u32> {
        let left = [Place::Half, Place::Hot, Place::Cold];
        let number = left.into_iter().find_map(|place| self.first(place));
        number.or_else(|| {
            let next = self.used;
            ((next as usize) < SLOTS).then(|| {
                self.used += 1;
                next
            })
        })
    }
}

impl Arena {
    /// Reserves addresses, no memory; none where the kernel does not let us (a bound of addresses, or of what may be promised).
    pub(super) fn reserve() -> Option<Arena> {
        let map = |bytes| {
            let (access, flags) = (
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            );
            // SAFETY: new addresses of the kernel's choice.
            let at = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, access, flags) }.ok()?;
            // A huge page would make resident what is laid out not to be. A kernel without them has nothing to refuse.
            // SAFETY: what was just mapped.
            let _ = unsafe { madvise(at, bytes, Advice::LinuxNoHugepage) };
            NonNull::new(at)
        };
        let base = map(ARENA_BYTES)?;
        let Some(slots) = map(SLOTS * size_of::<Slot>()) else {
            // SAFETY: mapped above, and nothing was handed out.
            let _ = unsafe { munmap(base.as_ptr(), ARENA_BYTES) };
            return None;
        };
        Some(Arena {
            base: base.cast(),
            state: Mutex::new(State {
                slots: slots.cast(),
                used: 0,
                lists: [NONE; 4],
                hot: 0,
            }),
        })
    }

    /// Its first address.
    pub(super) fn base(&self) -> usize {
        self.base.as_ptr() as usize
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, number: u32, offset: usize) -> NonNull<u8> {
        // SAFETY: `number` is below `SLOTS` and `offset` below `SLOT`, so it lies within what is mapped.
        unsafe { self.base.add(number as usize * SLOT + offset) }
    }

    /// Room for a buffer or a small object; none for what is neither, and when there is none.
    pub(super) fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        if layout.align() > ALIGN {
            return None;
        }
        match layout.size() {
            SMALL_MIN..=FRONT => self.small(layout.size()),
            PAGE..=BUFFER => self.buffer(),
            _ => None,
        }
    }

    fn buffer(&self) -> Option<NonNull<u8>> {
        let mut state = self.lock();
        let number = state.for_buffer()?;
        state.slot(number).buffer = true;
        state.settle(number);
        Some(self.at(number, FRONT))
    }

    fn small(&self, size: usize) -> Option<NonNull<u8>> {
        let size = size.next_multiple_of(ALIGN);
        let mut state = self.lock();
        let mut number = state.first(Place::Open)?;
        for _ in 0..LOOKS {
            let slot = state.slot(number);
            if slot.left() >= size {
                let offset = usize::from(slot.taken);
                slot.taken += size as u16;
                slot.small += 1;
                state.settle(number);
                return Some(self.at(number, offset));
            }
            number = slot.after;
            if number == NONE {
                break;
            }
        }
        None
    }

    /// Takes back what [`Arena::allocate`] handed out.
    ///
    /// # Safety
    ///
    /// `at` was handed out for `layout`, is not used any more and is given back once.
    pub(super) unsafe fn free(&self, at: NonNull<u8>, layout: Layout) {
        let from_base = at.as_ptr() as usize - self.base();
        let (number, offset) = ((from_base / SLOT) as u32, from_base % SLOT);
        let mut state = self.lock();
        let slot = state.slot(number);
        if offset == FRONT {
            slot.buffer = false;
        } else {
            slot.small -= 1;
            let size = layout.size().next_multiple_of(ALIGN);
            if slot.small == 0 {
                slot.taken = 0;
            } else if offset + size == usize::from(slot.taken) {
                slot.taken = offset as u16;
            }
        }
        if state.settle(number) {
            // SAFETY: nothing of it is taken, and nobody takes it while the lock is held.
            let _ = unsafe {
                madvise(
                    self.at(number, 0).as_ptr().cast(),
                    SLOT,
                    Advice::LinuxDontNeed,
                )
            };
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let slots = self.lock().slots;
        // SAFETY: both were mapped when it was made; whoever was handed something out of it promised to outlive it not.
        unsafe {
            let _ = munmap(self.base.as_ptr().cast(), ARENA_BYTES);
            let _ = munmap(slots.as_ptr().cast(), SLOTS * size_of::<Slot>());
        }
    }
}

#[cfg(test)]
impl Arena {
    /// Slots that were ever used, and those that are empty.
    pub(super) fn counts(&self) -> (u32, u32) {
        let mut state = self.lock();
        let empty = (0..state.used)
            .filter(|number| matches!(state.slot(*number).place, Place::Hot | Place::Cold))
            .count();
        (state.used, empty as u32)
    }
}
