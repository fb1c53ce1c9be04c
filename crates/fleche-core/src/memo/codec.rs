//! `Codec`: how arguments of one type are encoded, checked and decoded.

use std::{
    borrow::Borrow,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{
    Serialize,
    de::{self, DeserializeOwned},
};

use super::Arguments;
use crate::{
    encoding::{self, DecodeError, EncodeError, kept::Kept, stability},
    panics::{Contained, Panic, contain, discard},
};

/// What a borrowed parameter is borrowed from: the type that its encoding decodes into.
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

/// What the type of an argument must be.
#[diagnostic::on_unimplemented(
    message = "an argument of a memoized function must be `Serialize + DeserializeOwned`, and `{Self}` is not",
    label = "this argument cannot be part of a key",
    note = "derive both, take another type, or leave the parameter out of the key: `#[fleche(ignore(…))]`"
)]
pub trait Encodable: Owned<Owned: Serialize + DeserializeOwned> + Serialize {}

impl<A> Encodable for A where A: Owned<Owned: Serialize + DeserializeOwned> + Serialize + ?Sized {}

/// What the type of an argument must be where nothing is decoded.
#[diagnostic::on_unimplemented(
    message = "an argument of a memoized function must be `Serialize`, and `{Self}` is not",
    label = "this argument cannot be part of a key",
    note = "derive it, take another type, or leave the parameter out of the key: `#[fleche(ignore(…))]`"
)]
pub trait LocalEncodable: Serialize {}

impl<A: Serialize + ?Sized> LocalEncodable for A {}

/// How arguments of type `A` are encoded, checked and decoded. Asking for it asks for every bound at once, so that a
/// type without them is one error.
#[derive(Debug)]
pub struct Codec<A: ?Sized> {
    pub(super) encode: Encode<A>,
    pub(super) check: Check<A>,
    /// The check from the encoding alone.
    pub recheck: Recheck,
}

/// Appends the encoding, or keeps the value where that remembers its digest.
type Encode<A> = fn(&mut Vec<u8>, &mut Option<Arc<dyn Kept>>, &A) -> Result<(), EncodeError>;

type Check<A> = fn(&[u8], &A, Option<fn(&A, &A) -> bool>) -> Result<(), String>;

/// Checks an argument from its encoding alone.
pub type Recheck = fn(&[u8]) -> Result<(), String>;

impl<A: ?Sized> Clone for Codec<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: ?Sized> Copy for Codec<A> {}

/// A codec that can decode.
#[derive(Debug)]
pub struct FullCodec<A: Owned + ?Sized> {
    /// All but decoding.
    pub codec: Codec<A>,
    decode: fn(&[u8]) -> Result<A::Owned, DecodeError>,
}

/// The codec of a parameter that has or lends this type.
pub const fn codec<A: Encodable + ?Sized>() -> FullCodec<A> {
    let recheck: Recheck = |encoded| stable::<A>(encoded).map(discard);
    let codec = Codec { encode: encoding::append_or_keep::<A>, check: check::<A>, recheck };
    FullCodec { codec, decode: encoding::from_slice::<A::Owned> }
}

/// The codec of a parameter of a `local` function.
pub const fn local_codec<A: LocalEncodable + ?Sized>() -> Codec<A> {
    Codec { encode: encoding::append_or_keep::<A>, check: |_, _, _| Ok(()), recheck: |_| Ok(()) }
}

/// The error for a `Deserialize` that panicked, which counts as one that failed.
pub(super) fn panicked(panic: &Panic) -> DecodeError {
    de::Error::custom(format!("its `Deserialize` {panic}"))
}

fn check<A: Encodable + ?Sized>(encoded: &[u8], value: &A, equal: Option<fn(&A, &A) -> bool>) -> Result<(), String> {
    let decoded = Contained::new(stable::<A>(encoded)?);
    // A value that does not equal itself (NaN) says nothing.
    if equal.is_some_and(|equal| equal(value, value) && !equal(value, (*decoded).borrow())) {
        return Err("what its encoding means is not equal to it, so two different values may encode alike (a field \
                    that is skipped, say); encode everything that equality looks at, or leave it out of the type"
            .to_owned());
    }
    Ok(())
}

fn stable<A: Encodable + ?Sized>(encoded: &[u8]) -> Result<A::Owned, String> {
    stability::check(encoded).map_err(|unstable| unstable.to_string())
}

/// Reads arguments back, in order.
#[derive(Debug)]
pub struct Reader<'a> {
    encoded: Vec<&'a [u8]>,
    at: usize,
    /// Where they are encoded again, in place of a call.
    rewritten: Option<&'a mut Rewritten>,
}

/// Arguments that were read and encoded again.
#[derive(Debug)]
pub(crate) struct Rewritten {
    pub(crate) arguments: Arguments,
    /// Whether all were read, and no more had come.
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

    /// What encodes arguments again: these may be of another form than the one that keys are made of. Nothing is called.
    pub(crate) fn rewriting(encoded: impl Iterator<Item = &'a [u8]>, rewritten: &'a mut Rewritten) -> Self {
        Self { rewritten: Some(rewritten), ..Self::new(encoded) }
    }

    /// The next argument.
    ///
    /// # Errors
    /// Where its encoding does not decode into this type.
    pub fn read<A: Owned + ?Sized>(&mut self, codec: &FullCodec<A>) -> Result<A::Owned, DecodeError> {
        let encoded = self.encoded.get(self.at).copied().unwrap_or_default();
        self.at += 1;
        let decoded = contain(|| (codec.decode)(encoded)).unwrap_or_else(|panic| Err(panicked(&panic)))?;
        if let Some(rewritten) = &mut self.rewritten {
            rewritten.arguments.fill(|arguments| arguments.add(codec.codec, decoded.borrow()));
        }
        Ok(decoded)
    }

    /// After the last one: whether to go on and call the function.
    ///
    /// # Errors
    /// Where there are more, or the arguments were only to be encoded again.
    pub fn end(self) -> Result<(), DecodeError> {
        if self.at < self.encoded.len() {
            let (came, wanted) = (self.encoded.len(), self.at);
            return Err(de::Error::custom(format!("{came} arguments came, where it takes {wanted}")));
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
