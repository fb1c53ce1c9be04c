//! `Health`: the known faults of an open file, and when a repair may be tried.

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
pub(crate) enum Ill {
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
pub(crate) struct Health {
    ill: AtomicU8,
    /// The earliest time of the next repair, if the last one failed.
    not_before: Mutex<Option<Instant>>,
}

impl Health {
    /// Notes a fault, unless a worse one is known.
    pub(crate) fn note(&self, ill: Ill) {
        self.ill.fetch_max(ill as u8, Ordering::Relaxed);
    }

    /// Returns the fault that may be repaired now.
    pub(crate) fn to_mend(&self) -> Ill {
        let ill = match self.ill.load(Ordering::Relaxed) {
            0 => return Ill::Not,
            1 => Ill::Shut,
            2 => Ill::Suspect,
            _ => Ill::Damaged,
        };
        let not_before = *self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        if not_before.is_some_and(|moment| Instant::now() < moment) { Ill::Not } else { ill }
    }

    /// Returns whether pages may be damaged and a repair may be tried now.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.to_mend() >= Ill::Suspect
    }

    pub(crate) fn mended(&self) {
        self.ill.store(Ill::Not as u8, Ordering::Relaxed);
        *self.not_before.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Notes a failed repair, which is not retried before this pause has passed.
    pub(crate) fn not_mended(&self, pause: Duration) {
        *self.not_before.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + pause);
    }
}
