//! `Keyed`: a lock for each entry, which exists while it is held.

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
    /// Locks the entry. Blocks while another thread of this process holds its lock.
    pub(super) fn lock(&self, id: &Digest) -> Held<'_> {
        let held = self.released.wait_while(self.held(), |held| held.contains(id));
        held.unwrap_or_else(PoisonError::into_inner).insert(*id);
        Held { all: self, id: *id }
    }

    fn held(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guard that holds the lock of one entry.
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
