//! A thread's own level of the hot tier: a small table of sets, in which an entry has one of a few places. What is found
//! here is found without a write to anything that threads share.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    sync::Arc,
};

use super::{HotKey, Kept};
use crate::cache::stats::PerThread;

const SETS: usize = 256;
const WAYS: usize = 4;
/// Entries that weigh more, in bytes, do not come here: what a thread keeps outlives what the cache gives up.
const HEAVIEST: u64 = 2048;

struct Entry {
    cache: u64,
    function: usize,
    arguments: Box<[u8]>,
    kept: Kept,
    /// Where this thread counts what it serves of the cache.
    counters: Arc<PerThread>,
}

struct Table {
    /// The hashes of what is in each place.
    hashes: [[u64; WAYS]; SETS],
    entries: [[Option<Box<Entry>>; WAYS]; SETS],
    /// The place in a full set that is taken next.
    next: usize,
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

/// What `look` makes of the entry, if it is here and of this generation. Counted as a hit if it makes anything of it.
#[inline]
pub(crate) fn get<R>(
    cache: u64,
    generation: u64,
    key: &HotKey<'_>,
    look: impl FnOnce(&(dyn Any + Send + Sync)) -> Option<R>,
) -> Option<R> {
    // A thread that is ending has no table left.
    let found = TABLE.try_with(|table| {
        let table = table.0.try_borrow().ok()?;
        let entry = table.as_ref()?.find(cache, generation, key)?;
        let result = look(&*entry.kept.value)?;
        entry.counters.hit();
        Some(result)
    });
    found.ok().flatten()
}

/// Keeps an entry, in place of whatever is in its way, if it is light.
pub(super) fn keep(cache: u64, key: &HotKey<'_>, kept: &Kept, counters: Arc<PerThread>) {
    if kept.weight > HEAVIEST {
        return;
    }
    let HotKey { function, arguments, .. } = *key;
    let entry = Entry { cache, function, arguments: arguments.into(), kept: kept.clone(), counters };
    let replaced = TABLE.try_with(|table| {
        // Not while somebody looks: a clone that a look makes may call memoized functions.
        let mut table = table.0.try_borrow_mut().ok()?;
        table.get_or_insert_with(Table::new).keep(key, Box::new(entry))
    });
    // Freed after the borrow has ended, for the same reason.
    drop(replaced);
}

#[allow(clippy::cast_possible_truncation)] // Its last digits are asked for.
fn set(key: &HotKey<'_>) -> usize {
    key.hash as usize % SETS
}

impl Table {
    fn new() -> Box<Self> {
        Box::new(Self { hashes: [[0; WAYS]; SETS], entries: [const { [const { None }; WAYS] }; SETS], next: 0 })
    }

    #[inline]
    fn find(&self, cache: u64, generation: u64, key: &HotKey<'_>) -> Option<&Entry> {
        let set = set(key);
        for (hash, entry) in self.hashes[set].iter().zip(&self.entries[set]) {
            if *hash == key.hash
                && let Some(entry) = entry
                && entry.is(cache, key)
                && entry.kept.is_current(generation)
            {
                return Some(entry);
            }
        }
        None
    }

    /// What was in the place that it takes: of the same call, else none, else the next in turn.
    fn keep(&mut self, key: &HotKey<'_>, entry: Box<Entry>) -> Option<Box<Entry>> {
        let set = set(key);
        let entries = &mut self.entries[set];
        let same = entries.iter().position(|place| place.as_ref().is_some_and(|there| there.is(entry.cache, key)));
        let way = same.or_else(|| entries.iter().position(Option::is_none)).unwrap_or_else(|| {
            self.next = (self.next + 1) % WAYS;
            self.next
        });
        self.hashes[set][way] = key.hash;
        entries[way].replace(entry)
    }
}

impl Entry {
    #[inline]
    fn is(&self, cache: u64, key: &HotKey<'_>) -> bool {
        self.function == key.function && self.cache == cache && *self.arguments == *key.arguments
    }
}
