//! The context of a thread: the active cache, the metadata to collect, tags, and whether calls are rerun.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    marker::PhantomData,
    rc::Rc,
    sync::{Arc, LazyLock},
};

use super::{
    binding::{Binding, InCacheCount, Rest, union},
    default::{self, Installed, Watch},
};
use crate::{
    cache::{Cache, FIRST_ID, thread_ends},
    call::CallKey,
    claim::{InFlightCall, InFlightCalls, with_enclosing},
    metadata::{Kinds, MetadataKind, Runtime},
    runtime::fork,
};

/// The entry that a guard adds to the stack. Each guard has its own entry, so guards may end in any order.
pub(super) enum Entry {
    Cache(Rc<Cache>),
    Kinds(Kinds),
    Tag(String, String),
    Rerun,
    /// Sets everything at once and hides all earlier entries.
    Bound(Rc<Binding>, Rc<Cache>),
    /// Hides all earlier entries.
    Nothing,
    /// The thread runs part of this in-flight call's body. Never hidden, because the body cannot end before this work
    /// ends.
    Flight(Arc<InFlightCall>),
}

thread_local! {
    static ENTERED: RefCell<Vec<(u64, Entry)>> = const { RefCell::new(Vec::new()) };
    static NEXT_ID: Cell<u64> = const { Cell::new(0) };
}

/// A guard that leaves the entered cache, tags or kinds when it is dropped. Guards nest, may end in any order, and stay on
/// their thread.
#[must_use = "bind it, `let _active = cache.enter();`: what was entered ends when this is dropped, at once with `let _ = …`"]
#[derive(Debug)]
pub struct Guard {
    id: u64,
    cache: bool,
    /// The watch for use of the cache, if the user has entered one.
    watch: Option<Watch>,
    stays_on_its_thread: PhantomData<*const ()>,
}

pub(super) fn enter(entry: Entry) -> Guard {
    let id = NEXT_ID.replace(NEXT_ID.get() + 1);
    let cache = matches!(entry, Entry::Cache(_) | Entry::Bound(..));
    if cache {
        default::cache_entered();
    }
    // Entering fails only on a thread that is ending; see `with_entered`.
    let _ = ENTERED.try_with(|entered| entered.borrow_mut().push((id, entry)));
    changed();
    Guard { id, cache, watch: None, stays_on_its_thread: PhantomData }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Dropped outside the borrow, because dropping a cache may run user code.
        let ended = ENTERED.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            let at = entered.iter().rposition(|(id, _)| *id == self.id)?;
            Some(entered.remove(at))
        });
        changed();
        drop(ended);
        if let Some(watch) = self.watch.take() {
            watch.end();
        }
        if self.cache {
            default::cache_left();
        }
    }
}

impl Cache {
    /// Makes this the active cache of this thread until the guard is dropped. Guards nest. Threads that are started in
    /// between do not inherit the cache.
    ///
    /// The guard is not `Send` and must not be held across an `.await`. Bind it to a name:
    /// `let _active = cache.enter();`. With `let _ = cache.enter();` it is dropped at once, and the following calls do not use the
    /// cache. The lint `clippy::let_underscore_must_use` finds this mistake. At run time, if nothing was looked up
    /// before a guard was dropped, and the next call on its thread finds neither an entered cache nor a default, a
    /// warning names the line, once per process.
    #[must_use = "bind it, `let _active = cache.enter();`: the cache is active until the guard is dropped"]
    #[track_caller]
    pub fn enter(&self) -> Guard {
        let mut guard = self.enter_unwatched();
        guard.watch = Some(Watch::begin());
        guard
    }

    fn enter_unwatched(&self) -> Guard {
        enter(Entry::Cache(Rc::new(self.clone())))
    }

    /// Runs the closure with this cache active on this thread.
    pub fn scope<R>(&self, run: impl FnOnce() -> R) -> R {
        let _active = self.enter_unwatched();
        run()
    }
}

