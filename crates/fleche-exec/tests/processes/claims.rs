//! Single flight across the workers of a pool, other pools and the program itself.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process, thread,
};

use fleche_core::{Bound, Cache, ExecutorExt, Job, fleche, wrap_executor};

use super::common::{files, memory, pool, result, wait_for};

/// Notes that a body runs, in a file that the processes share.
fn note(directory: &Path, what: &str) {
    let log = OpenOptions::new().create(true).append(true).open(directory.join("bodies"));
    writeln!(log.expect("the directory exists"), "{what}").expect("the log can be written");
}

/// Returns the bodies that have run.
fn noted(directory: &Path) -> Vec<String> {
    let mut lines: Vec<_> =
        fs::read_to_string(directory.join("bodies")).unwrap_or_default().lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// Runs the test with stores that workers reach through the pool's process, and with stores that they open.
fn with_each_store(test: impl Fn(&Path, &Cache)) {
    for shared in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        test(directory.path(), &if shared { files(directory.path()) } else { memory() });
    }
}

#[fleche]
fn slow(#[by_name] directory: PathBuf, x: u64) -> u64 {
    note(&directory, &format!("slow {x}"));
    wait_for(directory.join("gate"));
    x * 2
}

#[fleche]
fn around(#[by_name] directory: PathBuf, task: u64, x: u64) -> u64 {
    fs::write(directory.join(format!("started {task}")), b"").expect("the directory exists");
    slow(directory, x) + task
}

/// Opens the gate once this many tasks have started.
fn open_when(directory: &Path, tasks: u64) {
    (0..tasks).for_each(|task| wait_for(directory.join(format!("started {task}"))));
    fs::write(directory.join("gate"), b"").unwrap();
}

#[test]
fn call_within_many_tasks_runs_once() {
    with_each_store(|directory, cache| {
        let pool = pool(4);
        let bound = cache.scope(|| Bound::bind(around));
        let jobs: Vec<_> = (0..8).map(|task| pool.submit(bound.clone(), (directory.to_owned(), task, 1))).collect();
        open_when(directory, 4);
        for (task, job) in (0..).zip(jobs) {
            assert_eq!(result(job), Ok(2 + task));
        }
        assert_eq!(noted(directory), ["slow 1"]);
    });
}

#[test]
fn call_through_several_pools_wraps_and_threads_runs_once() {
    with_each_store(|directory, cache| {
        let (one, other) = (wrap_executor(pool(1)), wrap_executor(pool(1)));
        let again = wrap_executor(one.inner().clone());
        let submit = |pool: &dyn Fn() -> Job<u64>| cache.scope(pool);
        let mut jobs = vec![
            submit(&|| one.submit(slow, (directory.to_owned(), 3))),
            submit(&|| other.submit(slow, (directory.to_owned(), 3))),
            submit(&|| again.submit(slow, (directory.to_owned(), 3))),
        ];
        wait_for(directory.join("bodies"));
        thread::scope(|scope| {
            let here = scope.spawn(|| cache.scope(|| slow(directory.to_owned(), 3)));
            fs::write(directory.join("gate"), b"").unwrap();
            assert_eq!(here.join().unwrap(), 6);
        });
        assert!(jobs.drain(..).all(|job| result(job) == Ok(6)));
        assert_eq!(noted(directory), ["slow 3"]);
    });
}

/// Kills its process if it is the first body to run.
#[fleche]
fn fatal_once(#[by_name] directory: PathBuf, x: u64) -> u64 {
    note(&directory, "fatal");
    if noted(&directory).len() == 1 {
        wait_for(directory.join("gate"));
        process::abort();
    }
    x
}

fn around_fatal(directory: PathBuf, task: u64) -> u64 {
    fs::write(directory.join(format!("started {task}")), b"").expect("the directory exists");
    fatal_once(directory, 5) + task
}

#[test]
fn one_waiter_computes_after_the_computing_worker_has_died() {
    with_each_store(|directory, cache| {
        let pool = pool(3);
        let bound = cache.scope(|| Bound::bind(around_fatal));
        let jobs: Vec<_> = (0..3).map(|task| pool.submit(bound.clone(), (directory.to_owned(), task))).collect();
        open_when(directory, 3);
        let results: Vec<_> = jobs.into_iter().map(result).collect();
        assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1, "{results:?}");
        assert_eq!(noted(directory), ["fatal"; 2]);
    });
}

#[fleche]
fn itself(#[by_name] directory: PathBuf, x: u64, #[ignore] depth: u64) -> u64 {
    note(&directory, "itself");
    if depth == 0 { x } else { itself(directory, x, depth - 1) }
}

#[test]
fn call_that_calls_itself_in_a_worker_computes_in_place() {
    with_each_store(|directory, cache| {
        let pool = wrap_executor(pool(1));
        let job = cache.scope(|| pool.submit(itself, (directory.to_owned(), 7, 2)));
        assert_eq!(result(job), Ok(7));
        assert_eq!(noted(directory), ["itself"; 3]);
    });
}

/// Calls that call each other, in two workers at the same time.
#[fleche]
fn one_way(#[by_name] directory: PathBuf, x: u64, #[ignore] first: bool) -> u64 {
    note(&directory, "one way");
    if first {
        meet(&directory, 0);
        other_way(directory, x, false);
    }
    x
}

#[fleche]
fn other_way(#[by_name] directory: PathBuf, x: u64, #[ignore] first: bool) -> u64 {
    note(&directory, "other way");
    if first {
        meet(&directory, 1);
        one_way(directory, x, false);
    }
    x
}

fn meet(directory: &Path, side: u64) {
    fs::write(directory.join(format!("met {side}")), b"").expect("the directory exists");
    wait_for(directory.join(format!("met {}", 1 - side)));
}

#[test]
fn one_of_two_calls_that_wait_for_each_other_computes_in_place() {
    with_each_store(|directory, cache| {
        let pool = wrap_executor(pool(2));
        let jobs = cache.scope(|| {
            [
                pool.submit(one_way, (directory.to_owned(), 1, true)),
                pool.submit(other_way, (directory.to_owned(), 1, true)),
            ]
        });
        for job in jobs {
            assert_eq!(result(job), Ok(1));
        }
        assert_eq!(noted(directory).len(), 3, "two bodies, and one in place");
    });
}

#[test]
fn tasks_that_wait_for_a_call_do_not_count_as_running() {
    with_each_store(|directory, cache| {
        // More tasks than the pool has workers wait for a call, and another task opens its gate.
        let pool = pool(2);
        let bound = cache.scope(|| Bound::bind(around));
        let mut jobs: Vec<_> = (0..3).map(|task| pool.submit(bound.clone(), (directory.to_owned(), task, 9))).collect();
        let last = pool.submit(open_gate, (directory.to_owned(),));
        // The task that computes the call counts as running; the ones that wait for it do not.
        assert_eq!(result(last), Ok(()));
        assert!(jobs.drain(..).map(result).all(|result| result.is_ok()));
        assert_eq!(noted(directory), ["slow 9"]);
    });
}

#[allow(clippy::needless_pass_by_value)] // Submitted functions own their arguments.
fn open_gate(directory: PathBuf) {
    fs::write(directory.join("gate"), b"").expect("the directory exists");
}
