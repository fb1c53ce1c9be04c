//! Calls that ran in workers, as the pool's process sees them: records, hot results, and arguments without a stable
//! encoding.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use fleche_core::{
    Bound, Cache, CallStore, ExecutorExt, SkipReason, cache::StalePolicy, fleche, metadata::TAGS, tag, wrap_executor,
};
use fleche_store_memory::{MemoryCalls, MemoryValues};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    common::{files, memory, pool, result},
    hooked_store::{HookedStore, Operation},
};

#[fleche]
fn double(x: i64) -> i64 {
    2 * x
}

#[fleche]
fn long_text(x: usize) -> String {
    "x".repeat(x)
}

fn calls_double(x: i64) -> i64 {
    double(x) + 1
}

#[fleche]
fn fails(x: i64) -> Result<i64, String> {
    Err(format!("{x} is refused"))
}

/// Runs the test with stores that workers open, and with stores that they reach through their channel: quick ones, and
/// ones that may block.
fn each_store(test: impl Fn(Cache)) {
    let [shared, exclusive] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    test(files(shared.path()));
    test(memory());
    test(super::hooked_store::exclusive(exclusive.path()));
}

#[test]
fn worker_records_a_miss_without_reading_a_store_that_only_its_pool_writes() {
    let (values, calls) = (MemoryValues::new(), MemoryCalls::new());
    let (reads, writes) = [(); 2].map(|()| Arc::new(AtomicUsize::new(0))).into();
    let counted = [reads.clone(), writes.clone()];
    let config = CallStore::config(&calls);
    let hooked = HookedStore::new(calls, config, move |operation| {
        match operation {
            Operation::Read => counted[0].fetch_add(1, SeqCst),
            Operation::Write => counted[1].fetch_add(1, SeqCst),
            Operation::Claim => 0,
        };
        Ok(())
    });
    let _active = Cache::new(values, hooked).enter();
    let pool = wrap_executor(pool(1));
    assert_eq!(result(pool.submit(double, (1,))), Ok(2));
    // One read when the call was submitted, and one when it was sent.
    assert_eq!((reads.load(SeqCst), writes.load(SeqCst)), (2, 1));
    assert!(pool.submit(double, (1,)).is_done());
}

/// Returns whether the operations on a store work in a worker.
fn is_seen_whole(x: i64) -> bool {
    double(x);
    let cache = fleche_core::active_cache();
    let key = double::key(x);
    let listed = cache.calls().keys(&key.into()).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    let found = cache.query(&double::query()).unwrap().filter_map(Result::ok).any(|(of, _)| of == key);
    listed == [key]
        && found
        && cache.contains(&key).unwrap()
        && cache.evict(&key).unwrap()
        && !cache.evict(&key).unwrap()
}

#[fleche]
fn before(x: i64) -> i64 {
    2 * x
}

#[fleche]
fn edited(x: i64) -> i64 {
    3 * x
}

#[test]
fn worker_applies_the_stale_policy_of_the_pools_cache() {
    each_store(|cache| {
        let _active = cache.enter();
        before(5);
        let record = cache.record(&before::key(5)).unwrap().unwrap();
        cache.calls().put(&edited::key(5), &record).unwrap();
        let served = cache
            .to_builder()
            .stale(StalePolicy::Serve)
            .build()
            .scope(|| result(pool(1).submit(Bound::bind(edited), (5,))));
        assert_eq!(served, Ok(10));
        let pool = wrap_executor(pool(1));
        assert_eq!([0; 2].map(|_| result(pool.submit(edited, (5,)))), [Ok(15), Ok(15)]);
        assert_eq!(pool.inner().stats().received, 1);
        let kept = edited::key(5).for_replaced(&record.function.code);
        assert_eq!(cache.load(&kept).unwrap(), Some(10));
    });
}

#[test]
fn worker_can_use_a_store_as_the_parent_can() {
    each_store(|cache| {
        let _active = cache.enter();
        assert_eq!(result(pool(1).submit(Bound::bind(is_seen_whole), (4,))), Ok(true));
        assert!(!double::contains(4).unwrap());
    });
}

#[test]
fn counts_of_workers_are_added_to_the_parents_cache() {
    each_store(|cache| {
        let _active = cache.enter();
        let pool = wrap_executor(pool(2));
        for x in 0..4 {
            assert_eq!(result(pool.submit(calls_double, (x,))), Ok(2 * x + 1));
            assert_eq!(result(pool.submit(double, (x,))), Ok(2 * x));
            assert_eq!(result(pool.submit(fails, (x,))), Ok(Err(format!("{x} is refused"))));
        }
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.computed), (4, 8, 8));
        assert_eq!(stats.skipped, BTreeMap::from([(SkipReason::Failed, 4)]));
    });
}

