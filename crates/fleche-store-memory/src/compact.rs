//! `CompactRecord`: the in-memory form of a record.
//!
//! Function and writer, which most records of a store have in common, are held once. The rest is held encoded.

use std::{
    borrow::Cow,
    cell::Cell,
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, Hash},
    sync::{Arc, RwLock, Weak},
};

use fleche_core::{
    Digest, Error, Record, Result,
    call::{Argument, FunctionId, InlineBytes, RecordFields, RecordSummary, Timestamp, ValueRef, Writer},
    encoding::{self, Encoded},
    metadata::Metadata,
    spi::LockResultExt,
};
use foldhash::fast::FixedState;

/// A record in its compact form.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CompactRecord {
    function: Arc<FunctionId>,
    writer: Arc<Writer>,
    written: Timestamp,
    /// The result, followed by arguments, metadata and other fields, encoded.
    rest: Box<[u8]>,
}

/// The byte in place of an inline result's length if the digest of a stored result follows instead.
const DIGEST: u8 = u8::MAX;
const DIGEST_LEN: usize = 32;

impl CompactRecord {
    /// Creates the compact form of a record. Function and writer are held in `shared`.
    ///
    /// # Errors
    /// Fails if the metadata cannot be encoded.
    pub(crate) fn new(record: &Record, shared: &SharedParts) -> Result<Self> {
        Ok(Self {
            function: shared.functions.get(&record.function),
            writer: shared.writers.get(&record.writer),
            written: record.written,
            rest: encode(record)?,
        })
    }

    /// Returns the record as it was put.
    ///
    /// # Errors
    /// Never fails, unless the held bytes were modified.
    pub(crate) fn record(&self) -> Result<Record> {
        let (result, mut rest) = self.split();
        let cut_off = || Error::Damaged { entry: "a record in memory".to_owned(), why: "it is cut off".to_owned() };
        let arguments = take_arguments(&mut rest).ok_or_else(cut_off)?;
        let (metadata, other): (Metadata, BTreeMap<String, Encoded>) =
            if rest.is_empty() { <_>::default() } else { encoding::from_slice(rest)? };
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
    pub(crate) fn summary(&self) -> RecordSummary {
        RecordSummary { result: self.split().0, code: self.function.code, written: self.written }
    }

    /// Returns the result, and the encoding of the fields that follow it.
    fn split(&self) -> (ValueRef, &[u8]) {
        let mut rest = &*self.rest;
        let result = take_value(&mut rest).unwrap_or_else(|| ValueRef::new(&[]));
        (result, rest)
    }
}

/// The maximum size, in bytes, of a buffer that is kept for the next record.
const MAX_KEPT_BUFFER: usize = 4096;

thread_local! {
    /// The buffer for the next record, so that none has to grow step by step.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Encodes the result, the arguments, and, if there are any, metadata and other fields.
fn encode(record: &Record) -> Result<Box<[u8]>> {
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    buffer.clear();
    push_value(&mut buffer, &record.result);
    push_len(&mut buffer, record.arguments.len());
    for Argument(name, value) in &record.arguments {
        push_len(&mut buffer, name.len());
        buffer.extend_from_slice(name.as_bytes());
        push_value(&mut buffer, value);
    }
    if record.metadata.iter().next().is_some() || !record.other.is_empty() {
        encoding::append(&mut buffer, &(&record.metadata, &record.other))?;
    }
    let encoded = buffer.as_slice().into();
    if buffer.capacity() <= MAX_KEPT_BUFFER {
        let _ = BUFFER.try_with(|kept| kept.set(buffer));
    }
    Ok(encoded)
}

fn push_value(buffer: &mut Vec<u8>, value: &ValueRef) {
    match value {
        ValueRef::Inline(bytes) => {
            #[allow(clippy::cast_possible_truncation)] // At most 64.
            buffer.push(bytes.as_slice().len() as u8);
            buffer.extend_from_slice(bytes.as_slice());
        }
        ValueRef::Stored(digest) => {
            buffer.push(DIGEST);
            buffer.extend_from_slice(digest.as_bytes());
        }
    }
}

fn take_value(rest: &mut &[u8]) -> Option<ValueRef> {
    let head = *rest.split_off_first()?;
    if head == DIGEST {
        let digest = rest.split_off(..DIGEST_LEN)?;
        return Some(ValueRef::Stored(Digest::from_bytes(digest.try_into().ok()?)));
    }
    InlineBytes::new(rest.split_off(..usize::from(head))?).map(ValueRef::Inline)
}

/// Appends a length: seven bits per byte, lowest first. The eighth bit is set if more bytes follow.
#[allow(clippy::cast_possible_truncation)] // Only the lowest bits are needed.
fn push_len(buffer: &mut Vec<u8>, mut len: usize) {
    while len >= 0x80 {
        buffer.push(len as u8 | 0x80);
        len >>= 7;
    }
    buffer.push(len as u8);
}

fn take_len(rest: &mut &[u8]) -> Option<usize> {
    let mut len = 0;
    for shift in (0..usize::BITS).step_by(7) {
        let byte = *rest.split_off_first()?;
        len |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(len);
        }
    }
    None
}

fn take_arguments(rest: &mut &[u8]) -> Option<Vec<Argument>> {
    let argument = |rest: &mut &[u8]| {
        let len = take_len(rest)?;
        let name = std::str::from_utf8(rest.split_off(..len)?).ok()?;
        Some(Argument(Cow::Owned(name.to_owned()), take_value(rest)?))
    };
    (0..take_len(rest)?).map(|_| argument(rest)).collect()
}

/// The values that records have in common.
#[derive(Default)]
pub(crate) struct SharedParts {
    functions: Interned<FunctionId>,
    writers: Interned<Writer>,
}

/// The hasher of values. Values whose hashes are equal are compared, so the seed need not be secret.
const HASHER: FixedState = FixedState::with_seed(0);

/// A set of values, each held once and only as long as a record refers to it.
struct Interned<T>(RwLock<InternTable<T>>);

struct InternTable<T> {
    /// The values by their hashes.
    values: HashMap<u64, Vec<Weak<T>>, FixedState>,
    /// The value that was added last.
    last: Weak<T>,
    /// The number of hashes at which values without a record are removed.
    limit: usize,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self(RwLock::new(InternTable { values: HashMap::with_hasher(HASHER), last: Weak::new(), limit: 64 }))
    }
}

