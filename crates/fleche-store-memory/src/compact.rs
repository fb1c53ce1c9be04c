//! `Compact`: the in-memory form of a record.
//!
//! Function and writer, which most records of a store have in common, are held once. The rest is held encoded.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, Hash},
    sync::{Arc, PoisonError, RwLock, Weak},
};

use fleche_core::{
    Digest, Record, Result,
    call::{Argument, Brief, FunctionId, InlineBytes, RecordFields, Timestamp, ValueRef, Writer},
    encoding::{self, Encoded},
    metadata::Metadata,
};
use foldhash::fast::FixedState;

/// A record in its compact form.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Compact {
    function: Arc<FunctionId>,
    writer: Arc<Writer>,
    written: Timestamp,
    /// The result, followed by arguments, metadata and other fields, encoded.
    rest: Box<[u8]>,
}

/// Takes the place of an inline result's length if the digest of a stored result follows instead.
const DIGEST: u8 = u8::MAX;
const DIGEST_LEN: usize = 32;

impl Compact {
    /// Creates the compact form of a record. Function and writer are held in `shared`.
    ///
    /// # Errors
    /// Fails if the metadata cannot be encoded.
    pub(crate) fn new(record: &Record, shared: &Shared) -> Result<Self> {
        let mut rest = Vec::new();
        match &record.result {
            ValueRef::Inline(bytes) => {
                #[allow(clippy::cast_possible_truncation)] // At most 64.
                rest.push(bytes.as_slice().len() as u8);
                rest.extend_from_slice(bytes.as_slice());
            }
            ValueRef::Stored(digest) => {
                rest.push(DIGEST);
                rest.extend_from_slice(digest.as_bytes());
            }
        }
        encoding::append(&mut rest, &(&record.arguments, &record.metadata, &record.other))?;
        Ok(Self {
            function: shared.functions.get(&record.function),
            writer: shared.writers.get(&record.writer),
            written: record.written,
            rest: rest.into(),
        })
    }

    /// Returns the record as it was put.
    ///
    /// # Errors
    /// Never fails, unless the held bytes were modified.
    pub(crate) fn record(&self) -> Result<Record> {
        let (result, rest) = self.split();
        let (arguments, metadata, other): (Vec<Argument>, Metadata, BTreeMap<String, Encoded>) =
            encoding::from_slice(rest)?;
        Ok(Record::new(RecordFields {
            function: (*self.function).clone(),
            arguments,
            result,
            metadata,
            written: self.written,
            writer: (*self.writer).clone(),
            other,
        }))
    }

    /// Returns the record summary.
    pub(crate) fn brief(&self) -> Brief {
        Brief { result: self.split().0, code: self.function.code, written: self.written }
    }

    /// Returns the result, and the encoding of the fields that follow it.
    fn split(&self) -> (ValueRef, &[u8]) {
        let Some((&head, rest)) = self.rest.split_first() else { return (ValueRef::of(&[]), &[]) };
        if head == DIGEST {
            let (digest, rest) = rest.split_first_chunk::<DIGEST_LEN>().unwrap_or((&[0; DIGEST_LEN], &[]));
            return (ValueRef::Stored(Digest::from_bytes(*digest)), rest);
        }
        let (result, rest) = rest.split_at_checked(usize::from(head)).unwrap_or_default();
        (InlineBytes::new(result).map_or_else(|| ValueRef::of(result), ValueRef::Inline), rest)
    }
}

/// The values that records have in common.
#[derive(Default)]
pub(crate) struct Shared {
    functions: Interned<FunctionId>,
    writers: Interned<Writer>,
}

/// A set of values, each held once and only as long as a record refers to it.
struct Interned<T>(RwLock<Held<T>>);

struct Held<T> {
    /// The values by their hashes.
    values: HashMap<u64, Vec<Weak<T>>>,
    /// The number of hashes at which values without a record are removed.
    limit: usize,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self(RwLock::new(Held { values: HashMap::new(), limit: 64 }))
    }
}

impl<T: Clone + Eq + Key> Interned<T> {
    fn get(&self, value: &T) -> Arc<T> {
        let hash = FixedState::with_seed(0).hash_one(value.key());
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).find(hash, value) {
            return known;
        }
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = held.find(hash, value) {
            return known;
        }
        if held.values.len() >= held.limit {
            held.values.retain(|_, values| {
                values.retain(|value| value.strong_count() > 0);
                !values.is_empty()
            });
            held.limit = 64 + 2 * held.values.len();
        }
        let new = Arc::new(value.clone());
        held.values.entry(hash).or_default().push(Arc::downgrade(&new));
        new
    }
}

impl<T: Eq> Held<T> {
    fn find(&self, hash: u64, value: &T) -> Option<Arc<T>> {
        self.values.get(&hash)?.iter().filter_map(Weak::upgrade).find(|known| **known == *value)
    }
}

/// The part of a value that its hash covers.
trait Key {
    fn key(&self) -> impl Hash;
}

impl Key for FunctionId {
    fn key(&self) -> impl Hash {
        self
    }
}

impl Key for Writer {
    fn key(&self) -> impl Hash {
        (&self.host, self.process, &self.program)
    }
}
