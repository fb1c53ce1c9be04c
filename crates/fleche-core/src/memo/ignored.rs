//! Ignored arguments: their types need no encoding, except where a bound call is to carry them.

use std::{borrow::Borrow, convert::Infallible, marker::PhantomData};

use serde::{de, ser};

use super::{
    Arguments, Reader,
    codec::{Encodable, codec},
};
use crate::encoding::DecodeError;

/// Finds out whether bound calls can carry an ignored argument of type `T`, and how. Its own items, for types that have an
/// encoding, take precedence over those of [`StaysHere`].
#[derive(Debug)]
pub struct IgnoredProbe<T: ?Sized>(PhantomData<fn(&T)>);

impl<T: Encodable + ?Sized> IgnoredProbe<T> {
    /// Bound calls can carry it.
    pub const TRAVELS: bool = true;

    /// Adds it to the arguments of a bound call.
    pub fn fleche_add(arguments: &mut Arguments, value: &T) {
        arguments.add(codec::<T>().codec, value);
    }

    /// Reads it back.
    ///
    /// # Errors
    /// Where its encoding does not decode into this type.
    pub fn fleche_read(arguments: &mut Reader<'_>) -> Result<T::Owned, DecodeError> {
        arguments.read(&codec::<T>())
    }

    /// Reads back what it is lent from.
    ///
    /// # Errors
    /// Where its encoding does not decode into this type.
    pub fn fleche_read_lent(arguments: &mut Reader<'_>) -> Result<T::Owned, DecodeError> {
        arguments.read(&codec::<T>())
    }
}

/// For all other types, and for type parameters that are not known to have an encoding.
pub trait StaysHere<T: ?Sized> {
    /// No bound call can carry it.
    const TRAVELS: bool = false;

    /// Fails the arguments of a bound call.
    fn fleche_add(arguments: &mut Arguments, _: &T) {
        arguments.fail(ser::Error::custom(NOT_CARRIED));
    }

    /// Refuses.
    ///
    /// # Errors
    /// Always.
    fn fleche_read(_: &mut Reader<'_>) -> Result<T, DecodeError>
    where
        T: Sized,
    {
        Err(de::Error::custom(NOT_CARRIED))
    }

    /// Refuses.
    ///
    /// # Errors
    /// Always.
    fn fleche_read_lent(_: &mut Reader<'_>) -> Result<Nothing<T>, DecodeError> {
        Err(de::Error::custom(NOT_CARRIED))
    }
}

impl<T: ?Sized> StaysHere<T> for IgnoredProbe<T> {}

const NOT_CARRIED: &str =
    "it is ignored and not `Serialize + DeserializeOwned`, so it cannot leave its thread; derive both";

/// Stands for a value that never comes.
#[derive(Debug)]
pub struct Nothing<T: ?Sized>(Infallible, PhantomData<fn(&T)>);

impl<T: ?Sized> Borrow<T> for Nothing<T> {
    fn borrow(&self) -> &T {
        match self.0 {}
    }
}

/// What the types of ignored parameters must be for the function's `bind`: asked of a pointer to a function that takes a
/// reference to it. The number of the parameter keeps the conditions of two parameters of one type apart.
#[diagnostic::on_unimplemented(
    message = "the call cannot be bound: the function ignores an argument that is not `Serialize + DeserializeOwned`",
    label = "an ignored argument of this call cannot be carried elsewhere",
    note = "derive both for the argument's type; or call the function itself, on this thread or in a closure"
)]
pub trait CarriedByBoundCalls<const PARAMETER: usize> {}

#[diagnostic::do_not_recommend]
impl<T: Encodable + ?Sized, const PARAMETER: usize> CarriedByBoundCalls<PARAMETER> for fn(&T) {}
