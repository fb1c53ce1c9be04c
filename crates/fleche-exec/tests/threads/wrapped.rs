//! Wrapped pools: hits do not reach the pool, and all other calls are bound. Bound functions keep their binding.

use std::{collections::BTreeMap, sync::Arc};

use fleche_core::{
    Bound, Executor, ExecutorExt, JobError, Resources,
    cache::StalePolicy,
    fleche,
    metadata::{RuntimeReport, TAGS},
    tag, wrap_executor,
};

use super::common::{Counting, memory, pool};

#[fleche]
fn double(x: i64) -> i64 {
    2 * x
}

/// A plain function with the name of the memoized one.
mod plain {
    pub(super) fn double(x: i64) -> i64 {
        200 * x
    }
}

fn calls_double(x: i64) -> i64 {
    double(x) + 1
}

#[test]
fn hit_never_reaches_the_pool() {
    let _active = memory().enter();
    double(1);
    let pool = wrap_executor(Counting::new());
    assert_eq!(pool.submit(double, (1,)).result(), Ok(2));
    assert_eq!(pool.inner().submitted(), 0);
}

#[test]
fn result_of_other_code_is_not_a_hit() {
    #[fleche]
    fn before(x: i64) -> i64 {
        2 * x
    }
    #[fleche]
    fn edited(x: i64) -> i64 {
        3 * x
    }
    let cache = memory();
    let _active = cache.enter();
    before(1);
    let record = cache.record(&before::key(1)).unwrap().unwrap();
    cache.calls().put(&edited::key(1), &record).unwrap();
    let pool = wrap_executor(Counting::new());
    let submitted =
        || (pool.submit(edited, (1,)).result(), pool.run(edited::bind(1)).result(), pool.inner().submitted());
    let serving = cache.to_builder().stale(StalePolicy::Serve).build();
    assert_eq!(serving.scope(submitted), (Ok(2), Ok(2), 0));
    assert_eq!(submitted(), (Ok(3), Ok(3), 1));
}

#[test]
fn job_of_a_hit_is_done_at_once() {
    let _active = memory().enter();
    double(1);
    assert!(wrap_executor(pool(1)).submit(double, (1,)).is_done());
}

#[test]
fn hit_of_a_bound_call_never_reaches_the_pool() {
    let _active = memory().enter();
    double(1);
    let pool = wrap_executor(Counting::new());
    assert_eq!(pool.run(double::bind(1)).result(), Ok(2));
    assert_eq!(pool.inner().submitted(), 0);
}

#[test]
fn miss_is_recorded_in_the_submitters_cache() {
    let cache = memory();
    let _active = cache.enter();
    let pool = wrap_executor(Counting::new());
    assert_eq!(pool.submit(double, (1,)).result(), Ok(2));
    assert_eq!(pool.inner().submitted(), 1);
    assert_eq!(double::load(1).unwrap(), Some(2));
    assert_eq!(cache.stats().computed, 1);
}

#[test]
fn miss_is_recorded_with_the_submitters_tags() {
    let cache = memory();
    let _active = cache.enter();
    let _tag = tag("project", "alloy").enter();
    wrap_executor(pool(1)).submit(double, (1,)).result().unwrap();
    let record = cache.record(&double::key(1)).unwrap().unwrap();
    let tags: BTreeMap<String, String> = record.metadata.get(TAGS).unwrap().unwrap();
    assert_eq!(tags["project"], "alloy");
}

#[test]
fn miss_is_recorded_with_its_runtime() {
    let cache = memory();
    let _active = cache.enter();
    wrap_executor(pool(1)).submit(double, (1,)).result().unwrap();
    let record = cache.record(&double::key(1)).unwrap().unwrap();
    let runtime: RuntimeReport = record.metadata.get("runtime").unwrap().unwrap();
    assert!(runtime.stop >= runtime.start);
}

#[test]
fn metadata_kinds_that_the_submitter_did_not_choose_are_not_collected() {
    let cache = memory();
    let _active = cache.enter();
    let _nothing = fleche_core::collect([]).enter();
    wrap_executor(pool(1)).submit(double, (1,)).result().unwrap();
    let record = cache.record(&double::key(1)).unwrap().unwrap();
    assert_eq!(record.metadata.iter().count(), 0);
}

#[test]
fn calls_inside_a_plain_function_use_the_submitters_cache() {
    let _active = memory().enter();
    assert_eq!(wrap_executor(pool(1)).submit(calls_double, (1,)).result(), Ok(3));
    assert!(double::contains(1).unwrap());
}

#[test]
fn calls_inside_a_closure_use_the_submitters_cache() {
    let _active = memory().enter();
    let offset = 5;
    assert_eq!(wrap_executor(pool(1)).submit(move |x: i64| double(x) + offset, (1,)).result(), Ok(7));
    assert!(double::contains(1).unwrap());
}

