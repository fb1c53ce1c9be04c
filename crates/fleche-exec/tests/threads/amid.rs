//! Tests of nested tasks, which run on the thread of the task that waits for them, but share no context with it.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};

use fleche_core::{Cache, CallKey, Job, JobError, fleche, metadata::RuntimeReport};
use fleche_exec::ThreadPool;

use super::common::{memory, pool};

static POOL: OnceLock<ThreadPool> = OnceLock::new();
static CACHE: OnceLock<Cache> = OnceLock::new();

#[fleche]
fn works(x: u64) -> u64 {
    (0..5_000_000).fold(x, |x, y| std::hint::black_box(x.wrapping_mul(31).wrapping_add(y)))
}

#[fleche]
fn only_waits(x: u64) -> u64 {
    let within = CACHE.get().unwrap();
    POOL.get().unwrap().spawn(move || within.scope(|| works(x))).result().unwrap()
}

fn cpu_seconds(key: &CallKey) -> f64 {
    let record = CACHE.get().unwrap().record(key).unwrap().unwrap();
    record.metadata.get::<RuntimeReport>("runtime").unwrap().unwrap().cpu_seconds.unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn processor_time_counts_for_the_task_that_uses_it() {
    let (pool, cache) = (POOL.get_or_init(|| pool(1)), CACHE.get_or_init(memory));
    pool.spawn(|| cache.scope(|| only_waits(1))).result().unwrap();
    let (waits, works) = cache.scope(|| (only_waits::key(1), works::key(1)));
    let (waited, worked) = (cpu_seconds(&waits), cpu_seconds(&works));
    assert!(worked > 0.0 && waited < worked, "{waited} s of {worked} s");
}

/// Waits for its job when it is dropped.
struct Joins(Option<Job<()>>);

impl Drop for Joins {
    fn drop(&mut self) {
        let _ = self.0.take().map(Job::result);
    }
}

#[test]
fn no_task_is_nested_in_a_panic() {
    let pool = pool(1);
    let (within, ran_in_panic) = (pool.clone(), Arc::new(AtomicBool::new(true)));
    let seen = ran_in_panic.clone();
    let outer = pool.spawn(move || {
        let _joins = Joins(Some(within.spawn(move || seen.store(thread::panicking(), SeqCst))));
        assert!(thread::panicking(), "tried");
    });
    let error = outer.result().unwrap_err();
    assert!(matches!(&error, JobError::Panicked { location: Some(at), .. } if at.contains("amid.rs")), "{error:?}");
    assert!(!ran_in_panic.load(SeqCst));
}
