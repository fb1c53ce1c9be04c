//! Submits calls: attaches them to jobs of earlier submissions, or makes batches of them.

use std::{
    collections::{BTreeMap, HashSet},
    env,
    sync::Arc,
    time::Duration,
};

use fleche_core::{
    Digest, JobError, Resources,
    spi::{log, process_id},
};

use super::{
    state::{Batch, Caller, Cluster, Element, FILES, FIRST_POLL, Tracker, complete_all, heartbeat},
    waiting::{ELEMENTS, Group, Waiting},
};
use crate::{
    commands::{CommandError, Program, Scheduler},
    directory::{Place, StateFile},
    format::{self, Outcome},
    options::{self, Script},
    parse,
};

impl<S: Scheduler, C: Caller> Tracker<S, C> {
    /// Returns the number of jobs that may be added to the queue. While little room is left, it counts as none, because each
    /// submission costs the scheduler as much as a whole array.
    fn room(&self, waiting: usize) -> usize {
        let limit = self.config.settings().max_queued;
        let queued: usize = self.batches.values().map(|batch| batch.elements.len()).sum();
        let room = limit.saturating_sub(queued);
        if room < waiting.min(limit.div_ceil(4)) { 0 } else { room }
    }

    pub(super) fn next_submission(&self) -> Option<Duration> {
        let groups = self.waiting.groups.values().filter(|group| self.room(group.calls.len()) > 0);
        groups.map(Group::ready).min()
    }

    /// Submits the calls that have waited long enough, as far as there is room.
    pub(super) fn submit_ready(&mut self) {
        loop {
            let now = self.scheduler.now();
            let mut ready = self.waiting.groups.iter().filter(|(_, group)| group.ready() <= now);
            let Some((resources, room)) = ready.find_map(|(resources, group)| {
                Some((resources.clone(), self.room(group.calls.len()))).filter(|(_, room)| *room > 0)
            }) else {
                return;
            };
            let limit = self.cluster().elements.min(room);
            let Some(group) = self.waiting.groups.get_mut(&resources) else { return };
            let calls = group.calls.drain(..limit.min(group.calls.len())).collect();
            if group.calls.is_empty() {
                self.waiting.groups.remove(&resources);
            }
            self.submit(&resources, calls);
        }
    }

    /// Returns what is known about the cluster. It is asked for once.
    fn cluster(&mut self) -> Cluster {
        if let Some(cluster) = self.cluster {
            return cluster;
        }
        let unknown = Cluster { elements: ELEMENTS, has_accounting: false };
        let arguments = ["show", "config"].map(str::to_owned);
        let Ok(config) = self.scheduler.run(Program::Scontrol, &arguments) else { return unknown };
        let elements = parse::setting(&config, "MaxArraySize").and_then(|size| size.parse().ok());
        let accounting = parse::setting(&config, "AccountingStorageType").unwrap_or_default();
        let cluster = Cluster {
            elements: elements.unwrap_or(ELEMENTS).clamp(1, ELEMENTS),
            has_accounting: accounting.ends_with("slurmdbd"),
        };
        *self.cluster.insert(cluster)
    }

    /// Submits a call again, which the element at `previous` did not complete.
    pub(super) fn resubmit(&mut self, previous: &Place, element: Element<C>, may_have_started: bool) {
        let Element { key, callers, resources, kept, retries, submissions, .. } = element;
        // The files of the previous batch may be removed before the call is submitted.
        let call = kept.or_else(|| Some(self.directory.call(previous).ok()?.1));
        if call.is_none() {
            let why = format!("the files of batch {} are gone, and its call cannot be submitted again", previous.batch);
            return complete_all(callers, Outcome::of(Err(JobError::rejected(why))));
        }
        let previous = Some((previous.clone(), may_have_started));
        let now = self.scheduler.now();
        self.waiting.add(Waiting { key, callers, resources, call, previous, retries, submissions }, now);
    }

