//! A program that never calls `init`: its process pools are refused, with the cure.
#![cfg(target_os = "linux")]

use fleche_core::{Cache, executor::ExecutorConfig, fleche};
use fleche_exec::{ProcessPool, ProcessPoolConfig};

#[test]
fn a_pool_is_refused_with_the_advice_to_call_init() {
    let why = ProcessPool::new(1).unwrap_err().to_string();
    assert!(why.contains("fleche_exec::init()") && why.contains("worker_test!"), "{why}");
    assert!(ProcessPoolConfig::new(1).open().is_err());
}

#[test]
fn a_pool_of_no_processes_is_refused() {
    let why = ProcessPool::new(0).unwrap_err().to_string();
    assert!(why.contains("at least 1"), "{why}");
}

#[fleche(isolate(process))]
fn isolated(x: i64) -> i64 {
    x
}

#[test]
fn an_isolated_call_that_would_start_a_process_panics_with_the_advice_and_does_not_run() {
    let panic = std::panic::catch_unwind(|| Cache::void().scope(|| isolated(1))).unwrap_err();
    let why = panic.downcast::<String>().unwrap();
    assert!(why.contains("fleche_exec::init()") && why.contains("did not run"), "{why}");
}
