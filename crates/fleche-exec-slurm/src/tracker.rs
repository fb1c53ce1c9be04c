//! Tracks calls from their submission to their outcome: makes batches, watches their files and the queue, and decides what has
//! become of elements that left it. One thread calls it, without a lock, because the scheduler may take seconds to answer.

mod submission;

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    io::ErrorKind,
    mem,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use fleche_core::{
    Digest, JobError, Resources,
    job::{LossCause, WorkerLoss},
    spi::{log, process_id},
};

use crate::{
    binary::Staged,
    commands::{CommandError, Program, Scheduler},
    config::SlurmConfig,
    directory::{Place, SharedDirectory, StateFile},
    format::Outcome,
    parse::{self, JobReport, QueueLine},
    truth::{Evidence, Patience, Queue, Verdict, judge},
};
use submission::{Waiting, WaitingCalls};

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
const FILES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// The time after which files are listed even if their directory shows no change.
const FULL_LISTING: Duration = Duration::from_secs(30);

/// The interval of questions to the scheduler after a submission, which doubles up to the configured one.
const FIRST_POLL: Duration = Duration::from_secs(2);

/// The longest interval between questions while the scheduler does not answer.
const SLOW_POLL: Duration = Duration::from_mins(5);

/// The longest interval of heartbeats, and of two questions until an element that left the queue is judged.
const MINUTE: Duration = Duration::from_mins(1);

/// The interval between cancellations and between questions to the accounting.
const CANCELS: Duration = Duration::from_secs(1);
const ACCOUNTING: Duration = Duration::from_secs(30);

/// The maximum number of arrays whose details are asked for after a poll.
const DETAILS: usize = 5;

/// The exit code above which a shell reports a signal.
const SIGNALS: i32 = 128;

/// The maximum number of submissions of a call that never ran.
const SUBMISSIONS: u32 = 4;

/// An element of a batch whose outcome is awaited.
struct Element<C> {
    key: Digest,
    callers: Vec<C>,
    resources: Arc<Resources>,
    /// The encoded call, kept if another process may remove the batch.
    kept: Option<Bytes>,
    /// The number of losses after which the call may still be submitted again.
    retries: u32,
    /// The number of submissions of the call so far.
    submissions: u32,
    /// The last run that has started, and the last one that has ended.
    started: Option<u32>,
    ended: Option<u32>,
    /// Since when the element is not in the queue.
    absent_since: Option<Duration>,
    /// Whether the user was told that the element is held, or is forgotten by the controller.
    is_reported: bool,
}

/// A batch with elements whose outcome is awaited.
struct Batch<C> {
    job: Option<u64>,
    /// Whether this process has made the batch.
    is_own: bool,
    elements: BTreeMap<u32, Element<C>>,
    changed: Option<SystemTime>,
    /// When the files were listed.
    listed: Duration,
    /// Whether the files must be listed again: a change within the same tick of the file server's clock would not show.
    is_fresh: bool,
    /// The hash of the lines of the last poll.
    lines: u64,
    /// Whether a call of the batch has failed, so that its files are kept.
    has_failed: bool,
}

/// What is known about the cluster.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    /// The maximum number of elements of an array.
    elements: usize,
    has_accounting: bool,
}

