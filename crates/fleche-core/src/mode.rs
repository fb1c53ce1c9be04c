//! `FLECHE`: the variable that overrides how a whole process uses its caches.
//!
//! | `FLECHE` | what calls of memoized functions do |
//! |---|---|
//! | `off` | each runs its body; nothing is looked up and nothing is recorded |
//! | `readonly` | hits are served; nothing is recorded, claimed or evicted |
//! | `refresh` | each computes once in the run and replaces its record; after that it is a hit |
//!
//! The variable is read once, when the first cache is made. Worker processes inherit it.

use std::{
    env,
    ffi::OsString,
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// The environment variable.
const VARIABLE: &str = "FLECHE";
/// For worker processes: when the run began, in nanoseconds since 1970.
const SINCE_VARIABLE: &str = "FLECHE_REFRESH_SINCE";

/// What this process does with its caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Caches work as the program has set them up.
    Normal,
    /// Nothing.
    Off,
    /// Looks up and never writes.
    ReadOnly,
    /// Serves what was recorded since this moment only, in nanoseconds since 1970.
    Refresh(u64),
}

/// The mode, and the value of the variable where it is not known.
static READ: LazyLock<(Mode, Option<OsString>)> = LazyLock::new(|| {
    let Some(value) = env::var_os(VARIABLE).filter(|value| !value.is_empty()) else { return (Mode::Normal, None) };
    match value.to_str() {
        Some("off") => (Mode::Off, None),
        Some("readonly") => (Mode::ReadOnly, None),
        Some("refresh") => (Mode::Refresh(begun()), None),
        _ => (Mode::Normal, Some(value)),
    }
});

/// When the run began: with this process, or with the one whose worker it is.
fn begun() -> u64 {
    let inherited = env::var(SINCE_VARIABLE).ok().and_then(|since| since.parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    inherited.unwrap_or_else(|| u64::try_from(now()).unwrap_or(u64::MAX))
}

/// Returns the mode of this process. An unknown value is logged as an error, once.
pub(crate) fn mode() -> Mode {
    static SAID: AtomicBool = AtomicBool::new(false);
    let (mode, unknown) = &*READ;
    if let Some(value) = unknown
        && !SAID.swap(true, Relaxed)
    {
        let value = value.display();
        crate::log::error!("{VARIABLE}={value} is not known and has no effect: use `off`, `readonly` or `refresh`");
    }
    *mode
}

/// Returns since when records count, where only those of this run do.
pub(crate) fn refreshed_since() -> Option<u64> {
    match READ.0 {
        Mode::Refresh(since) => Some(since),
        _ => None,
    }
}

/// The environment that a worker process needs beside the one that it inherits.
pub fn worker_environment() -> Option<(&'static str, String)> {
    Some((SINCE_VARIABLE, refreshed_since()?.to_string()))
}