impl<T: Clone + Eq + HashedPart> Interned<T> {
    fn get(&self, value: &T) -> Arc<T> {
        // Most records of a store have the function or the writer that came last.
        let is_value = |known: &Arc<T>| **known == *value;
        if let Some(known) = self.0.read().ignore_poison().last.upgrade().filter(is_value) {
            return known;
        }
        let hash = HASHER.hash_one(value.hashed_part());
        if let Some(known) = self.0.read().ignore_poison().find(hash, value) {
            return known;
        }
        let mut table = self.0.write().ignore_poison();
        if let Some(known) = table.find(hash, value) {
            return known;
        }
        if table.values.len() >= table.limit {
            table.values.retain(|_, values| {
                values.retain(|value| value.strong_count() > 0);
                !values.is_empty()
            });
            table.limit = 64 + 2 * table.values.len();
        }
        let new = Arc::new(value.clone());
        table.values.entry(hash).or_default().push(Arc::downgrade(&new));
        table.last = Arc::downgrade(&new);
        new
    }
}

impl<T: Eq> InternTable<T> {
    fn find(&self, hash: u64, value: &T) -> Option<Arc<T>> {
        self.values.get(&hash)?.iter().filter_map(Weak::upgrade).find(|known| **known == *value)
    }
}

/// The part of a value that its hash covers.
trait HashedPart {
    fn hashed_part(&self) -> impl Hash;
}

impl HashedPart for FunctionId {
    fn hashed_part(&self) -> impl Hash {
        (&*self.name, self.version)
    }
}

impl HashedPart for Writer {
    fn hashed_part(&self) -> impl Hash {
        (&*self.program, self.process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(arguments: Vec<Argument>, result: ValueRef, with_metadata: bool) -> Record {
        let mut metadata = Metadata::default();
        if with_metadata {
            metadata.insert("kind", Encoded::encode(&7).unwrap());
        }
        Record::new(RecordFields {
            function: FunctionId { name: "p::f".into(), version: 1, code: Digest::hash(b"code"), hash_code: false },
            arguments,
            result,
            metadata,
            written: Timestamp(3),
            writer: Writer::this_process(),
            other: BTreeMap::new(),
        })
    }

    #[test]
    fn record_is_returned_as_it_was_put() {
        let shared = SharedParts::default();
        let values = [0, 1, 64, 65].map(|len| ValueRef::new(&vec![7; len]));
        let argument = |len: usize, value| Argument("ü".repeat(len).into(), value);
        for count in [0, 1, 3, 200] {
            for value in values {
                let arguments: Vec<_> = (0..count).map(|len| argument(len, value)).collect();
                for with_metadata in [false, true] {
                    let record = record(arguments.clone(), value, with_metadata);
                    let compact = CompactRecord::new(&record, &shared).unwrap();
                    assert_eq!(compact.record().unwrap(), record);
                    assert_eq!(compact.summary(), RecordSummary::from(&record));
                }
            }
        }
    }

    #[test]
    fn truncated_compact_record_is_an_error() {
        let record = record(vec![Argument("x".into(), ValueRef::new(b"1"))], ValueRef::new(b"2"), false);
        let compact = CompactRecord::new(&record, &SharedParts::default()).unwrap();
        let whole = compact.rest.len();
        for len in 0..whole {
            let cut_off = CompactRecord { rest: compact.rest[..len].into(), ..compact.clone() };
            assert!(cut_off.record().is_err(), "{len} of {whole} bytes");
        }
    }
}
