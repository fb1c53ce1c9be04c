//! What was put or removed and is not in redb yet: everybody sees it, and the next commit takes all of it.

use std::{
    collections::BTreeMap,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use fleche_core::{CallKey, Digest, Record};

use crate::index::RowKey;

/// What is to become of an entry.
#[derive(Clone)]
pub(crate) enum Change<T> {
    Put(T),
    Removed,
}

/// A value that was put, and when: nanoseconds since 1970.
#[derive(Clone)]
pub(crate) struct PutValue {
    pub(crate) bytes: Bytes,
    pub(crate) put: u64,
}

/// A record that was put, its bytes, and its rows in the index.
#[derive(Clone)]
pub(crate) struct PutRecord {
    pub(crate) record: Record,
    pub(crate) bytes: Bytes,
    pub(crate) rows: Arc<[RowKey]>,
    /// Whether redb had none when it was put.
    pub(crate) is_new: bool,
}

/// The last change of each entry, in the order of redb's keys.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) values: BTreeMap<Digest, Change<PutValue>>,
    pub(crate) records: BTreeMap<CallKey, Change<PutRecord>>,
    /// So many there have been, with those that later ones replaced.
    operations: u64,
    weight: u64,
}

/// What a new entry takes beside its bytes, about.
const PER_ENTRY: usize = 256;
/// What it takes to remove an entry or to put another in its place: copies of pages of several tables, about. What is new
/// takes as many pages, but the file grows by it all the same.
const PER_REPLACEMENT: usize = 1 << 14;

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.operations == 0
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations
    }

    /// How many bytes a commit of them takes for a while, beside what was there before and what is new. In memory they take no
    /// more than three times of it.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    fn count(&mut self, weight: usize) {
        self.operations += 1;
        self.weight += weight as u64;
    }
}

/// The changes that are not in redb yet.
#[derive(Default)]
pub(crate) struct Pending {
    state: Mutex<State>,
    /// Whether there are any, for readers to pass by.
    any: AtomicBool,
}

/// What [`Pending`] guards: whoever looks at an entry and changes it does both under the lock.
#[derive(Default)]
pub(crate) struct State {
    /// What the next commit takes.
    next: Changes,
    /// What a commit has taken and not done yet.
    taken: Arc<Changes>,
    /// How many changes there have been since the database was opened.
    sequence: u64,
}

impl State {
    /// What is to become of the value; `None` where redb has the word.
    pub(crate) fn value(&self, id: &Digest) -> Option<&Change<PutValue>> {
        self.next.values.get(id).or_else(|| self.taken.values.get(id))
    }

    pub(crate) fn has_removed_value(&self, id: &Digest) -> bool {
        matches!(self.value(id), Some(Change::Removed))
    }

    pub(crate) fn has_removed_record(&self, key: &Digest) -> bool {
        matches!(self.record(&CallKey::from(*key)), Some(Change::Removed))
    }

    /// What is to become of the record; `None` where redb has the word.
    pub(crate) fn record(&self, key: &CallKey) -> Option<&Change<PutRecord>> {
        self.next.records.get(key).or_else(|| self.taken.records.get(key))
    }
}

impl Pending {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under it panics and leaves it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the state has of something; `None` where it has nothing of anything.
    pub(crate) fn look<T>(&self, run: impl FnOnce(&State) -> Option<T>) -> Option<T> {
        if self.any.load(Ordering::Acquire) { run(&self.lock()) } else { None }
    }

    /// The number of the last change.
    pub(crate) fn sequence(&self) -> u64 {
        self.lock().sequence
    }

    /// The weight of what is not in redb yet, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        let state = self.lock();
        state.next.weight + state.taken.weight
    }

    /// Changes a value, and gives the change's number.
    pub(crate) fn change_value(&self, state: &mut State, id: &Digest, change: Change<PutValue>) -> u64 {
        state.next.count(match &change {
            Change::Put(value) => PER_ENTRY + value.bytes.len(),
            Change::Removed => PER_REPLACEMENT,
        });
        state.next.values.insert(*id, change);
        self.changed(state)
    }

    /// Changes a record, and gives the change's number.
    pub(crate) fn change_record(&self, state: &mut State, key: &CallKey, change: Change<PutRecord>) -> u64 {
        state.next.count(match &change {
            Change::Put(put) if put.is_new => PER_ENTRY + put.bytes.len() + size_of_val(&*put.rows),
            Change::Put(put) => PER_REPLACEMENT + put.bytes.len(),
            Change::Removed => PER_REPLACEMENT,
        });
        state.next.records.insert(*key, change);
        self.changed(state)
    }

    /// The number of a change that is made without being pending.
    pub(crate) fn count(&self) -> u64 {
        let mut state = self.lock();
        state.sequence += 1;
        state.sequence
    }

    fn changed(&self, state: &mut State) -> u64 {
        state.sequence += 1;
        self.any.store(true, Ordering::Release);
        state.sequence
    }

    /// What a commit is to do, with the number of the last change. It is followed by [`done`](Self::done) or
    /// [`failed`](Self::failed), before somebody takes again.
    pub(crate) fn take(&self) -> (Arc<Changes>, u64) {
        let mut state = self.lock();
        state.taken = Arc::new(mem::take(&mut state.next));
        (Arc::clone(&state.taken), state.sequence)
    }

    /// What was taken is in redb.
    pub(crate) fn done(&self) {
        let taken = {
            let mut state = self.lock();
            if state.next.is_empty() {
                self.any.store(false, Ordering::Release);
            }
            mem::take(&mut state.taken)
        };
        // Freed here, after the lock.
        drop(taken);
    }

    /// What was taken is not in redb, and is left for a later commit.
    pub(crate) fn failed(&self) {
        let mut state = self.lock();
        let taken = mem::take(&mut state.taken);
        let next = &mut state.next;
        for (id, change) in &taken.values {
            next.values.entry(*id).or_insert_with(|| change.clone());
        }
        for (key, change) in &taken.records {
            next.records.entry(*key).or_insert_with(|| change.clone());
        }
        next.operations += taken.operations;
        next.weight += taken.weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(pending: &Pending, id: u8, put: u64) {
        let change = Change::Put(PutValue { bytes: Bytes::new(), put });
        pending.change_value(&mut pending.lock(), &Digest::of(&[id]), change);
    }

    fn of(pending: &Pending, id: u8) -> Option<u64> {
        pending.look(|state| match state.value(&Digest::of(&[id])) {
            Some(Change::Put(value)) => Some(value.put),
            Some(Change::Removed) | None => None,
        })
    }

    #[test]
    fn what_a_commit_has_taken_is_seen_until_it_is_done() {
        let pending = Pending::default();
        put(&pending, 1, 1);
        let (taken, number) = pending.take();
        assert_eq!((taken.operations(), number, of(&pending, 1)), (1, 1, Some(1)));
        put(&pending, 2, 2);
        pending.done();
        assert_eq!((of(&pending, 1), of(&pending, 2), pending.sequence()), (None, Some(2), 2));
    }

    #[test]
    fn what_a_commit_has_failed_to_do_is_left_for_the_next_unless_it_has_been_changed_since() {
        let pending = Pending::default();
        put(&pending, 1, 1);
        put(&pending, 2, 1);
        drop(pending.take());
        put(&pending, 1, 2);
        pending.failed();
        assert_eq!((of(&pending, 1), of(&pending, 2)), (Some(2), Some(1)));
        assert_eq!(pending.take().0.operations(), 3);
    }
}
