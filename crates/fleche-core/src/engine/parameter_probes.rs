//! Ignored arguments: their types need an encoding only if a bound call carries them.

use std::{borrow::Borrow, convert::Infallible, marker::PhantomData};

use serde::{de, ser};

use super::{
    Arguments, Reader,
    codec::{Encodable, codec},
};
use crate::encoding::DecodeError;

/// Determines whether and how bound calls can carry an ignored argument of type `T`. The inherent items, for types that have
/// an encoding, take precedence over those of [`StaysHere`].
#[derive(Debug)]
pub struct IgnoredProbe<T: ?Sized>(PhantomData<fn(&T)>);

impl<T: Encodable + ?Sized> IgnoredProbe<T> {
    /// Whether bound calls can carry the argument.
    pub const TRAVELS: bool = true;

    /// Adds the argument to those of a bound call.
    pub fn fleche_add(arguments: &mut Arguments, value: &T) {
        arguments.add(codec::<T>().codec, value);
    }

    /// Decodes the argument.
    ///
    /// # Errors
    /// Fails if the encoding does not decode into this type.
    pub fn fleche_read(arguments: &mut Reader<'_>) -> Result<T::Owned, DecodeError> {
        arguments.read(&codec::<T>())
    }

    /// Decodes the value that the argument is borrowed from.
    ///
    /// # Errors
    /// Fails if the encoding does not decode into this type.
    pub fn fleche_read_lent(arguments: &mut Reader<'_>) -> Result<T::Owned, DecodeError> {
        arguments.read(&codec::<T>())
    }
}

/// The fallback of [`IgnoredProbe`], for all other types and for type parameters that are not known to have an encoding.
pub trait StaysHere<T: ?Sized> {
    /// Whether bound calls can carry the argument.
    const TRAVELS: bool = false;

    /// Records that the arguments of a bound call cannot be encoded.
    fn fleche_add(arguments: &mut Arguments, _: &T) {
        arguments.fail(ser::Error::custom(NOT_CARRIED));
    }

    /// Always fails.
    ///
    /// # Errors
    /// Fails because no encoding of the argument was carried.
    fn fleche_read(_: &mut Reader<'_>) -> Result<T, DecodeError>
    where
        T: Sized,
    {
        Err(de::Error::custom(NOT_CARRIED))
    }

    /// Always fails.
    ///
    /// # Errors
    /// Fails because no encoding of the argument was carried.
    fn fleche_read_lent(_: &mut Reader<'_>) -> Result<Nothing<T>, DecodeError> {
        Err(de::Error::custom(NOT_CARRIED))
    }
}

impl<T: ?Sized> StaysHere<T> for IgnoredProbe<T> {}

const NOT_CARRIED: &str =
    "it is ignored and not `Serialize + DeserializeOwned`, so it cannot leave its thread; derive both";

/// An uninhabited stand-in for the value that an argument would be borrowed from.
#[derive(Debug)]
pub struct Nothing<T: ?Sized>(Infallible, PhantomData<fn(&T)>);

impl<T: ?Sized> Borrow<T> for Nothing<T> {
    fn borrow(&self) -> &T {
        match self.0 {}
    }
}

/// The bound on ignored parameters for the function's `bind`. It is required of a pointer to a function that takes a reference
/// to the parameter's type. `PARAMETER`, its position, distinguishes the bounds of two parameters of the same type.
#[diagnostic::on_unimplemented(
    message = "the call cannot be bound: the function ignores an argument that is not `Serialize + DeserializeOwned`",
    label = "an ignored argument of this call cannot be carried elsewhere",
    note = "derive both for the argument's type; or call the function itself, on this thread or in a closure"
)]
pub trait CarriedByBoundCalls<const PARAMETER: usize> {}

#[diagnostic::do_not_recommend]
impl<T: Encodable + ?Sized, const PARAMETER: usize> CarriedByBoundCalls<PARAMETER> for fn(&T) {}
