//! `Fixture`: what a case works with, a backend and an empty directory.

use std::{path::Path, sync::Arc};

use fleche_core::{
    CallStore, ValueStore,
    store::{BackendInfo, CallStoreConfig, ValueStoreConfig},
};
use tempfile::TempDir;

use crate::{disk::Disk, peer::Program};

/// A backend, and configurations of a pair of stores of it that are the case's own.
pub(crate) struct Fixture {
    pub(crate) backend: &'static BackendInfo,
    pub(crate) values: Box<dyn ValueStoreConfig>,
    pub(crate) calls: Box<dyn CallStoreConfig>,
    /// How a second process comes about.
    pub(crate) program: Program,
    scratch: TempDir,
}

impl Fixture {
    pub(crate) fn new(backend: &'static BackendInfo, program: Program) -> Self {
        let scratch = tempfile::Builder::new().prefix("fleche-conformance-").tempdir().unwrap();
        let (values, calls) = (backend.scratch)(scratch.path());
        Self { backend, values, calls, program, scratch }
    }

    /// The value store: the one that is open, else it is opened anew.
    pub(crate) fn open_values(&self) -> Arc<dyn ValueStore> {
        self.values.open().unwrap_or_else(|error| panic!("the value store does not open: {error}"))
    }

    /// The call store, likewise.
    pub(crate) fn open_calls(&self) -> Arc<dyn CallStore> {
        self.calls.open().unwrap_or_else(|error| panic!("the call store does not open: {error}"))
    }

    /// What the stores have left below the scratch directory.
    pub(crate) fn disk(&self) -> Disk<'_> {
        Disk(self.directory())
    }

    pub(crate) fn directory(&self) -> &Path {
        self.scratch.path()
    }
}
