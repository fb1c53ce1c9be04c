//! Combinators for many jobs: results as jobs complete, all results, or the first error.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{
            AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
        mpsc::{Receiver, channel},
    },
};

use super::blocking_hooks::{self, Awaited};
use super::{Job, JobError};

/// Returns the results of these jobs in the order of completion, each with the index of its job. The iterator blocks
/// while it waits. It may be advanced at any time and only as far as needed; dropping it lets the other jobs run on. A
/// job may depend on what the caller does with the result of an earlier job.
///
/// ```
/// use fleche_core::{Job, job};
///
/// let (slow, first) = job::channel();
/// let mut results = job::as_completed([first, Job::ready("fast")]);
/// assert_eq!(results.next(), Some((1, Ok("fast"))));
/// slow.complete("slow");
/// assert_eq!(results.next(), Some((0, Ok("slow"))));
/// assert_eq!(results.next(), None);
/// ```
pub fn as_completed<T>(jobs: impl IntoIterator<Item = Job<T>>) -> AsCompleted<T> {
    let jobs: Vec<_> = jobs.into_iter().map(Some).collect();
    let (tell, done) = channel();
    let count = Arc::new(Count::default());
    for (at, job) in jobs.iter().enumerate() {
        let (tell, count) = (tell.clone(), count.clone());
        if let Some(job) = job {
            job.on_done(move || {
                count.done.fetch_add(1, SeqCst);
                // The receiver is gone if the iterator was dropped.
                let _ = tell.send(at);
            });
        }
    }
    AsCompleted { left: jobs.len(), jobs, done, count, asked: false }
}

/// Results in the order of completion; see [`as_completed`].
#[must_use = "the iterator takes results only as it is advanced"]
pub struct AsCompleted<T> {
    jobs: Vec<Option<Job<T>>>,
    /// The number of results that have not been taken.
    left: usize,
    /// The indices of the jobs that are done.
    done: Receiver<usize>,
    count: Arc<Count>,
    /// Whether this thread's pool was asked to run the jobs before others.
    asked: bool,
}

/// The number of jobs that are done, for the pool of the waiting thread.
#[derive(Default)]
struct Count {
    done: AtomicUsize,
    taken: AtomicUsize,
    /// The pool to which the tasks of all jobs belong; 0 if there is none.
    pool: AtomicUsize,
}

impl Awaited for Count {
    fn is_over(&self) -> bool {
        self.done.load(SeqCst) > self.taken.load(SeqCst)
    }

    fn is_of(&self, pool: usize) -> bool {
        self.pool.load(Relaxed) == pool
    }
}

impl<T> AsCompleted<T> {
    /// Cancels every job whose body has not started. Each of these then yields [`JobError::Cancelled`].
    pub fn cancel(&self) {
        for job in self.jobs.iter().flatten() {
            job.cancel();
        }
    }

    /// Returns the index of a job that is done. Every job reports once, because its completer always ends it.
    fn next_done(&mut self) -> Option<usize> {
        if let Ok(at) = self.done.try_recv() {
            return Some(at);
        }
        if blocking_hooks::is_within() {
            if !std::mem::replace(&mut self.asked, true) {
                self.prioritize_all();
            }
            if self.left == 1 {
                // With one job left, nothing on this thread can proceed without it.
                self.jobs.iter().flatten().for_each(Job::run_or_prioritize);
            }
        }
        let awaited = self.count.clone();
        self.done.try_recv().or_else(|_| blocking_hooks::blocking_for(Some(awaited), || self.done.recv())).ok()
    }

    /// Makes the thread's own pool start all jobs before others, in their order. They start on other threads, because any
    /// of them may depend on what this thread does with an earlier result.
    fn prioritize_all(&self) {
        let pools = || self.jobs.iter().flatten().map(Job::pool);
        let first = pools().next().flatten();
        self.count.pool.store(first.filter(|_| pools().all(|pool| pool == first)).unwrap_or(0), Relaxed);
        self.jobs.iter().rev().flatten().for_each(Job::prioritize);
    }
}

impl<T> Iterator for AsCompleted<T> {
    type Item = (usize, Result<T, JobError>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let at = self.next_done()?;
        let job = self.jobs.get_mut(at)?.take()?;
        self.left -= 1;
        self.count.taken.fetch_add(1, SeqCst);
        Some((at, job.result()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for AsCompleted<T> {}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("left", &self.left).finish_non_exhaustive()
    }
}

/// Waits for all jobs and returns their results, in the order of the jobs.
///
/// # Errors
/// Fails with the error of the first job to fail, as soon as it fails. Jobs that have not started are then cancelled; the
/// others run on. [`join_all_results`] waits for every job instead.
pub fn join_all<T>(jobs: impl IntoIterator<Item = Job<T>>) -> Result<Vec<T>, JobError> {
    let mut completed = as_completed(jobs);
    let mut results: Vec<_> = (0..completed.len()).map(|_| None).collect();
    while let Some((at, result)) = completed.next() {
        match result {
            Ok(result) => results[at] = Some(result),
            Err(error) => {
                completed.cancel();
                return Err(error);
            }
        }
    }
    Ok(results.into_iter().flatten().collect())
}

/// Waits for all jobs and returns the outcome of each, in the order of the jobs.
pub fn join_all_results<T>(jobs: impl IntoIterator<Item = Job<T>>) -> Vec<Result<T, JobError>> {
    // Collected before the first wait, so that an iterator that submits jobs has submitted them all.
    let jobs: Vec<_> = jobs.into_iter().collect();
    jobs.into_iter().map(Job::result).collect()
}
