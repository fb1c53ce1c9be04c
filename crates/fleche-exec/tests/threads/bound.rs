//! Bound functions in pools: they keep their binding.

use fleche_core::{Bound, ExecutorExt, fleche, wrap_executor};

use super::common::{Counting, memory, pool};

#[fleche]
fn triple(x: i64) -> i64 {
    3 * x
}

fn calls_triple(x: i64) -> i64 {
    triple(x) + 1
}

#[test]
fn bound_function_is_not_bound_again() {
    let (bound_to, active) = (memory(), memory());
    let bound = bound_to.scope(|| Bound::bind(triple));
    let _active = active.enter();
    assert_eq!(wrap_executor(pool(1)).submit(bound, (1,)).result(), Ok(3));
    assert!(!triple::contains(1).unwrap());
    assert!(bound_to.scope(|| triple::contains(1)).unwrap());
}

#[test]
fn hit_of_a_bound_function_is_looked_up_in_its_own_cache() {
    let bound_to = memory();
    let bound = bound_to.scope(|| {
        triple(1);
        Bound::bind(triple)
    });
    let pool = wrap_executor(Counting::new());
    let _active = memory().enter();
    assert_eq!(pool.submit(bound, (1,)).result(), Ok(3));
    assert_eq!(pool.inner().submitted(), 0);
}

#[test]
fn bound_call_keeps_its_cache_in_a_wrapped_pool() {
    let bound_to = memory();
    let call = bound_to.scope(|| triple::bind(1));
    let _active = memory().enter();
    assert_eq!(wrap_executor(pool(1)).run(call).result(), Ok(3));
    assert!(!triple::contains(1).unwrap());
    assert!(bound_to.scope(|| triple::contains(1)).unwrap());
}

#[test]
fn bound_function_keeps_its_cache_after_the_guard_is_dropped() {
    let cache = memory();
    let active = cache.enter();
    let bound = Bound::bind(calls_triple);
    drop(active);
    assert_eq!(pool(1).submit(bound, (1,)).result(), Ok(4));
    assert!(cache.scope(|| triple::contains(1)).unwrap());
}

#[test]
fn two_pools_share_a_bound_function() {
    let cache = memory();
    let bound = cache.scope(|| Bound::bind(triple));
    let (first, second) = (wrap_executor(Counting::new()), wrap_executor(Counting::new()));
    assert_eq!(first.submit(bound.clone(), (1,)).result(), Ok(3));
    assert_eq!(second.submit(bound, (1,)).result(), Ok(3));
    assert_eq!((first.inner().submitted(), second.inner().submitted()), (1, 0));
    assert_eq!(cache.stats().computed, 1);
}

#[test]
fn cache_active_on_the_worker_is_active_again_after_a_bound_call() {
    let (bound_to, on_worker) = (memory(), memory());
    let bound = bound_to.scope(|| Bound::bind(triple));
    let job = pool(1).spawn(move || {
        let _active = on_worker.enter();
        let result = bound.call((1,));
        (result, triple::contains(1).unwrap())
    });
    assert_eq!(job.result(), Ok((3, false)));
}

#[test]
fn no_cache_stays_active_on_the_worker() {
    let cache = memory();
    let pool = pool(1);
    cache.scope(|| wrap_executor(&pool).submit(triple, (1,))).result().unwrap();
    pool.submit(triple, (2,)).result().unwrap();
    assert!(!cache.scope(|| triple::contains(2)).unwrap());
}
