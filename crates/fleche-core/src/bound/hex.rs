//! `Hex`: bytes that are serialized as hexadecimal digits.

use std::{borrow::Cow, ops::Deref};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes that are serialized as lower-case hexadecimal digits, two for each byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hex<'a>(Cow<'a, [u8]>);

impl<'a> From<&'a [u8]> for Hex<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl Deref for Hex<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut digits = String::with_capacity(2 * self.0.len());
        let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
        digits.extend(self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
        serializer.serialize_str(&digits)
    }
}

impl<'de> Deserialize<'de> for Hex<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = Cow::<str>::deserialize(deserializer)?;
        let bytes = read(&digits)
            .ok_or_else(|| de::Error::custom("expected an even number of lower-case hexadecimal digits"))?;
        Ok(Self(Cow::Owned(bytes)))
    }
}

fn read(digits: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect::<Option<_>>()?;
    rest.is_empty().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_round_trips() {
        let bytes: Vec<u8> = (0..=255).collect();
        let written = serde_json::to_string(&Hex::from(&*bytes)).unwrap();
        assert!(written.starts_with("\"000102") && written.ends_with("feff\""), "{written}");
        assert_eq!(*serde_json::from_str::<Hex<'_>>(&written).unwrap(), *bytes);
    }

    #[test]
    fn text_other_than_pairs_of_digits_is_refused() {
        for digits in ["0", "0g", "AB", "é", "+1"] {
            assert_eq!(read(digits), None, "{digits}");
        }
    }
}
