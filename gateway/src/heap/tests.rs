//! Is what is handed out whole, apart from all else, and given back?

use std::alloc::System;
use std::ptr::NonNull;
use std::thread;

use proptest::prelude::*;

use super::arena::{ALIGN, BUFFER, FRONT, HOT_MAX, SMALL_MIN};
use super::*;

fn bytes(size: usize) -> Layout {
    Layout::from_size_align(size, 1).unwrap()
}

fn page(at: NonNull<u8>) -> usize {
    at.as_ptr() as usize / PAGE
}

/// Something that was handed out, filled with its own number.
struct Held {
    at: NonNull<u8>,
    size: usize,
    number: u8,
}

impl Held {
    fn new(arena: &Arena, size: usize, number: u8) -> Option<Held> {
        let at = arena.allocate(bytes(size))?;
        // SAFETY: so much was handed out.
        unsafe { at.write_bytes(number, size) };
        Some(Held { at, size, number })
    }

    fn is_whole(&self) -> bool {
        // SAFETY: it is held, and was filled when it was handed out.
        let held = unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.size) };
        held.iter().all(|byte| *byte == self.number)
    }

    fn free(self, arena: &Arena) {
        // SAFETY: handed out by the arena for this layout, and given up.
        unsafe { arena.free(self.at, bytes(self.size)) };
    }
}

// SAFETY: whoever holds it owns what it points to.
unsafe impl Send for Held {}

#[test]
fn small_objects_lie_in_the_page_in_which_a_buffer_begins() {
    let arena = Arena::reserve().unwrap();
    assert!(
        arena.allocate(bytes(SMALL_MIN)).is_none(),
        "there is no page to share yet"
    );
    let buffer = arena.allocate(bytes(16 * 1024)).unwrap();
    for size in [SMALL_MIN, 1000, 2000] {
        let small = arena.allocate(bytes(size)).unwrap();
        assert_eq!(page(small), page(buffer));
    }
    assert!(arena.allocate(bytes(1000)).is_none(), "the page is full");
    assert_eq!(
        buffer.as_ptr() as usize % PAGE,
        FRONT,
        "its first bytes end with the page"
    );
}

#[test]
fn what_is_too_small_too_large_or_aligned_is_left_to_others() {
    let arena = Arena::reserve().unwrap();
    arena.allocate(bytes(PAGE)).unwrap();
    for size in [
        0,
        1,
        SMALL_MIN - 1,
        FRONT + 1,
        PAGE - 1,
        BUFFER + 1,
        1 << 30,
    ] {
        assert!(arena.allocate(bytes(size)).is_none(), "{size}");
    }
    let aligned = Layout::from_size_align(1024, 2 * ALIGN).unwrap();
    assert!(arena.allocate(aligned).is_none());
    for size in [SMALL_MIN, PAGE, BUFFER] {
        let at = arena.allocate(bytes(size)).unwrap();
        assert_eq!(at.as_ptr() as usize % ALIGN, 0, "{size}");
    }
}

#[test]
fn a_page_serves_again_when_all_that_was_in_it_is_gone() {
    let arena = Arena::reserve().unwrap();
    for _ in 0..1000 {
        let held: Vec<Held> = [8192, 3000, 500]
            .into_iter()
            .map(|size| Held::new(&arena, size, 1).unwrap())
            .collect();
        held.into_iter().for_each(|held| held.free(&arena));
    }
    assert_eq!(arena.counts(), (1, 1));
}

#[test]
fn pages_that_many_connections_used_are_given_back() {
    let arena = Arena::reserve().unwrap();
    let many = 4 * HOT_MAX;
    let held: Vec<Held> = (0..many)
        .map(|_| Held::new(&arena, BUFFER, 7).unwrap())
        .collect();
    let places: Vec<_> = held.iter().map(|held| held.at).collect();
    held.into_iter().for_each(|held| held.free(&arena));
    assert_eq!(arena.counts(), (many, many));
    // SAFETY: mapped for as long as the arena; nobody else looks at it.
    let is_kept = |at: &&NonNull<u8>| unsafe { at.read() } == 7;
    let kept = places.iter().filter(is_kept).count();
    assert_eq!(kept, HOT_MAX as usize, "the others read as zeros again");
    // They serve again.
    let held: Vec<Held> = (0..many)
        .map(|_| Held::new(&arena, BUFFER, 8).unwrap())
        .collect();
    assert!(held.iter().all(Held::is_whole));
    assert_eq!(arena.counts(), (many, 0));
}

