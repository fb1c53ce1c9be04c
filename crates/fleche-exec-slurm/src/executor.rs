//! `Slurm`: the executor. It encodes calls, and lets one thread track them.

use std::{
    fmt, io, mem,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, Weak},
    time::Duration,
};

use bytes::Bytes;
use fleche_core::{
    Digest, Error, Executor, JobError, Result, Task,
    context::{Binding, BindingConfig},
    executor::{ExecutorConfig, Resources, SubmitError},
    job::blocking_hooks::JobId,
    spi::{
        CacheSpi, CancelHook, Executable, LockResultExt, PendingGuard, PendingReplies, PortableCall, ReaderThreadGuard,
        Reply, TaskSpi, fork::ProcessLocal, log, process_id, thread_spawner,
    },
    store::Reach,
};

use crate::{
    binary::{self, Staged},
    commands::InstalledCommands,
    config::{SlurmConfig, error},
    directory::{Place, SharedDirectory},
    format::{self, Outcome},
    options,
    tracker::{Caller, NewCall, SlurmStats, Tracker},
};

/// An executor that runs each call as a job of a Slurm cluster: one element of an array.
///
/// Jobs run the file of this program, of which a copy is kept in the shared directory. The program must call
/// [`fleche_exec::init`] in the first line of `main`. A `Slurm` is a cheap handle: clones refer to the same executor.
///
/// **What can be submitted.** `#[fleche]` functions, other functions, and closures that capture nothing.
///
/// **Stores.** The stores of a bound call must be open to other processes and reachable from the nodes: a directory on a shared file
/// system, or PostgreSQL. Calls with other stores are refused.
///
/// **Jobs outlive the program.** Dropping the executor does not cancel jobs. The same call, submitted again, finds its queued, running
/// or ended job and waits for that; no second job is submitted. This holds for calls of `#[fleche]` functions through
/// [`wrap_executor`](fleche_core::wrap_executor) or with a binding, as long as the function's own code and the cache are the same. Calls of
/// other functions always run again.
///
/// **Resources.** `cores`, `memory_mb`, `gpus`, `nodes`, `timeout`, `retries`, `working_dir`, `env`, and every long option of `sbatch` by
/// [`option`](Resources::option). A call that exceeds its `timeout` ends as [`JobError::TimedOut`]; the job's time limit is two minutes longer,
/// unless the option `time` sets it.
///
/// **Failures.** A job that ends without an outcome fails its call as [`JobError::WorkerLost`], with the cause, the id of the job, the nodes
/// and the end of its stderr. `retries` apply as [`LossCause::is_retried`](fleche_core::job::LossCause::is_retried) says. A job that the scheduler loses
/// before it starts is submitted again.
#[derive(Clone)]
pub struct Slurm(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    process: ProcessLocal<()>,
    config: SlurmConfig,
}

/// The state that the submitting threads share with the tracking thread.
struct Shared {
    directory: SharedDirectory,
    program: Staged,
    config: SlurmConfig,
    state: Mutex<State>,
    woken: Condvar,
    /// Notified when the tracking thread has taken all calls, and has submitted what it could.
    submitted: Condvar,
    pending: Arc<PendingReplies>,
}

#[derive(Default)]
struct State {
    calls: Vec<NewCall<Waiter>>,
    cancelled: Vec<Place>,
    is_running: bool,
    /// Whether calls are on their way to the scheduler.
    is_submitting: bool,
    stats: SlurmStats,
}

impl Slurm {
    /// Creates an executor from its configuration.
    ///
    /// # Errors
    /// Fails with [`Error::Config`] for settings that cannot be used, if the program has not called [`fleche_exec::init`], or if it was
    /// started through a loader; and with [`Error::Io`] if the shared directory cannot be used.
    pub fn from_config(config: SlurmConfig) -> Result<Self> {
        config.check()?;
        if !fleche_exec::spi::is_initialised() {
            return Err(error(
                "this program has not called `fleche_exec::init()`, so its jobs would run the program again; call it in the first \
                 line of `main` (in a test binary, write `fleche_exec::worker_test!();`)",
            ));
        }
        let program = Executable::of_program().map_err(Error::io("find the program of", "Slurm jobs"))?;
        if program.command().get_args().next().is_some() {
            return Err(error("this program was started by a loader, and jobs cannot be; start the program itself"));
        }
        let path = std::path::absolute(config.directory()).map_err(Error::io("resolve", config.directory()))?;
        let directory = SharedDirectory::open(&path).map_err(Error::io("use the directory", &path))?;
        let program = binary::stage(&directory).map_err(Error::io("copy this program to", &path))?;
        let shared = Shared {
            directory,
            program,
            config: config.clone(),
            state: Mutex::default(),
            woken: Condvar::new(),
            submitted: Condvar::new(),
            pending: Arc::default(),
        };
        Ok(Self(Arc::new(Handle { shared: Arc::new(shared), process: ProcessLocal::new(()), config })))
    }

