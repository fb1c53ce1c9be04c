//! Deadlocks that the wait graph does not show, in a process with a process pool and in its workers. They have a test
//! binary of their own, since they are detected by the fact that nothing else runs in the process.
#![cfg(target_os = "linux")]
#![allow(missing_docs)]

#[path = "processes/common.rs"]
mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex},
    thread,
};

use common::{files, memory, pool, result, wait_for, whoami};
use fleche_core::{
    Bound, Cache, CallStore, ExecutorExt, ValueStore, active_cache, fleche, layer::Stack, wrap_executor,
};
use fleche_store_file::{FileCalls, FileValues};
use fleche_store_memory::{MemoryCalls, MemoryValues};
use serde::{Deserialize, Serialize};

fleche_exec::worker_test!();

static LOCAL: LazyLock<Cache> = LazyLock::new(memory);
static KEPT: Mutex<Option<Cache>> = Mutex::new(None);

/// Returns a cache that does not know the calls within whose bodies it is used.
fn kept() -> Cache {
    KEPT.lock().unwrap().clone().expect("a cache was kept")
}

/// Waits for a thread that makes the same call without naming the enclosing one.
#[fleche]
fn joins(x: u64, #[ignore] again: bool) -> u64 {
    if again { thread::spawn(move || LOCAL.scope(|| joins(x, false))).join().unwrap() } else { x }
}

/// Returns the result, and the number of broken cycles.
fn broken_cycles(x: u64) -> (u64, u64) {
    let before = LOCAL.stats().cycles_broken;
    (LOCAL.scope(|| joins(x, true)), LOCAL.stats().cycles_broken - before)
}

/// Keeps the cache by which a worker reaches the stores of the pool's process. Both workers do this at the same time.
#[fleche]
fn keeps(#[by_name] directory: PathBuf, worker: u64) -> u64 {
    *KEPT.lock().unwrap() = Some(active_cache());
    mark(&directory, &format!("kept {worker}"));
    wait_for(directory.join(format!("kept {}", 1 - worker)));
    worker
}

fn mark(directory: &Path, what: &str) {
    fs::write(directory.join(what), b"").expect("the directory exists");
}

/// Waits for a thread that calls [`back`] without naming the enclosing call.
#[fleche]
fn there(#[by_name] directory: PathBuf, #[ignore] asks: bool) -> u64 {
    mark(&directory, "there");
    if asks {
        wait_for(directory.join("back"));
        thread::spawn(move || kept().scope(|| back(directory, None))).join().unwrap();
    }
    1
}

/// Calls [`there`] in turn: directly, or without naming the enclosing call.
#[fleche]
fn back(#[by_name] directory: PathBuf, #[ignore] asks: Option<Asks>) -> u64 {
    mark(&directory, "back");
    let Some(asks) = asks else { return 2 };
    wait_for(directory.join("there"));
    match asks {
        Asks::Itself => there(directory, false),
        Asks::Unseen => thread::spawn(move || kept().scope(|| there(directory, false))).join().unwrap(),
    };
    2
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Asks {
    Itself,
    Unseen,
}

/// A body that waits until it may end.
#[fleche]
fn slow(#[by_name] directory: PathBuf) -> u64 {
    mark(&directory, &format!("runs {}", std::process::id()));
    wait_for(directory.join("end"));
    3
}

/// Creates a cache of files with memory behind them. Workers reach its stores through the pool's process.
fn stack(root: &Path) -> Cache {
    let values: [Arc<dyn ValueStore>; 2] =
        [Arc::new(FileValues::open(root.join("values")).unwrap()), Arc::new(MemoryValues::new())];
    let calls: [Arc<dyn CallStore>; 2] =
        [Arc::new(FileCalls::open(root.join("calls")).unwrap()), Arc::new(MemoryCalls::new())];
    Cache::new(Stack::values(values).unwrap(), Stack::calls(calls).unwrap())
}

#[test]
fn unseen_cycles_are_broken_when_nothing_runs() {
    let pool = pool(2);

    // In a worker.
    assert_ne!(result(pool.submit(whoami, ())).unwrap(), std::process::id());
    assert_eq!(result(pool.submit(broken_cycles, (1,))), Ok((1, 1)));

    // In this process, while its workers are idle.
    assert_eq!(broken_cycles(2), (2, 1));

    // From one worker to the other and back.
    let root = tempfile::tempdir().unwrap();
    for (number, asks) in [Asks::Itself, Asks::Unseen].into_iter().enumerate() {
        for (kind, cache) in [("memory", memory()), ("files", files(root.path()))] {
            let directory = root.path().join(format!("{number} {kind}"));
            fs::create_dir(&directory).unwrap();
            let _active = cache.enter();
            let keep = |worker| pool.submit(Bound::bind(keeps), (directory.clone(), worker));
            assert_eq!([keep(0), keep(1)].map(|job| result(job).unwrap()), [0, 1]);
            let there = pool.submit(Bound::bind(there), (directory.clone(), true));
            let back = pool.submit(Bound::bind(back), (directory.clone(), Some(asks)));
            assert_eq!([there, back].map(|job| result(job).unwrap()), [1, 2]);
            // One of the two is computed again, or both if neither worker sees that the other computes.
            let computed = cache.stats().computed;
            assert!((5..=6).contains(&computed), "{kind}, {asks:?}: {computed}");
        }
    }
}

#[test]
fn claims_made_through_the_pool_are_seen_by_other_processes() {
    let root = tempfile::tempdir().unwrap();
    let (pool, plain, stack) = (pool(2), files(root.path()), stack(root.path()));
    let directory = root.path().join("marks");
    fs::create_dir(&directory).unwrap();

    // In a cycle, one of the waiting calls proceeds.
    let left = stack.scope(|| pool.submit(Bound::bind(left), (directory.clone(), true)));
    let right = plain.scope(|| pool.submit(Bound::bind(right), (directory.clone(), true)));
    assert_eq!([left, right].map(|job| result(job).unwrap()), [1, 2]);

    // A call that was a miss is not computed while another worker computes it.
    let first = plain.scope(|| pool.submit(Bound::bind(slow), (directory.clone(),)));
    let runs = || fs::read_dir(&directory).unwrap().flatten().filter(is_run).count();
    while runs() == 0 {
        thread::yield_now();
    }
    let second = stack.scope(|| wrap_executor(pool.clone()).submit(slow, (directory.clone(),)));
    while pool.stats().received < 4 {
        thread::yield_now();
    }
    mark(&directory, "end");
    assert_eq!([first, second].map(|job| result(job).unwrap()), [3, 3]);
    assert_eq!(runs(), 1);
}

fn is_run(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with("runs")
}

#[fleche]
fn left(#[by_name] directory: PathBuf, #[ignore] asks: bool) -> u64 {
    mark(&directory, "left");
    if asks {
        wait_for(directory.join("right"));
        right(directory, false);
    }
    1
}

#[fleche]
fn right(#[by_name] directory: PathBuf, #[ignore] asks: bool) -> u64 {
    mark(&directory, "right");
    if asks {
        wait_for(directory.join("left"));
        left(directory, false);
    }
    2
}
