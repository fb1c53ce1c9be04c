//! Tracks calls from their submission to their outcome: makes batches, watches their files and the queue, and decides what has
//! become of elements that left it. One thread calls it, without a lock, because the scheduler may take seconds to answer.

mod judgement;
#[cfg(test)]
mod simulation;
mod state;
mod submission;
mod waiting;

pub use state::SlurmStats;
pub(crate) use state::{Caller, NewCall, Tracker};

use std::{collections::BTreeMap, io::ErrorKind, mem, sync::Arc, time::Duration};

use fleche_core::spi::log;

use crate::{
    commands::{Program, Scheduler},
    directory::{Place, StateFile},
    parse,
    truth::Queue,
};
use state::{CANCELS, Element, FILES, FIRST_POLL, NEWS, SIGNALS};

impl<S: Scheduler, C: Caller> Tracker<S, C> {
    pub(crate) fn stats(&self) -> SlurmStats {
        self.stats
    }

    /// Returns whether calls are to be submitted, and there is room for them in the queue.
    pub(crate) fn is_submitting(&self) -> bool {
        self.next_submission().is_some()
    }

    /// Does what is due. `cancelled` are places whose callers were cancelled. Returns the time until something is due again, or
    /// `None` if nothing is awaited.
    pub(crate) fn step(&mut self, calls: Vec<NewCall<C>>, cancelled: &[Place]) -> Option<Duration> {
        if self.batches.is_empty() {
            // The scheduler was not asked since.
            self.answered = self.scheduler.now();
        }
        for call in calls {
            let now = self.scheduler.now();
            self.waiting.add(call.into(), now);
        }
        for place in cancelled {
            self.cancel(place);
        }
        self.submit_ready();
        if self.scheduler.now() >= self.next_files {
            self.look_at_files();
        }
        if !self.batches.is_empty() && self.scheduler.now() >= self.next_poll {
            self.poll();
        }
        self.send_cancels();
        self.next_step()
    }

    fn next_step(&self) -> Option<Duration> {
        let now = self.scheduler.now();
        let watched = (!self.batches.is_empty()).then_some(self.next_poll.min(self.next_files));
        let cancel = (!self.cancels.is_empty()).then_some(self.next_cancel);
        let times = [watched, cancel, self.next_submission()];
        times.into_iter().flatten().min().map(|next| next.saturating_sub(now))
    }

    /// Removes a place whose callers were cancelled, and whose element no longer holds its key.
    fn cancel(&mut self, place: &Place) {
        let Some(batch) = self.batches.get_mut(&place.batch) else { return };
        let Some(element) = batch.elements.get_mut(&place.element) else { return };
        element.callers.retain(|caller| !caller.is_cancelled());
        self.cancels.extend(batch.job.map(|job| (job, place.element)));
        let Some(element) = batch.elements.remove(&place.element) else { return };
        if !element.callers.is_empty() {
            // Others wait for the call.
            self.resubmit(place, element, false);
        }
        self.close_if_done(&place.batch);
    }

    fn send_cancels(&mut self) {
        let now = self.scheduler.now();
        if self.cancels.is_empty() || now < self.next_cancel {
            return;
        }
        let mut jobs: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for (job, element) in mem::take(&mut self.cancels) {
            jobs.entry(job).or_default().push(element);
        }
        let arguments = jobs.into_iter().map(|(job, mut elements)| {
            elements.sort_unstable();
            elements.dedup();
            format!("{job}_[{}]", parse::element_list(&elements))
        });
        // If this fails, the elements end by themselves when they start.
        if let Err(error) = self.scheduler.run(Program::Scancel, &arguments.collect::<Vec<_>>()) {
            log::warn!(?error, "cannot remove cancelled jobs from the queue; they will end when they start");
        }
        self.next_cancel = self.scheduler.now() + CANCELS;
    }