    /// Returns the counters of this executor.
    pub fn stats(&self) -> SlurmStats {
        self.0.shared.lock().stats
    }

    /// Waits until every accepted call was submitted, or waits for room in the queue. Dropping the last handle does the same, so
    /// that jobs are in the queue when the program ends.
    pub fn flush(&self) {
        self.0.shared.flush();
    }

    fn accept(&self, task: Task, resources: &Resources) -> Result<(), SubmitError> {
        if let Err(why) = options::arguments(resources, self.0.config.settings().options) {
            return Err(task.refuse(why));
        }
        if let Some(why) = task.binding().and_then(out_of_reach) {
            return Err(task.refuse(why));
        }
        let (call, reply) = task.into_remote()?;
        match Self::encode(call, resources) {
            Ok((key, encoded, binding)) => {
                let hook = Arc::new(Hook { shared: Arc::downgrade(&self.0.shared), place: Mutex::default() });
                reply.on_cancel(Arc::downgrade(&hook) as _);
                let caller = Waiter { reply, hook, binding, pending: self.0.shared.pending.ask() };
                self.0.shared.submit(NewCall { key, call: encoded, resources: Arc::new(resources.clone()), caller });
            }
            Err(error) => reply.complete(Err(JobError::rejected(error.report().to_string()))),
        }
        Ok(())
    }

    /// Returns the job key, the encoded call and the binding.
    fn encode(call: PortableCall, resources: &Resources) -> Result<(Digest, Bytes, Option<Binding>)> {
        let binding = call.binding.clone();
        let config = binding.as_ref().map(Binding::config).transpose()?;
        let key = job_key(&call, config.as_ref())?;
        let working_dir = resources.wanted_working_dir().map(std::path::absolute).transpose();
        let working_dir = working_dir.map_err(Error::io("resolve", "the `working_dir` of a call"))?;
        let encoded = format::encode_call(call, config, working_dir.as_deref(), resources.wanted_timeout())?;
        Ok((key, encoded, binding))
    }
}

#[typetag::serde(name = "slurm")]
impl ExecutorConfig for SlurmConfig {
    fn open(&self) -> Result<Arc<dyn Executor>> {
        Ok(Arc::new(Slurm::from_config(self.clone())?))
    }

    fn resolve(&mut self, directory: &Path) {
        self.resolve_directory(directory);
    }
}

/// Returns the key under which calls share a job: the call, the code of its function, and the cache. A call that may not be shared
/// gets a key of its own.
fn job_key(call: &PortableCall, binding: Option<&BindingConfig>) -> Result<Digest> {
    // With `FLECHE=refresh`, results of earlier runs do not count.
    let is_refreshed = fleche_core::spi::worker_environment().is_some();
    let Some(((key, code), binding)) = call.identity.zip(binding).filter(|_| !is_refreshed) else {
        return Ok(Digest::hash(format!("plain {}", process_id::mark()).as_bytes()));
    };
    let cache = fleche_core::encoding::to_vec(&binding.cache)?;
    let mut hasher = blake3::Hasher::new_derive_key("fleche 2026 Slurm job key v1");
    hasher.update(key.digest().as_bytes()).update(code.as_bytes()).update(&cache);
    Ok(Digest::from_bytes(*hasher.finalize().as_bytes()))
}

/// Returns why jobs cannot use the stores of the binding, or `None` if they can.
fn out_of_reach(binding: &Binding) -> Option<String> {
    let cache = binding.cache().config();
    if cache == fleche_core::Cache::void().config() {
        return None;
    }
    let is_shared = cache.values.reach() == Reach::Shared && cache.calls.reach() == Reach::Shared;
    (!is_shared).then(|| {
        "the stores of the call are not open to other processes, and its job runs on another machine; use the file store in a directory \
         on a file system that all nodes see, or PostgreSQL"
            .to_owned()
    })
}

/// The resource options that tasks may use, besides those of `sbatch`.
const KNOWN: [&str; 9] = ["cores", "memory_mb", "gpus", "timeout", "retries", "nodes", "tasks", "working_dir", "env"];

impl Executor for Slurm {
    fn submit_task(&self, task: Task) -> Result<(), SubmitError> {
        self.submit_with(task, &Resources::new())
    }

    fn submit_with(&self, task: Task, resources: &Resources) -> Result<(), SubmitError> {
        if ProcessLocal::is_inherited(&self.0.process) {
            let forked = Error::Forked { what: "the Slurm executor".to_owned() };
            return Err(task.refuse(forked.to_string()));
        }
        let known: Vec<&str> = KNOWN.into_iter().chain(resources.wanted_options().keys().map(String::as_str)).collect();
        let task = resources.known_to(task, "a Slurm executor", &known)?;
        self.accept(task, resources)
    }

