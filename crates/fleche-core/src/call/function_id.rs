//! `FunctionId`: which function a call is of.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};

use crate::digest::Digest;

/// Which function a call is of: name, version, and the digest of its code.
///
/// In a key the code digest stands only where the function asks for it (`hash_code`); in a record it always stands, so
/// that a result computed by other code can be told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FunctionId {
    /// `package::module::path::name` or the name given; with the type and const parameters of a generic instance.
    pub name: Cow<'static, str>,
    /// The version that the attribute states; 0 where it states none.
    pub version: u64,
    /// Digest of the function's tokens: signature and body, without comments and white space.
    pub code: Digest,
    /// Whether the code digest is part of the key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hash_code: bool,
}

/// A function identity as it enters a key.
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
