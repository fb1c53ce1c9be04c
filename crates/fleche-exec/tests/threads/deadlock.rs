//! Waits in thread pools that could last forever, and must not; and a store operation that never returns.

use std::{
    sync::{
        Arc, Barrier, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use fleche_conformance::faults::{Fault, FaultyCalls, FaultyValues, Plan};
use fleche_core::{Cache, ExecutorExt, JobError, Resources, cache::HotTier, fleche, job, wrap_executor};
use fleche_exec::{Budget, ThreadPool};
use fleche_store_memory::{MemoryCalls, MemoryValues};
use serde::{Deserialize, Serialize};

use super::common::{Gate, memory, occupy, pool};

fn cores(cores: usize) -> Resources {
    Resources::new().cores(cores)
}

fn memory_mb(memory_mb: u64) -> Resources {
    Resources::new().memory_mb(memory_mb)
}

fn pool_with_memory(threads: usize, memory_mb: u64) -> ThreadPool {
    ThreadPool::with_budget(threads, Budget { memory_mb: Some(memory_mb), ..Budget::default() }).unwrap()
}

fn refusal<R: std::fmt::Debug>(outcome: Result<R, JobError>) -> String {
    match outcome {
        Err(JobError::Rejected { why }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn pool_shuts_down_after_its_last_task_was_nested() {
    let pool = pool(2);
    let within = pool.clone();
    // It takes all cores, so the other thread has nothing to do.
    let outer = pool.with(cores(2)).submit(
        move |(): ()| {
            let inner = within.spawn(|| 1);
            within.shutdown();
            inner.result().unwrap()
        },
        ((),),
    );
    assert_eq!(outer.result(), Ok(1));
    pool.shutdown();
}

#[test]
fn task_behind_a_nested_task_starts() {
    let pool = pool(4);
    let (within, behind, told) = (pool.clone(), Arc::new(Gate::new()), Arc::new(Barrier::new(2)));
    let (seen, both) = (behind.clone(), told.clone());
    let outer = pool.with(cores(2)).submit(
        move |(): ()| {
            let seen = seen.clone();
            // Lacks a core until the outer task waits for it.
            let large = within.with(cores(3)).submit(move |(): ()| seen.wait(), ((),));
            both.wait();
            both.wait();
            large.result()
        },
        ((),),
    );
    told.wait();
    let small = pool.spawn(move || behind.open());
    told.wait();
    assert_eq!(outer.result(), Ok(Ok(())));
    small.result().unwrap();
}

#[test]
fn task_behind_a_cancelled_task_starts() {
    let pool = pool(2);
    let gate = occupy(&pool);
    let large = pool.with(cores(2)).submit(|x: u64| x, (1,));
    let small = pool.spawn(|| 2);
    assert!(large.cancel());
    assert_eq!(small.result(), Ok(2));
    gate.open();
}

/// An argument whose destructor uses a pool.
#[derive(Clone, Serialize, Deserialize)]
struct Looks(u64);

static LOOKED_AT: OnceLock<ThreadPool> = OnceLock::new();

impl Drop for Looks {
    fn drop(&mut self) {
        let _ = LOOKED_AT.get().map(|pool| format!("{pool:?}"));
    }
}

#[fleche]
fn looks(at: Looks) -> u64 {
    at.0
}

#[test]
fn task_behind_a_call_that_all_its_submitters_cancel_starts() {
    let _active = memory().enter();
    let pool = LOOKED_AT.get_or_init(|| pool(2));
    let gate = occupy(pool);
    let wrapped = wrap_executor(pool.clone());
    let large = wrapped.with(cores(2));
    let first = large.submit(looks, (Looks(1),));
    let small = pool.spawn(|| 2);
    let follows = large.submit(looks, (Looks(1),));
    assert!(first.cancel());
    assert!(!small.is_done());
    assert!(follows.cancel());
    assert_eq!(small.result(), Ok(2));
    gate.open();
}

#[test]
fn as_completed_runs_a_job_that_an_earlier_one_depends_on() {
    let pool = pool(1);
    let within = pool.clone();
    let outer = pool.spawn(move || {
        let (completer, promised) = job::channel::<u64>();
        let second = within.spawn(move || promised.result().unwrap() + 1);
        let first = within.spawn(|| 1);
        let mut completer = Some(completer);
        let results = job::as_completed([second, first]).map(|(_, result)| {
            let result = result.unwrap();
            if let Some(completer) = completer.take() {
                completer.complete(result);
            }
            result
        });
        results.collect::<Vec<_>>()
    });
    assert_eq!(outer.result(), Ok(vec![1, 2]));
}

#[test]
fn deep_waits_do_not_let_more_tasks_run_than_the_pool_has_threads() {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    fn deep(pool: &ThreadPool, depth: u32) {
        let within = pool.clone();
        if depth > 0 {
            return pool.spawn(move || deep(&within, depth - 1)).result().unwrap();
        }
        let body = || {
            MOST.fetch_max(NOW.fetch_add(1, SeqCst) + 1, SeqCst);
            std::thread::yield_now();
            NOW.fetch_sub(1, SeqCst);
        };
        job::join_all((0..100).map(|_| pool.spawn(body))).unwrap();
    }
    deep(&pool(1), 10);
    // A thread that has waited may resume while another task runs.
    assert!(MOST.load(SeqCst) <= 2, "{MOST:?} ran at once");
}

fn chain(pool: &ThreadPool, depth: u32) -> Result<u32, JobError> {
    let within = pool.clone();
    if depth == 0 { Ok(0) } else { Ok(1 + pool.spawn(move || chain(&within, depth - 1)).result()??) }
}

#[test]
fn chain_that_needs_too_many_threads_is_refused_with_the_reason() {
    let pool = pool(1);
    let why = refusal(chain(&pool, 10_000));
    assert!(why.contains("no further thread"), "{why}");
    assert_eq!(pool.spawn(|| 1).result(), Ok(1));
}

#[test]
fn task_that_needs_resources_of_its_waiter_is_refused() {
    let pool = pool_with_memory(2, 8);
    let within = pool.clone();
    let outer = pool
        .with(memory_mb(8))
        .submit(move |(): ()| within.with(memory_mb(1)).submit(|x: u64| x, (1,)).result(), ((),));
    let why = refusal(outer.result().unwrap());
    assert!(why.contains("memory"), "{why}");
}

#[test]
fn only_one_task_of_a_resource_deadlock_is_refused() {
    let pool = pool_with_memory(2, 8);
    let both = Arc::new(Barrier::new(2));
    let outer = || {
        let (within, both) = (pool.clone(), both.clone());
        let body = move |(): ()| {
            both.wait();
            within.with(memory_mb(4)).submit(|x: u64| x, (1,)).result()
        };
        pool.with(memory_mb(4)).submit(body, ((),))
    };
    let outcomes = [outer(), outer()].map(|job| job.result().unwrap());
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
}

#[test]
fn task_waits_for_resources_that_another_pool_will_free() {
    let (pool, other) = (pool_with_memory(2, 8), pool(1));
    let (gate, both) = (occupy(&other), Arc::new(Barrier::new(2)));
    let (elsewhere, within, has) = (other.clone(), pool.clone(), both.clone());
    let holds = pool.with(memory_mb(8)).submit(
        move |(): ()| {
            has.wait();
            elsewhere.spawn(|| ()).result()
        },
        ((),),
    );
    let waits = pool.spawn(move || {
        both.wait();
        let needs = within.with(memory_mb(8)).submit(|x: u64| x, (1,));
        // Opened before the wait, since `needs` cannot start earlier.
        gate.open();
        needs.result()
    });
    assert_eq!((waits.result(), holds.result()), (Ok(Ok(1)), Ok(Ok(()))));
}

#[fleche]
fn listed(x: u64) -> Vec<u64> {
    vec![x; 100]
}

/// Each operation of a missing call hangs in turn: the lookup, the claim, and storing the value and the record.
#[test]
fn tasks_continue_while_a_store_operation_of_another_task_hangs() {
    for nth in 1.. {
        let plan = Arc::new(Plan::new(Fault::Hang, nth));
        let values = FaultyValues::new(Arc::new(MemoryValues::new()), plan.clone());
        let calls = FaultyCalls::new(Arc::new(MemoryCalls::new()), plan.clone());
        let cache = Cache::builder().values(values).calls(calls).hot_tier(HotTier::OFF).build();
        let pool = pool(2);
        let submit = |x| {
            let cache = cache.clone();
            pool.spawn(move || cache.scope(|| listed(x)))
        };
        let hangs = submit(0);
        while !plan.has_triggered() && !hangs.is_done() {
            thread::yield_now();
        }
        let struck = plan.has_triggered();
        if !struck {
            plan.end();
        }
        let others: Vec<_> = (1..20).map(submit).collect();
        for (x, job) in (1..20).zip(others) {
            assert_eq!(job.result(), Ok(vec![x; 100]));
        }
        assert_eq!(hangs.is_done(), !struck, "operation {nth}");
        plan.end();
        assert_eq!(hangs.result(), Ok(vec![0; 100]));
        if !struck {
            assert!(nth > 3, "a miss takes several operations, not {}: {plan:?}", nth - 1);
            return;
        }
    }
}
