//! Tasks on rayon pools.

use fleche_core::{ExecutorExt, job};
use fleche_exec::RayonExecutor;

use super::shared::{answers_hits_and_records_misses, opens_from_its_configuration, outlives_a_panic, thread_of};

fn executor() -> RayonExecutor {
    RayonExecutor::new(rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap())
}

#[test]
fn tasks_run_on_the_threads_of_the_pool() {
    let pool = std::sync::Arc::new(rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap());
    let threads = pool.broadcast(|_| std::thread::current().id());
    assert!(threads.contains(&thread_of(&RayonExecutor::new(pool))));
    assert_ne!(thread_of(&RayonExecutor::global()), std::thread::current().id());
}

#[test]
fn hits_do_not_reach_the_pool_and_misses_are_recorded() {
    answers_hits_and_records_misses(&executor());
}

#[test]
fn panic_ends_only_its_own_job() {
    outlives_a_panic(&executor());
}

#[test]
fn panicking_callback_does_not_end_the_process() {
    let executor = executor();
    let (started, job) = job::channel();
    let (go_on, gate) = std::sync::mpsc::channel::<()>();
    let (task, submitted) = fleche_core::Task::of_closure(move || {
        started.complete(());
        gate.recv().unwrap();
    });
    fleche_core::Executor::submit_task(&executor, task).unwrap();
    job.result().unwrap();
    submitted.on_done(|| panic!("a listener"));
    go_on.send(()).unwrap();
    assert_eq!(submitted.result(), Ok(()));
    assert_eq!(executor.submit(|x: i64| x, (1,)).result(), Ok(1));
}

#[test]
fn configuration_distinguishes_the_global_pool_from_a_separate_one() {
    opens_from_its_configuration(&executor(), r#"{"type":"rayon","threads":2}"#);
    opens_from_its_configuration(&RayonExecutor::global(), r#"{"type":"rayon"}"#);
    let none: Box<dyn fleche_core::executor::ExecutorConfig> =
        serde_json::from_str(r#"{"type":"rayon","threads":0}"#).unwrap();
    assert!(none.open().unwrap_err().to_string().contains("at least 1"));
}
