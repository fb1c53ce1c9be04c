//! Submissions of the same missing call share one task.

use std::{fs, path::PathBuf, time::Duration};

use fleche_core::{ExecutorExt, JobError, Resources, bound::Callable, fleche, wrap_executor};
use serde::{Serialize, de::DeserializeOwned};

use super::common::{memory, pool, result, wait_for};

#[fleche]
fn held(#[by_name] gate: PathBuf) -> i64 {
    wait_for(gate);
    7
}

#[fleche]
fn held_then_fails(#[by_name] gate: PathBuf) -> Result<i64, String> {
    wait_for(gate);
    Err("no".to_owned())
}

#[fleche]
fn held_then_aborts(#[by_name] gate: PathBuf) -> i64 {
    wait_for(gate);
    std::process::abort()
}

#[fleche]
fn aborts_the_first_time(#[by_name] gate: PathBuf, #[by_name] log: PathBuf) -> i64 {
    wait_for(gate);
    if fs::create_dir(log).is_ok() { std::process::abort() } else { 7 }
}

#[test]
fn submissions_of_one_missing_call_share_its_task() {
    let cache = memory();
    let _active = cache.enter();
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let pool = wrap_executor(pool(2));
    let jobs: Vec<_> = (0..3).map(|_| pool.submit(held, (gate.clone(),))).collect();
    let bound = pool.run(held::bind(gate.clone()));
    assert!(jobs.iter().all(|job| !job.is_done()));
    fs::write(gate, "").unwrap();
    for job in jobs.into_iter().chain([bound]) {
        assert_eq!(result(job), Ok(7));
    }
    assert_eq!(pool.inner().stats().received, 1);
}

/// Submits a call through two wraps of one wrapped pool.
fn through_wraps<R: Send + Serialize + DeserializeOwned + 'static>(
    function: impl Callable<(PathBuf,), Output = R> + Copy,
) -> Vec<Result<R, JobError>> {
    let _active = memory().enter();
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let shared = wrap_executor(pool(2));
    let (first, second) = (wrap_executor(&shared), wrap_executor(&shared));
    let jobs = [&first, &second, &second, &first].map(|pool| pool.submit(function, (gate.clone(),)));
    fs::write(gate, "").unwrap();
    let results = jobs.map(result).into();
    assert_eq!(shared.inner().stats().received, 1);
    results
}

#[test]
fn wraps_of_one_wrapped_pool_share_a_task() {
    assert_eq!(through_wraps(held), vec![Ok(7); 4]);
    assert_eq!(through_wraps(held_then_fails), vec![Ok(Err("no".to_owned())); 4]);
}

#[test]
fn error_that_is_not_recorded_is_shared_too() {
    let _active = memory().enter();
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let pool = wrap_executor(pool(2));
    let jobs: Vec<_> = (0..3).map(|_| pool.submit(held_then_fails, (gate.clone(),))).collect();
    fs::write(gate, "").unwrap();
    for job in jobs {
        assert_eq!(result(job), Ok(Err("no".to_owned())));
    }
    assert_eq!(pool.inner().stats().received, 1);
}

#[test]
fn lost_worker_fails_all_jobs_that_share_its_task() {
    let _active = memory().enter();
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let pool = wrap_executor(pool(1));
    let jobs: Vec<_> = (0..2).map(|_| pool.submit(held_then_aborts, (gate.clone(),))).collect();
    fs::write(gate, "").unwrap();
    for job in jobs {
        assert_eq!(result(job), Err(JobError::worker_died(Some(6), None)));
    }
}

#[test]
fn submissions_with_equal_resources_share_a_task_and_others_do_not() {
    let _active = memory().enter();
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let pool = wrap_executor(pool(1));
    // No task times out before all are submitted.
    let busy_gate = directory.path().join("busy");
    let busy = pool.submit(wait_for, (busy_gate.clone(),));
    let hasty = pool.with(Resources::new().timeout(Duration::from_millis(100)));
    let hasty = [(); 2].map(|()| hasty.submit(held, (gate.clone(),)));
    let patient = [(); 2].map(|()| pool.submit(held, (gate.clone(),)));
    let stubborn = pool.with(Resources::new().retries(1)).submit(held, (gate.clone(),));
    let refused = pool.with(Resources::new().option("partition", "short")).submit(held, (gate.clone(),));
    assert!(matches!(refused.result(), Err(JobError::Rejected { why }) if why.contains("`partition`")));
    fs::write(busy_gate, "").unwrap();
    result(busy).unwrap();
    for job in hasty {
        assert_eq!(result(job), Err(JobError::TimedOut));
    }
    fs::write(gate, "").unwrap();
    for job in patient.into_iter().chain([stubborn]) {
        assert_eq!(result(job), Ok(7));
    }
    assert_eq!((pool.inner().stats().received, pool.inner().stats().lost), (4, 0));
}

#[test]
fn lost_worker_fails_only_the_jobs_without_retries() {
    let _active = memory().enter();
    let directory = tempfile::tempdir().unwrap();
    let [gate, log] = ["gate", "log"].map(|name| directory.path().join(name));
    let pool = wrap_executor(pool(1));
    let plain = pool.submit(aborts_the_first_time, (gate.clone(), log.clone()));
    let stubborn = pool.with(Resources::new().retries(1)).submit(aborts_the_first_time, (gate.clone(), log));
    fs::write(gate, "").unwrap();
    assert_eq!(result(plain), Err(JobError::worker_died(Some(6), None)));
    assert_eq!(result(stubborn), Ok(7));
}

#[test]
fn call_continues_after_its_first_submission_is_cancelled() {
    let _active = memory().enter();
    let directory = tempfile::tempdir().unwrap();
    let (busy, gate) = (directory.path().join("busy"), directory.path().join("gate"));
    let pool = wrap_executor(pool(1));
    let runs = pool.submit(wait_for, (busy.clone(),));
    let (first, second) = (pool.submit(held, (gate.clone(),)), pool.submit(held, (gate.clone(),)));
    assert!(first.cancel());
    fs::write(busy, "").unwrap();
    fs::write(gate, "").unwrap();
    result(runs).unwrap();
    assert_eq!(result(first), Err(JobError::Cancelled));
    assert_eq!(result(second), Ok(7));
}

#[test]
fn call_that_ended_unrecorded_is_submitted_again() {
    let _active = memory().enter();
    let directory = tempfile::tempdir().unwrap();
    let pool = wrap_executor(pool(1));
    for _ in 0..2 {
        assert_eq!(result(pool.submit(held_then_fails, (directory.path().to_path_buf(),))), Ok(Err("no".to_owned())));
    }
    assert_eq!(pool.inner().stats().received, 2);
}
