//! `RecordSummary`: the part of a record that a hit needs, decoded without the rest.

use serde::{Deserialize, de::Error as _};

use super::{Record, map::FORMAT};
use crate::{
    call::ValueRef,
    digest::Digest,
    encoding::{DecodeError, Deserializer},
    metadata::Timestamp,
};

/// The part of a [`Record`] that a hit needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSummary {
    /// The result.
    pub result: ValueRef,
    /// The digest of the code that computed the result.
    pub code: Digest,
    /// When the record was written.
    pub written: Timestamp,
}

impl From<&Record> for RecordSummary {
    fn from(record: &Record) -> Self {
        Self { result: record.result, code: record.function.code, written: record.written }
    }
}

/// Reads a record's map until all fields of the summary are found. Returns `None` if the record is of a later format.
pub(super) fn read(map: &[u8]) -> Result<Option<RecordSummary>, DecodeError> {
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
