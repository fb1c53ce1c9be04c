//! `ByteClaim` and `ContendedByte`: the answers to a request for a claim.

use std::{io::ErrorKind, sync::Arc, time::SystemTime};

use fleche_core::{
    CallKey, Error,
    claim::{Held, Taken},
};

use super::{
    lock_levels::{Level, Place},
    table::Table,
};
use crate::claims::OnAcquired;

/// A claim that this process holds.
pub(super) struct ByteClaim {
    table: Arc<Table>,
    place: Place,
    level: Level,
    since: SystemTime,
}

impl ByteClaim {
    /// Creates the claim whose byte was just locked, or passed on by another holder in this process, and publishes its
    /// holder.
    pub(super) fn new(table: &Arc<Table>, place: Place, level: Level) -> Self {
        let held = Self { table: Arc::clone(table), place, level, since: SystemTime::now() };
        held.awaits(Some(&[]));
        held
    }
}

impl Held for ByteClaim {
    fn publishes(&self) -> bool {
        true
    }

    fn awaits(&self, keys: Option<&[CallKey]>) {
        if !self.table.file.is_inherited() {
            self.table.file.tell(self.place, self.level, self.since, keys);
        }
    }
}

impl Drop for ByteClaim {
    fn drop(&mut self) {
        // A forked child process has a copy of a claim that its parent still holds.
        if !self.table.file.is_inherited() {
            self.table.release(self.place, self.level);
        }
    }
}

/// A claim that another process holds, or another caller in this one.
pub(super) struct ContendedByte {
    table: Arc<Table>,
    place: Place,
}

impl ContendedByte {
    pub(super) fn new(table: &Arc<Table>, place: Place) -> Self {
        Self { table: Arc::clone(table), place }
    }
}

impl Taken for ContendedByte {
    fn when_held(self: Box<Self>, then: OnAcquired) {
        if self.table.file.is_inherited() {
            // A forked child process has none of the threads that wait.
            return then(Err(Error::io("lock", &self.table.file.path)(ErrorKind::Unsupported.into())));
        }
        self.table.enqueue(self.place, then);
    }
}
