//! Isolated bodies that use pools, whose threads never run in the directories of the bodies.

use std::{
    path::PathBuf,
    sync::{LazyLock, OnceLock},
    thread,
};

use fleche_core::fleche;
use fleche_exec::ThreadPool;

use super::common::{memory, pool};

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
