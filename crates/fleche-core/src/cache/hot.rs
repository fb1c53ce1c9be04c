//! The hot tier: results as values, in front of the stores, so that a repeated call costs a look into a map.
//!
//! It has two levels. The *near* one is each thread's own: a hit there writes to nothing that threads share. The *far*
//! one is the cache's, bounded by weight; what is found there, and is small, comes near.

mod near;
mod size;

pub(crate) use near::{NearKey, get as get_near, get_unless_due as get_near_unless_due, thread_ends};

use std::{
    any::Any,
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use equivalent::Equivalent;
use foldhash::fast::RandomState;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter, sync::Cache as Far};
use serde::{Deserialize, Serialize};

use super::stats::Counters;

/// What a cache keeps of results in front of its stores.
///
/// In text it is a size (`hot = "16 MiB"`, `hot = 0`), or a table: `hot = { size = "16 MiB", max_age = "10s" }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "size::AsText", into = "size::AsText")]
pub struct HotTier {
    size: u64,
    max_age: Option<Duration>,
}

impl HotTier {
    /// 64 MiB, of any age.
    pub const DEFAULT: Self = Self { size: 64 << 20, max_age: None };
    /// None: every hit is read from the stores.
    pub const OFF: Self = Self { size: 0, max_age: None };

    /// So many bytes of results and arguments, about; 0 for none. A result counts with the size of its encoding. Each thread
    /// has up to 1024 small results (2 KiB with their arguments) at hand besides, at most as many bytes again, until others
    /// take their places or it ends.
    pub const fn of(bytes: u64) -> Self {
        Self { size: bytes, max_age: None }
    }

    /// Results older than this are looked up in the stores again. That bounds for how long one is served that another
    /// process has evicted or replaced meanwhile; without it, such a result is served until it gives way to others.
    pub const fn max_age(self, age: Duration) -> Self {
        Self { max_age: Some(age), ..self }
    }

    /// The size, in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }
}

impl Default for HotTier {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What names a call in memory: the function, and its encoded arguments in full, or their digest where they are long.
#[derive(Clone, Copy)]
pub(crate) struct HotKey<'a> {
    function: usize,
    arguments: &'a [u8],
}

impl<'a> HotKey<'a> {
    /// Of the function at this address.
    #[inline]
    pub(crate) fn new(function: usize, arguments: &'a [u8]) -> Self {
        Self { function, arguments }
    }
}

/// As [`OwnedKey`].
impl Hash for HotKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.function);
        state.write(self.arguments);
    }
}

#[derive(Clone, PartialEq, Eq)]
struct OwnedKey {
    function: usize,
    arguments: Box<[u8]>,
}

impl Hash for OwnedKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.function);
        state.write(&self.arguments);
    }
}

impl Equivalent<OwnedKey> for HotKey<'_> {
    fn equivalent(&self, key: &OwnedKey) -> bool {
        self.function == key.function && *self.arguments == *key.arguments
    }
}

/// A result, as the function's type of recorded results.
type Value = Arc<dyn Any + Send + Sync>;

#[derive(Clone)]
struct Kept {
    value: Value,
    /// In bytes.
    weight: u64,
    /// When that of the cache was this, what is kept was right.
    generation: u64,
    until: Option<Instant>,
}

