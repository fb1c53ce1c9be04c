//! Writes: changes are pending until a commit takes them together with those of other threads.

use std::time::Duration;

use bytes::Bytes;
use fleche_core::{CallKey, Digest, Record, Result};

use crate::{
    apply::Direct,
    database::{Database, Inner},
    error::{is_damage, needs_reopen},
    flusher::Flusher,
    pending::{Change, PutRecord, PutValue},
    tables::{Durability, age, index_rows, now},
};

/// The maximum size of a value that is copied to be pending. `put` commits larger values itself.
const MOST_COPIED: usize = 1 << 16;

impl Database {
    /// Stores a value, or resets its age. All readers see that when this returns.
    pub(crate) fn put_value(&self, id: &Digest, bytes: &[u8], durability: Durability) -> Result<()> {
        let put = now();
        if bytes.len() > MOST_COPIED {
            self.inner.commit_direct(&Direct::PutValue { id, bytes, put }, durability == Durability::Immediate)?;
            self.schedule_flush(durability);
            return Ok(());
        }
        self.inner.apply_backpressure()?;
        let change = Change::Put(PutValue { bytes: Bytes::copy_from_slice(bytes), put });
        let pending = &self.inner.pending;
        let number = pending.change_value(&mut pending.lock(), id, change);
        self.ensure_durability(number, durability)
    }

    /// Removes those of these values that are older than `older_than`, or all of them if it is `None`. Returns how many
    /// were removed.
    pub(crate) fn remove_values(
        &self,
        ids: &[Digest],
        older_than: Option<Duration>,
        durability: Durability,
    ) -> Result<u64> {
        let (mut removed, mut last) = (0, None);
        for id in ids {
            if let Some(number) = self.remove_value(id, older_than)? {
                removed += 1;
                last = Some(number);
            }
        }
        last.map_or(Ok(()), |number| self.ensure_durability(number, durability))?;
        Ok(removed)
    }

    /// Removes a value if it exists and is older than `older_than`. Returns the number of the change, or `None` if
    /// nothing was removed.
    fn remove_value(&self, id: &Digest, older_than: Option<Duration>) -> Result<Option<u64>> {
        self.inner.apply_backpressure()?;
        let pending = &self.inner.pending;
        let mut state = pending.lock();
        let put = match state.value(id) {
            Some(Change::Put(value)) => Some(value.put),
            Some(Change::Removed) => None,
            None => self.inner.read(|snapshot| {
                let is_stored = snapshot.values.get(id.as_bytes())?.is_some();
                Ok(if is_stored { Some(snapshot.put(id)?.unwrap_or(0)) } else { None })
            })?,
        };
        let unwanted = put.is_some_and(|put| older_than.is_none_or(|limit| age(put) > limit));
        if !unwanted {
            return Ok(None);
        }
        Ok(Some(pending.change_value(&mut state, id, Change::Removed)))
    }

    /// Stores a record. All readers see it when this returns.
    pub(crate) fn put_record(&self, key: &CallKey, record: &Record, durability: Durability) -> Result<()> {
        let bytes: Bytes = record.to_bytes(key)?.into();
        let rows = index_rows(key, record).into();
        let is_new = match self.inner.stored_entry(key)? {
            StoredEntry::LaterFormat => return Err(self.inner.name.later_format(key)),
            StoredEntry::Nothing => true,
            StoredEntry::Record => false,
        };
        self.inner.apply_backpressure()?;
        let change = Change::Put(PutRecord { record: record.clone(), bytes, rows, is_new });
        let pending = &self.inner.pending;
        let number = pending.change_record(&mut pending.lock(), key, change);
        self.ensure_durability(number, durability)
    }

    /// Removes a record; if `only` is given, only if the record equals it. Records of a later format stay. Returns
    /// whether a record was removed.
    pub(crate) fn remove_record(&self, key: &CallKey, only: Option<&Record>, durability: Durability) -> Result<bool> {
        self.inner.apply_backpressure()?;
        let is_unwanted = |record: &Record| only.is_none_or(|only| record == only);
        let pending = &self.inner.pending;
        let mut state = pending.lock();
        let unwanted = match state.record(key) {
            Some(Change::Put(put)) => is_unwanted(&put.record),
            Some(Change::Removed) => false,
            None => self.inner.read(|snapshot| {
                let found = snapshot.records.get(key.digest().as_bytes())?;
                Ok(found.is_some_and(|stored| match Record::from_bytes(key, stored.value()) {
                    Ok(Some(record)) => is_unwanted(&record),
                    Ok(None) => false,
                    Err(_) => only.is_none(),
                }))
            })?,
        };
        if !unwanted {
            return Ok(false);
        }
        let number = pending.change_record(&mut state, key, Change::Removed);
        drop(state);
        self.ensure_durability(number, durability).map(|()| true)
    }

    /// Returns once all earlier changes are durable.
    pub(crate) fn sync(&self, durability: Durability) -> Result<()> {
        if durability == Durability::None {
            return Ok(());
        }
        self.inner.make_durable(self.inner.pending.sequence())
    }

    /// Makes the change with this number durable, now or later, as the durability requires.
    fn ensure_durability(&self, number: u64, durability: Durability) -> Result<()> {
        if durability == Durability::Immediate {
            return self.inner.make_durable(number);
        }
        self.schedule_flush(durability);
        Ok(())
    }

    fn schedule_flush(&self, durability: Durability) {
        if self.inner.is_filling() {
            Flusher::flush_now(&self.inner);
        } else if durability == Durability::Eventual {
            Flusher::schedule(&self.inner);
        }
    }
}

/// The present entry of a call.
enum StoredEntry {
    /// An intact or damaged record.
    Record,
    LaterFormat,
    Nothing,
}

impl Inner {
    fn stored_entry(&self, key: &CallKey) -> Result<StoredEntry> {
        if let Some(entry) = self.pending.read_state(|state| {
            state
                .record(key)
                .map(|change| if matches!(change, Change::Put(_)) { StoredEntry::Record } else { StoredEntry::Nothing })
        }) {
            return Ok(entry);
        }
        let entry = self.try_read(|snapshot| {
            let found = snapshot.records.get(key.digest().as_bytes())?;
            Ok(found.map_or(StoredEntry::Nothing, |stored| match Record::from_bytes(key, stored.value()) {
                Ok(None) => StoredEntry::LaterFormat,
                Ok(Some(_)) | Err(_) => StoredEntry::Record,
            }))
        });
        match entry {
            // The entry cannot be read; the next commit repairs the file.
            Err(error) if is_damage(&error) || needs_reopen(&error) => {
                self.note(&error);
                Ok(StoredEntry::Nothing)
            }
            entry => entry.map_err(|error| self.failed(&error)),
        }
    }
}
