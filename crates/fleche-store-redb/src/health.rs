//! `Health`: what is known to be wrong with an open file, and when something may be done about it.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

/// What is wrong, the worse the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Ill {
    /// Nothing.
    Not,
    /// After an error of the system's redb reads nothing more before the file is opened anew.
    Shut,
    /// Something could not be read. Whether pages are damaged is to be looked at.
    Suspect,
    /// Pages are damaged.
    Damaged,
}

/// The health of an open file.
#[derive(Default)]
pub(crate) struct Health {
    ill: AtomicU8,
    /// What has failed is not tried again before.
    not_before: Mutex<Option<Instant>>,
}

impl Health {
    /// Takes note of what is wrong, unless something worse is known.
    pub(crate) fn note(&self, ill: Ill) {
        self.ill.fetch_max(ill as u8, Ordering::Relaxed);
    }

    /// What is to be mended now.
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

    /// Whether pages may be damaged, and something may be done about it now.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.to_mend() >= Ill::Suspect
    }

    pub(crate) fn mended(&self) {
        self.ill.store(Ill::Not as u8, Ordering::Relaxed);
        *self.not_before.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// It could not be mended: nobody tries again for so long.
    pub(crate) fn not_mended(&self, pause: Duration) {
        *self.not_before.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + pause);
    }
}
