//! `FunctionId`: the identity of a memoized function.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};

use crate::digest::Digest;

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

/// A function identity, encoded as part of a key.
pub(super) struct Keyed<'a>(pub(super) &'a FunctionId);

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
