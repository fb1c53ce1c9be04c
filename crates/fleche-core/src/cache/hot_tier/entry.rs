//! Keys and entries that both tiers share: encoded keys, results with their generation and age.

use std::{
    any::Any,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Instant,
};

use equivalent::Equivalent;

/// The key of a call in the shared tier: the function, and its encoded arguments or, if these are long, their digest.
#[derive(Clone, Copy)]
pub(crate) struct HotKey<'a> {
    pub(super) function: usize,
    pub(super) arguments: &'a [u8],
}

impl<'a> HotKey<'a> {
    /// Creates a key of the function at this address.
    #[inline]
    pub(crate) fn new(function: usize, arguments: &'a [u8]) -> Self {
        Self { function, arguments }
    }
}

/// Hashes like [`OwnedKey`].
impl Hash for HotKey<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.function);
        state.write(self.arguments);
    }
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct OwnedKey {
    pub(super) function: usize,
    pub(super) arguments: Box<[u8]>,
}

impl Hash for OwnedKey {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.function);
        state.write(&self.arguments);
    }
}

impl Equivalent<OwnedKey> for HotKey<'_> {
    fn equivalent(&self, key: &OwnedKey) -> bool {
        self.function == key.function && *self.arguments == *key.arguments
    }
}

/// A result of the function's recorded type.
pub(super) type Value = Arc<dyn Any + Send + Sync>;

#[derive(Clone)]
pub(super) struct Kept {
    pub(super) value: Value,
    /// The size of the result, the arguments and the overhead, in bytes.
    pub(super) weight: u64,
    /// The [`GENERATION`] in which the result was valid.
    pub(super) generation: u64,
    pub(super) until: Option<Instant>,
}

/// Returns whether a result of generation `of` that expires at `until` is valid now, in this generation.
#[inline]
pub(super) fn is_current(of: u64, until: Option<Instant>, generation: u64) -> bool {
    of == generation && until.is_none_or(|until| Instant::now() < until)
}
