//! Test that forked child processes leave the database to their parent. It has a test binary of its own, so that no
//! child inherits files that other tests have open.
#![cfg(unix)]
#![allow(missing_docs)]

use fleche_conformance::in_forked_child;
use fleche_core::{Cache, cache::HotTier, fleche};
use fleche_store_redb::{RedbCalls, RedbValues};

const RESULTS: u64 = 200;

#[fleche]
fn list(x: u64) -> Vec<u64> {
    vec![x; 50]
}

#[test]
fn forked_child_leaves_the_database_to_its_parent() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("store.redb");
    let open = || {
        let (values, calls) = (RedbValues::open(&path).unwrap(), RedbCalls::open(&path).unwrap());
        Cache::new(values, calls).hot_tier(HotTier::OFF)
    };
    let compute = |from: u64| (from..from + RESULTS).all(|x| list(x) == [x; 50]);
    let mut cache = open();
    assert!(cache.scope(|| compute(0)));
    for turn in 1..=5 {
        assert!(in_forked_child(|| {
            let computed = cache.scope(|| compute(0) && compute(1_000_000));
            let refused = RedbValues::open(&path).is_err() && cache.calls().sync(&list::key(0)).is_err();
            // Closing the database in the child must not write what the parent has not written yet.
            drop(std::mem::replace(&mut cache, Cache::void()));
            computed && refused
        }));
        assert!(cache.scope(|| compute(turn * RESULTS)));
    }
    drop(cache);
    let cache = open();
    assert!(cache.scope(|| (0..=5).all(|turn| compute(turn * RESULTS))));
    assert_eq!(cache.stats().computed, 0);
    assert!(!cache.contains(&list::key(1_000_000)).unwrap());
}