/// Returns the cache that calls on this thread use now: the one entered last, else the default, else the one from the
/// configuration files, else the memory cache.
///
/// The handle remembers the memoized body that asks for it. Work that other threads do with the handle, such as those
/// of a pool that the body uses, counts as part of that body: a call there that could only wait for this body is
/// computed directly.
pub fn active_cache() -> Cache {
    Cache::clone(&active()).within(flights())
}

/// Passes the entries of this thread to the closure. The list is empty if the thread is ending and its locals are
/// gone, because destructors may call memoized functions.
fn with_entered<R>(look: impl Fn(&[(u64, Entry)]) -> R) -> R {
    ENTERED.try_with(|entered| look(&entered.borrow())).unwrap_or_else(|_| look(&[]))
}

/// Like [`active_cache`], without touching a counter that threads share.
pub(crate) fn active() -> Rc<Cache> {
    active_and_origin().0
}

/// Like [`active`], and returns whether the cache is the default.
pub(super) fn active_and_origin() -> (Rc<Cache>, bool) {
    default::mark_used();
    if thread_ends() || fork::is_child() {
        return (Rc::new(Cache::void()), false);
    }
    let entered = ENTERED.try_with(|entered| {
        entered.borrow().iter().rev().find_map(|(_, entry)| match entry {
            Entry::Cache(cache) | Entry::Bound(_, cache) => Some(Some(cache.clone())),
            Entry::Nothing => Some(None),
            _ => None,
        })
    });
    match entered.map(Option::flatten) {
        Ok(Some(entered)) => (entered, false),
        Ok(None) => {
            default::warn_if_guard_was_unused(default::is_set);
            (default::default_here(), true)
        }
        // The thread is ending, and the cache's other thread-local state may be gone too, so calls run without it.
        Err(_) => (Rc::new(Cache::void()), false),
    }
}

/// Returns the binding of the active cache, or `None` if the cache is the default or was entered in another way.
pub(super) fn bound() -> Option<Rc<Binding>> {
    let look = |entered: &RefCell<Vec<(u64, Entry)>>| {
        entered.borrow().iter().rev().find_map(|(_, entry)| match entry {
            Entry::Bound(binding, _) => Some(Some(binding.clone())),
            Entry::Cache(_) | Entry::Nothing => Some(None),
            _ => None,
        })
    };
    ENTERED.try_with(look).ok().flatten().flatten()
}

/// Returns whether calls on this thread run even if their record exists.
pub(crate) fn is_rerun() -> bool {
    with_entered(|entered| {
        entered
            .iter()
            .rev()
            .find_map(|(_, entry)| match entry {
                Entry::Rerun => Some(true),
                Entry::Bound(binding, _) => Some(binding.rest.rerun),
                Entry::Nothing => Some(false),
                _ => None,
            })
            .unwrap_or(false)
    })
}

/// Runs the closure with all memoized calls in it rerun.
pub(crate) fn rerun<R>(run: impl FnOnce() -> R) -> R {
    let _again = enter(Entry::Rerun);
    run()
}

/// Returns the in-flight calls whose bodies cannot end before the current work of this thread. Their parents are
/// implied.
pub(crate) fn flights() -> InFlightCalls {
    with_entered(|entered| {
        let mut flights: Vec<Arc<InFlightCall>> = Vec::new();
        let mut add = |those: &[Arc<InFlightCall>]| {
            for flight in those {
                if !flights.iter().any(|known| Arc::ptr_eq(known, flight)) {
                    flights.push(flight.clone());
                }
            }
        };
        // Entered caches hide installed ones. The search ends at an in-flight call, whose parents are implied.
        let mut is_default = true;
        for (_, entry) in entered.iter().rev() {
            match entry {
                Entry::Flight(flight) => {
                    add(std::slice::from_ref(flight));
                    break;
                }
                Entry::Bound(binding, _) => add(&binding.rest.flights),
                Entry::Cache(cache) => add(cache.flights()),
                _ => continue,
            }
            is_default = false;
        }
        if is_default {
            add(&default::flights());
        }
        flights.into_iter().collect()
    })
}

