//! `Handle`: what a user holds of an open database, and the checks that come before its operations.

use std::{fmt, sync::Arc};

use super::StoreName;
use crate::{
    error::Result,
    runtime::fork::{ProcessLocal, ensure_not_forked},
    store::FileBacked,
};

/// An open database: the state that all handles to one store share.
pub trait OpenDatabase: FileBacked + Send + Sync {
    /// Returns the name of the store, for errors.
    fn name(&self) -> &StoreName;

    /// Returns whether this user may not write to the store. The default is `false`.
    fn is_read_only(&self) -> bool {
        false
    }
}

/// A handle to an open database. A clone is another handle to the same one. A forked child neither uses nor closes it.
pub struct Handle<D>(ProcessLocal<Arc<D>>);

impl<D: OpenDatabase> Handle<D> {
    /// Creates a handle to a database that this process has opened.
    pub fn new(opened: Arc<D>) -> Self {
        Self(ProcessLocal::new(opened))
    }

    /// Returns the database as it was opened, which may have been replaced, and must not be used for operations.
    pub fn opened(&self) -> &Arc<D> {
        &self.0
    }

    /// Returns the name of the store.
    pub fn name(&self) -> &StoreName {
        self.0.name()
    }

    /// Returns the database to read from: the one that was opened, or its successor if the file has been replaced.
    ///
    /// # Errors
    /// Fails with [`Error::Forked`](crate::Error::Forked) in a forked child process.
    pub fn current(&self) -> Result<&Arc<D>> {
        ensure_not_forked(|| self.0.name().to_string())?;
        Ok(self.0.current())
    }

    /// Returns the database to write to, after checking that this is permitted and that the path still leads to it.
    ///
    /// # Errors
    /// Fails as [`current`](Self::current) and [`FileBacked::writable`] do, and with
    /// [`Error::Refused`](crate::Error::Refused) if this user may only read.
    pub fn writable(&self) -> Result<&Arc<D>> {
        ensure_not_forked(|| self.0.name().to_string())?;
        if self.0.is_read_only() { Err(self.0.name().read_only()) } else { self.0.writable() }
    }

    /// Runs `sync`, which returns once all earlier writes are durable.
    ///
    /// # Errors
    /// Fails with the errors of `sync`, and as [`writable`](Self::writable) does if the file has been removed, because the
    /// entries in it are lost.
    pub fn synced(&self, sync: impl FnOnce(&D) -> Result<()>) -> Result<()> {
        sync(self.current()?)?;
        if self.0.is_read_only() { Ok(()) } else { self.writable().map(drop) }
    }

    /// Returns a number that all handles to this database share, for [`CallStore::identity`](crate::CallStore::identity).
    pub fn identity(&self) -> usize {
        Arc::as_ptr(self.0.current()).addr()
    }
}

impl<D> Clone for Handle<D> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<D: OpenDatabase> fmt::Debug for Handle<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.name())
    }
}
