//! `Closing`: an open redb database whose closing may fail, too.

use std::ops::{Deref, DerefMut};

use crate::error::caught;

/// A database that is closed when this is dropped. Damaged pages may lead redb to panic even then.
pub(crate) struct Closing(Option<redb::Database>);

impl From<redb::Database> for Closing {
    fn from(database: redb::Database) -> Self {
        Self(Some(database))
    }
}

impl Deref for Closing {
    type Target = redb::Database;

    fn deref(&self) -> &redb::Database {
        self.0.as_ref().unwrap_or_else(|| unreachable!("it is there until the drop"))
    }
}

impl DerefMut for Closing {
    fn deref_mut(&mut self) -> &mut redb::Database {
        self.0.as_mut().unwrap_or_else(|| unreachable!("it is there until the drop"))
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
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
