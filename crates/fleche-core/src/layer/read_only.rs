//! `ReadOnly`: a layer that reads a store and never writes to it.

use std::{path::Path, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    call::{CallKey, Record},
    claim::Claim,
    digest::Digest,
    error::{Error, Result},
    store::{CallStore, CallStoreConfig, Reach, ValueStore, ValueStoreConfig, kit},
};

/// Makes another store read-only: it serves the entries, and refuses `put` and `remove`.
///
/// Claims apply only within this process, because other processes cannot see what is computed under them. A damaged
/// entry is reported, and quarantined if the store can do so.
#[derive(Clone, Debug)]
pub struct ReadOnly<S>(
    /// The inner store.
    pub S,
);

impl<S> ReadOnly<S> {
    /// Creates a layer that reads this store and never writes to it.
    pub fn new(store: S) -> Self {
        Self(store)
    }
}

/// The configuration of a [`ReadOnly`]: `{"type":"read-only","store":…}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadOnlyConfig<C> {
    /// The store that is only read.
    pub store: C,
}

/// Returns the error of a write to a read-only layer.
pub(super) fn refused(layer: &str, operation: &'static str) -> Error {
    Error::Refused { store: format!("a store that is {layer}"), operation }
}

fn read_only_refusal(operation: &'static str) -> Error {
    refused("read only", operation)
}

impl<S: ValueStore> kit::ValueStoreWrapper for ReadOnly<S> {
    type Inner = S;

    fn inner(&self) -> &S {
        &self.0
    }
    fn put(&self, _: &Digest, _: &[u8]) -> Result<()> {
        Err(read_only_refusal("store values"))
    }
    fn remove(&self, id: &Digest, _: Option<Duration>) -> Result<bool> {
        // Removing an absent entry changes nothing.
        if self.0.contains(id)? { Err(read_only_refusal("remove values")) } else { Ok(false) }
    }
    fn remove_all(&self, ids: &[Digest], _: Option<Duration>) -> Result<u64> {
        ids.iter().try_for_each(|id| ValueStore::remove(self, id, None).map(drop)).map(|()| 0)
    }
    fn sync(&self, _: &Digest) -> Result<()> {
        Ok(())
    }
    fn config(&self) -> Box<dyn ValueStoreConfig> {
        Box::new(ReadOnlyConfig { store: self.0.config() })
    }
}

impl<S: CallStore> kit::CallStoreWrapper for ReadOnly<S> {
    type Inner = S;

    fn inner(&self) -> &S {
        &self.0
    }
    fn put(&self, _: &CallKey, _: &Record) -> Result<()> {
        Err(read_only_refusal("store records"))
    }
    fn remove(&self, key: &CallKey, _: Option<&Record>) -> Result<bool> {
        if self.0.contains(key)? { Err(read_only_refusal("remove records")) } else { Ok(false) }
    }
    fn claim(&self, _: &CallKey) -> Result<Claim> {
        Ok(Claim::WithinProcess)
    }
    /// Returns the same identity for all read-only handles of one store. It differs from that of the store, because a
    /// caller that records its results must not share those of a caller that does not.
    fn identity(&self) -> usize {
        // The lowest bit is free, because identities are addresses of aligned values.
        self.0.identity() | 1
    }
    fn sync(&self, _: &CallKey) -> Result<()> {
        Ok(())
    }
    fn config(&self) -> Box<dyn CallStoreConfig> {
        Box::new(ReadOnlyConfig { store: self.0.config() })
    }
}

macro_rules! read_only_config {
    ($config:ident, $store:ident) => {
        #[typetag::serde(name = "read-only")]
        impl $config for ReadOnlyConfig<Box<dyn $config>> {
            fn open(&self) -> Result<Arc<dyn $store>> {
                Ok(Arc::new(ReadOnly::new(self.store.open()?)))
            }
            fn reach(&self) -> Reach {
                self.store.reach()
            }
            fn resolve(&mut self, directory: &Path) {
                self.store.resolve(directory);
            }
        }
    };
}

read_only_config! { ValueStoreConfig, ValueStore }
read_only_config! { CallStoreConfig, CallStore }
