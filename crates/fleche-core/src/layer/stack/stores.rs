//! The store traits for `Stack`.

use std::{cell::RefCell, time::Duration};

use bytes::Bytes;

use super::{Stack, StackConfig, copy_to_earlier};
use crate::{
    call::{CallKey, Record, RecordSummary},
    claim::{Claim, ClaimHolder},
    digest::{Digest, DigestPrefix},
    error::{Error, Result},
    layer::union::{any, find, ids, keys, least_age},
    store::{CallStore, CallStoreConfig, Check, Entries, ValueStore, ValueStoreConfig, query::Query, whole},
};

impl<S: ValueStore> Stack<S> {
    /// Reads an entry that the first store does not have from the stores behind it, and copies it to the earlier ones.
    fn read_from_rest(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        let (first, rest) = self.first_and_rest();
        let _guard = self.entry_locks.lock(id);
        if first.contains(id)? {
            // Another thread has copied it in the meantime.
            return first.read(id, check);
        }
        for (at, store) in rest.iter().enumerate() {
            // The stored form, which the check may convert to another.
            let form = RefCell::new(None);
            let found = store.read(id, &|bytes| {
                let checked = check(bytes.clone())?;
                form.replace(Some(bytes));
                Ok(checked)
            })?;
            if let (Some(found), Some(form)) = (found, form.into_inner()) {
                copy_to_earlier(&self.stores[..=at], |store| store.put(id, &form));
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

impl<S: ValueStore> ValueStore for Stack<S> {
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        match self.first_and_rest().0.read(id, check)? {
            None => self.read_from_rest(id, check),
            found => Ok(found),
        }
    }

    fn get(&self, id: &Digest) -> Result<Option<Bytes>> {
        match self.first_and_rest().0.get(id)? {
            None => self.read_from_rest(id, &|bytes| whole(id, bytes)),
            found => Ok(found),
        }
    }

    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        let _guard = self.entry_locks.lock(id);
        self.first_and_rest().0.put(id, encoded)
    }

    fn contains(&self, id: &Digest) -> Result<bool> {
        any(&self.stores, |store| store.contains(id))
    }

    fn age(&self, id: &Digest) -> Result<Option<Duration>> {
        least_age(&self.stores, id)
    }

    fn remove(&self, id: &Digest, older_than: Option<Duration>) -> Result<bool> {
        let _guard = self.entry_locks.lock(id);
        let is_young = |limit| Ok::<_, Error>(least_age(&self.stores, id)?.is_none_or(|age| age <= limit));
        if let Some(limit) = older_than
            && is_young(limit)?
        {
            return Ok(false);
        }
        let mut removed = false;
        // Last store first: if one refuses, the first store still has the entry.
        for store in self.stores.iter().rev() {
            removed |= store.remove(id, older_than)?;
        }
        Ok(removed)
    }

    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        ids(&self.stores, prefix)
    }

    fn sync(&self, id: &Digest) -> Result<()> {
        let (first, rest) = self.first_and_rest();
        for store in rest {
            if first.contains(id)? {
                break;
            }
            if store.contains(id)? {
                return store.sync(id);
            }
        }
        first.sync(id)
    }

    fn may_block(&self) -> bool {
        self.stores.iter().any(ValueStore::may_block)
    }

    fn keeps_nothing(&self) -> bool {
        // Only the first store is written to.
        self.first_and_rest().0.keeps_nothing()
    }

    fn config(&self) -> Box<dyn ValueStoreConfig> {
        Box::new(StackConfig { stores: self.stores.iter().map(ValueStore::config).collect() })
    }
}

impl<S: CallStore> CallStore for Stack<S> {
    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        let (first, rest) = self.first_and_rest();
        if let Some(record) = first.get(key)? {
            return Ok(Some(record));
        }
        let _guard = self.entry_locks.lock(key.digest());
        if first.contains(key)? {
            return first.get(key);
        }
        for (at, store) in rest.iter().enumerate() {
            if let Some(record) = store.get(key)? {
                copy_to_earlier(&self.stores[..=at], |store| store.put(key, &record));
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    fn summary(&self, key: &CallKey) -> Result<Option<RecordSummary>> {
        match self.first_and_rest().0.summary(key)? {
            None => Ok(self.get(key)?.as_ref().map(RecordSummary::from)),
            found => Ok(found),
        }
    }

    fn put(&self, key: &CallKey, record: &Record) -> Result<()> {
        let _guard = self.entry_locks.lock(key.digest());
        self.first_and_rest().0.put(key, record)
    }

    fn contains(&self, key: &CallKey) -> Result<bool> {
        any(&self.stores, |store| store.contains(key))
    }

    fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>> {
        keys(&self.stores, prefix)
    }

    fn remove(&self, key: &CallKey, only: Option<&Record>) -> Result<bool> {
        let _guard = self.entry_locks.lock(key.digest());
        // The first store with a record decides; those before it have no record to compare.
        let mut decisive = 0;
        if only.is_some() {
            while decisive + 1 < self.stores.len() && self.stores[decisive].get(key)?.is_none() {
                decisive += 1;
            }
            if self.stores[decisive].get(key)?.as_ref() != only {
                return Ok(false);
            }
        }
        let mut removed = false;
        // Last store first: if one refuses, the first store still has the record.
        for store in self.stores[decisive..].iter().skip(1).rev() {
            removed |= store.remove(key, None)?;
        }
        let removed_decisive = self.stores[decisive].remove(key, only)?;
        Ok(if only.is_some() { removed_decisive } else { removed || removed_decisive })
    }

    fn find<'a>(&'a self, query: &'a Query) -> Result<Entries<'a, (CallKey, Record)>> {
        find(&self.stores, query)
    }

    fn claim(&self, key: &CallKey) -> Result<Claim> {
        self.first_and_rest().0.claim(key)
    }

    fn is_exclusive(&self) -> bool {
        // Calls are recorded in the first store only.
        self.first_and_rest().0.is_exclusive()
    }

    fn claim_holder(&self, key: &CallKey) -> Result<Option<ClaimHolder>> {
        self.first_and_rest().0.claim_holder(key)
    }

    fn identity(&self) -> usize {
        self.first_and_rest().0.identity()
    }

    fn sync(&self, key: &CallKey) -> Result<()> {
        let (first, rest) = self.first_and_rest();
        for store in rest {
            if first.contains(key)? {
                break;
            }
            if store.contains(key)? {
                return store.sync(key);
            }
        }
        first.sync(key)
    }

    fn may_block(&self) -> bool {
        self.stores.iter().any(CallStore::may_block)
    }

    fn keeps_nothing(&self) -> bool {
        // Only the first store is written to.
        self.first_and_rest().0.keeps_nothing()
    }

    fn config(&self) -> Box<dyn CallStoreConfig> {
        Box::new(StackConfig { stores: self.stores.iter().map(CallStore::config).collect() })
    }
}
