//! `SledValues`: encoded values in a sled database, keyed by digest.

use std::path::Path;

use fleche_core::{
    Result, ValueStore,
    store::kit::{self, KeyValueStore},
};

use crate::{SledValuesConfig, database::Database};

/// A [`ValueStore`] in a sled database. A clone is another handle to the same store.
///
/// A value is on disk about 100 ms after `put`, or earlier once `sync` returns or the last handle is dropped.
/// Ages are measured with this system's clock; a time in the future counts as one equally far in the past.
#[derive(Clone, Debug)]
pub struct SledValues(KeyValueStore<Database>);

impl SledValues {
    /// Opens the store in this directory, creating the directory if it is missing.
    ///
    /// # Errors
    /// Fails with [`Error::Config`](fleche_core::Error::Config) if another process has the directory open, or if its
    /// content is damaged or not a database of this crate; and with [`Error::Io`](fleche_core::Error::Io) if it cannot
    /// be created or read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(&SledValuesConfig::new(path.as_ref()))
    }

    /// Opens the store that the configuration describes.
    ///
    /// # Errors
    /// Fails as [`open`](Self::open) does.
    pub fn open_with(config: &SledValuesConfig) -> Result<Self> {
        Ok(Self(KeyValueStore::new(Database::open(&config.path)?)))
    }

    /// Returns the directory as an absolute path, as it was named when it was first opened.
    pub fn path(&self) -> &Path {
        &self.0.handle().opened().path
    }
}

impl kit::ValueStoreWrapper for SledValues {
    type Inner = dyn ValueStore;

    fn inner(&self) -> &Self::Inner {
        &self.0
    }
}
