//! `Recent`: a map of bounded size that drops its least recently used entries.

use std::{borrow::Borrow, collections::HashMap, hash::Hash, mem};

/// Holds two generations of entries; when the young one is full, the old one is dropped.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// The number of entries that one generation holds.
    capacity: usize,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// Creates a map of at most twice this many entries.
    pub(super) fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), capacity }
    }

    /// Returns the entry, if there is one, and moves it to the young generation.
    pub(super) fn get<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.insert(key, value);
        }
        self.young.get_mut(key)
    }

    /// Adds the entry, or replaces the existing one of this key.
    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.capacity && !self.young.contains_key(&key) {
            self.old = mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_bounded_and_recently_used_entries_stay() {
        let mut recent = Recent::new(10);
        recent.insert(0, 0);
        for key in 1..1000 {
            recent.insert(key, key);
            assert_eq!(recent.get(&0), Some(&mut 0));
            assert!(recent.young.len() <= 10 && recent.old.len() <= 10);
        }
        assert_eq!(recent.get(&999), Some(&mut 999));
        assert_eq!(recent.get(&500), None);
    }

    #[test]
    fn insert_replaces_entry_in_the_old_generation() {
        let mut recent = Recent::new(1);
        recent.insert('a', 1);
        recent.insert('b', 1);
        recent.insert('a', 2);
        recent.insert('c', 1);
        assert_eq!(recent.get(&'a'), Some(&mut 2));
    }
}
