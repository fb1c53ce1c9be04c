//! Implements both store traits for `Arc` and `Box`, with every method forwarded.

#![deny(clippy::missing_trait_methods)]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::query::Query;
use super::{CallStore, CallStoreConfig, Check, Entries, ValueStore, ValueStoreConfig};
use crate::{
    call::{CallKey, Record, RecordSummary},
    claim::{Claim, ClaimHolder},
    digest::{Digest, DigestPrefix},
    error::Result,
};

macro_rules! forward {
    ($($pointer:ident)*) => {$(
        impl<S: ValueStore + ?Sized> ValueStore for $pointer<S> {
            fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
                (**self).read(id, check)
            }
            fn get(&self, id: &Digest) -> Result<Option<Bytes>> {
                (**self).get(id)
            }
            fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
                (**self).put(id, encoded)
            }
            fn contains(&self, id: &Digest) -> Result<bool> {
                (**self).contains(id)
            }
            fn age(&self, id: &Digest) -> Result<Option<Duration>> {
                (**self).age(id)
            }
            fn remove(&self, id: &Digest, older_than: Option<Duration>) -> Result<bool> {
                (**self).remove(id, older_than)
            }
            fn remove_all(&self, ids: &[Digest], older_than: Option<Duration>) -> Result<u64> {
                (**self).remove_all(ids, older_than)
            }
            fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
                (**self).ids(prefix)
            }
            fn sync(&self, id: &Digest) -> Result<()> {
                (**self).sync(id)
            }
            fn may_block(&self) -> bool {
                (**self).may_block()
            }
            fn keeps_nothing(&self) -> bool {
                (**self).keeps_nothing()
            }
            fn config(&self) -> Box<dyn ValueStoreConfig> {
                (**self).config()
            }
        }

        impl<S: CallStore + ?Sized> CallStore for $pointer<S> {
            fn get(&self, key: &CallKey) -> Result<Option<Record>> {
                (**self).get(key)
            }
            fn summary(&self, key: &CallKey) -> Result<Option<RecordSummary>> {
                (**self).summary(key)
            }
            fn put(&self, key: &CallKey, record: &Record) -> Result<()> {
                (**self).put(key, record)
            }
            fn contains(&self, key: &CallKey) -> Result<bool> {
                (**self).contains(key)
            }
            fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>> {
                (**self).keys(prefix)
            }
            fn remove(&self, key: &CallKey, only: Option<&Record>) -> Result<bool> {
                (**self).remove(key, only)
            }
            fn claim(&self, key: &CallKey) -> Result<Claim> {
                (**self).claim(key)
            }
            fn is_exclusive(&self) -> bool {
                (**self).is_exclusive()
            }
            fn claim_holder(&self, key: &CallKey) -> Result<Option<ClaimHolder>> {
                (**self).claim_holder(key)
            }
            fn identity(&self) -> usize {
                (**self).identity()
            }
            fn find<'a>(&'a self, query: &'a Query) -> Result<Entries<'a, (CallKey, Record)>> {
                (**self).find(query)
            }
            fn sync(&self, key: &CallKey) -> Result<()> {
                (**self).sync(key)
            }
            fn may_block(&self) -> bool {
                (**self).may_block()
            }
            fn keeps_nothing(&self) -> bool {
                (**self).keeps_nothing()
            }
            fn config(&self) -> Box<dyn CallStoreConfig> {
                (**self).config()
            }
        }
    )*};
}

forward! { Arc Box }
