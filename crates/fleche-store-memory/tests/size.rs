//! Test of how much memory a record takes.
#![allow(missing_docs, unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use fleche_core::{Cache, cache::HotTier, fleche};
use fleche_store_memory::{MemoryCalls, MemoryValues};

/// An allocator that counts the currently allocated bytes.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all requests go to the system's allocator; counting touches no allocated memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), SeqCst);
        // SAFETY: the caller upholds the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), SeqCst);
        // SAFETY: the caller upholds the contract.
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
    let cache = Cache::builder().values(MemoryValues::new()).calls(MemoryCalls::new()).hot_tier(HotTier::OFF).build();
    let _active = cache.enter();
    // Makes the one-time allocations of the process and the thread before the measurement.
    next(u64::MAX / 2);
    let before = LIVE.load(SeqCst);
    (0..RECORDS).for_each(|x| assert_eq!(next(x), x + 1));
    let per_record = (LIVE.load(SeqCst) - before) / usize::try_from(RECORDS).unwrap();
    println!("{per_record} bytes per record");
    assert!(per_record <= 400, "a record takes {per_record} bytes");
    assert!((0..RECORDS).all(|x| next::load(x).unwrap() == Some(x + 1)));
    assert_eq!(cache.stats().computed, RECORDS + 1);
}
