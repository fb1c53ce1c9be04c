//! The check of two test targets with functions of the same name and one store.

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use fleche_core::{Cache, cache::HotTier};
use fleche_store_file::{FileCalls, FileValues};

/// The number of bodies that have run.
pub(crate) static RUNS: AtomicUsize = AtomicUsize::new(0);

/// Asserts that the calls return this result and the body runs at most once, regardless of the records of the other target.
pub(crate) fn assert_calls_return(call: fn(u64) -> Vec<u64>, result: &[u64]) {
    // The store stays for the other target.
    let store = Path::new(env!("CARGO_TARGET_TMPDIR")).join("twins");
    let open = || Cache::new(FileValues::open(store.join("v")).unwrap(), FileCalls::open(store.join("c")).unwrap());
    for _ in 0..3 {
        assert_eq!(open().to_builder().hot_tier(HotTier::OFF).build().scope(|| call(1)), result);
    }
    assert!(RUNS.load(SeqCst) <= 1);
}
