//! A thread's own level of the hot tier: a small table, in which an entry has one place.

use std::{
    any::Any,
    cell::{Cell, RefCell},
};

use super::{HotKey, Kept, OwnedKey};

/// So many entries a thread keeps at most.
const PLACES: usize = 256;
/// Entries that weigh more, in bytes, do not come here: what a thread keeps outlives what the cache gives up.
const HEAVIEST: u64 = 4096;

struct Entry {
    cache: u64,
    key: OwnedKey,
    kept: Kept,
}

struct Entries(RefCell<Vec<Option<Entry>>>);

thread_local! {
    static ENTRIES: Entries = const { Entries(RefCell::new(Vec::new())) };
    static ENDS: Cell<bool> = const { Cell::new(false) };
}

impl Drop for Entries {
    fn drop(&mut self) {
        ENDS.set(true);
    }
}

/// Whether the thread is ending, and what it kept is being freed: the calls that this makes find other thread-local state
/// gone.
pub(crate) fn thread_ends() -> bool {
    ENDS.get()
}

#[allow(clippy::cast_possible_truncation)] // Its last digits are asked for.
fn place(key: &HotKey<'_>) -> usize {
    key.hash as usize % PLACES
}

/// What a look has come to.
pub(super) enum Found<R, L> {
    Here(R),
    /// Nothing is here; what was to look is given back.
    Nothing(L),
}

/// What `look` makes of the entry, if it is here and of this generation.
pub(super) fn get<R, L: FnOnce(&(dyn Any + Send + Sync)) -> R>(
    cache: u64,
    generation: u64,
    key: &HotKey<'_>,
    look: L,
) -> Found<R, L> {
    let mut look = Some(look);
    // A thread that is ending has no table left.
    let found = ENTRIES.try_with(|entries| {
        let entries = entries.0.try_borrow().ok()?;
        let entry = entries.get(place(key))?.as_ref()?;
        let is_it = entry.cache == cache && entry.key.is(key) && entry.kept.is_current(generation);
        let look = if is_it { look.take() } else { None };
        look.map(|look| look(&*entry.kept.value))
    });
    match (found.ok().flatten(), look) {
        (Some(result), _) => Found::Here(result),
        (None, Some(look)) => Found::Nothing(look),
        (None, None) => unreachable!("who has looked has found"),
    }
}

/// Keeps an entry, in place of whatever has its place, if it is light.
pub(super) fn keep(cache: u64, key: &HotKey<'_>, kept: &Kept) {
    if kept.weight > HEAVIEST {
        return;
    }
    let entry = Entry { cache, key: key.owned(), kept: kept.clone() };
    let replaced = ENTRIES.try_with(|entries| {
        // Not while somebody looks: a clone that a look makes may call memoized functions.
        let mut entries = entries.0.try_borrow_mut().ok()?;
        if entries.is_empty() {
            *entries = (0..PLACES).map(|_| None).collect();
        }
        entries[place(key)].replace(entry)
    });
    // Freed after the borrow has ended, for the same reason.
    drop(replaced);
}