    fn config(&self) -> Box<dyn ExecutorConfig> {
        Box::new(self.0.config.clone())
    }

    fn reach(&self) -> Reach {
        Reach::Shared
    }

    fn look_ahead(&self) -> usize {
        self.0.config.settings().max_queued
    }
}

impl fmt::Debug for Slurm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slurm").field("config", &self.0.config).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !ProcessLocal::is_inherited(&self.process) {
            self.shared.flush();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().ignore_poison()
    }

    fn submit(self: &Arc<Self>, call: NewCall<Waiter>) {
        let mut state = self.lock();
        if !state.is_running {
            match self.start() {
                Ok(()) => state.is_running = true,
                Err(error) => {
                    drop(state);
                    let why = format!("cannot start the thread that submits jobs: {error}");
                    return call.caller.complete(Outcome::of(Err(JobError::rejected(why))));
                }
            }
        }
        state.calls.push(call);
        state.is_submitting = true;
        self.woken.notify_one();
    }

    fn start(self: &Arc<Self>) -> io::Result<()> {
        let shared = self.clone();
        thread_spawner::spawn("fleche-slurm", move || shared.track()).map(drop)
    }

    /// Tracks calls until none is left.
    fn track(&self) {
        let _reads = ReaderThreadGuard::begin(self.pending.clone());
        let mut tracker =
            Tracker::new(InstalledCommands::new(), self.directory.clone(), self.config.clone(), self.program.clone());
        let before = self.lock().stats;
        loop {
            let (calls, cancelled) = {
                let mut state = self.lock();
                (mem::take(&mut state.calls), mem::take(&mut state.cancelled))
            };
            let next = tracker.step(calls, &cancelled);
            let mut state = self.lock();
            state.stats = before.and(tracker.stats());
            if !state.calls.is_empty() || !state.cancelled.is_empty() {
                continue;
            }
            if next.is_none() || !tracker.is_submitting() {
                state.is_submitting = false;
                self.submitted.notify_all();
            }
            match next {
                // Nothing is awaited.
                None => {
                    state.is_running = false;
                    return;
                }
                Some(time) => drop(self.woken.wait_timeout(state, time.max(Duration::from_millis(1)))),
            }
        }
    }

    fn flush(&self) {
        let state = self.lock();
        drop(self.submitted.wait_while(state, |state| state.is_submitting));
    }
}

/// The waiter for a call of this process.
struct Waiter {
    reply: Reply,
    hook: Arc<Hook>,
    /// Keeps the stores of the call open.
    binding: Option<Binding>,
    /// Tells the deadlock detection that an outcome will arrive.
    pending: PendingGuard,
}

impl Caller for Waiter {
    fn dispatch(&self, key: &Digest, place: &Place) -> bool {
        *self.hook.place.lock().ignore_poison() = Some((*key, place.clone()));
        self.reply.mark_dispatched()
    }

    fn start(&self) {
        // The job runs even if its last caller was cancelled at this moment: a cancellation removes the key first.
        self.reply.start();
    }

    fn is_cancelled(&self) -> bool {
        self.reply.is_cancelled()
    }

    fn complete(self, outcome: Outcome) {
        if let (Some(stats), Some(binding)) = (&outcome.stats, &self.binding) {
            binding.cache().merge_stats(stats);
        }
        let Self { reply, binding, pending, .. } = self;
        let Err((reply, result)) = reply.try_complete_inline(outcome.result) else { return };
        // Callbacks of the job may take long, and other calls must not wait for them.
        let done = move || {
            reply.complete(result);
            drop((binding, pending));
        };
        if let Err(error) = thread_spawner::spawn("fleche-done", done) {
            log::error!(%error, "cannot start the thread that runs the callbacks of a job, which fails");
        }
    }
}

/// Receives the cancellation of a call.
struct Hook {
    shared: Weak<Shared>,
    /// The key of the call and the element that runs it, once it is on its way to the scheduler.
    place: Mutex<Option<(Digest, Place)>>,
}

impl CancelHook for Hook {
    fn revoke(&self, _: JobId) -> bool {
        let Some(shared) = self.shared.upgrade() else { return false };
        let Some((key, place)) = self.place.lock().ignore_poison().clone() else { return false };
        if !shared.directory.remove_key(&key, &place).unwrap_or(false) {
            return false;
        }
        // The element shows its start before it reads the key.
        if shared.directory.has_started(&place) {
            // If it has read the key before, it runs. Otherwise it ends, and the call is submitted again.
            let _ = shared.directory.claim_key(&key, &place);
            return false;
        }
        true
    }

    fn cancelled(self: Arc<Self>, _: JobId) {
        let Some(shared) = self.shared.upgrade() else { return };
        let Some((_, place)) = self.place.lock().ignore_poison().clone() else { return };
        shared.lock().cancelled.push(place);
        shared.woken.notify_one();
    }
}
