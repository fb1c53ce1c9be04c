//! Pools whose tasks wait for tasks of the same pool.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use fleche_core::{ExecutorExt, JobError, Resources, fleche, job, tag, wrap_executor};
use fleche_exec::{Budget, ThreadPool};

use super::common::{Gate, memory, occupy, pool};

#[test]
fn awaited_task_runs_on_the_only_thread_of_its_pool() {
    let pool = pool(1);
    let within = pool.clone();
    let job = pool.spawn(move || {
        let inner = within.spawn(|| thread::current().id()).result().unwrap();
        (inner, thread::current().id())
    });
    let (inner, outer) = job.result().unwrap();
    assert_eq!(inner, outer);
}

/// Sums over a binary tree, each node of which is a task of the pool.
fn sum(pool: &ThreadPool, depth: u32) -> u64 {
    if depth == 0 {
        return 1;
    }
    let halves: Vec<_> = (0..2)
        .map(|_| {
            let within = pool.clone();
            pool.spawn(move || sum(&within, depth - 1))
        })
        .collect();
    halves.into_iter().map(|half| half.result().unwrap()).sum()
}

#[test]
fn trees_of_tasks_complete_in_pools_of_any_size() {
    for threads in [1, 2, 5] {
        assert_eq!(sum(&pool(threads), 9), 512);
    }
}

/// Like [`sum`], but takes the halves in the order in which they end.
fn joined(pool: &ThreadPool, depth: u32) -> u64 {
    if depth == 0 {
        return 1;
    }
    let halves = (0..2).map(|_| {
        let within = pool.clone();
        pool.spawn(move || joined(&within, depth - 1))
    });
    job::join_all(halves).unwrap().into_iter().sum()
}

#[test]
fn trees_of_joined_tasks_complete() {
    for threads in [1, 2] {
        assert_eq!(joined(&pool(threads), 9), 512);
    }
}

#[test]
fn chains_deeper_than_one_stack_complete() {
    fn chain(pool: &ThreadPool, depth: u32) -> u32 {
        let within = pool.clone();
        if depth == 0 { 0 } else { 1 + pool.spawn(move || chain(&within, depth - 1)).result().unwrap() }
    }
    assert_eq!(chain(&pool(1), 3000), 3000);
}

#[test]
fn map_within_a_task_of_the_same_pool_completes() {
    let pool = pool(1);
    let within = pool.clone();
    let job = pool.spawn(move || within.map(|x: u64| x * x, (0..100).map(|x| (x,))).map(Result::unwrap).sum::<u64>());
    assert_eq!(job.result(), Ok(328_350));
}

#[fleche]
fn leaf(x: u64) -> u64 {
    x + 1
}

#[fleche]
fn same(x: u64) -> u64 {
    x * 10
}

#[test]
fn nested_calls_in_a_wrapped_pool_use_the_cache_of_their_submitter() {
    let cache = memory();
    let _active = cache.enter();
    let pool = wrap_executor(pool(1));
    let within = pool.clone();
    let job = pool.inner().spawn(move || {
        let other = memory();
        let _other = other.enter();
        // Two jobs of one call share a task. The second job, which follows the first, is awaited first.
        let (first, second) = (within.submit(leaf, (1,)), within.submit(leaf, (1,)));
        assert_eq!((second.result(), first.result()), (Ok(2), Ok(2)));
        other.stats().computed
    });
    assert_eq!(job.result(), Ok(1));
    assert_eq!(cache.stats().computed, 0);
}

#[test]
fn nested_task_sees_nothing_of_the_outer_task() {
    let pool = pool(1);
    let within = pool.clone();
    let (cache, inner) = (memory(), Arc::new(memory()));
    let of_task = cache.clone();
    let job = pool.spawn(move || {
        let _active = of_task.enter();
        let _tag = tag("of", "the outer task").enter();
        let job = within.spawn(move || {
            let _own = inner.enter();
            same(3);
            let key = same::key(3);
            inner.record(&key).unwrap()
        });
        job.result().unwrap()
    });
    let record = job.result().unwrap();
    assert!(!format!("{record:?}").contains("outer task"), "{record:?}");
    assert_eq!(cache.stats().computed, 0);
}

