//! Keys and entries that both tiers share: encoded and scalar keys, results with their generation and age.

use std::{
    any::Any,
    hash::{BuildHasher, Hash, Hasher},
    sync::Arc,
    time::Instant,
};

use equivalent::Equivalent;
use foldhash::fast::FixedState;

/// The key of a call by its encoding: the function, and its encoded arguments or, if these are long, their digest.
#[derive(Clone, Copy)]
pub(crate) struct EncodedKey<'a> {
    pub(super) function: usize,
    pub(super) arguments: &'a [u8],
}

impl<'a> EncodedKey<'a> {
    /// Creates a key of the function at this address.
    #[inline]
    pub(crate) fn new(function: usize, arguments: &'a [u8]) -> Self {
        Self { function, arguments }
    }

    pub(super) fn to_owned_key(self) -> OwnedEncodedKey {
        OwnedEncodedKey { function: self.function, arguments: self.arguments.into() }
    }
}

/// Hashes like [`OwnedEncodedKey`].
impl Hash for EncodedKey<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.function);
        state.write(self.arguments);
    }
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct OwnedEncodedKey {
    function: usize,
    arguments: Box<[u8]>,
}

impl Hash for OwnedEncodedKey {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.function);
        state.write(&self.arguments);
    }
}

impl Equivalent<OwnedEncodedKey> for EncodedKey<'_> {
    #[inline]
    fn equivalent(&self, key: &OwnedEncodedKey) -> bool {
        self.function == key.function && *self.arguments == *key.arguments
    }
}

/// The key of a call in the thread-local tier.
#[derive(Clone, Copy)]
pub(crate) enum TierKey<'a> {
    Encoded(EncodedKey<'a>),
    /// The scalar key: the address of the function, the words of the arguments, and a hash of the words.
    Scalar {
        function: usize,
        words: &'a [u64],
        hash: u64,
    },
}

pub(super) enum OwnedTierKey {
    Encoded(OwnedEncodedKey),
    Scalar(usize, Box<[u64]>),
}

impl TierKey<'_> {
    /// Returns a hash. It needs no secret seed: chosen arguments that collide only displace each other in one small set.
    #[inline]
    pub(super) fn hash(&self) -> u64 {
        match self {
            Self::Encoded(key) => FixedState::with_seed(0).hash_one(key),
            Self::Scalar { function, hash, .. } => hash ^ (*function as u64 >> 4),
        }
    }

    #[inline]
    pub(super) fn equals(&self, owned: &OwnedTierKey) -> bool {
        match (self, owned) {
            (Self::Encoded(key), OwnedTierKey::Encoded(owned)) => key.equivalent(owned),
            (Self::Scalar { function, words, .. }, OwnedTierKey::Scalar(owned, owned_words)) => {
                // Compared word by word: there are few, and `==` would call `memcmp`.
                function == owned
                    && words.len() == owned_words.len()
                    && words.iter().zip(owned_words).all(|(word, owned)| word == owned)
            }
            _ => false,
        }
    }

    pub(super) fn to_owned_key(self) -> OwnedTierKey {
        match self {
            Self::Encoded(key) => OwnedTierKey::Encoded(key.to_owned_key()),
            Self::Scalar { function, words, .. } => OwnedTierKey::Scalar(function, words.into()),
        }
    }
}

/// A result of the function's recorded type.
pub(super) type Value = Arc<dyn Any + Send + Sync>;

/// A result in the shared tier.
#[derive(Clone)]
pub(super) struct CachedResult {
    pub(super) value: Value,
    /// The size of the result, the arguments and the overhead, in bytes.
    pub(super) weight: u64,
    /// The generation in which the result was valid.
    pub(super) generation: u64,
    /// The time at which the result becomes too old to be served, or `None` if it never does.
    pub(super) expires: Option<Instant>,
}

/// Returns whether a result of generation `of` that expires at this time is valid now, in this generation.
#[inline]
pub(super) fn is_current(of: u64, expires: Option<Instant>, generation: u64) -> bool {
    of == generation && expires.is_none_or(|expires| Instant::now() < expires)
}
