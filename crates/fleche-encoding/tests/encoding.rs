//! Tests of the encoding: its bytes, its limits, and the values that round-trip.

#![expect(
    clippy::option_option,
    clippy::zero_sized_map_values,
    reason = "such types are unusual, but they must be encoded, too"
)]

#[path = "encoding/attributes.rs"]
mod attributes;
#[expect(unreachable_pub, reason = "the fuzz target shares this file")]
#[path = "../../../fuzz/check_bytes.rs"]
mod check_bytes;
#[path = "encoding/encoded.rs"]
mod encoded;
#[path = "encoding/examples.rs"]
mod examples;
#[path = "encoding/golden.rs"]
mod golden;
#[path = "encoding/malformed.rs"]
mod malformed;
#[path = "encoding/properties.rs"]
mod properties;
#[path = "encoding/shapes.rs"]
mod shapes;
#[path = "encoding/stability.rs"]
mod stability;

use fleche_encoding::{Encoded, diagnostic, from_slice, to_vec};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

/// Formats bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// Parses hexadecimal digits; spaces are ignored.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Asserts that the value encodes to exactly these bytes, which the untyped reader accepts.
#[track_caller]
pub(crate) fn encodes<T: Serialize + ?Sized>(value: &T, expected: &str) {
    let encoded = to_vec(value).unwrap();
    assert_eq!(hex(&encoded), hex(&unhex(expected)), "{}", diagnostic(&encoded));
    Encoded::from_bytes(encoded).unwrap();
}

/// Asserts that the value encodes to exactly these bytes, and that the bytes decode to the value.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "the many calls read better without a borrow")]
pub(crate) fn pins<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, expected: &str) {
    encodes(&value, expected);
    assert_eq!(from_slice::<T>(&unhex(expected)).unwrap(), value);
}

/// Asserts that the encoding decodes to an equal value, which encodes to the same bytes.
#[track_caller]
pub(crate) fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let encoded = to_vec(value).unwrap();
    let decoded: T = from_slice(&encoded).unwrap_or_else(|error| panic!("{error}: {}", diagnostic(&encoded)));
    assert_eq!(decoded, *value, "{}", diagnostic(&encoded));
    assert_eq!(hex(&to_vec(&decoded).unwrap()), hex(&encoded));
}
