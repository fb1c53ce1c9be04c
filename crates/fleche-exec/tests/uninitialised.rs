//! A program that never calls `init`: its process pools are refused with advice.
#![cfg(target_os = "linux")]

use fleche_core::{Cache, executor::ExecutorConfig, fleche};
use fleche_exec::{ProcessPool, ProcessPoolConfig};

#[test]
fn pool_is_refused_with_advice_to_call_init() {
    let why = ProcessPool::new(1).unwrap_err().to_string();
    assert!(why.contains("fleche_exec::init()") && why.contains("worker_test!"), "{why}");
    assert!(ProcessPoolConfig::new(1).open().is_err());
}

#[test]
fn pool_of_zero_processes_is_refused() {
    let why = ProcessPool::new(0).unwrap_err().to_string();
    assert!(why.contains("at least 1"), "{why}");
}

#[fleche(isolate(process))]
fn isolated(x: i64) -> i64 {
    x
}

#[test]
fn isolated_call_panics_with_advice_to_call_init_and_does_not_run() {
    let panic = std::panic::catch_unwind(|| Cache::void().scope(|| isolated(1))).unwrap_err();
    let why = panic.downcast::<String>().unwrap();
    assert!(why.contains("fleche_exec::init()") && why.contains("did not run"), "{why}");
}
