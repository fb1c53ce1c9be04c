//! Descriptors: constants in the executable, one for each type of callable, that are found by code address.
#![allow(unsafe_code)] // Creates zero-sized callables, and reads at a checked address.

use std::{
    any::TypeId,
    hash::{DefaultHasher, Hash, Hasher},
    hint::black_box,
    mem,
};

use serde::Serialize;

use super::{ArgsTuple, Callable};
use crate::{
    encoding,
    function::{Function, Remote},
};

/// The descriptor of a function that can be called with encoded arguments. Other processes find it by its code address.
///
/// The descriptor contains the types, so that two functions never share one, even if the linker has merged their code.
#[derive(Debug)]
#[repr(C)]
pub struct Descriptor {
    magic: [u8; 16],
    types: [TypeId; 3],
    remote: Remote,
    /// The memoized function that is described.
    function: Option<fn() -> &'static Function>,
}

/// Random bytes at the start of every descriptor.
const MAGIC: [u8; 16] = *b"\x8c\x1e\xf1\xec\x6e\xd5\x0b\x93\x57\xa9\x02\xbb\xe4\x3d\xc6\x71";

/// The magic's complement: comparing with it avoids a second copy of the magic in read-only data.
static COMPLEMENT: [u8; 16] = {
    let mut bytes = MAGIC;
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = !bytes[at];
        at += 1;
    }
    bytes
};

impl Descriptor {
    /// Creates the descriptor of a memoized function, identified by the type of its item. For generated code.
    pub const fn new(item: TypeId, remote: Remote, function: fn() -> &'static Function) -> Self {
        Self { magic: MAGIC, types: [item; 3], remote, function: Some(function) }
    }

    /// Creates the descriptor of the body of a memoized function, identified by the type of the function's item. For
    /// generated code.
    pub const fn from_body(item: TypeId, remote: Remote) -> Self {
        Self { magic: MAGIC, types: [item; 3], remote, function: None }
    }

    /// Returns the descriptor of this type of callable, or `None` if its values hold data.
    pub(super) fn from_callable<F, Args>() -> Option<&'static Self>
    where
        F: Callable<Args>,
        Args: ArgsTuple,
        F::Output: Serialize,
    {
        is_zero_sized::<F>().then_some(OfCallable::<F, Args>::DESCRIPTOR)
    }

    pub(super) fn remote(&self) -> Remote {
        self.remote
    }

    /// Returns the memoized function, or `None` if the descriptor is of another callable.
    pub(super) fn function(&self) -> Option<&'static Function> {
        self.function.map(|function| function())
    }

    /// Returns a fingerprint of the types, which is the same in every process of one binary.
    pub(super) fn types(&self) -> u64 {
        fingerprint(&self.types)
    }

    /// Returns the descriptor at this address, or `None` if there is none with these types whose code address passes
    /// `is_code`.
    ///
    /// # Safety
    /// As many bytes as a descriptor has, from the address on, must be readable and must never change.
    pub(super) unsafe fn at(address: usize, types: u64, is_code: impl Fn(usize) -> bool) -> Option<&'static Self> {
        if !address.is_multiple_of(mem::align_of::<Self>()) {
            return None;
        }
        let address = std::ptr::with_exposed_provenance::<Self>(address);
        // SAFETY: the caller guarantees that the bytes are readable and stay; any bytes are a valid `[u8; 16]`.
        let magic = unsafe { &*address.cast::<[u8; 16]>() };
        if !magic.iter().zip(black_box(&COMPLEMENT)).all(|(byte, complement)| *byte == !*complement) {
            return None;
        }
        // The pages next to a segment may hold what the file has there: descriptors whose pointers were never relocated.
        // SAFETY: as above, and any bytes are a valid `usize`; the field is a pointer of this size.
        let remote = unsafe { (&raw const (*address).remote).cast::<usize>().read() };
        if !is_code(remote) {
            return None;
        }
        // SAFETY: at this alignment, the 16 random bytes are only at the start of descriptors, which live as long as the
        // program, and the pointers of this one lead to code. They are read from the program's own executable, not from
        // received data.
        let descriptor = unsafe { &*address };
        (descriptor.types() == types).then_some(descriptor)
    }
}

