//! `Table`: the claims that this process holds or waits for, in one directory.
//!
//! All locks of a process belong to one open file description and do not exclude each other; the table does. A thread
//! holds the mutex of the call's entry whenever it locks or unlocks a byte. Threads that block until a byte is free are
//! the exception: their locks count only once they have tried again under the mutex.

use std::{
    collections::{HashMap, VecDeque, hash_map},
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use fleche_core::{
    CallKey,
    claim::{Claim, Owner},
};

use super::{
    attempt::Attempt,
    held::{ByteClaim, ContendedByte},
    lock_file::LockFile,
    lock_levels::{Level, Place, Suspect, Taking},
};
use crate::claims::{OnAcquired, claim_info::ClaimInfo, lock_waits as threads};

pub(super) struct Table {
    pub(super) file: LockFile,
    shards: [Mutex<Entries>; 16],
    /// The number of entries that wait for other processes.
    pub(super) waits: AtomicUsize,
    attempts: AtomicU64,
}

pub(super) type Entries = HashMap<i64, Entry>;

/// A call whose claim is held or waited for.
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) state: State,
    /// The waiters in this process, in order.
    pub(super) queue: VecDeque<OnAcquired>,
}

pub(super) enum State {
    /// This process holds the claim, at this level.
    Held(Level),
    /// Other processes hold the claim.
    Waiting(Waiting),
}

pub(super) struct Waiting {
    /// The number of the attempt that serves the queue. Earlier attempts may still be blocked.
    pub(super) attempt: u64,
    /// The level that the attempt waits for.
    pub(super) level: Level,
    pub(super) suspect: Option<Suspect>,
}

impl Table {
    pub(super) fn new(file: LockFile) -> Self {
        Self { file, shards: Default::default(), waits: AtomicUsize::default(), attempts: AtomicU64::default() }
    }

    /// Requests the claim. In a forked child process, claims apply within the process only.
    pub(super) fn claim(self: &Arc<Self>, key: &CallKey) -> io::Result<Claim> {
        if self.file.is_inherited() {
            return Ok(Claim::WithinProcess);
        }
        let place = Place::of(key);
        let mut entries = self.entries(place);
        if !entries.contains_key(&place.base)
            && let Taking::Held(level) = self.file.take(place, 0)?
        {
            entries.insert(place.base, Entry { place, state: State::Held(level), queue: VecDeque::new() });
            return Ok(Claim::Held(Arc::new(ByteClaim::new(self, place, level))));
        }
        Ok(Claim::Taken(Box::new(ContendedByte::new(self, place))))
    }

    /// Returns the claim holder, if it is known.
    pub(super) fn owner(&self, key: &CallKey) -> io::Result<Option<Owner>> {
        let place = Place::of(key);
        let ours = match (!self.file.is_inherited()).then(|| self.entries(place)) {
            Some(entries) => match entries.get(&place.base).map(|entry| &entry.state) {
                Some(State::Held(level)) => Some(*level),
                _ => None,
            },
            None => None,
        };
        let level = if ours.is_some() { ours } else { self.file.highest(place)? };
        let told = level.and_then(|level| self.file.told(place, level));
        // Information that an earlier holder published is not returned while the present holder has not published its
        // own.
        let by_owner = |told: &ClaimInfo| ours.is_some() == (told.process == self.file.process);
        Ok(told.filter(by_owner).map(ClaimInfo::into_owner))
    }

    /// Adds a waiter for the claim.
    pub(super) fn enqueue(self: &Arc<Self>, place: Place, then: OnAcquired) {
        let mut entries = self.entries(place);
        let first = match entries.entry(place.base) {
            hash_map::Entry::Occupied(entry) => {
                entry.into_mut().queue.push_back(then);
                None
            }
            hash_map::Entry::Vacant(entry) => {
                let attempt = self.next_attempt();
                let state = State::Waiting(Waiting { attempt, level: 0, suspect: None });
                entry.insert(Entry { place, state, queue: [then].into() });
                self.waits.fetch_add(1, Ordering::Relaxed);
                Some(attempt)
            }
        };
        drop(entries);
        if let Some(attempt) = first {
            Attempt::new(self, place, attempt, 0).start();
            threads::watch(self);
        }
    }

    /// Passes the claim to the next waiter in this process, or unlocks it for other processes.
    pub(super) fn release(self: &Arc<Self>, place: Place, level: Level) {
        let mut entries = self.entries(place);
        let Some(entry) = entries.get_mut(&place.base) else { return };
        let Some(then) = entry.queue.pop_front() else {
            entries.remove(&place.base);
            self.file.unlock(place.byte(level));
            return;
        };
        let held = ByteClaim::new(self, place, level);
        drop(entries);
        // The callback must not delay the thread that releases the claim.
        threads::run(Box::new(move || then(Ok(Arc::new(held)))));
    }

    pub(super) fn next_attempt(&self) -> u64 {
        self.attempts.fetch_add(1, Ordering::Relaxed)
    }

    /// Locks the shard that has this call's entry.
    pub(super) fn entries(&self, place: Place) -> MutexGuard<'_, Entries> {
        let shard = usize::try_from(place.base >> 3).unwrap_or_default() % self.shards.len();
        lock(&self.shards[shard])
    }

    /// Locks all shards, one after another.
    pub(super) fn all_entries(&self) -> impl Iterator<Item = MutexGuard<'_, Entries>> {
        self.shards.iter().map(lock)
    }
}

impl Entry {
    /// Returns the state of the wait, if this attempt is the one that serves it.
    pub(super) fn waits_by(&mut self, number: u64) -> Option<&mut Waiting> {
        match &mut self.state {
            State::Waiting(waiting) if waiting.attempt == number => Some(waiting),
            _ => None,
        }
    }
}

fn lock(shard: &Mutex<Entries>) -> MutexGuard<'_, Entries> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
