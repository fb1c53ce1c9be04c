//! The configurations of redb stores: `{"type":"redb","path":"…"}`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use fleche_core::{
    CallStore, Result, ValueStore,
    store::{CallStoreConfig, Reach, ValueStoreConfig},
};
use serde::{Deserialize, Serialize};

use crate::{RedbCalls, RedbValues, tables::Durability};

fn is_default<T: Default + PartialEq>(setting: &T) -> bool {
    *setting == T::default()
}

macro_rules! redb_config {
    ($(#[$doc:meta])* $config:ident, $config_trait:ident, $store:ident, $store_trait:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[non_exhaustive]
        pub struct $config {
            /// The database file.
            #[serde(with = "fleche_core::store::portable_path")]
            pub path: PathBuf,
            /// The durability of entries. Omitted in text if it is [`Durability::Eventual`].
            #[serde(default, skip_serializing_if = "is_default")]
            pub durability: Durability,
        }

        impl $config {
            /// Creates the configuration of the store in this file.
            pub fn new(path: impl Into<PathBuf>) -> Self {
                Self { path: path.into(), durability: Durability::default() }
            }

            /// Sets the durability of entries that are put through this handle.
            pub fn durability(mut self, durability: Durability) -> Self {
                self.durability = durability;
                self
            }
        }

        #[typetag::serde(name = "redb")]
        impl $config_trait for $config {
            fn open(&self) -> Result<Arc<dyn $store_trait>> {
                Ok(Arc::new($store::open_with(self)?))
            }

            fn reach(&self) -> Reach {
                Reach::Exclusive
            }

            fn resolve(&mut self, directory: &Path) {
                self.path = directory.join(&self.path);
            }
        }
    };
}

redb_config! {
    /// The configuration of a [`RedbValues`].
    RedbValuesConfig, ValueStoreConfig, RedbValues, ValueStore
}

redb_config! {
    /// The configuration of a [`RedbCalls`].
    RedbCallsConfig, CallStoreConfig, RedbCalls, CallStore
}