/// Returns a hash of the types, which is the same in every process of one binary.
pub(in crate::bound) fn fingerprint(types: &[TypeId]) -> u64 {
    let mut hasher = DefaultHasher::new();
    types.hash(&mut hasher);
    hasher.finish()
}

/// Returns whether a value of the type can be created without data.
pub(in crate::bound) const fn is_zero_sized<F>() -> bool {
    mem::size_of::<F>() == 0 && mem::align_of::<F>() == 1 && !mem::needs_drop::<F>()
}

struct OfCallable<F, Args>(F, Args);

impl<F, Args> OfCallable<F, Args>
where
    F: Callable<Args>,
    Args: ArgsTuple,
    F::Output: Serialize,
{
    const DESCRIPTOR: &'static Descriptor = &Descriptor {
        magic: MAGIC,
        types: [TypeId::of::<F>(), TypeId::of::<Args>(), TypeId::of::<fn() -> F>()],
        remote: call::<F, Args>,
        function: None,
    };
}

/// Calls the only value of a zero-sized type of callable.
fn call<F, Args>(encoded: &[&[u8]]) -> Result<Vec<u8>, String>
where
    F: Callable<Args>,
    Args: ArgsTuple,
    F::Output: Serialize,
{
    let name = std::any::type_name::<F>();
    if !is_zero_sized::<F>() {
        return Err(format!("`{name}` holds values, which were not sent with it"));
    }
    let arguments = Args::decode(encoded).map_err(|error| format!("an argument of `{name}`: {error}"))?;
    // SAFETY: the type has no bytes, no alignment requirement and nothing to drop, and a value of it existed, because a
    // caller submitted one. `Callable` is `Send`, so that value could have been sent to this thread. References read from
    // text do not reach this function: they lead only to memoized functions, see `Reference::find`. The gap: a closure
    // that captures a zero-sized proof of something that holds only in its process ("the library was initialized") is
    // called here without that having happened. Such a closure must not be submitted.
    let function = unsafe { std::ptr::NonNull::<F>::dangling().as_ref() };
    encoding::to_vec(&function.call(arguments)).map_err(|error| format!("the result of `{name}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns whether there is a descriptor at the address of the borrowed value.
    fn read<T>(of: &T, types: u64, is_code: impl Fn(usize) -> bool) -> bool {
        assert_eq!(mem::size_of::<T>(), mem::size_of::<Descriptor>());
        let address = std::ptr::from_ref(of).expose_provenance();
        // SAFETY: it is as long as a descriptor, and does not change while it is borrowed.
        unsafe { Descriptor::at(address, types, is_code) }.is_some()
    }

    #[test]
    fn copy_without_relocated_pointers_is_not_a_descriptor() {
        const WORDS: usize = mem::size_of::<Descriptor>() / mem::size_of::<usize>();
        let descriptor = OfCallable::<fn(i64) -> i64, (i64,)>::DESCRIPTOR;
        let (types, code) = (descriptor.types(), descriptor.remote as usize);
        let mut copy = [0_usize; WORDS];
        // SAFETY: both have the same length and do not overlap; any bytes of a descriptor are valid words. It has no
        // padding.
        unsafe { std::ptr::copy_nonoverlapping(std::ptr::from_ref(descriptor).cast(), copy.as_mut_ptr(), WORDS) };
        assert!(read(descriptor, types, |address| address == code));
        assert!(read(&copy, types, |address| address == code));
        copy[mem::offset_of!(Descriptor, remote) / mem::size_of::<usize>()] = 0;
        assert!(!read(&copy, types, |address| address == code));
    }
}
