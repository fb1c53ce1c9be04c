//! Tests of calls over a file store with damage, foreign files and unusable directories.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fleche_core::{
    Cache, CallStore, Digest, DigestPrefix, Error, ValueStore,
    cache::HotTier,
    fleche,
    layer::{ReadOnly, Stack, Union, Void},
};
use fleche_store_file::{FileCalls, FileValues};
use fleche_store_memory::{MemoryCalls, MemoryValues};

use crate::{
    fixtures::long_result,
    support::{Runs, logged},
};

/// Opens a cache that reads every hit from the disk.
fn open(root: &Path) -> Cache {
    let cache =
        Cache::new(FileValues::open(root.join("values")).unwrap(), FileCalls::open(root.join("calls")).unwrap());
    cache.to_builder().hot_tier(HotTier::OFF).build()
}

fn entry(root: &Path, store: &str, digest: &Digest) -> PathBuf {
    let (shard, name) = (&digest.to_string()[..2], &digest.to_string()[2..]);
    root.join(store).join(shard).join(name)
}

fn flip_a_bit(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn damaged_entry_is_logged_quarantined_and_recomputed() {
    long_result!(survivor);
    for damage in [flip_a_bit, truncate] {
        for store in ["values", "calls"] {
            let root = tempfile::tempdir().unwrap();
            let cache = open(root.path());
            let _active = cache.enter();
            survivor(100);
            survivor(101);
            RUNS.take();
            let key = survivor::key(100);
            let record = cache.record(&key).unwrap().unwrap();
            let damaged = if store == "values" { record.result.stored().unwrap() } else { key.digest() };
            damage(&entry(root.path(), store, damaged));
            let (results, log) = logged(|| [survivor(100), survivor(100), survivor(101)]);
            assert_eq!(results, ["y".repeat(100), "y".repeat(100), "y".repeat(101)]);
            assert_eq!(RUNS.take(), 1, "only the damaged call must run, once");
            assert_eq!(cache.stats().faults, 1);
            assert!(log.contains("is damaged") && log.contains(&damaged.to_string()[2..]), "{log}");
            let aside: Vec<_> = fs::read_dir(root.path().join(store).join("damaged")).unwrap().collect();
            assert_eq!(aside.len(), 1);
        }
    }
}

#[test]
fn swapped_entries_are_not_served() {
    long_result!(swapped);
    let root = tempfile::tempdir().unwrap();
    let cache = open(root.path());
    let _active = cache.enter();
    swapped(100);
    swapped(101);
    RUNS.take();
    let paths = [100, 101].map(|length| entry(root.path(), "calls", swapped::key(length).digest()));
    let contents = paths.each_ref().map(|path| fs::read(path).unwrap());
    fs::write(&paths[0], &contents[1]).unwrap();
    fs::write(&paths[1], &contents[0]).unwrap();
    assert_eq!([swapped(100), swapped(101)].map(|result| result.len()), [100, 101]);
    assert_eq!(RUNS.take(), 2);
    assert_eq!(cache.stats().faults, 2);
}

#[test]
fn foreign_files_are_left_alone() {
    long_result!(beside);
    let root = tempfile::tempdir().unwrap();
    let cache = open(root.path());
    let _active = cache.enter();
    beside(100);
    let key = beside::key(100).to_string();
    let foreign = [
        root.path().join("values/notes.txt"),
        root.path().join("calls").join(&key[..2]).join("notes.txt"),
        root.path().join("calls/zz"),
    ];
    for path in &foreign {
        fs::write(path, "mine").unwrap();
    }
    assert_eq!(beside(100).len(), 100);
    assert_eq!(cache.calls().keys(&DigestPrefix::all()).unwrap().map(Result::unwrap).count(), 1);
    assert_eq!(cache.values().ids(&DigestPrefix::all()).unwrap().map(Result::unwrap).count(), 1);
    for path in &foreign {
        assert_eq!(fs::read_to_string(path).unwrap(), "mine");
    }
    assert_eq!((RUNS.take(), cache.stats().faults), (1, 0));
}

#[test]
fn call_returns_its_result_if_its_directory_is_unusable() {
    long_result!(blocked);
    for store in ["values", "calls"] {
        let root = tempfile::tempdir().unwrap();
        let cache = open(root.path());
        let _active = cache.enter();
        blocked(100);
        let record = cache.record(&blocked::key(100)).unwrap().unwrap();
        // Tests may run as root, which permissions do not stop. A file in place of a directory stops every user.
        let digest = if store == "values" { *record.result.stored().unwrap() } else { *blocked::key(100).digest() };
        let shard = entry(root.path(), store, &digest).parent().unwrap().to_owned();
        fs::remove_dir_all(&shard).unwrap();
        fs::write(&shard, "in the way").unwrap();
        RUNS.take();
        let (result, log) = logged(|| blocked(100));
        assert_eq!((result.len(), RUNS.take()), (100, 1));
        assert!(cache.stats().faults > 0);
        assert!(log.contains(shard.to_str().unwrap()), "{log}");
        assert_eq!(fs::read_to_string(&shard).unwrap(), "in the way");
    }
}

#[test]
fn every_value_file_is_named_after_its_digest() {
    long_result!(named);
    let root = tempfile::tempdir().unwrap();
    open(root.path()).scope(|| (100..120).for_each(|length| drop(named(length))));
    let mut files = 0;
    for shard in fs::read_dir(root.path().join("values")).unwrap().map(Result::unwrap) {
        for file in fs::read_dir(shard.path()).into_iter().flatten().map(Result::unwrap) {
            let name = shard.file_name().into_string().unwrap() + file.file_name().to_str().unwrap();
            assert_eq!(blake3::hash(&fs::read(file.path()).unwrap()).to_hex().as_str(), name);
            files += 1;
        }
    }
    assert_eq!((files, RUNS.take()), (20, 20));
}

type Values = Box<dyn ValueStore>;
type Calls = Box<dyn CallStore>;

#[test]
fn cache_shows_its_stores_and_settings() {
    let shown =
        format!("{:?}", Cache::new(Box::new(MemoryValues::new()) as Values, Box::new(MemoryCalls::new()) as Calls));
    assert!(shown.contains("MemoryValues") && shown.contains("store_arguments: true"), "{shown}");
    assert!(!shown.contains("ProcessLocal"), "{shown}");
    assert_eq!(format!("{:?}", Cache::void()), "Cache::void()");
}

#[test]
fn boxed_stores_keep_results() {
    static RUNS: Runs = Runs::new();
    #[fleche(hot = false)]
    fn boxed(x: i64) -> Vec<i64> {
        RUNS.count();
        vec![x; 100]
    }
    let (values, calls) = (MemoryValues::new(), MemoryCalls::new());
    for _ in 0..2 {
        // A different handle of the same stores each time.
        let cache = Cache::new(Box::new(values.clone()) as Values, Box::new(calls.clone()) as Calls);
        assert_eq!(cache.scope(|| boxed(1)), vec![1; 100]);
    }
    assert_eq!(RUNS.take(), 1);
}

#[test]
fn layers_accept_boxed_stores_of_different_types() {
    static RUNS: Runs = Runs::new();
    #[fleche(hot = false)]
    fn layered(x: i64) -> Vec<i64> {
        RUNS.count();
        vec![x; 100]
    }
    let (values, calls) = (MemoryValues::new(), MemoryCalls::new());
    Cache::new(values.clone(), calls.clone()).scope(|| layered(1));
    let (far_values, far_calls) = (ReadOnly::new(values), ReadOnly::new(calls));

    let stack = Cache::new(
        Stack::new([Box::new(MemoryValues::new()) as Values, Box::new(far_values.clone())]).unwrap(),
        Stack::new([Box::new(MemoryCalls::new()) as Calls, Box::new(far_calls.clone())]).unwrap(),
    );
    stack.scope(|| (layered(1), layered(2), layered(2)));
    assert_eq!(RUNS.take(), 2, "one call is in the shared stores and one is not");
    let pool = Cache::new(
        Union::new([Box::new(Void) as Values, Box::new(far_values)]).unwrap(),
        Union::new([Box::new(Void) as Calls, Box::new(far_calls)]).unwrap(),
    );
    pool.scope(|| (layered(1), layered(2), layered(2)));
    assert_eq!(RUNS.take(), 2, "a pool stores nothing");
}

#[test]
fn boxed_stack_in_a_stack_is_refused() {
    let inner: Values = Box::new(Stack::new([MemoryValues::new()]).unwrap());
    assert!(matches!(Stack::new([inner]), Err(Error::Config { .. })));
    let inner: Calls = Box::new(Stack::new([MemoryCalls::new()]).unwrap());
    assert!(matches!(Stack::new([inner]), Err(Error::Config { .. })));
    assert!(matches!(Stack::new(Vec::<MemoryValues>::new()), Err(Error::Config { .. })));
    // A store of both kinds needs the explicit constructors.
    assert!(Stack::values([Void]).is_ok() && Stack::calls([Void]).is_ok());
}
