//! Listing in pages, each read from the latest snapshot, so that no snapshot stays open while the caller handles
//! entries.

use std::{
    ops::{Bound, RangeBounds},
    vec,
};

use fleche_core::{CallKey, Digest, DigestPrefix, Query, Result};
use redb::ReadOnlyTable;

use crate::{
    database::Database,
    pending::State,
    tables::{Blob, Bytes32, RowKey, Snapshot, Wanted, call_of},
};

/// The number of entries in a page.
const PAGE: usize = 256;

/// An iterator over pages, by key: `load` returns at most a page of entries from a bound on.
struct Paged<K, T, F> {
    load: F,
    page: vec::IntoIter<(K, Option<T>)>,
    next: Option<Bound<K>>,
}

impl<K: Copy, T, F: FnMut(Bound<K>) -> Result<Vec<(K, Option<T>)>>> Iterator for Paged<K, T, F> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        loop {
            for (key, entry) in self.page.by_ref() {
                self.next = Some(Bound::Excluded(key));
                if let Some(entry) = entry {
                    return Some(Ok(entry));
                }
            }
            match (self.load)(self.next.take()?) {
                Ok(page) if page.is_empty() => return None,
                Ok(page) => self.page = page.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Database {
    /// Returns the digests with this prefix in the table that `table` selects, except those of removed entries.
    pub(crate) fn digests<'a>(
        &'a self,
        table: fn(&Snapshot) -> &ReadOnlyTable<Bytes32, Blob>,
        is_removed: fn(&State, &Digest) -> bool,
        prefix: &DigestPrefix,
    ) -> Result<impl Iterator<Item = Result<Digest>> + Send + use<'a>> {
        self.inner.flush_pending()?;
        let first: Digest = format!("{:0<64}", prefix.as_str()).parse()?;
        let last: Digest = format!("{:f<64}", prefix.as_str()).parse()?;
        let (first, last) = (*first.as_bytes(), *last.as_bytes());
        let load = move |from: Bound<[u8; 32]>| {
            let mut page = self.inner.read(|snapshot| {
                let mut page = Vec::new();
                for entry in table(snapshot).range::<&[u8; 32]>(from_to(&from, &last))?.take(PAGE) {
                    let key = *entry?.0.value();
                    page.push((key, Some(Digest::from_bytes(key))));
                }
                in_order(&from, &page)?;
                Ok(page)
            })?;
            self.inner.pending.read_state(|state| {
                let gone = page.iter_mut().filter(|(key, _)| is_removed(state, &Digest::from_bytes(*key)));
                gone.for_each(|(_, digest)| *digest = None);
                Some(())
            });
            Ok(page)
        };
        Ok(Paged { load, page: Vec::new().into_iter(), next: Some(Bound::Included(first)) })
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
        let load = move |from: Bound<RowKey>| {
            self.inner.read(|snapshot| {
                let mut page = Vec::new();
                for entry in snapshot.index.range::<&RowKey>(from_to(&from, &last))?.take(PAGE) {
                    let row = *entry?.0.value();
                    let has = |row: RowKey| Ok::<_, redb::Error>(snapshot.index.get(&row)?.is_some());
                    let mut others = wanted.others(&row).map(has);
                    let fits = others.try_fold(true, |all, one| Ok::<_, redb::Error>(all && one?))?;
                    page.push((row, fits.then(|| call_of(&row))));
                }
                in_order(&from, &page)?;
                Ok(page)
            })
        };
        Ok(Paged { load, page: Vec::new().into_iter(), next: Some(Bound::Included(first)) })
    }
}

/// Fails if the keys are out of order, which shows that pages are damaged. An iteration that continues after the last
/// key of the page might never end.
fn in_order<K: Ord, T>(from: &Bound<K>, page: &[(K, T)]) -> Result<(), redb::Error> {
    let begins = page.first().is_none_or(|(first, _)| match from {
        Bound::Included(from) => first >= from,
        Bound::Excluded(from) => first > from,
        Bound::Unbounded => true,
    });
    if begins && page.is_sorted_by(|(one, _), (next, _)| one < next) {
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
