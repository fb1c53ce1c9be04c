//! Asks the scheduler about the queue, and decides what has become of elements that left it.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    mem,
    sync::Arc,
};

use fleche_core::{
    JobError,
    job::{LossCause, WorkerLoss},
    spi::log,
};

use super::state::{ACCOUNTING, Caller, DETAILS, Element, SLOW_POLL, SUBMISSIONS, Tracker, complete_all, job_name};
use crate::{
    commands::{CommandError, Program, Scheduler},
    directory::Place,
    format::Outcome,
    parse::{self, JobReport, QueueLine},
    truth::{Evidence, Queue, Verdict, judge},
};

impl<S: Scheduler, C: Caller> Tracker<S, C> {
    /// Asks for the queue, and judges the elements that are not in it.
    pub(super) fn poll(&mut self) {
        let begun = self.scheduler.now();
        let arguments = ["--me", "-h", "-o", parse::QUEUE_FORMAT].map(str::to_owned);
        let answer = self.scheduler.run(Program::Squeue, &arguments);
        let now = self.scheduler.now();
        match answer {
            Ok(text) => {
                self.answered = now;
                self.poll_interval = (self.poll_interval * 2).min(self.config.settings().poll);
                self.compare(parse::queue(&text));
                self.judge_absent();
                self.sweep(&text);
            }
            Err(error) => {
                log::warn!(?error, "cannot ask Slurm for the queue; outcomes of jobs are still found");
                self.poll_interval = (self.poll_interval * 2).min(SLOW_POLL).min(self.patience.give_up);
                let time = now.saturating_sub(self.answered);
                if time >= self.patience.give_up {
                    for (name, at) in self.all(|_| true) {
                        self.decide(&name, at, Queue::NoAnswer(time), None);
                    }
                }
            }
        }
        for name in self.batches.keys() {
            // A waiter that cannot show signs of life counts as dead to other hosts.
            let _ = self.directory.touch_waiter(name, &self.mark);
        }
        self.next_poll = self.scheduler.now() + self.poll_interval.max(now.saturating_sub(begun) * 5);
    }

    /// Returns the places of the elements that satisfy the condition.
    fn all(&self, condition: impl Fn(&Element<C>) -> bool) -> Vec<(Arc<str>, u32)> {
        let batches = self.batches.iter();
        let places =
            batches.flat_map(|(name, batch)| batch.elements.iter().map(move |(at, element)| (name, *at, element)));
        places.filter(|(_, _, element)| condition(element)).map(|(name, at, _)| (name.clone(), at)).collect()
    }

