//! Many tasks at once, and large arguments and results.

use std::{ffi::CString, sync::mpsc};

use fleche_core::{ExecutorExt, Job, fleche, wrap_executor};
use fleche_exec::ThreadPool;

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
fn arguments_and_results_of_64_mebibytes_are_transferred() {
    let mut bytes = vec![b'x'; 64 << 20];
    bytes[0] = b'y';
    // A `CString` is encoded as one string of bytes.
    let sent = CString::new(bytes.clone()).unwrap();
    bytes.reverse();
    assert!(result(pool(1).submit(reversed, (sent,))).unwrap().into_bytes() == bytes);
}

fn large(bytes: usize) -> CString {
    CString::new(vec![b'x'; bytes]).unwrap()
}

#[test]
fn large_result_does_not_delay_a_small_one_of_the_same_worker() {
    let pool = pool(1);
    // Short tasks first, so that the small one is already at the worker when the large result is sent.
    for x in 0..100 {
        assert_eq!(result(pool.submit(next, (x,))), Ok(x + 1));
    }
    let (tell, told) = mpsc::channel();
    let slow = pool.submit(large, (64 << 20,));
    let fast = pool.submit(next, (1,));
    for (name, on_done) in [("slow", &slow as &dyn OnDone), ("fast", &fast)] {
        let tell = tell.clone();
        on_done.on_done(Box::new(move || tell.send(name).unwrap()));
    }
    assert_eq!(told.iter().take(2).collect::<Vec<_>>(), ["fast", "slow"]);
    assert_eq!(result(slow).unwrap().as_bytes().len(), 64 << 20);
}

/// Jobs of any type.
trait OnDone {
    fn on_done(&self, run: Box<dyn FnOnce() + Send>);
}

impl<T> OnDone for Job<T> {
    fn on_done(&self, run: Box<dyn FnOnce() + Send>) {
        Job::on_done(self, run);
    }
}

/// Returns the peak memory of this process, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    peak.unwrap().parse().unwrap()
}

/// Returns the KiB of peak memory that 100 000 tasks take beyond the first 1000, in this process and in its worker.
fn runs_a_hundred_thousand() -> (u64, u64) {
    let pool = pool(1);
    let run =
        |tasks: u64| assert_eq!(pool.map(next, (0..tasks).map(|x| (x,))).map(Result::unwrap).count() as u64, tasks);
    let peaks = || (peak(), result(pool.submit(peak, ())).unwrap());
    run(1000);
    let before = peaks();
    run(100_000);
    let after = peaks();
    (after.0 - before.0, after.1 - before.1)
}

#[test]
fn hundred_thousand_tiny_tasks_take_bounded_memory_in_a_process_pool() {
    // In a separate process, where nothing else takes memory.
    let (here, there) = result(pool(1).submit(runs_a_hundred_thousand, ())).unwrap();
    assert!(here < 16 << 10 && there < 16 << 10, "{here} kB in the pool's process, {there} kB in the worker");
}

/// Like [`runs_a_hundred_thousand`], for a thread pool.
fn runs_a_hundred_thousand_in_threads() -> u64 {
    let pool = ThreadPool::new(2).unwrap();
    let run =
        |tasks: u64| assert_eq!(pool.map(next, (0..tasks).map(|x| (x,))).map(Result::unwrap).count() as u64, tasks);
    run(1000);
    let before = peak();
    run(100_000);
    peak() - before
}

#[test]
fn hundred_thousand_tiny_tasks_take_bounded_memory_in_a_thread_pool() {
    let taken = result(pool(1).submit(runs_a_hundred_thousand_in_threads, ())).unwrap();
    assert!(taken < 16 << 10, "{taken} kB");
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
fn results_of_twenty_thousand_tiny_tasks_are_in_order() {
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
fn fast_tasks_do_not_wait_behind_a_slow_one_if_another_worker_is_free() {
    let gate = tempfile::tempdir().unwrap();
    let open = gate.path().join("open");
    let pool = pool(2);
    // From here on, both workers are known to run short tasks.
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
