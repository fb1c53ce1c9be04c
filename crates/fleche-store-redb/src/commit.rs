//! Transactions: operations of many callers done together, durable or not.

use std::{
    fs,
    path::Path,
    sync::{
        PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use redb::Durability;

use crate::{
    database::Inner,
    error::caught,
    operation::{Operation, Outcome},
    tables::{NEXT, Tables},
};

/// How many commits a database has done since it was opened, and of how many operations: what callers put, removed or set
/// aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitStats {
    /// Transactions that were committed.
    pub commits: u64,
    /// Operations that were done in them.
    pub operations: u64,
}

/// What is known of the commits of an open database.
#[derive(Default)]
pub(crate) struct Commits {
    done: AtomicU64,
    operations: AtomicU64,
    /// Whether something is not durable yet.
    pending: AtomicBool,
    /// How many bytes of the file commits that were not durable have taken since the last that was.
    taken: AtomicU64,
    /// How many they may take.
    allowed: AtomicU64,
    numbers: NumberSource,
}

/// What redb frees in commits that are not durable is not used again before one that is. Lest the file grows, there is one
/// when they have taken this part of it, and what is always allowed to small ones.
const PART_OF_FILE: u64 = 8;
const ALWAYS_ALLOWED: u64 = 1 << 20;
/// What a commit takes beside what is put: copies of some pages, about.
const PER_COMMIT: u64 = 1 << 14;

impl Commits {
    pub(crate) fn new(path: &Path, next: u64) -> Self {
        let numbers = NumberSource { next: next.into(), reserved: next.into() };
        let commits = Self { numbers, ..Self::default() };
        commits.allow(path);
        commits
    }

    pub(crate) fn stats(&self) -> CommitStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CommitStats { commits: load(&self.done), operations: load(&self.operations) }
    }

    /// Whether something that was put is not durable yet.
    pub(crate) fn are_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }

    /// A number that is greater than those of all records that are there.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.next.load(Ordering::Acquire)
    }

    /// To be called after a commit, before those who wait for it are told.
    pub(crate) fn note(&self, operations: usize, bytes: usize, durable: bool) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.operations.fetch_add(operations as u64, Ordering::Relaxed);
        self.pending.store(!durable, Ordering::Release);
        if durable {
            self.taken.store(0, Ordering::Relaxed);
        } else {
            self.taken.fetch_add(PER_COMMIT + bytes as u64, Ordering::Relaxed);
        }
    }

    fn are_many(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.allowed.load(Ordering::Relaxed)
    }

    /// What may be taken until the next durable commit, by the length of the file.
    fn allow(&self, path: &Path) {
        let length = fs::metadata(path).map_or(0, |metadata| metadata.len());
        self.allowed.store(ALWAYS_ALLOWED + length / PART_OF_FILE, Ordering::Relaxed);
    }
}

impl Inner {
    /// Does these operations in one transaction: all of them or, where that fails, none. To be called by one thread at a
    /// time.
    pub(crate) fn commit(&self, operations: &[&Operation<'_>], durable: bool) -> Result<Vec<Outcome>, redb::Error> {
        let durable = durable || self.commits.are_many();
        let pending = self.commits.are_pending();
        caught(|| {
            let redb = self.redb.read().unwrap_or_else(PoisonError::into_inner);
            // The pages that it sees can be used again.
            self.renew_snapshot();
            let mut transaction = redb.begin_write()?;
            if durable {
                // What follows a crash is quick, and does not find all of the file at fault for one damaged entry.
                transaction.set_quick_repair(true);
            } else {
                transaction.set_durability(Durability::None)?;
            }
            let mut numbers = self.commits.numbers.begin();
            let mut tables = Tables::new(&transaction);
            let outcomes = operations
                .iter()
                .map(|operation| operation.apply(&mut tables, &mut numbers))
                .collect::<Result<Vec<_>, _>>()?;
            drop(tables);
            let changed = outcomes.iter().any(|outcome| !matches!(outcome, Outcome::Changed(0) | Outcome::LaterFormat));
            if changed || (durable && pending) {
                transaction.commit()?;
                numbers.keep();
                self.renew_snapshot();
                let counted = operations.iter().filter(|operation| !matches!(operation, Operation::Sync)).count();
                if durable {
                    self.commits.allow(&self.path);
                }
                self.commits.note(counted, operations.iter().map(|operation| operation.len()).sum(), durable);
            } else {
                transaction.abort()?;
            }
            Ok(outcomes)
        })
    }
}

/// Where the numbers of records come from. Each is given once, also when the process is killed.
#[derive(Default)]
struct NumberSource {
    next: AtomicU64,
    /// Numbers from here on are not the database's to give before that is written down.
    reserved: AtomicU64,
}

/// So many numbers are written down as given at once.
const RESERVED_AT_ONCE: u64 = 1 << 20;

impl NumberSource {
    fn begin(&self) -> Numbers<'_> {
        Numbers { source: self, reserved: self.reserved.load(Ordering::Relaxed) }
    }
}

/// The numbers that a transaction gives.
pub(crate) struct Numbers<'a> {
    source: &'a NumberSource,
    reserved: u64,
}

impl Numbers<'_> {
    pub(crate) fn next(&mut self, tables: &Tables<'_>) -> Result<u64, redb::Error> {
        let number = self.source.next.fetch_add(1, Ordering::Release);
        if number >= self.reserved {
            self.reserved = number.saturating_add(RESERVED_AT_ONCE);
            tables.fleche()?.insert(NEXT, self.reserved)?;
        }
        Ok(number)
    }

    /// To be called when the transaction has been committed.
    fn keep(self) {
        self.source.reserved.store(self.reserved, Ordering::Relaxed);
    }
}
