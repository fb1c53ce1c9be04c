//! The default cache, which is active on threads that have entered none, and the warning about guards that were dropped
//! before any lookup, as in `let _ = cache.enter();`.

use std::{
    cell::{Cell, RefCell},
    panic::Location,
    rc::Rc,
    sync::{
        Mutex,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Instant,
};

use crate::{
    cache::Cache,
    claim::InFlightCalls,
    config::{self, Fallback},
    runtime::{fork, lock::LockResultExt},
};

static DEFAULT: Mutex<Option<Cache>> = Mutex::new(None);
/// The installed caches, in order of installation.
static INSTALLED: Mutex<Vec<(u64, Cache)>> = Mutex::new(Vec::new());
/// The generation, which every change of [`DEFAULT`] and [`INSTALLED`] increments. Threads compare it to check without
/// a lock whether their copy is current.
static GENERATION: AtomicU64 = AtomicU64::new(1);
/// The number of caches that are installed within memoized bodies.
static INSTALLED_WITHIN: AtomicUsize = AtomicUsize::new(0);
/// The number of guards on all threads that keep a cache active.
static CACHES_ENTERED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static COPY: RefCell<Option<Copy>> = const { RefCell::new(None) };
}

/// A thread's handle of the default cache.
#[derive(Clone)]
struct Copy {
    /// The [`GENERATION`] for which this copy is valid.
    generation: u64,
    cache: Rc<Cache>,
    /// The time at which to ask for the cache again, or `None` if it is final.
    again: Option<Instant>,
}

/// Sets the default cache of all threads that have entered none, replacing an earlier default.
pub fn set_default_cache(cache: Cache) {
    // Calls in a forked child do not use it, and the lock may never be released there.
    if fork::is_child() {
        return;
    }
    let earlier = DEFAULT.lock().ignore_poison().replace(cache);
    GENERATION.fetch_add(1, Release);
    // Outside the lock, because dropping a cache may run code of its stores.
    drop(earlier);
}

/// Records that the default cache has changed.
pub(crate) fn default_changed() {
    GENERATION.fetch_add(1, Release);
}

/// A cache that is installed until this is dropped.
pub(super) struct Installed(u64);

impl Installed {
    pub(super) fn new(cache: Cache) -> Self {
        INSTALLED_WITHIN.fetch_add(usize::from(!cache.flights().is_empty()), Relaxed);
        // The generation serves as a unique id.
        let id = GENERATION.fetch_add(1, Relaxed);
        INSTALLED.lock().ignore_poison().push((id, cache));
        GENERATION.fetch_add(1, Release);
        Self(id)
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if fork::is_child() {
            return;
        }
        let mut installed = INSTALLED.lock().ignore_poison();
        let at = installed.iter().rposition(|(id, _)| *id == self.0);
        let ended = at.map(|at| installed.remove(at));
        drop(installed);
        GENERATION.fetch_add(1, Release);
        let within = ended.as_ref().is_some_and(|(_, cache)| !cache.flights().is_empty());
        INSTALLED_WITHIN.fetch_sub(usize::from(within), Relaxed);
        // Outside the lock, because dropping a cache may run code of its stores.
        drop(ended);
    }
}

/// Returns the in-flight calls within whose bodies the installed cache in force was installed.
pub(super) fn flights() -> InFlightCalls {
    if INSTALLED_WITHIN.load(Relaxed) == 0 || fork::is_child() {
        return InFlightCalls::default();
    }
    let installed = INSTALLED.lock().ignore_poison();
    installed.last().map(|(_, cache)| cache.flights().clone()).unwrap_or_default()
}

/// Returns the installed cache in force, or the default that was set, if there is either.
fn set_here() -> Option<Cache> {
    let installed = INSTALLED.lock().ignore_poison().last().map(|(_, cache)| cache.clone());
    installed.or_else(|| DEFAULT.lock().ignore_poison().clone())
}

/// Returns whether a cache is installed, or a default was set.
pub(super) fn is_set() -> bool {
    set_here().is_some()
}

