//! How much memory a record takes.
#![allow(missing_docs, unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use fleche_core::{Cache, cache::HotTier, fleche};
use fleche_store_memory::{MemoryCalls, MemoryValues};

/// Counts the bytes that are allocated now.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does what is asked; counting touches no memory that is allocated.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), SeqCst);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), SeqCst);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[fleche]
fn next(x: u64) -> u64 {
    x + 1
}

#[test]
fn record_of_a_small_call_takes_at_most_400_bytes() {
    const RECORDS: u64 = 10_000;
    let cache = Cache::new(MemoryValues::new(), MemoryCalls::new()).hot_tier(HotTier::OFF);
    let _active = cache.enter();
    // What the process and the thread allocate once is there before.
    next(u64::MAX / 2);
    let before = LIVE.load(SeqCst);
    (0..RECORDS).for_each(|x| assert_eq!(next(x), x + 1));
    let per_record = (LIVE.load(SeqCst) - before) / usize::try_from(RECORDS).unwrap();
    println!("{per_record} bytes a record");
    assert!(per_record <= 400, "a record takes {per_record} bytes");
    assert!((0..RECORDS).all(|x| next::load(x).unwrap() == Some(x + 1)));
    assert_eq!(cache.stats().computed, RECORDS + 1);
}
