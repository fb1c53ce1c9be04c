//! Circles of waits that nobody sees, in a process with a pool of processes and in its workers. One test, in a process of
//! its own: what tells them is that nothing happens there.
#![cfg(target_os = "linux")]
#![allow(missing_docs)]

#[path = "processes/common.rs"]
mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex},
    thread,
};

use common::{files, memory, pool, result, wait_for, whoami};
use fleche_core::{Bound, Cache, ExecutorExt, active_cache, fleche};

fleche_exec::worker_test!();

static LOCAL: LazyLock<Cache> = LazyLock::new(memory);
static KEPT: Mutex<Option<Cache>> = Mutex::new(None);

/// A cache that does not tell what it is used within.
fn kept() -> Cache {
    KEPT.lock().unwrap().clone().expect("it was kept")
}

/// Waits for a thread that asks for the same without a word of where it comes from.
#[fleche]
fn joins(x: u64, #[ignore] again: bool) -> u64 {
    if again { thread::spawn(move || LOCAL.scope(|| joins(x, false))).join().unwrap() } else { x }
}

/// The result, and the circles broken.
fn circle(x: u64) -> (u64, u64) {
    let before = LOCAL.stats().circles;
    (LOCAL.scope(|| joins(x, true)), LOCAL.stats().circles - before)
}

/// In a worker: how the store of the pool's process is reached. Both workers do this at once.
#[fleche]
fn keeps(#[by_name] directory: PathBuf, worker: u64) -> u64 {
    *KEPT.lock().unwrap() = Some(active_cache());
    mark(&directory, &format!("kept {worker}"));
    wait_for(directory.join(format!("kept {}", 1 - worker)));
    worker
}

fn mark(directory: &Path, what: &str) {
    fs::write(directory.join(what), b"").expect("the directory is there");
}

/// Waits for a thread that asks for [`back`] as one that comes from nowhere.
#[fleche]
fn there(#[by_name] directory: PathBuf, #[ignore] asks: bool) -> u64 {
    mark(&directory, "there");
    if asks {
        wait_for(directory.join("back"));
        thread::spawn(move || kept().scope(|| back(directory, false))).join().unwrap();
    }
    1
}

#[fleche]
fn back(#[by_name] directory: PathBuf, #[ignore] asks: bool) -> u64 {
    mark(&directory, "back");
    if asks {
        wait_for(directory.join("there"));
        there(directory, false);
    }
    2
}

#[test]
fn waits_that_nobody_sees_end_where_nothing_happens() {
    let pool = pool(2);

    // In a worker.
    assert_ne!(result(pool.submit(whoami, ())).unwrap(), std::process::id());
    assert_eq!(result(pool.submit(circle, (1,))), Ok((1, 1)));

    // Here, beside workers that have nothing to do.
    assert_eq!(circle(2), (2, 1));

    // From one worker to the other and back.
    let directory = tempfile::tempdir().unwrap();
    for (number, cache) in [memory(), files(directory.path())].into_iter().enumerate() {
        let directory = directory.path().join(number.to_string());
        fs::create_dir(&directory).unwrap();
        let _active = cache.enter();
        let keep = |worker| pool.submit(Bound::bind(keeps), (directory.clone(), worker));
        let kept = [keep(0), keep(1)];
        assert_eq!(kept.map(|job| result(job).unwrap()), [0, 1]);
        let jobs = [
            pool.submit(Bound::bind(there), (directory.clone(), true)),
            pool.submit(Bound::bind(back), (directory.clone(), true)),
        ];
        assert_eq!(jobs.map(|job| result(job).unwrap()), [1, 2]);
        let stats = cache.stats();
        assert_eq!((stats.circles, stats.computed), (1, 5), "{stats:?}");
    }
}
