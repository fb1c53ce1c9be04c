//! `ClaimTable`: the claims that this process holds or waits for, in one directory.
//!
//! All locks of a process belong to one open file description and do not exclude each other; the table does. A thread
//! holds the mutex of the call's entry whenever it locks or unlocks a byte. Threads that block until a byte is free are
//! the exception: their locks count only once they have tried again under the mutex.

use std::{
    collections::{HashMap, VecDeque, hash_map},
    io::{self, ErrorKind},
    mem,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use fleche_core::{
    CallKey, Error,
    claim::{Claim, ClaimGuard, ClaimHolder, ContendedClaim},
    spi::LockResultExt,
};

use super::{
    lock_file::LockFile,
    lock_levels::{ClaimPosition, Level, LockOutcome, Suspect, WaitCheck},
};
use crate::claims::{
    claim_info::ClaimInfo,
    lock_waits::{self, Finish, OnAcquired, Wait, Watched},
};

pub(super) struct ClaimTable {
    pub(super) file: LockFile,
    shards: [Mutex<Entries>; 16],
    /// The number of entries that wait for other processes.
    waiting_entries: AtomicUsize,
    attempts: AtomicU64,
}

type Entries = HashMap<i64, Entry>;

/// A call whose claim is held or waited for.
struct Entry {
    position: ClaimPosition,
    state: State,
    /// The waiters in this process, in order.
    queue: VecDeque<OnAcquired>,
}

enum State {
    /// This process holds the claim, at this level.
    Held(Level),
    /// Other processes hold the claim.
    Waiting(Waiting),
}

struct Waiting {
    /// The number of the attempt that serves the queue. Earlier attempts may still be blocked.
    attempt: u64,
    /// The level that the attempt waits for.
    level: Level,
    suspect: Option<Suspect>,
}

impl ClaimTable {
    pub(super) fn new(file: LockFile) -> Self {
        Self {
            file,
            shards: Default::default(),
            waiting_entries: AtomicUsize::default(),
            attempts: AtomicU64::default(),
        }
    }

    /// Requests the claim. In a forked child process, claims apply within the process only.
    pub(super) fn claim(self: &Arc<Self>, key: &CallKey) -> io::Result<Claim> {
        if self.file.is_inherited() {
            return Ok(Claim::WithinProcess);
        }
        let position = ClaimPosition::new(key);
        let mut entries = self.entries(position);
        if !entries.contains_key(&position.base)
            && let LockOutcome::Held(level) = self.file.try_claim(position, 0)?
        {
            entries.insert(position.base, Entry { position, state: State::Held(level), queue: VecDeque::new() });
            return Ok(Claim::Held(Arc::new(ByteClaim::new(self, position, level))));
        }
        Ok(Claim::Taken(Box::new(ContendedByte::new(self, position))))
    }

    /// Returns the claim holder, if it is known.
    pub(super) fn claim_holder(&self, key: &CallKey) -> io::Result<Option<ClaimHolder>> {
        let position = ClaimPosition::new(key);
        let own_level = match (!self.file.is_inherited()).then(|| self.entries(position)) {
            Some(entries) => match entries.get(&position.base).map(|entry| &entry.state) {
                Some(State::Held(level)) => Some(*level),
                _ => None,
            },
            None => None,
        };
        let level = if own_level.is_some() { own_level } else { self.file.highest_locked(position)? };
        let holder = level.and_then(|level| self.file.published_holder(position, level));
        // Information that an earlier holder published is not returned while the present holder has not published its
        // own.
        let is_current = |holder: &ClaimInfo| own_level.is_some() == (holder.process == self.file.process);
        Ok(holder.filter(is_current).map(ClaimInfo::into_claim_holder))
    }

    /// Adds a waiter for the claim.
    fn enqueue(self: &Arc<Self>, position: ClaimPosition, on_acquired: OnAcquired) {
        let mut entries = self.entries(position);
        let first = match entries.entry(position.base) {
            hash_map::Entry::Occupied(entry) => {
                entry.into_mut().queue.push_back(on_acquired);
                None
            }
            hash_map::Entry::Vacant(entry) => {
                let attempt = self.next_attempt();
                let state = State::Waiting(Waiting { attempt, level: 0, suspect: None });
                entry.insert(Entry { position, state, queue: [on_acquired].into() });
                self.waiting_entries.fetch_add(1, Ordering::Relaxed);
                Some(attempt)
            }
        };
        drop(entries);
        if let Some(attempt) = first {
            Attempt::new(self, position, attempt, 0).start();
            lock_waits::watch(self);
        }
    }

    /// Passes the claim to the next waiter in this process, or unlocks it for other processes.
    fn release(self: &Arc<Self>, position: ClaimPosition, level: Level) {
        let mut entries = self.entries(position);
        let Some(entry) = entries.get_mut(&position.base) else { return };
        let Some(on_acquired) = entry.queue.pop_front() else {
            entries.remove(&position.base);
            self.file.unlock(position.byte(level));
            return;
        };
        let held = ByteClaim::new(self, position, level);
        drop(entries);
        // The callback must not delay the thread that releases the claim.
        lock_waits::run(Box::new(move || on_acquired(Ok(Arc::new(held)))));
    }

    fn next_attempt(&self) -> u64 {
        self.attempts.fetch_add(1, Ordering::Relaxed)
    }

    /// Locks the shard that has this call's entry.
    fn entries(&self, position: ClaimPosition) -> MutexGuard<'_, Entries> {
        let shard = usize::try_from(position.base >> 3).unwrap_or_default() % self.shards.len();
        lock(&self.shards[shard])
    }

    /// Locks all shards, one after another.
    fn all_entries(&self) -> impl Iterator<Item = MutexGuard<'_, Entries>> {
        self.shards.iter().map(lock)
    }
}

