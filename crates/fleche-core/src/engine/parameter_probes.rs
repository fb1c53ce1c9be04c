//! Compile-time checks of parameters: ignored ones need an encoding only in bound calls, and mutable ones are rejected.

use std::{
    borrow::Borrow,
    cell::{Cell, RefCell},
    convert::Infallible,
    marker::PhantomData,
    rc::Rc,
    sync::{Arc, Mutex, RwLock, atomic},
};

use serde::{de, ser};

use super::{
    arguments::{Arguments, Reader},
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

// Parameters through which a body can change its caller's values are rejected: a hit would lose the change.

/// Determines whether a body can change its caller's values through a parameter of type `T`. The inherent check, for types that
/// are `Mutable`, is a compile error and takes precedence over that of [`NotMutable`]. Aliases and types in macros are
/// resolved; type parameters and fields of structures are not inspected.
#[derive(Debug)]
pub struct MutableProbe<T: ?Sized>(PhantomData<fn(&T)>);

impl<T: Mutable + ?Sized> MutableProbe<T> {
    /// Rejects the type. `U` is the same type, repeated so that the compile error points to it.
    pub const fn fleche_check<U: Unchanged + ?Sized>() {}
}

/// The fallback of [`MutableProbe`], for all other types and for type parameters.
pub trait NotMutable {
    /// Accepts the type.
    fn fleche_check<U: ?Sized>() {}
}

impl<T: ?Sized> NotMutable for MutableProbe<T> {}

/// The bound on the type of a keyed parameter. Nothing implements it: it is required only of types that are rejected.
#[diagnostic::on_unimplemented(
    message = "a function can change what its caller holds through `{Self}`, and that change is lost on a hit",
    label = "this argument cannot be part of a key",
    note = "take the value and return what has changed; pass what is read (`cell.get()`, `&*lock.lock()`); or, where a hit \
            need not change anything, leave the parameter out of the key: `#[fleche(ignore(…))]`"
)]
pub trait Unchanged {}

/// Types of parameters through which a body can change its caller's values.
pub trait Mutable {}

/// Types whose values can change behind a shared reference.
pub trait InteriorMutable {}

impl<T: ?Sized> Mutable for &mut T {}
impl<T: InteriorMutable + ?Sized> Mutable for &T {}
impl<T: InteriorMutable + ?Sized> Mutable for Rc<T> {}
impl<T: InteriorMutable + ?Sized> Mutable for Arc<T> {}
impl<T: Mutable> Mutable for Option<T> {}
impl<T: Mutable + ?Sized> Mutable for Box<T> {}
impl<T: Mutable> Mutable for Vec<T> {}
impl<T: Mutable, const N: usize> Mutable for [T; N] {}

impl<T: ?Sized> InteriorMutable for Cell<T> {}
impl<T: ?Sized> InteriorMutable for RefCell<T> {}
impl<T: ?Sized> InteriorMutable for Mutex<T> {}
impl<T: ?Sized> InteriorMutable for RwLock<T> {}
impl<T: InteriorMutable + ?Sized> InteriorMutable for &T {}
impl<T: InteriorMutable + ?Sized> InteriorMutable for Rc<T> {}
impl<T: InteriorMutable + ?Sized> InteriorMutable for Arc<T> {}
impl<T: InteriorMutable + ?Sized> InteriorMutable for Box<T> {}
impl<T: InteriorMutable> InteriorMutable for Option<T> {}
impl<T: InteriorMutable> InteriorMutable for Vec<T> {}
impl<T: InteriorMutable> InteriorMutable for [T] {}
impl<T: InteriorMutable, const N: usize> InteriorMutable for [T; N] {}

macro_rules! atomics {
    ($($atomic:ident),*) => {$(
        impl InteriorMutable for atomic::$atomic {}
    )*};
}

atomics! {
    AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16, AtomicU32, AtomicU64,
    AtomicUsize
}