/// Whether what is kept of a generation until then is right in this one, now.
#[inline]
fn is_current(of: u64, until: Option<Instant>, generation: u64) -> bool {
    of == generation && until.is_none_or(|until| Instant::now() < until)
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<OwnedKey, Kept> for ByWeight {
    fn weight(&self, _: &OwnedKey, kept: &Kept) -> u64 {
        kept.weight
    }
}

/// What an entry weighs beside its result and its arguments.
const OVERHEAD: u64 = 128;
/// An entry of more than this part of the whole would drive out too many others.
const LARGEST_PART: u64 = 4;
/// The far level begins with room for so many entries.
const EXPECTED: usize = 1024;

/// Lets what gives way be freed when no lock is held any more: freeing it may call memoized functions.
#[derive(Clone)]
struct Freed;

impl Lifecycle<OwnedKey, Kept> for Freed {
    type RequestState = Vec<(OwnedKey, Kept)>;

    fn on_evict(&self, evicted: &mut Self::RequestState, key: OwnedKey, kept: Kept) {
        evicted.push((key, kept));
    }
}

/// Lower numbers are no cache's.
pub(crate) const FIRST_ID: u64 = 2;

/// Grows when something is evicted or replaced, in any cache: all that was kept before is forgotten then.
static GENERATION: AtomicU64 = AtomicU64::new(0);

fn far(size: u64) -> Far<OwnedKey, Kept, ByWeight, RandomState, Freed> {
    // As many parts as let the largest entry into one.
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
pub(crate) struct Hot {
    tier: HotTier,
    /// Tells its entries in a thread's own level from those of other caches.
    id: u64,
    far: OnceLock<Far<OwnedKey, Kept, ByWeight, RandomState, Freed>>,
}

impl Hot {
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

    /// The number by which a thread's own level knows this one, where it is on.
    pub(crate) fn id(&self) -> Option<u64> {
        self.is_on().then_some(self.id)
    }

    /// What `look` makes of the result, if it is here.
    pub(crate) fn get<R>(
        &self,
        counters: &Counters,
        key: HotKey<'_>,
        look: impl Fn(&(dyn Any + Send + Sync)) -> Option<R>,
    ) -> Option<R> {
        let near = NearKey::Encoded(key);
        get_near(self.id, Self::generation(), &near, &look).or_else(|| self.get_far(counters, (key, near), look))
    }

    /// The same, where it is not near.
    pub(crate) fn get_far<R>(
        &self,
        counters: &Counters,
        (key, near): (HotKey<'_>, NearKey<'_>),
        look: impl Fn(&(dyn Any + Send + Sync)) -> Option<R>,
    ) -> Option<R> {
        let generation = Self::generation();
        let kept = self.far.get()?.get(&key)?;
        if !is_current(kept.generation, kept.until, generation) {
            return None;
        }
        let result = look(&*kept.value)?;
        counters.hit();
        near::keep(self, &near, &kept, counters.here());
        Some(result)
    }

    /// The generation, to be asked for before the stores are.
    #[inline]
    pub(crate) fn generation() -> u64 {
        GENERATION.load(Acquire)
    }

    /// Whether a result of so many encoded bytes may be kept.
    pub(crate) fn takes(&self, bytes: usize) -> bool {
        bytes as u64 <= self.tier.size / LARGEST_PART
    }

    /// Keeps a result that the stores held when the generation was this.
    pub(crate) fn keep(
        &self,
        counters: &Counters,
        (key, near): (HotKey<'_>, NearKey<'_>),
        (value, bytes): (Value, usize),
        generation: u64,
    ) {
        let weight = (bytes + key.arguments.len()) as u64 + OVERHEAD;
        let until = self.tier.max_age.and_then(|age| Instant::now().checked_add(age));
        let kept = Kept { value, weight, generation, until };
        near::keep(self, &near, &kept, counters.here());
        let owned = OwnedKey { function: key.function, arguments: key.arguments.into() };
        // Made when it is needed: many caches keep nothing.
        self.far.get_or_init(|| far(self.tier.size)).insert(owned, kept);
    }

    /// Forgets everything, in this and every other cache: one may hold another's store, in a stack say. Who sees the new
    /// generation sees why.
    pub(crate) fn forget() {
        GENERATION.fetch_add(1, Release);
    }

    /// The same for something that has replaced what may have been kept, since when the generation was this. From which
    /// generation on the new may be kept; `None` where something else was forgotten meanwhile.
    pub(crate) fn replace(generation: u64) -> Option<u64> {
        if GENERATION.compare_exchange(generation, generation + 1, Release, Relaxed).is_ok() {
            return Some(generation + 1);
        }
        Self::forget();
        None
    }
}

impl fmt::Debug for Hot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tier.fmt(f)
    }
}
