//! Serializes paths in configurations, for `#[serde(with = "fleche_core::store::portable_path")]`.
//!
//! A path that is valid UTF-8 is written as text. On Unix, any other path is written as `{ "bytes": "2f746d702fff" }`,
//! its bytes in hexadecimal, so that a store in any directory can be described to another process.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserializer, Serializer, de, ser, ser::SerializeMap};

const BYTES: &str = "bytes";

/// Serializes the path.
///
/// # Errors
/// Fails if the path is not valid UTF-8 and the system is not Unix, and with the errors of the serializer.
pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    if let Some(text) = path.to_str() {
        return serializer.serialize_str(text);
    }
    let bytes =
        bytes(path).ok_or_else(|| ser::Error::custom(format!("the path {} is not valid UTF-8", path.display())))?;
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(BYTES, &to_hex(bytes))?;
    map.end()
}

/// Deserializes a path that [`serialize`] has written.
///
/// # Errors
/// Fails for any other form.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    deserializer.deserialize_any(PathVisitor)
}

struct PathVisitor;

impl<'de> de::Visitor<'de> for PathVisitor {
    type Value = PathBuf;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path, as text or as `{ bytes = \"…\" }` in hexadecimal")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<PathBuf, E> {
        Ok(text.into())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<PathBuf, E> {
        Ok(text.into())
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<PathBuf, A::Error> {
        let Some((name, hex)) = map.next_entry::<String, String>()? else {
            return Err(de::Error::missing_field(BYTES));
        };
        if name != BYTES || map.next_key::<String>()?.is_some() {
            return Err(de::Error::unknown_field(&name, &[BYTES]));
        }
        let path = from_hex(&hex).and_then(path);
        path.ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&hex), &"the bytes of a path in hexadecimal"))
    }
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps)] // Elsewhere there may be no such path.
fn bytes(path: &Path) -> Option<&[u8]> {
    use std::os::unix::ffi::OsStrExt;
    Some(path.as_os_str().as_bytes())
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps)] // Elsewhere there may be no such path.
fn path(bytes: Vec<u8>) -> Option<PathBuf> {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};
    Some(OsString::from_vec(bytes).into())
}

#[cfg(not(unix))]
fn bytes(_path: &Path) -> Option<&[u8]> {
    None
}

#[cfg(not(unix))]
fn path(bytes: Vec<u8>) -> Option<PathBuf> {
    String::from_utf8(bytes).ok().map(PathBuf::from)
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<_> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok()).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::encoding;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Config {
        #[serde(with = "super")]
        root: PathBuf,
    }

    #[test]
    fn utf8_paths_are_written_as_text_and_others_as_bytes() {
        for (path, text) in [
            (&b"/tmp/a\nb"[..], r#"{"root":"/tmp/a\nb"}"#),
            (b"", r#"{"root":""}"#),
            (b"/tmp/\xff", r#"{"root":{"bytes":"2f746d702fff"}}"#),
        ] {
            let config = Config { root: OsStr::from_bytes(path).into() };
            assert_eq!(serde_json::to_string(&config).unwrap(), text);
            assert_eq!(serde_json::from_str::<Config>(text).unwrap(), config);
            assert_eq!(toml::from_str::<Config>(&toml::to_string(&config).unwrap()).unwrap(), config);
            assert_eq!(encoding::from_slice::<Config>(&encoding::to_vec(&config).unwrap()).unwrap(), config);
        }
    }

    #[test]
    fn malformed_path_is_an_error_that_says_what_is_expected() {
        for wrong in
            [r#"{"bytes":"2"}"#, r#"{"bytes":"zz"}"#, r#"{"bites":"2f"}"#, "{}", r#"{"bytes":"2f","a":"b"}"#, "1"]
        {
            let error = serde_json::from_str::<Config>(&format!(r#"{{"root":{wrong}}}"#)).unwrap_err().to_string();
            assert!(error.contains("bytes"), "{wrong}: {error}");
        }
    }
}
