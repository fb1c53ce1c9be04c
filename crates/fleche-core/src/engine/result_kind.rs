//! `ResultKind`: the part of a function's return value that is recorded. The expansion of the attribute determines it.

// A type's inherent method replaces the method of the same name of a trait, so both have the same signature.
#![allow(clippy::unused_self, clippy::unnecessary_wraps)]

use std::{marker::PhantomData, ops::Deref};

use fleche_encoding::spi::from_slice_tracked;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    encoding::{self, DecodeError, EncodeError},
    job::Job,
};

/// The bounds that a recorded result must meet.
#[diagnostic::on_unimplemented(
    message = "the result of a memoized function must be `Serialize + DeserializeOwned + Clone + Send + Sync + 'static`",
    label = "this result cannot be recorded"
)]
pub trait Recordable: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> Recordable for T {}

/// The relation between the return type `R` and the recorded value `T` in it.
#[derive(Debug)]
pub struct ResultKind<R, T: 'static> {
    /// The access to the value to record in the return value.
    pub(super) access: Access<R, T>,
    /// Converts a recorded value into a return value.
    pub(super) wrap: fn(T) -> R,
    /// The functions that encode and decode the value.
    pub(super) codec: ResultCodec<T>,
}

/// The access to the value to record. An `Err` contains none.
#[derive(Debug)]
pub(super) enum Access<R, T> {
    /// The function takes the value out of the return value. If there is none, it returns the return value unchanged, as `Err`.
    Immediate(fn(R) -> Result<T, R>),
    /// The return value is a job that produces the value later. An observer sees the value before all other code.
    Deferred(fn(R, Observer<T>) -> R),
}

/// A callback that receives a value that is produced later, or `None` if there is none to record.
pub(super) type Observer<T> = Box<dyn FnOnce(Option<&T>) + Send>;

/// The functions that encode, decode and copy a result.
#[derive(Debug)]
pub(super) struct ResultCodec<T> {
    /// `==`, if the type has it.
    pub(super) equal: Option<fn(&T, &T) -> bool>,
    pub(super) encode: fn(&T) -> Result<Vec<u8>, EncodeError>,
    pub(super) decode: Decode<T>,
    pub(super) clone: fn(&T) -> T,
    /// A bitwise copy, which cannot panic, if the type is `Copy`.
    pub(super) copy: Option<fn(&T) -> T>,
}

/// A function that decodes a result, and also returns whether the encoding may lack fields of the type.
type Decode<T> = fn(&[u8]) -> Result<(T, bool), DecodeError>;

impl<R, T: Recordable> ResultKind<R, T> {
    /// Creates the kind. One function has all bounds, so that a type that lacks several of them causes only one compile error.
    fn new(access: Access<R, T>, wrap: fn(T) -> R, abilities: TypeAbilities<T>) -> Self {
        let TypeAbilities { equal, copy } = abilities;
        let (encode, decode) = (encoding::to_vec::<T>, from_slice_tracked::<T>);
        Self { access, wrap, codec: ResultCodec { equal, encode, decode, clone: T::clone, copy } }
    }
}

/// The optional abilities of a result type.
#[derive(Debug)]
pub struct TypeAbilities<T> {
    /// `==`, if the type has it.
    equal: Option<fn(&T, &T) -> bool>,
    /// A bitwise copy, if the type is `Copy`.
    copy: Option<fn(&T) -> T>,
}

impl<T> Clone for TypeAbilities<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for TypeAbilities<T> {}

impl<T> TypeAbilities<T> {
    /// Creates the set of these abilities.
    pub const fn new(equal: Option<fn(&T, &T) -> bool>, copy: Option<fn(&T) -> T>) -> Self {
        Self { equal, copy }
    }
}

impl<R, T> Clone for ResultKind<R, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, T> Copy for ResultKind<R, T> {}

impl<R, T> Clone for Access<R, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, T> Copy for Access<R, T> {}

impl<T> Clone for ResultCodec<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ResultCodec<T> {}

/// Determines the [`ResultKind`] of the declared return type `R`. The inherent methods, for `Result` and for jobs of a
/// `Result`, take precedence over those of `WholeProbe`, to which this type derefs. This also works for aliases of these types.
#[derive(Debug)]
pub struct ResultProbe<R>(WholeProbe<R>);

impl<R> ResultProbe<R> {
    /// Creates a probe for this type.
    #[allow(clippy::new_without_default)] // Named where it is used, by generated code.
    pub const fn new() -> Self {
        Self(WholeProbe(PhantomData))
    }
}

impl<R> Deref for ResultProbe<R> {
    type Target = WholeProbe<R>;

    fn deref(&self) -> &WholeProbe<R> {
        &self.0
    }
}

