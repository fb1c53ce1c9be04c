//! The configurations of stores, which name their backend and serialize as JSON, TOML or CBOR, and the registry of backends.

use std::{
    any::Any,
    fmt::{self, Debug},
    path::Path,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{CallStore, ValueStore};
use crate::error::Result;

/// The processes that can use a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Only the process that holds the store, for example in memory.
    Process,
    /// One process at a time.
    Exclusive,
    /// Any number of processes at once.
    Shared,
}

/// Writes the name as [`Serialize`] does: `shared`.
impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Process => "process",
            Self::Exclusive => "exclusive",
            Self::Shared => "shared",
        })
    }
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
    /// The configuration of a [`ValueStore`]. Serializes to the backend's name and its settings:
    /// `{"type":"file","root":"…"}`.
    ValueStoreConfig, ValueStoreConfigObject, ValueStore
}

store_config! {
    /// The configuration of a [`CallStore`]. Serializes to the backend's name and its settings:
    /// `{"type":"file","root":"…"}`.
    CallStoreConfig, CallStoreConfigObject, CallStore
}

/// The registration of a backend.
#[derive(Debug)]
pub struct BackendInfo {
    /// The permanent name: the `type` of its configurations, with a variant if one `type` covers several backends:
    /// `sql-sqlite`.
    pub name: &'static str,
    /// The purpose of the backend, in one line.
    pub summary: &'static str,
    /// The processes that can share the backend's stores.
    pub reach: Reach,
    /// Whether another process that opens the store later finds the entries.
    pub durable: bool,
    /// The module that registers the backend. Filled in by [`register_backend!`](crate::register_backend).
    #[doc(hidden)]
    pub module: &'static str,
    /// Returns the configurations of a new, empty pair of stores inside this existing directory.
    pub scratch: fn(&Path) -> StorePair,
}

/// The configurations of the two stores of a cache.
pub type StorePair = (Box<dyn ValueStoreConfig>, Box<dyn CallStoreConfig>);

inventory::collect!(BackendInfo);

/// Returns the backends that are linked into this program, sorted by name.
///
/// A store crate that is only listed in `Cargo.toml` is not linked. The program must name something of it:
/// `use fleche_store_file as _;` suffices.
pub fn backends() -> Vec<&'static BackendInfo> {
    let mut backends: Vec<_> = inventory::iter::<BackendInfo>().collect();
    backends.sort_by_key(|backend| backend.name);
    backends
}

/// Returns the modules that register a backend of this name, if there are several. Its configurations must not be read
/// then.
pub fn registered_twice(name: &str) -> Option<Vec<&'static str>> {
    let modules: Vec<_> =
        inventory::iter::<BackendInfo>().filter(|backend| backend.name == name).map(|backend| backend.module).collect();
    (modules.len() > 1).then_some(modules)
}

/// Registers a backend, with the fields of a [`BackendInfo`].
///
/// ```
/// use fleche_core::{layer::Void, register_backend, store::{Reach, backends}};
///
/// register_backend! {
///     name: "nowhere",
///     summary: "keeps nothing",
///     reach: Reach::Shared,
///     durable: false,
///     scratch: |_directory| (Box::new(Void), Box::new(Void)),
/// }
///
/// assert!(backends().iter().any(|backend| backend.name == "nowhere"));
/// ```
#[macro_export]
macro_rules! register_backend {
    ($($field:ident : $value:expr),* $(,)?) => {
        $crate::__private::inventory::submit! {
            $crate::store::BackendInfo { module: ::core::module_path!(), $($field: $value),* }
        }
    };
}
