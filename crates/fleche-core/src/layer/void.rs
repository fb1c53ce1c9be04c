//! `Void`: a store that stores nothing.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    call::{CallKey, Record},
    digest::{Digest, DigestPrefix},
    error::Result,
    store::{CallStore, CallStoreConfig, Check, Entries, Reach, ValueStore, ValueStoreConfig},
};

/// A value store and call store that stores nothing, so every call runs. It is its own configuration, `void`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Void;

impl ValueStore for Void {
    fn read(&self, _: &Digest, _: Check<'_>) -> Result<Option<Bytes>> {
        Ok(None)
    }
    fn put(&self, _: &Digest, _: &[u8]) -> Result<()> {
        Ok(())
    }
    fn contains(&self, _: &Digest) -> Result<bool> {
        Ok(false)
    }
    fn age(&self, _: &Digest) -> Result<Option<Duration>> {
        Ok(None)
    }
    fn remove(&self, _: &Digest, _: Option<Duration>) -> Result<bool> {
        Ok(false)
    }
    fn ids(&self, _: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        Ok(Box::new(std::iter::empty()))
    }
    fn may_block(&self) -> bool {
        false
    }
    fn keeps_nothing(&self) -> bool {
        true
    }
    fn config(&self) -> Box<dyn ValueStoreConfig> {
        Box::new(Self)
    }
}

impl CallStore for Void {
    fn get(&self, _: &CallKey) -> Result<Option<Record>> {
        Ok(None)
    }
    fn put(&self, _: &CallKey, _: &Record) -> Result<()> {
        Ok(())
    }
    fn contains(&self, _: &CallKey) -> Result<bool> {
        Ok(false)
    }
    fn keys(&self, _: &DigestPrefix) -> Result<Entries<'_, CallKey>> {
        Ok(Box::new(std::iter::empty()))
    }
    fn remove(&self, _: &CallKey, _: Option<&Record>) -> Result<bool> {
        Ok(false)
    }
    fn is_exclusive(&self) -> bool {
        true
    }
    fn may_block(&self) -> bool {
        false
    }
    fn keeps_nothing(&self) -> bool {
        true
    }
    fn config(&self) -> Box<dyn CallStoreConfig> {
        Box::new(Self)
    }
}

#[typetag::serde(name = "void")]
impl ValueStoreConfig for Void {
    fn open(&self) -> Result<Arc<dyn ValueStore>> {
        Ok(Arc::new(Self))
    }
    fn reach(&self) -> Reach {
        Reach::Shared
    }
}

#[typetag::serde(name = "void")]
impl CallStoreConfig for Void {
    fn open(&self) -> Result<Arc<dyn CallStore>> {
        Ok(Arc::new(Self))
    }
    fn reach(&self) -> Reach {
        Reach::Shared
    }
}
