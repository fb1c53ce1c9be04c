//! `Closing`: an open redb database whose closing may fail, too.

use std::path::Path;

use crate::{error::caught, open::open};

/// A database that is closed when this is dropped. Damaged pages may lead redb to panic even then.
pub(crate) struct Closing(Option<redb::Database>);

impl From<redb::Database> for Closing {
    fn from(database: redb::Database) -> Self {
        Self(Some(database))
    }
}

impl Closing {
    pub(crate) fn get(&self) -> Result<&redb::Database, redb::Error> {
        self.0.as_ref().ok_or_else(closed)
    }

    pub(crate) fn get_mut(&mut self) -> Result<&mut redb::Database, redb::Error> {
        self.0.as_mut().ok_or_else(closed)
    }

    /// Closes it, and opens the file anew.
    pub(crate) fn reopen(&mut self, path: &Path) -> Result<(), redb::Error> {
        self.close();
        let opened = caught(|| open(path))?.map_err(|error| redb::Error::Corrupted(error.to_string()))?;
        self.0 = Some(opened);
        Ok(())
    }

    /// Closes it now. Who asks for it afterwards is given an error.
    pub(crate) fn close(&mut self) {
        let database = self.0.take();
        let closed = caught(|| {
            drop(database);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::warn!(%error, "a redb database was not closed as it should be");
        }
    }
}

fn closed() -> redb::Error {
    redb::Error::Corrupted("it was closed to be healed, and could not be opened again".to_owned())
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.close();
    }
}
