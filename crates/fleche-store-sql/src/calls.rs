//! `SqlCalls`: records in a database, under their calls' keys.

use std::{fmt, sync::Arc};

use fleche_core::{
    CallKey, CallStore, DigestPrefix, Error, Query, Record, Result,
    claim::{Claim, Owner},
    error::ensure_not_forked,
    fork::ProcessLocal,
    store::{CallStoreConfig, Entries, FileBacked as _},
};

use crate::{
    DatabaseUrl, SqlCallsConfig,
    aside::{Found, removal},
    database::{Database, LONGEST, Tables},
    error::{backend, later_format, too_large},
    find::find,
    indexed::insertion,
    keys::keys,
    statement::Statement,
};

/// A [`CallStore`] in a database, one row a record, with rows for its arguments and metadata by which it is found.
/// Cloning gives another handle to the same store.
///
/// A record of a later major format, which a newer program has written, is left in place: `get` gives `None`,
/// `contains` is true, `remove` removes nothing. `put` refuses to replace it where a `get` in this process has met it, as
/// happens before each computation; else the last writer wins.
///
/// A missing call is claimed by a row that lasts ten seconds and is renewed every third of that: see the
/// [crate](crate#who-computes).
#[derive(Clone)]
pub struct SqlCalls {
    database: ProcessLocal<Arc<Database>>,
    config: SqlCallsConfig,
}

impl SqlCalls {
    /// The store in the database of this URL: `sqlite:path/to/file.db`, or `postgres://user@host/database`. The file and
    /// the tables are created if they are missing; a database of PostgreSQL is not.
    ///
    /// # Errors
    /// [`Error::Config`] if the URL is none of these, or a later program made the tables; [`Error::Io`] if the file cannot
    /// be created; [`Error::Backend`] if the database cannot be reached.
    pub fn open(url: impl Into<DatabaseUrl>) -> Result<Self> {
        Self::open_with(&SqlCallsConfig::new(url))
    }

    /// The store that the configuration describes.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(config: &SqlCallsConfig) -> Result<Self> {
        let (database, url) = Database::open(config.settings())?;
        Ok(Self { database: ProcessLocal::new(database), config: SqlCallsConfig { url, ..config.clone() } })
    }

    fn tables(&self) -> &Tables {
        &self.database.current().tables
    }
}

impl Tables {
    /// The record's bytes; `None` if there are none.
    fn record(&self, key: &CallKey) -> Result<Option<Vec<u8>>> {
        let wanted = Statement::new("SELECT record FROM fleche_calls WHERE key = $1").bytes(*key.digest().as_bytes());
        let rows = self.read(wanted)?;
        rows.first().map(|row| row.bytes(0)).transpose().map_err(backend(&self.name))
    }

    /// As [`CallStore::get`].
    pub(crate) fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        while let Some(bytes) = self.record(key)? {
            match self.verified(key, &bytes) {
                Ok(record) => return Ok(record),
                Err(why) => match self.set_record_aside(key, &bytes, &why)? {
                    Found::Gone => return Ok(None),
                    Found::Another => {}
                },
            }
        }
        Ok(None)
    }

    /// The record in these bytes; `None` if it is of a later format, which is noted; why, where they are damaged.
    pub(crate) fn verified(&self, key: &CallKey, bytes: &[u8]) -> Result<Option<Record>, String> {
        let record = Record::from_bytes(key, bytes).map_err(why)?;
        if record.is_none() {
            self.later().insert(*key);
        }
        Ok(record)
    }
}

impl CallStore for SqlCalls {
    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        self.tables().get(key)
    }

    fn put(&self, key: &CallKey, record: &Record) -> Result<()> {
        // Before the lock, which another thread of the parent may have held at the fork.
        ensure_not_forked(|| &*self.database.tables.name)?;
        let tables = &self.database.writable()?.tables;
        let met = tables.later().contains(key);
        if met && tables.record(key)?.is_some_and(|bytes| matches!(Record::from_bytes(key, &bytes), Ok(None))) {
            return Err(later_format(&tables.name, key));
        }
        let bytes = record.to_bytes(key)?;
        if bytes.len() > LONGEST {
            return Err(too_large(&tables.name, bytes.len()));
        }
        tables.write(insertion(key, record, bytes)?)?;
        Ok(())
    }

    fn contains(&self, key: &CallKey) -> Result<bool> {
        let wanted = Statement::new("SELECT 1 FROM fleche_calls WHERE key = $1").bytes(*key.digest().as_bytes());
        Ok(!self.tables().read(wanted)?.is_empty())
    }

    fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>> {
        let keys = keys(self.tables(), "SELECT key FROM fleche_calls WHERE key", prefix);
        Ok(Box::new(keys.map(|key| key.map(CallKey::from))))
    }

    fn remove(&self, key: &CallKey, only: Option<&Record>) -> Result<bool> {
        let tables = &self.database.writable()?.tables;
        while let Some(bytes) = tables.record(key)? {
            let wanted = match Record::from_bytes(key, &bytes) {
                Ok(None) => false,
                Ok(Some(record)) => only.is_none_or(|only| record == *only),
                Err(_) => only.is_none(),
            };
            if !wanted {
                return Ok(false);
            }
            // Where it is another record by now, that is looked at.
            let rows = tables.write(removal(tables.dialect(), key, &bytes).into())?;
            if rows.last().is_some_and(|removed| !removed.is_empty()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn find<'a>(&'a self, query: &'a Query) -> Result<Entries<'a, (CallKey, Record)>> {
        Ok(find(self.tables(), query))
    }

    fn claim(&self, key: &CallKey) -> Result<Claim> {
        let database = self.database.current();
        // A database that cannot be written takes no claims, and no other process could read the result.
        if database.tables.is_read_only() { Ok(Claim::WithinProcess) } else { database.leases.claim(key) }
    }

    fn owner(&self, key: &CallKey) -> Result<Option<Owner>> {
        self.database.current().leases.table().owner(key)
    }

    fn identity(&self) -> usize {
        Arc::as_ptr(self.database.current()).addr()
    }

    /// As the trait says: a commit that waits for the disk, in SQLite. In PostgreSQL every commit does, unless the server
    /// was told otherwise, and this does nothing.
    fn sync(&self, _key: &CallKey) -> Result<()> {
        self.tables().sync()?;
        // Entries that were written to a file that has been removed are lost.
        self.database.writable().map(drop)
    }

    fn config(&self) -> Box<dyn CallStoreConfig> {
        Box::new(self.config.clone())
    }
}

fn why(error: Error) -> String {
    match error {
        Error::Damaged { why, .. } => why,
        other => other.to_string(),
    }
}

impl fmt::Debug for SqlCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlCalls")
            .field("url", &self.config.url)
            .field("schema", &self.config.schema)
            .finish_non_exhaustive()
    }
}
