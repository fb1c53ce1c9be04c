//! Pending changes, which all readers see and the next commit writes, and the lock that serializes commits.

use std::{
    collections::BTreeMap,
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use fleche_core::{CallKey, Digest, Record, spi::counted, store::kit::LockResultExt as _};

use crate::tables::RowKey;

/// The change of an entry.
#[derive(Clone)]
pub(crate) enum Change<T> {
    Put(T),
    Removed,
}

/// A value, and the time at which it was put, in nanoseconds since the Unix epoch.
#[derive(Clone)]
pub(crate) struct PutValue {
    pub(crate) bytes: Bytes,
    pub(crate) put: u64,
}

/// A record, its bytes, and its rows in the index.
#[derive(Clone)]
pub(crate) struct PutRecord {
    pub(crate) record: Record,
    pub(crate) bytes: Bytes,
    pub(crate) rows: Arc<[RowKey]>,
    /// Whether redb had no record of this call when it was put.
    pub(crate) is_new: bool,
}

/// The last change of each entry, in the order of redb's keys.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) values: BTreeMap<Digest, Change<PutValue>>,
    pub(crate) records: BTreeMap<CallKey, Change<PutRecord>>,
    /// The number of changes, including those that later ones replaced.
    operations: u64,
    weight: u64,
}

/// The approximate space that a new entry takes in addition to its bytes.
const PER_ENTRY: usize = 256;
/// The approximate space that it takes to remove or replace an entry: copies of pages of several tables. A new entry
/// takes as many pages, but the file has to grow for it anyway.
const PER_REPLACEMENT: usize = 1 << 14;

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.operations == 0
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations
    }

    /// Returns the number of bytes that a commit of these changes takes temporarily, in addition to old and new entries. In
    /// memory they take at most three times as much.
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
    /// Whether there are any changes, so that readers can skip the lock.
    any: AtomicBool,
}

/// The content of [`Pending`]. A thread that reads an entry and then changes it does both under the lock.
#[derive(Default)]
pub(crate) struct State {
    /// The changes of the next commit.
    next: Changes,
    /// The changes that a running commit writes.
    committing: Arc<Changes>,
    /// The number of changes since the database was opened.
    sequence: u64,
}

impl State {
    /// Returns the pending change of the value, or `None` if redb's content is current.
    pub(crate) fn value(&self, id: &Digest) -> Option<&Change<PutValue>> {
        self.next.values.get(id).or_else(|| self.committing.values.get(id))
    }

    pub(crate) fn has_removed_value(&self, id: &Digest) -> bool {
        matches!(self.value(id), Some(Change::Removed))
    }

    pub(crate) fn has_removed_record(&self, key: &Digest) -> bool {
        matches!(self.record(&CallKey::from(*key)), Some(Change::Removed))
    }

    /// Returns the pending change of the record, or `None` if redb's content is current.
    pub(crate) fn record(&self, key: &CallKey) -> Option<&Change<PutRecord>> {
        self.next.records.get(key).or_else(|| self.committing.records.get(key))
    }
}

impl Pending {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // No code that runs under the lock can panic and leave the state half modified.
        self.state.lock().ignore_poison()
    }

    /// Returns the result of `run` on the state, or `None` if there are no pending changes at all.
    pub(crate) fn read_state<T>(&self, run: impl FnOnce(&State) -> Option<T>) -> Option<T> {
        if self.any.load(Ordering::Acquire) { run(&self.lock()) } else { None }
    }

    /// Returns the number of the last change.
    pub(crate) fn sequence(&self) -> u64 {
        self.lock().sequence
    }

    /// Returns the weight of all pending changes, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        let state = self.lock();
        state.next.weight + state.committing.weight
    }

    /// Adds a change of a value, and returns its number.
    pub(crate) fn change_value(&self, state: &mut State, id: &Digest, change: Change<PutValue>) -> u64 {
        state.next.count(match &change {
            Change::Put(value) => PER_ENTRY + value.bytes.len(),
            Change::Removed => PER_REPLACEMENT,
        });
        state.next.values.insert(*id, change);
        self.changed(state)
    }

    /// Adds a change of a record, and returns its number.
    pub(crate) fn change_record(&self, state: &mut State, key: &CallKey, change: Change<PutRecord>) -> u64 {
        state.next.count(match &change {
            Change::Put(put) if put.is_new => PER_ENTRY + put.bytes.len() + size_of_val(&*put.rows),
            Change::Put(put) => PER_REPLACEMENT + put.bytes.len(),
            Change::Removed => PER_REPLACEMENT,
        });
        state.next.records.insert(*key, change);
        self.changed(state)
    }

    /// Returns the number of a new change that does not become pending.
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

    /// Takes the changes for a commit, with the number of the last change. [`finish_commit`](Self::finish_commit) or
    /// [`undo_commit`](Self::undo_commit) must follow before the next call.
    pub(crate) fn start_commit(&self) -> (Arc<Changes>, u64) {
        let mut state = self.lock();
        state.committing = Arc::new(mem::take(&mut state.next));
        (Arc::clone(&state.committing), state.sequence)
    }

    /// Drops the changes of the commit, which are in redb now.
    pub(crate) fn finish_commit(&self) {
        let committing = {
            let mut state = self.lock();
            if state.next.is_empty() {
                self.any.store(false, Ordering::Release);
            }
            mem::take(&mut state.committing)
        };
        // Freed after the lock is released.
        drop(committing);
    }

    /// Returns the changes of the commit, which are not in redb, to the next commit.
    pub(crate) fn undo_commit(&self) {
        let mut state = self.lock();
        let committing = mem::take(&mut state.committing);
        let next = &mut state.next;
        for (id, change) in &committing.values {
            next.values.entry(*id).or_insert_with(|| change.clone());
        }
        for (key, change) in &committing.records {
            next.records.entry(*key).or_insert_with(|| change.clone());
        }
        next.operations += committing.operations;
        next.weight += committing.weight;
    }
}

