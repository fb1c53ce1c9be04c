//! Small calls allocate nothing, after the first call on a thread.
#![allow(missing_docs, unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use fleche_core::{Cache, CallKey, Hashed, fleche};
use fleche_store_memory::{MemoryCalls, MemoryValues};

/// An allocator that counts the allocations of each thread.
struct Counting;

thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

fn asked() {
    let _ = ASKED.try_with(|asked| asked.set(asked.get() + 1));
}

// SAFETY: every call is passed on to the system's allocator; counting touches no allocated memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        asked();
        // SAFETY: as the caller guarantees.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        asked();
        // SAFETY: as the caller guarantees.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        asked();
        // SAFETY: as the caller guarantees.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as the caller guarantees.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns how often this thread allocates while the closure runs.
fn allocations<R>(run: impl FnOnce() -> R) -> (R, usize) {
    let before = ASKED.get();
    let result = run();
    (result, ASKED.get() - before)
}

#[fleche]
fn small(x: i64, label: &str, y: f64) -> f64 {
    if x > 0 && !label.is_empty() { y * 2.0 } else { y }
}

#[fleche]
fn of_array(array: &Hashed<Vec<f64>>, x: usize) -> usize {
    array.len() + x
}

#[test]
fn encoding_a_small_call_allocates_nothing() {
    let key = || small::key(1, "label", 1.5);
    let expected = key();
    let (found, asked) = allocations(key);
    assert_eq!((found, asked), (expected, 0));
}

#[test]
fn hot_hit_of_a_small_call_allocates_nothing() {
    let _active = Cache::new(MemoryValues::new(), MemoryCalls::new()).enter();
    let call = || small(2, "label", 1.5);
    let expected = (call(), call());
    let (found, asked) = allocations(|| (call(), call()));
    assert_eq!((found, asked), (expected, 0));
}

#[test]
fn hashed_argument_is_not_encoded_again() {
    let array = Hashed::new(vec![0.5; 1_000_000]);
    let key = || -> CallKey { of_array::key(&array, 1) };
    let expected = key();
    let (found, asked) = allocations(key);
    assert_eq!(found, expected);
    // The list of arguments with cached digests may be allocated.
    assert!(asked <= 1, "{asked}");
}
