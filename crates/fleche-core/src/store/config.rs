//! The configurations of stores, which name their backend and serialize as JSON, TOML or CBOR.

use std::{any::Any, fmt::Debug, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{CallStore, ValueStore};
use crate::error::Result;

/// Which processes can use a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Only the process that holds it, for example memory.
    Process,
    /// One process at a time.
    Exclusive,
    /// Any number of processes at once.
    Shared,
}

macro_rules! store_config {
    ($(#[$doc:meta])* $config:ident, $object:ident, $store:ident) => {
        $(#[$doc])*
        ///
        /// A backend derives `Clone`, `Debug`, `PartialEq`, `Serialize` and `Deserialize` for its configuration and
        /// implements this trait under `#[typetag::serde(name = "…")]`. The name is explicit and permanent.
        #[typetag::serde(tag = "type")]
        pub trait $config: $object + Debug + Send + Sync {
            /// Opens the store, creating what is missing. Opening a place that is already open in this process returns
            /// the same store.
            fn open(&self) -> Result<Arc<dyn $store>>;

            /// Returns which processes can use the store.
            fn reach(&self) -> Reach;

            /// Resolves relative paths against this directory, in which the configuration was found. The default does
            /// nothing, for configurations without paths.
            fn resolve(&mut self, directory: &Path) {
                let _ = directory;
            }
        }

        /// Clone and equality for boxed configurations.
        #[doc(hidden)]
        pub trait $object: Any {
            fn clone_box(&self) -> Box<dyn $config>;
            fn same(&self, other: &dyn $config) -> bool;
        }

        impl<T: $config + Clone + PartialEq> $object for T {
            fn clone_box(&self) -> Box<dyn $config> {
                Box::new(self.clone())
            }

            fn same(&self, other: &dyn $config) -> bool {
                (other as &dyn Any).downcast_ref::<T>() == Some(self)
            }
        }

        impl Clone for Box<dyn $config> {
            fn clone(&self) -> Self {
                (**self).clone_box()
            }
        }

        impl PartialEq for dyn $config {
            fn eq(&self, other: &Self) -> bool {
                self.same(other)
            }
        }
    };
}

store_config! {
    /// Describes how to open a [`ValueStore`]: serializes to `{"type":"file","root":"…"}`, the backend's name and its
    /// settings.
    ValueStoreConfig, ValueStoreConfigObject, ValueStore
}

store_config! {
    /// Describes how to open a [`CallStore`]: serializes to `{"type":"file","root":"…"}`, the backend's name and its
    /// settings.
    CallStoreConfig, CallStoreConfigObject, CallStore
}
