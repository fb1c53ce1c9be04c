//! What small calls allocate: nothing, once a thread has made one.
#![allow(missing_docs, unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use fleche_core::{Cache, CallKey, Hashed, fleche};
use fleche_store_memory::{MemoryCalls, MemoryValues};

/// Counts what each thread asks for.
struct Counting;

thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

fn asked() {
    let _ = ASKED.try_with(|asked| asked.set(asked.get() + 1));
}

// SAFETY: the system's allocator does what is asked; counting touches no memory that is allocated.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        asked();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        asked();
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        asked();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often this thread asks for memory while the closure runs.
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
fn a_hot_hit_of_a_small_call_allocates_nothing() {
    let _active = Cache::new(MemoryValues::new(), MemoryCalls::new()).enter();
    let call = || small(2, "label", 1.5);
    let expected = (call(), call());
    let (found, asked) = allocations(|| (call(), call()));
    assert_eq!((found, asked), (expected, 0));
}

#[test]
fn a_large_argument_that_remembers_its_digest_takes_no_room() {
    let array = Hashed::new(vec![0.5; 1_000_000]);
    let key = || -> CallKey { of_array::key(&array, 1) };
    let expected = key();
    let (found, asked) = allocations(key);
    assert_eq!(found, expected);
    // The list of such arguments.
    assert!(asked <= 1, "{asked}");
}
