//! `Plan`: what of a function's return type is recorded, found out where the attribute expands.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

use crate::encoding::{self, DecodeError, EncodeError};

/// What a result must be to be recorded.
#[diagnostic::on_unimplemented(
    message = "the result of a memoized function must be `Serialize + DeserializeOwned + Clone + Send + Sync + 'static`",
    label = "this result cannot be recorded"
)]
pub trait Recordable: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> Recordable for T {}

/// How the value `T` that is recorded lies in the return type `R`.
#[derive(Debug)]
pub struct Plan<R, T: 'static> {
    /// The value to record; `None` where there is none, as in an `Err`.
    pub value: fn(&R) -> Option<&T>,
    /// The return value for a recorded value.
    pub wrap: fn(T) -> R,
    /// Equality, where the type has it.
    pub equal: Option<fn(&T, &T) -> bool>,
    /// The value's encoding.
    pub encode: fn(&T) -> Result<Vec<u8>, EncodeError>,
    /// The value of an encoding.
    pub decode: fn(&[u8]) -> Result<T, DecodeError>,
}

impl<R, T: Recordable> Plan<R, T> {
    /// Asks for every bound at once, so that a type without one is one error.
    fn new(value: fn(&R) -> Option<&T>, wrap: fn(T) -> R, equal: Option<fn(&T, &T) -> bool>) -> Self {
        Self { value, wrap, equal, encode: encoding::to_vec::<T>, decode: encoding::from_slice::<T> }
    }
}

impl<R, T> Clone for Plan<R, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, T> Copy for Plan<R, T> {}

/// Stands for the declared return type `R`. Its own methods, for `Result`, go before those of [`WholeResult`], so that
/// aliases of `Result` are seen for what they are.
#[derive(Debug)]
pub struct ResultProbe<R>(PhantomData<fn() -> R>);

impl<R> ResultProbe<R> {
    /// A probe for this type.
    #[allow(clippy::new_without_default)] // Named where it is used, by generated code.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T, E> ResultProbe<Result<T, E>> {
    /// Only the value of an `Ok` is recorded.
    pub const fn fleche_value(&self) -> EqualityProbe<T> {
        EqualityProbe(PhantomData)
    }

    /// Only the value of an `Ok` is recorded.
    pub fn fleche_plan(&self, equal: Option<fn(&T, &T) -> bool>) -> Plan<Result<T, E>, T>
    where
        T: Recordable,
    {
        Plan::new(|result| result.as_ref().ok(), Ok, equal)
    }
}

/// Every other type is recorded whole, and so is a `Result` with `cache_errors`.
pub trait WholeResult<R> {
    /// The whole is recorded.
    fn fleche_value(&self) -> EqualityProbe<R> {
        EqualityProbe(PhantomData)
    }

    /// The whole is recorded.
    fn fleche_plan(&self, equal: Option<fn(&R, &R) -> bool>) -> Plan<R, R>
    where
        R: Recordable,
    {
        Plan::new(|result| Some(result), |result| result, equal)
    }
}

impl<R> WholeResult<R> for ResultProbe<R> {}

/// Tells whether a type has `==`. Its own method, for types that have it, goes before that of [`NoEquality`].
#[derive(Debug)]
pub struct EqualityProbe<T: ?Sized>(PhantomData<fn(&T)>);

/// The probe for this value's type.
pub const fn equality_of<T: ?Sized>(_: &T) -> EqualityProbe<T> {
    EqualityProbe(PhantomData)
}

impl<T: PartialEq + ?Sized> EqualityProbe<T> {
    /// `==`.
    pub fn fleche_equal(&self) -> Option<fn(&T, &T) -> bool> {
        Some(|left, right| left == right)
    }
}

/// For types without `==`, and for type parameters not known to have it.
pub trait NoEquality<T: ?Sized> {
    /// None.
    fn fleche_equal(&self) -> Option<fn(&T, &T) -> bool> {
        None
    }
}

impl<T: ?Sized> NoEquality<T> for EqualityProbe<T> {}
