//! The default cache: what is active where a thread has entered nothing.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{
        Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Instant,
};

use crate::{
    cache::Cache,
    claim::Flights,
    config::{self, Fallback},
    context, fork,
};

static DEFAULT: Mutex<Option<Cache>> = Mutex::new(None);
/// The caches that are installed, the last one last.
static INSTALLED: Mutex<Vec<(u64, Cache)>> = Mutex::new(Vec::new());
/// Grows with every change of [`DEFAULT`] and [`INSTALLED`], so that threads know whether their copy is current without a lock.
static GENERATION: AtomicU64 = AtomicU64::new(1);
/// How many caches are installed by memoized bodies.
static INSTALLED_WITHIN: AtomicUsize = AtomicUsize::new(0);
/// How many guards on all threads hold a cache active.
static CACHES_ENTERED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static COPY: RefCell<Option<Copy>> = const { RefCell::new(None) };
}

/// A thread's handle of the default cache.
#[derive(Clone)]
struct Copy {
    /// When [`GENERATION`] was this, it was right.
    generation: u64,
    cache: Rc<Cache>,
    /// When to ask for it again; `None` where it stays.
    again: Option<Instant>,
}

/// Sets the cache that every thread uses where it has entered none, in place of an earlier default.
pub fn set_default_cache(cache: Cache) {
    // No call in a forked child uses it, and the lock may be held for good.
    if fork::is_child() {
        return;
    }
    let earlier = DEFAULT.lock().unwrap_or_else(PoisonError::into_inner).replace(cache);
    GENERATION.fetch_add(1, Release);
    // After the lock: dropping a cache may run code of its stores.
    drop(earlier);
}

/// Notes that the cache of threads that have entered none has changed.
pub(crate) fn default_changed() {
    GENERATION.fetch_add(1, Release);
}

impl Cache {
    /// Runs the closure with this cache active on this thread and, while it runs, on **every** thread of the process that
    /// has none entered, before any default. For pools whose threads are not ours, such as rayon's:
    ///
    /// ```
    /// # use fleche_core::{Cache, fleche};
    /// # use fleche_store_memory::{MemoryCalls, MemoryValues};
    /// use rayon::prelude::*;
    ///
    /// #[fleche]
    /// fn square(x: u64) -> u64 { x * x }
    ///
    /// # let cache = Cache::new(MemoryValues::new(), MemoryCalls::new());
    /// let sum: u64 = cache.install(|| (0..100_u64).into_par_iter().map(square).sum());
    /// # assert_eq!(sum, 328_350);
    /// assert_eq!(cache.stats().computed, 100);
    /// ```
    ///
    /// **Nested and overlapping.** Of several that run at once, whether one within the other or on two threads, the one
    /// that was installed last counts, on threads that have none entered; when it ends, in whatever order, the one
    /// installed last of those that still run. A thread that calls `install` uses its own cache all along. What other
    /// threads began before the closure ended may still use the cache afterwards: a call keeps the cache that it began
    /// with. Two studies with two caches at once therefore want `scope`, bound functions or
    /// [`wrap_executor`](crate::wrap_executor), which know of no other thread.
    ///
    /// Tags and kinds of metadata stay with their thread; carry them with [`Bound`](crate::Bound).
    pub fn install<R>(&self, run: impl FnOnce() -> R) -> R {
        let _installed = (!fork::is_child()).then(|| Installed::new(self.clone().within(context::flights())));
        self.scope(run)
    }
}

/// A cache is installed until this is dropped.
struct Installed(u64);

impl Installed {
    fn new(cache: Cache) -> Self {
        INSTALLED_WITHIN.fetch_add(usize::from(!cache.flights().is_empty()), Relaxed);
        // The generation serves as a number that nobody else has.
        let id = GENERATION.fetch_add(1, Relaxed);
        INSTALLED.lock().unwrap_or_else(PoisonError::into_inner).push((id, cache));
        GENERATION.fetch_add(1, Release);
        Self(id)
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if fork::is_child() {
            return;
        }
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        let at = installed.iter().rposition(|(id, _)| *id == self.0);
        let ended = at.map(|at| installed.remove(at));
        drop(installed);
        GENERATION.fetch_add(1, Release);
        let within = ended.as_ref().is_some_and(|(_, cache)| !cache.flights().is_empty());
        INSTALLED_WITHIN.fetch_sub(usize::from(within), Relaxed);
        // After the lock: dropping a cache may run code of its stores.
        drop(ended);
    }
}

/// The flights within whose bodies the cache is installed that counts.
pub(super) fn flights() -> Flights {
    if INSTALLED_WITHIN.load(Relaxed) == 0 || fork::is_child() {
        return Flights::default();
    }
    let installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    installed.last().map(|(_, cache)| cache.flights().clone()).unwrap_or_default()
}

/// The installed cache that counts, else the default that was set.
fn set_here() -> Option<Cache> {
    let installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner).last().map(|(_, cache)| cache.clone());
    installed.or_else(|| DEFAULT.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// Returns whether a cache is installed, or a default was set.
pub(super) fn is_set() -> bool {
    set_here().is_some()
}

/// Which default it is.
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

/// The default cache, through this thread's own copy of the handle.
pub(super) fn default_here() -> Rc<Cache> {
    let generation = generation();
    // A thread that is ending has no copy any more.
    let copy = COPY.try_with(|copy| copy.borrow().clone()).ok().flatten().filter(|copy| copy.generation == generation);
    if let Some(copy) = copy.as_ref().filter(|copy| copy.again.is_none_or(|again| Instant::now() < again)) {
        return copy.cache.clone();
    }
    let set = set_here().map(|cache| Fallback { cache, again: None });
    let Fallback { cache, again } = set.unwrap_or_else(|| {
        warn_if_entered_elsewhere();
        config::fallback()
    });
    let new = Copy { generation, cache: Rc::new(cache), again };
    let cache = new.cache.clone();
    // Taken out first: calls that finding it has made, as a logger may, have left a copy of what stood in for it.
    let before = COPY.try_with(|copy| copy.replace(Some(new))).ok().flatten();
    if again.is_none() && before.is_some_and(|before| before.generation == generation && before.again.is_some()) {
        // Another cache stood in for it, and its hot tier is what threads know.
        default_changed();
    }
    cache
}

/// Nobody means to use the fallback on one thread and another cache on the next.
fn warn_if_entered_elsewhere() {
    static WARNED: AtomicBool = AtomicBool::new(false);
    // No lock is held meanwhile: a logger may call memoized functions.
    if CACHES_ENTERED.load(Relaxed) > 0 && !WARNED.swap(true, Relaxed) {
        crate::log::warn!(
            thread = std::thread::current().name().unwrap_or("unnamed"),
            "a memoized function is called on a thread that has entered no cache, while another thread has; threads do \
             not inherit what is entered. Bind the function (`Bound::bind`), submit through `wrap_executor`, or set a \
             default (`set_default_cache`)"
        );
    }
}
