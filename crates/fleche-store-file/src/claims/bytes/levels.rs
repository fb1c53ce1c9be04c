//! Which byte of the lock file stands for a call, and how a claim that nobody lives to release is passed by.
//!
//! Locks of open file descriptions end when the last process that has the description ends. That is the owner, unless it
//! has forked children that run no other program: if it is killed then, its locks stay until they end too. So each call
//! has eight bytes, its *levels*. Who has one of them, and sees none above it taken, has the claim. Normally that is
//! level 0. Those who find that the owner who published itself for a level is dead, although the level is locked, wait
//! for the next level instead; and those who get a level and find one above it taken release it and wait there. So
//! everybody meets at the highest level in use, and once that is free, level 0 serves again, or the next below it that
//! the dead hold.
//!
//! Whoever waits is woken by the release of what it waits for, and looks now and then whether it waits at the right place
//! ([`Table::look`](super::table::Table)); so nobody waits for ever for the dead. Two may have the claim at once, which
//! costs one computation, where one takes level 0 at the very moment at which a forked child ends and lets go of it,
//! and the other passes it by: neither sees what the other is about to do. The same holds where an owner is stopped
//! between locking and publishing for longer than the two looks take ([`Suspect`]).

use std::{io, time::SystemTime};

use fleche_core::CallKey;

use super::lock_file::LockFile;
use crate::claims::published::Published;

/// A place among the levels of a call.
pub(super) type Level = u8;

/// The last level.
const LAST: Level = 7;

/// Where in the lock file a call's claim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) key: CallKey,
    /// The byte of level 0; no other call has it.
    pub(super) base: i64,
}

/// The result of trying to have a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taking {
    /// It is ours, by the byte of this level.
    Held(Level),
    /// Nothing is locked; this level is the one to wait for.
    Busy(Level),
}

/// An owner that seemed dead. It is passed by when it does so twice, for between its death and what its successor
/// publishes the successor has the lock under the name of the dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suspect(Published);

/// What a look at a wait found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// To wait on.
    Fine,
    /// To look again.
    Suspect(Suspect),
    /// To wait at this level instead.
    Elsewhere(Level),
}

impl Place {
    pub(super) fn of(key: &CallKey) -> Self {
        let first = key.digest().as_bytes().first_chunk().copied().unwrap_or_default();
        // Three bits for the level; and no byte is near the end of what can be locked.
        Self { key: *key, base: (u64::from_be_bytes(first) >> 5 << 3).cast_signed() }
    }

    pub(super) fn byte(self, level: Level) -> i64 {
        self.base + i64::from(level)
    }

    // One for each level, so that it stays known that the owner of a lower one is dead.
    fn slot(self, level: Level) -> u64 {
        (self.base >> 3).cast_unsigned() + u64::from(level)
    }
}

impl LockFile {
    /// Tries to have the claim at this level, where what is below is not to be had.
    pub(super) fn take(&self, place: Place, level: Level) -> io::Result<Taking> {
        if !self.try_lock(place.byte(level))? {
            return Ok(Taking::Busy(self.above(place, level)?.unwrap_or(level)));
        }
        let taking = match (self.above(place, level), level) {
            (Ok(None), 0) => Ok(Taking::Held(level)),
            (Ok(None), _) => {
                self.living_below(place, level).map(|below| below.map_or(Taking::Held(level), Taking::Busy))
            }
            (Ok(Some(above)), _) => Ok(Taking::Busy(above)),
            (Err(error), _) => Err(error),
        };
        if !matches!(taking, Ok(Taking::Held(_))) {
            self.unlock(place.byte(level));
        }
        taking
    }

    /// Publishes that this process has the claim.
    pub(super) fn tell(&self, place: Place, level: Level, since: SystemTime, awaits: Option<&[CallKey]>) {
        self.publish(place.slot(level), &Published::new(&place.key, level, &self.process, since, awaits));
    }

    /// What is published of the claim's owner at this level.
    pub(super) fn told(&self, place: Place, level: Level) -> Option<Published> {
        // An owner of before may have written to the other place.
        self.published(place.slot(level)).filter(|told| told.is_of(&place.key, level)).max_by_key(|told| told.since)
    }

    /// The highest level that another process has.
    pub(super) fn highest(&self, place: Place) -> io::Result<Option<Level>> {
        self.between(place, 0, LAST)
    }

    /// Whether a wait for this level, which was `suspect` at the last look, is in vain.
    pub(super) fn look(&self, place: Place, level: Level, suspect: Option<&Suspect>) -> io::Result<Look> {
        if let Some(above) = self.above(place, level)? {
            return Ok(Look::Elsewhere(above));
        }
        let Some(dead) = self.told(place, level).filter(|owner| owner.process.lives() == Some(false)) else {
            return Ok(Look::Fine);
        };
        if level == LAST || self.between(place, level, level)?.is_none() {
            return Ok(Look::Fine);
        }
        let now = Suspect(dead);
        Ok(if suspect == Some(&now) { Look::Elsewhere(level + 1) } else { Look::Suspect(now) })
    }

    fn above(&self, place: Place, level: Level) -> io::Result<Option<Level>> {
        self.between(place, level + 1, LAST)
    }

    /// A level below this one that somebody else has who lives: it was taken while this one was between two owners.
    fn living_below(&self, place: Place, level: Level) -> io::Result<Option<Level>> {
        for below in (0..level).rev() {
            let lives = || self.told(place, below).is_some_and(|owner| owner.process.lives() == Some(true));
            if self.between(place, below, below)?.is_some() && lives() {
                return Ok(Some(below));
            }
        }
        Ok(None)
    }

    /// The highest of these levels that another process has.
    fn between(&self, place: Place, first: Level, last: Level) -> io::Result<Option<Level>> {
        let found = self.last_locked(place.byte(first)..=place.byte(last))?;
        Ok(found.and_then(|byte| Level::try_from(byte - place.base).ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleche_core::Digest;

    #[test]
    fn calls_have_bytes_of_their_own_that_can_be_locked() {
        for byte in [0x00, 0x7f, 0x80, 0xff] {
            let place = Place::of(&Digest::from_bytes([byte; 32]).into());
            assert!(place.byte(0) >= 0 && place.byte(LAST) < i64::MAX, "{place:?}");
            assert_eq!(place.base % 8, 0);
        }
        let bases = [1, 2].map(|number: u8| Place::of(&Digest::of(&[number]).into()).base);
        assert_ne!(bases[0], bases[1]);
    }
}
