//! Sudden death: what a store still has after the process that used it was killed, against what it had acknowledged.
//!
//! Whoever runs this starts a process that calls [`work`], kills it, and calls [`check`] with what the process wrote.
//! What the process does follows from the seed, so an acknowledgement is no more than a number.

mod check;
mod claims;
mod expected;
mod script;
mod work;

use std::{fmt, io};

use fleche_core::store::{BackendInfo, Reach};

pub use check::check;
pub use claims::stuck_claims;
pub use work::{recover, work};

/// Where acknowledgements go: written whole, at once, by any thread. An error ends the work.
pub type Acknowledge<'a> = &'a (dyn Fn(&Frame) -> io::Result<()> + Sync);

/// An acknowledgement: one operation of one thread has returned. Short enough to be written to a pipe in one piece.
pub type Frame = [u8; FRAME];

/// The length of an acknowledgement in bytes.
pub const FRAME: usize = 8;

/// Whether a process that is killed may take with it what it acknowledged and did not sync. What many processes share it
/// may not: others may have seen it. Stores that one process has to itself may keep it in its memory for a while.
pub fn may_lose_unsynced(backend: &BackendInfo) -> bool {
    backend.reach != Reach::Shared
}

/// What was found after one death, or after many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Operations that were acknowledged.
    pub operations: u64,
    /// Those of them that are a `sync` of what was put before.
    pub durable: u64,
    /// Entries that are missing, or older, although that was synced.
    pub lost_durable: u64,
    /// Entries that are missing, or older, although their `put` was acknowledged.
    pub lost_plain: u64,
    /// Entries that are back although their removal was acknowledged.
    pub undone: u64,
    /// Entries that were reported as damaged.
    pub damaged: u64,
    /// Claims that were not to be had at once: leases that have to end.
    pub taken: u64,
    /// What must not be: wrong content, errors, panics, entries that nobody put.
    pub wrong: Vec<String>,
}

impl Findings {
    /// Counts these, too.
    pub fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.durable += other.durable;
        self.lost_durable += other.lost_durable;
        self.lost_plain += other.lost_plain;
        self.undone += other.undone;
        self.damaged += other.damaged;
        self.taken += other.taken;
        self.wrong.extend(other.wrong);
    }

    /// What a backend must not do: lose what was synced, serve what is wrong; and, where its store is shared, lose what
    /// was acknowledged or bring back what was removed.
    pub fn violations(&self, backend: &BackendInfo) -> Vec<String> {
        let mut violations = self.wrong.clone();
        let mut count = |count: u64, what: &str| {
            if count > 0 {
                violations.push(format!("{count} {what}"));
            }
        };
        count(self.lost_durable, "entries lost that were synced");
        if !may_lose_unsynced(backend) {
            count(self.lost_plain, "entries lost that were put into a shared store");
            count(self.undone, "entries back that were removed from a shared store");
        }
        violations
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operations, durable, lost_durable, lost_plain, undone, damaged, .. } = self;
        write!(
            f,
            "{operations} operations, {durable} synced; lost {lost_durable} synced and {lost_plain} others, \
             {undone} removals undone, {damaged} damaged"
        )
    }
}
