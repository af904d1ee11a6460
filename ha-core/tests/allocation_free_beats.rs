//! Beats that come, are judged and go take no memory, once everything has its size.

mod engine_duo;

use engine_duo::Duo;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// The next allocation tells where it was made.
    static TELLS: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, counting what each thread asks of it.
struct Counting;

fn count() {
    // A thread that ends may allocate after its counter is gone.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
    if TELLS.try_with(|tells| tells.replace(false)) == Ok(true) {
        eprintln!("allocated: {}", std::backtrace::Backtrace::force_capture());
    }
}

#[expect(unsafe_code, reason = "a global allocator is unsafe to implement; each call is handed on unchanged")]
// SAFETY: every call goes to `System` with the caller's own arguments, and the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise about `layout` is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `System` with this layout.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: `at` came from `System` with this layout; the caller's promise about `size` is handed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations_of_a_thousand_beats(preferred: &[u8]) -> u64 {
    let mut duo = Duo::at_rest(preferred);
    let (heard, before) = (duo.heard, ALLOCATIONS.get());
    assert!(before > 0, "the counter counts");
    TELLS.set(true);
    while duo.heard < heard + 1_000 {
        duo.advance();
    }
    let after = ALLOCATIONS.get();
    TELLS.set(false);
    after - before
}

#[test]
fn a_thousand_beats_and_ticks_of_one_group_allocate_nothing() {
    assert_eq!(allocations_of_a_thousand_beats(&[0]), 0);
}

#[test]
fn a_thousand_beats_and_ticks_of_groups_on_both_nodes_allocate_nothing() {
    assert_eq!(allocations_of_a_thousand_beats(&[0, 1, 1, 0, 1]), 0);
}

#[test]
fn a_thousand_beats_and_ticks_of_more_groups_than_a_beat_can_tell_of_allocate_nothing() {
    let preferred: Vec<u8> = (0..200).map(|n| u8::from(n > 0)).collect();
    assert_eq!(allocations_of_a_thousand_beats(&preferred), 0);
}

#[test]
fn a_thousand_beats_and_ticks_of_the_owner_of_many_groups_allocate_nothing() {
    assert_eq!(allocations_of_a_thousand_beats(&[0; 300]), 0);
}
