//! Listing: in pages, each read from the newest snapshot, so that no reader stays open while its user does something.

use std::{
    ops::{Bound, RangeBounds},
    vec,
};

use fleche_core::{CallKey, Digest, DigestPrefix, Query, Result};
use redb::ReadOnlyTable;

use crate::{
    database::Database,
    index::{RowKey, Wanted, call_of},
    tables::{Blob, Bytes32, Snapshot},
};

/// So many entries are read at once.
const PAGE: usize = 256;

/// What pages hold, by their keys: `load` gives the entries after a key, a page of them at most.
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
    /// The digests that begin so, of the table that this gives.
    pub(crate) fn digests<'a>(
        &'a self,
        table: fn(&Snapshot) -> &ReadOnlyTable<Bytes32, Blob>,
        prefix: &DigestPrefix,
    ) -> Result<impl Iterator<Item = Result<Digest>> + Send + use<'a>> {
        let first: Digest = format!("{:0<64}", prefix.as_str()).parse()?;
        let last: Digest = format!("{:f<64}", prefix.as_str()).parse()?;
        let (first, last) = (*first.as_bytes(), *last.as_bytes());
        let load = move |from: Bound<[u8; 32]>| {
            self.inner.read(|snapshot| {
                let mut page = Vec::new();
                for entry in table(snapshot).range::<&[u8; 32]>(from_to(&from, &last))?.take(PAGE) {
                    let key = *entry?.0.value();
                    page.push((key, Some(Digest::from_bytes(key))));
                }
                Ok(page)
            })
        };
        Ok(Paged { load, page: Vec::new().into_iter(), next: Some(Bound::Included(first)) })
    }

    /// The calls that the index has for the query, with their rows' keys. What is put from now on is not among them.
    pub(crate) fn indexed(
        &self,
        function: &str,
        query: &Query,
    ) -> impl Iterator<Item = Result<(RowKey, CallKey)>> + Send + use<'_> {
        let wanted = Wanted::new(function, query, self.inner.commits.next_number());
        let first = wanted.rows.start;
        let load = move |from: Bound<RowKey>| {
            self.inner.read(|snapshot| {
                let mut page = Vec::new();
                let rows = (from.as_ref(), Bound::Excluded(&wanted.rows.end));
                for entry in snapshot.calls.range::<&RowKey>(rows)?.take(PAGE) {
                    let (key, content) = entry?;
                    let (key, content) = (*key.value(), content.value());
                    let call = Some(content).filter(|content| wanted.may_match(content)).and_then(call_of);
                    page.push((key, call.map(|call| (key, call))));
                }
                Ok(page)
            })
        };
        Paged { load, page: Vec::new().into_iter(), next: Some(Bound::Included(first)) }
    }
}

fn from_to<'a, K>(from: &'a Bound<K>, last: &'a K) -> impl RangeBounds<&'a K> + 'a {
    let from = match from {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    };
    (from, Bound::Included(last))
}
