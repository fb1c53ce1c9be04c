//! `CallKey`: the key under which a call's record is stored; `FunctionId` and `Argument`, from which it is made.

use std::{borrow::Cow, cell::Cell, fmt, str::FromStr, sync::LazyLock};

use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};
use fleche_encoding::spi::{append_array_header, append_bytes, append_text};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};

use super::ValueRef;
use crate::{
    digest::{Digest, DigestPrefix},
    encoding,
    error::{Error, Result},
};

/// The identity of a memoized function: name, version, and the digest of its code.
///
/// The code digest is part of a key only if the function asks for it (`hash_code`). It is always part of a record, so
/// that results computed by other code are recognized.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FunctionId {
    /// `package::module::path::name` or the name given in the attribute; with the type and const parameters of a generic
    /// instance.
    pub name: Cow<'static, str>,
    /// The version given in the attribute; 0 if there is none.
    pub version: u64,
    /// The digest of the function's tokens: signature and body, without comments and white space.
    pub code: Digest,
    /// Whether the code digest is part of the key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hash_code: bool,
}

/// One argument of a call: the parameter's name and a reference to the value. Encoded as the pair `[name, reference]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Argument(
    /// The parameter's name; `arg0`, `arg1`, … for parameters that are patterns.
    pub Cow<'static, str>,
    /// The value.
    pub ValueRef,
);

/// Writes the name and the value: `x = 2`.
impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.0, self.1)
    }
}

/// Writes the name, and the version unless it is 0: `solver::energy (version 2)`.
impl fmt::Display for FunctionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.version == 0 { Ok(()) } else { write!(f, " (version {})", self.version) }
    }
}

/// The key under which a call's record is stored: BLAKE3, in key derivation mode with the context
/// `fleche 2026 call key v1`, of the encoding of `[function identity, [[argument name, reference], …]]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallKey(Digest);

const CONTEXT: &str = "fleche 2026 call key v1";
const REPLACED_CONTEXT: &str = "fleche 2026 replaced record v1";

// Hashing the context costs as much as hashing a small call, so it is done only once.
static CONTEXT_KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(CONTEXT));

thread_local! {
    static PREIMAGE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl CallKey {
    /// Returns the key of a call of this function with these arguments: all but the ignored ones, in declaration order.
    ///
    /// # Errors
    /// Fails with the error of the encoding, which cannot occur for identities and references that can be constructed.
    pub fn new(function: &FunctionId, arguments: &[Argument]) -> Result<Self> {
        let identity = Identity::new(function)?;
        Ok(Self::from_identity(
            &identity,
            arguments.len(),
            arguments.iter().map(|Argument(name, value)| (&**name, value.into())),
        ))
    }

    /// Like [`new`](Self::new), for an encoded identity and `count` arguments.
    pub(crate) fn from_identity<'a>(
        identity: &Identity,
        count: usize,
        arguments: impl Iterator<Item = (&'a str, Reference<'a>)>,
    ) -> Self {
        // While a thread ends, its buffer is already gone.
        let mut preimage = PREIMAGE.try_with(Cell::take).unwrap_or_default();
        preimage.clear();
        // Written item by item, exactly as the encoding of the whole: none of these arrays is a typed array of numbers.
        append_array_header(&mut preimage, 2);
        preimage.extend_from_slice(&identity.0);
        append_array_header(&mut preimage, count);
        for (name, value) in arguments {
            append_array_header(&mut preimage, 2);
            append_text(&mut preimage, name);
            match value {
                Reference::Inline(encoded) => append_bytes(&mut preimage, encoded),
                Reference::Stored(digest) => append_text(&mut preimage, digest.to_hex().as_ref()),
            }
        }
        let mut hasher = blake3::Hasher::new_from_context_key(&CONTEXT_KEY);
        hasher.update(&preimage);
        let _ = PREIMAGE.try_with(|buffer| buffer.set(preimage));
        Self(Digest::from_bytes(*hasher.finalize().as_bytes()))
    }

    /// Returns the key under which a replaced record of this call is kept: BLAKE3, in key derivation mode with the
    /// context `fleche 2026 replaced record v1`, of this key's 32 bytes and those of the digest of the code that computed
    /// the replaced record.
    pub fn for_replaced(&self, code: &Digest) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(REPLACED_CONTEXT);
        hasher.update(self.0.as_bytes()).update(code.as_bytes());
        Self(Digest::from_bytes(*hasher.finalize().as_bytes()))
    }

    /// Returns the key's 32 bytes as a digest.
    pub const fn digest(&self) -> &Digest {
        &self.0
    }
}

/// A [`ValueRef`] that borrows an inline encoding.
#[derive(Clone, Copy)]
pub(crate) enum Reference<'a> {
    Inline(&'a [u8]),
    Stored(Digest),
}

impl<'a> From<&'a ValueRef> for Reference<'a> {
    fn from(value: &'a ValueRef) -> Self {
        match value {
            ValueRef::Inline(encoded) => Self::Inline(encoded.as_slice()),
            ValueRef::Stored(digest) => Self::Stored(*digest),
        }
    }
}

/// The encoding of a function's identity, as part of a key.
#[derive(Clone, Debug)]
pub(crate) struct Identity(Box<[u8]>);

impl Identity {
    pub(crate) fn new(function: &FunctionId) -> Result<Self> {
        Ok(Self(encoding::to_vec(&Keyed(function))?.into()))
    }
}

/// A function identity, encoded as part of a key.
struct Keyed<'a>(&'a FunctionId);

impl Serialize for Keyed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(FunctionId { name, version, code, hash_code }) = self;
        let mut identity = serializer.serialize_struct("FunctionId", 2 + usize::from(*hash_code))?;
        if *hash_code {
            identity.serialize_field("code", code)?;
        } else {
            identity.skip_field("code")?;
        }
        identity.serialize_field("name", name)?;
        identity.serialize_field("version", version)?;
        identity.end()
    }
}

impl From<Digest> for CallKey {
    fn from(digest: Digest) -> Self {
        Self(digest)
    }
}

impl From<CallKey> for DigestPrefix {
    fn from(key: CallKey) -> Self {
        key.0.into()
    }
}

impl FromStr for CallKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(Self(text.parse()?))
    }
}

impl fmt::Display for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes a key by its documented definition.
    fn of_the_whole(function: &FunctionId, arguments: &[Argument]) -> CallKey {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&encoding::to_vec(&(Keyed(function), arguments)).unwrap());
        CallKey(Digest::from_bytes(*hasher.finalize().as_bytes()))
    }

    #[test]
    fn key_is_the_hash_of_the_encoded_call() {
        let argument = |name: String, encoded: &[u8]| Argument(name.into(), ValueRef::new(encoded));
        let arguments: Vec<_> =
            (0..300).map(|at| argument("a".repeat(at), &vec![7; at % 70])).chain([argument("ü".into(), b"")]).collect();
        for hash_code in [false, true] {
            let function = FunctionId { name: "p::f".into(), version: 1 << 40, code: Digest::hash(b"code"), hash_code };
            for count in [0, 1, 2, 23, 24, 255, 256, arguments.len()] {
                let arguments = &arguments[..count];
                let key = CallKey::new(&function, arguments).unwrap();
                assert_eq!(key, of_the_whole(&function, arguments), "{count} arguments");
            }
        }
    }
}
