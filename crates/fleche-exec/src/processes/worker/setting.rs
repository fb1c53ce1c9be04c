//! What a worker sets up around one body: working directory, limit of memory, GPUs.

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

use crate::processes::waiting::Setting;

/// Notes where the worker is, which is where every body begins. Called once, before any.
pub(super) fn begin() {
    LazyLock::force(&HOME);
}

/// Runs the body within the setting of these bytes; none where there are none. A body that goes to another working
/// directory goes alone.
///
/// # Errors
/// What the body gives; [`JobError::Rejected`] where the setting cannot be had, and then no body runs.
pub(super) fn within<R>(setting: &[u8], body: impl FnOnce() -> Result<R, JobError>) -> Result<R, JobError> {
    let _back = Back;
    if setting.is_empty() {
        return body();
    }
    let setting: Setting = encoding::from_slice(setting)
        .map_err(|error| JobError::rejected(format!("what the task asks for did not arrive: {error}")))?;
    let refused = |what: String, error: &dyn std::fmt::Display| JobError::rejected(format!("{what}: {error}"));
    if let Some(path) = setting.working_dir {
        let path = PathBuf::from(OsString::from_vec(path));
        let cannot = |error| refused(format!("the `working_dir` {} cannot be used", path.display()), &error);
        go(&path).map_err(cannot)?;
    }
    let limited = setting.memory_mb.map(|limit| {
        Limited::enter(limit).map_err(|error| refused(format!("`memory_mb` {limit} cannot be set as a limit"), &error))
    });
    let _limited = limited.transpose()?;
    with_assigned_gpus(Arc::from(setting.gpus), body)
}

/// Makes this the working directory, until the body has ended.
fn go(path: &Path) -> io::Result<()> {
    HOME.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    // What is looked up but once, and from the working directory, is not to be found out in another one.
    let _ = fleche_core::active_cache();
    env::set_current_dir(path)
}

/// Where the worker is between bodies. Held open, so that it is found again whatever becomes of its name.
static HOME: LazyLock<io::Result<OwnedFd>> = LazyLock::new(|| {
    // One that may be entered, and not listed, will do.
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(open(".", flags, Mode::empty())?)
});

/// The worker goes back when this is dropped, wherever a body has gone. One system call, which takes less than to find out
/// whether it is needed.
struct Back;

impl Drop for Back {
    fn drop(&mut self) {
        if let Ok(home) = &*HOME
            && let Err(error) = fchdir(home)
        {
            fleche_core::log::error!(%error, "the worker's own working directory cannot be entered again");
        }
    }
}

/// The process may not take more memory than a limit until this is dropped.
struct Limited {
    soft: rlim_t,
    hard: rlim_t,
}

impl Limited {
    /// So many MiB more than the process has.
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
            fleche_core::log::error!(%error, "the limit of memory stays in the worker");
        }
    }
}

/// The bytes that count towards the limit: `VmData` of `/proc/self/status`, see `proc_pid_status(5)`.
fn taken() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let size =
        status.lines().find_map(|line| line.strip_prefix("VmData:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    size.map(|kilobytes| kilobytes << 10).ok_or_else(|| io::Error::other("/proc/self/status has no `VmData`"))
}