#[test]
fn call_returns_even_if_the_parents_store_refuses_its_record() {
    let directory = tempfile::tempdir().unwrap();
    let _active = super::hooked_store::full(directory.path()).enter();
    let pool = wrap_executor(pool(1));
    assert_eq!(result(pool.submit(double, (4,))), Ok(8));
    assert_eq!(result(pool.submit(long_text, (5000,))).unwrap().len(), 5000);
    assert!(!double::contains(4).unwrap());
}

#[test]
fn record_made_while_the_task_was_queued_is_a_hit_in_the_worker() {
    let cache = memory();
    let _active = cache.enter();
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let pool = wrap_executor(pool(1));
    let busy = pool.submit(super::common::wait_for, (gate.clone(),));
    let waits = pool.submit(double, (4,));
    // The call is computed and recorded while the task is queued.
    double(4);
    std::fs::write(gate, "").unwrap();
    result(busy).unwrap();
    assert_eq!(result(waits), Ok(8));
    let record = cache.record(&double::key(4)).unwrap().unwrap();
    assert_eq!(record.writer.process, process::id(), "the call was computed again");
}

#[test]
fn eight_misses_leave_eight_records_that_the_parent_sees() {
    each_store(|cache| {
        let _active = cache.enter();
        let pool = wrap_executor(pool(2));
        let jobs: Vec<_> = (0..8).map(|x| pool.submit(double, (x,))).collect();
        for (x, job) in (0..).zip(jobs) {
            assert_eq!(result(job), Ok(2 * x));
            assert!(double::contains(x).unwrap());
        }
        assert_eq!(cache.query(&double::query()).unwrap().count(), 8);
        assert_eq!(pool.inner().stats().received, 8);
    });
}

#[test]
fn second_pool_over_the_same_inputs_receives_no_task() {
    each_store(|cache| {
        let _active = cache.enter();
        let inputs = || (0..8).map(|x| (x,));
        let first: Vec<_> = wrap_executor(pool(2)).map(double, inputs()).map(Result::unwrap).collect();
        let second = wrap_executor(pool(2));
        let again: Vec<_> = second.map(double, inputs()).map(Result::unwrap).collect();
        assert_eq!(first, again);
        assert_eq!((second.inner().stats().received, second.inner().stats().workers), (0, 0));
    });
}

#[test]
fn results_too_long_for_a_record_are_stored_as_values() {
    each_store(|cache| {
        let _active = cache.enter();
        let pool = wrap_executor(pool(1));
        assert_eq!(result(pool.submit(long_text, (5000,))).unwrap().len(), 5000);
        assert_eq!(long_text::load(5000).unwrap().unwrap().len(), 5000);
    });
}

#[test]
fn calls_inside_a_bound_plain_function_are_recorded_by_the_parents_store() {
    each_store(|cache| {
        let _active = cache.enter();
        assert_eq!(result(pool(1).submit(Bound::bind(calls_double), (4,))), Ok(9));
        assert_eq!(double::load(4).unwrap(), Some(8));
    });
}

#[test]
fn record_has_the_worker_process_and_the_submitters_tags() {
    each_store(|cache| {
        let _active = cache.enter();
        let _tag = tag("project", "alloy").enter();
        let pool = wrap_executor(pool(1));
        result(pool.submit(double, (1,))).unwrap();
        let record = cache.record(&double::key(1)).unwrap().unwrap();
        assert_ne!(record.writer.process, process::id());
        let worker = result(pool.submit(process::id, ())).unwrap();
        assert_eq!(record.writer.process, worker);
        let tags: BTreeMap<String, String> = record.metadata.get(TAGS).unwrap().unwrap();
        assert_eq!(tags["project"], "alloy");
    });
}

#[test]
fn error_is_returned_and_not_recorded() {
    each_store(|cache| {
        let _active = cache.enter();
        assert_eq!(result(wrap_executor(pool(1)).submit(fails, (1,))), Ok(Err("1 is refused".to_owned())));
        assert!(!fails::contains(1).unwrap());
    });
}

#[test]
fn worker_keeps_the_records_of_two_caches_apart() {
    let (first, second) = (memory(), memory());
    let pool = wrap_executor(pool(1));
    result(first.scope(|| pool.submit(double, (1,)))).unwrap();
    result(second.scope(|| pool.submit(double, (2,)))).unwrap();
    assert_eq!(first.scope(|| (double::contains(1).unwrap(), double::contains(2).unwrap())), (true, false));
    assert_eq!(second.scope(|| (double::contains(1).unwrap(), double::contains(2).unwrap())), (false, true));
}

