//! How redb stores are described: `{"type":"redb","path":"…"}`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use fleche_core::{
    CallStore, Result, ValueStore,
    store::{CallStoreConfig, Reach, ValueStoreConfig},
};
use serde::{Deserialize, Serialize};

use crate::{RedbCalls, RedbValues};

/// When what was put survives the end of the process and a power failure. Closing, which the last handle's drop does,
/// makes everything durable in each case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// When `put` returns: it waits for a commit that is on disk, and those who put at the same time share one.
    Immediate,
    /// Within 100 ms, or when `sync` returns.
    #[default]
    Eventual,
    /// When the database is closed; `sync` does nothing. Now and then, before much is pending, it is made durable all the
    /// same.
    None,
}

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
            /// When what was put survives; absent in text where it is [`Durability::Eventual`].
            #[serde(default, skip_serializing_if = "is_default")]
            pub durability: Durability,
        }

        impl $config {
            /// The store in this file.
            pub fn new(path: impl Into<PathBuf>) -> Self {
                Self { path: path.into(), durability: Durability::default() }
            }

            /// When what is put through this handle survives.
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
    /// How to open a [`RedbValues`].
    RedbValuesConfig, ValueStoreConfig, RedbValues, ValueStore
}

redb_config! {
    /// How to open a [`RedbCalls`].
    RedbCallsConfig, CallStoreConfig, RedbCalls, CallStore
}
