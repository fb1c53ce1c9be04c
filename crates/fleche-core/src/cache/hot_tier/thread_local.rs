//! The thread-local tier: a small set-associative table of results. A lookup in it writes to nothing that threads share.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::{BuildHasher, Hasher},
    rc::Rc,
    sync::{Arc, Weak},
    time::Instant,
};

use foldhash::fast::FixedState;

use super::entry::{HotKey, Kept, Value, is_current};
use crate::cache::stats::PerThread;

const SETS: usize = 256;
const WAYS: usize = 4;
/// The weight, in bytes, up to which a thread keeps a result itself, even after the shared tier has dropped it. It keeps
/// a weak reference to heavier results. The limit is lower in caches with a small hot tier, so that a full table does not weigh
/// more than the tier.
const HEAVIEST: u64 = 2048;

/// The key of a call in the thread-local tier.
#[derive(Clone, Copy)]
pub(crate) enum TierKey<'a> {
    /// The encoded arguments, or their digest.
    Encoded(HotKey<'a>),
    /// The scalar key: the address of the function, the words of the arguments, and a hash of the words.
    Quick { function: usize, words: &'a [u64], hash: u64 },
}

/// An owned key.
enum Name {
    Encoded(usize, Box<[u8]>),
    Quick(usize, Box<[u64]>),
}

impl TierKey<'_> {
    /// Returns a hash. It needs no secret seed: chosen arguments that collide only displace each other in one small set.
    #[inline]
    fn hash(&self) -> u64 {
        match self {
            Self::Encoded(HotKey { function, arguments }) => {
                let mut hasher = FixedState::with_seed(0).build_hasher();
                hasher.write_usize(*function);
                hasher.write(arguments);
                hasher.finish()
            }
            Self::Quick { function, hash, .. } => hash ^ (*function as u64 >> 4),
        }
    }

    #[inline]
    fn is(&self, name: &Name) -> bool {
        match (self, name) {
            (Self::Encoded(key), Name::Encoded(function, arguments)) => {
                key.function == *function && *key.arguments == **arguments
            }
            (Self::Quick { function, words, .. }, Name::Quick(known, same)) => {
                // Compared word by word: there are few, and `==` would call `memcmp`.
                function == known && words.len() == same.len() && words.iter().zip(same).all(|(one, same)| one == same)
            }
            _ => false,
        }
    }

    fn name(&self) -> Name {
        match *self {
            Self::Encoded(HotKey { function, arguments }) => Name::Encoded(function, arguments.into()),
            Self::Quick { function, words, .. } => Name::Quick(function, words.into()),
        }
    }
}

struct Entry {
    cache: u64,
    name: Name,
    value: Near,
    generation: u64,
    until: Option<Instant>,
    /// This thread's counters of the cache.
    counters: Arc<PerThread>,
    /// The number of hits of the function by encoded arguments on this thread. `None` for a scalar key.
    by_encoding: Option<Rc<Cell<u64>>>,
}

/// A result in the thread-local tier.
enum Near {
    Kept(Value),
    /// A reference that is valid as long as the shared tier keeps the result.
    Known(Weak<dyn Any + Send + Sync>),
}

impl Near {
    /// Returns the result for the thread-local tier. Returns `None` if the allocation of a heavy result is large itself: a weak
    /// reference would keep it allocated.
    fn of(kept: &Kept, most: u64) -> Option<Self> {
        if kept.weight <= HEAVIEST.min(most / (SETS * WAYS) as u64) {
            return Some(Self::Kept(kept.value.clone()));
        }
        let is_small = size_of_val(&*kept.value) as u64 <= HEAVIEST;
        is_small.then(|| Self::Known(Arc::downgrade(&kept.value)))
    }

    #[inline]
    fn look<R>(&self, look: impl FnOnce(&(dyn Any + Send + Sync)) -> Option<R>) -> Option<R> {
        match self {
            Self::Kept(value) => look(&**value),
            Self::Known(value) => look(&*value.upgrade()?),
        }
    }
}

struct Table {
    /// The hash of the entry in each place.
    hashes: [[u64; WAYS]; SETS],
    entries: [[Option<Box<Entry>>; WAYS]; SETS],
    /// The place in a full set that is replaced next.
    next: usize,
    /// The number of hits by encoded arguments for each function.
    by_encoding: HashMap<usize, Rc<Cell<u64>>, FixedState>,
}

struct Local(RefCell<Option<Box<Table>>>);

thread_local! {
    static TABLE: Local = const { Local(RefCell::new(None)) };
    static ENDS: Cell<bool> = const { Cell::new(false) };
}

