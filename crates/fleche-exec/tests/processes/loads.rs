//! Much at once, and large things.

use std::ffi::CString;

use fleche_core::{ExecutorExt, fleche, wrap_executor};

use super::common::{memory, pool, result, wait_for};

fn next(x: u64) -> u64 {
    x + 1
}

fn reversed(text: CString) -> CString {
    let mut bytes = text.into_bytes();
    bytes.reverse();
    CString::new(bytes).unwrap()
}

#[fleche]
fn many(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[test]
fn arguments_and_results_of_64_megabytes_travel() {
    let mut bytes = vec![b'x'; 64 << 20];
    bytes[0] = b'y';
    // Bytes that are encoded in one piece.
    let sent = CString::new(bytes.clone()).unwrap();
    bytes.reverse();
    assert!(result(pool(1).submit(reversed, (sent,))).unwrap().into_bytes() == bytes);
}

#[test]
fn large_arguments_and_results_are_recorded_by_the_parents_store() {
    let _active = memory().enter();
    let bytes = vec![7; 2 << 20];
    let pool = wrap_executor(pool(1));
    assert!(result(pool.submit(many, (bytes.clone(),))).unwrap() == bytes);
    assert!(many::load(bytes.clone()).unwrap().unwrap() == bytes);
}

#[test]
fn twenty_thousand_tiny_tasks_come_back_in_order() {
    let pool = pool(2);
    let results = pool.map(next, (0..20_000).map(|x| (x,))).map(Result::unwrap);
    assert!(results.eq(1..=20_000));
    assert_eq!((pool.stats().started, pool.stats().workers), (20_000, 2));
}

#[test]
fn ten_thousand_tasks_submitted_at_once_all_run() {
    let pool = pool(2);
    let jobs: Vec<_> = (0..10_000).map(|x| pool.submit(next, (x,))).collect();
    assert!(jobs.into_iter().map(|job| result(job).unwrap()).eq(1..=10_000));
}

#[test]
fn fast_tasks_do_not_wait_behind_a_slow_one_while_another_worker_is_free() {
    let gate = tempfile::tempdir().unwrap();
    let open = gate.path().join("open");
    let pool = pool(2);
    // From here on, both workers are known to work through short tasks.
    let before: Vec<_> = (0..200).map(|x| pool.submit(next, (x,))).collect();
    for job in before {
        result(job).unwrap();
    }
    let slow = pool.submit(wait_for, (open.clone(),));
    let fast: Vec<_> = (0..200).map(|x| pool.submit(next, (x,))).collect();
    for (x, job) in (0..).zip(fast) {
        assert_eq!(result(job), Ok(x + 1));
    }
    assert!(!slow.is_done());
    std::fs::write(open, "").unwrap();
    result(slow).unwrap();
}
