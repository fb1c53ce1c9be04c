//! Random ids, which connect the configuration of a memory store with the store.

use std::{
    hash::{BuildHasher, RandomState},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

/// Returns an id that no other store has, in this process or another: 32 hexadecimal digits.
pub(crate) fn random_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    // The standard library seeds these hashers from the system's random source. A forked child inherits the seed, hence
    // the process id.
    let salt = (process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let [high, low] = [(); 2].map(|()| RandomState::new().hash_one(salt));
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
