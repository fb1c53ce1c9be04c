//! Reads from a snapshot, which is kept from one commit to the next, and verifies every entry.

use std::sync::Arc;

use bytes::Bytes;
use fleche_core::{
    CallKey, Digest, Error, Record, Result,
    store::{
        Check,
        kit::{Entry, LockResultExt as _, damage_reason, read_verified},
    },
};

use crate::{
    Durability,
    apply::Direct,
    database::{Database, Inner},
    db_handle::{DbHandle, FileFault},
    error::{backend, catch_panic, is_damage, needs_reopen},
    pending::Change,
    tables::Snapshot,
};

/// The part of error messages that says what happens to entries on damaged pages.
const REPAIRED: &str = "the next commit keeps what can be read of the file";

/// The part of error messages that says where a damaged entry is.
const MOVED: &str = "it was moved to the table `damaged`";

impl Inner {
    /// Runs an operation on the last commit. It must not take long, since pages that commits free are not reused before
    /// it ends.
    pub(crate) fn read<T>(&self, run: impl FnOnce(&Snapshot) -> Result<T, redb::Error>) -> Result<T> {
        self.try_read(run).map_err(|error| self.failed(&error))
    }

    /// Like [`read`](Self::read), for one entry. If pages of the file are damaged, the entry counts as damaged: its call is
    /// computed and recorded again, and that commit repairs the file.
    pub(crate) fn read_entry<T>(
        &self,
        entry: Entry,
        run: impl FnOnce(&Snapshot) -> Result<T, redb::Error>,
    ) -> Result<T> {
        self.try_read(run).map_err(|error| {
            if !is_damage(&error) {
                return self.failed(&error);
            }
            self.note(&error);
            self.name.damaged(entry, &error.to_string(), REPAIRED)
        })
    }

    /// Like [`read`](Self::read), but returns redb's error.
    pub(crate) fn try_read<T>(&self, run: impl FnOnce(&Snapshot) -> Result<T, redb::Error>) -> Result<T, redb::Error> {
        if self.integrity.to_repair() == FileFault::NeedsReopen {
            self.reopen();
        }
        catch_panic(|| {
            let redb = self.redb.read().ignore_poison();
            run(&*self.snapshot(&redb)?)
        })
    }

    /// Returns a snapshot of the last commit.
    pub(crate) fn snapshot(&self, redb: &DbHandle) -> Result<Arc<Snapshot>, redb::Error> {
        let mut kept = self.snapshot.lock().ignore_poison();
        Ok(match &*kept {
            Some(snapshot) => Arc::clone(snapshot),
            // Created under the lock, so that a concurrent commit finds this snapshot and discards it.
            None => Arc::clone(kept.insert(Arc::new(Snapshot::new(&redb.begin_read()?)?))),
        })
    }

    /// Notes the fault of the file that an error of redb indicates.
    pub(crate) fn note(&self, error: &redb::Error) {
        if is_damage(error) {
            self.integrity.note(FileFault::Suspected);
        } else if needs_reopen(error) {
            self.integrity.note(FileFault::NeedsReopen);
        }
    }

    /// Notes and converts an error of redb. The next commit repairs damage.
    pub(crate) fn failed(&self, error: &redb::Error) -> Error {
        self.note(error);
        backend(&self.name, error)
    }

    /// Discards the snapshot, so that later reads see the last commit.
    pub(crate) fn renew_snapshot(&self) {
        let old = self.snapshot.lock().ignore_poison().take();
        // Freed after the lock is released.
        drop(old);
    }
}

impl Database {
    /// Returns the result of the check on the value's bytes, which are copied once, or `None` if there is no entry.
    pub(crate) fn value(&self, id: &Digest, check: Check<'_>, durability: Durability) -> Result<Option<Bytes>> {
        let entry = Entry::value(id);
        let read = || {
            let bytes = match self.inner.pending.read_state(|state| state.value(id).cloned()) {
                Some(Change::Put(value)) => Some(value.bytes),
                Some(Change::Removed) => None,
                None => self.inner.read_entry(entry, |snapshot| {
                    let found = snapshot.values.get(id.as_bytes())?;
                    Ok(found.map(|found| Bytes::copy_from_slice(found.value())))
                })?,
            };
            let Some(bytes) = bytes else { return Ok(Ok(None)) };
            Ok(check(bytes.clone()).map(Some).map_err(|why| (why, bytes)))
        };
        read_verified(&self.inner.name, entry, MOVED, read, |bytes| self.quarantine(entry, bytes, durability))
    }

    /// Returns the record, or `None` if there is none or it has a later format.
    pub(crate) fn record(&self, key: &CallKey, durability: Durability) -> Result<Option<Record>> {
        self.read_record(key, durability, Record::clone, Record::from_bytes)
    }

    /// Applies `of_pending` to a pending record, or `decode` to the stored bytes, which are not copied.
    pub(crate) fn read_record<T>(
        &self,
        key: &CallKey,
        durability: Durability,
        of_pending: fn(&Record) -> T,
        decode: fn(&CallKey, &[u8]) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let pending = self.inner.pending.read_state(|state| {
            state.record(key).map(|change| match change {
                Change::Put(put) => Some(of_pending(&put.record)),
                Change::Removed => None,
            })
        });
        if let Some(pending) = pending {
            return Ok(pending);
        }
        let entry = Entry::record(key);
        let read = || {
            self.inner.read_entry(entry, |snapshot| {
                let Some(found) = snapshot.records.get(key.digest().as_bytes())? else { return Ok(Ok(None)) };
                let record = decode(key, found.value());
                Ok(record.map_err(|error| (damage_reason(error), Bytes::copy_from_slice(found.value()))))
            })
        };
        read_verified(&self.inner.name, entry, MOVED, read, |bytes| self.quarantine(entry, bytes, durability))
    }

    /// Moves damaged bytes to the quarantine. Returns whether they were still stored.
    fn quarantine(&self, entry: Entry, bytes: &[u8], durability: Durability) -> Result<bool> {
        self.inner.commit_direct(&Direct::Quarantine { entry, bytes }, durability == Durability::Immediate)
    }
}
