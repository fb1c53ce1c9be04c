//! How a transaction changes values and their ages.

use std::time::{Duration, SystemTime};

use fleche_core::Digest;
use redb::ReadableTable as _;

use super::Outcome;
use crate::tables::ValueTables;

pub(super) fn put(tables: &mut ValueTables<'_>, id: &Digest, bytes: &[u8]) -> Result<Outcome, redb::Error> {
    let known = tables.values.get(id.as_bytes())?.map(|known| known.value().len());
    if known != Some(bytes.len()) {
        tables.values.insert(id.as_bytes(), bytes)?;
    }
    tables.ages.insert(id.as_bytes(), now())?;
    Ok(Outcome::Changed(1))
}

pub(super) fn remove(
    tables: &mut ValueTables<'_>,
    ids: &[Digest],
    older_than: Option<Duration>,
) -> Result<Outcome, redb::Error> {
    let mut removed = 0;
    for id in ids {
        if let Some(limit) = older_than {
            let put = tables.ages.get(id.as_bytes())?.map_or(0, |put| put.value());
            if age(put) <= limit {
                continue;
            }
        }
        tables.ages.remove(id.as_bytes())?;
        removed += u64::from(tables.values.remove(id.as_bytes())?.is_some());
    }
    Ok(Outcome::Changed(removed))
}

/// Removes these bytes, if they are what is there.
pub(super) fn take(tables: &mut ValueTables<'_>, id: &Digest, bytes: &[u8]) -> Result<bool, redb::Error> {
    let there = tables.values.get(id.as_bytes())?.is_some_and(|there| there.value() == bytes);
    if there {
        tables.values.remove(id.as_bytes())?;
        tables.ages.remove(id.as_bytes())?;
    }
    Ok(there)
}

/// The age of what was put at this time; zero where that is in the future.
pub(crate) fn age(put: u64) -> Duration {
    Duration::from_nanos(now().saturating_sub(put))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().try_into().unwrap_or(u64::MAX)
}
