//! `DbHandle`: an open redb database that survives a failure to close it.

use std::{
    io, mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

use redb::{ReadTransaction, ReadableDatabase as _};

use crate::{error::caught, open::open};

/// A database that is closed when this is dropped, even if damaged pages make redb panic.
pub(crate) struct DbHandle {
    redb: Option<Redb>,
    /// Whether the file must no longer be written to.
    is_damaged: bool,
}

/// An open redb database, with the access that this user has to the file.
pub(crate) enum Redb {
    Full(redb::Database),
    ReadOnly(redb::ReadOnlyDatabase),
}

impl From<Redb> for DbHandle {
    fn from(redb: Redb) -> Self {
        Self { redb: Some(redb), is_damaged: false }
    }
}

impl Redb {
    pub(crate) fn begin_read(&self) -> Result<ReadTransaction, redb::Error> {
        Ok(match self {
            Self::Full(redb) => redb.begin_read()?,
            Self::ReadOnly(redb) => redb.begin_read()?,
        })
    }
}

impl DbHandle {
    /// Returns the database for writing.
    pub(crate) fn get(&self) -> Result<&redb::Database, redb::Error> {
        match &self.redb {
            Some(Redb::Full(redb)) => Ok(redb),
            Some(Redb::ReadOnly(_)) => Err(cannot_be_written()),
            None => Err(closed()),
        }
    }

    pub(crate) fn get_mut(&mut self) -> Result<&mut redb::Database, redb::Error> {
        match &mut self.redb {
            Some(Redb::Full(redb)) => Ok(redb),
            Some(Redb::ReadOnly(_)) => Err(cannot_be_written()),
            None => Err(closed()),
        }
    }

    pub(crate) fn begin_read(&self) -> Result<ReadTransaction, redb::Error> {
        self.redb.as_ref().ok_or_else(closed)?.begin_read()
    }

    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self.redb, Some(Redb::ReadOnly(_)))
    }

    /// Returns whether redb reads and writes, which it refuses after an error of the operating system.
    pub(crate) fn works(&self) -> bool {
        caught(|| Ok(self.get()?.begin_write()?.abort()?)).is_ok()
    }

    /// Prevents further writes to the file, also when it is closed.
    pub(crate) fn give_up(&mut self) {
        self.is_damaged = true;
    }

    /// Reopens the file. Commits since the last durable one are lost. Until it is open again, callers get an error.
    pub(crate) fn reopen(&mut self, path: &Path) -> Result<(), redb::Error> {
        match self.redb.take() {
            Some(Redb::Full(database)) => abandon(database),
            Some(Redb::ReadOnly(database)) => drop(database),
            None => {}
        }
        let opened = caught(|| open(path))?.map_err(|error| redb::Error::Io(io::Error::other(error.to_string())))?;
        *self = opened.redb.into();
        Ok(())
    }
}

/// Closes the database without writing to it, by dropping it during a panic, when redb does not write. With damaged
/// pages, redb might panic while it unwinds from a panic, which would end the process.
pub(crate) fn abandon(database: redb::Database) {
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _closed_while_this_unwinds = database;
        resume_unwind(Box::new("a database is closed without writing to it"));
    }));
}

fn cannot_be_written() -> redb::Error {
    redb::Error::Io(io::Error::new(io::ErrorKind::PermissionDenied, "this user may not write to the file"))
}

fn closed() -> redb::Error {
    redb::Error::Io(io::Error::other("the file is closed, and is reopened as soon as possible"))
}

impl Drop for DbHandle {
    fn drop(&mut self) {
        // A database that was opened for reading only writes nothing when it is closed.
        let Some(Redb::Full(database)) = self.redb.take() else { return };
        if mem::take(&mut self.is_damaged) {
            return abandon(database);
        }
        let closed = caught(|| {
            drop(database);
            Ok(())
        });
        if let Err(error) = closed {
            fleche_core::spi::log::warn!(%error, "a redb database was not closed properly");
        }
    }
}
