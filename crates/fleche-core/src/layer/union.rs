//! Reads several stores as one: the first store with an entry provides it, and each entry is listed once.

use crate::{
    call::{CallKey, Record},
    digest::{Digest, DigestPrefix},
    error::Result,
    store::{CallStore, Entries, ValueStore, query::Query},
};

/// Returns the ids with this prefix in any of these stores.
pub(super) fn ids<'a, S: ValueStore>(stores: &'a [S], prefix: &DigestPrefix) -> Result<Entries<'a, Digest>> {
    each_once(stores, |store| store.ids(prefix), S::contains)
}

/// Returns the keys with this prefix in any of these stores.
pub(super) fn keys<'a, S: CallStore>(stores: &'a [S], prefix: &DigestPrefix) -> Result<Entries<'a, CallKey>> {
    each_once(stores, |store| store.keys(prefix), S::contains)
}

/// Lists the stores from last to first, each without the entries of the stores after it. The order matters because
/// entries are copied only to earlier stores: an entry that is copied during the listing still appears in one of the
/// lists.
fn each_once<'a, S: Sync, T: Send + 'a>(
    stores: &'a [S],
    list: impl Fn(&'a S) -> Result<Entries<'a, T>>,
    contains: impl Fn(&S, &T) -> Result<bool> + Copy + Send + 'a,
) -> Result<Entries<'a, T>> {
    let mut entries: Entries<'a, T> = Box::new(std::iter::empty());
    for (at, store) in stores.iter().enumerate().rev() {
        let after = &stores[at + 1..];
        let new = move |entry: &Result<T>| match entry {
            Ok(entry) => !after.iter().any(|store| contains(store, entry).unwrap_or(false)),
            Err(_) => true,
        };
        entries = Box::new(entries.chain(list(store)?.filter(new)));
    }
    Ok(entries)
}

/// Returns the record from the first store that has one, or `None` if none has.
pub(super) fn first<S: CallStore>(stores: &[S], key: &CallKey) -> Result<Option<Record>> {
    for store in stores {
        if let Some(record) = store.get(key)? {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

/// Returns the records that match the query, each from the first store that has one under its key.
pub(super) fn find<'a, S: CallStore>(stores: &'a [S], query: &'a Query) -> Result<Entries<'a, (CallKey, Record)>> {
    let mut entries: Entries<'a, (CallKey, Record)> = Box::new(std::iter::empty());
    for (at, store) in stores.iter().enumerate().rev() {
        let (before, after) = (&stores[..at], &stores[at + 1..]);
        let one = move |found: Result<(CallKey, Record)>| {
            let (key, record) = match found {
                Ok(found) => found,
                error => return Some(error),
            };
            // The store after this one has listed the record that counts.
            let given = |store: &S| store.get(&key).is_ok_and(|record| record.is_some_and(|it| query.matches(&it)));
            if after.iter().any(given) {
                return None;
            }
            match first(before, &key) {
                Ok(None) => Some(Ok((key, record))),
                Ok(Some(record)) => query.matches(&record).then_some(Ok((key, record))),
                Err(error) => Some(Err(error)),
            }
        };
        entries = Box::new(entries.chain(store.find(query)?.filter_map(one)));
    }
    Ok(entries)
}
