//! Opens and clears the study's stores in its directory.

use std::{collections::HashSet, path::Path};

use fleche_core::{Cache, CallKey, Digest, Error, Query, Record, Result};
use fleche_store_file::{FileCalls, FileValues};

use crate::study::{accuracy, digits, neighbours};

/// Opens the cache in this directory, which is created if it is missing.
pub(super) fn open(directory: &Path) -> Result<Cache> {
    Ok(Cache::new(FileValues::open(directory.join("values"))?, FileCalls::open(directory.join("calls"))?))
}

/// Removes the results of the study from this directory's cache, and the values that only they refer to.
///
/// Returns the number of removed results.
pub(super) fn clear(directory: &Path) -> Result<usize> {
    // Opening a store would create one in an unrelated directory.
    if !directory.join("calls/.fleche-calls").exists() {
        return Ok(0);
    }
    let cache = open(directory)?;
    let mut removed = 0;
    let mut values = HashSet::new();
    for query in [digits::query(), neighbours::query(), accuracy::query()] {
        for (key, record) in found(&cache, &query)? {
            if cache.calls().remove(&key, Some(&record))? {
                removed += 1;
                values.extend(referred_to(&record));
            }
        }
    }
    for (_, foreign) in found(&cache, &Query::new())? {
        for digest in referred_to(&foreign) {
            values.remove(&digest);
        }
    }
    for value in values {
        cache.values().remove(&value, None)?;
    }
    Ok(removed)
}

/// Returns the records that match the query, without damaged ones, which the store has quarantined.
fn found(cache: &Cache, query: &Query) -> Result<Vec<(CallKey, Record)>> {
    let records = cache.query(query)?;
    records.filter(|record| !matches!(record, Err(Error::Damaged { .. }))).collect()
}

fn referred_to(record: &Record) -> impl Iterator<Item = Digest> {
    let arguments = record.arguments.iter().map(|argument| &argument.1);
    arguments.chain([&record.result]).filter_map(|value| value.stored().copied())
}
