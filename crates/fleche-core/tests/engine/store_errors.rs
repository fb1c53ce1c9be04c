//! Tests that a failing store never fails the user's call.

use fleche_core::{Cache, CallStore, DigestPrefix, Error, SkipReason, ValueStore, cache::HotTier, fleche};
use fleche_store_memory::{MemoryCalls, MemoryValues};

use crate::{
    fixtures::long_result,
    hooked_store::{HookedStore, Operation},
    support::{Runs, logged, memory},
};

/// Wraps a store so that the selected operations fail, as on a full or unreadable disk.
fn failing_store<S>(store: S, get: bool, put: bool) -> HookedStore<S> {
    HookedStore::new(store, move |operation| match failure(operation, get, put) {
        Some(action) => {
            let source = std::io::Error::other("no space left on device");
            Err(Error::Io { action, path: "store".into(), source })
        }
        None => Ok(()),
    })
}

/// Returns what an operation cannot do if reads or writes fail.
fn failure(operation: Operation, get: bool, put: bool) -> Option<&'static str> {
    match operation {
        Operation::ReadValue | Operation::ReadRecord if get => Some("read"),
        Operation::WriteValue | Operation::WriteRecord if put => Some("write"),
        _ => None,
    }
}

pub(crate) fn failing(get: bool, put: bool) -> (Cache, MemoryValues, MemoryCalls) {
    let (values, calls) = (MemoryValues::new(), MemoryCalls::new());
    let cache = Cache::new(failing_store(values.clone(), get, put), failing_store(calls.clone(), get, put));
    (cache, values, calls)
}

#[test]
fn every_store_error_is_counted_and_logged() {
    long_result!(sturdy);
    for (get, put, faults) in [(true, false, 1), (false, true, 1), (true, true, 2)] {
        let (cache, _, _) = failing(get, put);
        let (result, log) = logged(|| cache.scope(|| sturdy(100)));
        assert_eq!(result.len(), 100);
        assert_eq!(RUNS.take(), 1);
        assert_eq!(cache.stats().faults, faults);
        assert_eq!(log.matches("no space left on device").count() as u64, faults, "{log}");
        assert_eq!(cache.stats().skipped.get(&SkipReason::StoreFailed).copied(), put.then_some(1));
    }
}

#[test]
fn persistent_store_errors_are_logged_once_per_cause() {
    long_result!(patient);
    let (cache, _, _) = failing(true, true);
    let ((), log) = logged(|| {
        for length in 100..150 {
            assert_eq!(cache.scope(|| patient(length)).len(), length);
        }
    });
    assert_eq!(RUNS.take(), 50);
    // After some failures the circuit breaker opens, which is logged separately.
    assert!(cache.stats().faults > 2, "{:?}", cache.stats());
    let warnings = log.lines().filter(|line| line.contains("WARN") && !line.contains("failed repeatedly"));
    assert_eq!(warnings.count(), 2, "{log}");
    assert!(log.contains("cannot read") && log.contains("cannot write"), "{log}");
}

#[test]
fn panicking_store_counts_as_failing() {
    long_result!(sturdy_at_panics);
    let panics =
        |operation| failure(operation, true, true).map_or(Ok(()), |action| panic!("the store cannot {action}"));
    let cache = Cache::new(MemoryValues::new(), HookedStore::new(MemoryCalls::new(), panics));
    let (result, log) = logged(|| cache.scope(|| sturdy_at_panics(103)));
    assert_eq!((result.len(), RUNS.take()), (103, 1));
    assert_eq!(cache.stats().faults, 2);
    assert!(log.contains("the store cannot read") && log.contains("the store cannot write"), "{log}");
    // The panic leaves nothing behind that would block the next call.
    assert_eq!(cache.scope(|| sturdy_at_panics(103)).len(), 103);
}

#[test]
fn no_record_is_stored_without_its_value() {
    long_result!(valueless);
    let (values, calls) = (MemoryValues::new(), MemoryCalls::new());
    let cache = Cache::new(failing_store(values.clone(), false, true), calls.clone());
    cache.scope(|| valueless(101));
    assert_eq!(RUNS.take(), 1);
    assert_eq!(calls.keys(&DigestPrefix::all()).unwrap().count(), 0);
}

#[test]
fn record_with_a_missing_value_is_a_miss() {
    long_result!(emptied);
    let cache = memory().to_builder().hot_tier(HotTier::OFF).build();
    let _active = cache.enter();
    emptied(102);
    let record = cache.record(&emptied::key(102)).unwrap().unwrap();
    assert!(cache.values().remove(record.result.stored().unwrap(), None).unwrap());
    assert!(!emptied::contains(102).unwrap());
    assert_eq!(emptied::load(102).unwrap(), None);
    assert_eq!(emptied(102).len(), 102);
    assert_eq!(RUNS.take(), 2);
    assert!(emptied::contains(102).unwrap());
}

#[test]
fn result_of_another_type_is_a_miss_and_overwritten() {
    mod before {
        #[fleche_core::fleche]
        pub(crate) fn typed(x: i64) -> String {
            x.to_string()
        }
    }
    #[fleche(stale = "serve")]
    fn retyped(x: i64) -> u8 {
        RUNS_RETYPED.count();
        u8::try_from(x).unwrap()
    }
    static RUNS_RETYPED: Runs = Runs::new();
    let cache = memory();
    let _active = cache.enter();
    before::typed(1);
    let record = cache.record(&before::typed::key(1)).unwrap().unwrap();
    cache.calls().put(&retyped::key(1), &record).unwrap();
    let (result, log) = logged(|| retyped(1));
    assert_eq!(result, 1);
    assert!(log.contains("does not decode"), "{log}");
    assert_eq!((retyped(1), RUNS_RETYPED.take()), (1, 1));
}
