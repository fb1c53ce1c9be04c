//! Tests that boxed stores work as stores, alone and in layers.

use fleche_core::{
    Cache, CallStore, Error, ValueStore, fleche,
    layer::{Pool, ReadOnly, Stack, Void},
};
use fleche_store_memory::{MemoryCalls, MemoryValues};

use crate::support::Runs;

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
        Pool::new([Box::new(Void) as Values, Box::new(far_values)]).unwrap(),
        Pool::new([Box::new(Void) as Calls, Box::new(far_calls)]).unwrap(),
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
