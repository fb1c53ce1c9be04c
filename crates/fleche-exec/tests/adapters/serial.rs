//! Tasks on the submitting thread.

use fleche_exec::SerialExecutor;

use super::shared::{answers_hits_and_records_misses, opens_from_its_configuration, outlives_a_panic, thread_of};

#[test]
fn tasks_run_on_the_submitting_thread() {
    assert_eq!(thread_of(&SerialExecutor), std::thread::current().id());
}

#[test]
fn hits_do_not_reach_the_executor_and_misses_are_recorded() {
    answers_hits_and_records_misses(&SerialExecutor);
}

#[test]
fn panic_ends_only_its_own_job() {
    outlives_a_panic(&SerialExecutor);
}

#[test]
fn executor_opens_from_its_configuration() {
    opens_from_its_configuration(&SerialExecutor, r#"{"type":"serial"}"#);
}

#[test]
fn task_may_submit_to_the_executor_that_runs_it() {
    use fleche_core::ExecutorExt;
    let outer = SerialExecutor.submit(|x: i64| SerialExecutor.submit(|x: i64| x + 1, (x,)).result().unwrap(), (1,));
    assert_eq!(outer.result(), Ok(2));
}
