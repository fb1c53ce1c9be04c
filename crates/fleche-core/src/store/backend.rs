//! The registry of backends: each store crate submits one entry, wherever it is linked.

use std::path::Path;

use super::{CallStoreConfig, Reach, ValueStoreConfig};

/// A backend, as its crate registers it.
#[derive(Debug)]
pub struct BackendInfo {
    /// The permanent name: the `type` of its configurations, or that and a variant, where one `type` stands for several
    /// backends: `sql-sqlite`.
    pub name: &'static str,
    /// What it is for, in one line.
    pub summary: &'static str,
    /// How far its stores reach.
    pub reach: Reach,
    /// Whether what was put is there when the store is opened anew in another process.
    pub durable: bool,
    /// The module that registers it, which [`register_backend!`](crate::register_backend) fills in.
    #[doc(hidden)]
    pub module: &'static str,
    /// Configurations of a new, empty pair of stores inside this directory, which exists.
    pub scratch: fn(&Path) -> StorePair,
}

/// The configurations of two stores that make a cache.
pub type StorePair = (Box<dyn ValueStoreConfig>, Box<dyn CallStoreConfig>);

inventory::collect!(BackendInfo);

/// The backends that are linked into this program, by name.
///
/// A store crate that stands only in `Cargo.toml` is not linked until something of it is named in the program:
/// `use fleche_store_file as _;` suffices.
pub fn backends() -> Vec<&'static BackendInfo> {
    let mut backends: Vec<_> = inventory::iter::<BackendInfo>().collect();
    backends.sort_by_key(|backend| backend.name);
    backends
}

/// The modules that register a backend of this name, where more than one does: its configurations are not to be read then.
pub fn registered_twice(name: &str) -> Option<Vec<&'static str>> {
    let modules: Vec<_> =
        inventory::iter::<BackendInfo>().filter(|backend| backend.name == name).map(|backend| backend.module).collect();
    (modules.len() > 1).then_some(modules)
}

/// Registers a backend: the fields of a [`BackendInfo`].
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
