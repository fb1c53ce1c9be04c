//! The scratch cluster that the tests share, and the directory of one test.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use fleche_core::{Cache, executor::Wrapped, wrap_executor};
use fleche_exec_slurm::{Slurm, SlurmConfig};
use fleche_store_file::{FileCalls, FileValues};
use tempfile::TempDir;

/// The limit of every wait, longer than anything that a test waits for.
const LIMIT: Duration = Duration::from_mins(2);

/// A directory of one test that all nodes see, with a cache.
pub(crate) struct Scratch {
    directory: TempDir,
    pub(crate) cache: Cache,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let root = env::var_os("FLECHE_SLURM_DIR").expect("run the tests by `cargo xtask slurm run`");
        let directory = tempfile::Builder::new().prefix("test-").tempdir_in(root).unwrap();
        let cache = cache(directory.path());
        Self { directory, cache }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns an executor of this test's directory, with this change of its configuration.
    pub(crate) fn executor(&self, change: impl FnOnce(SlurmConfig) -> SlurmConfig) -> Wrapped<Slurm> {
        executor(self.directory.path(), change)
    }

    /// Returns the number of lines that bodies have written to this file.
    pub(crate) fn lines(&self, name: &str) -> usize {
        fs::read_to_string(self.path(name)).unwrap_or_default().lines().count()
    }

    /// Returns the number of entries of a directory of the executor.
    pub(crate) fn files(&self, name: &str) -> usize {
        fn count(path: &Path) -> usize {
            let Ok(entries) = fs::read_dir(path) else { return 0 };
            entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        count(&self.path("shared").join(name))
    }
}

pub(crate) fn cache(directory: &Path) -> Cache {
    let values = FileValues::open(directory.join("cache/values")).unwrap();
    Cache::new(values, FileCalls::open(directory.join("cache/calls")).unwrap())
}

pub(crate) fn executor(directory: &Path, change: impl FnOnce(SlurmConfig) -> SlurmConfig) -> Wrapped<Slurm> {
    let config = SlurmConfig::jobs(directory.join("shared")).poll(Duration::from_secs(1));
    wrap_executor(Slurm::from_config(change(config)).unwrap())
}

/// Waits until the condition is true.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "timed out: {what}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// Runs a command of Slurm, and returns what it prints.
pub(crate) fn slurm(program: &str, arguments: &[&str]) -> String {
    let output = Command::new("timeout").arg("30").arg(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Appends a line to the file.
pub(crate) fn note(path: &Path) {
    let mut file = fs::File::options().create(true).append(true).open(path).unwrap();
    file.write_all(b"a body runs\n").unwrap();
}
