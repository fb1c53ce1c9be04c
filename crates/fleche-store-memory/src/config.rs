//! The configurations of memory stores: `{"type":"memory","id":"…"}`.

use std::sync::Arc;

use fleche_core::{
    CallStore, Result, ValueStore,
    store::{CallStoreConfig, Reach, ValueStoreConfig},
};
use serde::{Deserialize, Serialize};

use crate::{MemoryCalls, MemoryValues};

macro_rules! memory_config {
    ($(#[$doc:meta])* $config:ident, $config_trait:ident, $store:ident, $store_trait:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[non_exhaustive]
        pub struct $config {
            /// The id of the store, which may be any text. Opening returns the store of this process with this id, or a
            /// new, empty one if there is none. Without an id, each opening creates a new store with a random one.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub id: Option<String>,
        }

        impl $config {
            /// Creates the configuration of the store with this id.
            pub fn with_id(id: impl Into<String>) -> Self {
                Self { id: Some(id.into()) }
            }
        }

        #[typetag::serde(name = "memory")]
        impl $config_trait for $config {
            fn open(&self) -> Result<Arc<dyn $store_trait>> {
                Ok(Arc::new(self.id.as_deref().map_or_else($store::new, $store::with_id)))
            }

            fn reach(&self) -> Reach {
                Reach::Process
            }
        }
    };
}

memory_config! {
    /// The configuration of a [`MemoryValues`].
    MemoryValuesConfig, ValueStoreConfig, MemoryValues, ValueStore
}

memory_config! {
    /// The configuration of a [`MemoryCalls`].
    MemoryCallsConfig, CallStoreConfig, MemoryCalls, CallStore
}
