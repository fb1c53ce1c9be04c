//! The thread-local tier: a small set-associative table of results. A lookup in it writes to nothing that threads share.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Weak},
    time::Instant,
};

use foldhash::fast::FixedState;

use super::key::{CachedResult, OwnedTierKey, TierKey, Value, is_current};
use crate::cache::stats::PerThread;

const SETS: usize = 256;
const WAYS: usize = 4;
/// The weight, in bytes, up to which a thread keeps a result itself, even after the shared tier has dropped it. It keeps
/// a weak reference to heavier results. The limit is lower in caches with a small hot tier, so that a full table does not weigh
/// more than the tier.
const MAX_WEIGHT: u64 = 2048;

struct Entry {
    cache: u64,
    key: OwnedTierKey,
    value: LocalValue,
    generation: u64,
    expires: Option<Instant>,
    /// This thread's counters of the cache.
    counters: Arc<PerThread>,
    /// The number of hits of the function by encoded arguments on this thread. `None` for a scalar key.
    encoded_hits: Option<Rc<Cell<u64>>>,
}

/// A result in the thread-local tier.
enum LocalValue {
    Strong(Value),
    /// A reference that is valid as long as the shared tier keeps the result.
    Weak(Weak<dyn Any + Send + Sync>),
}

impl LocalValue {
    /// Returns the result for the thread-local tier. Returns `None` if the allocation of a heavy result is large itself: a weak
    /// reference would keep it allocated.
    fn new(result: &CachedResult, tier_size: u64) -> Option<Self> {
        if result.weight <= MAX_WEIGHT.min(tier_size / (SETS * WAYS) as u64) {
            return Some(Self::Strong(result.value.clone()));
        }
        let is_small = size_of_val(&*result.value) as u64 <= MAX_WEIGHT;
        is_small.then(|| Self::Weak(Arc::downgrade(&result.value)))
    }

    #[inline]
    fn read<R>(&self, read: impl FnOnce(&(dyn Any + Send + Sync)) -> Option<R>) -> Option<R> {
        match self {
            Self::Strong(value) => read(&**value),
            Self::Weak(value) => read(&*value.upgrade()?),
        }
    }
}

struct Table {
    /// The hash of the entry in each slot.
    hashes: [[u64; WAYS]; SETS],
    entries: [[Option<Box<Entry>>; WAYS]; SETS],
    /// The slot in a full set that is replaced next.
    next_slot: usize,
    /// The number of hits by encoded arguments for each function.
    encoded_hits: HashMap<usize, Rc<Cell<u64>>, FixedState>,
}

struct LocalTable(RefCell<Option<Box<Table>>>);

thread_local! {
    static TABLE: LocalTable = const { LocalTable(RefCell::new(None)) };
    static IS_ENDING: Cell<bool> = const { Cell::new(false) };
}

impl Drop for LocalTable {
    fn drop(&mut self) {
        IS_ENDING.set(true);
    }
}

/// Returns whether the thread is ending and its results are being freed. Calls made while freeing them find other thread-local
/// state already destroyed.
pub(crate) fn thread_ends() -> bool {
    IS_ENDING.get()
}

/// Like [`get`], for a key of encoded arguments, which must be checked on hits 1, 2, 4, 8, … of the function on this thread. On
/// these hits, sets `is_due` and returns `None`.
#[inline]
pub(crate) fn get_unless_due<R>(
    cache: u64,
    generation: u64,
    key: &TierKey<'_>,
    is_due: &mut bool,
    read: impl FnOnce(&(dyn Any + Send + Sync)) -> Option<R>,
) -> Option<R> {
    let found = TABLE.try_with(|table| {
        let table = table.0.try_borrow().ok()?;
        let entry = table.as_ref()?.find(cache, generation, key)?;
        if let Some(encoded_hits) = &entry.encoded_hits {
            let hits = encoded_hits.get() + 1;
            encoded_hits.set(hits);
            if hits.is_power_of_two() {
                *is_due = true;
                return None;
            }
        }
        let result = entry.value.read(read)?;
        entry.counters.hit();
        Some(result)
    });
    found.ok().flatten()
}

