//! `RecordFields`, and the map at the start of a record's bytes.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::LazyLock};

use fleche_encoding::spi::CheckedEncoded;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap,
};

use super::{Argument, FunctionId, ValueRef};
use crate::{
    encoding::Encoded,
    metadata::{self, Metadata, Timestamp},
};

/// The fields of a [`Record`](super::Record), which dereferences to them.
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
    /// The time at which the record was written.
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

/// The record format that this version writes, and the highest that it reads.
pub(super) const FORMAT: u64 = 1;

/// The number of fields that this version knows, including the format.
const KNOWN_FIELDS: usize = 7;

/// A record's fields, for serialization.
pub(super) struct Written<'a>(pub(super) &'a RecordFields);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(fields) = self;
        let mut map = serializer.serialize_map(Some(KNOWN_FIELDS + fields.other.len()))?;
        // In the order of the encoding, so that nothing has to be sorted.
        map.serialize_entry("format", &FORMAT)?;
        map.serialize_entry("result", &fields.result)?;
        map.serialize_entry("writer", &fields.writer)?;
        map.serialize_entry("written", &fields.written)?;
        map.serialize_entry("function", &fields.function)?;
        map.serialize_entry("metadata", &fields.metadata)?;
        map.serialize_entry("arguments", &fields.arguments)?;
        for (name, value) in &fields.other {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A record's fields as read by fleche's own deserializer; `None` if they are of a later format.
pub(super) struct Read(pub(super) Option<RecordFields>);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record's map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read, A::Error> {
        let mut format = None;
        let (mut result, mut writer, mut written) = (None, None, None);
        let (mut function, mut metadata, mut arguments) = (None, None, None);
        let mut other = BTreeMap::new();
        while let Some(name) = map.next_key::<&str>()? {
            match name {
                // In key order, `format` is the first field that this version knows.
                "format" => format = Some(map.next_value()?),
                _ if format > Some(FORMAT) => drop(map.next_value::<IgnoredAny>()?),
                "result" => result = Some(map.next_value()?),
                "writer" => writer = Some(map.next_value()?),
                "written" => written = Some(map.next_value()?),
                "function" => function = Some(map.next_value()?),
                "metadata" => metadata = Some(map.next_value::<metadata::TrustedMetadata>()?.0),
                "arguments" => arguments = Some(map.next_value()?),
                name => drop(other.insert(name.to_owned(), map.next_value::<CheckedEncoded>()?.0)),
            }
        }
        if format.ok_or_else(|| A::Error::missing_field("format"))? > FORMAT {
            return Ok(Read(None));
        }
        let missing = A::Error::missing_field;
        Ok(Read(Some(RecordFields {
            function: function.ok_or_else(|| missing("function"))?,
            arguments: arguments.ok_or_else(|| missing("arguments"))?,
            result: result.ok_or_else(|| missing("result"))?,
            metadata: metadata.ok_or_else(|| missing("metadata"))?,
            written: written.ok_or_else(|| missing("written"))?,
            writer: writer.ok_or_else(|| missing("writer"))?,
            other,
        })))
    }
}
