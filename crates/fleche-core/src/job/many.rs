//! Working with many jobs: results as they come, all of them, or the first error.

use std::{
    fmt,
    sync::mpsc::{Receiver, channel},
};

use super::{Job, JobError};

/// The results of these jobs in the order in which they come, each with the position of its job. Waits for them without
/// keeping a processor busy; may be taken up at any time, and only as far as needed: dropped, it lets the other jobs run
/// on.
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
    for (at, job) in jobs.iter().enumerate() {
        let tell = tell.clone();
        if let Some(job) = job {
            job.on_done(move || {
                // Nobody listens any more where the iterator was dropped.
                let _ = tell.send(at);
            });
        }
    }
    AsCompleted { left: jobs.len(), jobs, done }
}

/// Results in the order in which they come; see [`as_completed`].
#[must_use = "results are taken as the iterator is run"]
pub struct AsCompleted<T> {
    jobs: Vec<Option<Job<T>>>,
    /// How many results have not been taken.
    left: usize,
    /// The positions of the jobs that are done.
    done: Receiver<usize>,
}

impl<T> AsCompleted<T> {
    /// Cancels every job whose body has not started. Each then comes as [`JobError::Cancelled`].
    pub fn cancel(&self) {
        for job in self.jobs.iter().flatten() {
            job.cancel();
        }
    }
}

impl<T> Iterator for AsCompleted<T> {
    type Item = (usize, Result<T, JobError>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        // Every job tells once: its completer, however it ends, sees to that.
        let at = self.done.recv().ok()?;
        let job = self.jobs.get_mut(at)?.take()?;
        self.left -= 1;
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

/// Waits for all jobs and gives their results, in the order of the jobs.
///
/// # Errors
/// The first job to fail, as soon as it does. The jobs that have not started are cancelled then; the others run on by
/// themselves. [`join_all_results`] waits for every job instead.
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

/// Waits for all jobs and gives what became of each, in the order of the jobs.
pub fn join_all_results<T>(jobs: impl IntoIterator<Item = Job<T>>) -> Vec<Result<T, JobError>> {
    // All are there before the first is waited for, so that an iterator that submits has submitted all.
    let jobs: Vec<_> = jobs.into_iter().collect();
    jobs.into_iter().map(Job::result).collect()
}
