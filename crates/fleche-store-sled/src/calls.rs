//! `SledCalls`: records in a sled database, keyed by call.

use std::{fmt, path::Path, sync::Arc};

use fleche_core::{
    CallKey, CallStore, DigestPrefix, Query, Record, Result,
    call::RecordSummary,
    error::ensure_not_forked,
    fork::ProcessLocal,
    store::{CallStoreConfig, Entries, FileBacked as _},
};

use crate::{
    SledCallsConfig,
    database::Database,
    error::later_format,
    index::{call_of, marks, may_match, row_key, rows_of},
};

/// A [`CallStore`] in a sled database. A clone is another handle to the same store.
///
/// A record is on disk about 100 ms after `put`, or earlier once `sync` returns or the last handle is dropped. `find`
/// by function, and by arguments of the function, reads an index and only the records that it selects.
///
/// A record of a later major format, written by a newer version of fleche, is left in place: `get` returns `None`,
/// `contains` returns `true`, `remove` removes nothing, and `put` refuses to replace it.
#[derive(Clone)]
pub struct SledCalls(ProcessLocal<Arc<Database>>);

impl SledCalls {
    /// Opens the store in this directory, creating the directory if it is missing.
    ///
    /// # Errors
    /// Fails with [`Error::Config`](fleche_core::Error::Config) if another process has the directory open, or if its
    /// content is damaged or not a database of this crate; and with [`Error::Io`](fleche_core::Error::Io) if it cannot
    /// be created or read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(&SledCallsConfig::new(path.as_ref()))
    }

    /// Opens the store that the configuration describes.
    ///
    /// # Errors
    /// Fails as [`open`](Self::open) does.
    pub fn open_with(config: &SledCallsConfig) -> Result<Self> {
        Ok(Self(ProcessLocal::new(Database::open(&config.path)?)))
    }

    /// Returns the database.
    ///
    /// # Errors
    /// Fails in a forked child process, which must not use the database.
    fn database(&self) -> Result<&Arc<Database>> {
        ensure_not_forked(|| format!("the sled store `{}`", self.path().display()))?;
        Ok(&self.0)
    }

    /// Returns the directory as an absolute path, as it was named when it was first opened.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    fn found(&self, query: &Query, key: CallKey) -> Option<Result<(CallKey, Record)>> {
        let database = self.0.current();
        match database.record(&key, Record::from_bytes) {
            Ok(Some(record)) if query.matches(&record) => Some(Ok((key, record))),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

impl CallStore for SledCalls {
    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        let database = self.database()?.current();
        database.record(key, Record::from_bytes)
    }

    fn summary(&self, key: &CallKey) -> Result<Option<RecordSummary>> {
        let database = self.database()?.current();
        database.record(key, Record::summary_from_bytes)
    }

    fn put(&self, key: &CallKey, record: &Record) -> Result<()> {
        let database = self.database()?.writable()?;
        let bytes = record.to_bytes(key)?;
        database.check_size(bytes.len())?;
        let put = database.change(key.digest(), || {
            let there = database.records.get(key.digest().as_bytes())?;
            if there.is_some_and(|there| matches!(Record::from_bytes(key, &there), Ok(None))) {
                return Ok(false);
            }
            // The row comes first: a kill between the two writes leaves a row without a record, which `find` skips.
            database.calls.insert(row_key(&record.function.name, key), marks(record))?;
            database.records.insert(key.digest().as_bytes(), bytes)?;
            Ok(true)
        })?;
        if put { Ok(()) } else { Err(later_format(self.path(), key)) }
    }

    fn contains(&self, key: &CallKey) -> Result<bool> {
        let database = self.database()?.current();
        database.run(|| database.records.contains_key(key.digest().as_bytes()))
    }

    fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>> {
        let database = self.database()?.current();
        Ok(Box::new(database.digests(&database.records, prefix)?.map(|digest| digest.map(CallKey::from))))
    }

    fn remove(&self, key: &CallKey, only: Option<&Record>) -> Result<bool> {
        let database = self.database()?.writable()?;
        database.change(key.digest(), || {
            let Some(there) = database.records.get(key.digest().as_bytes())? else { return Ok(false) };
            let record = match Record::from_bytes(key, &there) {
                Ok(Some(record)) if only.is_none_or(|only| record == *only) => Some(record),
                Err(_) if only.is_none() => None,
                _ => return Ok(false),
            };
            database.records.remove(key.digest().as_bytes())?;
            if let Some(record) = record {
                database.calls.remove(row_key(&record.function.name, key))?;
            }
            Ok(true)
        })
    }

    fn find<'a>(&'a self, query: &'a Query) -> Result<Entries<'a, (CallKey, Record)>> {
        let database = self.database()?.current();
        let Some(function) = query.function_name() else {
            let keys = self.keys(&DigestPrefix::all())?;
            return Ok(Box::new(keys.filter_map(|key| match key {
                Ok(key) => self.found(query, key),
                Err(error) => Some(Err(error)),
            })));
        };
        let mut rows = database.calls.scan_prefix(rows_of(function));
        let next = move || database.run(|| rows.next().transpose()).transpose();
        Ok(Box::new(std::iter::from_fn(next).filter_map(move |row| match row {
            Ok((row, marks)) if may_match(query, &marks) => self.found(query, call_of(&row)?),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })))
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn identity(&self) -> usize {
        Arc::as_ptr(self.0.current()).addr()
    }

    fn sync(&self, _key: &CallKey) -> Result<()> {
        self.database()?.current().sync()?;
        // Entries that were written to a directory that has been removed are lost.
        self.database()?.writable().map(drop)
    }

    fn config(&self) -> Box<dyn CallStoreConfig> {
        Box::new(SledCallsConfig::new(self.path()))
    }
}

impl fmt::Debug for SledCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledCalls").field("path", &self.path()).finish()
    }
}
