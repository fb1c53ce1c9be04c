//! The settings that a worker applies for one body: the working directory, the memory limit and the GPUs.

use std::{
    env,
    ffi::OsString,
    fs, io,
    os::{fd::OwnedFd, unix::ffi::OsStringExt},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use fleche_core::{JobError, encoding, executor::with_assigned_gpus};
use nix::{
    fcntl::{OFlag, open},
    sys::resource::{Resource, getrlimit, rlim_t, setrlimit},
    sys::stat::Mode,
    unistd::fchdir,
};

use crate::process_pool::queued_task::TaskEnv;

/// Notes the worker's working directory, in which every body begins. Called once, before any body runs.
pub(super) fn begin() {
    LazyLock::force(&HOME);
}

/// Runs the body with this encoded setting; empty for none. Afterwards, the worker is in its own working directory
/// again, even if the body has changed it.
///
/// # Errors
/// Fails with the body's error, or with [`JobError::Rejected`] if the setting cannot be applied; then no body runs.
pub(super) fn within<R>(setting: &[u8], body: impl FnOnce() -> Result<R, JobError>) -> Result<R, JobError> {
    let _restore = RestoreDirectory;
    if setting.is_empty() {
        return body();
    }
    let setting: TaskEnv = encoding::from_slice(setting)
        .map_err(|error| JobError::rejected(format!("the worker cannot decode the task's settings: {error}")))?;
    let refused = |what: String, error: &dyn std::fmt::Display| JobError::rejected(format!("{what}: {error}"));
    if let Some(path) = setting.working_dir {
        let path = PathBuf::from(OsString::from_vec(path));
        let cannot = |error| refused(format!("the `working_dir` {} cannot be used", path.display()), &error);
        enter_directory(&path).map_err(cannot)?;
    }
    let limited = setting.memory_mb.map(|limit| {
        Limited::enter(limit).map_err(|error| refused(format!("`memory_mb` {limit} cannot be set as a limit"), &error))
    });
    let _limited = limited.transpose()?;
    with_assigned_gpus(Arc::from(setting.gpus), body)
}

/// Changes the working directory, until the body has ended.
fn enter_directory(path: &Path) -> io::Result<()> {
    HOME.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    // The default cache is found once, by a search from the working directory. It must not start in the task's
    // directory.
    let _ = fleche_core::active_cache();
    env::set_current_dir(path)
}

/// The worker's own working directory. It is held open, so that it is found even if it was renamed.
static HOME: LazyLock<io::Result<OwnedFd>> = LazyLock::new(|| {
    // `O_PATH` suffices for a directory that may be entered but not listed.
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(open(".", flags, Mode::empty())?)
});

/// Returns the worker to its own working directory when dropped. This takes one system call, less than a check whether it
/// is needed.
struct RestoreDirectory;

impl Drop for RestoreDirectory {
    fn drop(&mut self) {
        if let Ok(home) = &*HOME
            && let Err(error) = fchdir(home)
        {
            fleche_core::spi::log::error!(%error, "cannot return to the worker's own working directory");
        }
    }
}

/// Limits the memory of the process until dropped.
struct Limited {
    soft: rlim_t,
    hard: rlim_t,
}

impl Limited {
    /// Limits the process to this many MiB more than it has.
    fn enter(more: u64) -> io::Result<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_DATA)?;
        let limit = taken()?.saturating_add(more.saturating_mul(1 << 20));
        setrlimit(Resource::RLIMIT_DATA, limit.min(soft), hard)?;
        Ok(Self { soft, hard })
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        if let Err(error) = setrlimit(Resource::RLIMIT_DATA, self.soft, self.hard) {
            fleche_core::spi::log::error!(%error, "cannot remove the memory limit of a task from its worker");
        }
    }
}

/// Returns the bytes that count towards the limit: `VmData` of `/proc/self/status`, see `proc_pid_status(5)`.
fn taken() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let size =
        status.lines().find_map(|line| line.strip_prefix("VmData:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    size.map(|kilobytes| kilobytes << 10).ok_or_else(|| io::Error::other("/proc/self/status has no `VmData`"))
}
