//! `Codec`: how arguments of one type are encoded, checked and decoded.

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

use super::Arguments;
use crate::{
    encoding::{self, DecodeError, EncodeError},
    runtime::panics::{Contained, Panic, contain},
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

/// How arguments of type `A` are encoded and checked. [`codec`] requires all bounds at once, so a type that lacks several
/// causes only one compile error.
#[derive(Debug)]
pub struct Codec<A: ?Sized> {
    pub(super) encode: Encode<A>,
    pub(super) check: Check<A>,
    /// Checks an argument from its encoding alone.
    pub recheck: Recheck,
}

/// Appends the encoding. If the value remembers its digest, keeps the value instead.
type Encode<A> = fn(&mut Vec<u8>, &mut Option<Arc<dyn CachedDigest>>, &A) -> Result<(), EncodeError>;

type Check<A> = fn(&[u8], &A, Option<fn(&A, &A) -> bool>) -> Result<(), String>;

/// Checks an argument from its encoding alone.
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
    decode: fn(&[u8]) -> Result<A::Owned, DecodeError>,
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

/// Returns the error for a `Deserialize` that panicked.
pub(super) fn panicked(panic: &Panic) -> DecodeError {
    de::Error::custom(format!("its `Deserialize` {panic}"))
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

/// Decodes arguments, in order.
#[derive(Debug)]
pub struct Reader<'a> {
    encoded: Vec<&'a [u8]>,
    at: usize,
    /// If set, the arguments are encoded again, and no function is called.
    rewritten: Option<&'a mut Rewritten>,
}

/// Arguments that were decoded and encoded again.
#[derive(Debug)]
pub(crate) struct Rewritten {
    pub(crate) arguments: Arguments,
    /// Whether exactly the expected number of arguments was read.
    pub(crate) whole: bool,
}

impl Default for Rewritten {
    fn default() -> Self {
        Self { arguments: Arguments::in_full(), whole: false }
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(encoded: impl Iterator<Item = &'a [u8]>) -> Self {
        Self { encoded: encoded.collect(), at: 0, rewritten: None }
    }

    /// Creates a reader that encodes the arguments again, because they may not have the form that keys are made of. No
    /// function is called.
    pub(crate) fn rewriting(encoded: impl Iterator<Item = &'a [u8]>, rewritten: &'a mut Rewritten) -> Self {
        Self { rewritten: Some(rewritten), ..Self::new(encoded) }
    }

    /// Decodes the next argument.
    ///
    /// # Errors
    /// Fails if the encoding does not decode into this type.
    pub fn read<A: Owned + ?Sized>(&mut self, codec: &FullCodec<A>) -> Result<A::Owned, DecodeError> {
        let encoded = self.encoded.get(self.at).copied().unwrap_or_default();
        self.at += 1;
        let decoded = contain(|| (codec.decode)(encoded)).unwrap_or_else(|panic| Err(panicked(&panic)))?;
        if let Some(rewritten) = &mut self.rewritten {
            rewritten.arguments.fill(|arguments| arguments.add(codec.codec, decoded.borrow()));
        }
        Ok(decoded)
    }

    /// Ends the reading after the last argument. On `Ok` the caller calls the function.
    ///
    /// # Errors
    /// Fails if there are more arguments, or if this reader only encodes them again.
    pub fn end(self) -> Result<(), DecodeError> {
        if self.at < self.encoded.len() {
            let (came, wanted) = (self.encoded.len(), self.at);
            return Err(de::Error::custom(format!("it takes {wanted} arguments, but {came} were given")));
        }
        match self.rewritten {
            None => Ok(()),
            Some(rewritten) => {
                rewritten.whole = true;
                Err(de::Error::custom("nothing is called"))
            }
        }
    }
}
