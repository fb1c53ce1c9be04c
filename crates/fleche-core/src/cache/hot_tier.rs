//! The hot tier: decoded results in memory in front of the stores, so that a repeated call costs one lookup in a map.
//!
//! It has two tiers. The thread-local tier belongs to a thread: a hit there writes to nothing that threads share. The shared
//! tier belongs to a cache and is bounded by weight; `quick_cache` chooses which results are displaced from it. A small result that
//! is found there is copied to the thread-local tier, where it displaces the results of its set in turn.

mod key;
mod thread_local;

pub(crate) use key::{EncodedKey, TierKey};
pub(crate) use thread_local::{get as get_thread_local, get_unless_due as get_thread_local_unless_due, thread_ends};

use std::{
    any::Any,
    fmt,
    str::FromStr,
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
use quick_cache::{Lifecycle, OptionsBuilder, Weighter, sync::Cache as QuickCache};
use serde::{Deserialize, Serialize};

use super::stats::Counters;
use crate::error::Error;
use key::{CachedResult, OwnedEncodedKey, Value, is_current};

/// The settings of a hot tier, which keeps decoded results in memory in front of the stores of a cache.
///
/// In a configuration file it is a size (`hot = "16 MiB"`, `hot = 0`) or a table:
/// `hot = { size = "16 MiB", max_age = "10s" }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "HotTierText", into = "HotTierText")]
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
    pub const fn new(bytes: u64) -> Self {
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

/// Creates a hot tier of this many bytes, as [`HotTier::new`] does.
impl From<u64> for HotTier {
    fn from(bytes: u64) -> Self {
        Self::new(bytes)
    }
}

/// Reads a size as in a configuration: `64 MiB`, or a number of bytes. There is no maximum age.
impl FromStr for HotTier {
    type Err = Error;

    fn from_str(size: &str) -> Result<Self, Error> {
        parse_size(size).map(Self::new).map_err(|why| Error::Config { place: "hot tier".to_owned(), why })
    }
}

/// Writes the settings: `64.0 MiB`, `64.0 MiB, at most 10s old`, or `off`.
impl fmt::Display for HotTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.size == 0 {
            return f.write_str("off");
        }
        write!(f, "{}", bytesize::ByteSize(self.size))?;
        match self.max_age {
            Some(age) => write!(f, ", at most {} old", humantime::format_duration(age)),
            None => Ok(()),
        }
    }
}

