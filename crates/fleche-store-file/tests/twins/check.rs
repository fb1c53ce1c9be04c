//! What two targets check whose functions have one name, over one store.

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use fleche_core::{Cache, cache::HotTier};
use fleche_store_file::{FileCalls, FileValues};

/// How many bodies have run.
pub(crate) static RUNS: AtomicUsize = AtomicUsize::new(0);

/// Whatever the other target has recorded, the calls give this result, and the body runs once at most.
pub(crate) fn each_call_gives(call: fn(u64) -> Vec<u64>, result: &[u64]) {
    // Left there for the other target.
    let store = Path::new(env!("CARGO_TARGET_TMPDIR")).join("twins");
    let open = || Cache::new(FileValues::open(store.join("v")).unwrap(), FileCalls::open(store.join("c")).unwrap());
    for _ in 0..3 {
        assert_eq!(open().hot_tier(HotTier::OFF).scope(|| call(1)), result);
    }
    assert!(RUNS.load(SeqCst) <= 1);
}
