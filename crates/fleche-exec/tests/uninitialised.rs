//! A program that never calls `init`: its process pools are refused, with the cure.
#![cfg(target_os = "linux")]

use fleche_core::executor::ExecutorConfig;
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