impl Entry {
    /// Returns the state of the wait, if this attempt is the one that serves it.
    fn wait_served_by(&mut self, number: u64) -> Option<&mut Waiting> {
        match &mut self.state {
            State::Waiting(waiting) if waiting.attempt == number => Some(waiting),
            _ => None,
        }
    }
}

/// A claim that this process holds.
struct ByteClaim {
    table: Arc<ClaimTable>,
    position: ClaimPosition,
    level: Level,
    since: SystemTime,
}

impl ByteClaim {
    /// Creates the claim whose byte was just locked, or passed on by another holder in this process, and publishes its
    /// holder.
    fn new(table: &Arc<ClaimTable>, position: ClaimPosition, level: Level) -> Self {
        let held = Self { table: Arc::clone(table), position, level, since: SystemTime::now() };
        held.publish_waits(Some(&[]));
        held
    }
}

impl ClaimGuard for ByteClaim {
    fn publishes(&self) -> bool {
        true
    }

    fn publish_waits(&self, keys: Option<&[CallKey]>) {
        if !self.table.file.is_inherited() {
            self.table.file.publish_holder(self.position, self.level, self.since, keys);
        }
    }
}

impl Drop for ByteClaim {
    fn drop(&mut self) {
        // A forked child process has a copy of a claim that its parent still holds.
        if !self.table.file.is_inherited() {
            self.table.release(self.position, self.level);
        }
    }
}

/// A claim that another process holds, or another caller in this process.
struct ContendedByte {
    table: Arc<ClaimTable>,
    position: ClaimPosition,
}

impl ContendedByte {
    fn new(table: &Arc<ClaimTable>, position: ClaimPosition) -> Self {
        Self { table: Arc::clone(table), position }
    }
}

impl ContendedClaim for ContendedByte {
    fn when_acquired(self: Box<Self>, on_acquired: OnAcquired) {
        if self.table.file.is_inherited() {
            // A forked child process has none of the threads that wait.
            return on_acquired(Err(Error::io("lock", &self.table.file.path)(ErrorKind::Unsupported.into())));
        }
        self.table.enqueue(self.position, on_acquired);
    }
}

/// Acquires a claim from other processes, for all waiters in this process.
struct Attempt {
    table: Arc<ClaimTable>,
    position: ClaimPosition,
    number: u64,
    level: Level,
    /// The result of the last blocking lock.
    blocked: io::Result<()>,
}