/// A hot tier as written in a configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum HotTierText {
    Size(SizeText),
    Table {
        size: SizeText,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_age: Option<String>,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum SizeText {
    Bytes(u64),
    Text(String),
}

impl TryFrom<HotTierText> for HotTier {
    type Error = String;

    fn try_from(text: HotTierText) -> Result<Self, String> {
        let (size, max_age) = match text {
            HotTierText::Size(size) => (size, None),
            HotTierText::Table { size, max_age } => (size, max_age),
        };
        let size = match size {
            SizeText::Bytes(bytes) => bytes,
            SizeText::Text(text) => parse_size(&text)?,
        };
        let max_age = max_age.map(|text| humantime::parse_duration(&text).map_err(|error| age_error(&text, &error)));
        Ok(Self { size, max_age: max_age.transpose()? })
    }
}

impl From<HotTier> for HotTierText {
    fn from(HotTier { size, max_age }: HotTier) -> Self {
        let size = SizeText::Bytes(size);
        match max_age {
            None => Self::Size(size),
            Some(age) => Self::Table { size, max_age: Some(humantime::format_duration(age).to_string()) },
        }
    }
}

fn parse_size(text: &str) -> Result<u64, String> {
    let size = text.parse::<bytesize::ByteSize>().map_err(|error| {
        format!("`{text}` is not a size ({error}): use `\"64 MiB\"`, a number of bytes, or 0 for none")
    })?;
    Ok(size.as_u64())
}

fn age_error(text: &str, error: &humantime::DurationError) -> String {
    format!("`{text}` is not a duration ({error}): use `\"10s\"`, `\"5min\"` or `\"2h\"`")
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<OwnedEncodedKey, CachedResult> for ByWeight {
    fn weight(&self, _: &OwnedEncodedKey, result: &CachedResult) -> u64 {
        result.weight
    }
}

/// The weight of an entry in addition to its result and its arguments, in bytes.
const OVERHEAD: u64 = 128;
/// The part of the tier that one result may fill: the size divided by this number. A larger result would displace too many
/// others.
const MAX_RESULT_DIVISOR: u64 = 4;
/// The number of entries for which the shared tier initially has room.
const EXPECTED: usize = 1024;

/// Defers freeing displaced entries until no lock is held, because freeing them may call memoized functions.
#[derive(Clone)]
struct DeferredDrop;

impl Lifecycle<OwnedEncodedKey, CachedResult> for DeferredDrop {
    type RequestState = Vec<(OwnedEncodedKey, CachedResult)>;

    fn on_evict(&self, evicted: &mut Self::RequestState, key: OwnedEncodedKey, result: CachedResult) {
        evicted.push((key, result));
    }
}

/// The lowest id of a cache's hot tier. Lower numbers have other meanings.
pub(crate) const FIRST_ID: u64 = 2;

/// The generation, which every eviction and replacement in any cache increments. This invalidates all earlier results.
static GENERATION: AtomicU64 = AtomicU64::new(0);

type SharedTable = QuickCache<OwnedEncodedKey, CachedResult, ByWeight, RandomState, DeferredDrop>;

fn new_table(size: u64) -> SharedTable {
    // The largest entry must fit into one shard.
    #[allow(clippy::cast_possible_truncation)] // It is 4.
    let shards = MAX_RESULT_DIVISOR as usize;
    QuickCache::with_options(
        OptionsBuilder::new()
            .estimated_items_capacity(EXPECTED)
            .weight_capacity(size)
            .shards(shards)
            .build()
            .unwrap_or_else(|_| unreachable!("both capacities are given")),
        ByWeight,
        RandomState::default(),
        DeferredDrop,
    )
}

/// The hot tier of one cache.
pub(crate) struct SharedTier {
    tier: HotTier,
    /// The number that distinguishes the entries of this tier's cache in thread-local tiers from those of other caches.
    id: u64,
    table: OnceLock<SharedTable>,
}

impl SharedTier {
    pub(crate) fn new(tier: HotTier) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(FIRST_ID);
        Self { tier, id: NEXT.fetch_add(1, Relaxed), table: OnceLock::new() }
    }

    pub(crate) fn settings(&self) -> HotTier {
        self.tier
    }

    pub(crate) fn is_on(&self) -> bool {
        self.tier.size > 0
    }

    /// Returns the id of this tier's entries in thread-local tiers, or `None` if it is off.
    pub(crate) fn id(&self) -> Option<u64> {
        self.is_on().then_some(self.id)
    }

    /// Applies `read` to the result and returns its output, if the thread-local or the shared tier has the result.
    pub(crate) fn get<R>(
        &self,
        counters: &Counters,
        key: EncodedKey<'_>,
        read: impl Fn(&(dyn Any + Send + Sync)) -> Option<R>,
    ) -> Option<R> {
        let local_key = TierKey::Encoded(key);
        get_thread_local(self.id, Self::generation(), &local_key, &read)
            .or_else(|| self.get_shared(counters, (key, local_key), read))
    }

    /// Like [`get`](Self::get), from the shared tier only.
    pub(crate) fn get_shared<R>(
        &self,
        counters: &Counters,
        (key, local_key): (EncodedKey<'_>, TierKey<'_>),
        read: impl Fn(&(dyn Any + Send + Sync)) -> Option<R>,
    ) -> Option<R> {
        let generation = Self::generation();
        let cached = self.table.get()?.get(&key)?;
        if !is_current(cached.generation, cached.expires, generation) {
            return None;
        }
        let result = read(&*cached.value)?;
        counters.hit();
        thread_local::insert((self.id, self.tier.size), &local_key, &cached, counters.of_this_thread());
        Some(result)
    }

    /// Returns the generation. Call this before reading from the stores.
    #[inline]
    pub(crate) fn generation() -> u64 {
        GENERATION.load(Acquire)
    }

    /// Returns whether a result with an encoding of this many bytes may be kept.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        bytes as u64 <= self.tier.size / MAX_RESULT_DIVISOR
    }

    /// Stores a result that the stores held in this generation.
    pub(crate) fn insert(
        &self,
        counters: &Counters,
        (key, local_key): (EncodedKey<'_>, TierKey<'_>),
        (value, bytes): (Value, usize),
        generation: u64,
    ) {
        let weight = (bytes + key.arguments.len()) as u64 + OVERHEAD;
        let expires = self.tier.max_age.and_then(|age| Instant::now().checked_add(age));
        let cached = CachedResult { value, weight, generation, expires };
        thread_local::insert((self.id, self.tier.size), &local_key, &cached, counters.of_this_thread());
        // Created lazily, because many caches keep nothing.
        self.table.get_or_init(|| new_table(self.tier.size)).insert(key.to_owned_key(), cached);
    }

    /// Empties the hot tiers of all caches, because two caches may share a store, for example in a stack. A thread that sees the
    /// new generation also sees the change that caused it.
    pub(crate) fn invalidate_all() {
        GENERATION.fetch_add(1, Release);
    }

    /// Empties the hot tiers of all caches because a result was replaced. `generation` was read before that. Returns the
    /// generation of the new result, or `None` if the tiers were also emptied for another reason since then.
    pub(crate) fn replace(generation: u64) -> Option<u64> {
        if GENERATION.compare_exchange(generation, generation + 1, Release, Relaxed).is_ok() {
            return Some(generation + 1);
        }
        Self::invalidate_all();
        None
    }
}

impl fmt::Debug for SharedTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tier.fmt(f)
    }
}
