//! How memory stores are described: `{"type":"memory","id":"…"}`.

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
            /// Which store. In the process that holds a store of this id, opening leads to that store; elsewhere, and
            /// after the last handle is gone, to a new, empty one of this id. Without an id, each opening makes a new
            /// store with a random one. Any text will do.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub id: Option<String>,
        }

        impl $config {
            /// The store of this id.
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
    /// How to open a [`MemoryValues`].
    MemoryValuesConfig, ValueStoreConfig, MemoryValues, ValueStore
}

memory_config! {
    /// How to open a [`MemoryCalls`].
    MemoryCallsConfig, CallStoreConfig, MemoryCalls, CallStore
}
