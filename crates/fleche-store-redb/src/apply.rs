//! Applies changes to values, records and the index of records in a transaction.

use fleche_core::{
    CallKey, Digest, Record,
    store::kit::{Entry, Kind, MAX_QUARANTINED, quarantined},
};
use redb::{ReadOnlyTable, ReadableTable as _};

use crate::{
    pending::{Change, PutRecord, PutValue},
    tables::{Blob, Bytes32, RecordTables, RowKey, Snapshot, Tables, ValueTables, index_rows},
};

/// The change of one entry.
pub(crate) enum EntryChange<'a> {
    Value(&'a Digest, &'a Change<PutValue>),
    Record(&'a CallKey, &'a Change<PutRecord>),
}

/// An operation that the calling thread commits in a transaction of its own.
pub(crate) enum Direct<'a> {
    /// Stores a value that is too large to be copied, or resets its age.
    PutValue { id: &'a Digest, bytes: &'a [u8], put: u64 },
    /// Moves these bytes to the quarantine, if they are still stored.
    Quarantine { entry: Entry, bytes: &'a [u8] },
}

impl EntryChange<'_> {
    pub(crate) fn apply(&self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        match self {
            Self::Value(id, Change::Put(value)) => put_value(tables.values()?, id, &value.bytes, value.put),
            Self::Value(id, Change::Removed) => remove_value(tables.values()?, id),
            Self::Record(key, Change::Put(put)) => put_record(tables.records()?, key, put),
            Self::Record(key, Change::Removed) => remove_record(tables.records()?, key),
        }
    }

    /// Returns whether the snapshot reflects the change, and the entry is in order between its neighbors.
    pub(crate) fn is_stored_in(&self, snapshot: &Snapshot) -> Result<bool, redb::Error> {
        match self {
            Self::Value(id, Change::Put(_)) => is_in_order(&snapshot.values, id, |_| true),
            Self::Value(id, Change::Removed) => Ok(snapshot.values.get(id.as_bytes())?.is_none()),
            Self::Record(key, Change::Put(put)) => {
                is_in_order(&snapshot.records, key.digest(), |found| found == &*put.bytes)
            }
            Self::Record(key, Change::Removed) => Ok(snapshot.records.get(key.digest().as_bytes())?.is_none()),
        }
    }
}

fn is_in_order(
    table: &ReadOnlyTable<Bytes32, Blob>,
    digest: &Digest,
    matches: impl FnOnce(&[u8]) -> bool,
) -> Result<bool, redb::Error> {
    let key = digest.as_bytes();
    let mut from = table.range::<&[u8; 32]>(key..)?;
    let found = from.next().transpose()?.is_some_and(|(found, bytes)| found.value() == key && matches(bytes.value()));
    let next_follows = from.next().transpose()?.is_none_or(|(next, _)| next.value() > key);
    let last_before = table.range::<&[u8; 32]>(..key)?.next_back().transpose()?;
    Ok(found && next_follows && last_before.is_none_or(|(last, _)| last.value() < key))
}

impl Direct<'_> {
    /// Executes the operation. Returns whether it changed anything.
    pub(crate) fn apply(&self, tables: &mut Tables<'_>) -> Result<bool, redb::Error> {
        match self {
            Self::PutValue { id, bytes, put } => put_value(tables.values()?, id, bytes, *put).map(|()| true),
            Self::Quarantine { entry, bytes } => quarantine(tables, *entry, bytes),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::PutValue { bytes, .. } | Self::Quarantine { bytes, .. } => bytes.len(),
        }
    }
}

fn put_value(tables: &mut ValueTables<'_>, id: &Digest, bytes: &[u8], put: u64) -> Result<(), redb::Error> {
    // Other bytes under this digest are damaged.
    let is_stored = tables.values.get(id.as_bytes())?.is_some_and(|known| known.value() == bytes);
    if !is_stored {
        tables.values.insert(id.as_bytes(), bytes)?;
    }
    tables.ages.insert(id.as_bytes(), put)?;
    Ok(())
}

fn remove_value(tables: &mut ValueTables<'_>, id: &Digest) -> Result<(), redb::Error> {
    tables.ages.remove(id.as_bytes())?;
    tables.values.remove(id.as_bytes())?;
    Ok(())
}

fn put_record(tables: &mut RecordTables<'_>, key: &CallKey, put: &PutRecord) -> Result<(), redb::Error> {
    let digest = key.digest().as_bytes();
    let before = tables.records.insert(digest, &*put.bytes)?;
    let outdated = before.map(|before| rows_of(key, before.value())).unwrap_or_default();
    for row in outdated.iter().filter(|row| !put.rows.contains(row)) {
        tables.index.remove(row)?;
    }
    for row in &*put.rows {
        tables.index.insert(row, ())?;
    }
    Ok(())
}

fn remove_record(tables: &mut RecordTables<'_>, key: &CallKey) -> Result<(), redb::Error> {
    let before = tables.records.remove(key.digest().as_bytes())?;
    let rows = before.map(|before| rows_of(key, before.value())).unwrap_or_default();
    for row in rows {
        tables.index.remove(&row)?;
    }
    Ok(())
}

/// Returns the rows of a record that is replaced or removed. Those of a damaged record are unknown: they stay, and lead
/// to no record or to its replacement.
fn rows_of(key: &CallKey, bytes: &[u8]) -> Vec<RowKey> {
    match Record::from_bytes(key, bytes) {
        Ok(Some(record)) => index_rows(key, &record),
        Ok(None) | Err(_) => Vec::new(),
    }
}

fn quarantine(tables: &mut Tables<'_>, entry: Entry, bytes: &[u8]) -> Result<bool, redb::Error> {
    let Entry { kind, digest } = &entry;
    let is_stored = match kind {
        Kind::Value => is_stored(&tables.values()?.values, digest, bytes)?,
        Kind::Record => is_stored(&tables.records()?.records, digest, bytes)?,
    };
    if !is_stored {
        return Ok(false);
    }
    match kind {
        Kind::Value => remove_value(tables.values()?, digest)?,
        Kind::Record => drop(tables.records()?.records.remove(digest.as_bytes())?),
    }
    if let Some(kept) = quarantined(entry, bytes) {
        let mut damaged = tables.damaged()?;
        let last = damaged.last()?.map(|(number, _)| number.value());
        let number = last.map_or(0, |last| last.saturating_add(1));
        damaged.insert(number, &*kept)?;
        damaged.retain_in(..number.saturating_sub(MAX_QUARANTINED as u64 - 1), |_, _| false)?;
    }
    Ok(true)
}

fn is_stored(table: &redb::Table<'_, Bytes32, Blob>, digest: &Digest, bytes: &[u8]) -> Result<bool, redb::Error> {
    Ok(table.get(digest.as_bytes())?.is_some_and(|stored| stored.value() == bytes))
}