    /// Reads the news of batches. Only elements that have ended cost more than a look at the directory of the news.
    fn look_at_files(&mut self) {
        let now = self.scheduler.now();
        let names: Vec<_> = self.batches.keys().cloned().collect();
        let mut has_changed = false;
        for name in names {
            if self.batches.get_mut(&name).is_some_and(|batch| mem::take(&mut batch.is_unlisted)) {
                self.list(&name);
            }
            let Some(batch) = self.batches.get_mut(&name) else { continue };
            match self.directory.changed(&name, &self.mark) {
                Ok(changed) if batch.changed == Some(changed) && now < batch.next_read => {}
                Ok(changed) => {
                    let is_new = batch.changed.replace(changed) != Some(changed);
                    batch.next_read = if is_new { now } else { now + NEWS };
                    has_changed |= is_new;
                    self.read_news(&name);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => self.batch_is_gone(&name),
                Err(error) => log::warn!(%error, "cannot look at the files of a batch"),
            }
        }
        self.files_interval = if has_changed { FILES[0] } else { (self.files_interval * 2).min(FILES[1]) };
        self.next_files = self.scheduler.now() + self.files_interval;
    }

    fn read_news(&mut self, name: &Arc<str>) {
        let news = match self.directory.take_news(name, &self.mark) {
            Ok(news) => news,
            Err(error) => return log::warn!(%error, "cannot read the news of a batch"),
        };
        for (at, run) in news {
            let Some(batch) = self.batches.get_mut(name) else { return };
            let Some(element) = batch.elements.get_mut(&at) else { continue };
            element.ended = element.ended.max(Some(run));
            if self.directory.has_outcome(&Self::place(name, at)) {
                self.finish(name, at);
            } else {
                self.decide_ended(name, at);
            }
        }
        self.close_if_done(name);
    }

    /// Reads all files of a batch, and completes the calls that have an outcome.
    fn list(&mut self, name: &Arc<str>) {
        let files = match self.directory.list(name) {
            Ok(files) => files,
            Err(error) => return log::warn!(%error, "cannot list the files of a batch"),
        };
        let Some(batch) = self.batches.get_mut(name) else { return };
        let mut done = Vec::new();
        let mut ended = Vec::new();
        for (at, file) in files {
            let Some(element) = batch.elements.get_mut(&at) else { continue };
            match file {
                StateFile::Outcome => done.push(at),
                StateFile::Started(run) => {
                    if element.started.is_none() {
                        element.callers.iter().for_each(C::start);
                    }
                    element.started = element.started.max(Some(run));
                }
                StateFile::Exit(run) => {
                    element.ended = element.ended.max(Some(run));
                    ended.push(at);
                }
            }
        }
        ended.retain(|at| !done.contains(at));
        for at in done {
            self.finish(name, at);
        }
        for at in ended {
            self.decide_ended(name, at);
        }
        self.close_if_done(name);
    }

    /// Judges an element whose script has ended without an outcome. The cause of a signal is known to the scheduler only, which is
    /// asked soon.
    fn decide_ended(&mut self, name: &Arc<str>, at: u32) {
        let Some(element) = self.batches.get(name).and_then(|batch| batch.elements.get(&at)) else { return };
        let Some(code) = self.last_exit(&Self::place(name, at), element) else { return };
        if code <= SIGNALS {
            self.decide(name, at, Queue::Absent(Duration::ZERO), None);
        } else {
            self.next_poll = self.next_poll.min(self.scheduler.now() + FIRST_POLL / 2);
        }
    }

    /// Returns the exit code of the last run, or `None` if it has not ended.
    fn last_exit(&self, place: &Place, element: &Element<C>) -> Option<i32> {
        let run = element.ended.filter(|ended| element.started.is_none_or(|started| started <= *ended))?;
        self.directory.exit(place, run)
    }

    /// Completes a call that has an outcome.
    fn finish(&mut self, name: &Arc<str>, at: u32) {
        let place = Self::place(name, at);
        let Some(batch) = self.batches.get_mut(name) else { return };
        let outcome = match self.directory.outcome(&place) {
            Ok(outcome) => outcome,
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                log::warn!(%error, "the outcome of a job is damaged, so its call is submitted again");
                let Some(element) = batch.elements.remove(&at) else { return };
                return self.resubmit(&place, element, false);
            }
            // Read again at the next look.
            Err(_) => return batch.is_unlisted = true,
        };
        let Some(element) = batch.elements.remove(&at) else { return };
        batch.has_failed |= outcome.result.is_err();
        self.complete(&place, element, outcome);
    }

    /// Submits the calls of a batch again that another process has removed: their results may be in the store.
    fn batch_is_gone(&mut self, name: &Arc<str>) {
        let Some(batch) = self.batches.remove(name) else { return };
        for (at, element) in batch.elements {
            self.resubmit(&Self::place(name, at), element, false);
        }
    }
}
