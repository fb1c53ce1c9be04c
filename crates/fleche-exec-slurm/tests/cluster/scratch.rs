//! The scratch cluster that the tests share, and the directory of one test.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
    time::{Duration, Instant},
};

use fleche_core::{Cache, executor::Wrapped, spi::LockResultExt, wrap_executor};
use fleche_exec_slurm::{Slurm, SlurmConfig};
use fleche_store_file::{FileCalls, FileValues};
use tempfile::TempDir;

/// The limit of every wait, longer than anything that a test waits for.
const LIMIT: Duration = Duration::from_mins(2);

/// Held by tests while they use the cluster; alone by those that stop parts of it.
static CLUSTER: RwLock<()> = RwLock::new(());

/// A directory of one test that all nodes see, with a cache.
pub(crate) struct Scratch {
    directory: TempDir,
    pub(crate) cache: Cache,
    _shared: Option<RwLockReadGuard<'static, ()>>,
    _alone: Option<RwLockWriteGuard<'static, ()>>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let shared = CLUSTER.read().ignore_poison();
        Self { _shared: Some(shared), ..Self::of_test() }
    }

    /// Like [`new`](Self::new), for a test that no other test may disturb, or that disturbs others.
    pub(crate) fn alone() -> Self {
        let alone = CLUSTER.write().ignore_poison();
        Self { _alone: Some(alone), ..Self::of_test() }
    }

    fn of_test() -> Self {
        let directory = tempfile::Builder::new().prefix("test-").tempdir_in(root()).unwrap();
        let cache = cache(directory.path());
        Self { directory, cache, _shared: None, _alone: None }
    }

    /// Returns the id of the only job.
    pub(crate) fn job(&self) -> String {
        let batches = fs::read_dir(self.path("shared/batches")).unwrap();
        let jobs: Vec<_> =
            batches.filter_map(|batch| fs::read_to_string(batch.unwrap().path().join("job")).ok()).collect();
        assert_eq!(jobs.len(), 1);
        jobs[0].clone()
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

fn root() -> PathBuf {
    env::var_os("FLECHE_SLURM_DIR").expect("run the tests by `cargo xtask slurm run`").into()
}

/// The process of the controller.
pub(crate) struct Controller(String);

impl Controller {
    pub(crate) fn new() -> Self {
        Self(fs::read_to_string(root().join("run/slurmctld.pid")).unwrap().trim().to_owned())
    }

    pub(crate) fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.0]).status().unwrap().success());
    }

    /// Kills the controller, and starts another one with the state that it has saved.
    pub(crate) fn kill_and_start(self) {
        self.signal("-KILL");
        // A process that no parent waits for stays as a zombie.
        let has_ended = |status: String| status.contains("\nState:\tZ");
        wait_until("the end of the controller", || {
            fs::read_to_string(format!("/proc/{}/status", self.0)).map_or(true, has_ended)
        });
        assert!(Command::new("slurmctld").status().unwrap().success());
        wait_until("the new controller", || {
            Command::new("timeout").args(["5", "squeue", "-h"]).output().unwrap().status.success()
        });
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
