//! Tests of the resources of tasks: when a task starts, and which tasks are refused.

use std::{
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use fleche_core::{
    Executor, ExecutorExt, JobError, Resources,
    executor::{ExecutorConfig, assigned_gpus},
    fleche, wrap_executor,
};
use fleche_exec::{Budget, ThreadPool};

use super::common::{Counting, Gate, memory, occupy, pool};

fn cores(cores: usize) -> Resources {
    Resources::new().cores(cores)
}

fn budget(threads: usize, budget: Budget) -> ThreadPool {
    ThreadPool::with_budget(threads, budget).unwrap()
}

fn double(x: i64) -> i64 {
    2 * x
}

fn why<R>(outcome: Result<R, JobError>) -> String {
    match outcome {
        Err(JobError::Rejected { why }) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the task ran"),
    }
}

#[test]
fn executor_without_options_refuses_them_by_name() {
    let executor = Counting::new();
    let resources = cores(1).option("partition", "short");
    let why = why(executor.with(resources).submit(double, (1,)).result());
    assert!(why.contains("`cores`, `partition`"), "{why}");
    assert_eq!(executor.submitted(), 0);
}

#[test]
fn every_executor_accepts_empty_resources() {
    let executor = Counting::new();
    assert_eq!(executor.with(Resources::new()).submit(double, (1,)).result(), Ok(2));
    assert_eq!(executor.submitted(), 1);
}

#[test]
fn thread_pool_refuses_unsupported_options_by_name() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let pool = pool(1);
    for (name, resources) in [
        ("timeout", Resources::new().timeout(Duration::from_secs(1))),
        ("working_dir", Resources::new().working_dir("/tmp")),
        ("env", Resources::new().env("LANG", "C")),
        ("partition", Resources::new().option("partition", "short")),
    ] {
        let job = pool.with(resources).submit(|_: i64| RUNS.fetch_add(1, SeqCst), (1,));
        let why = why(job.result());
        assert!(why.contains(&format!("`{name}`")) && why.contains("cores, memory_mb, gpus"), "{why}");
    }
    pool.shutdown();
    assert_eq!(RUNS.load(SeqCst), 0);
}

#[test]
fn thread_pool_accepts_retries() {
    assert_eq!(pool(1).with(Resources::new().retries(2)).submit(double, (1,)).result(), Ok(2));
}

#[test]
fn task_that_exceeds_the_budget_is_refused_at_once() {
    let pool = budget(1, Budget { cores: Some(4), memory_mb: Some(100), gpus: vec![7] });
    let gate = occupy(&pool);
    for (asked, resources) in [
        ("5 `cores`, but the pool has 4", cores(5)),
        ("101 `memory_mb`, but the pool has 100", Resources::new().memory_mb(101)),
        ("2 `gpus`, but the pool has 1", Resources::new().gpus(2)),
    ] {
        let job = pool.with(resources).submit(double, (1,));
        assert!(job.is_done());
        let why = why(job.result());
        assert!(why.contains(asked), "{why}");
    }
    gate.open();
}

#[test]
fn memory_is_refused_if_the_budget_sets_none() {
    let why = why(pool(1).with(Resources::new().memory_mb(1)).submit(double, (1,)).result());
    assert!(why.contains("`memory_mb`") && why.contains("budget"), "{why}");
}

#[test]
fn pool_has_one_core_per_thread_by_default() {
    assert_eq!(pool(2).with(cores(2)).submit(double, (1,)).result(), Ok(2));
    assert!(pool(2).with(cores(3)).submit(double, (1,)).is_done());
}

#[test]
fn no_task_overtakes_a_large_one() {
    let pool = pool(2);
    let gate = occupy(&pool);
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |name: &'static str| {
        let order = order.clone();
        move |(): ()| order.lock().unwrap().push(name)
    };
    let large = pool.with(cores(2)).submit(note("large"), ((),));
    // A thread and a core are free for these.
    let small = [pool.submit(note("small"), ((),)), pool.submit(note("small"), ((),))];
    gate.open();
    large.result().unwrap();
    for job in small {
        job.result().unwrap();
    }
    assert_eq!(*order.lock().unwrap(), ["large", "small", "small"]);
}

#[test]
fn large_task_runs_alone() {
    static AT_ONCE: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let body = |_: usize| {
        MOST.fetch_max(AT_ONCE.fetch_add(1, SeqCst) + 1, SeqCst);
        AT_ONCE.fetch_sub(1, SeqCst);
    };
    let pool = pool(4);
    let jobs: Vec<_> = (0..200).map(|x| pool.with(cores(4)).submit(body, (x,))).collect();
    for job in jobs {
        job.result().unwrap();
    }
    assert_eq!(MOST.load(SeqCst), 1);
}

#[test]
fn task_of_zero_cores_starts_while_no_core_is_free() {
    let pool = budget(2, Budget { cores: Some(1), ..Budget::default() });
    let gate = occupy(&pool);
    assert_eq!(pool.with(cores(0)).submit(double, (1,)).result(), Ok(2));
    let another = pool.submit(double, (2,));
    assert!(!another.is_done());
    gate.open();
    assert_eq!(another.result(), Ok(4));
}

#[test]
fn memory_is_free_again_after_its_task_has_ended() {
    let pool = budget(2, Budget { memory_mb: Some(100), ..Budget::default() });
    let jobs: Vec<_> = (0..50).map(|x| pool.with(Resources::new().memory_mb(60)).submit(double, (x,))).collect();
    assert!(jobs.into_iter().all(|job| job.result().is_ok()));
}

