//! `Digest`: the BLAKE3 hash that names a value; `DigestPrefix`: its first digits; `CachedDigest`: values that cache the hash
//! of their encoding.
//!
//! Serde cannot pass a value with a cached digest to a serializer. It is serialized as a newtype struct whose name is
//! [`CACHED_DIGEST_MARKER`]; the serializer recognizes the name, and the value reaches it through thread-local state.

use std::{cell::Cell, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    error::{EncodeError, ParseDigestError},
    parallel,
};

/// A BLAKE3 hash: 32 bytes, written as 64 lower-case hexadecimal digits, as `b3sum` prints it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Hashes the bytes. From 2 MiB on, up to four threads share the work; they are started for this input.
    pub fn hash(bytes: &[u8]) -> Self {
        Self(*parallel::hash(bytes).as_bytes())
    }

    /// Creates a digest from its 32 bytes.
    #[inline]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    #[inline]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the 64 lower-case hexadecimal digits, without an allocation.
    #[inline]
    pub fn to_hex(&self) -> impl AsRef<str> + use<> {
        HexDigits(blake3::Hash::from_bytes(self.0).to_hex())
    }
}

/// The value of each byte as a lower-case hexadecimal digit; more than 15 if it is not one.
const DIGITS: [u8; 256] = {
    let mut digits = [0xff; 256];
    let mut digit = 0;
    while digit < 16 {
        digits[b"0123456789abcdef"[digit as usize] as usize] = digit;
        digit += 1;
    }
    digits
};

struct HexDigits<T>(T);

impl<T: std::ops::Deref<Target = str>> AsRef<str> for HexDigits<T> {
    #[inline]
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.to_hex().as_ref())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    /// Parses 64 lower-case hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let wrong = || ParseDigestError::new(text, "a digest: 64 lower-case hexadecimal digits");
        let (pairs, []) = text.as_bytes().as_chunks() else { return Err(wrong()) };
        let pairs: &[_; 32] = pairs.try_into().map_err(|_| wrong())?;
        let mut bytes = [0; 32];
        let mut digits = 0;
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let (high, low) = (DIGITS[usize::from(*high)], DIGITS[usize::from(*low)]);
            digits |= high | low;
            *byte = high << 4 | low & 0xf;
        }
        if digits > 0xf { Err(wrong()) } else { Ok(Self(bytes)) }
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.to_hex().as_ref())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hex;
        impl de::Visitor<'_> for Hex {
            type Value = Digest;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 lower-case hexadecimal digits")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Digest, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Hex)
    }
}

/// The first hexadecimal digits of a digest: between 0 and 64.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct DigestPrefix(String);

impl DigestPrefix {
    /// Creates the empty prefix, which matches every digest.
    #[inline]
    pub fn all() -> Self {
        Self::default()
    }

    /// Returns the digits.
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the digest begins with this prefix.
    #[inline]
    pub fn matches(&self, digest: &Digest) -> bool {
        self.0.is_empty() || digest.to_hex().as_ref().starts_with(&self.0)
    }
}

impl From<Digest> for DigestPrefix {
    fn from(digest: Digest) -> Self {
        Self(digest.to_string())
    }
}

impl FromStr for DigestPrefix {
    type Err = ParseDigestError;

    /// Parses at most 64 lower-case hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        if text.len() <= 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseDigestError::new(text, "a digest prefix: at most 64 lower-case hexadecimal digits"))
        }
    }
}

impl fmt::Display for DigestPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for DigestPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DigestPrefix({self})")
    }
}

/// A value that caches the hash of its encoding.
pub trait CachedDigest: Send + Sync {
    /// Returns the BLAKE3 hash of the encoding, or `None` if the encoding is short enough to be inline.
    fn hash(&self) -> Result<Option<[u8; 32]>, EncodeError>;

    /// Appends the encoding.
    fn encode(&self, buffer: &mut Vec<u8>) -> Result<(), EncodeError>;
}

impl fmt::Debug for dyn CachedDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with a cached digest")
    }
}

/// The name of the newtype struct that represents a value with a cached digest. The marker itself has no encoding, in
/// this format and in others.
pub const CACHED_DIGEST_MARKER: &str = "$fleche_core::Hashed";

thread_local! {
    /// Whether the serializer asks for a value with a cached digest.
    static REQUESTED: Cell<bool> = const { Cell::new(false) };
    static OFFERED: Cell<Option<Arc<dyn CachedDigest>>> = const { Cell::new(None) };
}

/// Runs `write`. Returns the value that the content of a marked newtype struct offers instead of writing itself, if it
/// does.
pub(crate) fn request_cached(write: impl FnOnce()) -> Option<Arc<dyn CachedDigest>> {
    struct Requested;
    impl Drop for Requested {
        fn drop(&mut self) {
            REQUESTED.set(false);
        }
    }
    let requested = Requested;
    REQUESTED.set(true);
    write();
    drop(requested);
    OFFERED.try_with(Cell::take).ok().flatten()
}

/// Offers the value of a marked newtype struct to the serializer. Returns whether the serializer takes it; then the content
/// must not be written.
pub fn offer(value: impl FnOnce() -> Arc<dyn CachedDigest>) -> bool {
    REQUESTED.take() && OFFERED.try_with(|offered| offered.set(Some(value()))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_parsed_from_its_own_text() {
        let digest = Digest::hash(b"");
        assert_eq!(digest.to_string(), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
    }

    #[test]
    fn error_names_text_that_is_not_a_digest() {
        let digits = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        let upper = digits.replacen('a', "A", 1);
        let wrong = ["", "af13", "zz", &upper, &digits[1..], &digits.replace('0', "g"), &format!("{digits}00")];
        let none = [&digits.replace('f', "/"), &digits.replace('f', ":"), &digits.replace("f1", "ü")];
        for text in wrong.into_iter().chain(none.map(|text| &**text)) {
            let error = text.parse::<Digest>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn prefix_matches_only_digests_that_begin_with_it() {
        let digest = Digest::hash(b"");
        for prefix in ["", "a", "af13", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"] {
            assert!(prefix.parse::<DigestPrefix>().unwrap().matches(&digest), "{prefix}");
        }
        assert!(!"b".parse::<DigestPrefix>().unwrap().matches(&digest));
        assert!("AF".parse::<DigestPrefix>().is_err());
        assert!("0".repeat(65).parse::<DigestPrefix>().is_err());
    }
}
