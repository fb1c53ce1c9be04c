//! The state of the tracker: calls to be submitted, batches, and what is known about the cluster.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use fleche_core::{
    Digest, Resources,
    spi::{log, process_id},
};

use super::waiting::{Waiting, WaitingCalls};
use crate::{
    binary::Staged,
    commands::Scheduler,
    config::SlurmConfig,
    directory::{Place, SharedDirectory},
    format::Outcome,
    truth::Patience,
};

/// The waiter for the outcome of a call.
pub(crate) trait Caller: Send {
    /// Notes that the element at this place will run the call. Returns `false` if nothing waits for the call any more.
    fn dispatch(&self, key: &Digest, place: &Place) -> bool;

    /// Notes that the call has started.
    fn start(&self);

    /// Returns whether nothing waits for the call any more.
    fn is_cancelled(&self) -> bool;

    /// Passes the outcome on.
    fn complete(self, outcome: Outcome);
}

/// A call that was submitted to the executor.
pub(crate) struct NewCall<C> {
    /// The job key: equal for calls that may share a job.
    pub(crate) key: Digest,
    /// The call, encoded.
    pub(crate) call: Bytes,
    pub(crate) resources: Arc<Resources>,
    pub(crate) caller: C,
}

/// Counters of the executor's work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlurmStats {
    /// The number of jobs that were submitted: elements of arrays.
    pub submitted: u64,
    /// The number of arrays that were submitted.
    pub arrays: u64,
    /// The number of calls that found a queued, running or ended job of an earlier submission.
    pub reattached: u64,
    /// The number of jobs that were submitted again after their predecessor was lost.
    pub resubmitted: u64,
}

impl<C> From<NewCall<C>> for Waiting<C> {
    fn from(call: NewCall<C>) -> Self {
        let NewCall { key, call, resources, caller } = call;
        let retries = resources.wanted_retries().unwrap_or(0);
        let (callers, call) = (vec![caller], Some(call));
        Self { key, callers, resources, call, previous: None, retries, submissions: 0 }
    }
}

impl SlurmStats {
    /// Returns the sums of these counters and others.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            submitted: self.submitted + other.submitted,
            arrays: self.arrays + other.arrays,
            reattached: self.reattached + other.reattached,
            resubmitted: self.resubmitted + other.resubmitted,
        }
    }
}

/// The shortest and the longest interval between looks at the files of batches.
pub(super) const FILES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// The time after which news are read even if their directory shows no change.
pub(super) const NEWS: Duration = Duration::from_secs(30);

/// The interval of questions to the scheduler after a submission, which doubles up to the configured one.
pub(super) const FIRST_POLL: Duration = Duration::from_secs(2);

/// The longest interval between questions while the scheduler does not answer.
pub(super) const SLOW_POLL: Duration = Duration::from_mins(5);

/// The longest interval of heartbeats, and of two questions until an element that left the queue is judged.
pub(super) const MINUTE: Duration = Duration::from_mins(1);

/// The interval between cancellations and between questions to the accounting.
pub(super) const CANCELS: Duration = Duration::from_secs(1);
pub(super) const ACCOUNTING: Duration = Duration::from_secs(30);

/// The maximum number of arrays whose details are asked for after a poll.
pub(super) const DETAILS: usize = 5;

/// The exit code above which a shell reports a signal.
pub(super) const SIGNALS: i32 = 128;

/// The maximum number of submissions of a call that never ran.
pub(super) const SUBMISSIONS: u32 = 4;

/// An element of a batch whose outcome is awaited.
pub(super) struct Element<C> {
    pub(super) key: Digest,
    pub(super) callers: Vec<C>,
    pub(super) resources: Arc<Resources>,
    /// The encoded call, kept if another process may remove the batch.
    pub(super) kept: Option<Bytes>,
    /// The number of losses after which the call may still be submitted again.
    pub(super) retries: u32,
    /// The number of submissions of the call so far.
    pub(super) submissions: u32,
    /// The last run that has started, and the last one that has ended.
    pub(super) started: Option<u32>,
    pub(super) ended: Option<u32>,
    /// Since when the element is not in the queue.
    pub(super) absent_since: Option<Duration>,
    /// Whether the user was told that the element is held, or is forgotten by the controller.
    pub(super) is_reported: bool,
}

/// A batch with elements whose outcome is awaited.
pub(super) struct Batch<C> {
    pub(super) job: Option<u64>,
    /// Whether this process has made the batch.
    pub(super) is_own: bool,
    pub(super) elements: BTreeMap<u32, Element<C>>,
    /// The time of the last change of the news.
    pub(super) changed: Option<SystemTime>,
    /// When the news are read even if their directory shows no change. A change within the same tick of the file server's
    /// clock does not show.
    pub(super) next_read: Duration,
    /// Whether all files must be listed, because elements may have ended before this process waited for them.
    pub(super) is_unlisted: bool,
    /// When the scheduler was asked for details of the array.
    pub(super) asked: Duration,
    /// The hash of the lines of the last poll.
    pub(super) lines: u64,
    /// Whether a call of the batch has failed, so that its files are kept.
    pub(super) has_failed: bool,
}

