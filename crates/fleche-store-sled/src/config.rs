//! The configurations of sled stores: `{"type":"sled","path":"…"}`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use fleche_core::{
    CallStore, Result, ValueStore,
    store::{CallStoreConfig, Reach, ValueStoreConfig},
};
use serde::{Deserialize, Serialize};

use crate::{SledCalls, SledValues};

macro_rules! sled_config {
    ($(#[$doc:meta])* $config:ident, $config_trait:ident, $store:ident, $store_trait:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[non_exhaustive]
        pub struct $config {
            /// The directory.
            #[serde(with = "fleche_core::store::portable_path")]
            pub path: PathBuf,
        }

        impl $config {
            /// Creates the configuration of the store in this directory.
            pub fn new(path: impl Into<PathBuf>) -> Self {
                Self { path: path.into() }
            }
        }

        #[typetag::serde(name = "sled")]
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

sled_config! {
    /// The configuration of a [`SledValues`].
    SledValuesConfig, ValueStoreConfig, SledValues, ValueStore
}

sled_config! {
    /// The configuration of a [`SledCalls`].
    SledCallsConfig, CallStoreConfig, SledCalls, CallStore
}
