//! `Brief`: what a hit takes of a record, read without the rest.

use serde::{Deserialize, de::Error as _};

use super::{Record, map::FORMAT};
use crate::{
    call::ValueRef,
    digest::Digest,
    encoding::{DecodeError, Deserializer},
    metadata::Timestamp,
};

/// What a hit takes of a [`Record`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// The result.
    pub result: ValueRef,
    /// The digest of the code that computed it.
    pub code: Digest,
    /// When the record was written.
    pub written: Timestamp,
}

impl From<&Record> for Brief {
    fn from(record: &Record) -> Self {
        Self { result: record.result, code: record.function.code, written: record.written }
    }
}

/// Reads the beginning of a record's map, up to where it has all of it; `None` where it is of a later format.
pub(super) fn read(map: &[u8]) -> Result<Option<Brief>, DecodeError> {
    let missing = |field| Err(DecodeError::missing_field(field));
    let mut fields = Deserializer::new(map);
    let (mut format, mut result, mut written) = (None, None, None);
    for _ in 0..fields.map()? {
        match fields.name()? {
            // Of what this version knows, it comes first; the function's code comes last of what is wanted.
            b"format" => format = Some(u64::deserialize(&mut fields)?),
            _ if format > Some(FORMAT) => return Ok(None),
            b"result" => result = Some(ValueRef::deserialize(&mut fields)?),
            b"written" => written = Some(Timestamp::deserialize(&mut fields)?),
            b"function" => {
                let code = code(&mut fields)?;
                let (Some(_), Some(result), Some(written)) = (format, result, written) else { break };
                return code.map_or_else(|| missing("code"), |code| Ok(Some(Brief { result, code, written })));
            }
            _ => fields.pass()?,
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
    for _ in 0..function.map()? {
        match function.name()? {
            b"code" => return Digest::deserialize(function).map(Some),
            _ => function.pass()?,
        }
    }
    Ok(None)
}