impl Attempt {
    fn new(table: &Arc<ClaimTable>, position: ClaimPosition, number: u64, level: Level) -> Self {
        Self { table: Arc::clone(table), position, number, level, blocked: Ok(()) }
    }

    /// Runs the attempt on a thread of its own, or on the polling thread.
    fn start(self) {
        lock_waits::wait(Box::new(self));
    }
}

impl Wait for Attempt {
    fn block(&mut self) {
        self.blocked = self.table.file.lock(self.position.byte(self.level));
    }

    fn try_now(&mut self) -> Option<Finish> {
        let Self { table, position, number, level, blocked } = self;
        let mut entries = table.entries(*position);
        let Some(entry) = entries.get_mut(&position.base) else {
            table.file.unlock(position.byte(*level));
            return Some(Box::new(|| ()));
        };
        let Some(waiting) = entry.wait_served_by(*number) else {
            // Another attempt serves the queue, or has served it. The byte that this attempt may have locked is
            // unlocked, unless it is the one by which this process holds the claim.
            if !matches!(entry.state, State::Held(held) if held == *level) {
                table.file.unlock(position.byte(*level));
            }
            return Some(Box::new(|| ()));
        };
        match mem::replace(blocked, Ok(())).and_then(|()| table.file.try_claim(*position, *level)) {
            Ok(LockOutcome::Busy(other)) => {
                if waiting.level != other {
                    *waiting = Waiting { attempt: *number, level: other, suspect: None };
                }
                *level = other;
                None
            }
            Ok(LockOutcome::Held(held)) => {
                entry.state = State::Held(held);
                let on_acquired = entry.queue.pop_front();
                table.waiting_entries.fetch_sub(1, Ordering::Relaxed);
                let held: Arc<dyn ClaimGuard> = Arc::new(ByteClaim::new(table, *position, held));
                drop(entries);
                // The callback takes the claim: it ends when its new holder drops it, not when this thread ends.
                Some(Box::new(move || {
                    if let Some(on_acquired) = on_acquired {
                        on_acquired(Ok(held));
                    }
                }))
            }
            Err(error) => {
                drop(entries);
                Some(self.fail(error))
            }
        }
    }

    fn fail(&mut self, error: io::Error) -> Finish {
        let Self { table, position, number, .. } = self;
        let mut entries = table.entries(*position);
        let mut queue = VecDeque::new();
        if let Some(entry) = entries.get_mut(&position.base)
            && entry.wait_served_by(*number).is_some()
        {
            queue = mem::take(&mut entry.queue);
            entries.remove(&position.base);
            table.waiting_entries.fetch_sub(1, Ordering::Relaxed);
        }
        let path = table.file.path.clone();
        Box::new(move || {
            for on_acquired in queue {
                on_acquired(Err(Error::io("lock", &path)(io::Error::new(error.kind(), error.to_string()))));
            }
        })
    }
}

impl Watched for ClaimTable {
    fn check_waits(self: Arc<Self>) {
        let mut attempts = Vec::new();
        for mut entries in self.all_entries() {
            for entry in entries.values_mut() {
                let State::Waiting(waiting) = &mut entry.state else { continue };
                // If the file can no longer be queried, the attempt itself reports the error.
                match self
                    .file
                    .check_wait(entry.position, waiting.level, waiting.suspect.as_ref())
                    .unwrap_or(WaitCheck::Continue)
                {
                    WaitCheck::Continue => waiting.suspect = None,
                    WaitCheck::Suspect(suspect) => waiting.suspect = Some(suspect),
                    WaitCheck::MoveTo(level) => {
                        let attempt = self.next_attempt();
                        *waiting = Waiting { attempt, level, suspect: None };
                        attempts.push(Attempt::new(&self, entry.position, attempt, level));
                    }
                }
            }
        }
        attempts.into_iter().for_each(Attempt::start);
    }

    fn has_waits(&self) -> bool {
        self.waiting_entries.load(Ordering::Relaxed) > 0
    }
}

fn lock(shard: &Mutex<Entries>) -> MutexGuard<'_, Entries> {
    shard.lock().ignore_poison()
}
