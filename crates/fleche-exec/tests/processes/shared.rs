//! Two submissions of one missing call: one task.

use std::{fs, path::PathBuf};

use fleche_core::{ExecutorExt, JobError, fleche, wrap_executor};

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

#[test]
fn an_error_that_is_not_recorded_is_shared_too() {
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
fn a_lost_worker_is_lost_to_all_who_share_its_task() {
    let _active = memory().enter();
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let pool = wrap_executor(pool(1));
    let jobs: Vec<_> = (0..2).map(|_| pool.submit(held_then_aborts, (gate.clone(),))).collect();
    fs::write(gate, "").unwrap();
    for job in jobs {
        assert_eq!(result(job), Err(JobError::WorkerLost { signal: Some(6) }));
    }
}

#[test]
fn a_call_goes_on_for_others_when_the_first_submission_is_cancelled() {
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
fn a_call_that_ended_is_submitted_anew_where_it_was_not_recorded() {
    let _active = memory().enter();
    let directory = tempfile::tempdir().unwrap();
    let pool = wrap_executor(pool(1));
    for _ in 0..2 {
        assert_eq!(result(pool.submit(held_then_fails, (directory.path().to_path_buf(),))), Ok(Err("no".to_owned())));
    }
    assert_eq!(pool.inner().stats().received, 2);
}
