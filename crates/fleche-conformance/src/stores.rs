//! `Stores`: a pair of stores of one backend in a directory.

use std::{path::Path, sync::Arc};

use fleche_core::{CallStore, ValueStore, store::BackendInfo};

/// A value store and a call store of one backend.
pub(crate) struct Stores {
    pub(crate) values: Arc<dyn ValueStore>,
    pub(crate) calls: Arc<dyn CallStore>,
}

impl Stores {
    /// Opens the backend's scratch stores in this directory.
    ///
    /// # Errors
    /// Fails if one of them does not open.
    pub(crate) fn open(backend: &BackendInfo, directory: &Path) -> Result<Self, String> {
        let (values, calls) = (backend.scratch)(directory);
        let values = values.open().map_err(|error| format!("the value store does not open: {error}"))?;
        let calls = calls.open().map_err(|error| format!("the call store does not open: {error}"))?;
        Ok(Self { values, calls })
    }
}