/// Returns the keys of the calls whose bodies cannot end before the current work of this thread. For stores that
/// are accessed through another process.
pub fn enclosing_calls() -> Vec<CallKey> {
    with_enclosing(&flights()).iter().map(|flight| flight.call_id().key).collect()
}

/// Makes the work on this thread part of the body of this in-flight call until the guard is dropped.
pub(crate) fn within(flight: &Arc<InFlightCall>) -> Guard {
    enter(Entry::Flight(flight.clone()))
}

/// Runs the closure as on a thread with nothing entered. For executors that run one task within another.
pub(crate) fn with_empty_context<R>(run: impl FnOnce() -> R) -> R {
    let _nothing = enter(Entry::Nothing);
    run()
}

/// Returns the kinds of metadata to collect and the tags of this thread.
pub(crate) fn metadata() -> (Kinds, BTreeMap<String, String>) {
    static DEFAULT_KINDS: LazyLock<Kinds> = LazyLock::new(|| Arc::new([Arc::new(Runtime)]));
    with_entered(|entered| {
        let mut kinds = None;
        let mut tags = BTreeMap::new();
        for (_, entry) in entered.iter().rev() {
            match entry {
                Entry::Kinds(wanted) => kinds = kinds.or_else(|| Some(wanted.clone())),
                Entry::Tag(name, value) => {
                    tags.entry(name.clone()).or_insert_with(|| value.clone());
                }
                Entry::Bound(binding, _) => {
                    kinds = kinds.or_else(|| Some(binding.kinds.clone()));
                    for (name, value) in &binding.rest.tags {
                        tags.entry(name.clone()).or_insert_with(|| value.clone());
                    }
                    break;
                }
                Entry::Nothing => break,
                Entry::Cache(_) | Entry::Rerun | Entry::Flight(_) => {}
            }
        }
        (kinds.unwrap_or_else(|| DEFAULT_KINDS.clone()), tags)
    })
}

/// A label that is recorded with every call computed while it is entered.
#[derive(Clone, Debug)]
#[must_use = "a tag does nothing until it is entered"]
pub struct Tag(String, String);

/// Creates a label for the calls computed while it is entered: `tag("project", "alloy").enter()`. It is recorded under
/// [`TAGS`](crate::metadata::TAGS). The inner one of two tags with the same name is used.
pub fn tag(name: impl Into<String>, value: impl Into<String>) -> Tag {
    Tag(name.into(), value.into())
}

impl Tag {
    /// Sets the tag on this thread until the guard is dropped.
    pub fn enter(self) -> Guard {
        enter(Entry::Tag(self.0, self.1))
    }
}

/// The kinds of metadata that are collected for every call computed while this is entered.
#[derive(Clone, Debug)]
#[must_use = "nothing changes until it is entered"]
pub struct MetadataScope(Kinds);

/// Chooses the kinds of metadata, replacing those chosen by outer guards: `collect([Arc::new(Runtime)]).enter()`.
pub fn collect(kinds: impl IntoIterator<Item = Arc<dyn MetadataKind>>) -> MetadataScope {
    MetadataScope(kinds.into_iter().collect())
}

impl MetadataScope {
    /// Collects these kinds on this thread until the guard is dropped.
    pub fn enter(self) -> Guard {
        enter(Entry::Kinds(self.0))
    }
}

impl Cache {
    /// Runs the closure with this cache active on this thread and, during that time, on **every** thread of the process
    /// that has entered none, instead of any default. For pools whose threads fleche does not control, such as rayon's:
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
    /// **Nested and overlapping.** If several caches are installed at once, nested or on different threads, then
    /// threads that have entered none use the one installed last. When it ends, in any order, they use the last of
    /// those that are still installed. A thread that calls `install` uses its own cache throughout. Calls that other
    /// threads began before the closure ended keep their cache until they end. To run two studies with two caches at
    /// once, use `scope`, bound functions or [`wrap_executor`](crate::wrap_executor), which affect no other thread.
    ///
    /// Tags and kinds of metadata stay on their thread. Carry them with [`Bound`](crate::Bound).
    pub fn install<R>(&self, run: impl FnOnce() -> R) -> R {
        let _installed = (!fork::is_child()).then(|| Installed::new(self.clone().within(flights())));
        self.scope(run)
    }
}

