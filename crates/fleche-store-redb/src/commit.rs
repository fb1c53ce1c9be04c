//! Commits: pending changes are written to redb in one transaction, durably or not.

use std::{fs, sync::atomic::Ordering};

use fleche_core::{
    Result,
    store::kit::{
        LockResultExt as _,
        log::{self, Throttle},
    },
};
use redb::Durability;

use crate::{
    apply::{Direct, EntryChange},
    database::Inner,
    db_handle::FileFault,
    error::{backend, catch_panic, is_damage},
    flusher::{Flush, Flusher},
    pending::{Changes, CommitState, MIN_PENDING_WEIGHT},
    tables::{Snapshot, Tables},
};

/// The weight of pending changes is limited to this fraction of the file's size: during a commit, and until the next
/// durable one, the file holds both the old and the new pages.
const FILE_FRACTION: u64 = 12;
const MAX_PENDING_WEIGHT: u64 = 1 << 24;
/// The approximate space that a commit takes in addition to its changes: copies of some pages.
const COMMIT_OVERHEAD: u64 = 1 << 14;

impl Inner {
    /// Returns once all changes up to this number are durable. Threads that wait at the same time share the next
    /// commit.
    pub(crate) fn make_durable(&self, number: u64) -> Result<()> {
        if self.is_read_only {
            return Ok(());
        }
        let mut state = self.commits.lock();
        if self.commits.durable.load(Ordering::Acquire) >= number && !self.integrity.needs_repair() {
            return Ok(());
        }
        self.commit(&mut state, None, true).map(drop)
    }

    /// Returns once all earlier changes are in redb, durable or not.
    pub(crate) fn flush_pending(&self) -> Result<()> {
        if self.is_read_only {
            return Ok(());
        }
        let number = self.pending.sequence();
        let mut state = self.commits.lock();
        if state.committed >= number && !self.integrity.needs_repair() {
            return Ok(());
        }
        self.commit(&mut state, None, false).map(drop)
    }

    /// Returns whether pending changes exceed half of their limit.
    pub(crate) fn is_filling(&self) -> bool {
        self.pending.weight() > self.commits.max_pending_weight() / 2
    }

    /// Returns once pending changes are below their limit.
    pub(crate) fn apply_backpressure(&self) -> Result<()> {
        let is_full = || self.pending.weight() > self.commits.max_pending_weight();
        if !is_full() {
            return Ok(());
        }
        let mut state = self.commits.lock();
        if is_full() { self.commit(&mut state, None, true).map(drop) } else { Ok(()) }
    }

    /// Makes everything durable, then runs `run` while no other thread commits.
    pub(crate) fn exclusive<T>(&self, run: impl FnOnce() -> T) -> Result<T> {
        let mut state = self.commits.lock();
        if self.has_pending() {
            self.commit(&mut state, None, true)?;
        }
        let done = run();
        self.update_pending_limit();
        Ok(done)
    }

    /// Executes the operation in a commit, after all pending changes. Returns whether it changed anything.
    pub(crate) fn commit_direct(&self, direct: &Direct<'_>, durable: bool) -> Result<bool> {
        if self.is_read_only {
            return Err(self.name.read_only());
        }
        let mut state = self.commits.lock();
        self.pending.count();
        self.commit(&mut state, Some(direct), durable)
    }

    fn commit(&self, state: &mut CommitState, direct: Option<&Direct<'_>>, durable: bool) -> Result<bool> {
        let (changes, last) = self.pending.start_commit();
        let weight = COMMIT_OVERHEAD + changes.weight() + direct.map_or(0, |direct| direct.len() as u64);
        let durable = durable || state.non_durable_bytes + weight > self.commits.max_pending_weight();
        self.try_repair();
        let done = self.transact(&changes, direct, durable);
        match done {
            Ok(_) => self.pending.finish_commit(),
            Err(_) => self.pending.undo_commit(),
        }
        let done = done.map_err(|error| self.failed(&error))?;
        state.committed = last;
        if durable {
            state.non_durable_bytes = 0;
            self.commits.durable.store(last, Ordering::Release);
            self.update_pending_limit();
        } else {
            state.non_durable_bytes += weight;
        }
        Ok(done)
    }

    /// Writes all changes in one transaction. If damaged pages prevent that, the file is repaired; if that fails, as
    /// many changes as possible are written, so that an entry that cannot be stored does not affect the others.
    fn transact(&self, changes: &Changes, direct: Option<&Direct<'_>>, durable: bool) -> Result<bool, redb::Error> {
        let entries: Vec<_> = changes
            .values
            .iter()
            .map(|(id, change)| EntryChange::Value(id, change))
            .chain(changes.records.iter().map(|(key, change)| EntryChange::Record(key, change)))
            .collect();
        let mut done = self.transaction(&entries, direct, durable);
        // A file that seems sound but fails again is damaged.
        for fault in [FileFault::Suspected, FileFault::Damaged] {
            let Err(error) = &done else { break };
            if is_damage(error) {
                self.integrity.note(fault);
            } else {
                self.note(error);
            }
            if !self.try_repair() {
                break;
            }
            done = self.transaction(&entries, direct, durable);
        }
        let done = match done {
            Err(error) if is_damage(&error) && !entries.is_empty() => {
                self.commit_in_parts(&entries)?;
                self.transaction(&[], direct, durable)
            }
            done => done,
        }?;
        let mut stats = self.commits.stats.lock().ignore_poison();
        stats.operations += changes.operations() + u64::from(direct.is_some());
        Ok(done)
    }

