//! A thread's own level of the hot tier: a small table of sets, in which an entry has one of a few places. What is found
//! here is found without a write to anything that threads share.

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

use super::{Hot, HotKey, Kept, Value, is_current};
use crate::cache::stats::PerThread;

const SETS: usize = 256;
const WAYS: usize = 4;
/// Of entries that weigh more, in bytes, a thread knows only where they are: what it keeps outlives what the cache gives up.
/// Nor does it keep what weighs so much that all it has room for would weigh more than the cache keeps.
const HEAVIEST: u64 = 2048;

/// What names a call here.
#[derive(Clone, Copy)]
pub(crate) enum NearKey<'a> {
    /// Its encoded arguments, or their digest.
    Encoded(HotKey<'a>),
    /// The function at this address, and the words that stand for the arguments, with a hash of them.
    Quick { function: usize, words: &'a [u64], hash: u64 },
}

/// A key that is kept.
enum Name {
    Encoded(usize, Box<[u8]>),
    Quick(usize, Box<[u64]>),
}

impl NearKey<'_> {
    /// Whoever chooses arguments gains nothing by knowing it: a set has few places.
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
                // Word by word: these are few, and `==` would call a function of the system's.
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
    /// Where this thread counts what it serves of the cache.
    counters: Arc<PerThread>,
    /// How often this thread has served calls of the function by their encoded arguments, where this is one.
    by_encoding: Option<Rc<Cell<u64>>>,
}

/// A result, as a thread has it.
enum Near {
    Kept(Value),
    /// As long as the cache keeps it.
    Known(Weak<dyn Any + Send + Sync>),
}

impl Near {
    /// `None` where its allocation, which is freed only when nobody knows it any more, is large itself.
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
    /// The hashes of what is in each place.
    hashes: [[u64; WAYS]; SETS],
    entries: [[Option<Box<Entry>>; WAYS]; SETS],
    /// The place in a full set that is taken next.
    next: usize,
    /// How often calls of each function were served by their encoded arguments.
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

/// Whether the thread is ending, and what it kept is being freed: the calls that this makes find other thread-local state
/// gone.
pub(crate) fn thread_ends() -> bool {
    ENDS.get()
}

/// As [`get`], for arguments that went into the key encoded, which are to be checked now and then: on hits 1, 2, 4, 8, … of the
/// function on this thread. On those nothing is found, and `is_due` is set.
#[inline]
pub(crate) fn get_unless_due<R>(
    cache: u64,
    generation: u64,
    key: &NearKey<'_>,
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

/// What `look` makes of the entry, if it is here and of this generation. Counted as a hit if it makes anything of it.
#[inline]
pub(crate) fn get<R>(
    cache: u64,
    generation: u64,
    key: &NearKey<'_>,
    look: impl FnOnce(&(dyn Any + Send + Sync)) -> Option<R>,
) -> Option<R> {
    // A thread that is ending has no table left.
    let found = TABLE.try_with(|table| {
        let table = table.0.try_borrow().ok()?;
        let entry = table.as_ref()?.find(cache, generation, key)?;
        let result = entry.value.look(look)?;
        entry.counters.hit();
        Some(result)
    });
    found.ok().flatten()
}

/// Keeps an entry, in place of whatever is in its way.
pub(super) fn keep(hot: &Hot, key: &NearKey<'_>, kept: &Kept, counters: Arc<PerThread>) {
    let Some(value) = Near::of(kept, hot.tier.size) else { return };
    let Kept { generation, until, .. } = *kept;
    let (cache, name) = (hot.id, key.name());
    let replaced = TABLE.try_with(|table| {
        // Not while somebody looks: a clone that a look makes may call memoized functions.
        let mut table = table.0.try_borrow_mut().ok()?;
        let table = table.get_or_insert_with(Table::new);
        let by_encoding = match key {
            NearKey::Encoded(key) => Some(table.hits_by_encoding(key.function)),
            NearKey::Quick { .. } => None,
        };
        table.keep(key, Box::new(Entry { cache, name, value, generation, until, counters, by_encoding }))
    });
    // Freed after the borrow has ended, for the same reason.
    drop(replaced);
}

#[allow(clippy::cast_possible_truncation)] // Its last digits are asked for.
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

    /// Where hits of the function at this address are counted.
    fn hits_by_encoding(&mut self, function: usize) -> Rc<Cell<u64>> {
        self.by_encoding.entry(function).or_default().clone()
    }

    #[inline]
    fn find(&self, cache: u64, generation: u64, key: &NearKey<'_>) -> Option<&Entry> {
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

    /// What was in the place that it takes: of the same call, else none, else the next in turn.
    fn keep(&mut self, key: &NearKey<'_>, entry: Box<Entry>) -> Option<Box<Entry>> {
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
