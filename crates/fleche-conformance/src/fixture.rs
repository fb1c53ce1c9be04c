//! `Fixture` and `Stores`: the backend, the empty directory and the stores that a case works with.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::Arc,
};

use fleche_core::{
    CallStore, ValueStore,
    store::{BackendInfo, CallStoreConfig, ValueStoreConfig},
};
use tempfile::TempDir;

use crate::{
    disk::Disk,
    peer_process::{Pair, Program},
};

/// A backend, and the configurations of a pair of its stores that belong to one case.
pub(crate) struct Fixture {
    pub(crate) backend: &'static BackendInfo,
    pub(crate) values: Box<dyn ValueStoreConfig>,
    pub(crate) calls: Box<dyn CallStoreConfig>,
    /// The program that is started as a second process.
    pub(crate) program: Program,
    scratch: TempDir,
}

impl Fixture {
    pub(crate) fn new(backend: &'static BackendInfo, program: Program) -> Self {
        let scratch = tempfile::Builder::new().prefix("fleche-conformance-").tempdir().unwrap();
        let (values, calls) = (backend.scratch)(scratch.path());
        Self { backend, values, calls, program, scratch }
    }

    /// Opens the value store, or returns the one that is already open.
    pub(crate) fn open_values(&self) -> Arc<dyn ValueStore> {
        self.values.open().unwrap_or_else(|error| panic!("the value store does not open: {error:?}"))
    }

    /// Opens the call store, or returns the one that is already open.
    pub(crate) fn open_calls(&self) -> Arc<dyn CallStore> {
        self.calls.open().unwrap_or_else(|error| panic!("the call store does not open: {error:?}"))
    }

    /// Returns the files that the stores have in the scratch directory.
    pub(crate) fn disk(&self) -> Disk<'_> {
        Disk(self.directory())
    }

    pub(crate) fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Returns the configurations of the stores, to pass to a second process.
    pub(crate) fn pair(&self) -> Pair {
        Pair { values: self.values.clone(), calls: self.calls.clone(), durable: self.backend.durable }
    }

    /// Runs the closure while all directories and files of the stores have these modes, and then resets the modes.
    pub(crate) fn with_modes(&self, directories: u32, files: u32, run: impl FnOnce()) {
        self.disk().set_modes(directories, files);
        let outcome = catch_unwind(AssertUnwindSafe(run));
        self.disk().set_modes(0o755, 0o644);
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
    }
}

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
        let values = values.open().map_err(|error| format!("the value store does not open: {error:?}"))?;
        let calls = calls.open().map_err(|error| format!("the call store does not open: {error:?}"))?;
        Ok(Self { values, calls })
    }
}
