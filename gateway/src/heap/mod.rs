//! Where does the memory of an HTTP/2 connection lie? An allocator that lets small objects share the pages of large buffers.
//!
//! The `h2` crate gives a connection buffers of 16, 8 and 4 KiB. Of each an idle connection has touched the first few hundred
//! bytes, and for that a page of 4 KiB is resident. What is allocated within [`packed`] is laid out so that such a buffer begins
//! near the end of a page, whose rest holds smaller objects of connections.
//!
//! Promises: outside [`packed`] an allocation costs a look at a flag of the thread, and freeing one a comparison; without
//! room for this ([`Heap`] could reserve none, or it is used up) the allocator behind serves; what is not used for long is given
//! back to the kernel. Does not: know whose an allocation is.

#![allow(unsafe_code, reason = "an allocator hands out memory")]

mod arena;

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::pin::Pin;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use arena::{ARENA_BYTES, Arena, PAGE};

/// Made when it is first needed; none where the kernel refuses the addresses.
static ARENA: OnceLock<Option<Arena>> = OnceLock::new();
/// Where it begins. Before it is made no address lies behind this: half of them are the kernel's.
static BASE: AtomicUsize = AtomicUsize::new(NOWHERE);
const NOWHERE: usize = usize::MAX / 2;

thread_local! {
    // Without a destructor, so that it is there for as long as the thread allocates.
    static PACKED: Cell<Option<What>> = const { Cell::new(None) };
}

/// What is laid out to touch few pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Buffers, and small objects beside them: for what lives about as long as a connection.
    All,
    /// Buffers alone: where small objects come and go with requests.
    Buffers,
}

/// The allocator of the program: `A`, but for what is allocated within [`packed`].
pub struct Heap<A>(pub A);

/// What `run` allocates is laid out to touch few pages.
pub fn packed<T>(what: What, run: impl FnOnce() -> T) -> T {
    struct Before(Option<What>);
    impl Drop for Before {
        fn drop(&mut self) {
            PACKED.set(self.0);
        }
    }
    let _before = Before(PACKED.replace(Some(what)));
    run()
}

pin_project_lite::pin_project! {
    /// A future of which [`packed`] lays out all that it allocates.
    pub struct Packed<F> {
        #[pin]
        future: F,
    }
}

impl<F> Packed<F> {
    /// Polls `future` within [`packed`].
    pub fn new(future: F) -> Packed<F> {
        Packed { future }
    }
}

impl<F: Future> Future for Packed<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.project().future;
        packed(What::All, || future.poll(cx))
    }
}

fn arena() -> Option<&'static Arena> {
    let made = ARENA.get_or_init(|| {
        let arena = Arena::reserve()?;
        // Whoever frees something that lies in it was handed that by a thread that has seen this.
        BASE.store(arena.base(), Ordering::Relaxed);
        Some(arena)
    });
    made.as_ref()
}

fn is_ours(at: *mut u8) -> bool {
    (at as usize).wrapping_sub(BASE.load(Ordering::Relaxed)) < ARENA_BYTES
}

impl<A> Heap<A> {
    /// Room for `layout` where small and large share pages.
    fn room(layout: Layout) -> Option<ptr::NonNull<u8>> {
        match PACKED.get()? {
            What::Buffers if layout.size() < PAGE => None,
            What::All | What::Buffers => arena()?.allocate(layout),
        }
    }
}

// SAFETY: what the arena hands out is given back to it and to nobody else, since its addresses tell it apart; everything
// else is between the caller and `A`. Neither panics nor allocates: the arena works on memory that it has mapped itself.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Heap<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(room) = Self::room(layout) {
            return room.as_ptr();
        }
        // SAFETY: the caller's promises are those that `A` asks for.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if let Some(room) = Self::room(layout) {
            // SAFETY: the arena has handed out `layout.size()` bytes there.
            unsafe { room.write_bytes(0, layout.size()) };
            return room.as_ptr();
        }
        // SAFETY: as above.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        match ptr::NonNull::new(at).filter(|_| is_ours(at)) {
            Some(room) => {
                if let Some(Some(arena)) = ARENA.get() {
                    // SAFETY: it lies in the arena, so it was handed out there, and the caller gives it back once.
                    unsafe { arena.free(room, layout) };
                }
            }
            // SAFETY: it does not lie in the arena, so it comes from `A`.
            None => unsafe { self.0.dealloc(at, layout) },
        }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !is_ours(at) {
            // SAFETY: as for `dealloc`.
            return unsafe { self.0.realloc(at, layout, size) };
        }
        // SAFETY: the caller promises that `size`, rounded up to the alignment, does not overflow.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the caller promises that `size` is not zero.
        let moved = unsafe { self.alloc(wanted) };
        if !moved.is_null() {
            // SAFETY: both are at least so long, and a new allocation overlaps no old one.
            unsafe { ptr::copy_nonoverlapping(at, moved, layout.size().min(size)) };
            // SAFETY: the caller gives `at` back by this call.
            unsafe { self.dealloc(at, layout) };
        }
        moved
    }
}

#[cfg(test)]
mod tests;
