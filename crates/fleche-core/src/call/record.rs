//! `Record`: the stored form of a finished call, and its bytes; `RecordSummary`: the part that a hit needs.

use std::{ops::Deref, sync::Arc};

use serde::{Deserialize, de::Error as _};

use super::{
    CallKey, ValueRef,
    record_fields::{FORMAT, Read, RecordFields, Written},
};
use crate::{
    digest::Digest,
    encoding::{self, DecodeError, Deserializer},
    error::{Error, Result},
    metadata::Timestamp,
};

/// The stored record of a finished call. Cheap to clone: clones share one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record(Arc<RecordFields>);

const CHECKSUM_LEN: usize = 16;

/// The initial capacity, in bytes, of the buffer for a record. Most records are shorter.
const INITIAL_CAPACITY: usize = 512;

impl Record {
    /// Creates a record of these fields.
    pub fn new(fields: RecordFields) -> Self {
        Self(Arc::new(fields))
    }

    /// Encodes the record in format 1: a CBOR map, then the first 16 bytes of BLAKE3 over the key's 32 bytes and the map.
    ///
    /// # Errors
    /// Fails if the metadata cannot be encoded.
    pub fn to_bytes(&self, key: &CallKey) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(INITIAL_CAPACITY);
        encoding::append(&mut bytes, &Written(self))?;
        let checksum = checksum(key, &bytes);
        bytes.extend_from_slice(&checksum);
        Ok(bytes)
    }

    /// Decodes the bytes that [`to_bytes`](Self::to_bytes) wrote for this key.
    ///
    /// Returns `None` if they are intact but of a later major format, which this version must neither read nor remove.
    ///
    /// # Errors
    /// Fails with [`Error::Damaged`] if the checksum does not match (damage, or a record of another key) or the map is
    /// not a record.
    pub fn from_bytes(key: &CallKey, bytes: &[u8]) -> Result<Option<Self>> {
        let Read(fields) =
            encoding::from_slice(map_of(key, bytes)?).map_err(|error| damaged(key, error.to_string()))?;
        Ok(fields.map(Self::new))
    }

    /// Like [`from_bytes`](Self::from_bytes), but decodes only the fields that a hit needs and ignores the others.
    ///
    /// # Errors
    /// Fails with [`Error::Damaged`] if the checksum does not match or a needed field is missing.
    pub fn summary_from_bytes(key: &CallKey, bytes: &[u8]) -> Result<Option<RecordSummary>> {
        read_summary(map_of(key, bytes)?).map_err(|error| damaged(key, error.to_string()))
    }
}

/// Returns the map at the start of a record's bytes, if the checksum matches.
fn map_of<'a>(key: &CallKey, bytes: &'a [u8]) -> Result<&'a [u8]> {
    let (map, sum) = bytes
        .split_last_chunk::<CHECKSUM_LEN>()
        .ok_or_else(|| damaged(key, format!("{} bytes are too few", bytes.len())))?;
    if checksum(key, map) == *sum { Ok(map) } else { Err(damaged(key, "its checksum does not match".to_owned())) }
}

fn damaged(key: &CallKey, why: String) -> Error {
    Error::Damaged { entry: format!("the record of call {key}"), why }
}

fn checksum(key: &CallKey, map: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key.digest().as_bytes()).update(map);
    let mut sum = [0; CHECKSUM_LEN];
    hasher.finalize_xof().fill(&mut sum);
    sum
}

impl Deref for Record {
    type Target = RecordFields;

    fn deref(&self) -> &RecordFields {
        &self.0
    }
}

/// The part of a [`Record`] that a hit needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSummary {
    /// The result.
    pub result: ValueRef,
    /// The digest of the code that computed the result.
    pub code: Digest,
    /// The time at which the record was written.
    pub written: Timestamp,
}

impl From<&Record> for RecordSummary {
    fn from(record: &Record) -> Self {
        Self { result: record.result, code: record.function.code, written: record.written }
    }
}

/// Reads a record's map until all fields of the summary are found. Returns `None` if the record is of a later format.
fn read_summary(map: &[u8]) -> Result<Option<RecordSummary>, DecodeError> {
    let missing = |field| Err(DecodeError::missing_field(field));
    let mut fields = Deserializer::new(map);
    let (mut format, mut result, mut written) = (None, None, None);
    for _ in 0..fields.map_header()? {
        match fields.text_bytes()? {
            // In key order, `format` is the first field that this version knows, and `function` the last that a hit
            // needs.
            b"format" => format = Some(u64::deserialize(&mut fields)?),
            _ if format > Some(FORMAT) => return Ok(None),
            b"result" => result = Some(ValueRef::deserialize(&mut fields)?),
            b"written" => written = Some(Timestamp::deserialize(&mut fields)?),
            b"function" => {
                let code = code(&mut fields)?;
                let (Some(_), Some(result), Some(written)) = (format, result, written) else { break };
                return code.map_or_else(|| missing("code"), |code| Ok(Some(RecordSummary { result, code, written })));
            }
            _ => fields.skip_unchecked()?,
        }
    }
    match (format, result, written) {
        (None, ..) => missing("format"),
        (Some(later), ..) if later > FORMAT => Ok(None),
        (_, None, _) => missing("result"),
        (_, _, None) => missing("written"),
        _ => missing("function"),
    }
}

fn code(function: &mut Deserializer<'_>) -> Result<Option<Digest>, DecodeError> {
    for _ in 0..function.map_header()? {
        match function.text_bytes()? {
            b"code" => return Digest::deserialize(function).map(Some),
            _ => function.skip_unchecked()?,
        }
    }
    Ok(None)
}