impl Binding {
    /// Captures the active context of this thread.
    pub fn current() -> Self {
        Self::with_cache(Cache::clone(&active()))
    }

    /// Captures the active context of this thread, with this cache instead of the active one.
    pub(crate) fn with_cache(cache: Cache) -> Self {
        let (kinds, tags) = metadata();
        let carried = bound().and_then(|binding| binding.rest.carried);
        Self { cache, kinds, rest: Arc::new(Rest { tags, rerun: is_rerun(), flights: flights(), carried }) }
    }

    /// Captures the active context of this thread, with this cache, for a future that is put into it.
    pub(crate) fn carrying(cache: Cache) -> Self {
        let (kinds, tags) = metadata();
        let flights = union(&[flights(), cache.flights().clone()]);
        let carried = Some(InCacheCount::count_one());
        Self { cache, kinds, rest: Arc::new(Rest { tags, rerun: is_rerun(), flights, carried }) }
    }

    /// Returns the binding for a call that is first polled here: if the call was put into a cache since `called`, alone
    /// or within another future, that cache replaces the bound one.
    pub(crate) fn carried_since(self, called: InCacheCount) -> Self {
        let Some(carrying) = bound().filter(|binding| binding.rest.carried.is_some_and(|carried| carried > called))
        else {
            return self;
        };
        let Rest { tags, rerun, flights, .. } = &*self.rest;
        let rest = Rest {
            tags: tags.clone(),
            rerun: *rerun,
            flights: union(&[flights.clone(), carrying.rest.flights.clone()]),
            carried: carrying.rest.carried,
        };
        Self { cache: carrying.cache.clone(), kinds: self.kinds, rest: Arc::new(rest) }
    }

    /// Makes this binding active on this thread until the guard is dropped, instead of everything that was active
    /// before.
    pub fn enter(&self) -> Guard {
        enter(Entry::Bound(Rc::new(self.clone()), Rc::new(self.cache.clone())))
    }
}

#[derive(Clone, Copy)]
struct Known {
    /// The id of the tier; ids below [`FIRST_ID`] mean that there is none.
    tier: u64,
    /// The generation of the default cache for which this is valid, or [`ANY`].
    default: u64,
}

/// The id that means that the tier has not been determined.
const UNKNOWN: u64 = 0;
/// The id that means that there is no tier.
const NONE: u64 = 1;
/// The value that stands for any generation: an entered cache hides the default cache, so the generation of the default
/// cache does not matter.
const ANY: u64 = u64::MAX;

thread_local! {
    static KNOWN: Cell<Known> = const { Cell::new(Known { tier: UNKNOWN, default: ANY }) };
}

/// Returns the id of the hot tier that may answer a call, or `None` if it is off or calls are rerun.
#[inline]
pub(crate) fn hot_tier() -> Option<u64> {
    let known = KNOWN.get();
    let is_current = known.default == ANY || known.default == default::generation();
    let tier = if is_current && known.tier != UNKNOWN { known.tier } else { find() };
    (tier >= FIRST_ID).then_some(tier)
}

#[cold]
fn find() -> u64 {
    // What is remembered here must not survive a fork.
    fork::watch_and(forked);
    let generation = default::generation();
    let (cache, is_default) = active_and_origin();
    let tier = cache.hot().id().filter(|_| !is_rerun()).unwrap_or(NONE);
    KNOWN.set(Known { tier, default: if is_default { generation } else { ANY } });
    tier
}

/// Disables the tier in a forked child, on its only thread, so that nothing kept by the parent is served.
fn forked() {
    KNOWN.set(Known { tier: NONE, default: ANY });
}

/// Clears the cached tier because this thread has entered or left a cache or a binding.
fn changed() {
    KNOWN.set(Known { tier: UNKNOWN, default: ANY });
}
