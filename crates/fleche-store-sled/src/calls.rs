//! `SledCalls`: records in a sled database, keyed by call, and their index by function.

use std::{borrow::Cow, path::Path};

use fleche_core::{
    CallKey, CallStore, Digest, Query, Record, Result, ValueRef,
    call::{Argument, INLINE_LIMIT},
    store::kit::{self, KeyValueStore},
};

use crate::{SledCallsConfig, database::Database};

/// A [`CallStore`] in a sled database. A clone is another handle to the same store.
///
/// A record is on disk about 100 ms after `put`, or earlier once `sync` returns or the last handle is dropped. `find`
/// by function, and by arguments of the function, reads an index and only the records that it selects.
///
/// A record of a later major format, written by a newer version of fleche, is left in place: `get` returns `None`,
/// `contains` returns `true`, `remove` removes nothing, and `put` refuses to replace it.
#[derive(Clone, Debug)]
pub struct SledCalls(KeyValueStore<Database>);

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
        Ok(Self(KeyValueStore::new(Database::open(&config.path)?)))
    }

    /// Returns the directory as an absolute path, as it was named when it was first opened.
    pub fn path(&self) -> &Path {
        &self.0.handle().opened().path
    }
}

impl kit::CallStoreWrapper for SledCalls {
    type Inner = dyn CallStore;

    fn inner(&self) -> &Self::Inner {
        &self.0
    }

    fn is_exclusive(&self) -> bool {
        true
    }
}

/// The maximum number of arguments that a row describes. Rows of calls with more arguments describe none.
const MAX_ARGUMENTS: usize = 16;
const FINGERPRINT_LEN: usize = 4;

/// Returns the key of a record's row.
pub(crate) fn row_key(function: &str, call: &Digest) -> [u8; 40] {
    let mut row = [0; 40];
    row[..8].copy_from_slice(&row_prefix(function));
    row[8..].copy_from_slice(call.as_bytes());
    row
}

/// Returns the prefix of the row keys of this function.
pub(crate) fn row_prefix(function: &str) -> [u8; 8] {
    first_bytes(Digest::hash(function.as_bytes()))
}

/// Returns the key of the call that a row describes, or `None` if the row is damaged.
pub(crate) fn call_of(row_key: &[u8]) -> Option<CallKey> {
    row_key.get(8..)?.first_chunk().map(|key| Digest::from_bytes(*key).into())
}

/// Returns the content of a record's row: a fingerprint for each argument, or a single byte if there are too many.
pub(crate) fn fingerprints(record: &Record) -> Vec<u8> {
    let arguments = &record.arguments;
    if arguments.len() > MAX_ARGUMENTS { vec![0] } else { arguments.iter().flat_map(fingerprint).collect() }
}

/// Returns whether the record of a row with these fingerprints may match the query: no argument's fingerprint is missing.
pub(crate) fn may_match(query: &Query, fingerprints: &[u8]) -> bool {
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
    first_bytes(Digest::hash(&bytes))
}

fn first_bytes<const N: usize>(digest: Digest) -> [u8; N] {
    std::array::from_fn(|at| digest.as_bytes()[at])
}
