//! The cache for calls where nothing is entered and no default was set.

use std::{
    cell::Cell,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    ConfigFile,
    named::{from_files, is_ignored, memory},
};
use crate::{
    cache::Cache,
    error::Error,
    fork,
    mode::{Mode, mode},
    panics::contain,
};

/// The pause after which a configuration that could not be used is tried again: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// The cache for calls where nothing is entered and no default was set: what the configuration files say, else memory if that
/// store is linked, else void.
#[derive(Clone)]
pub(crate) struct Fallback {
    pub(crate) cache: Cache,
    /// When to ask for it again; `None` where it stays.
    pub(crate) again: Option<Instant>,
}

impl Fallback {
    fn void() -> Self {
        Self { cache: Cache::void(), again: None }
    }

    /// Returns whether this need not be asked for again yet.
    fn is_current(&self) -> bool {
        self.again.is_none_or(|again| Instant::now() < again)
    }
}

/// What this process has found.
struct Found {
    fallback: Option<Fallback>,
    /// Whether a thread is opening it.
    is_sought: bool,
    pause: Duration,
    /// Why it could not be used when it was last tried.
    failure: Option<String>,
}

static FOUND: Mutex<Found> = Mutex::new(Found { fallback: None, is_sought: false, pause: PAUSES.0, failure: None });
static SETTLED: Condvar = Condvar::new();

thread_local! {
    /// Whether this thread is opening it.
    static SEEKS: Cell<bool> = const { Cell::new(false) };
}

fn lock() -> MutexGuard<'static, Found> {
    FOUND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the cache for calls where nothing is entered and no default was set. A configuration that cannot be used is logged as
/// an error, and tried again after a pause; another cache stands in for it until then.
///
/// Calls that opening it makes itself, as a logger may, run without a cache.
pub(crate) fn fallback() -> Fallback {
    if fork::is_child() || mode() == Mode::Off || is_ignored() {
        return Fallback::void();
    }
    if SEEKS.get() {
        return Fallback { again: Some(Instant::now()), ..Fallback::void() };
    }
    let mut found = lock();
    loop {
        match &found.fallback {
            Some(known) if found.is_sought || known.is_current() => return known.clone(),
            None if found.is_sought => found = SETTLED.wait(found).unwrap_or_else(PoisonError::into_inner),
            _ => break,
        }
    }
    found.is_sought = true;
    drop(found);
    SEEKS.set(true);
    let opened = contain(open).unwrap_or_else(|panic| Err(format!("opening it {panic}")));
    let (cache, failure) = match opened {
        Ok(configured) => (configured, None),
        Err(failure) => (None, Some(failure)),
    };
    let cache = cache.or_else(|| memory().ok());
    SEEKS.set(false);
    let keeps_nothing = cache.is_none();
    let (fallback, is_first) = lock().settle(cache.unwrap_or_else(Cache::void), failure.clone());
    SETTLED.notify_all();
    // Last, since a logger may call memoized functions.
    if let Some(failure) = failure.filter(|_| is_first) {
        crate::log::error!("the cache configuration cannot be used, so results are not kept on disk: {failure}");
    }
    if keeps_nothing && is_first {
        crate::log::warn!(
            "no cache is entered, set as default or configured, and no memory store is linked: nothing is kept"
        );
    }
    fallback
}

/// Opens the cache that is configured; `None` if none is.
fn open() -> Result<Option<Cache>, String> {
    let open = || {
        let files = ConfigFile::from_environment()?;
        files.chosen()?.map(|name| from_files(name, &files)).transpose()
    };
    open().map_err(|error: Error| error.to_string())
}

impl Found {
    /// Keeps what was opened, or what stands in for it after a failure. Also returns whether this failure was not the last one
    /// too.
    fn settle(&mut self, cache: Cache, failure: Option<String>) -> (Fallback, bool) {
        let again = failure.is_some().then(|| Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(PAUSES.1);
        let is_first = self.fallback.is_none() || failure.is_some() && self.failure != failure;
        let fallback = Fallback { cache, again };
        *self = Self { fallback: Some(fallback.clone()), is_sought: false, pause: self.pause, failure };
        (fallback, is_first)
    }
}
