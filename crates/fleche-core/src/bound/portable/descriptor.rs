//! Descriptors: constants, one a type of callable, that a position in the executable leads to.
#![allow(unsafe_code)] // A zero-sized callable is made from nothing, and a checked position is read.

use std::{
    any::TypeId,
    hash::{DefaultHasher, Hash, Hasher},
    hint::black_box,
    mem,
};

use serde::Serialize;

use crate::{
    bound::{Callable, TupleArguments},
    encoding,
    function::{Function, Remote},
};

/// What a position in the executable leads to: how to call one function with encoded arguments.
///
/// Its types are part of it, so that two functions never share one, even where their code was folded into one.
#[derive(Debug)]
#[repr(C)]
pub struct Descriptor {
    magic: [u8; 16],
    types: [TypeId; 3],
    remote: Remote,
    /// The memoized function that it is of.
    function: Option<fn() -> &'static Function>,
}

/// Random bytes, with which every descriptor begins.
const MAGIC: [u8; 16] = *b"\x8c\x1e\xf1\xec\x6e\xd5\x0b\x93\x57\xa9\x02\xbb\xe4\x3d\xc6\x71";

/// The magic's complement: comparing with it leaves no second copy of the magic in read-only data.
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
    /// For generated code: a memoized function, told by the type of its item.
    pub const fn new(item: TypeId, remote: Remote, function: fn() -> &'static Function) -> Self {
        Self { magic: MAGIC, types: [item; 3], remote, function: Some(function) }
    }

    /// For generated code: the body of a memoized function, told likewise.
    pub const fn of_body(item: TypeId, remote: Remote) -> Self {
        Self { magic: MAGIC, types: [item; 3], remote, function: None }
    }

    /// The descriptor of this type of callable; `None` where its values are not all the same, because they hold
    /// something.
    pub(super) fn of_callable<F, Args>() -> Option<&'static Self>
    where
        F: Callable<Args>,
        Args: TupleArguments,
        F::Output: Serialize,
    {
        is_zero_sized::<F>().then_some(OfCallable::<F, Args>::DESCRIPTOR)
    }

    pub(super) fn remote(&self) -> Remote {
        self.remote
    }

    /// The memoized function that it is of; `None` where it is of another callable.
    pub(super) fn function(&self) -> Option<&'static Function> {
        self.function.map(|function| function())
    }

    /// A fingerprint of the types, the same in every process of one binary.
    pub(super) fn types(&self) -> u64 {
        fingerprint(&self.types)
    }

    /// The descriptor at this address; `None` where there is none of these types, or none whose code `is_code`.
    ///
    /// # Safety
    /// From the address on, as many bytes as a descriptor has can be read and never change.
    pub(super) unsafe fn at(address: usize, types: u64, is_code: impl Fn(usize) -> bool) -> Option<&'static Self> {
        if !address.is_multiple_of(mem::align_of::<Self>()) {
            return None;
        }
        let address = std::ptr::with_exposed_provenance::<Self>(address);
        // SAFETY: the caller says that the bytes can be read and stay; any bytes are a `[u8; 16]`.
        let magic = unsafe { &*address.cast::<[u8; 16]>() };
        if !magic.iter().zip(black_box(&COMPLEMENT)).all(|(byte, complement)| *byte == !*complement) {
            return None;
        }
        // The page before a segment, or after it, may show what the file holds of it: descriptors whose pointers nobody
        // has relocated.
        // SAFETY: as above, and any bytes are a `usize`; the field's place is that of a pointer of this size.
        let remote = unsafe { (&raw const (*address).remote).cast::<usize>().read() };
        if !is_code(remote) {
            return None;
        }
        // SAFETY: these 16 random bytes stand, at this alignment, at the beginning of descriptors only, which live as long
        // as the program, and this one's pointers lead to code. They are read from the program's own executable, not
        // from what somebody sent.
        let descriptor = unsafe { &*address };
        (descriptor.types() == types).then_some(descriptor)
    }
}

/// The same in every process of one binary.
pub(in crate::bound) fn fingerprint(types: &[TypeId]) -> u64 {
    let mut hasher = DefaultHasher::new();
    types.hash(&mut hasher);
    hasher.finish()
}

/// Whether a value of the type can be made from nothing.
pub(in crate::bound) const fn is_zero_sized<F>() -> bool {
    mem::size_of::<F>() == 0 && mem::align_of::<F>() == 1 && !mem::needs_drop::<F>()
}

struct OfCallable<F, Args>(F, Args);

impl<F, Args> OfCallable<F, Args>
where
    F: Callable<Args>,
    Args: TupleArguments,
    F::Output: Serialize,
{
    const DESCRIPTOR: &'static Descriptor = &Descriptor {
        magic: MAGIC,
        types: [TypeId::of::<F>(), TypeId::of::<Args>(), TypeId::of::<fn() -> F>()],
        remote: call::<F, Args>,
        function: None,
    };
}

/// Calls the one value of a zero-sized type of callable.
fn call<F, Args>(encoded: &[&[u8]]) -> Result<Vec<u8>, String>
where
    F: Callable<Args>,
    Args: TupleArguments,
    F::Output: Serialize,
{
    let name = std::any::type_name::<F>();
    if !is_zero_sized::<F>() {
        return Err(format!("`{name}` holds values, which did not travel with it"));
    }
    let arguments = Args::decode(encoded).map_err(|error| format!("an argument of `{name}`: {error}"))?;
    // SAFETY: the type has no bytes, no alignment to keep and nothing to drop, and a value of it existed: somebody
    // submitted one. `Callable` is `Send`, so that value could as well have come to this thread.
    // Text is no such somebody, and leads to memoized functions only: see `Reference::find`.
    // The gap: a closure that captures a zero-sized proof of something that holds in its process only ("the library was
    // initialised") is called here without that having happened. Such a closure must not be submitted.
    let function = unsafe { std::ptr::NonNull::<F>::dangling().as_ref() };
    encoding::to_vec(&function.call(arguments)).map_err(|error| format!("the result of `{name}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The descriptor at the address of what is borrowed.
    fn read<T>(of: &T, types: u64, is_code: impl Fn(usize) -> bool) -> bool {
        assert_eq!(mem::size_of::<T>(), mem::size_of::<Descriptor>());
        let address = std::ptr::from_ref(of).expose_provenance();
        // SAFETY: it is as long as a descriptor, and nobody changes it meanwhile.
        unsafe { Descriptor::at(address, types, is_code) }.is_some()
    }

    #[test]
    fn a_copy_whose_pointers_were_not_relocated_is_none() {
        const WORDS: usize = mem::size_of::<Descriptor>() / mem::size_of::<usize>();
        let descriptor = OfCallable::<fn(i64) -> i64, (i64,)>::DESCRIPTOR;
        let (types, code) = (descriptor.types(), descriptor.remote as usize);
        let mut copy = [0_usize; WORDS];
        // SAFETY: both are as long, and do not overlap; whatever bytes a descriptor has are words. It has no padding.
        unsafe { std::ptr::copy_nonoverlapping(std::ptr::from_ref(descriptor).cast(), copy.as_mut_ptr(), WORDS) };
        assert!(read(descriptor, types, |address| address == code));
        assert!(read(&copy, types, |address| address == code));
        copy[mem::offset_of!(Descriptor, remote) / mem::size_of::<usize>()] = 0;
        assert!(!read(&copy, types, |address| address == code));
    }
}
