//! `SledCalls`: records in a sled database, keyed by call, and their index by function.

use std::{borrow::Cow, fmt, path::Path, sync::Arc};

use fleche_core::{
    CallKey, CallStore, Digest, DigestPrefix, Query, Record, Result, ValueRef,
    call::{Argument, INLINE_LIMIT, RecordSummary},
    spi::fork::ProcessLocal,
    store::ensure_not_forked,
    store::{CallStoreConfig, Entries, FileBacked as _},
};

use crate::{SledCallsConfig, database::Database, error::later_format};

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

    fn matching_record(&self, query: &Query, key: CallKey) -> Option<Result<(CallKey, Record)>> {
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
            database.calls.insert(row_key(&record.function.name, key), fingerprints(record))?;
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
                Ok(key) => self.matching_record(query, key),
                Err(error) => Some(Err(error)),
            })));
        };
        let mut rows = database.calls.scan_prefix(row_prefix(function));
        let next = move || database.run(|| rows.next().transpose()).transpose();
        Ok(Box::new(std::iter::from_fn(next).filter_map(move |row| match row {
            Ok((row, fingerprints)) if may_match(query, &fingerprints) => self.matching_record(query, call_of(&row)?),
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

/// The maximum number of arguments that a row describes. Rows of calls with more arguments describe none.
const MAX_ARGUMENTS: usize = 16;
const FINGERPRINT_LEN: usize = 4;

/// Returns the key of a record's row.
fn row_key(function: &str, key: &CallKey) -> [u8; 40] {
    let mut row = [0; 40];
    row[..8].copy_from_slice(&row_prefix(function));
    row[8..].copy_from_slice(key.digest().as_bytes());
    row
}

/// Returns the prefix of the row keys of this function.
fn row_prefix(function: &str) -> [u8; 8] {
    first_bytes(Digest::of(function.as_bytes()))
}

/// Returns the key of the call that a row describes, or `None` if the row is damaged.
fn call_of(row_key: &[u8]) -> Option<CallKey> {
    row_key.get(8..)?.first_chunk().map(|key| Digest::from_bytes(*key).into())
}

/// Returns the content of a record's row: a fingerprint for each argument, or a single byte if there are too many.
fn fingerprints(record: &Record) -> Vec<u8> {
    let arguments = &record.arguments;
    if arguments.len() > MAX_ARGUMENTS { vec![0] } else { arguments.iter().flat_map(fingerprint).collect() }
}

/// Returns whether the record of a row with these fingerprints may match the query: no argument's fingerprint is missing.
fn may_match(query: &Query, fingerprints: &[u8]) -> bool {
    let (fingerprints, rest) = fingerprints.as_chunks::<FINGERPRINT_LEN>();
    !rest.is_empty() || query.arguments().iter().all(|wanted| fingerprints.contains(&fingerprint(wanted)))
}

/// Returns four bytes of the digest of the argument: its name, its form and its reference.
fn fingerprint(Argument(name, value): &Argument) -> [u8; FINGERPRINT_LEN] {
    let mut bytes = Vec::with_capacity(name.len() + 2 + INLINE_LIMIT);
    bytes.extend_from_slice(name.as_bytes());
    let (form, reference): (u8, Cow<'_, [u8]>) = match value {
        ValueRef::Inline(encoded) => (0, encoded.as_slice().into()),
        ValueRef::Stored(digest) => (1, digest.as_bytes()[..].into()),
    };
    bytes.extend_from_slice(&[0, form]);
    bytes.extend_from_slice(&reference);
    first_bytes(Digest::of(&bytes))
}

fn first_bytes<const N: usize>(digest: Digest) -> [u8; N] {
    std::array::from_fn(|at| digest.as_bytes()[at])
}
