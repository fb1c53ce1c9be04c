//! How calls end whose jobs are lost.

use fleche_core::{
    ExecutorExt, Job, JobError,
    job::{LossCause, WorkerLoss},
};

use super::{
    calls::{exits, gated, is_killed},
    scratch::{Scratch, slurm, wait_until},
};

fn loss<T: std::fmt::Debug>(job: Job<T>) -> WorkerLoss {
    match job.result() {
        Err(JobError::WorkerLost(loss)) => *loss,
        other => panic!("{other:?}"),
    }
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn exit_and_signal_are_returned_with_the_end_of_stderr() {
    let scratch = Scratch::new();
    let executor = scratch.executor(|config| config);
    let (exited, killed) = (executor.submit(exits, (3,)), executor.submit(is_killed, (9,)));
    let exited = loss(exited);
    assert_eq!((exited.cause, exited.code), (LossCause::Died, Some(3)));
    assert!(exited.stderr.unwrap().contains("last words") && exited.job.unwrap().starts_with("Slurm job "));
    let killed = loss(killed);
    assert_eq!((killed.cause, killed.signal), (LossCause::Died, Some(9)));
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn job_that_an_operator_cancels_is_lost_as_such() {
    let scratch = Scratch::new();
    let executor = scratch.executor(|config| config);
    let (log, gate) = (scratch.path("log"), scratch.path("gate"));
    let running = scratch.cache.scope(|| executor.submit(gated, (log, gate, 1)));
    wait_until("the start", || scratch.lines("log") == 1);
    let line = slurm("squeue", &["-h", "-o", "%F %j %Z"]);
    let shown = slurm("squeue", &["-h", "-o", "%A %o"]);
    let mine = scratch.path("shared").display().to_string();
    let job = shown.lines().find(|line| line.contains(&mine)).unwrap_or_else(|| panic!("{line}{shown}"));
    slurm("scancel", &[job.split(' ').next().unwrap()]);
    let loss = loss(running);
    assert_eq!(loss.cause, LossCause::CancelledByOperator, "{loss}");
}