/// Returns the generation of the default cache.
#[inline]
pub(super) fn generation() -> u64 {
    GENERATION.load(Acquire)
}

pub(super) fn cache_entered() {
    CACHES_ENTERED.fetch_add(1, Relaxed);
}

pub(super) fn cache_left() {
    CACHES_ENTERED.fetch_sub(1, Relaxed);
}

/// Returns the default cache through this thread's own copy of the handle.
pub(super) fn default_here() -> Rc<Cache> {
    let generation = generation();
    // A thread that is ending has no copy.
    let copy = COPY.try_with(|copy| copy.borrow().clone()).ok().flatten().filter(|copy| copy.generation == generation);
    if let Some(copy) = copy.as_ref().filter(|copy| copy.again.is_none_or(|again| Instant::now() < again)) {
        return copy.cache.clone();
    }
    let set = set_here().map(Fallback::from);
    let Fallback { cache, again, .. } = set.unwrap_or_else(|| {
        warn_if_entered_elsewhere();
        config::fallback()
    });
    let new = Copy { generation, cache: Rc::new(cache), again };
    let cache = new.cache.clone();
    // The old copy is taken out only now: calls made while the fallback was opened, such as by a logger, may have
    // stored one.
    let before = COPY.try_with(|copy| copy.replace(Some(new))).ok().flatten();
    if again.is_none() && before.is_some_and(|before| before.generation == generation && before.again.is_some()) {
        // Another cache was used until now, and threads remember its hot tier.
        default_changed();
    }
    cache
}

/// Warns once if another thread has entered a cache, because using the fallback is then probably a mistake.
fn warn_if_entered_elsewhere() {
    static WARNED: AtomicBool = AtomicBool::new(false);
    // No lock is held here, because a logger may call memoized functions.
    if CACHES_ENTERED.load(Relaxed) > 0 && !WARNED.swap(true, Relaxed) {
        crate::runtime::log::warn!(
            thread = std::thread::current().name().unwrap_or("unnamed"),
            "a memoized function is called on a thread that has entered no cache, while another thread has; threads do \
             not inherit what is entered. Bind the function (`Bound::bind`), submit through `wrap_executor`, or set a \
             default (`set_default_cache`)"
        );
    }
}

thread_local! {
    /// Whether the active cache was used since a watched cache was last entered.
    static IS_USED: Cell<bool> = const { Cell::new(true) };
    /// The place where the guard that was dropped last was created, if no lookup happened under it.
    static UNUSED: Cell<Option<&'static Location<'static>>> = const { Cell::new(None) };
}

/// Watches whether the active cache is used before a guard is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    place: &'static Location<'static>,
    /// Whether an outer cache was used.
    outer: bool,
}

impl Watch {
    /// Begins a watch. The caller's caller is where the cache is entered.
    #[track_caller]
    pub(super) fn begin() -> Self {
        UNUSED.set(None);
        Self { place: Location::caller(), outer: IS_USED.replace(false) }
    }

    /// Ends the watch when the guard is dropped.
    pub(super) fn end(self) {
        let is_used = IS_USED.get();
        UNUSED.set((!is_used).then_some(self.place));
        IS_USED.set(is_used || self.outer);
    }
}

/// Records that the active cache is used.
#[inline]
pub(super) fn mark_used() {
    IS_USED.set(true);
}

/// Warns once if a guard was dropped just before without a lookup under it. Called if a call finds no cache entered. If
/// the program has set a default, that may be intended, and there is no warning.
pub(super) fn warn_if_guard_was_unused(default_is_set: impl FnOnce() -> bool) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if let Some(place) = UNUSED.take().filter(|_| !default_is_set())
        && !WARNED.swap(true, Relaxed)
    {
        crate::runtime::log::warn!(
            "the cache entered at {place} was left before any look-up, and the next call finds no cache entered; if it was \
             meant to be active, bind the guard: `let _active = cache.enter();`"
        );
    }
}
