//! Calls that find the jobs of earlier submissions.

use std::fs;

use fleche_core::{ExecutorExt, JobError};

use super::{
    calls::{gated, square},
    scratch::{Scratch, wait_until},
};

#[test]
#[ignore = "needs a Slurm cluster"]
fn map_is_one_array_and_a_second_map_submits_nothing() {
    let scratch = Scratch::new();
    let executor = scratch.executor(|config| config);
    let inputs = || (0..50).map(|x| (scratch.path("log"), x));
    for _ in 0..2 {
        let results: Result<Vec<_>, _> = scratch.cache.scope(|| executor.map(square, inputs()).collect());
        assert!(results.unwrap().into_iter().eq((0..50).map(|x| x * x)));
    }
    let stats = executor.inner().stats();
    assert_eq!((stats.submitted, stats.arrays, stats.reattached), (50, 1, 0));
    assert_eq!(scratch.lines("log"), 50);
    wait_until("the removal of the batch", || scratch.files("batches") + scratch.files("keys") == 0);
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn same_call_waits_for_the_job_of_another_executor() {
    let scratch = Scratch::new();
    let call = || (scratch.path("log"), scratch.path("gate"), 1);
    let first = scratch.executor(|config| config);
    let _abandoned = scratch.cache.scope(|| first.submit(gated, call()));
    wait_until("the start", || scratch.lines("log") == 1);
    let second = scratch.executor(|config| config);
    let job = scratch.cache.scope(|| second.submit(gated, call()));
    second.inner().flush();
    fs::write(scratch.path("gate"), "").unwrap();
    assert_eq!(job.result(), Ok(2));
    assert_eq!((second.inner().stats().submitted, second.inner().stats().reattached), (0, 1));
    assert_eq!(scratch.lines("log"), 1);
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn cancelled_call_does_not_run_and_its_job_leaves_the_queue() {
    let scratch = Scratch::new();
    let executor = scratch.executor(|config| config.option("begin", "now+1hour"));
    let call = || (scratch.path("log"), scratch.path("gate"), 1);
    let job = scratch.cache.scope(|| executor.submit(gated, call()));
    executor.inner().flush();
    assert!(job.cancel());
    assert_eq!(job.result(), Err(JobError::Cancelled));
    fs::write(scratch.path("gate"), "").unwrap();
    let again = scratch.executor(|config| config);
    let job = scratch.cache.scope(|| again.submit(gated, call()));
    assert_eq!(job.result(), Ok(2));
    assert_eq!(scratch.lines("log"), 1);
}
