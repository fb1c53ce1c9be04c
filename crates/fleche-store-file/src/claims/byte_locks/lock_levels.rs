//! The mapping of calls to bytes of the lock file, and the way around claims of dead processes whose locks persist.
//!
//! Open file description locks end with the last process that has the description. That is the claim holder, unless it
//! has forked children that have not executed another program: if the holder is killed, its locks last until these
//! children end too. So each call has eight bytes, its *levels*. A process that has locked one of them, and finds no
//! higher one locked, holds the claim. Normally that is level 0. The holder that is published for a locked level may be
//! dead; a process that finds this waits for the next level instead. A process that locks a level and finds a higher
//! one locked releases its level and waits for the higher one. So all processes meet at the highest level in use. Once
//! that is free, level 0 is used again, or the lowest level that dead holders leave free.
//!
//! A waiting process is woken when the lock that it waits for is released. It also checks from time to time whether it
//! waits at the right level ([`LockFile::check_wait`]), so it never waits forever for a dead process. In two cases, two
//! processes may hold a claim at once, which costs one computation. In the first case, a forked child ends and releases
//! level 0 while one process locks that level and another moves on to the next level: neither sees what the other is
//! about to do. In the second case, a holder is suspended between locking and publishing for longer than two checks
//! take ([`Suspect`]).

use std::{io, time::SystemTime};

use fleche_core::CallKey;

use super::lock_file::LockFile;
use crate::claims::claim_info::ClaimInfo;

/// The index of one of a call's bytes.
pub(super) type Level = u8;

/// The highest level.
const HIGHEST: Level = 7;

/// The position of a call's claim in the lock file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClaimPosition {
    pub(super) key: CallKey,
    /// The byte of level 0, which no other call uses.
    pub(super) base: i64,
}

/// The result of requesting a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockOutcome {
    /// This process holds the claim, by the byte of this level.
    Held(Level),
    /// Nothing was locked; the caller has to wait at this level.
    Busy(Level),
}

/// A claim holder that seemed dead. It is bypassed only when it seems so twice in a row: after it has died, its
/// successor holds the lock for a moment before it publishes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suspect(ClaimInfo);

/// The result of checking a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WaitCheck {
    /// The wait continues.
    Continue,
    /// The wait continues, and is checked again with this suspect.
    Suspect(Suspect),
    /// The wait moves to this level.
    MoveTo(Level),
}

impl ClaimPosition {
    pub(super) fn new(key: &CallKey) -> Self {
        let first = key.digest().as_bytes().first_chunk().copied().unwrap_or_default();
        // The lowest three bits are for the level, and the shift keeps all bytes away from the end of the lockable
        // range.
        Self { key: *key, base: (u64::from_be_bytes(first) >> 5 << 3).cast_signed() }
    }

    pub(super) fn byte(self, level: Level) -> i64 {
        self.base + i64::from(level)
    }

    // Each level has a slot of its own, so that the death of a lower level's holder stays visible.
    fn slot(self, level: Level) -> u64 {
        (self.base >> 3).cast_unsigned() + u64::from(level)
    }
}

impl LockFile {
    /// Requests the claim at this level, when no lower level is available.
    pub(super) fn try_claim(&self, position: ClaimPosition, level: Level) -> io::Result<LockOutcome> {
        if !self.try_lock(position.byte(level))? {
            return Ok(LockOutcome::Busy(self.highest_above(position, level)?.unwrap_or(level)));
        }
        let outcome = match (self.highest_above(position, level), level) {
            (Ok(None), 0) => Ok(LockOutcome::Held(level)),
            (Ok(None), _) => self
                .living_below(position, level)
                .map(|below| below.map_or(LockOutcome::Held(level), LockOutcome::Busy)),
            (Ok(Some(above)), _) => Ok(LockOutcome::Busy(above)),
            (Err(error), _) => Err(error),
        };
        if !matches!(outcome, Ok(LockOutcome::Held(_))) {
            self.unlock(position.byte(level));
        }
        outcome
    }

    /// Publishes this process as the claim holder.
    pub(super) fn publish_holder(
        &self,
        position: ClaimPosition,
        level: Level,
        since: SystemTime,
        awaits: Option<&[CallKey]>,
    ) {
        self.publish(position.slot(level), &ClaimInfo::new(&position.key, level, &self.process, since, awaits));
    }

    /// Returns the published holder of the claim at this level, if there is one.
    pub(super) fn published_holder(&self, position: ClaimPosition, level: Level) -> Option<ClaimInfo> {
        // An earlier holder may have written to the other offset of the slot.
        self.published(position.slot(level))
            .filter(|holder| holder.is_of(&position.key, level))
            .max_by_key(|holder| holder.since)
    }

    /// Returns the highest level that another process has locked, if there is one.
    pub(super) fn highest_locked(&self, position: ClaimPosition) -> io::Result<Option<Level>> {
        self.highest_within(position, 0, HIGHEST)
    }

    /// Checks a wait for this level, whose result at the last check was `suspect`.
    pub(super) fn check_wait(
        &self,
        position: ClaimPosition,
        level: Level,
        suspect: Option<&Suspect>,
    ) -> io::Result<WaitCheck> {
        if let Some(above) = self.highest_above(position, level)? {
            return Ok(WaitCheck::MoveTo(above));
        }
        let Some(dead) = self.published_holder(position, level).filter(|owner| owner.process.lives() == Some(false))
        else {
            return Ok(WaitCheck::Continue);
        };
        if level == HIGHEST || self.highest_within(position, level, level)?.is_none() {
            return Ok(WaitCheck::Continue);
        }
        let suspected = Suspect(dead);
        Ok(if suspect == Some(&suspected) { WaitCheck::MoveTo(level + 1) } else { WaitCheck::Suspect(suspected) })
    }

    fn highest_above(&self, position: ClaimPosition, level: Level) -> io::Result<Option<Level>> {
        self.highest_within(position, level + 1, HIGHEST)
    }

    /// Returns a lower level that a living process holds, if there is one. That process locked it while the given level was
    /// between two holders.
    fn living_below(&self, position: ClaimPosition, level: Level) -> io::Result<Option<Level>> {
        for below in (0..level).rev() {
            let lives =
                || self.published_holder(position, below).is_some_and(|owner| owner.process.lives() == Some(true));
            if self.highest_within(position, below, below)?.is_some() && lives() {
                return Ok(Some(below));
            }
        }
        Ok(None)
    }

    /// Returns the highest of these levels that another process has locked, if there is one.
    fn highest_within(&self, position: ClaimPosition, first: Level, last: Level) -> io::Result<Option<Level>> {
        let found = self.last_locked(position.byte(first)..=position.byte(last))?;
        Ok(found.and_then(|byte| Level::try_from(byte - position.base).ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleche_core::Digest;

    #[test]
    fn each_call_has_its_own_lockable_bytes() {
        for byte in [0x00, 0x7f, 0x80, 0xff] {
            let position = ClaimPosition::new(&Digest::from_bytes([byte; 32]).into());
            assert!(position.byte(0) >= 0 && position.byte(HIGHEST) < i64::MAX, "{position:?}");
            assert_eq!(position.base % 8, 0);
        }
        let bases = [1, 2].map(|number: u8| ClaimPosition::new(&Digest::hash(&[number]).into()).base);
        assert_ne!(bases[0], bases[1]);
    }
}
