//! `Codec`: the functions that encode, check and decode arguments of one type.

use std::{
    borrow::Borrow,
    path::{Path, PathBuf},
    sync::Arc,
};

use fleche_encoding::spi::{CachedDigest, append_unless_cached, check_stability_with};
use serde::{
    Serialize,
    de::{self, DeserializeOwned},
};

use crate::{
    encoding::{self, DecodeError, EncodeError},
    runtime::panics::{Contained, Panic},
};

/// The type that the encoding of a parameter decodes into. A borrowed parameter is borrowed from it.
pub trait Owned {
    /// The owned counterpart.
    type Owned: Borrow<Self>;
}

impl<T> Owned for T {
    type Owned = T;
}

impl Owned for str {
    type Owned = String;
}

impl<T> Owned for [T] {
    type Owned = Vec<T>;
}

impl Owned for Path {
    type Owned = PathBuf;
}

/// The bounds that the type of an argument must meet.
#[diagnostic::on_unimplemented(
    message = "an argument of a memoized function must be `Serialize + DeserializeOwned`, and `{Self}` is not",
    label = "this argument cannot be part of a key",
    note = "derive both, take another type, or leave the parameter out of the key: `#[fleche(ignore(…))]`"
)]
pub trait Encodable: Owned<Owned: Serialize + DeserializeOwned> + Serialize {}

impl<A> Encodable for A where A: Owned<Owned: Serialize + DeserializeOwned> + Serialize + ?Sized {}

/// The bounds that the type of an argument must meet if it is never decoded.
#[diagnostic::on_unimplemented(
    message = "an argument of a memoized function must be `Serialize`, and `{Self}` is not",
    label = "this argument cannot be part of a key",
    note = "derive it, take another type, or leave the parameter out of the key: `#[fleche(ignore(…))]`"
)]
pub trait LocalEncodable: Serialize {}

impl<A: Serialize + ?Sized> LocalEncodable for A {}

/// The functions that encode and check arguments of type `A`. [`codec`] requires all bounds at once, so a type that lacks several
/// causes only one compile error.
#[derive(Debug)]
pub struct Codec<A: ?Sized> {
    pub(super) encode: Encode<A>,
    pub(super) check: Check<A>,
    /// Checks an argument from its encoding alone.
    pub recheck: Recheck,
}

/// A function that appends the encoding of a value, or keeps the value if it has a cached digest.
type Encode<A> = fn(&mut Vec<u8>, &mut Option<Arc<dyn CachedDigest>>, &A) -> Result<(), EncodeError>;

type Check<A> = fn(&[u8], &A, Option<fn(&A, &A) -> bool>) -> Result<(), String>;

/// A function that checks an argument from its encoding alone.
pub type Recheck = fn(&[u8]) -> Result<(), String>;

impl<A: ?Sized> Clone for Codec<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: ?Sized> Copy for Codec<A> {}

/// A codec that can also decode.
#[derive(Debug)]
pub struct FullCodec<A: Owned + ?Sized> {
    /// The codec without decoding.
    pub codec: Codec<A>,
    pub(super) decode: fn(&[u8]) -> Result<A::Owned, DecodeError>,
}

/// Returns the codec of a parameter of this type, or of a reference to it.
pub const fn codec<A: Encodable + ?Sized>() -> FullCodec<A> {
    let recheck: Recheck = |encoded| stable::<A>(encoded).map(drop);
    let codec = Codec { encode: append_unless_cached::<A>, check: check::<A>, recheck };
    FullCodec { codec, decode: encoding::from_slice::<A::Owned> }
}

/// Returns the codec of a parameter of a `local` function.
pub const fn local_codec<A: LocalEncodable + ?Sized>() -> Codec<A> {
    Codec { encode: append_unless_cached::<A>, check: |_, _, _| Ok(()), recheck: |_| Ok(()) }
}

fn check<A: Encodable + ?Sized>(encoded: &[u8], value: &A, equal: Option<fn(&A, &A) -> bool>) -> Result<(), String> {
    let decoded = stable::<A>(encoded)?;
    // A value that does not equal itself (NaN) cannot be compared.
    if equal.is_some_and(|equal| equal(value, value) && !equal(value, (*decoded).borrow())) {
        return Err(
            "it is not equal to the value that its encoding decodes into, so two different values may have the \
                    same encoding, for example because a field is skipped; encode all fields that `==` compares, or \
                    remove the others from the type"
                .to_owned(),
        );
    }
    Ok(())
}

fn stable<A: Encodable + ?Sized>(encoded: &[u8]) -> Result<Contained<A::Owned>, String> {
    check_stability_with(encoded, Contained::new).map_err(|unstable| unstable.to_string())
}

/// Returns the error for a `Serialize` that panicked.
#[cold]
pub(super) fn serialize_panicked(panic: &Panic) -> EncodeError {
    EncodeError::Custom(format!("its `Serialize` {panic}").into())
}

/// Returns the error for a `Deserialize` that panicked.
pub(super) fn deserialize_panicked(panic: &Panic) -> DecodeError {
    de::Error::custom(format!("its `Deserialize` {panic}"))
}
