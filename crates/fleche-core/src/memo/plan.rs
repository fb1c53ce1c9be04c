//! `Plan`: what of a function's return type is recorded, found out where the attribute expands.

use std::{marker::PhantomData, ops::Deref};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    encoding::{self, DecodeError, EncodeError},
    job::Job,
};

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
    /// Where the value to record is found.
    pub(super) access: Access<R, T>,
    /// The return value for a recorded value.
    pub(super) wrap: fn(T) -> R,
    /// How the value becomes bytes.
    pub(super) codec: ResultCodec<T>,
}

/// How to get at the value to record. There is none in an `Err`.
#[derive(Debug)]
pub(super) enum Access<R, T> {
    /// It is taken out of the return value, or there is none in it.
    Now(fn(R) -> Result<T, R>),
    /// The return value brings it later, and lets an observer see it before anybody else.
    Later(fn(R, Observer<T>) -> R),
}

/// What sees a value that comes later, if it comes.
pub(super) type Observer<T> = Box<dyn FnOnce(Option<&T>) + Send>;

/// How a result becomes bytes and comes back.
#[derive(Debug)]
pub(super) struct ResultCodec<T> {
    /// Equality, where the type has it.
    pub(super) equal: Option<fn(&T, &T) -> bool>,
    pub(super) encode: fn(&T) -> Result<Vec<u8>, EncodeError>,
    pub(super) decode: Decode<T>,
    pub(super) clone: fn(&T) -> T,
    /// A copy of the bits, which cannot panic, where the type has it.
    pub(super) copy: Option<fn(&T) -> T>,
}

/// Decodes a result, and tells whether fields of its type may not have been there.
type Decode<T> = fn(&[u8]) -> Result<(T, bool), DecodeError>;

impl<R, T: Recordable> Plan<R, T> {
    /// Asks for every bound at once, so that a type without one is one error.
    fn new(access: Access<R, T>, wrap: fn(T) -> R, abilities: Abilities<T>) -> Self {
        let Abilities { equal, copy } = abilities;
        let (encode, decode) = (encoding::to_vec::<T>, encoding::from_slice_by_block::<T>);
        Self { access, wrap, codec: ResultCodec { equal, encode, decode, clone: T::clone, copy } }
    }
}

/// What a type can do beyond what it must.
#[derive(Debug)]
pub struct Abilities<T> {
    /// `==`, where the type has it.
    equal: Option<fn(&T, &T) -> bool>,
    /// A copy, where it is `Copy`.
    copy: Option<fn(&T) -> T>,
}

impl<T> Clone for Abilities<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Abilities<T> {}

impl<T> Abilities<T> {
    /// As found out.
    pub const fn new(equal: Option<fn(&T, &T) -> bool>, copy: Option<fn(&T) -> T>) -> Self {
        Self { equal, copy }
    }
}

impl<R, T> Clone for Plan<R, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, T> Copy for Plan<R, T> {}

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

/// Stands for the declared return type `R`. Its own methods, for `Result` and a job of one, go before those of
/// [`WholeProbe`], to which it derefs, so that aliases are seen for what they are.
#[derive(Debug)]
pub struct ResultProbe<R>(WholeProbe<R>);

impl<R> ResultProbe<R> {
    /// A probe for this type.
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
    /// Only the value of an `Ok` is recorded.
    pub const fn fleche_value(&self) -> AbilityProbe<T> {
        AbilityProbe(PhantomData)
    }

    /// Only the value of an `Ok` is recorded.
    pub fn fleche_plan(&self, abilities: Abilities<T>) -> Plan<Result<T, E>, T>
    where
        T: Recordable,
    {
        Plan::new(Access::Now(|result| result.map_err(Err)), Ok, abilities)
    }
}

impl<T, E> ResultProbe<Job<Result<T, E>>> {
    /// Only the value of an `Ok` is recorded.
    pub const fn fleche_value(&self) -> AbilityProbe<T> {
        AbilityProbe(PhantomData)
    }

    /// Only the value of an `Ok` is recorded, once the job brings it.
    pub fn fleche_plan(&self, abilities: Abilities<T>) -> Plan<Job<Result<T, E>>, T>
    where
        T: Recordable,
        E: Send + 'static,
    {
        let later = |job: Job<Result<T, E>>, observer: Observer<T>| {
            job.observed(move |result: &Result<T, E>| observer(result.as_ref().ok()))
        };
        Plan::new(Access::Later(later), |value| Job::ready(Ok(value)), abilities)
    }
}

/// Stands for a return type of which all is recorded, an `Err` too. Its own methods, for jobs, go before those of
/// [`WholeResult`].
#[derive(Debug)]
pub struct WholeProbe<R>(PhantomData<fn() -> R>);

impl<T> WholeProbe<Job<T>> {
    /// What the job brings is recorded.
    pub const fn fleche_value(&self) -> AbilityProbe<T> {
        AbilityProbe(PhantomData)
    }

    /// What the job brings is recorded, once it does.
    pub fn fleche_plan(&self, abilities: Abilities<T>) -> Plan<Job<T>, T>
    where
        T: Recordable,
    {
        let later = |job: Job<T>, observer: Observer<T>| job.observed(move |result| observer(Some(result)));
        Plan::new(Access::Later(later), Job::ready, abilities)
    }
}

/// Every other type is recorded as it is.
pub trait WholeResult<R> {
    /// The whole is recorded.
    fn fleche_value(&self) -> AbilityProbe<R> {
        AbilityProbe(PhantomData)
    }

    /// The whole is recorded.
    fn fleche_plan(&self, abilities: Abilities<R>) -> Plan<R, R>
    where
        R: Recordable,
    {
        Plan::new(Access::Now(Ok), |result| result, abilities)
    }
}

impl<R> WholeResult<R> for WholeProbe<R> {}

/// Tells whether a type has `==` and is `Copy`. Its own methods, for types that do, go before those of [`NoEquality`] and
/// [`NoCopy`].
#[derive(Debug)]
pub struct AbilityProbe<T: ?Sized>(PhantomData<fn(&T)>);

/// The probe for this value's type.
pub const fn abilities_of<T: ?Sized>(_: &T) -> AbilityProbe<T> {
    AbilityProbe(PhantomData)
}

impl<T: PartialEq + ?Sized> AbilityProbe<T> {
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

impl<T: ?Sized> NoEquality<T> for AbilityProbe<T> {}

impl<T: Copy> AbilityProbe<T> {
    /// A copy; not its `clone`, which may do anything.
    pub fn fleche_copy(&self) -> Option<fn(&T) -> T> {
        Some(|value| *value)
    }
}

/// For types that are not `Copy`, and for type parameters not known to be.
pub trait NoCopy<T> {
    /// None.
    fn fleche_copy(&self) -> Option<fn(&T) -> T> {
        None
    }
}

impl<T> NoCopy<T> for AbilityProbe<T> {}
