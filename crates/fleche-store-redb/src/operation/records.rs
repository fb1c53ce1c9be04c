//! How a transaction changes records and the index of them.

use fleche_core::{CallKey, Digest, Record};
use redb::ReadableTable as _;

use super::Outcome;
use crate::{
    commit::Numbers,
    index::{Row, RowKey, call_of},
    tables::{RecordTables, Tables},
};

/// The key of the record's row in the index, and the record's bytes; `None` where there is not even the former.
pub(crate) fn divide(stored: &[u8]) -> Option<(RowKey, &[u8])> {
    stored.split_first_chunk().map(|(row, bytes)| (*row, bytes))
}

/// What stands in the place of a record.
enum There {
    /// A record, or damage, whose row has this key.
    Row(RowKey),
    LaterFormat,
    Nothing,
}

pub(super) fn put(
    tables: &mut Tables<'_>,
    numbers: &mut Numbers<'_>,
    key: &CallKey,
    bytes: &[u8],
    row: &Row,
) -> Result<Outcome, redb::Error> {
    let records = tables.records()?;
    let reusable = match there(records, key)? {
        There::LaterFormat => return Ok(Outcome::LaterFormat),
        There::Nothing => None,
        There::Row(row_key) => {
            let content = records.calls.get(&row_key)?.map(|content| content.value() == row.content);
            match content {
                Some(true) if row_key.starts_with(&row.function) => Some(row_key),
                _ => {
                    remove_row(records, key.digest(), &row_key)?;
                    None
                }
            }
        }
    };
    let row_key = if let Some(row_key) = reusable {
        row_key
    } else {
        let row_key = row.key(numbers.next(tables)?);
        tables.records()?.calls.insert(&row_key, &*row.content)?;
        row_key
    };
    let mut place = tables.records()?.records.insert_reserve(key.digest().as_bytes(), row_key.len() + bytes.len())?;
    let (head, rest) = place.as_mut().split_at_mut(row_key.len());
    head.copy_from_slice(&row_key);
    rest.copy_from_slice(bytes);
    Ok(Outcome::Changed(1))
}

pub(super) fn remove(
    tables: &mut RecordTables<'_>,
    key: &CallKey,
    only: Option<&Record>,
) -> Result<Outcome, redb::Error> {
    let found = tables.records.get(key.digest().as_bytes())?.map(|stored| {
        let stored = stored.value();
        let (row_key, bytes) = divide(stored).unwrap_or((RowKey::default(), stored));
        let unwanted = match Record::from_bytes(key, bytes) {
            Ok(Some(record)) => only.is_none_or(|only| record == *only),
            Ok(None) => false,
            Err(_) => only.is_none(),
        };
        (row_key, unwanted)
    });
    let Some((row_key, true)) = found else { return Ok(Outcome::Changed(0)) };
    tables.records.remove(key.digest().as_bytes())?;
    remove_row(tables, key.digest(), &row_key)?;
    Ok(Outcome::Changed(1))
}

/// Removes these bytes, if they are what is there.
pub(super) fn take(tables: &mut RecordTables<'_>, key: &Digest, bytes: &[u8]) -> Result<bool, redb::Error> {
    let there = tables.records.get(key.as_bytes())?.is_some_and(|there| there.value() == bytes);
    if there {
        tables.records.remove(key.as_bytes())?;
        if let Some((row_key, _)) = divide(bytes) {
            remove_row(tables, key, &row_key)?;
        }
    }
    Ok(there)
}

fn there(tables: &RecordTables<'_>, key: &CallKey) -> Result<There, redb::Error> {
    let Some(stored) = tables.records.get(key.digest().as_bytes())? else { return Ok(There::Nothing) };
    Ok(match divide(stored.value()) {
        Some((_, bytes)) if matches!(Record::from_bytes(key, bytes), Ok(None)) => There::LaterFormat,
        Some((row_key, _)) => There::Row(row_key),
        None => There::Nothing,
    })
}

/// Removes the row of this record. Where damage has led to another record's row, that stays.
fn remove_row(tables: &mut RecordTables<'_>, key: &Digest, row_key: &RowKey) -> Result<(), redb::Error> {
    let own =
        tables.calls.get(row_key)?.is_some_and(|row| call_of(row.value()).is_some_and(|call| call.digest() == key));
    if own {
        tables.calls.remove(row_key)?;
    }
    Ok(())
}
