//! `Integrity`: the known faults of an open file, and when a repair may be tried.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

/// The fault of a file, from the mildest to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Corruption {
    /// No fault.
    Not,
    /// After an error of the operating system, redb reads nothing more until the file is reopened.
    Shut,
    /// Some data could not be read. It remains to be checked whether pages are damaged.
    Suspect,
    /// Pages are damaged.
    Damaged,
}

/// The health of an open file.
#[derive(Default)]
pub(crate) struct Integrity {
    fault: AtomicU8,
    /// The earliest time of the next repair, if the last one failed.
    not_before: Mutex<Option<Instant>>,
}

impl Integrity {
    /// Notes a fault, unless a worse one is known.
    pub(crate) fn note(&self, fault: Corruption) {
        self.fault.fetch_max(fault as u8, Ordering::Relaxed);
    }

    /// Returns the fault that may be repaired now.
    pub(crate) fn to_repair(&self) -> Corruption {
        let fault = match self.fault.load(Ordering::Relaxed) {
            0 => return Corruption::Not,
            1 => Corruption::Shut,
            2 => Corruption::Suspect,
            _ => Corruption::Damaged,
        };
        let not_before = *self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        if not_before.is_some_and(|moment| Instant::now() < moment) { Corruption::Not } else { fault }
    }

    /// Returns whether pages may be damaged and a repair may be tried now.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.to_repair() >= Corruption::Suspect
    }

    pub(crate) fn repaired(&self) {
        self.fault.store(Corruption::Not as u8, Ordering::Relaxed);
        *self.not_before.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Notes a failed repair, which is not retried before this pause has passed.
    pub(crate) fn not_repaired(&self, pause: Duration) {
        *self.not_before.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + pause);
    }
}