    /// Attaches calls to the jobs that their keys name, and submits the others as one array.
    fn submit(&mut self, resources: &Arc<Resources>, calls: Vec<Waiting<C>>) {
        let mut new = Vec::new();
        for mut call in calls {
            call.callers.retain(|caller| !caller.is_cancelled());
            if call.callers.is_empty() {
                continue;
            }
            let named = if call.previous.is_none() { self.directory.read_key(&call.key) } else { Ok(None) };
            match named {
                Ok(None) => new.push(call),
                Ok(Some(place)) if self.exists(&place) && !self.has_result(&place) => self.attach(&place, call),
                // The batch was removed after its calls were recorded, or the job has ended and the record was evicted. A new
                // job looks the call up, and computes it only if there is no record.
                Ok(Some(place)) => new.push(Waiting { previous: Some((place, false)), ..call }),
                Err(error) => fail(call, &format!("the key file of the call cannot be read: {error}")),
            }
        }
        if new.is_empty() {
            return;
        }
        let name: Arc<str> = new_name().into();
        if let Err(why) = self.write_batch(&name, resources, &new) {
            let _ = self.directory.remove_batch(&name);
            return new.into_iter().for_each(|call| fail(call, &why));
        }
        let elements = self.take_keys(&name, new);
        if elements.is_empty() {
            let _ = self.directory.remove_batch(&name);
            return;
        }
        let array: Vec<u32> = elements.keys().copied().collect();
        self.stats.resubmitted += elements.values().filter(|element| element.submissions > 1).count() as u64;
        let mut batch = Batch::new(true, elements);
        // Equal calls of this process have been attached to the elements.
        for (at, attached) in self.batches.remove(&name).map(|batch| batch.elements).unwrap_or_default() {
            match batch.elements.get_mut(&at) {
                Some(element) => element.callers.extend(attached.callers),
                None => drop(batch.elements.insert(at, attached)),
            }
        }
        let answer = self.run_sbatch(&name, resources, &array);
        let job = match answer {
            Ok(job) => job,
            Err(CommandError::NoAnswer(error)) => {
                log::warn!("Slurm may or may not have accepted jobs; the queue will tell: {error}");
                None
            }
            Err(CommandError::Refused(why)) => {
                let why = with_option(&why, resources);
                for (at, element) in batch.elements {
                    self.complete(&Self::place(&name, at), element, Outcome::of(Err(JobError::rejected(&why))));
                }
                let _ = self.directory.remove_batch(&name);
                return;
            }
        };
        if let Some(job) = job
            && let Err(error) = self.directory.write_job(&name, job)
        {
            log::warn!(%error, "cannot record the id of a job; it is found by its name");
        }
        batch.job = job;
        self.stats.arrays += 1;
        self.stats.submitted += array.len() as u64;
        self.batches.insert(name, batch);
        self.watch_closely();
    }

    fn watch_closely(&mut self) {
        let now = self.scheduler.now();
        self.poll_interval = FIRST_POLL.min(self.config.settings().poll);
        self.next_poll = self.next_poll.max(now).min(now + self.poll_interval);
        self.files_interval = FILES[0];
        self.next_files = self.next_files.min(now + self.files_interval);
    }

    fn exists(&self, place: &Place) -> bool {
        self.batches.contains_key(&place.batch) || self.directory.exists(&place.batch)
    }

    /// Returns whether the element has ended with a result.
    fn has_result(&self, place: &Place) -> bool {
        self.directory.outcome(place).is_ok_and(|outcome| outcome.result.is_ok())
    }

    /// Waits for the element that the call's key names.
    fn attach(&mut self, place: &Place, call: Waiting<C>) {
        let Waiting { key, mut callers, resources, call, retries, submissions, .. } = call;
        callers.retain(|caller| caller.dispatch(&key, place));
        if callers.is_empty() {
            return;
        }
        self.stats.reattached += callers.len() as u64;
        let directory = &self.directory;
        let mark = &self.mark;
        let batch = self.batches.entry(place.batch.clone()).or_insert_with(|| {
            // If this fails, the batch may be removed before its outcomes are read, and its calls are submitted again.
            let _ = directory.watch(&place.batch, mark);
            Batch { job: directory.job(&place.batch), ..Batch::new(false, BTreeMap::new()) }
        });
        batch.is_unlisted = true;
        // The next poll must notice that it is not in the queue.
        batch.lines = 0;
        if let Some(element) = batch.elements.get_mut(&place.element) {
            if element.started.is_some() {
                callers.iter().for_each(C::start);
            }
            element.callers.extend(callers);
        } else {
            let kept = call.filter(|_| !batch.is_own);
            let submissions = submissions.max(1);
            let element = Element { kept, retries, submissions, ..Element::new(key, callers, resources) };
            batch.elements.insert(place.element, element);
        }
        self.watch_closely();
    }

    /// Writes the files of a batch.
    ///
    /// # Errors
    /// Fails with a text for the user.
    fn write_batch(&self, name: &str, resources: &Resources, calls: &[Waiting<C>]) -> Result<(), String> {
        let calls: Vec<_> = calls.iter().map(|call| (call.key, call.call.clone().unwrap_or_default())).collect();
        let file = format::calls_file(self.program.digest, &calls).map_err(|error| error.report().to_string())?;
        let settings = self.config.settings();
        let worker = fleche_core::spi::worker_environment();
        let env = resources.wanted_env().iter().map(|(name, value)| (&**name, &**value));
        let env = env.chain(worker.as_ref().map(|(name, value)| (*name, &**value)));
        let cannot = |error: std::io::Error| format!("cannot write the files of a batch: {error}");
        let script = Script {
            prologue: settings.prologue,
            env: env.collect(),
            directory: &env::current_dir().map_err(cannot)?,
            program: &self.program.path,
            arguments: &fleche_exec::spi::worker_arguments(),
            batch: &self.directory.batch(name),
            heartbeat: heartbeat(settings.poll),
        };
        self.directory.create_batch(name, &file, &script.text(), &self.mark).map_err(cannot)
    }

