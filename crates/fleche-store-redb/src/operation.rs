//! `Operation`: what a caller wants changed, and how a transaction does it.

mod records;
mod values;

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use fleche_core::{CallKey, Digest, Record};

pub(crate) use self::{records::divide, values::age};

use crate::{commit::Numbers, index::Row, tables::Tables};

/// A change of the database. Those of many threads are done in one transaction.
pub(crate) enum Operation<'a> {
    /// Keeps a value, or starts its age anew.
    PutValue { id: Digest, bytes: Cow<'a, [u8]> },
    /// Removes those of these values that are older.
    RemoveValues { ids: Cow<'a, [Digest]>, older_than: Option<Duration> },
    /// Keeps a record.
    PutRecord { key: CallKey, bytes: Cow<'a, [u8]>, row: Row },
    /// Removes a record, or this one only.
    RemoveRecord { key: CallKey, only: Option<Record> },
    /// Moves these bytes to the damaged ones, if they are still there.
    SetAside { kind: Kind, digest: Digest, bytes: Bytes },
    /// Makes durable what was done before.
    Sync,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Value,
    Record,
}

/// What came of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// So many entries were put or removed.
    Changed(u64),
    /// A record of a later format stands there and stays.
    LaterFormat,
}

impl Operation<'_> {
    /// The bytes that have to be copied for another thread to do this.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::PutValue { bytes, .. } | Self::PutRecord { bytes, .. } => bytes.len(),
            Self::RemoveValues { ids, .. } => size_of::<Digest>() * ids.len(),
            Self::RemoveRecord { .. } | Self::SetAside { .. } | Self::Sync => 0,
        }
    }

    /// The same, for another thread to do.
    pub(crate) fn to_owned(&self) -> Operation<'static> {
        match self {
            Self::PutValue { id, bytes } => Operation::PutValue { id: *id, bytes: bytes.to_vec().into() },
            Self::RemoveValues { ids, older_than } => {
                Operation::RemoveValues { ids: ids.to_vec().into(), older_than: *older_than }
            }
            Self::PutRecord { key, bytes, row } => {
                Operation::PutRecord { key: *key, bytes: bytes.to_vec().into(), row: row.clone() }
            }
            Self::RemoveRecord { key, only } => Operation::RemoveRecord { key: *key, only: only.clone() },
            Self::SetAside { kind, digest, bytes } => {
                Operation::SetAside { kind: *kind, digest: *digest, bytes: bytes.clone() }
            }
            Self::Sync => Operation::Sync,
        }
    }

    pub(crate) fn apply(&self, tables: &mut Tables<'_>, numbers: &mut Numbers<'_>) -> Result<Outcome, redb::Error> {
        match self {
            Self::PutValue { id, bytes } => values::put(tables.values()?, id, bytes),
            Self::RemoveValues { ids, older_than } => values::remove(tables.values()?, ids, *older_than),
            Self::PutRecord { key, bytes, row } => records::put(tables, numbers, key, bytes, row),
            Self::RemoveRecord { key, only } => records::remove(tables.records()?, key, only.as_ref()),
            Self::SetAside { kind, digest, bytes } => set_aside(tables, *kind, digest, bytes),
            Self::Sync => Ok(Outcome::Changed(0)),
        }
    }
}

/// So many damaged entries are kept, and none that is larger than this.
const MOST_DAMAGED: u64 = 64;
const LARGEST_DAMAGED: usize = 1 << 24;

fn set_aside(tables: &mut Tables<'_>, kind: Kind, digest: &Digest, bytes: &[u8]) -> Result<Outcome, redb::Error> {
    let moved = match kind {
        Kind::Value => values::take(tables.values()?, digest, bytes)?,
        Kind::Record => records::take(tables.records()?, digest, bytes)?,
    };
    if moved && bytes.len() <= LARGEST_DAMAGED {
        use redb::ReadableTable as _;
        let mut damaged = tables.damaged()?;
        let last = damaged.last()?.map(|(number, _)| number.value());
        let number = last.map_or(0, |last| last.saturating_add(1));
        let tag = if kind == Kind::Value { b'v' } else { b'r' };
        damaged.insert(number, &*[&[tag], &digest.as_bytes()[..], bytes].concat())?;
        damaged.retain_in(..number.saturating_sub(MOST_DAMAGED - 1), |_, _| false)?;
    }
    Ok(Outcome::Changed(moved.into()))
}
