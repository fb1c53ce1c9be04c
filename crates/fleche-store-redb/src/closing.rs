//! `Closing`: an open redb database whose closing may fail, too.

use std::{
    io, mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

use crate::{error::caught, open::open};

/// A database that is closed when this is dropped. Damaged pages may lead redb to panic even then.
pub(crate) struct Closing {
    redb: Option<redb::Database>,
    /// Whether nothing more is to be written to the file.
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

    /// Whether redb reads and writes, which it does no more after an error of the system's.
    pub(crate) fn works(&self) -> bool {
        caught(|| Ok(self.get()?.begin_write()?.abort()?)).is_ok()
    }

    /// Has nothing more written to the file, not even when it is closed.
    pub(crate) fn give_up(&mut self) {
        self.is_damaged = true;
    }

    /// Opens the file anew. What was committed since the last commit that is on the disk is lost. Until it is open again, who asks
    /// for it is given an error.
    pub(crate) fn reopen(&mut self, path: &Path) -> Result<(), redb::Error> {
        if let Some(database) = self.redb.take() {
            abandon(database);
        }
        let opened = caught(|| open(path))?.map_err(|error| redb::Error::Io(io::Error::other(error.to_string())))?;
        *self = opened.redb.into();
        Ok(())
    }
}

/// Closes it without writing to it: where pages are damaged, redb might panic while it cleans up after a panic, which ends the
/// process. While a thread panics it writes nothing.
pub(crate) fn abandon(database: redb::Database) {
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _closed_while_this_unwinds = database;
        resume_unwind(Box::new("a database is closed as it is"));
    }));
}

fn closed() -> redb::Error {
    redb::Error::Io(io::Error::other("it is closed, and is opened again as soon as it can be"))
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
            fleche_core::log::warn!(%error, "a redb database was not closed as it should be");
        }
    }
}
