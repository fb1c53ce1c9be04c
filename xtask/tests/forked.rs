//! Forked children can neither open nor use the stores of this workspace that keep files.
#![cfg(unix)]

use fleche_conformance::in_forked_child;
use fleche_core::{Cache, Error, cache::HotTier, fleche};
use fleche_store_file as _;
use fleche_store_redb as _;
use fleche_store_sled as _;
use fleche_store_sql as _;

#[fleche]
fn next(x: u64) -> u64 {
    x + 1
}

#[test]
fn stores_refuse_a_forked_child() {
    for backend in fleche_core::store::backends() {
        if !["file", "redb", "sled", "sql-sqlite"].contains(&backend.name) {
            continue;
        }
        let scratch = tempfile::tempdir().unwrap();
        let (values, calls) = (backend.scratch)(scratch.path());
        let cache =
            Cache::builder().values(values.open().unwrap()).calls(calls.open().unwrap()).hot_tier(HotTier::OFF).build();
        let key = next::key(1);
        assert_eq!(cache.scope(|| next(1)), 2);
        assert!(
            in_forked_child(|| {
                let answers = [
                    values.open().err(),
                    calls.open().err(),
                    cache.calls().get(&key).err(),
                    cache.calls().sync(&key).err(),
                    cache.values().contains(key.digest()).err(),
                ];
                answers.iter().all(|error| matches!(error, Some(Error::Forked { .. })))
            }),
            "{} does not refuse a forked child",
            backend.name
        );
        assert!(cache.contains(&key).unwrap(), "{}", backend.name);
    }
}
