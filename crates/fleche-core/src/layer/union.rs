//! `Union`: a read-only layer over several stores, and functions that read several stores as one.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{open_all, read_only::refused, require_some, smallest_reach};
use crate::{
    call::{CallKey, Record},
    claim::Claim,
    digest::{Digest, DigestPrefix},
    error::{Error, Result},
    store::{CallStore, CallStoreConfig, Check, Entries, Reach, ValueStore, ValueStoreConfig, query::Query},
};

/// Several stores that are read as one. They are asked in order, and the first that has an entry provides it. A union is
/// read-only: it refuses `put` and `remove`.
#[derive(Clone, Debug)]
pub struct Union<S>(Vec<S>);

impl<S> Union<S> {
    /// Creates a union of value stores or of call stores. The first store is asked first. Stores of different types must
    /// be boxed:
    ///
    /// ```
    /// use fleche_core::{ValueStore, layer::{Union, ReadOnly}};
    /// # use fleche_store_memory::MemoryValues;
    /// # let (mine, theirs) = (MemoryValues::new(), MemoryValues::new());
    /// let stores: [Box<dyn ValueStore>; 2] = [Box::new(mine), Box::new(ReadOnly::new(theirs))];
    /// let values = Union::new(stores)?;
    /// # Ok::<(), fleche_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails with [`Error::Config`] if there are no stores.
    pub fn new(stores: impl IntoIterator<Item = S>) -> Result<Self> {
        require_some("union", stores).map(Self)
    }
}

/// The configuration of a [`Union`]: `{"type":"union","stores":[…]}`. Text with the former name of the type, `pool`, can
/// still be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnionConfig<C> {
    /// The stores in the order in which they are read.
    pub stores: Vec<C>,
}

/// The configuration of a [`Union`] in text with the former name of the type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct FormerConfig<C>(UnionConfig<C>);

macro_rules! union_configs {
    ($config:ident, $store:ident) => {
        #[typetag::serde(name = "union")]
        impl $config for UnionConfig<Box<dyn $config>> {
            fn open(&self) -> Result<Arc<dyn $store>> {
                Ok(Arc::new(Union::new(open_all(&self.stores, |config| config.open())?)?))
            }
            fn reach(&self) -> Reach {
                smallest_reach(self.stores.iter().map(|config| config.reach()))
            }
            fn resolve(&mut self, directory: &Path) {
                self.stores.iter_mut().for_each(|config| config.resolve(directory));
            }
        }

        #[typetag::serde(name = "pool")]
        impl $config for FormerConfig<Box<dyn $config>> {
            fn open(&self) -> Result<Arc<dyn $store>> {
                self.0.open()
            }
            fn reach(&self) -> Reach {
                self.0.reach()
            }
            fn resolve(&mut self, directory: &Path) {
                self.0.resolve(directory);
            }
        }
    };
}

union_configs! { ValueStoreConfig, ValueStore }
union_configs! { CallStoreConfig, CallStore }

fn union_refusal(operation: &'static str) -> Error {
    refused("a union, which is read only,", operation)
}

impl<S: ValueStore> ValueStore for Union<S> {
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        for store in &self.0 {
            if let Some(bytes) = store.read(id, check)? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
    fn get(&self, id: &Digest) -> Result<Option<Bytes>> {
        for store in &self.0 {
            if let Some(bytes) = store.get(id)? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
    fn put(&self, _: &Digest, _: &[u8]) -> Result<()> {
        Err(union_refusal("store values"))
    }
    fn contains(&self, id: &Digest) -> Result<bool> {
        any(&self.0, |store| store.contains(id))
    }
    fn age(&self, id: &Digest) -> Result<Option<Duration>> {
        least_age(&self.0, id)
    }
    fn remove(&self, id: &Digest, _: Option<Duration>) -> Result<bool> {
        if ValueStore::contains(self, id)? { Err(union_refusal("remove values")) } else { Ok(false) }
    }
    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        ids(&self.0, prefix)
    }
    fn may_block(&self) -> bool {
        self.0.iter().any(ValueStore::may_block)
    }
    fn config(&self) -> Box<dyn ValueStoreConfig> {
        Box::new(UnionConfig { stores: self.0.iter().map(ValueStore::config).collect() })
    }
}

impl<S: CallStore> CallStore for Union<S> {
    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        first_record(&self.0, key)
    }
    fn put(&self, _: &CallKey, _: &Record) -> Result<()> {
        Err(union_refusal("store records"))
    }
    fn contains(&self, key: &CallKey) -> Result<bool> {
        any(&self.0, |store| store.contains(key))
    }
    fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>> {
        keys(&self.0, prefix)
    }
    fn remove(&self, key: &CallKey, _: Option<&Record>) -> Result<bool> {
        if CallStore::contains(self, key)? { Err(union_refusal("remove records")) } else { Ok(false) }
    }
    fn find<'a>(&'a self, query: &'a Query) -> Result<Entries<'a, (CallKey, Record)>> {
        find(&self.0, query)
    }
    fn claim(&self, _: &CallKey) -> Result<Claim> {
        Ok(Claim::WithinProcess)
    }
    fn may_block(&self) -> bool {
        self.0.iter().any(CallStore::may_block)
    }
    fn config(&self) -> Box<dyn CallStoreConfig> {
        Box::new(UnionConfig { stores: self.0.iter().map(CallStore::config).collect() })
    }
}

/// Returns whether `holds` is true for any of the stores.
pub(super) fn any<S>(stores: &[S], holds: impl Fn(&S) -> Result<bool>) -> Result<bool> {
    for store in stores {
        if holds(store)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the time since the entry was last put to any of the stores, or `None` if none has it.
pub(super) fn least_age<S: ValueStore>(stores: &[S], id: &Digest) -> Result<Option<Duration>> {
    let ages = stores.iter().map(|store| store.age(id)).collect::<Result<Vec<_>>>()?;
    Ok(ages.into_iter().flatten().min())
}

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
pub(super) fn first_record<S: CallStore>(stores: &[S], key: &CallKey) -> Result<Option<Record>> {
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
            let is_listed_later =
                |store: &S| store.get(&key).is_ok_and(|record| record.is_some_and(|it| query.matches(&it)));
            if after.iter().any(is_listed_later) {
                return None;
            }
            match first_record(before, &key) {
                Ok(None) => Some(Ok((key, record))),
                Ok(Some(record)) => query.matches(&record).then_some(Ok((key, record))),
                Err(error) => Some(Err(error)),
            }
        };
        entries = Box::new(entries.chain(store.find(query)?.filter_map(one)));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn former_name_of_the_type_can_be_read() {
        let text = r#"{"type":"pool","stores":[{"type":"void"}]}"#;
        let former: Box<dyn ValueStoreConfig> = serde_json::from_str(text).unwrap();
        let now = serde_json::to_string(&former.open().unwrap().config()).unwrap();
        assert_eq!(now, r#"{"type":"union","stores":[{"type":"void"}]}"#);
        assert!(serde_json::from_str::<Box<dyn CallStoreConfig>>(text).is_ok());
        let misspelt = r#"{"type":"pool","stores":[],"stroes":[]}"#;
        assert!(serde_json::from_str::<Box<dyn CallStoreConfig>>(misspelt).is_err());
    }
}