/// What is known about the cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cluster {
    /// The maximum number of elements of an array.
    pub(super) elements: usize,
    pub(super) has_accounting: bool,
}

/// The calls of an executor, from their submission to their outcome.
pub(crate) struct Tracker<S, C> {
    pub(super) scheduler: S,
    pub(super) directory: SharedDirectory,
    pub(super) config: SlurmConfig,
    pub(super) program: Staged,
    pub(super) patience: Patience,
    /// The name of this tracker among the waiters for a batch.
    pub(super) mark: String,
    pub(super) waiting: WaitingCalls<C>,
    pub(super) batches: BTreeMap<Arc<str>, Batch<C>>,
    /// Elements to be cancelled, with the ids of their arrays.
    pub(super) cancels: Vec<(u64, u32)>,
    pub(super) cluster: Option<Cluster>,
    pub(super) next_poll: Duration,
    pub(super) poll_interval: Duration,
    pub(super) next_files: Duration,
    pub(super) files_interval: Duration,
    pub(super) next_cancel: Duration,
    pub(super) next_accounting: Duration,
    /// When the scheduler has answered last.
    pub(super) answered: Duration,
    pub(super) has_swept: bool,
    pub(super) stats: SlurmStats,
}

impl<S: Scheduler, C: Caller> Tracker<S, C> {
    pub(crate) fn new(scheduler: S, directory: SharedDirectory, config: SlurmConfig, program: Staged) -> Self {
        let settings = config.settings();
        let patience = Patience {
            settle: (settings.poll * 2).min(MINUTE),
            heartbeat: heartbeat(settings.poll) * 3,
            give_up: settings.give_up_after,
            vanished: settings.poll * 10,
        };
        let answered = scheduler.now();
        Self {
            scheduler,
            directory,
            program,
            patience,
            mark: process_id::mark(),
            waiting: WaitingCalls::default(),
            batches: BTreeMap::new(),
            cancels: Vec::new(),
            cluster: None,
            next_poll: Duration::ZERO,
            poll_interval: FIRST_POLL.min(settings.poll),
            next_files: Duration::ZERO,
            files_interval: FILES[0],
            next_cancel: Duration::ZERO,
            next_accounting: Duration::ZERO,
            answered,
            has_swept: false,
            stats: SlurmStats::default(),
            config,
        }
    }

    pub(super) fn place(batch: &Arc<str>, element: u32) -> Place {
        Place { batch: batch.clone(), element }
    }

    /// Completes a call. From then on another call with its key runs again, unless the store has its record.
    pub(super) fn complete(&self, place: &Place, element: Element<C>, outcome: Outcome) {
        if let Err(error) = self.directory.remove_key(&element.key, place) {
            log::warn!(%error, "cannot remove the key file of a call that is done");
        }
        complete_all(element.callers, outcome);
    }

    /// Forgets a batch without elements, and removes its files if no key names it and nothing has failed.
    pub(super) fn close_if_done(&mut self, name: &Arc<str>) {
        if self.batches.get(name).is_none_or(|batch| !batch.elements.is_empty()) {
            return;
        }
        let Some(batch) = self.batches.remove(name) else { return };
        if batch.has_failed {
            let _ = self.directory.unwatch(name, &self.mark);
            return;
        }
        // What remains is removed by the last waiter, or by a later sweep.
        if self.directory.unwatch(name, &self.mark).is_ok_and(|others| !others) && self.is_unnamed(name) {
            let _ = self.directory.remove_batch(name);
        }
    }

    /// Returns whether no key names an element of the batch.
    pub(super) fn is_unnamed(&self, name: &str) -> bool {
        let Ok(calls) = self.directory.calls(name) else { return false };
        calls
            .keys()
            .all(|key| self.directory.read_key(&key).is_ok_and(|place| place.is_none_or(|place| *place.batch != *name)))
    }
}

impl<C> Element<C> {
    pub(super) fn new(key: Digest, callers: Vec<C>, resources: Arc<Resources>) -> Self {
        Self {
            key,
            callers,
            resources,
            kept: None,
            retries: 0,
            submissions: 0,
            started: None,
            ended: None,
            absent_since: None,
            is_reported: false,
        }
    }
}

impl<C> Batch<C> {
    pub(super) fn new(is_own: bool, elements: BTreeMap<u32, Element<C>>) -> Self {
        Self {
            job: None,
            is_own,
            elements,
            changed: None,
            next_read: Duration::ZERO,
            is_unlisted: false,
            asked: Duration::ZERO,
            lines: 0,
            has_failed: false,
        }
    }
}

/// Returns the interval of heartbeats of a cluster that is polled this often.
pub(super) fn heartbeat(poll: Duration) -> Duration {
    poll.min(MINUTE / 2)
}

pub(super) fn complete_all<C: Caller>(callers: Vec<C>, outcome: Outcome) {
    // The counters of a job count once.
    let others = Outcome { stats: None, ..outcome.clone() };
    let mut outcome = Some(outcome);
    for caller in callers {
        caller.complete(outcome.take().unwrap_or_else(|| others.clone()));
    }
}

pub(super) fn job_name(job: Option<u64>, element: u32) -> String {
    job.map_or_else(|| "a Slurm job of unknown id".to_owned(), |job| format!("Slurm job {job}_{element}"))
}