    /// Makes the elements of the batch the ones that may run their calls. Calls whose key names another element are attached to that.
    fn take_keys(&mut self, name: &Arc<str>, calls: Vec<Waiting<C>>) -> BTreeMap<u32, Element<C>> {
        let mut taken = Vec::new();
        for (at, mut call) in (0..).zip(calls) {
            let place = Self::place(name, at);
            call.callers.retain(|caller| caller.dispatch(&call.key, &place));
            if call.callers.is_empty() {
                continue;
            }
            let holder = match &call.previous {
                None => self.directory.claim_key(&call.key, &place),
                Some((previous, _)) => {
                    self.directory.replace_key(&call.key, previous, &place).and_then(|replaced| match replaced {
                        Ok(()) => Ok(place.clone()),
                        Err(Some(other)) => Ok(other),
                        Err(None) => self.directory.claim_key(&call.key, &place),
                    })
                }
            };
            match holder {
                Ok(holder) if holder == place => taken.push((at, call)),
                Ok(other) => self.attach(&other, call),
                Err(error) => fail(call, &format!("the key file of the call cannot be written: {error}")),
            }
        }
        // An element of which nothing was seen may have read its key just before. It shows its start before that.
        let doubted = taken.iter().filter_map(|(_, call)| call.previous.as_ref().filter(|(_, doubt)| *doubt));
        let batches: HashSet<_> = doubted.map(|(place, _)| place.batch.clone()).collect();
        let mut started = HashSet::new();
        for batch in batches {
            let files = self.directory.list(&batch).unwrap_or_default();
            let runs = files.into_iter().filter(|(_, file)| matches!(file, StateFile::Started(_)));
            started.extend(runs.map(|(element, _)| Self::place(&batch, element)));
        }
        let mut elements = BTreeMap::new();
        for (at, call) in taken {
            let has_started = call.previous.as_ref().filter(|(place, doubt)| *doubt && started.contains(place));
            if let Some((previous, _)) = has_started.cloned() {
                // If it has seen the new key, it ends, and the call is submitted again.
                let place = Self::place(name, at);
                match self.directory.replace_key(&call.key, &place, &previous) {
                    Ok(Ok(())) => self.attach(&previous, call),
                    Ok(Err(_)) | Err(_) => {
                        fail(call, "the key file of the call has changed twice at once; submit it again");
                    }
                }
                continue;
            }
            let Waiting { key, callers, resources, retries, submissions, .. } = call;
            let element = Element { retries, submissions: submissions + 1, ..Element::new(key, callers, resources) };
            elements.insert(at, element);
        }
        elements
    }

    /// Submits the array. Returns its id, or `None` if the answer does not give it.
    fn run_sbatch(&mut self, name: &str, resources: &Resources, array: &[u32]) -> Result<Option<u64>, CommandError> {
        let directory = self.directory.batch(name);
        let options = options::arguments(resources, self.config.settings().options).map_err(CommandError::Refused)?;
        let log = |kind: &str| format!("{}", directory.join("log").join(kind).display());
        let own = [
            "--parsable".to_owned(),
            format!("--job-name={}{name}", parse::JOB_NAME),
            format!("--array={}", parse::element_list(array)),
            format!("--output={}", log("%a.out")),
            format!("--error={}", log("%a.err")),
            "--open-mode=append".to_owned(),
        ];
        let script = directory.join("script").display().to_string();
        let arguments: Vec<_> = own.into_iter().chain(options).chain([script]).collect();
        let answer = self.scheduler.run(Program::Sbatch, &arguments)?;
        Ok(parse::submitted(&answer))
    }
}

fn fail<C: Caller>(call: Waiting<C>, why: &str) {
    complete_all(call.callers, Outcome::of(Err(JobError::rejected(why))));
}

/// Adds the name of the option that the refusal is about, if it is one of the call.
fn with_option(why: &str, resources: &Resources) -> String {
    let mut names = resources.wanted_options().keys();
    let refused = names.find(|name| why.contains(&format!("--{name}")));
    refused.map_or_else(|| why.to_owned(), |name| format!("the option `{name}`: {why}"))
}

/// Returns a name that no other batch has.
fn new_name() -> String {
    let name = Digest::hash(process_id::mark().as_bytes());
    name.to_hex().as_ref()[..16].to_owned()
}
