//! The default cache: what is active where a thread has entered nothing.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{
        Mutex, Once, PoisonError,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use crate::{cache::Cache, config};

static DEFAULT: Mutex<Option<Cache>> = Mutex::new(None);
/// Grows with every change of [`DEFAULT`], so that threads know whether their copy is current without a lock.
static GENERATION: AtomicU64 = AtomicU64::new(1);
/// How many guards on all threads hold a cache active.
static CACHES_ENTERED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static COPY: RefCell<Option<(u64, Rc<Cache>)>> = const { RefCell::new(None) };
}

/// Sets the cache that every thread uses where it has entered none, in place of an earlier default.
pub fn set_default_cache(cache: Cache) {
    *DEFAULT.lock().unwrap_or_else(PoisonError::into_inner) = Some(cache);
    GENERATION.fetch_add(1, Release);
}

pub(super) fn cache_entered() {
    CACHES_ENTERED.fetch_add(1, Relaxed);
}

pub(super) fn cache_left() {
    CACHES_ENTERED.fetch_sub(1, Relaxed);
}

/// The default cache, through this thread's own copy of the handle.
pub(super) fn default_here() -> Rc<Cache> {
    let generation = GENERATION.load(Acquire);
    let copy = COPY.with_borrow(|copy| copy.as_ref().filter(|(of, _)| *of == generation).map(|(_, c)| c.clone()));
    copy.unwrap_or_else(|| {
        let set = DEFAULT.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let cache = Rc::new(set.unwrap_or_else(|| {
            warn_if_entered_elsewhere();
            config::fallback()
        }));
        let replaced = COPY.replace(Some((generation, cache.clone())));
        drop(replaced);
        cache
    })
}

/// Nobody means to use the fallback on one thread and another cache on the next.
fn warn_if_entered_elsewhere() {
    static WARNED: Once = Once::new();
    if CACHES_ENTERED.load(Relaxed) > 0 {
        WARNED.call_once(|| {
            tracing::warn!(
                thread = std::thread::current().name().unwrap_or("unnamed"),
                "a memoized function is called on a thread that has entered no cache, while another thread has; threads \
                 do not inherit what is entered. Bind the function (`Bound::bind`), submit through `wrap_executor`, \
                 or set a default (`set_default_cache`)"
            );
        });
    }
}
