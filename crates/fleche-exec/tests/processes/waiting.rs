//! Tasks of process pools that wait for others.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc, LazyLock, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use fleche_core::{ExecutorExt, JobError, Resources, fleche};
use fleche_exec::{Budget, ProcessPool, ThreadPool};

use super::common::{HANGS, memory, pool, result, wait_for, whoami};

/// In each process, a pool of its own.
static POOL: OnceLock<ProcessPool> = OnceLock::new();

fn nested(depth: u32) -> Vec<u32> {
    let mut processes = vec![process::id()];
    if depth > 0 {
        let job = POOL.get_or_init(|| pool(1)).submit(nested, (depth - 1,));
        processes.extend(job.result().expect("the nested task runs"));
    }
    processes
}

#[test]
fn tasks_of_a_pool_of_one_process_may_submit_and_wait() {
    let processes = result(pool(1).submit(nested, (3,))).unwrap();
    let mut distinct = processes.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!((processes.len(), distinct.len()), (4, 4), "{processes:?}");
    assert!(!processes.contains(&process::id()));
}

#[test]
fn a_thread_that_waits_for_a_process_leaves_its_place() {
    let (threads, processes) = (ThreadPool::new(1).unwrap(), pool(1));
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let (elsewhere, file) = (processes.clone(), gate.clone());
    let waiting = threads.spawn(move || elsewhere.submit(wait_for, (file,)).result());
    result(threads.spawn(move || fs::write(gate, b"").unwrap())).unwrap();
    assert_eq!(result(waiting), Ok(Ok(())));
}

#[test]
fn a_thread_that_waits_for_a_pool_of_processes_to_end_leaves_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let end: [fn(ProcessPool); 2] = [|pool| pool.shutdown(), drop];
    for (at, end) in end.into_iter().enumerate() {
        let gate = directory.path().join(at.to_string());
        let (threads, processes) = (ThreadPool::new(1).unwrap(), pool(1));
        let job = processes.submit(wait_for, (gate.clone(),));
        let ends = threads.spawn(move || end(processes));
        result(threads.spawn(move || fs::write(gate, b"").unwrap())).unwrap();
        result(job).unwrap();
        result(ends).unwrap();
    }
}

/// Waits, in a worker, for a job that another process completes when the file is there.
fn waits_for(file: PathBuf) -> u32 {
    POOL.get_or_init(|| pool(1)).submit(wait_for, (file,)).result().expect("the file comes");
    process::id()
}

fn make(file: PathBuf) -> u32 {
    fs::write(file, b"").expect("the directory is there");
    process::id()
}

#[test]
fn a_worker_that_waits_leaves_its_place_and_its_cores() {
    let pool = ProcessPool::with_budget(1, Budget { cores: Some(2), ..Budget::default() }).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let both = pool.with(Resources::new().cores(2));
    let waiting = both.submit(waits_for, (gate.clone(),));
    // The only worker waits, and yet:
    let other = result(both.submit(make, (gate,))).unwrap();
    let first = result(waiting).unwrap();
    assert_ne!(first, other);
    // One of them is enough from here on.
    for _ in 0..4 {
        let next = result(pool.submit(whoami, ())).unwrap();
        assert!([first, other].contains(&next));
    }
    assert_eq!((pool.stats().workers, pool.stats().lost), (2, 0));
}

#[test]
fn what_is_on_its_way_to_a_worker_that_waits_goes_to_another() {
    let pool = pool(1);
    // Tasks are pipelined from when they are known to be short.
    for _ in 0..20 {
        result(pool.submit(whoami, ())).unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let gates: Vec<_> = (0..3).map(|at| directory.path().join(at.to_string())).collect();
    // Each waits for the file that the one after it makes.
    let waiting: Vec<_> = gates.iter().map(|gate| pool.submit(waits_for, (gate.clone(),))).collect();
    let making: Vec<_> = gates.iter().rev().map(|gate| pool.submit(make, (gate.clone(),))).collect();
    for job in making.into_iter().chain(waiting) {
        result(job).unwrap();
    }
}

fn working_directory() -> PathBuf {
    env::current_dir().expect("there is one")
}

#[fleche(isolate, by_name)]
fn isolated(run: u64) -> (PathBuf, PathBuf) {
    let _ = run;
    let pool = ISOLATED.get().expect("it was made");
    (working_directory(), pool.submit(working_directory, ()).result().expect("the task runs"))
}

static ISOLATED: OnceLock<ProcessPool> = OnceLock::new();

#[test]
fn a_worker_that_an_isolated_body_lets_start_does_not_work_in_its_directory() {
    ISOLATED.set(pool(1)).unwrap();
    let cache = memory();
    let (here, there) = cache.scope(|| isolated(1));
    assert_ne!(here, there);
    assert_eq!(there, working_directory());
    assert!(!Path::new(&here).exists());
}

#[test]
fn what_runs_when_a_job_is_done_may_wait_for_another_of_the_pool() {
    let pool = pool(1);
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let (tell, told) = mpsc::channel();
    // Each of them waits, while the others do.
    let jobs = [(); 5].map(|()| {
        let (job, tell, within) = (pool.submit(wait_for, (gate.clone(),)), tell.clone(), pool.clone());
        job.on_done(move || tell.send(result(within.submit(whoami, ()))).unwrap());
        job
    });
    fs::write(gate, b"").unwrap();
    for job in jobs {
        result(job).unwrap();
        told.recv_timeout(HANGS).expect("it does not wait for itself").unwrap();
    }
    assert_eq!(pool.stats().workers, 1);
}

#[test]
fn a_job_that_a_deadline_ends_may_have_another_waited_for() {
    let pool = pool(1);
    let directory = tempfile::tempdir().unwrap();
    let hasty = Resources::new().timeout(Duration::from_millis(50));
    let job = pool.with(hasty.clone()).submit(wait_for, (directory.path().join("first"),));
    let (within, never) = (pool.clone(), directory.path().join("second"));
    let (tell, told) = mpsc::channel();
    job.on_done(move || tell.send(result(within.with(hasty).submit(wait_for, (never,)))).unwrap());
    assert_eq!(result(job), Err(JobError::TimedOut));
    assert_eq!(told.recv_timeout(HANGS).unwrap(), Err(JobError::TimedOut));
}

#[test]
fn a_pool_ends_when_what_runs_when_its_jobs_are_done_has_run() {
    let (pool, runs) = (pool(2), Arc::new(AtomicUsize::new(0)));
    for _ in 0..50 {
        let runs = runs.clone();
        pool.submit(whoami, ()).on_done(move || {
            thread::yield_now();
            runs.fetch_add(1, SeqCst);
        });
    }
    pool.shutdown();
    assert_eq!(runs.load(SeqCst), 50);
}

fn same(x: u64) -> u64 {
    x
}

#[fleche(isolate)]
fn submits(run: u64) -> u64 {
    BEFORE.submit(same, (run,)).result().expect("the task runs")
}

static BEFORE: LazyLock<ProcessPool> = LazyLock::new(|| pool(1));

#[test]
fn threads_that_a_pool_starts_in_an_isolated_body_do_not_work_in_its_directory() {
    memory().scope(|| submits(1));
    let directory = tempfile::tempdir().unwrap();
    let open = directory.path().join("open");
    let job = BEFORE.submit(wait_for, (open.clone(),));
    let (tell, told) = mpsc::channel();
    // On the thread that hears of the worker's result; where the directory is gone, there is none.
    job.on_done(move || tell.send(env::current_dir().ok()).unwrap());
    fs::write(open, "").unwrap();
    assert_eq!(told.recv().unwrap(), Some(working_directory()));
}
