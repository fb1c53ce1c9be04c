//! `Table`: the claims that this process has or waits for, in one directory.
//!
//! All locks of a process belong to one open file description and do not exclude each other; the table does. It has the
//! call's entry locked whenever a byte is locked or unlocked, except by the threads that block until a byte is free:
//! what they lock counts for nothing until they have tried again under the entry's lock.

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
    held::{HeldByte, TakenByte},
    levels::{Level, Place, Suspect, Taking},
    lock_file::LockFile,
};
use crate::claims::{Then, published::Published, threads};

pub(super) struct Table {
    pub(super) file: LockFile,
    shards: [Mutex<Entries>; 16],
    /// How many entries wait for other processes.
    pub(super) waits: AtomicUsize,
    attempts: AtomicU64,
}

pub(super) type Entries = HashMap<i64, Entry>;

/// A call that is held or waited for.
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) state: State,
    /// Who in this process wants it next, in order.
    pub(super) queue: VecDeque<Then>,
}

pub(super) enum State {
    /// By somebody in this process.
    Held(Level),
    /// By other processes.
    Waiting(Waiting),
}

pub(super) struct Waiting {
    /// The number of the attempt that tries for all who are in the queue. Earlier ones may still be blocked.
    pub(super) attempt: u64,
    /// What it waits for.
    pub(super) level: Level,
    pub(super) suspect: Option<Suspect>,
}

impl Table {
    pub(super) fn new(file: LockFile) -> Self {
        Self { file, shards: Default::default(), waits: AtomicUsize::default(), attempts: AtomicU64::default() }
    }

    /// Tries to have the claim. What the parent of a forked child has is left to the parent, and the child to itself.
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
            return Ok(Claim::Held(Arc::new(HeldByte::new(self, place, level))));
        }
        Ok(Claim::Taken(Box::new(TakenByte::new(self, place))))
    }

    /// Who has the claim.
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
        // What an earlier owner said, while the present one has not said anything yet, is not shown.
        let by_owner = |told: &Published| ours.is_some() == (told.process == self.file.process);
        Ok(told.filter(by_owner).map(Published::into_owner))
    }

    /// Joins those who wait for the claim.
    pub(super) fn enqueue(self: &Arc<Self>, place: Place, then: Then) {
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

    /// Gives the claim to whoever in this process waits for it, or to others.
    pub(super) fn release(self: &Arc<Self>, place: Place, level: Level) {
        let mut entries = self.entries(place);
        let Some(entry) = entries.get_mut(&place.base) else { return };
        let Some(then) = entry.queue.pop_front() else {
            entries.remove(&place.base);
            self.file.unlock(place.byte(level));
            return;
        };
        let held = HeldByte::new(self, place, level);
        drop(entries);
        // Whoever releases is not kept by what the next one does.
        threads::run(Box::new(move || then(Ok(Arc::new(held)))));
    }

    pub(super) fn next_attempt(&self) -> u64 {
        self.attempts.fetch_add(1, Ordering::Relaxed)
    }

    /// The entries among which this call's is.
    pub(super) fn entries(&self, place: Place) -> MutexGuard<'_, Entries> {
        let shard = usize::try_from(place.base >> 3).unwrap_or_default() % self.shards.len();
        lock(&self.shards[shard])
    }

    /// All entries, part by part.
    pub(super) fn all_entries(&self) -> impl Iterator<Item = MutexGuard<'_, Entries>> {
        self.shards.iter().map(lock)
    }
}

impl Entry {
    /// The level to wait for and the suspect there, as long as it waits by this attempt.
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
