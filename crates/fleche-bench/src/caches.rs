//! Constructors of the caches that several benchmarks use.

use std::path::Path;

use fleche_core::Cache;
use fleche_store_file::{FileCalls, FileValues};
use fleche_store_memory::{MemoryCalls, MemoryValues};
use fleche_store_redb::{RedbCalls, RedbValues};

/// Creates a cache with values and records in memory.
pub(crate) fn memory() -> Cache {
    Cache::new(MemoryValues::new(), MemoryCalls::new())
}

/// Opens a cache with values and records in the subdirectories `values` and `calls`.
///
/// # Errors
/// Fails if a store cannot be opened.
pub(crate) fn files(directory: &Path) -> Result<Cache, String> {
    let open = || -> fleche_core::Result<_> {
        Ok(Cache::new(FileValues::open(directory.join("values"))?, FileCalls::open(directory.join("calls"))?))
    };
    open().map_err(|error| error.report().to_string())
}

/// Opens a cache with values and records in one redb database.
///
/// # Errors
/// Fails if the database cannot be opened.
pub(crate) fn redb(file: &Path) -> Result<Cache, String> {
    let open = || -> fleche_core::Result<_> { Ok(Cache::new(RedbValues::open(file)?, RedbCalls::open(file)?)) };
    open().map_err(|error| error.report().to_string())
}