impl<T, E> ResultProbe<Result<T, E>> {
    /// Returns the probe of the recorded type: the `Ok` type.
    pub const fn fleche_value(&self) -> AbilityProbe<T> {
        AbilityProbe(PhantomData)
    }

    /// Returns the result's kind. Only the value of an `Ok` is recorded.
    pub fn fleche_plan(&self, abilities: TypeAbilities<T>) -> ResultKind<Result<T, E>, T>
    where
        T: Recordable,
    {
        ResultKind::new(Access::Immediate(|result| result.map_err(Err)), Ok, abilities)
    }
}

impl<T, E> ResultProbe<Job<Result<T, E>>> {
    /// Returns the probe of the recorded type: the `Ok` type.
    pub const fn fleche_value(&self) -> AbilityProbe<T> {
        AbilityProbe(PhantomData)
    }

    /// Returns the result's kind. Only the value of an `Ok` is recorded, when the job completes.
    pub fn fleche_plan(&self, abilities: TypeAbilities<T>) -> ResultKind<Job<Result<T, E>>, T>
    where
        T: Recordable,
        E: Send + 'static,
    {
        let later = |job: Job<Result<T, E>>, observer: Observer<T>| {
            job.observed(move |result: &Result<T, E>| observer(result.as_ref().ok()))
        };
        ResultKind::new(Access::Deferred(later), |value| Job::ready(Ok(value)), abilities)
    }
}

/// Determines the [`ResultKind`] of a return type that is recorded as a whole, including an `Err`. The inherent methods, for
/// jobs, take precedence over those of [`WholeResult`].
#[derive(Debug)]
pub struct WholeProbe<R>(PhantomData<fn() -> R>);

impl<T> WholeProbe<Job<T>> {
    /// Returns the probe of the recorded type: the type of the job's result.
    pub const fn fleche_value(&self) -> AbilityProbe<T> {
        AbilityProbe(PhantomData)
    }

    /// Returns the result's kind. The job's result is recorded when the job completes.
    pub fn fleche_plan(&self, abilities: TypeAbilities<T>) -> ResultKind<Job<T>, T>
    where
        T: Recordable,
    {
        let later = |job: Job<T>, observer: Observer<T>| job.observed(move |result| observer(Some(result)));
        ResultKind::new(Access::Deferred(later), Job::ready, abilities)
    }
}

/// The fallback of `WholeProbe`: every other type is recorded as it is.
pub trait WholeResult<R> {
    /// Returns the probe of the recorded type: the return type itself.
    fn fleche_value(&self) -> AbilityProbe<R> {
        AbilityProbe(PhantomData)
    }

    /// Returns the result's kind. The return value is recorded as a whole.
    fn fleche_plan(&self, abilities: TypeAbilities<R>) -> ResultKind<R, R>
    where
        R: Recordable,
    {
        ResultKind::new(Access::Immediate(Ok), |result| result, abilities)
    }
}

impl<R> WholeResult<R> for WholeProbe<R> {}

/// Determines whether a type has `==` and whether it is `Copy`. Types with these abilities have inherent methods, which
/// take precedence over the methods of [`NoEquality`] and [`NoCopy`].
#[derive(Debug)]
pub struct AbilityProbe<T: ?Sized>(PhantomData<fn(&T)>);

/// Returns the probe of this value's type.
pub const fn abilities_of<T: ?Sized>(_: &T) -> AbilityProbe<T> {
    AbilityProbe(PhantomData)
}

impl<T: PartialEq + ?Sized> AbilityProbe<T> {
    /// Returns `==`.
    pub fn fleche_equal(&self) -> Option<fn(&T, &T) -> bool> {
        Some(|left, right| left == right)
    }
}

/// The fallback of `AbilityProbe`, for types without `==` and for type parameters that are not known to have it.
pub trait NoEquality<T: ?Sized> {
    /// Returns `None`.
    fn fleche_equal(&self) -> Option<fn(&T, &T) -> bool> {
        None
    }
}

impl<T: ?Sized> NoEquality<T> for AbilityProbe<T> {}

impl<T: Copy> AbilityProbe<T> {
    /// Returns a bitwise copy. It does not call `clone`, which may run arbitrary code.
    pub fn fleche_copy(&self) -> Option<fn(&T) -> T> {
        Some(|value| *value)
    }
}

/// The fallback of `AbilityProbe`, for types that are not `Copy` and for type parameters that are not known to be.
pub trait NoCopy<T> {
    /// Returns `None`.
    fn fleche_copy(&self) -> Option<fn(&T) -> T> {
        None
    }
}

impl<T> NoCopy<T> for AbilityProbe<T> {}
