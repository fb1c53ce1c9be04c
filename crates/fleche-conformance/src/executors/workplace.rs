//! `Workplace`: what a case of executors works with.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use fleche_core::{
    Cache, Executor, ExecutorExt, Job, JobError, Task,
    executor::{ExecutorConfig, ExecutorInfo, Resources, SubmitError, Wrapped},
    store::{Reach, backends},
    wrap_executor,
};
use tempfile::TempDir;

use super::bodies::{starts_then_waits, wait_for};

/// Longer than any call of a case takes.
const PATIENCE: Duration = Duration::from_mins(2);

/// An executor that the case has for itself, and an empty directory.
pub(crate) struct Workplace {
    pub(crate) info: &'static ExecutorInfo,
    pub(crate) executor: Arc<dyn Executor>,
    scratch: TempDir,
}

impl Workplace {
    pub(crate) fn new(info: &'static ExecutorInfo) -> Self {
        let executor = (info.scratch)().unwrap_or_else(|error| panic!("the executor cannot be made: {error}"));
        let scratch = tempfile::Builder::new().prefix("fleche-conformance-").tempdir().unwrap();
        Self { info, executor, scratch }
    }

    /// A path in the directory, where nothing is yet.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Runs the test with a cache of each backend that is linked, and with its name.
    pub(crate) fn each_cache(&self, test: impl Fn(&Cache, &str)) {
        let backends = backends();
        assert!(!backends.is_empty(), "no backend is linked: name one, `use fleche_store_memory as _;`");
        for backend in backends {
            let directory = self.path(backend.name);
            fs::create_dir(&directory).unwrap();
            let (values, calls) = (backend.scratch)(&directory);
            let cache = Cache::of(values.open().unwrap(), calls.open().unwrap(), true);
            cache.scope(|| test(&cache, backend.name));
        }
    }

    /// The executor, counted and wrapped.
    pub(crate) fn wrapped(&self) -> Wrapped<Counted> {
        wrap_executor(Counted { executor: self.executor.clone(), tasks: AtomicUsize::new(0) })
    }

    /// Keeps all that the executor has busy, until the gate is opened. Nothing, where calls run in place.
    pub(crate) fn occupied(&self) -> Occupied {
        let gate = self.path("gate");
        let busy = (0..self.info.at_once).map(|at| {
            let started = self.path(&format!("started {at}"));
            let job = self.executor.submit(starts_then_waits, (started.clone(), gate.clone()));
            (started, job)
        });
        let (started, jobs): (Vec<_>, Vec<_>) = busy.unzip();
        started.into_iter().for_each(wait_for);
        Occupied { gate, jobs }
    }

    /// Whether calls run before their submission returns.
    pub(crate) fn runs_in_place(&self) -> bool {
        self.info.at_once == 0
    }

    /// Whether calls run in other processes.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.info.reach != Reach::Process
    }
}

/// What keeps an executor busy.
pub(crate) struct Occupied {
    gate: PathBuf,
    jobs: Vec<Job<()>>,
}

impl Occupied {
    /// Lets the executor go.
    pub(crate) fn release(self) {
        fs::write(self.gate, "").unwrap();
        for job in self.jobs {
            result(job).unwrap();
        }
    }
}

/// What became of the job; a failed case where it hangs.
pub(crate) fn result<T>(job: Job<T>) -> Result<T, JobError> {
    assert!(job.wait_timeout(PATIENCE), "a job has not ended after {PATIENCE:?}");
    job.result()
}

/// How many lines this file has: each body writes one.
pub(crate) fn lines(file: &Path) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().count()
}

/// An executor that counts the tasks that reach it.
pub(crate) struct Counted {
    executor: Arc<dyn Executor>,
    tasks: AtomicUsize,
}

impl Counted {
    pub(crate) fn tasks(&self) -> usize {
        self.tasks.load(SeqCst)
    }
}

impl Executor for Counted {
    fn submit_task(&self, task: Task) -> Result<(), SubmitError> {
        self.tasks.fetch_add(1, SeqCst);
        self.executor.submit_task(task)
    }

    fn submit_with(&self, task: Task, resources: &Resources) -> Result<(), SubmitError> {
        self.tasks.fetch_add(1, SeqCst);
        self.executor.submit_with(task, resources)
    }

    fn config(&self) -> Box<dyn ExecutorConfig> {
        self.executor.config()
    }

    fn reach(&self) -> Reach {
        self.executor.reach()
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").field("tasks", &self.tasks()).finish_non_exhaustive()
    }
}
