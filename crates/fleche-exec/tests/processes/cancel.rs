//! Jobs that are cancelled before their bodies start, even on their way to a worker.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use fleche_core::{ExecutorExt, Job, JobError, Resources, fleche, wrap_executor};
use fleche_exec::ProcessPool;

use super::common::{memory, pool, result, wait_for, whoami};

#[allow(clippy::needless_pass_by_value)] // Submitted functions own their arguments.
fn starts_then_waits(started: PathBuf, gate: PathBuf) {
    fs::write(started, "").unwrap();
    wait_for(gate);
}

#[allow(clippy::needless_pass_by_value)] // As above.
fn notes(log: PathBuf, x: u64, _more: Vec<u8>) -> u64 {
    let mut file = fs::File::options().create(true).append(true).open(log).unwrap();
    writeln!(file, "{x}").unwrap();
    x
}

fn noted(log: &Path) -> BTreeSet<u64> {
    fs::read_to_string(log).unwrap_or_default().lines().map(|line| line.parse().unwrap()).collect()
}

/// Returns a pool of one worker to which many tasks are dispatched at once, since its tasks are short.
fn pipelining() -> ProcessPool {
    let pool = pool(1);
    for _ in 0..20 {
        result(pool.submit(whoami, ())).unwrap();
    }
    pool
}

/// Occupies the pool's only worker until the gate file exists. Returns the job and the path of the gate.
fn occupy(pool: &ProcessPool, directory: &Path) -> (Job<()>, PathBuf) {
    let [started, gate] = ["started", "gate"].map(|name| directory.join(name));
    let job = pool.submit(starts_then_waits, (started.clone(), gate.clone()));
    wait_for(started);
    (job, gate)
}

#[test]
fn job_on_its_way_to_a_busy_worker_can_be_cancelled_and_never_starts() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let pool = pipelining();
    let (busy, gate) = occupy(&pool, directory.path());
    // Some are sent in pieces.
    let submit = |x: u64| pool.submit(notes, (log.clone(), x, vec![0; if x.is_multiple_of(3) { 400_000 } else { 1 }]));
    let jobs: Vec<_> = (0..9).map(submit).collect();
    for x in [8, 0, 3, 4] {
        assert!(jobs[x].cancel());
        assert!(!jobs[x].cancel());
    }
    assert!(!busy.cancel(), "the job has started");
    fs::write(gate, "").unwrap();
    result(busy).unwrap();
    for (x, job) in (0..).zip(jobs) {
        assert_eq!(result(job), if [8, 0, 3, 4].contains(&x) { Err(JobError::Cancelled) } else { Ok(x) });
    }
    assert_eq!(noted(&log), BTreeSet::from([1, 2, 5, 6, 7]));
    assert_eq!((pool.stats().workers, pool.stats().lost), (1, 0));
}

#[test]
fn job_is_cancelled_or_its_body_runs_but_never_both() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let pool = pipelining();
    let before = pool.stats().started;
    let jobs: Vec<_> = (0..1000).map(|x| pool.submit(notes, (log.clone(), x, Vec::new()))).collect();
    // From both ends: tasks that are about to start, and tasks that wait.
    let asked = (0..500).step_by(7).flat_map(|x| [x, 999 - x]);
    let cancelled: BTreeSet<_> = asked.filter(|x| jobs[*x].cancel()).map(|x| x as u64).collect();
    for (x, job) in (0..).zip(jobs) {
        assert_eq!(result(job), if cancelled.contains(&x) { Err(JobError::Cancelled) } else { Ok(x) });
    }
    let ran = noted(&log);
    assert!(ran.is_disjoint(&cancelled));
    assert_eq!(ran.len() + cancelled.len(), 1000);
    assert_eq!(pool.stats().started - before, ran.len() as u64);
}

#[fleche]
fn held(#[by_name] gate: PathBuf) -> i64 {
    wait_for(gate);
    7
}

#[test]
fn call_on_its_way_continues_after_its_first_submission_is_cancelled() {
    let _active = memory().enter();
    let directory = tempfile::tempdir().unwrap();
    let pool = wrap_executor(pipelining());
    let (busy, gate) = occupy(pool.inner(), directory.path());
    let [first, second] = [(); 2].map(|()| pool.submit(held, (gate.clone(),)));
    assert!(first.cancel());
    fs::write(gate, "").unwrap();
    result(busy).unwrap();
    assert_eq!(result(first), Err(JobError::Cancelled));
    assert_eq!(result(second), Ok(7));
}

#[test]
fn job_of_a_worker_that_is_being_killed_can_be_cancelled() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let pool = pipelining();
    let (busy, _gate) = occupy(&pool, directory.path());
    let job = pool.submit(notes, (log.clone(), 1, Vec::new()));
    let other = pool.clone();
    let killer = std::thread::spawn(move || other.shutdown_now());
    let was = job.cancel();
    assert_eq!(result(job), Err(JobError::Cancelled), "{was}");
    assert!(matches!(result(busy), Err(JobError::WorkerLost(_))));
    killer.join().unwrap();
    assert!(noted(&log).is_empty());
}

#[test]
fn task_behind_a_cancelled_task_starts() {
    let directory = tempfile::tempdir().unwrap();
    let pool = pool(2);
    let (busy, gate) = occupy(&pool, directory.path());
    let large = pool.with(Resources::new().cores(2)).submit(whoami, ());
    let small = pool.submit(whoami, ());
    assert!(large.cancel());
    // A worker and a core are free for this task.
    result(small).unwrap();
    assert!(!busy.is_done());
    fs::write(gate, "").unwrap();
    result(busy).unwrap();
}
