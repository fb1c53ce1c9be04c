//! `backend!`: a backend of stores with a given fault.

use std::path::Path;

use super::store::{Config, Fault};

pub(crate) fn config(directory: &Path, kind: &str, fault: Fault) -> Config {
    Config { root: directory.join(kind), fault }
}

/// Creates the backend with this fault, which declares this reach, by default `Exclusive`.
macro_rules! backend {
    ($fault:ident) => {
        backend!($fault, Exclusive)
    };
    ($fault:ident, $reach:ident) => {
        backend!($fault, $reach, "broken")
    };
    ($fault:ident, $reach:ident, $name:literal) => {{
        static BACKEND: fleche_core::store::BackendInfo = fleche_core::store::BackendInfo {
            name: $name,
            summary: "a store with a fault",
            reach: fleche_core::store::Reach::$reach,
            durable: true,
            module: module_path!(),
            scratch: |directory| {
                let config = |kind| {
                    Box::new($crate::broken::backend::config(directory, kind, $crate::broken::store::Fault::$fault))
                };
                (config("values"), config("calls"))
            },
        };
        &BACKEND
    }};
}
pub(crate) use backend;
