//! Tasks on the blocking threads of a tokio runtime.

use fleche_core::{ExecutorExt, JobError, fleche, wrap_executor};
use fleche_exec::TokioExecutor;
use tokio::runtime::{Builder, Runtime};

use super::shared::{
    answers_hits_and_records_misses, memory, opens_from_its_configuration, outlives_a_panic, thread_of,
};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).build().unwrap()
}

#[test]
fn tasks_do_not_occupy_a_thread_that_polls() {
    // The only thread of the runtime polls, and would wait for itself.
    let runtime = Builder::new_current_thread().build().unwrap();
    let ran_on = runtime.block_on(async { thread_of(&TokioExecutor::current().unwrap()) });
    assert_ne!(ran_on, std::thread::current().id());
}

#[test]
fn hits_do_not_reach_the_runtime_and_misses_are_recorded() {
    let runtime = runtime();
    answers_hits_and_records_misses(&TokioExecutor::new(runtime.handle().clone()));
}

#[test]
fn panic_ends_only_its_own_job() {
    let runtime = runtime();
    outlives_a_panic(&TokioExecutor::new(runtime.handle().clone()));
}

#[test]
fn jobs_can_be_awaited_in_the_runtime() {
    #[fleche]
    fn blocking(x: i64) -> i64 {
        x + 1
    }
    let cache = memory();
    let _active = cache.enter();
    let runtime = runtime();
    let pool = wrap_executor(TokioExecutor::new(runtime.handle().clone()));
    let job = pool.submit(blocking, (1,));
    assert_eq!(runtime.block_on(job), Ok(2));
    assert!(cache.contains(&blocking::key(1)).unwrap());
}

#[test]
fn runtime_that_has_shut_down_refuses_tasks() {
    let runtime = runtime();
    let executor = TokioExecutor::new(runtime.handle().clone());
    drop(runtime);
    assert!(matches!(executor.submit(|x: i64| x, (1,)).result(), Err(JobError::Rejected { .. })));
}

#[test]
fn configuration_opens_only_within_a_runtime() {
    let runtime = runtime();
    let executor = TokioExecutor::new(runtime.handle().clone());
    let error = fleche_core::Executor::config(&executor).open().unwrap_err().to_string();
    assert!(error.contains("TokioExecutor::new"), "{error}");
    let _within = runtime.enter();
    opens_from_its_configuration(&executor, r#"{"type":"tokio"}"#);
}
