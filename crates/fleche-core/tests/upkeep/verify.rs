//! Tests of the verification of all entries.

use fleche_core::{CallStore, DigestPrefix, ValueStore};

use super::{file_of, filling, in_files, long, result_of};

#[test]
fn damaged_entries_are_reported_and_recomputed() {
    let directory = tempfile::tempdir().unwrap();
    let cache = in_files(directory.path());
    cache.scope(|| (0..4).for_each(|x| drop(long(x, filling()))));
    let whole = cache.verify(|_| ()).unwrap();
    assert!(whole.is_whole());
    assert_eq!((whole.records, whole.values), (4, 5));

    // One result is damaged, another is missing, and the record of a third call is damaged.
    let values = directory.path().join("values");
    std::fs::write(file_of(&values, &result_of(&cache, 0)), b"damaged").unwrap();
    std::fs::remove_file(file_of(&values, &result_of(&cache, 1))).unwrap();
    let record = long::key(2, filling());
    std::fs::write(file_of(&directory.path().join("calls"), record.digest()), b"damaged").unwrap();

    let mut told = Vec::new();
    let found = cache.verify(|so_far| told.push(so_far.damaged.len())).unwrap();
    assert_eq!((found.records, found.values, found.without_result), (3, 3, 2));
    assert_eq!(found.damaged.len(), 2, "{:?}", found.damaged);
    assert!(found.damaged[1].contains(&record.to_string()[2..]), "{:?}", found.damaged);
    assert_eq!((told.len(), told.last()), (8, Some(&2)), "progress is reported for each entry");
    assert!(!found.is_whole());

    // Damaged entries were quarantined and count as absent.
    assert_eq!(cache.verify(|_| ()).unwrap().damaged, [""; 0]);
    assert_eq!(cache.values().ids(&DigestPrefix::all()).unwrap().count(), 3);
    assert_eq!(cache.calls().keys(&DigestPrefix::all()).unwrap().count(), 3);
    cache.scope(|| (0..4).for_each(|x| assert_eq!(long(x, filling())[0], x)));
    assert_eq!((cache.stats().computed, cache.stats().hits), (7, 1));
    assert!(cache.verify(|_| ()).unwrap().is_whole());
}
