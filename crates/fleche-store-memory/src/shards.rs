//! `Shards`: a concurrent map with digests as keys, split by their first byte; and the random ids of such maps.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    process,
    sync::{
        RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use fleche_core::{Digest, DigestPrefix, spi::LockResultExt};
use foldhash::fast::RandomState;

/// A map from digests to `V`, in 256 shards with a lock each.
///
/// It is not a `DashMap`, because of listing. Listing must not hold a lock while the caller handles an entry, since a
/// caller that removes the entry would deadlock. It must not copy all digests at once, and listing a prefix should read
/// only the shards that match. `DashMap` exposes its shards only through `unsafe` functions.
pub(crate) struct Shards<V>(Box<[RwLock<Shard<V>>]>);

/// One shard of a map. Its keys are hashes already, and no attacker can choose them freely, so a fast hasher suffices.
type Shard<V> = HashMap<Digest, V, RandomState>;

impl<V> Shards<V> {
    /// Locks the shard of this digest for reading.
    pub(crate) fn read(&self, digest: &Digest) -> RwLockReadGuard<'_, Shard<V>> {
        self.shard(digest.as_bytes()[0]).read().ignore_poison()
    }

    /// Locks the shard of this digest for writing.
    pub(crate) fn write(&self, digest: &Digest) -> RwLockWriteGuard<'_, Shard<V>> {
        self.shard(digest.as_bytes()[0]).write().ignore_poison()
    }

    /// Returns the digests with this prefix, each once. The digests of a shard are copied when iteration reaches it; no
    /// lock is held between items.
    pub(crate) fn digests(&self, prefix: &DigestPrefix) -> impl Iterator<Item = Digest> + use<'_, V> {
        let prefix = prefix.clone();
        (0..=u8::MAX).filter(first_byte_fits(&prefix)).flat_map(move |first| {
            let shard = self.shard(first).read().ignore_poison();
            shard.keys().filter(|digest| prefix.matches(digest)).copied().collect::<Vec<_>>()
        })
    }

    // Poison can be ignored: no operation on a shard leaves it half modified when it panics.
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

/// Returns an id that no other store has, in this process or another: 32 hexadecimal digits. It connects the
/// configuration of a store with the store.
pub(crate) fn random_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    // The standard library seeds these hashers from the system's random source. A forked child inherits the seed, hence
    // the process id.
    let salt = (process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let [high, low] = [(); 2].map(|()| std::hash::RandomState::new().hash_one(salt));
    format!("{high:016x}{low:016x}")
}

#[cfg(test)]
mod tests {
    use super::random_id;

    #[test]
    fn ids_are_unique_and_have_32_hexadecimal_digits() {
        let [first, second] = [random_id(), random_id()];
        assert!(first.len() == 32 && first.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");
        assert_ne!(first, second);
    }
}