#[test]
fn hit_is_served_while_every_worker_is_busy() {
    let _active = memory().enter();
    double(1);
    let pool = Arc::new(wrap_executor(pool(1)));
    let gate = tempfile::tempdir().unwrap();
    let busy = pool.submit(super::common::wait_for, (gate.path().join("open"),));
    assert_eq!(result(pool.submit(double, (1,))), Ok(2));
    assert!(!busy.is_done());
    std::fs::write(gate.path().join("open"), "").unwrap();
    result(busy).unwrap();
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Lossy {
    kept: u64,
    #[serde(skip)]
    lost: u64,
}

fn lossy(lost: u64) -> Lossy {
    Lossy { kept: 1, lost }
}

#[fleche]
fn hit_sum(lossy: Lossy) -> u64 {
    lossy.kept + lossy.lost
}

#[fleche]
fn missed_sum(lossy: Lossy) -> u64 {
    lossy.kept + lossy.lost
}

#[fleche]
fn unbound_sum(lossy: Lossy) -> u64 {
    lossy.kept + lossy.lost
}

#[fleche]
fn generic_sum<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static>(lossy: Lossy, _other: T) -> u64 {
    lossy.kept + lossy.lost
}

#[test]
fn hit_for_an_argument_that_its_encoding_loses_is_not_served() {
    let (pool, cache) = (wrap_executor(pool(1)), memory());
    let _active = cache.enter();
    assert_eq!(result(pool.submit(hit_sum, (lossy(0),))), Ok(1));
    assert!(cache.stats().skipped.is_empty());
    drop(result(pool.submit(hit_sum, (lossy(2),))));
    assert_eq!(cache.stats().skipped[&SkipReason::ArgumentNotStable], 1);
    assert_eq!(hit_sum(lossy(2)), 3, "calls run without the cache from then on");
}

#[test]
fn argument_that_its_encoding_loses_is_noticed_before_it_is_sent() {
    let (pool, cache) = (pool(1), memory());
    let _active = cache.enter();
    drop(result(pool.submit(unbound_sum, (lossy(2),))));
    drop(result(pool.submit(generic_sum::<u8>, (lossy(2), 1))));
    let wrapped = wrap_executor(pool);
    drop(result(wrapped.submit(missed_sum, (lossy(2),))));
    // The instance of the generic function was not called in this process, so it is not known here.
    assert_eq!(cache.stats().skipped[&SkipReason::ArgumentNotStable], 2);
    assert_eq!(generic_sum(lossy(0), 1_u8), 1);
    drop(result(wrapped.submit(generic_sum::<u8>, (lossy(2), 1))));
    assert_eq!(cache.stats().skipped[&SkipReason::ArgumentNotStable], 3);
}

#[fleche]
fn current(#[by_name] directory: PathBuf) -> String {
    std::fs::read_to_string(directory.join("current")).unwrap()
}

fn again(directory: PathBuf) -> String {
    current::rerun(directory)
}

fn forget(directory: PathBuf) -> bool {
    current::evict(directory).unwrap()
}

#[test]
fn results_that_a_worker_replaces_or_evicts_are_not_served_hot() {
    let directory = tempfile::tempdir().unwrap();
    let here = || directory.path().to_owned();
    let say = |text: &str| std::fs::write(directory.path().join("current"), text).unwrap();
    let cache = memory();
    let _active = cache.enter();
    let pool = wrap_executor(pool(1));
    say("one");
    assert_eq!([current(here()), current(here())], ["one", "one"]);
    say("two");
    assert_eq!(current(here()), "one");
    assert_eq!(result(pool.submit(again, (here(),))).as_deref(), Ok("two"));
    assert_eq!(current(here()), "two");
    say("three");
    assert_eq!(result(pool.submit(forget, (here(),))), Ok(true));
    assert_eq!(current(here()), "three");
    // In the other direction, a worker that has kept a result notices what was evicted since then.
    say("four");
    assert!(current::evict(here()).unwrap());
    assert_eq!(result(pool.submit(|directory: PathBuf| current(directory), (here(),))).as_deref(), Ok("four"));
    say("five");
    assert!(current::evict(here()).unwrap());
    assert_eq!(result(pool.submit(|directory: PathBuf| current(directory), (here(),))).as_deref(), Ok("five"));
}