/// The calls of an executor, from their submission to their outcome.
pub(crate) struct Tracker<S, C> {
    scheduler: S,
    directory: SharedDirectory,
    config: SlurmConfig,
    program: Staged,
    patience: Patience,
    /// The name of this tracker among the waiters for a batch.
    mark: String,
    waiting: WaitingCalls<C>,
    batches: BTreeMap<Arc<str>, Batch<C>>,
    /// Elements to be cancelled, with the ids of their arrays.
    cancels: Vec<(u64, u32)>,
    cluster: Option<Cluster>,
    next_poll: Duration,
    poll_interval: Duration,
    next_files: Duration,
    files_interval: Duration,
    next_cancel: Duration,
    next_accounting: Duration,
    /// When the scheduler has answered last.
    answered: Duration,
    has_swept: bool,
    stats: SlurmStats,
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
            // The scheduler was not asked meanwhile.
            self.answered = self.scheduler.now();
        }
        for call in calls {
            let now = self.scheduler.now();
            self.waiting.add(Waiting::new(call), now);
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

    fn place(batch: &Arc<str>, element: u32) -> Place {
        Place { batch: batch.clone(), element }
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

    /// Looks for changes in the directories of batches.
    fn look_at_files(&mut self) {
        let now = self.scheduler.now();
        let names: Vec<_> = self.batches.keys().cloned().collect();
        let mut has_changed = false;
        for name in names {
            let Some(batch) = self.batches.get_mut(&name) else { continue };
            let is_due = batch.is_fresh || now >= batch.listed + FULL_LISTING;
            match self.directory.changed(&name) {
                Ok(changed) if batch.changed == Some(changed) && !is_due => {}
                Ok(changed) => {
                    batch.is_fresh = batch.changed != Some(changed);
                    has_changed |= batch.is_fresh;
                    self.list(&name);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => self.batch_is_gone(&name),
                Err(error) => log::warn!(%error, "cannot look at the files of a batch"),
            }
        }
        self.files_interval = if has_changed { FILES[0] } else { (self.files_interval * 2).min(FILES[1]) };
        self.next_files = self.scheduler.now() + self.files_interval;
    }

    /// Reads the files of a batch, and completes the calls that have an outcome.
    fn list(&mut self, name: &Arc<str>) {
        let now = self.scheduler.now();
        let listing = match self.directory.list(name) {
            Ok(listing) => listing,
            Err(error) => return log::warn!(%error, "cannot list the files of a batch"),
        };
        let Some(batch) = self.batches.get_mut(name) else { return };
        batch.changed = Some(listing.changed);
        batch.listed = now;
        let mut done = Vec::new();
        let mut ended = Vec::new();
        for (at, file) in listing.files {
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
        done.into_iter().for_each(|at| self.finish(name, at));
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
            Err(_) => return batch.is_fresh = true,
        };
        let Some(element) = batch.elements.remove(&at) else { return };
        batch.has_failed |= outcome.result.is_err();
        self.complete(&place, element, outcome);
    }

    /// Completes a call. From then on another call with its key runs again, unless the store has its record.
    fn complete(&self, place: &Place, element: Element<C>, outcome: Outcome) {
        if let Err(error) = self.directory.remove_key(&element.key, place) {
            log::warn!(%error, "cannot remove the key file of a call that is done");
        }
        complete_all(element.callers, outcome);
    }

    /// Forgets a batch without elements, and removes its files if no key names it and nothing has failed.
    fn close_if_done(&mut self, name: &Arc<str>) {
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
    fn is_unnamed(&self, name: &str) -> bool {
        let Ok(calls) = self.directory.calls(name) else { return false };
        calls
            .keys()
            .all(|key| self.directory.read_key(&key).is_ok_and(|place| place.is_none_or(|place| *place.batch != *name)))
    }

    /// Submits the calls of a batch again that another process has removed: their results may be in the store.
    fn batch_is_gone(&mut self, name: &Arc<str>) {
        let Some(batch) = self.batches.remove(name) else { return };
        for (at, element) in batch.elements {
            self.resubmit(&Self::place(name, at), element, false);
        }
    }

    /// Asks for the queue, and judges the elements that are not in it.
    fn poll(&mut self) {
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
        self.next_poll = self.scheduler.now() + self.poll_interval.max((now - begun) * 5);
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
        names.iter().for_each(|name| self.list(name));
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
    fn decide(&mut self, name: &Arc<str>, at: u32, queue: Queue<'_>, report: Option<&JobReport>) {
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

/// Returns the interval of heartbeats of a cluster that is polled this often.
fn heartbeat(poll: Duration) -> Duration {
    poll.min(MINUTE / 2)
}

fn complete_all<C: Caller>(callers: Vec<C>, outcome: Outcome) {
    // The counters of a job count once.
    let others = Outcome { stats: None, ..outcome.clone() };
    let mut outcome = Some(outcome);
    for caller in callers {
        caller.complete(outcome.take().unwrap_or_else(|| others.clone()));
    }
}

fn job_name(job: Option<u64>, element: u32) -> String {
    job.map_or_else(|| "a Slurm job of unknown id".to_owned(), |job| format!("Slurm job {job}_{element}"))
}