impl Drop for Local {
    fn drop(&mut self) {
        ENDS.set(true);
    }
}

/// Returns whether the thread is ending and its results are being freed. Calls made while freeing them find other thread-local
/// state already destroyed.
pub(crate) fn thread_ends() -> bool {
    ENDS.get()
}

/// Like [`get`], for a key of encoded arguments, which must be checked on hits 1, 2, 4, 8, … of the function on this thread. On
/// these hits, sets `is_due` and returns `None`.
#[inline]
pub(crate) fn get_unless_due<R>(
    cache: u64,
    generation: u64,
    key: &TierKey<'_>,
    is_due: &mut bool,
    look: impl FnOnce(&(dyn Any + Send + Sync)) -> Option<R>,
) -> Option<R> {
    let found = TABLE.try_with(|table| {
        let table = table.0.try_borrow().ok()?;
        let entry = table.as_ref()?.find(cache, generation, key)?;
        if let Some(by_encoding) = &entry.by_encoding {
            let hits = by_encoding.get() + 1;
            by_encoding.set(hits);
            if hits.is_power_of_two() {
                *is_due = true;
                return None;
            }
        }
        let result = entry.value.look(look)?;
        entry.counters.hit();
        Some(result)
    });
    found.ok().flatten()
}

/// Applies `look` to the entry, if there is one of this generation. Counts a hit if `look` returns a result.
#[inline]
pub(crate) fn get<R>(
    cache: u64,
    generation: u64,
    key: &TierKey<'_>,
    look: impl FnOnce(&(dyn Any + Send + Sync)) -> Option<R>,
) -> Option<R> {
    // The table of a thread that is ending is already destroyed.
    let found = TABLE.try_with(|table| {
        let table = table.0.try_borrow().ok()?;
        let entry = table.as_ref()?.find(cache, generation, key)?;
        let result = entry.value.look(look)?;
        entry.counters.hit();
        Some(result)
    });
    found.ok().flatten()
}

/// Keeps an entry of the cache whose hot tier has this id and size, displacing another one if its set is full.
pub(super) fn keep((cache, size): (u64, u64), key: &TierKey<'_>, kept: &Kept, counters: Arc<PerThread>) {
    let Some(value) = Near::of(kept, size) else { return };
    let Kept { generation, until, .. } = *kept;
    let name = key.name();
    let replaced = TABLE.try_with(|table| {
        // Fails during a lookup on this thread: the clone that it makes may call memoized functions.
        let mut table = table.0.try_borrow_mut().ok()?;
        let table = table.get_or_insert_with(Table::new);
        let by_encoding = match key {
            TierKey::Encoded(key) => Some(table.hits_by_encoding(key.function)),
            TierKey::Quick { .. } => None,
        };
        table.keep(key, Box::new(Entry { cache, name, value, generation, until, counters, by_encoding }))
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
            next: 0,
            by_encoding: HashMap::with_hasher(FixedState::with_seed(0)),
        })
    }

    /// Returns the counter of hits by encoded arguments of the function at this address.
    fn hits_by_encoding(&mut self, function: usize) -> Rc<Cell<u64>> {
        self.by_encoding.entry(function).or_default().clone()
    }

    #[inline]
    fn find(&self, cache: u64, generation: u64, key: &TierKey<'_>) -> Option<&Entry> {
        let hash = key.hash();
        for (known, entry) in self.hashes[set(hash)].iter().zip(&self.entries[set(hash)]) {
            if *known == hash
                && let Some(entry) = entry
                && entry.cache == cache
                && key.is(&entry.name)
                && is_current(entry.generation, entry.until, generation)
            {
                return Some(entry);
            }
        }
        None
    }

    /// Stores an entry, and returns the entry that it displaces, if any. It replaces an entry of the same call, or else takes
    /// an empty place. In a full set, the entries are replaced in turn.
    fn keep(&mut self, key: &TierKey<'_>, entry: Box<Entry>) -> Option<Box<Entry>> {
        let hash = key.hash();
        let entries = &mut self.entries[set(hash)];
        let is_same = |there: &Entry| there.cache == entry.cache && key.is(&there.name);
        let same = entries.iter().position(|place| place.as_deref().is_some_and(is_same));
        let way = same.or_else(|| entries.iter().position(Option::is_none)).unwrap_or_else(|| {
            self.next = (self.next + 1) % WAYS;
            self.next
        });
        self.hashes[set(hash)][way] = hash;
        entries[way].replace(entry)
    }
}
