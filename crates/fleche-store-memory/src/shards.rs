//! `Shards`: a concurrent map from digests, split by their first byte.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use fleche_core::{Digest, DigestPrefix};
use foldhash::fast::RandomState;

/// A map from digests to `V`, in 256 parts with a lock each.
///
/// It is not a `DashMap` because of the listing: that must hold no lock while its reader handles an entry (who removes
/// what is listed would wait for himself), must not copy every digest at once, and a prefix should look at its part
/// alone. A `DashMap` gives access to its parts through `unsafe` only.
pub(crate) struct Shards<V>(Box<[RwLock<Shard<V>>]>);

/// Digests are hashes already, of what nobody can choose freely; the hasher need not be more than fast.
type Shard<V> = HashMap<Digest, V, RandomState>;

impl<V> Shards<V> {
    /// The part that has this digest if anyone does, for reading.
    pub(crate) fn read(&self, digest: &Digest) -> RwLockReadGuard<'_, Shard<V>> {
        self.shard(digest.as_bytes()[0]).read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The part that has this digest if anyone does, for changing.
    pub(crate) fn write(&self, digest: &Digest) -> RwLockWriteGuard<'_, Shard<V>> {
        self.shard(digest.as_bytes()[0]).write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digests that begin so, each once. A part's digests are copied when its turn comes; no lock is held between
    /// items.
    pub(crate) fn digests(&self, prefix: &DigestPrefix) -> impl Iterator<Item = Digest> + use<'_, V> {
        let prefix = prefix.clone();
        (0..=u8::MAX).filter(first_byte_fits(&prefix)).flat_map(move |first| {
            let shard = self.shard(first).read().unwrap_or_else(PoisonError::into_inner);
            shard.keys().filter(|digest| prefix.matches(digest)).copied().collect::<Vec<_>>()
        })
    }

    // Poison is no news: no change to a part leaves it half done, so what a panicking thread left is whole.
    fn shard(&self, first: u8) -> &RwLock<Shard<V>> {
        &self.0[usize::from(first)]
    }
}

fn first_byte_fits(prefix: &DigestPrefix) -> impl Fn(&u8) -> bool + use<> {
    let digits: String = prefix.as_str().chars().take(2).collect();
    move |first| format!("{first:02x}").starts_with(&digits)
}

impl<V> Default for Shards<V> {
    fn default() -> Self {
        Self((0..=u8::MAX).map(|_| RwLock::default()).collect())
    }
}
