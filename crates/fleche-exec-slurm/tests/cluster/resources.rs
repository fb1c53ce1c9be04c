//! What jobs get, and how calls end that their executor or the scheduler refuses.

use std::time::Duration;

use fleche_core::{ExecutorExt, JobError, executor::Resources};
use fleche_store_file as _;

use super::{
    calls::{never_ends, starts_itself, surroundings},
    scratch::{Scratch, wait_until},
};

#[test]
#[ignore = "needs a Slurm cluster"]
fn job_gets_its_directory_variables_and_processors() {
    let scratch = Scratch::new();
    let directory = scratch.path("it's here");
    std::fs::create_dir(&directory).unwrap();
    let executor = scratch.executor(|config| config.prologue("export FROM_PROLOGUE=1"));
    let resources =
        Resources::new().cores(2).working_dir(&directory).env("VALUE", "a 'b' $c").option("partition", "main");
    let found = executor.with(resources).submit(surroundings, ()).result().unwrap();
    assert_eq!(found, (directory, "a 'b' $c".to_owned(), "1".to_owned(), "2".to_owned()));
    let missing = Resources::new().working_dir(scratch.path("missing"));
    let refused = executor.with(missing).submit(surroundings, ()).result().unwrap_err();
    assert!(matches!(&refused, JobError::Rejected { why } if why.contains("missing")), "{refused}");
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn timeout_ends_the_call() {
    let scratch = Scratch::new();
    let executor = scratch.executor(|config| config);
    let job = executor.with(Resources::new().timeout(Duration::from_secs(1))).submit(never_ends, ());
    assert_eq!(job.result(), Err(JobError::TimedOut));
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn refusal_of_the_scheduler_is_returned() {
    let scratch = Scratch::new();
    let executor = scratch.executor(|config| config);
    for (name, value, expected) in [("partition", "none-such", "partition"), ("speed", "3", "speed")] {
        let job = executor.with(Resources::new().option(name, value)).submit(surroundings, ());
        let refused = job.result().unwrap_err();
        assert!(matches!(&refused, JobError::Rejected { why } if why.contains(expected)), "{refused}");
    }
    wait_until("the removal of the batches", || scratch.files("batches") + scratch.files("keys") == 0);
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn program_that_a_body_starts_does_not_run_the_job_again() {
    let scratch = Scratch::new();
    let executor = scratch.executor(|config| config);
    let listed = executor.submit(starts_itself, ()).result().unwrap();
    assert!(listed.contains("fleche_worker: test"), "{listed}");
}