/// Applies `read` to the entry, if there is one of this generation. Counts a hit if `read` returns a result.
#[inline]
pub(crate) fn get<R>(
    cache: u64,
    generation: u64,
    key: &TierKey<'_>,
    read: impl FnOnce(&(dyn Any + Send + Sync)) -> Option<R>,
) -> Option<R> {
    // The table of a thread that is ending is already destroyed.
    let found = TABLE.try_with(|table| {
        let table = table.0.try_borrow().ok()?;
        let entry = table.as_ref()?.find(cache, generation, key)?;
        let result = entry.value.read(read)?;
        entry.counters.hit();
        Some(result)
    });
    found.ok().flatten()
}

/// Stores a result of the cache whose hot tier has this id and size, displacing another one if its set is full.
pub(super) fn insert(
    (cache, tier_size): (u64, u64),
    key: &TierKey<'_>,
    result: &CachedResult,
    counters: Arc<PerThread>,
) {
    let Some(value) = LocalValue::new(result, tier_size) else { return };
    let CachedResult { generation, expires, .. } = *result;
    let owned_key = key.to_owned_key();
    let replaced = TABLE.try_with(|table| {
        // Fails during a lookup on this thread: the clone that it makes may call memoized functions.
        let mut table = table.0.try_borrow_mut().ok()?;
        let table = table.get_or_insert_with(Table::new);
        let encoded_hits = match key {
            TierKey::Encoded(key) => Some(table.encoded_hits_of(key.function)),
            TierKey::Scalar { .. } => None,
        };
        table.insert(key, Box::new(Entry { cache, key: owned_key, value, generation, expires, counters, encoded_hits }))
    });
    // Freed after the borrow has ended, because freeing may call memoized functions, too.
    drop(replaced);
}

#[allow(clippy::cast_possible_truncation)] // Only the lowest bits are needed.
#[inline]
fn set(hash: u64) -> usize {
    hash as usize % SETS
}

impl Table {
    fn new() -> Box<Self> {
        Box::new(Self {
            hashes: [[0; WAYS]; SETS],
            entries: [const { [const { None }; WAYS] }; SETS],
            next_slot: 0,
            encoded_hits: HashMap::with_hasher(FixedState::with_seed(0)),
        })
    }

    /// Returns the counter of hits by encoded arguments of the function at this address.
    fn encoded_hits_of(&mut self, function: usize) -> Rc<Cell<u64>> {
        self.encoded_hits.entry(function).or_default().clone()
    }

    #[inline]
    fn find(&self, cache: u64, generation: u64, key: &TierKey<'_>) -> Option<&Entry> {
        let hash = key.hash();
        for (known, entry) in self.hashes[set(hash)].iter().zip(&self.entries[set(hash)]) {
            if *known == hash
                && let Some(entry) = entry
                && entry.cache == cache
                && key.equals(&entry.key)
                && is_current(entry.generation, entry.expires, generation)
            {
                return Some(entry);
            }
        }
        None
    }

    /// Stores an entry, and returns the entry that it displaces, if any. It replaces an entry of the same call, or else takes
    /// an empty slot. In a full set, the entries are replaced in turn.
    fn insert(&mut self, key: &TierKey<'_>, entry: Box<Entry>) -> Option<Box<Entry>> {
        let hash = key.hash();
        let entries = &mut self.entries[set(hash)];
        let is_same = |other: &Entry| other.cache == entry.cache && key.equals(&other.key);
        let same = entries.iter().position(|slot| slot.as_deref().is_some_and(is_same));
        let slot = same.or_else(|| entries.iter().position(Option::is_none)).unwrap_or_else(|| {
            self.next_slot = (self.next_slot + 1) % WAYS;
            self.next_slot
        });
        self.hashes[set(hash)][slot] = hash;
        entries[slot].replace(entry)
    }
}
