//! `SqlValues`: encoded values in a database, keyed by digest.

use std::time::Duration;

use bytes::Bytes;
use fleche_core::{
    Digest, DigestPrefix, Result, ValueStore,
    store::{
        Check, Entries, ValueStoreConfig,
        kit::{Entry, Handle},
    },
};

use crate::{
    DatabaseUrl, SqlValuesConfig, database::Database, error::too_large, list::keys, statement::Statement,
    tables::MAX_ENTRY_LEN,
};

/// The maximum number of values that one statement removes.
const IDS_PER_STATEMENT: usize = 500;

/// The maximum length of a value that is written again if it is there, which takes one statement instead of two.
const MAX_REWRITTEN: usize = 1 << 16;

/// A [`ValueStore`] in a database, with one row per value. A clone is another handle to the same store.
///
/// Ages are measured with the database's own clock, in milliseconds. A time in the future counts as one equally far in
/// the past. Values of more than 999 000 000 bytes are refused.
#[derive(Clone, Debug)]
pub struct SqlValues {
    database: Handle<Database>,
    config: SqlValuesConfig,
}

impl SqlValues {
    /// Opens the store in the database at this URL: `sqlite:path/to/file.db`, or `postgres://user@host/database`. The
    /// SQLite file and the tables are created if they are missing; a PostgreSQL database is not.
    ///
    /// # Errors
    /// Fails with [`Error::Config`](fleche_core::Error::Config) if the URL has another form, or a later version of
    /// fleche created the tables; with [`Error::Io`](fleche_core::Error::Io) if the file cannot be created; and with
    /// [`Error::Backend`](fleche_core::Error::Backend) if the database cannot be reached.
    pub fn open(url: impl Into<DatabaseUrl>) -> Result<Self> {
        Self::open_with(&SqlValuesConfig::new(url))
    }

    /// Opens the store that the configuration describes.
    ///
    /// # Errors
    /// Fails as [`open`](Self::open) does.
    pub fn open_with(config: &SqlValuesConfig) -> Result<Self> {
        let (database, url) = Database::open(config.settings())?;
        Ok(Self { database: Handle::new(database), config: SqlValuesConfig { url, ..config.clone() } })
    }
}

impl ValueStore for SqlValues {
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        self.database.current()?.tables.verified(Entry::value(id), |bytes| check(bytes).map(Some))
    }

    /// Stores the value without hashing it: a mismatch of bytes and digest is detected when the entry is read.
    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        let tables = &self.database.writable()?.tables;
        let now = tables.dialect().now();
        let length = i64::try_from(encoded.len()).ok().filter(|_| encoded.len() <= MAX_ENTRY_LEN);
        let Some(length) = length else { return Err(too_large(&tables.name, encoded.len())) };
        if encoded.len() > MAX_REWRITTEN {
            let refresh =
                format!("UPDATE fleche_values SET put = {now} WHERE id = $1 AND length(bytes) = $2 RETURNING 1");
            if tables.change(Statement::new(refresh).bytes(id.as_bytes()).integer(length))? > 0 {
                return Ok(());
            }
        }
        let put = format!(
            "INSERT INTO fleche_values (id, put, bytes) VALUES ($1, {now}, $2)
             ON CONFLICT (id) DO UPDATE SET put = excluded.put, bytes = excluded.bytes"
        );
        tables.change(Statement::new(put).bytes(id.as_bytes()).bytes(encoded))?;
        Ok(())
    }

    fn contains(&self, id: &Digest) -> Result<bool> {
        let wanted = Statement::new("SELECT 1 FROM fleche_values WHERE id = $1").bytes(id.as_bytes());
        self.database.current()?.tables.has_row(&wanted)
    }

    fn age(&self, id: &Digest) -> Result<Option<Duration>> {
        let tables = &self.database.current()?.tables;
        let sql = format!("SELECT abs({} - put) FROM fleche_values WHERE id = $1", tables.dialect().now());
        let age = tables.read(&Statement::new(sql).bytes(id.as_bytes()), |row| row.integer(0))?.pop();
        Ok(age.map(|age| Duration::from_millis(u64::try_from(age).unwrap_or(0))))
    }

    fn remove(&self, id: &Digest, older_than: Option<Duration>) -> Result<bool> {
        Ok(self.remove_all(&[*id], older_than)? > 0)
    }

    fn remove_all(&self, ids: &[Digest], older_than: Option<Duration>) -> Result<u64> {
        let tables = &self.database.writable()?.tables;
        let mut removed = 0;
        for ids in ids.chunks(IDS_PER_STATEMENT) {
            let mut statement = Statement::new("DELETE FROM fleche_values WHERE id IN (");
            for (at, id) in ids.iter().enumerate() {
                statement.push(&format!("{}${}", if at == 0 { "" } else { ", " }, statement.next()));
                statement = statement.bytes(id.as_bytes());
            }
            statement.push(")");
            if let Some(limit) = older_than {
                // Ages are whole milliseconds, so an age exceeds the limit if it exceeds the truncated limit.
                let limit = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
                statement.push(&format!(" AND abs({} - put) > ${}", tables.dialect().now(), statement.next()));
                statement = statement.integer(limit);
            }
            statement.push(" RETURNING 1");
            removed += tables.change(statement)? as u64;
        }
        Ok(removed)
    }

    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        Ok(keys(&self.database.current()?.tables, "SELECT id FROM fleche_values WHERE id", prefix))
    }

    /// Waits for a commit to disk, in SQLite. In PostgreSQL this does nothing, since every commit waits for the disk,
    /// unless the server is configured otherwise.
    fn sync(&self, _id: &Digest) -> Result<()> {
        self.database.synced(|database| database.tables.sync())
    }

    fn config(&self) -> Box<dyn ValueStoreConfig> {
        Box::new(self.config.clone())
    }
}
