//! `Keyed`: a lock for each entry, as long as somebody holds it.

use std::{
    collections::HashSet,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::digest::Digest;

#[derive(Default)]
pub(super) struct Keyed {
    held: Mutex<HashSet<Digest>>,
    released: Condvar,
}

impl Keyed {
    /// Returns when nobody else of this process holds the entry's lock.
    pub(super) fn lock(&self, id: &Digest) -> Held<'_> {
        let held = self.released.wait_while(self.held(), |held| held.contains(id));
        held.unwrap_or_else(PoisonError::into_inner).insert(*id);
        Held { all: self, id: *id }
    }

    fn held(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lock of one entry.
pub(super) struct Held<'a> {
    all: &'a Keyed,
    id: Digest,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.all.held().remove(&self.id);
        self.all.released.notify_all();
    }
}
