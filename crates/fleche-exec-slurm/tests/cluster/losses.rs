//! How calls end whose jobs are lost.

use fleche_core::{
    ExecutorExt, Job, JobError, Resources,
    job::{LossCause, WorkerLoss},
};

use super::{
    calls::{exits, gated, is_killed, slow_square, square},
    scratch::{Controller, Scratch, slurm, wait_until},
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
    slurm("scancel", &[&scratch.job()]);
    let loss = loss(running);
    assert_eq!(loss.cause, LossCause::CancelledByOperator, "{loss}");
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn failed_node_in_the_middle_of_a_map_loses_no_call() {
    let scratch = Scratch::alone();
    let executor = scratch.executor(|config| config);
    let calls = 200;
    let inputs = (0..calls).map(|x| (scratch.path("log"), x));
    let fail_node = || {
        wait_until("the first calls", || scratch.lines("log") >= 20);
        slurm("scontrol", &["update", "nodename=n1", "state=down", "reason=test"]);
    };
    let results = std::thread::scope(|scope| {
        scope.spawn(fail_node);
        let retried = executor.with(Resources::new().retries(3));
        scratch.cache.scope(|| retried.map(slow_square, inputs).collect::<Result<Vec<_>, _>>())
    });
    assert!(results.unwrap().into_iter().eq((0..calls).map(|x| x * x)));
    println!("{:?}", executor.inner().stats());
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn failed_node_is_named_by_the_loss() {
    let scratch = Scratch::alone();
    let executor = scratch.executor(|config| config.option("nodelist", "n2"));
    let (log, gate) = (scratch.path("log"), scratch.path("gate"));
    let running = scratch.cache.scope(|| executor.submit(gated, (log, gate, 1)));
    wait_until("the start", || scratch.lines("log") == 1);
    slurm("scontrol", &["update", "nodename=n2", "state=down", "reason=test"]);
    let loss = loss(running);
    assert_eq!((loss.cause, loss.node.as_deref()), (LossCause::NodeFailed, Some("n2")), "{loss}");
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn submission_to_a_stopped_controller_runs_once() {
    let scratch = Scratch::alone();
    let executor = scratch.executor(|config| config);
    let controller = Controller::new();
    controller.signal("-STOP");
    let job = scratch.cache.scope(|| executor.submit(square, (scratch.path("log"), 3)));
    // `sbatch` gives up after a while, and the controller accepts the job later.
    executor.inner().flush();
    controller.signal("-CONT");
    assert_eq!(job.result(), Ok(9));
    println!("{:?}", executor.inner().stats());
    assert_eq!(scratch.lines("log"), 1);
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn job_that_a_killed_controller_has_lost_is_submitted_again() {
    let scratch = Scratch::alone();
    let executor = scratch.executor(|config| config.option("begin", "now+4"));
    let job = scratch.cache.scope(|| executor.submit(square, (scratch.path("log"), 3)));
    executor.inner().flush();
    Controller::new().kill_and_start();
    assert_eq!(job.result(), Ok(9));
    println!("{:?}", executor.inner().stats());
    assert_eq!(scratch.lines("log"), 1);
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn requeued_job_runs_again() {
    let scratch = Scratch::new();
    let executor = scratch.executor(|config| config.option("requeue", ""));
    let (log, gate) = (scratch.path("log"), scratch.path("gate"));
    let job = scratch.cache.scope(|| executor.submit(gated, (log, gate.clone(), 1)));
    wait_until("the start", || scratch.lines("log") == 1);
    slurm("scontrol", &["requeue", &scratch.job()]);
    wait_until("the second start", || scratch.lines("log") == 2);
    std::fs::write(gate, "").unwrap();
    assert_eq!(job.result(), Ok(2));
    assert_eq!(executor.inner().stats().submitted, 1);
}
