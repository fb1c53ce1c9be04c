//! `Record`: what is stored of a finished call, and its bytes.

mod brief;
mod map;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ops::Deref,
    sync::{Arc, LazyLock},
};

use serde::{Deserialize, Serialize};

use super::{Argument, CallKey, FunctionId, ValueRef};
use crate::{
    encoding::{self, Encoded},
    error::{Error, Result},
    metadata::{Metadata, Timestamp},
};
pub use brief::RecordSummary;
use map::{Read, Written};

/// What is stored of a finished call. Cheap to clone: clones share one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record(Arc<RecordFields>);

/// The fields of a [`Record`], which dereferences to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFields {
    /// The function, with the digest of the code that computed the result.
    pub function: FunctionId,
    /// The arguments that are part of the key, in declaration order.
    pub arguments: Vec<Argument>,
    /// The result.
    pub result: ValueRef,
    /// The metadata collected around the call.
    pub metadata: Metadata,
    /// When the record was written.
    pub written: Timestamp,
    /// The process that wrote the record.
    pub writer: Writer,
    /// Fields that this version does not know, kept as they were read.
    pub other: BTreeMap<String, Encoded>,
}

/// The process that wrote a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    /// The host's name.
    pub host: Cow<'static, str>,
    /// The process id on that host.
    pub process: u32,
    /// The file name of the executable.
    pub program: Cow<'static, str>,
}

impl Writer {
    /// Returns the description of this process.
    pub fn this_process() -> Self {
        static HOST_AND_PROGRAM: LazyLock<(String, String)> = LazyLock::new(|| {
            let program = std::env::current_exe().ok();
            let program = program.as_deref().and_then(|path| path.file_name()).unwrap_or_default();
            (gethostname::gethostname().to_string_lossy().into_owned(), program.to_string_lossy().into_owned())
        });
        let (host, program) = &*HOST_AND_PROGRAM;
        Self { host: Cow::Borrowed(host), process: std::process::id(), program: Cow::Borrowed(program) }
    }
}

const CHECKSUM_LEN: usize = 16;

/// The initial capacity, in bytes, of the buffer for a record. Most records are shorter.
const USUAL_LEN: usize = 512;

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
        let mut bytes = Vec::with_capacity(USUAL_LEN);
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

    /// Like [`from_bytes`](Self::from_bytes), but decodes only what a hit needs and ignores the rest of the map.
    ///
    /// # Errors
    /// Fails with [`Error::Damaged`] if the checksum does not match or a needed field is missing.
    pub fn summary_from_bytes(key: &CallKey, bytes: &[u8]) -> Result<Option<RecordSummary>> {
        brief::read(map_of(key, bytes)?).map_err(|error| damaged(key, error.to_string()))
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
