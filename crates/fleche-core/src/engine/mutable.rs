//! Rejects parameters through which a body can change its caller's values: a hit would lose the change.

use std::{
    cell::{Cell, RefCell},
    marker::PhantomData,
    rc::Rc,
    sync::{Arc, Mutex, RwLock, atomic},
};

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
