//! The configurations of file stores: `{"type":"file","root":"…"}`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use fleche_core::{
    CallStore, Result, ValueStore,
    store::{CallStoreConfig, Reach, ValueStoreConfig},
};
use serde::{Deserialize, Serialize};

use crate::{Durability, FileCalls, FileValues};

fn is_default<T: Default + PartialEq>(setting: &T) -> bool {
    *setting == T::default()
}

macro_rules! file_config {
    ($(#[$doc:meta])* $config:ident, $config_trait:ident, $store:ident, $store_trait:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[non_exhaustive]
        pub struct $config {
            /// The directory.
            #[serde(with = "fleche_core::store::portable_path")]
            pub root: PathBuf,
            /// The durability of entries. Omitted in text if it is [`Durability::Auto`].
            #[serde(default, skip_serializing_if = "is_default")]
            pub durability: Durability,
            /// Whether the users of the directory's group share the store. Omitted in text if `false`.
            #[serde(default, skip_serializing_if = "is_default")]
            pub shared: bool,
        }

        impl $config {
            /// Creates the configuration of the store in this directory.
            pub fn new(root: impl Into<PathBuf>) -> Self {
                Self { root: root.into(), durability: Durability::default(), shared: false }
            }

            /// Sets the durability of entries.
            pub fn durability(mut self, durability: Durability) -> Self {
                self.durability = durability;
                self
            }

            /// Sets whether the users of the directory's group share the store. If so, new files and directories are
            /// made accessible to the group, and lock files of its other users are locked and written to. Otherwise,
            /// only lock files of this user are. Reading entries of other users does not need this setting.
            pub fn shared(mut self, shared: bool) -> Self {
                self.shared = shared;
                self
            }
        }

        #[typetag::serde(name = "file")]
        impl $config_trait for $config {
            fn open(&self) -> Result<Arc<dyn $store_trait>> {
                Ok(Arc::new($store::open_with(self)?))
            }

            fn reach(&self) -> Reach {
                Reach::Shared
            }

            fn resolve(&mut self, directory: &Path) {
                self.root = directory.join(&self.root);
            }
        }
    };
}

file_config! {
    /// The configuration of a [`FileValues`].
    FileValuesConfig, ValueStoreConfig, FileValues, ValueStore
}

file_config! {
    /// The configuration of a [`FileCalls`].
    FileCallsConfig, CallStoreConfig, FileCalls, CallStore
}
