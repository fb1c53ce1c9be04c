//! `WorkerLoss`: how the worker of a call was lost, for `JobError::WorkerLost`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How the worker of a call was lost: the error inside [`JobError::WorkerLost`](super::JobError::WorkerLost).
///
/// Executors create it with [`new`](Self::new) or [`died`](Self::died) and set what they know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerLoss {
    /// The reason for the loss.
    pub cause: LossCause,
    /// The signal that killed the worker, if it was killed by one.
    pub signal: Option<i32>,
    /// The exit code of the worker, if it exited.
    pub code: Option<i32>,
    /// The scheduler's name of the job, such as `Slurm job 24_17`, if a scheduler ran it.
    pub job: Option<String>,
    /// The names of the nodes that ran the job, if known.
    pub node: Option<String>,
    /// The end of the job's standard error, at most 4 KiB, if the executor keeps it.
    pub stderr: Option<String>,
}

/// The reason for the loss of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LossCause {
    /// The worker's process was killed or exited.
    Died,
    /// The node failed, or was taken out of service.
    NodeFailed,
    /// The scheduler ended the job in favour of another one.
    Preempted,
    /// The job exceeded the time limit of its partition or allocation. A call that exceeds its own
    /// [`timeout`](crate::executor::Resources::timeout) ends as [`TimedOut`](super::JobError::TimedOut).
    TimeLimit,
    /// The job exceeded its memory limit.
    OutOfMemory,
    /// A user or an administrator cancelled the job with the tools of the scheduler.
    CancelledByOperator,
    /// The scheduler could not start the job.
    LaunchFailed,
    /// The scheduler accepted the job, then lost it without starting it.
    LostByScheduler,
    /// The job has ended without a trace of its outcome.
    Vanished,
    /// The scheduler has not answered for too long, and the job shows no sign of life.
    SchedulerUnreachable,
}

impl LossCause {
    /// Returns whether [`retries`](crate::executor::Resources::retries) apply: not to losses that would repeat
    /// themselves or that a person or a limit asked for.
    pub fn is_retried(self) -> bool {
        !matches!(self, Self::TimeLimit | Self::OutOfMemory | Self::CancelledByOperator | Self::SchedulerUnreachable)
    }
}

impl WorkerLoss {
    /// Creates a loss of which only the cause is known.
    pub fn new(cause: LossCause) -> Self {
        Self { cause, signal: None, code: None, job: None, node: None, stderr: None }
    }

    /// Creates the loss of a worker whose process ended with this signal or exit code.
    pub fn died(signal: Option<i32>, code: Option<i32>) -> Self {
        Self { signal, code, ..Self::new(LossCause::Died) }
    }
}

impl fmt::Display for WorkerLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, signal, code, job, node, stderr } = self;
        match cause {
            LossCause::Died => match (signal, code) {
                (Some(signal), _) => write!(f, "the worker process that ran the call was killed by signal {signal}")?,
                (None, Some(code)) => write!(f, "the worker process that ran the call exited with code {code}")?,
                (None, None) => f.write_str("the worker process that ran the call was lost")?,
            },
            LossCause::NodeFailed => f.write_str("the node that ran the call failed")?,
            LossCause::Preempted => f.write_str("the scheduler preempted the job that ran the call")?,
            LossCause::TimeLimit => f.write_str("the job that ran the call exceeded its time limit")?,
            LossCause::OutOfMemory => f.write_str("the job that ran the call exceeded its memory limit")?,
            LossCause::CancelledByOperator => f.write_str("the job that ran the call was cancelled by an operator")?,
            LossCause::LaunchFailed => f.write_str("the scheduler could not start the job for the call")?,
            LossCause::LostByScheduler => f.write_str("the scheduler lost the job for the call before it started")?,
            LossCause::Vanished => f.write_str("the job that ran the call ended without an outcome")?,
            LossCause::SchedulerUnreachable => {
                f.write_str("the scheduler does not answer, and the job for the call shows no sign of life")?;
            }
        }
        match (job, node) {
            (Some(job), Some(node)) => write!(f, " ({job} on {node})")?,
            (Some(one), None) | (None, Some(one)) => write!(f, " ({one})")?,
            (None, None) => {}
        }
        match stderr.as_deref().map(str::trim_end) {
            None | Some("") => Ok(()),
            Some(stderr) => write!(f, "; its stderr ends:\n{stderr}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_the_job_the_node_and_the_end_of_stderr() {
        let mut loss = WorkerLoss::new(LossCause::NodeFailed);
        assert_eq!(loss.to_string(), "the node that ran the call failed");
        loss.job = Some("Slurm job 24_17".to_owned());
        loss.node = Some("n1".to_owned());
        loss.stderr = Some("two\nlines\n".to_owned());
        let expected = "the node that ran the call failed (Slurm job 24_17 on n1); its stderr ends:\ntwo\nlines";
        assert_eq!(loss.to_string(), expected);
        let died = WorkerLoss::died(Some(9), None).to_string();
        assert_eq!(died, "the worker process that ran the call was killed by signal 9");
        assert_eq!(
            WorkerLoss::died(None, Some(3)).to_string(),
            "the worker process that ran the call exited with code 3"
        );
    }

    #[test]
    fn limits_and_cancellations_are_not_retried() {
        for cause in [LossCause::Died, LossCause::NodeFailed, LossCause::Preempted, LossCause::Vanished] {
            assert!(cause.is_retried(), "{cause:?}");
        }
        for cause in [LossCause::TimeLimit, LossCause::OutOfMemory, LossCause::CancelledByOperator] {
            assert!(!cause.is_retried(), "{cause:?}");
        }
    }
}
