//! `DigestMap`: a concurrent map with digests as keys; and the random ids of such maps.

use std::{
    hash::BuildHasher,
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use dashmap::DashMap;
use fleche_core::{Digest, DigestPrefix};
use foldhash::fast::RandomState;

/// A concurrent map from digests to `V`. Its keys are hashes already, and no attacker can choose them freely, so a fast hasher
/// suffices.
///
/// No code of callers may run while a reference into the map exists: it could use the map, and deadlock.
pub(crate) type DigestMap<V> = DashMap<Digest, V, RandomState>;

/// The number of shards, each with a lock of its own. It does not depend on the number of processors, as memory does not.
const SHARDS: usize = 256;

/// Returns an empty map.
pub(crate) fn new<V>() -> DigestMap<V> {
    DashMap::with_hasher_and_shard_amount(RandomState::default(), SHARDS)
}

/// Returns the digests with this prefix, each once. They are copied first, so no lock is held between items.
pub(crate) fn digests<V>(map: &DigestMap<V>, prefix: &DigestPrefix) -> impl Iterator<Item = Digest> + use<V> {
    let matching = map.iter().map(|entry| *entry.key()).filter(|digest| prefix.matches(digest));
    matching.collect::<Vec<_>>().into_iter()
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
