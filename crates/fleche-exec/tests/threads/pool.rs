//! Tests of thread pools: their start, panics in their tasks, and their end.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use fleche_core::{Executor, ExecutorExt, JobError, executor::ExecutorConfig, store::Reach};
use fleche_exec::{ThreadPool, ThreadPoolConfig};

use super::common::{Gate, occupy, pool};

#[test]
fn pool_of_zero_threads_is_refused_with_advice() {
    let error = ThreadPool::new(0).unwrap_err().to_string();
    assert!(error.contains("0 threads") && error.contains("at least 1"), "{error}");
}

#[test]
fn pool_per_core_has_threads() {
    assert!(ThreadPool::per_core().unwrap().threads() >= 1);
}

#[test]
fn as_many_tasks_run_at_once_as_there_are_threads() {
    // The barrier opens when three tasks run at the same time.
    let barrier = Arc::new(Barrier::new(3));
    let pool = pool(3);
    let jobs: Vec<_> =
        (0..3).map(|_| barrier.clone()).map(|barrier| pool.spawn(move || barrier.wait().is_leader())).collect();
    assert!(jobs.into_iter().all(|job| job.result().is_ok()));
}

#[test]
fn tasks_start_in_the_order_of_their_submission() {
    let pool = pool(1);
    let order = Arc::new(AtomicUsize::new(0));
    let jobs: Vec<_> =
        (0..5).map(|_| order.clone()).map(|order| pool.spawn(move || order.fetch_add(1, SeqCst))).collect();
    assert_eq!(jobs.into_iter().map(|job| job.result().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn threads_are_named() {
    let name = pool(1).spawn(|| thread::current().name().map(str::to_owned)).result();
    assert_eq!(name, Ok(Some("fleche-pool-0".to_owned())));
}

#[test]
fn spawned_closure_may_return_values_that_cannot_be_encoded() {
    let (sender, receiver) = pool(1).spawn(std::sync::mpsc::channel::<i64>).result().unwrap();
    sender.send(3).unwrap();
    assert_eq!(receiver.recv(), Ok(3));
}

#[test]
fn thread_survives_a_panicking_task() {
    let pool = pool(1);
    let before = pool.spawn(|| thread::current().id()).result();
    pool.spawn(|| panic!("a task")).result().unwrap_err();
    assert_eq!(pool.spawn(|| thread::current().id()).result(), before);
}

#[test]
fn thread_survives_a_panicking_callback() {
    let pool = pool(1);
    let gate = occupy(&pool);
    let job = pool.spawn(|| 1);
    job.on_done(|| panic!("a callback"));
    gate.open();
    assert_eq!(job.result(), Ok(1));
    assert_eq!(pool.spawn(|| 2).result(), Ok(2));
}

#[test]
fn thread_survives_a_panicking_destructor_in_a_cancelled_task() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a destructor");
        }
    }
    let pool = pool(1);
    let gate = occupy(&pool);
    let bomb = Bomb;
    let job = pool.spawn(move || std::mem::forget(bomb));
    assert!(job.cancel());
    gate.open();
    assert_eq!(pool.spawn(|| 2).result(), Ok(2));
}

#[test]
fn shutdown_waits_for_every_accepted_task() {
    let pool = pool(2);
    let ran = Arc::new(AtomicUsize::new(0));
    for _ in 0..20 {
        let ran = ran.clone();
        drop(pool.spawn(move || ran.fetch_add(1, SeqCst)));
    }
    pool.shutdown();
    assert_eq!(ran.load(SeqCst), 20);
}

#[test]
fn submission_after_shutdown_is_refused_with_advice() {
    let pool = pool(1);
    pool.clone().shutdown();
    let error = pool.submit(|x: i64| x, (1,)).result().unwrap_err();
    assert!(matches!(&error, JobError::Rejected { why } if why.contains("another pool")), "{error}");
}

#[test]
fn second_shutdown_waits_too() {
    let pool = pool(1);
    let gate = occupy(&pool);
    let job = pool.spawn(|| 1);
    let both: Vec<_> = (0..2)
        .map(|_| pool.clone())
        .map(|pool| {
            thread::spawn(move || {
                pool.shutdown();
                pool.spawn(|| 2).result().is_err()
            })
        })
        .collect();
    gate.open();
    assert!(both.into_iter().all(|thread| thread.join().unwrap()));
    assert!(job.is_done());
}

#[test]
fn dropping_the_last_handle_waits_for_every_accepted_task() {
    let pool = pool(2);
    let ran = Arc::new(AtomicUsize::new(0));
    for _ in 0..20 {
        let ran = ran.clone();
        drop(pool.spawn(move || ran.fetch_add(1, SeqCst)));
    }
    drop(pool);
    assert_eq!(ran.load(SeqCst), 20);
}

#[test]
fn dropping_one_of_two_handles_keeps_the_pool_open() {
    let pool = pool(1);
    drop(pool.clone());
    assert_eq!(pool.spawn(|| 1).result(), Ok(1));
}

#[test]
fn task_may_drop_the_last_handle_of_its_pool() {
    let pool = pool(1);
    let gate = Arc::new(Gate::new());
    let within = (gate.clone(), pool.clone());
    let last = pool.spawn(move || {
        within.0.wait();
        drop(within);
        1
    });
    let accepted = pool.spawn(|| 2);
    drop(pool);
    gate.open();
    assert_eq!(last.result(), Ok(1));
    assert_eq!(accepted.result(), Ok(2));
}

#[test]
fn task_may_shut_down_its_pool() {
    let pool = pool(2);
    let within = pool.clone();
    assert_eq!(pool.spawn(move || within.shutdown()).result(), Ok(()));
    assert!(matches!(pool.spawn(|| 1).result(), Err(JobError::Rejected { .. })));
}

#[test]
fn task_may_submit_to_its_pool() {
    let pool = pool(1);
    let within = pool.clone();
    let inner = pool.spawn(move || within.spawn(|| 1)).result().unwrap();
    assert_eq!(inner.result(), Ok(1));
}

#[test]
fn executors_behind_pointers_accept_calls() {
    let pool = pool(1);
    let reference = &&pool;
    assert_eq!(ExecutorExt::submit(reference, |x: i64| x, (1,)).result(), Ok(1));
    assert_eq!(Arc::new(pool.clone()).submit(|x: i64| x, (2,)).result(), Ok(2));
    let boxed: Box<dyn Executor> = Box::new(pool);
    assert_eq!(boxed.submit(|x: i64| x, (3,)).result(), Ok(3));
}

#[test]
fn thread_pool_reaches_only_its_process() {
    assert_eq!(pool(1).reach(), Reach::Process);
}

#[test]
fn configuration_round_trips_through_text() {
    let text = serde_json::to_string(&pool(3).config()).unwrap();
    assert_eq!(text, r#"{"type":"threads","threads":3}"#);
    let config: Box<dyn ExecutorConfig> = serde_json::from_str(&text).unwrap();
    assert!(*config == *pool(3).config());
    assert_eq!(config.open().unwrap().submit(|x: i64| x, (1,)).result(), Ok(1));
}

#[test]
fn configuration_of_zero_threads_does_not_open() {
    assert!(ThreadPoolConfig::new(0).open().is_err());
}
