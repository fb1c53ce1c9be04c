//! `ExecutorFixture`: the fixture of the cases of executors, and the functions that they submit, which any worker of the
//! same program can run.

use std::{
    ffi::CString,
    fmt, fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use fleche_core::{
    Cache, Executor, ExecutorExt, Job, JobError, Task,
    executor::{ExecutorConfig, ExecutorInfo, Resources, SubmitError, Wrapped},
    fleche,
    store::{Reach, backends},
    wrap_executor,
};
use tempfile::TempDir;

/// The time limit for a job, which is longer than any call of a case takes.
const TIMEOUT: Duration = Duration::from_mins(2);

/// An executor and an empty directory that belong to one case.
pub(crate) struct ExecutorFixture {
    pub(crate) info: &'static ExecutorInfo,
    pub(crate) executor: Arc<dyn Executor>,
    scratch: TempDir,
}

impl ExecutorFixture {
    pub(crate) fn new(info: &'static ExecutorInfo) -> Self {
        let executor = (info.scratch)().unwrap_or_else(|error| panic!("cannot create the executor: {error:?}"));
        let scratch = tempfile::Builder::new().prefix("fleche-conformance-").tempdir().unwrap();
        Self { info, executor, scratch }
    }

    /// Returns the path with this name in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Runs the test once for each linked backend, with a cache of that backend and its name.
    pub(crate) fn each_cache(&self, test: impl Fn(&Cache, &str)) {
        let backends = backends();
        assert!(!backends.is_empty(), "no backend is linked; link one with `use fleche_store_memory as _;`");
        for backend in backends {
            let directory = self.path(backend.name);
            fs::create_dir(&directory).unwrap();
            let (values, calls) = (backend.scratch)(&directory);
            let cache = Cache::new(values.open().unwrap(), calls.open().unwrap());
            cache.scope(|| test(&cache, backend.name));
        }
    }

    /// Returns the executor, wrapped, with a counter of the tasks that reach it.
    pub(crate) fn wrapped(&self) -> Wrapped<TaskCounter> {
        wrap_executor(TaskCounter { executor: self.executor.clone(), tasks: AtomicUsize::new(0) })
    }

    /// Occupies all workers until they are released. Does nothing if calls run in place.
    pub(crate) fn occupy_workers(&self) -> OccupiedWorkers {
        let gate = self.path("gate");
        let busy = (0..self.info.at_once).map(|at| {
            let started = self.path(&format!("started {at}"));
            let job = self.executor.submit(starts_then_waits, (started.clone(), gate.clone()));
            (started, job)
        });
        let (started, jobs): (Vec<_>, Vec<_>) = busy.unzip();
        started.into_iter().for_each(wait_for);
        OccupiedWorkers { gate, jobs }
    }

    /// Returns whether calls run before their submission returns.
    pub(crate) fn runs_in_place(&self) -> bool {
        self.info.at_once == 0
    }

    /// Returns whether calls run in other processes.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.info.reach != Reach::Process
    }
}

/// The jobs that occupy all workers of an executor.
pub(crate) struct OccupiedWorkers {
    gate: PathBuf,
    jobs: Vec<Job<()>>,
}

impl OccupiedWorkers {
    /// Releases the workers, and waits until the jobs have ended.
    pub(crate) fn release(self) {
        fs::write(self.gate, "").unwrap();
        for job in self.jobs {
            result(job).unwrap();
        }
    }
}

/// Returns the job's result, and fails the case if the job hangs.
pub(crate) fn result<T>(job: Job<T>) -> Result<T, JobError> {
    assert!(job.wait_timeout(TIMEOUT), "the job has not ended after {TIMEOUT:?}");
    job.result()
}

/// Returns the number of lines of this file, which is the number of bodies that ran.
pub(crate) fn lines(file: &Path) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().count()
}

/// An executor that counts the tasks that reach it.
pub(crate) struct TaskCounter {
    executor: Arc<dyn Executor>,
    tasks: AtomicUsize,
}

impl TaskCounter {
    pub(crate) fn tasks(&self) -> usize {
        self.tasks.load(SeqCst)
    }
}

impl Executor for TaskCounter {
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

    fn look_ahead(&self) -> usize {
        self.executor.look_ahead()
    }
}

impl fmt::Debug for TaskCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskCounter").field("tasks", &self.tasks()).finish_non_exhaustive()
    }
}

/// Appends a line to this file, to record that a body runs.
fn note(log: &Path) {
    let mut file = fs::File::options().create(true).append(true).open(log).unwrap();
    writeln!(file, "a body runs").unwrap();
}

/// Waits until the file exists, so that a case can decide when the body returns.
#[allow(clippy::needless_pass_by_value)] // Submitted, with its argument.
pub(super) fn wait_for(file: PathBuf) {
    let since = Instant::now();
    while !file.exists() {
        assert!(since.elapsed() < TIMEOUT, "timed out waiting for {}", file.display());
        thread::park_timeout(Duration::from_millis(1));
    }
}

#[allow(clippy::needless_pass_by_value)] // Submitted, with its arguments.
pub(super) fn starts_then_waits(started: PathBuf, gate: PathBuf) {
    fs::write(started, "").unwrap();
    wait_for(gate);
}

#[fleche]
#[allow(clippy::needless_pass_by_value)] // Submitted, with its arguments.
pub(super) fn square(#[by_name] log: PathBuf, x: i64) -> i64 {
    note(&log);
    x * x
}

/// A function without the attribute that makes memoized calls.
pub(super) fn sum_of_squares(log: PathBuf, x: i64, y: i64) -> i64 {
    square(log.clone(), x) + square(log, y)
}

#[fleche]
#[allow(clippy::needless_pass_by_value)] // Submitted, with its arguments.
pub(super) fn refuses(#[by_name] log: PathBuf, x: i64) -> Result<i64, String> {
    note(&log);
    Err(format!("{x} is refused"))
}

#[fleche]
#[allow(clippy::needless_pass_by_value)] // Submitted, with its arguments.
pub(super) fn panics(#[by_name] log: PathBuf, x: i64) -> i64 {
    note(&log);
    panic!("{x} is too much");
}

/// Reverses text. A `CString` is encoded as one byte string, which is fast even in a build without optimization.
#[fleche]
pub(super) fn reversed(text: CString) -> CString {
    let mut bytes = text.into_bytes();
    bytes.reverse();
    CString::new(bytes).unwrap()
}

pub(super) fn next(x: u64) -> u64 {
    x + 1
}

#[allow(clippy::needless_pass_by_value)] // Submitted, with its argument.
pub(super) fn writes(log: PathBuf) {
    note(&log);
}
