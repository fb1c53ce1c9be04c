//! Helpers of the tests: pools, caches, and waits with a limit.

use std::{
    path::{Path, PathBuf},
    process, thread,
    time::{Duration, Instant},
};

use fleche_core::{Cache, Job, JobError};
use fleche_exec::ProcessPool;
use fleche_store_file::{FileCalls, FileValues};
use fleche_store_memory::{MemoryCalls, MemoryValues};

/// A time limit that is longer than any test takes: a job that is not done by then hangs.
pub(crate) const HANGS: Duration = Duration::from_mins(1);

pub(crate) fn pool(processes: usize) -> ProcessPool {
    ProcessPool::new(processes).expect("the test binary has its worker test")
}

pub(crate) fn files(directory: &Path) -> Cache {
    Cache::new(FileValues::open(directory.join("values")).unwrap(), FileCalls::open(directory.join("calls")).unwrap())
}

pub(crate) fn memory() -> Cache {
    Cache::new(MemoryValues::new(), MemoryCalls::new())
}

/// Returns the job's result. Panics if the job hangs.
pub(crate) fn result<T>(job: Job<T>) -> Result<T, JobError> {
    assert!(job.wait_timeout(HANGS), "the job hangs");
    job.result()
}

/// Returns the process that runs it.
pub(crate) fn whoami() -> u32 {
    process::id()
}

/// Returns once the file exists. A test holds a worker with it.
#[allow(clippy::needless_pass_by_value)] // Submitted functions own their arguments.
pub(crate) fn wait_for(file: PathBuf) {
    let since = Instant::now();
    while !file.exists() {
        assert!(since.elapsed() < HANGS, "timed out waiting for {}", file.display());
        thread::yield_now();
        thread::park_timeout(Duration::from_millis(1));
    }
}
