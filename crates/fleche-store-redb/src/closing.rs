//! `Closing`: an open redb database that survives a failure to close it.

use std::{
    io, mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

use crate::{error::caught, open::open};

/// A database that is closed when this is dropped, even if damaged pages make redb panic.
pub(crate) struct Closing {
    redb: Option<redb::Database>,
    /// Whether the file must not be written to any more.
    is_damaged: bool,
}

impl From<redb::Database> for Closing {
    fn from(database: redb::Database) -> Self {
        Self { redb: Some(database), is_damaged: false }
    }
}

impl Closing {
    pub(crate) fn get(&self) -> Result<&redb::Database, redb::Error> {
        self.redb.as_ref().ok_or_else(closed)
    }

    pub(crate) fn get_mut(&mut self) -> Result<&mut redb::Database, redb::Error> {
        self.redb.as_mut().ok_or_else(closed)
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
        if let Some(database) = self.redb.take() {
            abandon(database);
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

fn closed() -> redb::Error {
    redb::Error::Io(io::Error::other("the file is closed, and is reopened as soon as possible"))
}

impl Drop for Closing {
    fn drop(&mut self) {
        let Some(database) = self.redb.take() else { return };
        if mem::take(&mut self.is_damaged) {
            return abandon(database);
        }
        let closed = caught(|| {
            drop(database);
            Ok(())
        });
        if let Err(error) = closed {
            fleche_core::log::warn!(%error, "a redb database was not closed properly");
        }
    }
}
