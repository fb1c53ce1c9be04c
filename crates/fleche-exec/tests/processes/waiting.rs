//! Tasks of process pools that wait for other tasks.

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

/// The pool of this process: each process has its own.
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
fn thread_that_waits_for_a_process_does_not_count_as_running() {
    let (threads, processes) = (ThreadPool::new(1).unwrap(), pool(1));
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let (elsewhere, file) = (processes.clone(), gate.clone());
    let waiting = threads.spawn(move || elsewhere.submit(wait_for, (file,)).result());
    result(threads.spawn(move || fs::write(gate, b"").unwrap())).unwrap();
    assert_eq!(result(waiting), Ok(Ok(())));
}

#[test]
fn thread_that_shuts_a_process_pool_down_does_not_count_as_running() {
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

/// Waits, in a worker, for a job that another process completes when the file exists.
fn waits_for(file: PathBuf) -> u32 {
    POOL.get_or_init(|| pool(1)).submit(wait_for, (file,)).result().expect("the file is created");
    process::id()
}

fn make(file: PathBuf) -> u32 {
    fs::write(file, b"").expect("the directory exists");
    process::id()
}

#[test]
fn waiting_worker_does_not_count_as_running_and_frees_its_cores() {
    let pool = ProcessPool::with_budget(1, Budget { cores: Some(2), ..Budget::default() }).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let both = pool.with(Resources::new().cores(2));
    let waiting = both.submit(waits_for, (gate.clone(),));
    // The only worker waits, but a stand-in takes its place.
    let other = result(both.submit(make, (gate,))).unwrap();
    let first = result(waiting).unwrap();
    assert_ne!(first, other);
    // From here on, one of the two is enough.
    for _ in 0..4 {
        let next = result(pool.submit(whoami, ())).unwrap();
        assert!([first, other].contains(&next));
    }
    assert_eq!((pool.stats().workers, pool.stats().lost), (2, 0));
}

#[test]
fn tasks_dispatched_to_a_waiting_worker_go_to_another() {
    let pool = pool(1);
    // Further tasks are dispatched to a busy worker once its tasks are known to be short.
    for _ in 0..20 {
        result(pool.submit(whoami, ())).unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let gates: Vec<_> = (0..3).map(|at| directory.path().join(at.to_string())).collect();
    // Each waits for a file that a later task makes.
    let waiting: Vec<_> = gates.iter().map(|gate| pool.submit(waits_for, (gate.clone(),))).collect();
    let making: Vec<_> = gates.iter().rev().map(|gate| pool.submit(make, (gate.clone(),))).collect();
    for job in making.into_iter().chain(waiting) {
        result(job).unwrap();
    }
}

fn working_directory() -> PathBuf {
    env::current_dir().expect("the working directory is known")
}

#[fleche(isolate, by_name)]
fn isolated(run: u64) -> (PathBuf, PathBuf) {
    let _ = run;
    let pool = ISOLATED.get().expect("the pool was created");
    (working_directory(), pool.submit(working_directory, ()).result().expect("the task runs"))
}

static ISOLATED: OnceLock<ProcessPool> = OnceLock::new();

#[test]
fn worker_started_from_an_isolated_body_does_not_run_in_its_directory() {
    ISOLATED.set(pool(1)).unwrap();
    let cache = memory();
    let (here, there) = cache.scope(|| isolated(1));
    assert_ne!(here, there);
    assert_eq!(there, working_directory());
    assert!(!Path::new(&here).exists());
}

#[test]
fn callback_of_a_job_may_wait_for_another_job_of_the_pool() {
    let pool = pool(1);
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let (tell, told) = mpsc::channel();
    // Each callback waits, while the others do.
    let jobs = [(); 5].map(|()| {
        let (job, tell, within) = (pool.submit(wait_for, (gate.clone(),)), tell.clone(), pool.clone());
        job.on_done(move || tell.send(result(within.submit(whoami, ()))).unwrap());
        job
    });
    fs::write(gate, b"").unwrap();
    for job in jobs {
        result(job).unwrap();
        told.recv_timeout(HANGS).expect("the callback does not wait for itself").unwrap();
    }
    assert_eq!(pool.stats().workers, 1);
}

#[test]
fn callback_of_a_timed_out_job_may_wait_for_another_job() {
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
fn shutdown_waits_for_the_callbacks_of_jobs() {
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
fn threads_started_from_an_isolated_body_do_not_run_in_its_directory() {
    memory().scope(|| submits(1));
    let directory = tempfile::tempdir().unwrap();
    let open = directory.path().join("open");
    let job = BEFORE.submit(wait_for, (open.clone(),));
    let (tell, told) = mpsc::channel();
    // Runs on the thread that receives the worker's result. If its directory was removed, this is `None`.
    job.on_done(move || tell.send(env::current_dir().ok()).unwrap());
    fs::write(open, "").unwrap();
    assert_eq!(told.recv().unwrap(), Some(working_directory()));
}