#[test]
fn threads_may_free_what_others_hold() {
    let arena = Arena::reserve().unwrap();
    thread::scope(|scope| {
        for number in 0..4 {
            let arena = &arena;
            scope.spawn(move || {
                for round in 0..200 {
                    let sizes = [16 * 1024, 700 + round, 8192, 1500, 4096, 128];
                    let held: Vec<Held> = sizes
                        .iter()
                        .filter_map(|size| Held::new(arena, *size, number))
                        .collect();
                    scope.spawn(move || {
                        for held in held {
                            assert!(held.is_whole());
                            held.free(arena);
                        }
                    });
                }
            });
        }
    });
    let (used, empty) = arena.counts();
    assert_eq!(used, empty);
}

proptest! {
    #[test]
    fn whatever_is_taken_and_given_back_nothing_overlaps(
        steps in prop::collection::vec((any::<bool>(), 0..20_000usize, any::<prop::sample::Index>()), 1..400)
    ) {
        let arena = Arena::reserve().unwrap();
        let mut held: Vec<Held> = Vec::new();
        for (number, (take, size, which)) in steps.into_iter().enumerate() {
            if take || held.is_empty() {
                held.extend(Held::new(&arena, size, number as u8));
            } else {
                let gone = held.swap_remove(which.index(held.len()));
                prop_assert!(gone.is_whole());
                gone.free(&arena);
            }
        }
        for held in held {
            prop_assert!(held.is_whole());
            held.free(&arena);
        }
        let (used, empty) = arena.counts();
        prop_assert_eq!(used, empty);
    }

    #[test]
    fn what_grows_and_shrinks_keeps_its_bytes_wherever_it_lies(sizes in prop::collection::vec(1..20_000usize, 2..40)) {
        let heap = Heap(System);
        let mut layout = bytes(sizes[0]);
        // SAFETY: the size is not zero, and what is allocated is used within its size and freed once.
        unsafe {
            let mut at = packed(What::All, || heap.alloc(layout));
            at.write_bytes(1, layout.size());
            for (turn, size) in sizes[1..].iter().enumerate() {
                let resize = || heap.realloc(at, layout, *size);
                let moved = if turn % 2 == 0 { packed(What::All, resize) } else { resize() };
                let kept = layout.size().min(*size);
                prop_assert!(std::slice::from_raw_parts(moved, kept).iter().all(|byte| *byte == 1));
                moved.write_bytes(1, *size);
                (at, layout) = (moved, bytes(*size));
            }
            heap.dealloc(at, layout);
        }
    }
}

#[test]
fn only_what_is_asked_for_together_lies_in_the_arena() {
    let heap = Heap(System);
    let layout = bytes(16 * 1024);
    // SAFETY: what is allocated is freed once, by its layout.
    unsafe {
        let apart = heap.alloc(layout);
        let packed_one = packed(What::All, || heap.alloc(layout));
        let after = heap.alloc(layout);
        assert!(!is_ours(apart) && is_ours(packed_one) && !is_ours(after));
        for at in [apart, packed_one, after] {
            heap.dealloc(at, layout);
        }
        let small = bytes(1024);
        let at = packed(What::Buffers, || heap.alloc(small));
        assert!(!is_ours(at), "buffers alone were asked for");
        heap.dealloc(at, small);
    }
}

#[test]
fn what_is_asked_for_as_zeros_is_zeros_where_something_lay_before() {
    let heap = Heap(System);
    let layout = bytes(BUFFER);
    // SAFETY: what is allocated is used within its size and freed once.
    unsafe {
        for _ in 0..3 {
            let at = packed(What::All, || heap.alloc_zeroed(layout));
            let zeros = std::slice::from_raw_parts(at, BUFFER);
            assert!(zeros.iter().all(|byte| *byte == 0));
            at.write_bytes(0xff, BUFFER);
            heap.dealloc(at, layout);
        }
    }
}
