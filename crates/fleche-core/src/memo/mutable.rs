//! Parameters through which a body can change what its caller holds: such a change is lost on a hit.

use std::{
    cell::{Cell, RefCell},
    marker::PhantomData,
    rc::Rc,
    sync::{Arc, Mutex, RwLock, atomic},
};

/// Finds out whether a body can change what its caller holds through a parameter of type `T`. The check of its own, for
/// the types that are `Mutable`, is a compile error and takes precedence over that of [`NotMutable`]. Aliases and the
/// types in macros are resolved; type parameters and fields of structures are not looked into.
#[derive(Debug)]
pub struct MutableProbe<T: ?Sized>(PhantomData<fn(&T)>);

impl<T: Mutable + ?Sized> MutableProbe<T> {
    /// Refuses the type, which is named again so that the error stands there.
    pub const fn fleche_check<U: Unchanged + ?Sized>() {}
}

/// For all other types, and for type parameters.
pub trait NotMutable {
    /// Accepts the type.
    fn fleche_check<U: ?Sized>() {}
}

impl<T: ?Sized> NotMutable for MutableProbe<T> {}

/// What the type of a keyed parameter must be. Asked only of types that are not.
#[diagnostic::on_unimplemented(
    message = "a function can change what its caller holds through `{Self}`, and that change is lost on a hit",
    label = "this argument cannot be part of a key",
    note = "take the value and return what has changed; pass what is read (`cell.get()`, `&*lock.lock()`); or, where a hit \
            need not change anything, leave the parameter out of the key: `#[fleche(ignore(…))]`"
)]
pub trait Unchanged {}

/// Types of parameters through which a body can change what its caller holds.
pub trait Mutable {}

/// Types whose values change behind a shared reference.
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
