//! Tests of values: limits of size, and stores that are used on threads of an asynchronous runtime.

use std::{cell::RefCell, thread};

use fleche_core::{CallStore, Digest, Error, ValueStore};
use fleche_store_sql::SqlValues;

use super::common::{Scratch, key, on_both, record};

#[test]
fn value_that_fits_no_row_is_refused() {
    let scratch = Scratch::sqlite();
    let values = scratch.open_values();
    let long = vec![0; 999_000_001];
    let error = values.put(&Digest::of(b"any"), &long).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }) && error.to_string().contains("1 GB"), "{error}");
    values.put(&Digest::of(b"short"), b"short").unwrap();
    assert_eq!(values.get(&Digest::of(b"short")).unwrap().as_deref(), Some(&b"short"[..]));
}

#[test]
fn sync_commits_to_disk() {
    let scratch = Scratch::sqlite();
    let (values, calls) = (scratch.open_values(), scratch.open_calls());
    values.sync(&Digest::of(b"any")).unwrap();
    calls.sync(&key(1)).unwrap();
    // Each sync is a commit that waits for the disk.
    assert_eq!(scratch.number("SELECT value FROM fleche_meta WHERE name = 'syncs'"), 2);
}

#[test]
fn store_dropped_by_the_end_of_a_thread_is_closed() {
    thread_local! {
        static KEPT: RefCell<Option<SqlValues>> = const { RefCell::new(None) };
    }
    let scratch = Scratch::sqlite();
    thread::scope(|scope| {
        let keeps = scope.spawn(|| {
            KEPT.set(Some(scratch.open_values()));
            KEPT.with_borrow(|values| values.as_ref().unwrap().put(&Digest::of(b"value"), b"value").unwrap());
        });
        keeps.join().unwrap();
    });
    // The last connection that closes removes the log.
    assert!(!scratch.directory.path().join("test.db-wal").exists());
    assert!(scratch.open_values().contains(&Digest::of(b"value")).unwrap());
}

fn stores_work_and_close_on_threads_of_a_runtime(scratch: &Scratch) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (values, calls) = (scratch.open_values(), scratch.open_calls());
        values.put(&Digest::of(b"value"), b"value").unwrap();
        calls.put(&key(1), &record(1)).unwrap();
        tokio::task::yield_now().await;
        assert_eq!(values.get(&Digest::of(b"value")).unwrap().as_deref(), Some(&b"value"[..]));
        drop((values, calls));
    });
    drop(runtime);
    assert_eq!(scratch.open_calls().get(&key(1)).unwrap(), Some(record(1)));
}

on_both! { stores_work_and_close_on_threads_of_a_runtime }
