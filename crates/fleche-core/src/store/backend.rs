//! The registry of backends: each linked store crate registers itself here.

use std::path::Path;

use super::{CallStoreConfig, Reach, ValueStoreConfig};

/// The registration of a backend.
#[derive(Debug)]
pub struct BackendInfo {
    /// The permanent name: the `type` of its configurations, with a variant if one `type` covers several backends:
    /// `sql-sqlite`.
    pub name: &'static str,
    /// What the backend is for, in one line.
    pub summary: &'static str,
    /// Which processes can share its stores.
    pub reach: Reach,
    /// Whether another process that opens the store later finds what was put.
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
