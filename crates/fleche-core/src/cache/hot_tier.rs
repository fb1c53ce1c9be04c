//! The hot tier: decoded results in memory in front of the stores, so that a repeated call costs one lookup in a map.
//!
//! It has two levels. The thread-local tier belongs to a thread: a hit there writes to nothing that threads share. The shared
//! tier belongs to a cache and is bounded by weight. A small result that is found there is copied to the thread-local tier.

mod entry;
mod thread_local;

mod size;

pub(crate) use entry::HotKey;
pub(crate) use thread_local::{
    TierKey, get as get_thread_local, get_unless_due as get_thread_local_unless_due, thread_ends,
};

use std::{
    any::Any,
    fmt,
    sync::{
        OnceLock,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter, sync::Cache as Far};
use serde::{Deserialize, Serialize};

use super::stats::Counters;
use entry::{Kept, OwnedKey, Value, is_current};

/// The settings of a hot tier, which keeps decoded results in memory in front of the stores of a cache.
///
/// In a configuration file it is a size (`hot = "16 MiB"`, `hot = 0`) or a table:
/// `hot = { size = "16 MiB", max_age = "10s" }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "size::AsText", into = "size::AsText")]
pub struct HotTier {
    size: u64,
    max_age: Option<Duration>,
}

impl HotTier {
    /// The default: 64 MiB, without a maximum age.
    pub const DEFAULT: Self = Self { size: 64 << 20, max_age: None };
    /// No hot tier: every hit is read from the stores.
    pub const OFF: Self = Self { size: 0, max_age: None };

    /// Creates a hot tier of about this many bytes of results and arguments, or none if `bytes` is 0. The size of a result is
    /// that of its encoding.
    ///
    /// In addition, each thread keeps up to 1024 small results (up to 2 KiB each with their arguments), of at most `bytes` in
    /// total, until other results displace them or the thread ends.
    pub const fn of(bytes: u64) -> Self {
        Self { size: bytes, max_age: None }
    }

    /// Sets the maximum age: older results are read from the stores again. This bounds how long a result that another process has
    /// evicted or replaced is still served. Without a maximum age, it is served until other results displace it.
    pub const fn max_age(self, age: Duration) -> Self {
        Self { max_age: Some(age), ..self }
    }

    /// Returns the size, in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }
}

impl Default for HotTier {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<OwnedKey, Kept> for ByWeight {
    fn weight(&self, _: &OwnedKey, kept: &Kept) -> u64 {
        kept.weight
    }
}

/// The weight of an entry in addition to its result and its arguments, in bytes.
const OVERHEAD: u64 = 128;
/// The part of the tier that one result may fill: the size divided by this number. A larger result would displace too many
/// others.
const LARGEST_PART: u64 = 4;
/// The number of entries for which the shared tier initially has room.
const EXPECTED: usize = 1024;

/// Defers freeing displaced entries until no lock is held, because freeing them may call memoized functions.
#[derive(Clone)]
struct Freed;

impl Lifecycle<OwnedKey, Kept> for Freed {
    type RequestState = Vec<(OwnedKey, Kept)>;

    fn on_evict(&self, evicted: &mut Self::RequestState, key: OwnedKey, kept: Kept) {
        evicted.push((key, kept));
    }
}

/// The lowest id of a cache's hot tier. Lower numbers have other meanings.
pub(crate) const FIRST_ID: u64 = 2;

/// The generation, which every eviction and replacement in any cache increments. This invalidates all results kept before.
static GENERATION: AtomicU64 = AtomicU64::new(0);

fn far(size: u64) -> Far<OwnedKey, Kept, ByWeight, RandomState, Freed> {
    // The largest entry must fit into one shard.
    #[allow(clippy::cast_possible_truncation)] // It is 4.
    let parts = LARGEST_PART as usize;
    Far::with_options(
        OptionsBuilder::new()
            .estimated_items_capacity(EXPECTED)
            .weight_capacity(size)
            .shards(parts)
            .build()
            .unwrap_or_else(|_| unreachable!("both capacities are given")),
        ByWeight,
        RandomState::default(),
        Freed,
    )
}

/// The hot tier of one cache.
pub(crate) struct SharedTier {
    tier: HotTier,
    /// The number that distinguishes the entries of this tier's cache in thread-local tiers from those of other caches.
    id: u64,
    far: OnceLock<Far<OwnedKey, Kept, ByWeight, RandomState, Freed>>,
}

impl SharedTier {
    pub(crate) fn new(tier: HotTier) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(FIRST_ID);
        Self { tier, id: NEXT.fetch_add(1, Relaxed), far: OnceLock::new() }
    }

    pub(crate) fn tier(&self) -> HotTier {
        self.tier
    }

    pub(crate) fn is_on(&self) -> bool {
        self.tier.size > 0
    }

    /// Returns the id of this tier's entries in thread-local tiers, or `None` if it is off.
    pub(crate) fn id(&self) -> Option<u64> {
        self.is_on().then_some(self.id)
    }

    /// Applies `look` to the result and returns its output, if the thread-local or the shared tier has the result.
    pub(crate) fn get<R>(
        &self,
        counters: &Counters,
        key: HotKey<'_>,
        look: impl Fn(&(dyn Any + Send + Sync)) -> Option<R>,
    ) -> Option<R> {
        let near = TierKey::Encoded(key);
        get_thread_local(self.id, Self::generation(), &near, &look)
            .or_else(|| self.get_shared(counters, (key, near), look))
    }

    /// Like [`get`](Self::get), from the shared tier only.
    pub(crate) fn get_shared<R>(
        &self,
        counters: &Counters,
        (key, near): (HotKey<'_>, TierKey<'_>),
        look: impl Fn(&(dyn Any + Send + Sync)) -> Option<R>,
    ) -> Option<R> {
        let generation = Self::generation();
        let kept = self.far.get()?.get(&key)?;
        if !is_current(kept.generation, kept.until, generation) {
            return None;
        }
        let result = look(&*kept.value)?;
        counters.hit();
        thread_local::keep((self.id, self.tier.size), &near, &kept, counters.here());
        Some(result)
    }

    /// Returns the generation. Call this before reading from the stores.
    #[inline]
    pub(crate) fn generation() -> u64 {
        GENERATION.load(Acquire)
    }

    /// Returns whether a result with an encoding of this many bytes may be kept.
    pub(crate) fn takes(&self, bytes: usize) -> bool {
        bytes as u64 <= self.tier.size / LARGEST_PART
    }

    /// Keeps a result that the stores held in this generation.
    pub(crate) fn keep(
        &self,
        counters: &Counters,
        (key, near): (HotKey<'_>, TierKey<'_>),
        (value, bytes): (Value, usize),
        generation: u64,
    ) {
        let weight = (bytes + key.arguments.len()) as u64 + OVERHEAD;
        let until = self.tier.max_age.and_then(|age| Instant::now().checked_add(age));
        let kept = Kept { value, weight, generation, until };
        thread_local::keep((self.id, self.tier.size), &near, &kept, counters.here());
        let owned = OwnedKey { function: key.function, arguments: key.arguments.into() };
        // Created lazily, because many caches keep nothing.
        self.far.get_or_init(|| far(self.tier.size)).insert(owned, kept);
    }

    /// Empties the hot tiers of all caches, because two caches may share a store, for example in a stack. A thread that sees the
    /// new generation also sees the change that caused it.
    pub(crate) fn forget() {
        GENERATION.fetch_add(1, Release);
    }

    /// Empties the hot tiers of all caches because a result was replaced. `generation` was read before that. Returns the
    /// generation of the new result, or `None` if the tiers were also emptied for another reason since then.
    pub(crate) fn replace(generation: u64) -> Option<u64> {
        if GENERATION.compare_exchange(generation, generation + 1, Release, Relaxed).is_ok() {
            return Some(generation + 1);
        }
        Self::forget();
        None
    }
}

impl fmt::Debug for SharedTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tier.fmt(f)
    }
}