    fn commit_in_parts(&self, entries: &[EntryChange<'_>]) -> Result<(), redb::Error> {
        match self.transaction(entries, None, false) {
            Err(error) if is_damage(&error) && entries.len() < 2 => {
                log::warn!("an entry cannot be stored and is lost: {}", backend(&self.name, &error).report());
                Ok(())
            }
            Err(error) if is_damage(&error) => {
                let (some, others) = entries.split_at(entries.len() / 2);
                self.commit_in_parts(some)?;
                self.commit_in_parts(others)
            }
            done => done.map(drop),
        }
    }

    fn transaction(
        &self,
        entries: &[EntryChange<'_>],
        direct: Option<&Direct<'_>>,
        durable: bool,
    ) -> Result<bool, redb::Error> {
        catch_panic(|| {
            let redb = self.redb.read().ignore_poison();
            // Pages that only this snapshot uses can be reused.
            self.renew_snapshot();
            let mut transaction = redb.get()?.begin_write()?;
            if durable {
                // Opening after a crash is fast then, and one damaged entry does not make redb reject the whole file.
                transaction.set_quick_repair(true);
            } else {
                transaction.set_durability(Durability::None)?;
            }
            let mut tables = Tables::new(&transaction);
            entries.iter().try_for_each(|entry| entry.apply(&mut tables))?;
            let changed = direct.map_or(Ok(false), |direct| direct.apply(&mut tables))?;
            drop(tables);
            if !durable && !changed && entries.is_empty() {
                transaction.abort()?;
                return Ok(false);
            }
            transaction.commit()?;
            self.renew_snapshot();
            // The direct operation may have reverted one of the changes.
            if direct.is_none() {
                check_stored(&*self.snapshot(&redb)?, entries).inspect_err(|error| {
                    if is_damage(error) {
                        self.integrity.note(FileFault::Damaged);
                    }
                })?;
            }
            let mut stats = self.commits.stats.lock().ignore_poison();
            stats.commits += 1;
            stats.durable += u64::from(durable);
            Ok(changed)
        })
    }

    /// Sets the limit of pending changes from the length of the file.
    pub(crate) fn update_pending_limit(&self) {
        let length = fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        self.commits
            .max_pending_weight
            .store((length / FILE_FRACTION).clamp(MIN_PENDING_WEIGHT, MAX_PENDING_WEIGHT), Ordering::Relaxed);
    }
}

impl Flush for Inner {
    fn flusher(&self) -> &Flusher {
        &self.flusher
    }

    fn flush(&self) -> bool {
        let durable = self.make_durable(self.pending.sequence());
        durable
            .inspect_err(|error| {
                static FAULTS: Throttle = Throttle::new();
                log::warn_rarely!(
                    &FAULTS,
                    error.kind(),
                    "recent entries of a redb store may be lost: {}",
                    error.report()
                );
            })
            .is_ok()
    }

    fn has_pending(&self) -> bool {
        self.commits.durable.load(Ordering::Acquire) < self.pending.sequence()
    }
}

/// The number of entries that are looked up after a commit.
const MAX_CHECKED: usize = 64;

/// Fails if one of a sample of the entries is not found. redb does not verify the pages that it reads: if two pages are
/// swapped, it may store an entry where lookups do not find it.
fn check_stored(snapshot: &Snapshot, entries: &[EntryChange<'_>]) -> Result<(), redb::Error> {
    for entry in entries.iter().step_by(entries.len().div_ceil(MAX_CHECKED).max(1)) {
        if !entry.is_stored_in(snapshot)? {
            return Err(redb::Error::Corrupted("a stored entry is not found".to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use fleche_core::Digest;

    use super::MIN_PENDING_WEIGHT;
    use crate::{Durability, database::Database};

    #[test]
    fn threads_that_wait_for_the_disk_share_a_commit() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join("a")).unwrap();
        thread::scope(|scope| {
            let state = database.inner.commits.lock();
            for byte in 0..8 {
                let database = &database;
                let put = move || database.put_value(&Digest::hash(&[byte]), &[byte], Durability::Immediate);
                scope.spawn(move || put().unwrap());
            }
            while database.inner.pending.sequence() < 8 {
                thread::yield_now();
            }
            drop(state);
        });
        let stats = database.inner.commits.stats();
        assert_eq!((stats.commits, stats.durable, stats.operations), (1, 1, 8));
    }

    #[test]
    fn store_thread_commits_when_pending_reaches_half_the_limit() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join("a")).unwrap();
        // Three quarters of the limit, below the point where `put` commits.
        let number_of = |weight: u64| weight / (1000 + 256);
        for number in 0..number_of(MIN_PENDING_WEIGHT / 4 * 3) {
            let bytes = [number.to_le_bytes().as_slice(), &[0; 992]].concat();
            database.put_value(&Digest::hash(&bytes), &bytes, Durability::None).unwrap();
        }
        // Loops forever if no thread commits.
        while database.inner.commits.stats().commits == 0 {
            thread::yield_now();
        }
    }
}
