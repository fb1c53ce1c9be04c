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
    assert!(matches!(&error, JobError::Panicked { location: Some(at), .. } if at.contains("nested.rs")), "{error:?}");
    assert!(!ran_in_panic.load(SeqCst));
}

/// Isolated bodies that use pools, whose threads never run in the directories of the bodies.
#[cfg(target_os = "linux")]
mod isolated {
    use std::{
        path::PathBuf,
        sync::{LazyLock, OnceLock},
        thread,
    };

    use fleche_core::fleche;
    use fleche_exec::ThreadPool;

    use crate::common::{memory, pool};

    fn directory() -> PathBuf {
        std::env::current_dir().unwrap()
    }

    fn is_of_pool() -> bool {
        thread::current().name().is_some_and(|name| name.starts_with("fleche-pool"))
    }

    static POOL: OnceLock<ThreadPool> = OnceLock::new();

    #[fleche(isolate, by_name)]
    fn waits(run: u64) -> (PathBuf, PathBuf, bool) {
        let _ = run;
        // The pool's only thread waits for this body.
        let (there, of_pool) = POOL.get().unwrap().spawn(|| (directory(), is_of_pool())).result().unwrap();
        (directory(), there, of_pool)
    }

    #[fleche(isolate, by_name)]
    fn waits_within(run: u64) -> (PathBuf, PathBuf, bool) {
        waits(run)
    }

    #[test]
    fn task_awaited_by_an_isolated_body_does_not_run_in_its_directory() {
        let (program, pool) = (directory(), POOL.get_or_init(|| pool(1)));
        for body in [waits, waits_within] {
            let (here, there, of_pool) = pool.spawn(move || memory().scope(|| body(1))).result().unwrap();
            assert!(here != there && there == program && of_pool, "{here:?} {there:?} {of_pool}");
        }
    }

    static LATE: LazyLock<ThreadPool> = LazyLock::new(|| pool(1));

    #[fleche(isolate)]
    fn makes_a_pool(run: u64) -> u64 {
        LATE.spawn(move || run).result().unwrap()
    }

    #[test]
    fn pool_created_by_an_isolated_body_runs_in_the_programs_directory() {
        memory().scope(|| makes_a_pool(1));
        // In the body's directory, which was removed, this would be `None`.
        let there = LATE.spawn(|| std::env::current_dir().ok()).result();
        assert_eq!(there, Ok(Some(directory())));
    }

    static ENDS: OnceLock<ThreadPool> = OnceLock::new();

    #[fleche(isolate)]
    fn ends(run: u64) -> u64 {
        ENDS.get().unwrap().shutdown();
        run
    }

    #[test]
    fn isolated_body_may_shut_down_the_pool_that_it_runs_in() {
        let pool = ENDS.get_or_init(|| pool(1));
        let last = pool.spawn(|| memory().scope(|| ends(1)));
        assert_eq!(last.result(), Ok(1));
        pool.shutdown();
    }
}
