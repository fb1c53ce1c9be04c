//! Listing in pages, each read from the latest snapshot, so that no snapshot stays open while the caller handles
//! entries.

use std::ops::{Bound, RangeBounds};

use fleche_core::{
    CallKey, Digest, DigestPrefix, Query, Result,
    store::kit::{pages, prefix_bounds},
};
use redb::ReadOnlyTable;

use crate::{
    database::Database,
    pending::State,
    tables::{Blob, Bytes32, RowKey, Snapshot, Wanted, call_of},
};

/// The number of entries in a page.
const PAGE: usize = 256;

impl Database {
    /// Returns the digests with this prefix in the table that `table` selects, except those of removed entries.
    pub(crate) fn digests<'a>(
        &'a self,
        table: fn(&Snapshot) -> &ReadOnlyTable<Bytes32, Blob>,
        is_removed: fn(&State, &Digest) -> bool,
        prefix: &DigestPrefix,
    ) -> Result<impl Iterator<Item = Result<Digest>> + Send + use<'a>> {
        self.inner.flush_pending()?;
        let (first, last) = prefix_bounds(prefix);
        Ok(pages(move |after: Option<[u8; 32]>| {
            let from = after.map_or(Bound::Included(*first.as_bytes()), Bound::Excluded);
            let mut page = self.inner.read(|snapshot| {
                let mut page = Vec::new();
                for entry in table(snapshot).range::<&[u8; 32]>(from_to(&from, last.as_bytes()))?.take(PAGE) {
                    page.push(*entry?.0.value());
                }
                in_order(&from, &page)?;
                Ok(page)
            })?;
            let next = page.last().copied();
            self.inner.pending.read_state(|state| {
                page.retain(|key| !is_removed(state, &Digest::from_bytes(*key)));
                Some(())
            });
            Ok((page.into_iter().map(|key| Ok(Digest::from_bytes(key))).collect(), next))
        }))
    }

    /// Returns the calls that the index has for the query.
    pub(crate) fn indexed(
        &self,
        function: &str,
        query: &Query,
    ) -> Result<impl Iterator<Item = Result<CallKey>> + Send + use<'_>> {
        self.inner.flush_pending()?;
        let wanted = Wanted::new(function, query);
        let (first, last) = (*wanted.rows.start(), *wanted.rows.end());
        Ok(pages(move |after: Option<RowKey>| {
            let from = after.map_or(Bound::Included(first), Bound::Excluded);
            self.inner.read(|snapshot| {
                let (mut rows, mut calls) = (Vec::new(), Vec::new());
                for entry in snapshot.index.range::<&RowKey>(from_to(&from, &last))?.take(PAGE) {
                    let row = *entry?.0.value();
                    let has = |row: RowKey| Ok::<_, redb::Error>(snapshot.index.get(&row)?.is_some());
                    let mut others = wanted.others(&row).map(has);
                    if others.try_fold(true, |all, one| Ok::<_, redb::Error>(all && one?))? {
                        calls.push(Ok(call_of(&row)));
                    }
                    rows.push(row);
                }
                in_order(&from, &rows)?;
                Ok((calls, rows.last().copied()))
            })
        }))
    }
}

/// Fails if the keys are out of order, which shows that pages are damaged. An iteration that continues after the last
/// key of the page might never end.
fn in_order<K: Ord>(from: &Bound<K>, page: &[K]) -> Result<(), redb::Error> {
    let begins = page.first().is_none_or(|first| match from {
        Bound::Included(from) => first >= from,
        Bound::Excluded(from) => first > from,
        Bound::Unbounded => true,
    });
    if begins && page.is_sorted_by(|one, next| one < next) {
        return Ok(());
    }
    Err(redb::Error::Corrupted("keys are not in order".to_owned()))
}

fn from_to<'a, K>(from: &'a Bound<K>, last: &'a K) -> impl RangeBounds<&'a K> + 'a {
    let from = match from {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    };
    (from, Bound::Included(last))
}