/// The smallest limit of the weight of pending changes.
pub(crate) const MIN_PENDING_WEIGHT: u64 = 1 << 17;

/// The numbers of commits since a database was opened, and of their operations: entries that were put, removed or
/// quarantined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitStats {
    /// The number of committed transactions.
    pub commits: u64,
    /// The number of commits that waited for the disk.
    pub durable: u64,
    /// The number of operations in these commits.
    pub operations: u64,
}

impl fmt::Display for CommitStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (commits, operations) = (counted(self.commits, "commit", "commits"), self.operations);
        write!(f, "{commits}, {} durable, of {}", self.durable, counted(operations, "operation", "operations"))
    }
}

/// The lock that serializes commits, and their state.
pub(crate) struct Commits {
    state: Mutex<CommitState>,
    /// The number up to which all changes are durable.
    pub(crate) durable: AtomicU64,
    /// The maximum weight of pending changes, in bytes.
    pub(crate) max_pending_weight: AtomicU64,
    pub(crate) stats: Mutex<CommitStats>,
}

/// The state that a thread holds locked while it commits.
#[derive(Default)]
pub(crate) struct CommitState {
    /// The number up to which all changes are in redb.
    pub(crate) committed: u64,
    /// The number of bytes of the file that non-durable commits have taken since the last durable one.
    pub(crate) non_durable_bytes: u64,
}

impl Default for Commits {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            durable: AtomicU64::new(0),
            max_pending_weight: AtomicU64::new(MIN_PENDING_WEIGHT),
            stats: Mutex::default(),
        }
    }
}

impl Commits {
    pub(crate) fn stats(&self) -> CommitStats {
        *self.stats.lock().ignore_poison()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, CommitState> {
        self.state.lock().ignore_poison()
    }

    pub(crate) fn max_pending_weight(&self) -> u64 {
        self.max_pending_weight.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(pending: &Pending, id: u8, put: u64) {
        let change = Change::Put(PutValue { bytes: Bytes::new(), put });
        pending.change_value(&mut pending.lock(), &Digest::hash(&[id]), change);
    }

    fn of(pending: &Pending, id: u8) -> Option<u64> {
        pending.read_state(|state| match state.value(&Digest::hash(&[id])) {
            Some(Change::Put(value)) => Some(value.put),
            Some(Change::Removed) | None => None,
        })
    }

    #[test]
    fn changes_of_a_running_commit_are_visible_until_it_is_done() {
        let pending = Pending::default();
        put(&pending, 1, 1);
        let (committing, number) = pending.start_commit();
        assert_eq!((committing.operations(), number, of(&pending, 1)), (1, 1, Some(1)));
        put(&pending, 2, 2);
        pending.finish_commit();
        assert_eq!((of(&pending, 1), of(&pending, 2), pending.sequence()), (None, Some(2), 2));
    }

    #[test]
    fn changes_of_failed_commit_are_kept_unless_replaced_since() {
        let pending = Pending::default();
        put(&pending, 1, 1);
        put(&pending, 2, 1);
        drop(pending.start_commit());
        put(&pending, 1, 2);
        pending.undo_commit();
        assert_eq!((of(&pending, 1), of(&pending, 2)), (Some(2), Some(1)));
        assert_eq!(pending.start_commit().0.operations(), 3);
    }
}