#[test]
fn task_that_waits_for_another_pool_does_not_count_as_running() {
    let (one, other) = (pool(1), pool(1));
    let gate = occupy(&other);
    let elsewhere = other.clone();
    let waiting = one.spawn(move || elsewhere.spawn(|| 1).result());
    // The only thread of the pool waits, but another one takes its place.
    assert_eq!(one.spawn(|| 2).result(), Ok(2));
    gate.open();
    assert_eq!(waiting.result(), Ok(Ok(1)));
}

#[test]
fn task_that_waits_with_a_timeout_does_not_count_as_running() {
    let pool = pool(1);
    let within = pool.clone();
    let job = pool.spawn(move || {
        let job = within.spawn(|| 7);
        assert!(job.wait_timeout(Duration::from_mins(10)));
        job.result()
    });
    assert_eq!(job.result(), Ok(Ok(7)));
}

#[test]
fn waits_do_not_let_more_tasks_run_than_the_pool_has_threads() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (one, other) = (pool(2), pool(1));
    let gate = occupy(&other);
    let waiting: Vec<_> = (0..6)
        .map(|_| {
            let elsewhere = other.clone();
            one.spawn(move || elsewhere.spawn(|| ()).result())
        })
        .collect();
    let busy: Vec<_> = (0..50)
        .map(|_| {
            let (running, most) = (running.clone(), most.clone());
            one.spawn(move || {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                thread::yield_now();
                running.fetch_sub(1, SeqCst);
            })
        })
        .collect();
    for job in busy {
        job.result().unwrap();
    }
    assert!(most.load(SeqCst) <= 2, "{most:?} ran at once");
    gate.open();
    for job in waiting {
        job.result().unwrap().unwrap();
    }
}

#[test]
fn waiting_task_frees_its_cores_but_not_its_memory() {
    let budget = Budget { cores: Some(2), memory_mb: Some(10), ..Budget::default() };
    let (one, other) = (ThreadPool::with_budget(2, budget).unwrap(), pool(1));
    let gate = occupy(&other);
    let (waits, elsewhere) = (Arc::new(Barrier::new(2)), other.clone());
    let (within, both) = (one.clone(), waits.clone());
    let waiting = one.spawn(move || {
        both.wait();
        let heavy = within.with(Resources::new().cores(2).memory_mb(10));
        let job = heavy.submit(|x: u64| x, (1,));
        (elsewhere.spawn(|| ()).result(), job.result())
    });
    waits.wait();
    assert_eq!(one.with(Resources::new().cores(2)).submit(|x: u64| x, (2,)).result(), Ok(2));
    gate.open();
    assert_eq!(waiting.result(), Ok((Ok(()), Ok(1))));
}

#[test]
fn pool_shuts_down_while_its_tasks_wait_for_one_another() {
    let pool = pool(1);
    let (within, accepted) = (pool.clone(), Arc::new(Gate::new()));
    let open = accepted.clone();
    let job = pool.spawn(move || {
        let inner = within.spawn(|| 1);
        let _refused_later = within;
        open.open();
        inner.result()
    });
    accepted.wait();
    pool.shutdown();
    assert_eq!(job.result(), Ok(Ok(1)));
}

#[test]
fn cancelled_job_is_not_waited_for() {
    let pool = pool(1);
    let within = pool.clone();
    let job = pool.spawn(move || {
        let inner = within.spawn(|| 1);
        assert!(inner.cancel());
        inner.result()
    });
    assert_eq!(job.result(), Ok(Err(JobError::Cancelled)));
}

#[test]
fn all_queued_tasks_can_be_cancelled_at_once() {
    let pool = pool(1);
    let gate = occupy(&pool);
    let jobs: Vec<_> = (0..5).map(|x| pool.spawn(move || x)).collect();
    assert_eq!(pool.cancel_waiting(), 5);
    for job in jobs {
        assert_eq!(job.result(), Err(JobError::Cancelled));
    }
    gate.open();
    assert_eq!(pool.spawn(|| 1).result(), Ok(1));
}
