//! `HeldByte` and `TakenByte`: what those who ask for a claim are given.

use std::{io::ErrorKind, sync::Arc, time::SystemTime};

use fleche_core::{
    CallKey, Error,
    claim::{Held, Taken},
};

use super::{
    levels::{Level, Place},
    table::Table,
};
use crate::claims::Then;

/// A claim of this process.
pub(super) struct HeldByte {
    table: Arc<Table>,
    place: Place,
    level: Level,
    since: SystemTime,
}

impl HeldByte {
    /// The claim whose byte was just locked, or left to somebody else here. Publishes that.
    pub(super) fn new(table: &Arc<Table>, place: Place, level: Level) -> Self {
        let held = Self { table: Arc::clone(table), place, level, since: SystemTime::now() };
        held.awaits(Some(&[]));
        held
    }
}

impl Held for HeldByte {
    fn publishes(&self) -> bool {
        true
    }

    fn awaits(&self, keys: Option<&[CallKey]>) {
        if !self.table.file.is_inherited() {
            self.table.file.tell(self.place, self.level, self.since, keys);
        }
    }
}

impl Drop for HeldByte {
    fn drop(&mut self) {
        // A forked child has a copy of what its parent goes on holding.
        if !self.table.file.is_inherited() {
            self.table.release(self.place, self.level);
        }
    }
}

/// A claim of another process, or of somebody else in this one.
pub(super) struct TakenByte {
    table: Arc<Table>,
    place: Place,
}

impl TakenByte {
    pub(super) fn new(table: &Arc<Table>, place: Place) -> Self {
        Self { table: Arc::clone(table), place }
    }
}

impl Taken for TakenByte {
    fn when_held(self: Box<Self>, then: Then) {
        if self.table.file.is_inherited() {
            // None of the threads that wait are in a forked child.
            return then(Err(Error::io("lock", &self.table.file.path)(ErrorKind::Unsupported.into())));
        }
        self.table.enqueue(self.place, then);
    }
}
