//! `SqlCalls`: records in a database, keyed by call.

use fleche_core::{
    CallKey, CallStore, DigestPrefix, Query, Record, Result,
    call::RecordSummary,
    claim::{Claim, ClaimHolder},
    store::{
        CallStoreConfig, Entries,
        kit::{Entry, Handle, OpenDatabase as _, damage_reason},
    },
};

use crate::{
    DatabaseUrl, SqlCallsConfig,
    database::Database,
    error::too_large,
    indexed::insertion,
    list::keys,
    query::find,
    statement::Statement,
    tables::{MAX_ENTRY_LEN, Tables, removal},
};

/// A [`CallStore`] in a database, with one row per record, and index rows for its arguments and metadata. A clone is
/// another handle to the same store.
///
/// A record of a later major format, written by a newer version of fleche, is left in place: `get` returns `None`,
/// `contains` returns `true`, and `remove` removes nothing. `put` refuses to replace it if a `get` in this process has
/// found it, which is the case before each computation; otherwise, the last writer wins.
///
/// A missing call is claimed by a row that lasts ten seconds and is renewed after a third of this time: see the
/// [crate](crate#claims).
#[derive(Clone, Debug)]
pub struct SqlCalls {
    database: Handle<Database>,
    config: SqlCallsConfig,
}

impl SqlCalls {
    /// Opens the store in the database at this URL: `sqlite:path/to/file.db`, or `postgres://user@host/database`. The
    /// SQLite file and the tables are created if they are missing; a PostgreSQL database is not.
    ///
    /// # Errors
    /// Fails with [`Error::Config`](fleche_core::Error::Config) if the URL has another form, or a later version of
    /// fleche created the tables; with [`Error::Io`](fleche_core::Error::Io) if the file cannot be created; and with
    /// [`Error::Backend`](fleche_core::Error::Backend) if the database cannot be reached.
    pub fn open(url: impl Into<DatabaseUrl>) -> Result<Self> {
        Self::open_with(&SqlCallsConfig::new(url))
    }

    /// Opens the store that the configuration describes.
    ///
    /// # Errors
    /// Fails as [`open`](Self::open) does.
    pub fn open_with(config: &SqlCallsConfig) -> Result<Self> {
        let (database, url) = Database::open(config.settings())?;
        Ok(Self { database: Handle::new(database), config: SqlCallsConfig { url, ..config.clone() } })
    }

    fn tables(&self) -> Result<&Tables> {
        Ok(&self.database.current()?.tables)
    }
}

impl Tables {
    /// Returns what the function makes of the record's bytes, or `None` if there is no record or it has a later format.
    pub(crate) fn record<T>(&self, key: &CallKey, decode: Decode<T>) -> Result<Option<T>> {
        self.verified(Entry::record(key), |bytes| self.decoded(key, &bytes, decode))
    }

    /// Decodes and verifies a record; returns `None` if it has a later format, which is then remembered.
    ///
    /// # Errors
    /// Fails with the reason if the bytes are damaged.
    pub(crate) fn decoded<T>(&self, key: &CallKey, bytes: &[u8], decode: Decode<T>) -> Result<Option<T>, String> {
        let record = decode(key, bytes).map_err(damage_reason)?;
        if record.is_none() {
            self.later_records().insert(*key);
        }
        Ok(record)
    }
}

/// A function that decodes and verifies a record.
type Decode<T> = fn(&CallKey, &[u8]) -> Result<Option<T>>;

impl CallStore for SqlCalls {
    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        self.tables()?.record(key, Record::from_bytes)
    }

    fn summary(&self, key: &CallKey) -> Result<Option<RecordSummary>> {
        self.tables()?.record(key, Record::summary_from_bytes)
    }

    fn put(&self, key: &CallKey, record: &Record) -> Result<()> {
        let tables = &self.database.writable()?.tables;
        let met = tables.later_records().contains(key);
        if met
            && tables
                .bytes(Entry::record(key))?
                .is_some_and(|bytes| matches!(Record::from_bytes(key, &bytes), Ok(None)))
        {
            return Err(tables.name.later_format(key));
        }
        let bytes = record.to_bytes(key)?;
        if bytes.len() > MAX_ENTRY_LEN {
            return Err(too_large(&tables.name, bytes.len()));
        }
        tables.write(&insertion(key, record, bytes)?)?;
        Ok(())
    }

    fn contains(&self, key: &CallKey) -> Result<bool> {
        let wanted = Statement::new("SELECT 1 FROM fleche_calls WHERE key = $1").bytes(key.digest().as_bytes());
        self.tables()?.has_row(&wanted)
    }

    fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>> {
        let keys = keys(self.tables()?, "SELECT key FROM fleche_calls WHERE key", prefix);
        Ok(Box::new(keys.map(|key| key.map(CallKey::from))))
    }

    fn remove(&self, key: &CallKey, only: Option<&Record>) -> Result<bool> {
        let tables = &self.database.writable()?.tables;
        while let Some(bytes) = tables.bytes(Entry::record(key))? {
            let wanted = match Record::from_bytes(key, &bytes) {
                Ok(None) => false,
                Ok(Some(record)) => only.is_none_or(|only| record == *only),
                Err(_) => only.is_none(),
            };
            if !wanted {
                return Ok(false);
            }
            // If the record has been replaced since, the new one is checked.
            if !tables.write(&removal(tables.dialect(), key.digest().as_bytes(), &bytes))?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn find<'a>(&'a self, query: &'a Query) -> Result<Entries<'a, (CallKey, Record)>> {
        Ok(find(self.tables()?, query))
    }

    fn claim(&self, key: &CallKey) -> Result<Claim> {
        let database = self.database.current()?;
        // A read-only database accepts no claims, and no other process could read the result.
        if database.is_read_only() { Ok(Claim::WithinProcess) } else { database.leases.claim(key) }
    }

    fn claim_holder(&self, key: &CallKey) -> Result<Option<ClaimHolder>> {
        self.database.current()?.leases.table().claim_holder(key)
    }

    fn identity(&self) -> usize {
        self.database.identity()
    }

    /// Waits for a commit to disk, in SQLite. In PostgreSQL this does nothing, since every commit waits for the disk,
    /// unless the server is configured otherwise.
    fn sync(&self, _key: &CallKey) -> Result<()> {
        self.database.synced(|database| database.tables.sync())
    }

    fn config(&self) -> Box<dyn CallStoreConfig> {
        Box::new(self.config.clone())
    }
}
