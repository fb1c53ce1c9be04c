//! Tests that a store whose files are removed while a program uses it records new results afterwards.

use std::{cell::Cell, fs};

use fleche_core::{Cache, fleche, store::Reach};
use fleche_store_file as _;
use fleche_store_redb as _;
use fleche_store_sled as _;
use fleche_store_sql as _;

thread_local! {
    /// The bodies that ran on this thread: the tests run side by side.
    static RUNS: Cell<u64> = const { Cell::new(0) };
}

#[fleche]
fn long_text(backend: &str, x: u64) -> String {
    RUNS.set(RUNS.get() + 1);
    format!("{backend} {x}").repeat(100)
}

fn runs(cache: &Cache, backend: &str, x: u64) -> u64 {
    let before = RUNS.get();
    assert_eq!(cache.scope(|| long_text(backend, x)), format!("{backend} {x}").repeat(100));
    RUNS.get() - before
}

#[test]
fn removed_store_counts_a_fault_and_is_reopened() {
    for backend in fleche_core::store::backends() {
        if !["file", "redb", "sled", "sql-sqlite"].contains(&backend.name) {
            continue;
        }
        let scratch = tempfile::tempdir().unwrap();
        let place = scratch.path().join("store");
        fs::create_dir(&place).unwrap();
        let (values, calls) = (backend.scratch)(&place);
        let open = || Cache::of(values.open().unwrap(), calls.open().unwrap(), true);
        let cache = open();
        assert_eq!(runs(&cache, backend.name, 1), 1);

        fs::remove_dir_all(&place).unwrap();
        assert_eq!(runs(&cache, backend.name, 2), 1);
        // The file store holds no file open, so it notices nothing.
        let noticed = cache.stats().faults;
        assert_eq!(noticed > 0, backend.name != "file", "{}: {noticed} faults", backend.name);
        assert_eq!(cache.stats().skipped.values().sum::<u64>(), 0, "{}", backend.name);
        assert_eq!(runs(&cache, backend.name, 3), 1);
        assert_eq!(cache.stats().faults, noticed, "{}", backend.name);
        // A second handle in this process must find the result while the first is in use.
        if backend.reach == Reach::Shared {
            assert_eq!(runs(&open(), backend.name, 2), 0, "{}", backend.name);
        }
        drop(cache);
        let reopened = open();
        assert_eq!([2, 3].map(|x| runs(&reopened, backend.name, x)), [0, 0], "{}", backend.name);
    }
}

#[test]
fn sqlite_database_removed_without_its_log_is_recreated() {
    let scratch = tempfile::tempdir().unwrap();
    let backend = fleche_core::store::backends().into_iter().find(|backend| backend.name == "sql-sqlite").unwrap();
    let (values, calls) = (backend.scratch)(scratch.path());
    let cache = Cache::of(values.open().unwrap(), calls.open().unwrap(), true);
    assert_eq!(runs(&cache, "log", 1), 1);
    let file = fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|end| end == "db")).unwrap();
    fs::remove_file(file).unwrap();
    for x in [2, 3] {
        assert_eq!(runs(&cache, "log", x), 1);
    }
    drop(cache);
    let reopened = Cache::of(values.open().unwrap(), calls.open().unwrap(), true);
    assert_eq!([1, 2, 3].map(|x| runs(&reopened, "log", x)), [1, 0, 0]);
    assert_eq!(reopened.stats().faults, 0);
}
