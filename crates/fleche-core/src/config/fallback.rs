//! The fallback cache, for calls without an entered cache or a default.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;

use super::{CacheConfig, ConfigFile, did_you_mean, list};
use crate::{
    cache::{Cache, HotTier},
    encoding,
    error::{Error, Result},
    runtime::{
        fork,
        lock::LockResultExt,
        mode::{Mode, mode},
        panics::contain,
    },
};

/// The shortest and the longest pause before a configuration that could not be used is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// The fallback cache: the one from the configuration files, else the memory cache if that store is linked, else void.
#[derive(Clone)]
pub(crate) struct Fallback {
    pub(crate) cache: Cache,
    /// The time at which to ask for the fallback again, or `None` if this one is final.
    pub(crate) again: Option<Instant>,
    /// The reason why the configuration could not be used at the last attempt, if this cache replaces the configured
    /// one.
    failure: Option<Arc<str>>,
}

/// Creates a fallback that is final.
impl From<Cache> for Fallback {
    fn from(cache: Cache) -> Self {
        Self { cache, again: None, failure: None }
    }
}

impl Fallback {
    /// Returns whether this fallback is still valid without another request.
    fn is_current(&self) -> bool {
        self.again.is_none_or(|again| Instant::now() < again)
    }
}

/// The state of the fallback in this process.
struct State {
    fallback: Option<Fallback>,
    /// Whether a thread is opening the cache.
    is_opening: bool,
    pause: Duration,
}

static STATE: Mutex<State> = Mutex::new(State { fallback: None, is_opening: false, pause: PAUSES.0 });
static OPENED: Condvar = Condvar::new();

thread_local! {
    /// Whether this thread is opening the cache.
    static IS_OPENING: Cell<bool> = const { Cell::new(false) };
}

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().ignore_poison()
}

/// Returns the fallback cache. If the configuration cannot be used, logs an error, and tries again after a pause; until
/// then, another cache is used.
///
/// Calls that are made while opening the cache, such as by a logger, run without a cache.
pub(crate) fn fallback() -> Fallback {
    // Before the lock, which another thread may hold at a fork.
    fork::watch();
    if fork::is_child() || mode() == Mode::Off || is_ignored() {
        return Cache::void().into();
    }
    if IS_OPENING.get() {
        return Fallback { again: Some(Instant::now()), ..Cache::void().into() };
    }
    let mut state = lock();
    loop {
        match &state.fallback {
            Some(known) if state.is_opening || known.is_current() => return known.clone(),
            None if state.is_opening => state = OPENED.wait(state).ignore_poison(),
            _ => break,
        }
    }
    state.is_opening = true;
    drop(state);
    IS_OPENING.set(true);
    let opened = contain(open).unwrap_or_else(|panic| Err(format!("opening it {panic}")));
    let (cache, failure) = match opened {
        Ok(configured) => (configured, None),
        Err(failure) => (None, Some(failure)),
    };
    let cache = cache.or_else(|| memory().ok());
    IS_OPENING.set(false);
    let keeps_nothing = cache.is_none();
    let (fallback, is_first) = lock().set_opened(cache.unwrap_or_else(Cache::void), failure.clone());
    OPENED.notify_all();
    // After everything else, because a logger may call memoized functions.
    if let Some(failure) = failure.filter(|_| is_first) {
        crate::runtime::log::error!(
            "the cache configuration cannot be used, so results are not kept on disk: {failure}"
        );
    }
    if keeps_nothing && is_first {
        crate::runtime::log::warn!(
            "no cache is entered, set as default or configured, and no memory store is linked, so results are not kept: \
             configure a cache in `fleche.toml`, or add `use fleche_store_memory as _;` to the program"
        );
    }
    fallback
}

/// Returns the fallback cache, unless it replaces the configured one.
///
/// # Errors
/// Fails with [`Error::Config`] if the configuration could not be used at the last attempt.
pub(super) fn configured() -> Result<Cache> {
    let Fallback { cache, failure, .. } = fallback();
    match failure {
        None => Ok(cache),
        Some(why) => Err(Error::Config { place: "default cache".to_owned(), why: (*why).to_owned() }),
    }
}

/// Opens the configured cache. Returns `None` if no cache is configured.
fn open() -> std::result::Result<Option<Cache>, String> {
    let open = || {
        let files = ConfigFile::from_environment()?;
        files.default_name()?.map(|name| from_files(name, &files)).transpose()
    };
    open().map_err(|error: Error| error.report().to_string())
}

impl State {
    /// Stores the opened cache, or its replacement after a failure. Also returns whether this is the first result, or a
    /// failure that differs from the last one.
    fn set_opened(&mut self, cache: Cache, failure: Option<String>) -> (Fallback, bool) {
        let again = failure.is_some().then(|| Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(PAUSES.1);
        let before = self.fallback.as_ref().map(|fallback| fallback.failure.as_deref());
        let is_first = before.is_none_or(|before| failure.is_some() && before != failure.as_deref());
        let fallback = Fallback { cache, again, failure: failure.map(Arc::from) };
        *self = Self { fallback: Some(fallback.clone()), is_opening: false, pause: self.pause };
        (fallback, is_first)
    }
}

pub(super) fn from_files(name: &str, files: &ConfigFile) -> Result<Cache> {
    match name {
        "memory" => return memory(),
        "void" => return Ok(Cache::void()),
        _ => {}
    }
    let config = files.caches.get(name).ok_or_else(|| {
        let known: Vec<_> = files.caches.keys().map(String::as_str).chain(["memory", "void"]).collect();
        let near = did_you_mean(name, known.iter().copied());
        let read: Vec<_> = files.files.iter().map(|file| file.display().to_string()).collect();
        let read = if read.is_empty() { "no configuration file is in force".to_owned() } else { read.join(", ") };
        unusable_configuration(format!("there is no cache `{name}`{near} Known caches: {} ({read})", list(known)))
    })?;
    Cache::from_config(config)
}

pub(super) fn unusable_configuration(why: String) -> Error {
    Error::Config { place: "cache configuration".to_owned(), why }
}

/// The number of guards that ignore the configuration.
static IGNORED: AtomicUsize = AtomicUsize::new(0);

pub(super) fn is_ignored() -> bool {
    IGNORED.load(Relaxed) > 0
}

/// Counts one more guard that ignores the configuration, or one fewer.
pub(crate) fn ignore(more: bool) {
    if more {
        IGNORED.fetch_add(1, Relaxed)
    } else {
        IGNORED.fetch_sub(1, Relaxed)
    };
}

/// Returns the process-wide memory cache, if the memory backend is linked.
pub(super) fn memory() -> Result<Cache> {
    static MEMORY: OnceLock<Cache> = OnceLock::new();
    if let Some(cache) = MEMORY.get() {
        return Ok(cache.clone());
    }
    let cache = new_memory()?;
    Ok(MEMORY.get_or_init(|| cache).clone())
}

/// Creates a memory cache, if the memory backend is linked.
pub(crate) fn new_memory() -> Result<Cache> {
    let (values, calls) = (default_config("memory")?, default_config("memory")?);
    Cache::from_config(&CacheConfig { values, calls, store_arguments: true, hot: HotTier::DEFAULT, stale: None })
}

/// Returns the configuration of this backend without settings.
fn default_config<C: DeserializeOwned>(backend: &str) -> Result<C> {
    Ok(encoding::from_slice(&encoding::to_vec(&BTreeMap::from([("type", backend)]))?)?)
}