#[test]
fn plain_function_reaches_the_pool_every_time() {
    let _active = memory().enter();
    let pool = wrap_executor(Counting::new());
    pool.submit(calls_double, (1,)).result().unwrap();
    pool.submit(calls_double, (1,)).result().unwrap();
    assert_eq!(pool.inner().submitted(), 2);
}

#[test]
fn plain_function_with_the_name_of_a_memoized_one_is_not_memoized() {
    let _active = memory().enter();
    double(1);
    assert_eq!(wrap_executor(pool(1)).submit(plain::double, (1,)).result(), Ok(200));
}

#[test]
fn unwrapped_pool_does_not_inherit_the_submitters_cache() {
    let cache = memory();
    let _active = cache.enter();
    assert_eq!(pool(1).submit(double, (1,)).result(), Ok(2));
    assert!(!double::contains(1).unwrap());
    assert_eq!(cache.stats().computed, 0);
}

#[test]
fn wrapping_twice_equals_wrapping_once() {
    let cache = memory();
    let _active = cache.enter();
    let pool = wrap_executor(wrap_executor(Counting::new()));
    assert_eq!(pool.submit(double, (1,)).result(), Ok(2));
    assert_eq!(pool.submit(double, (1,)).result(), Ok(2));
    assert_eq!(pool.inner().inner().submitted(), 1);
    assert_eq!((cache.stats().computed, cache.stats().hits), (1, 1));
}

#[test]
fn each_submission_is_bound_to_the_cache_active_at_that_time() {
    let (first, second) = (memory(), memory());
    let pool = wrap_executor(pool(1));
    first.scope(|| pool.submit(double, (1,))).result().unwrap();
    second.scope(|| pool.submit(double, (2,))).result().unwrap();
    assert_eq!(first.scope(|| (double::contains(1).unwrap(), double::contains(2).unwrap())), (true, false));
    assert_eq!(second.scope(|| (double::contains(1).unwrap(), double::contains(2).unwrap())), (false, true));
}

#[test]
fn executors_behind_pointers_answer_hits_too() {
    let _active = memory().enter();
    let counting = Arc::new(Counting::new());
    let (by_arc, by_reference) = (wrap_executor(counting.clone()), wrap_executor(&*counting));
    let by_box: Box<dyn Executor> = Box::new(wrap_executor(counting.clone()));
    assert_eq!(by_arc.submit(double, (1,)).result(), Ok(2));
    assert_eq!(by_reference.submit(double, (1,)).result(), Ok(2));
    assert_eq!(by_box.submit(double, (1,)).result(), Ok(2));
    assert_eq!(counting.submitted(), 1);
}

static GATE: super::common::Gate = super::common::Gate::new();
static RUNS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

#[fleche]
fn held(x: i64) -> i64 {
    RUNS.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    GATE.wait();
    x
}

#[test]
fn submissions_of_one_missing_call_share_its_task() {
    let _active = memory().enter();
    let pool = wrap_executor(Counting::new());
    let jobs: Vec<_> = (0..3).map(|_| pool.submit(held, (1,))).collect();
    GATE.open();
    for job in jobs {
        assert_eq!(job.result(), Ok(1));
    }
    assert_eq!((pool.inner().submitted(), RUNS.load(std::sync::atomic::Ordering::SeqCst)), (1, 1));
}

static SEVERAL: super::common::Gate = super::common::Gate::new();

#[fleche]
fn held_for_several(x: i64) -> i64 {
    SEVERAL.wait();
    x
}

#[test]
fn wraps_of_one_wrapped_pool_share_a_task() {
    let _active = memory().enter();
    let shared = wrap_executor(Counting::new());
    let (first, second) = (wrap_executor(&shared), wrap_executor(&shared));
    let jobs = [&first, &second, &second, &first].map(|pool| pool.submit(held_for_several, (1,)));
    let direct = shared.submit(held_for_several, (1,));
    SEVERAL.open();
    for job in jobs.into_iter().chain([direct]) {
        assert_eq!(job.result(), Ok(1));
    }
    assert_eq!(shared.inner().submitted(), 1);
}

static ASKED: super::common::Gate = super::common::Gate::new();

#[fleche]
fn held_for_who_asks(x: i64) -> i64 {
    ASKED.wait();
    x
}

#[test]
fn resources_are_checked_even_if_the_call_is_already_in_flight() {
    let _active = memory().enter();
    let pool = wrap_executor(pool(2));
    let first = pool.submit(held_for_who_asks, (1,));
    let refused = pool.with(Resources::new().option("partition", "short")).submit(held_for_who_asks, (1,));
    assert!(matches!(refused.result(), Err(JobError::Rejected { why }) if why.contains("`partition`")));
    let accepted = pool.with(Resources::new().retries(1)).submit(held_for_who_asks, (1,));
    ASKED.open();
    assert_eq!((first.result(), accepted.result()), (Ok(1), Ok(1)));
}

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
