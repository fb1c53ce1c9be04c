//! The environment variable `FLECHE`, which overrides how a whole process uses its caches.
//!
//! | `FLECHE` | what calls of memoized functions do |
//! |---|---|
//! | `off` | each runs its body; nothing is looked up and nothing is recorded |
//! | `readonly` | hits are served; nothing is recorded, claimed or evicted |
//! | `refresh` | each computes once per run and replaces its record; after that it is a hit |
//!
//! The variable is read once, when the first cache is created. Worker processes inherit it.

use std::{
    env,
    ffi::OsString,
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// The environment variable that sets the mode.
const VARIABLE: &str = "FLECHE";
/// The variable that tells worker processes when the run began, in nanoseconds since 1970.
const SINCE_VARIABLE: &str = "FLECHE_REFRESH_SINCE";

/// The use that this process makes of its caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Caches work as the program configured them.
    Normal,
    /// No cache is used.
    Off,
    /// Hits are served, and nothing is written.
    ReadOnly,
    /// Only results that were recorded since this time are served, in nanoseconds since 1970.
    Refresh(u64),
}

/// The mode, and the value of the variable if it is unknown.
static FROM_ENVIRONMENT: LazyLock<(Mode, Option<OsString>)> = LazyLock::new(|| {
    let Some(value) = env::var_os(VARIABLE).filter(|value| !value.is_empty()) else { return (Mode::Normal, None) };
    match value.to_str() {
        Some("off") => (Mode::Off, None),
        Some("readonly") => (Mode::ReadOnly, None),
        Some("refresh") => (Mode::Refresh(begun()), None),
        _ => (Mode::Normal, Some(value)),
    }
});

/// Returns when the run began. A worker process inherits this time.
fn begun() -> u64 {
    let inherited = env::var(SINCE_VARIABLE).ok().and_then(|since| since.parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    inherited.unwrap_or_else(|| u64::try_from(now()).unwrap_or(u64::MAX))
}

/// Returns the mode of this process. Logs an error, once, if the variable's value is unknown.
pub(crate) fn mode() -> Mode {
    static LOGGED: AtomicBool = AtomicBool::new(false);
    let (mode, unknown) = &*FROM_ENVIRONMENT;
    if let Some(value) = unknown
        && !LOGGED.swap(true, Relaxed)
    {
        let value = value.display();
        crate::runtime::log::error!(
            "{VARIABLE}={value} is not known and has no effect: use `off`, `readonly` or `refresh`"
        );
    }
    *mode
}

/// Returns the time at which this run began, if only records that were written since then count. Otherwise returns
/// `None`.
pub(crate) fn refreshed_since() -> Option<u64> {
    match FROM_ENVIRONMENT.0 {
        Mode::Refresh(since) => Some(since),
        _ => None,
    }
}

/// Returns the variable that a worker process needs in addition to the environment that it inherits, if it needs one.
pub fn worker_environment() -> Option<(&'static str, String)> {
    Some((SINCE_VARIABLE, refreshed_since()?.to_string()))
}
