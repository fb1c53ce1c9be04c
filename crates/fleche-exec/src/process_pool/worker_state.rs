//! The states of a dispatched task and of a worker, with all their transitions.

use std::{mem, time::Instant};

use fleche_core::CallKey;

/// The state of a task that was dispatched to a worker and has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskState {
    /// The worker has not reported that the task has started.
    Sent,
    /// As `Sent`. The job ends as cancelled if the worker returns the task.
    Cancelled,
    /// The worker was asked to return the task, and a thread waits for the answer.
    Revoking { cancelled: bool },
    /// The worker answered that the task had started, and has yet to report the start.
    RevocationLate { cancelled: bool },
    /// The body runs, until this deadline if there is one.
    Started { deadline: Option<Instant> },
}

/// The destination of a task that its worker has not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReturnDestination {
    /// To the thread that waits for it.
    Revoked,
    /// Nowhere: its job ends as cancelled.
    Cancelled,
    /// To the front of the queue.
    Queue,
}

impl TaskState {
    /// Marks the task as cancelled unless it has started. Returns whether it was not marked before.
    pub(super) fn cancel(&mut self) -> bool {
        match self {
            Self::Sent => *self = Self::Cancelled,
            Self::Revoking { cancelled: cancelled @ false } | Self::RevocationLate { cancelled: cancelled @ false } => {
                *cancelled = true;
            }
            _ => return false,
        }
        true
    }

    /// Notes that a thread waits for the task to be returned. Returns whether the worker has yet to be asked.
    pub(super) fn begin_revocation(&mut self) -> bool {
        match self {
            Self::Sent => *self = Self::Revoking { cancelled: false },
            Self::Cancelled => *self = Self::Revoking { cancelled: true },
            _ => return false,
        }
        true
    }

    /// Returns whether the worker may still return the task that it was asked for.
    pub(super) fn is_revoking(&self) -> bool {
        matches!(self, Self::Revoking { .. })
    }

    /// Notes that no thread waits any longer for the task to be returned.
    pub(super) fn abandon_revocation(&mut self) {
        if let Self::Revoking { cancelled } | Self::RevocationLate { cancelled } = *self {
            *self = if cancelled { Self::Cancelled } else { Self::Sent };
        }
    }

    /// Notes the worker's answer that the task had started before it was revoked.
    pub(super) fn revocation_failed(&mut self) {
        *self = match *self {
            Self::Sent => Self::RevocationLate { cancelled: false },
            Self::Cancelled => Self::RevocationLate { cancelled: true },
            Self::Revoking { cancelled } => Self::RevocationLate { cancelled },
            late_or_started => late_or_started,
        };
    }

    /// Notes that the body runs, until this deadline if there is one.
    pub(super) fn start(&mut self, deadline: Option<Instant>) {
        *self = Self::Started { deadline };
    }

    /// Returns whether the body has started, as far as the worker has reported it.
    pub(super) fn has_started(&self) -> bool {
        matches!(self, Self::RevocationLate { .. } | Self::Started { .. })
    }

    /// Returns when the task times out, if it has started and has a deadline.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Started { deadline } => *deadline,
            _ => None,
        }
    }

    /// Returns where the task goes if its worker returns it, or is lost before it reports the start.
    pub(super) fn return_destination(&self) -> ReturnDestination {
        match self {
            Self::Revoking { .. } => ReturnDestination::Revoked,
            // No thread waits for the task any longer.
            Self::Cancelled | Self::RevocationLate { cancelled: true } => ReturnDestination::Cancelled,
            Self::Sent | Self::RevocationLate { cancelled: false } | Self::Started { .. } => ReturnDestination::Queue,
        }
    }
}

/// The state of a worker.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum WorkerState {
    /// It takes tasks.
    #[default]
    Working,
    /// Its task waits.
    Paused(Pause),
    /// It was told to end, or was killed. Its task may be waiting.
    Ending { paused: Option<Pause> },
}

/// A wait of a worker's task.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pause {
    /// The cores that other tasks may use during the wait.
    pub(super) cores: usize,
    /// The call that the task waits for; `None` for anything else.
    pub(super) call: Option<CallKey>,
}

impl WorkerState {
    /// Returns the wait of the worker's task, if it waits.
    pub(super) fn paused(&self) -> Option<&Pause> {
        match self {
            Self::Working => None,
            Self::Paused(pause) => Some(pause),
            Self::Ending { paused } => paused.as_ref(),
        }
    }

    /// Notes that the worker's task waits.
    pub(super) fn pause(&mut self, pause: Pause) {
        *self = if self.is_ending() { Self::Ending { paused: Some(pause) } } else { Self::Paused(pause) };
    }

    /// Notes that the worker's task resumes. Returns the wait that has ended, if there was one.
    pub(super) fn resume(&mut self) -> Option<Pause> {
        match self {
            Self::Ending { paused } => paused.take(),
            Self::Working | Self::Paused(_) => match mem::take(self) {
                Self::Paused(pause) => Some(pause),
                _ => None,
            },
        }
    }

    /// Notes that the worker is to end. Returns whether it was not ending before.
    pub(super) fn end(&mut self) -> bool {
        if self.is_ending() {
            return false;
        }
        *self = Self::Ending { paused: self.resume() };
        true
    }

    pub(super) fn is_ending(&self) -> bool {
        matches!(self, Self::Ending { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revoked_task_keeps_its_cancellation() {
        let mut state = TaskState::Sent;
        assert!(state.begin_revocation() && !state.begin_revocation() && state.is_revoking());
        assert!(state.cancel() && !state.cancel());
        assert_eq!(state.return_destination(), ReturnDestination::Revoked);
        state.abandon_revocation();
        assert_eq!((state, state.return_destination()), (TaskState::Cancelled, ReturnDestination::Cancelled));
    }

    #[test]
    fn started_task_can_be_neither_cancelled_nor_revoked() {
        let mut state = TaskState::Sent;
        state.revocation_failed();
        assert_eq!(state, TaskState::RevocationLate { cancelled: false });
        // If the worker is lost now, the task is one that it had started. No thread waits for it to be returned.
        assert!(state.has_started());
        assert_eq!(state.return_destination(), ReturnDestination::Queue);
        assert!(!state.begin_revocation() && !state.is_revoking());
        state.start(None);
        assert!(!state.cancel() && !state.begin_revocation());
        state.abandon_revocation();
        state.revocation_failed();
        assert!(state.has_started());
    }

    #[test]
    fn ending_worker_stays_paused_until_its_task_resumes() {
        let pause = || Pause { cores: 2, call: None };
        let mut state = WorkerState::default();
        state.pause(pause());
        assert!(state.end() && !state.end());
        assert_eq!(state.paused(), Some(&pause()));
        assert_eq!((state.resume(), state.resume()), (Some(pause()), None));
        assert!(state.is_ending());
    }
}