    /// Compares the queue with the batches. Batches whose lines have not changed cost nothing more.
    fn compare(&mut self, lines: Vec<QueueLine>) {
        let now = self.scheduler.now();
        let mut of_batch: HashMap<String, Vec<QueueLine>> = HashMap::new();
        for line in lines {
            of_batch.entry(line.batch.clone()).or_default().push(line);
        }
        let mut verdicts = Vec::new();
        for (name, batch) in &mut self.batches {
            let lines = of_batch.remove(&**name).unwrap_or_default();
            if let Some(line) = lines.first().filter(|line| batch.job != Some(line.job)) {
                batch.job = Some(line.job);
                let _ = self.directory.write_job(name, line.job);
            } else if batch.job.is_none() {
                batch.job = self.directory.job(name);
            }
            let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&lines);
            if mem::replace(&mut batch.lines, hash) == hash {
                continue;
            }
            batch.elements.values_mut().for_each(|element| {
                element.absent_since.get_or_insert(now);
            });
            for line in &lines {
                for range in &line.elements {
                    for (at, element) in batch.elements.range_mut(range.clone()) {
                        element.absent_since = None;
                        if line.state != "PENDING" {
                            element.callers.iter().for_each(C::start);
                        }
                        let queue = Queue::Listed { state: &line.state, reason: &line.reason };
                        let verdict = judge(&Evidence { queue, ..Evidence::nothing() }, &self.patience);
                        verdicts.push((name.clone(), *at, verdict, line.reason.clone()));
                    }
                }
            }
        }
        for (name, at, verdict, reason) in verdicts {
            self.apply_listed(&name, at, &verdict, &reason);
        }
    }

    fn apply_listed(&mut self, name: &Arc<str>, at: u32, verdict: &Verdict, reason: &str) {
        let Some(batch) = self.batches.get_mut(name) else { return };
        let job = batch.job;
        match verdict {
            Verdict::Held => {
                if let Some(element) = batch.elements.get_mut(&at)
                    && !mem::replace(&mut element.is_reported, true)
                {
                    log::warn!("{} waits in the queue and may never start: {reason}", job_name(job, at));
                }
            }
            Verdict::CannotStart => {
                let Some(element) = batch.elements.remove(&at) else { return };
                batch.has_failed = true;
                self.cancels.extend(job.map(|job| (job, at)));
                let mut loss = WorkerLoss::new(LossCause::LaunchFailed);
                loss.job = Some(job_name(job, at));
                loss.stderr = Some(format!("Slurm gives the reason `{reason}`"));
                self.complete(&Self::place(name, at), element, Outcome::of(Err(loss.into())));
                self.close_if_done(name);
            }
            _ => {}
        }
    }

    /// Judges the elements that are not in the queue.
    fn judge_absent(&mut self) {
        let now = self.scheduler.now();
        let absent = self.all(|element| element.absent_since.is_some());
        if absent.is_empty() {
            return;
        }
        // What has happened since the last look at the files explains most of them.
        let mut names: Vec<_> = absent.iter().map(|(name, _)| name.clone()).collect();
        names.dedup();
        for name in &names {
            self.list(name);
        }
        let is_due = |element: &Element<C>| {
            let is_settled = |since| now.saturating_sub(since) >= self.patience.settle;
            element.absent_since.is_some_and(|since| element.ended.is_some() || is_settled(since))
        };
        let due = self.all(is_due);
        let mut names: Vec<_> = due.iter().map(|(name, _)| name.clone()).collect();
        names.dedup();
        let reports = self.reports(&names);
        for (name, at) in due {
            let since = self.batches.get(&name).and_then(|batch| batch.elements.get(&at)?.absent_since);
            let (Some(since), Some(reports)) = (since, reports.get(&name)) else { continue };
            let report = reports.iter().rfind(|report| report.element == at && *report.batch == *name);
            self.decide(&name, at, Queue::Absent(now.saturating_sub(since)), report);
        }
    }

    /// Asks the controller, and the accounting if there is one, about arrays. Batches that were not asked for are left out.
    fn reports(&mut self, names: &[Arc<str>]) -> HashMap<Arc<str>, Vec<JobReport>> {
        let mut reports: HashMap<_, Vec<JobReport>> = HashMap::new();
        let mut names: Vec<_> = names.iter().collect();
        // The limit must not leave out the same batches at each poll.
        names.sort_by_key(|name| self.batches.get(*name).map(|batch| batch.asked));
        let asked = self.scheduler.now();
        for name in names {
            let Some(batch) = self.batches.get(name) else { continue };
            let Some(job) = batch.job else {
                // While another process submits the batch, nothing can be said about it.
                if batch.is_own || !self.directory.is_being_submitted(name) {
                    reports.insert(name.clone(), Vec::new());
                }
                continue;
            };
            if reports.len() >= DETAILS {
                continue;
            }
            self.batches.entry(name.clone()).and_modify(|batch| batch.asked = asked);
            let arguments = ["show", "job", "-o"].map(str::to_owned).into_iter().chain([job.to_string()]);
            match self.scheduler.run(Program::Scontrol, &arguments.collect::<Vec<_>>()) {
                Ok(text) => drop(reports.insert(name.clone(), parse::job_details(&text))),
                // The id is no longer known.
                Err(CommandError::Refused(_)) => drop(reports.insert(name.clone(), Vec::new())),
                Err(CommandError::NoAnswer(_)) => {}
            }
        }
        let now = self.scheduler.now();
        let has_accounting = self.cluster.is_some_and(|cluster| cluster.has_accounting);
        if has_accounting && !reports.is_empty() && now >= self.next_accounting {
            self.next_accounting = now + ACCOUNTING;
            let jobs = reports.keys().filter_map(|name| self.batches.get(name)?.job).map(|job| job.to_string());
            let jobs = jobs.collect::<Vec<_>>().join(",");
            let format = parse::ACCOUNTING_FORMAT;
            // Without a time, the accounting begins at midnight.
            let arguments = ["-P", "-n", "-X", "-D", "-S", "now-8days", "-o", format, "-j", &jobs].map(str::to_owned);
            if let Ok(text) = self.scheduler.run(Program::Sacct, &arguments) {
                for report in parse::accounting(&text) {
                    if let Some(reports) = reports.get_mut(&*report.batch) {
                        reports.push(report);
                    }
                }
            }
        }
        reports
    }

    /// Judges an element without an outcome, and acts on the verdict.
    pub(super) fn decide(&mut self, name: &Arc<str>, at: u32, queue: Queue<'_>, report: Option<&JobReport>) {
        let place = Self::place(name, at);
        let Some(element) = self.batches.get(name).and_then(|batch| batch.elements.get(&at)) else { return };
        let exit = self.last_exit(&place, element);
        let Some(batch) = self.batches.get_mut(name) else { return };
        let job = batch.job;
        let Some(element) = batch.elements.get_mut(&at) else { return };
        let heartbeat = element.started.and_then(|run| self.directory.heartbeat(&place, run).ok());
        let stderr = self.directory.stderr(&place);
        let has_timeout = element.resources.wanted_timeout().is_some();
        let evidence = Evidence { queue, heartbeat, exit, report, stderr: &stderr, has_timeout };
        match judge(&evidence, &self.patience) {
            Verdict::Queued | Verdict::Held | Verdict::Alive | Verdict::Settling | Verdict::CannotStart => {}
            Verdict::Forgotten => {
                if !mem::replace(&mut element.is_reported, true) {
                    log::warn!("{} runs although Slurm does not know it; its outcome is awaited", job_name(job, at));
                }
            }
            verdict => {
                let Some(element) = batch.elements.remove(&at) else { return };
                match verdict {
                    Verdict::NeverRan if element.submissions >= SUBMISSIONS => {
                        batch.has_failed = true;
                        let mut loss = WorkerLoss::new(LossCause::LostByScheduler);
                        loss.job = Some(job_name(job, at));
                        self.complete(&place, element, Outcome::of(Err(loss.into())));
                    }
                    Verdict::NeverRan => self.resubmit(&place, element, true),
                    Verdict::Failed(error) => {
                        batch.has_failed = true;
                        self.fail(&place, job, element, *error);
                    }
                    _ => self.resubmit(&place, element, false),
                }
                self.close_if_done(name);
            }
        }
    }

    /// Fails a call, or submits it again if its losses are to be retried.
    fn fail(&mut self, place: &Place, job: Option<u64>, mut element: Element<C>, mut error: JobError) {
        let mut is_retried = false;
        let mut is_unreachable = false;
        if let JobError::WorkerLost(loss) = &mut error {
            loss.job = Some(job_name(job, place.element));
            is_retried = loss.cause.is_retried();
            is_unreachable = loss.cause == LossCause::SchedulerUnreachable;
        }
        if is_retried && element.retries > 0 {
            element.retries -= 1;
            return self.resubmit(place, element, false);
        }
        if is_unreachable {
            // The key stays, so that the same call finds its job later.
            return complete_all(element.callers, Outcome::of(Err(error)));
        }
        self.complete(place, element, Outcome::of(Err(error)));
    }

    /// Removes batches that are older than the configured time and are not in the queue, once.
    fn sweep(&mut self, queue: &str) {
        if mem::replace(&mut self.has_swept, true) {
            return;
        }
        let keep = self.config.settings().keep;
        for name in self.directory.batches().unwrap_or_default() {
            let is_old = || self.directory.batch_age(&name).is_ok_and(|age| age > keep);
            if self.batches.contains_key(&*name) || queue.contains(&*name) || !is_old() {
                continue;
            }
            if let Ok(calls) = self.directory.calls(&name) {
                for (element, key) in (0..).zip(calls.keys()) {
                    let _ = self.directory.remove_key(&key, &Place { batch: (&*name).into(), element });
                }
            }
            let _ = self.directory.remove_batch(&name);
        }
    }
}