#[test]
fn panicking_task_gives_its_resources_back() {
    let pool = pool(2);
    pool.with(cores(2)).submit(|_: i64| -> i64 { panic!("a task") }, (1,)).result().unwrap_err();
    assert_eq!(pool.with(cores(2)).submit(double, (1,)).result(), Ok(2));
}

#[test]
fn cancelled_task_does_not_hold_up_the_tasks_behind_it() {
    let pool = pool(2);
    let gate = occupy(&pool);
    let large = pool.with(cores(2)).submit(double, (1,));
    assert!(large.cancel());
    assert_eq!(pool.submit(double, (2,)).result(), Ok(4));
    gate.open();
}

#[test]
fn concurrent_tasks_have_different_gpus() {
    let pool = budget(2, Budget { gpus: vec![3, 5], ..Budget::default() });
    let barrier = Arc::new(Barrier::new(2));
    let jobs = [(); 2].map(|()| {
        let barrier = barrier.clone();
        let body = move |_: i64| {
            barrier.wait();
            assigned_gpus().to_vec()
        };
        pool.with(Resources::new().gpus(1)).submit(body, (1,))
    });
    let mut gpus: Vec<_> = jobs.into_iter().flat_map(|job| job.result().unwrap()).collect();
    gpus.sort_unstable();
    assert_eq!(gpus, [3, 5]);
    let both = pool.with(Resources::new().gpus(2)).submit(|_: i64| assigned_gpus().to_vec(), (1,));
    assert_eq!(both.result(), Ok(vec![3, 5]));
    assert_eq!(pool.submit(|_: i64| assigned_gpus().to_vec(), (1,)).result(), Ok(vec![]));
}

#[fleche]
fn triple(x: i64) -> i64 {
    3 * x
}

#[test]
fn misses_need_the_resources_and_hits_do_not() {
    let _active = memory().enter();
    let pool = wrap_executor(pool(2));
    let with = pool.with(cores(3));
    assert!(why(with.submit(triple, (1,)).result()).contains("3 `cores`"));
    assert_eq!(pool.with(cores(2)).submit(triple, (1,)).result(), Ok(3));
    assert_eq!(with.submit(triple, (1,)).result(), Ok(3));
    assert_eq!(with.run(triple::bind(1)).result(), Ok(3));
}

#[test]
fn resources_reach_executors_behind_pointers() {
    let shared = Arc::new(pool(1));
    let boxed: Box<dyn Executor> = Box::new(shared.clone());
    for executor in [&shared as &dyn Executor, &&*shared, &boxed, &wrap_executor(boxed.as_ref())] {
        assert_eq!(executor.with(cores(1)).submit(double, (1,)).result(), Ok(2));
        assert!(why(executor.with(cores(2)).submit(double, (1,)).result()).contains("2 `cores`"));
    }
}

#[test]
fn later_options_override_earlier_ones() {
    let pool = pool(1);
    let much = pool.with(cores(2).option("partition", "short"));
    assert!(why(much.with(cores(1)).submit(double, (1,)).result()).contains("`partition`"));
    assert_eq!(pool.with(cores(2)).with(cores(1)).submit(double, (1,)).result(), Ok(2));
}

#[test]
fn map_uses_the_resources_too() {
    let pool = pool(1);
    let (enough, much) = (pool.with(cores(1)), pool.with(cores(2)));
    assert_eq!(enough.map(double, [(1,), (2,)]).collect::<Result<Vec<_>, _>>(), Ok(vec![2, 4]));
    assert!(much.map(double, [(1,)]).all(|result| result.is_err()));
}

#[test]
fn dropping_the_pool_waits_for_large_tasks_too() {
    let pool = pool(3);
    let gate = occupy(&pool);
    let ran = Arc::new(AtomicUsize::new(0));
    for wanted in [3, 1, 2, 3, 0, 2] {
        let ran = ran.clone();
        drop(pool.with(cores(wanted)).submit(move |(): ()| ran.fetch_add(1, SeqCst), ((),)));
    }
    gate.open();
    drop(pool);
    assert_eq!(ran.load(SeqCst), 6);
}

#[test]
fn configuration_contains_the_budget() {
    let pool = budget(2, Budget { memory_mb: Some(64), gpus: vec![1], ..Budget::default() });
    let text = serde_json::to_string(&pool.config()).unwrap();
    assert_eq!(text, r#"{"type":"threads","threads":2,"budget":{"memory_mb":64,"gpus":[1]}}"#);
    let config: Box<dyn ExecutorConfig> = serde_json::from_str(&text).unwrap();
    assert!(*config == *pool.config());
    let opened = config.open().unwrap();
    assert_eq!(opened.with(Resources::new().memory_mb(64)).submit(double, (1,)).result(), Ok(2));
    assert!(opened.with(Resources::new().memory_mb(65)).submit(double, (1,)).result().is_err());
}

#[test]
fn resources_round_trip_through_text() {
    let resources = cores(4).memory_mb(2048).timeout(Duration::from_mins(1)).env("LANG", "C").option("queue", "q");
    let text = serde_json::to_string(&resources).unwrap();
    assert_eq!(serde_json::from_str::<Resources>(&text).unwrap(), resources);
    assert_eq!(serde_json::from_str::<Resources>("{}").unwrap(), Resources::new());
}

#[test]
fn shutdown_waits_for_a_task_that_waits_for_cores() {
    let pool = pool(2);
    let gate = occupy(&pool);
    let large = pool.with(cores(2)).submit(double, (1,));
    let started = Arc::new(Gate::new());
    let within = (pool.clone(), started.clone());
    let ending = std::thread::spawn(move || {
        within.1.open();
        within.0.shutdown();
    });
    started.wait();
    gate.open();
    ending.join().unwrap();
    assert_eq!(large.result(), Ok(2));
}
