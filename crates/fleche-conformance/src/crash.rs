//! Crash tests: compares the entries of a store after its process was killed with those that the store had acknowledged.
//!
//! The caller starts a process that calls [`work`], kills it, and calls [`check`] with the acknowledgements that the process
//! wrote. The seed determines the operations of the process, so an acknowledgement contains only their numbers.

mod check;
mod expected;
mod script;
mod work;

use std::{fmt, io};

use fleche_core::store::{BackendInfo, Reach};

pub use check::{check, stuck_claims};
pub use work::{recover, work};

/// A function that writes an acknowledgement. Several threads call it. It must write the frame in one piece, and an error
/// from it ends the work.
pub type Acknowledge<'a> = &'a (dyn Fn(&Frame) -> io::Result<()> + Sync);

/// An acknowledgement that one operation of one thread has returned. It is short enough for an atomic write to a pipe.
pub type Frame = [u8; FRAME];

/// The length of an acknowledgement in bytes.
pub const FRAME: usize = 8;

/// Returns whether a killed process may lose entries that it acknowledged but did not sync.
///
/// A store that several processes share must not lose them, since other processes may have seen them. A store for one process
/// may keep them in memory for a while.
pub fn may_lose_unsynced(backend: &BackendInfo) -> bool {
    backend.reach != Reach::Shared
}

/// The findings after one or more killed processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The number of acknowledged operations.
    pub operations: u64,
    /// The number of acknowledged operations that are a `sync` of an entry.
    pub durable: u64,
    /// The number of entries that are missing or older than their last synced state.
    pub lost_durable: u64,
    /// The number of entries that are missing or older than their last acknowledged `put`.
    pub lost_plain: u64,
    /// The number of entries that are present although their removal was acknowledged.
    pub undone: u64,
    /// The number of entries that were reported as damaged.
    pub damaged: u64,
    /// The number of claims that could not be taken at once, because a lease has yet to expire.
    pub taken: u64,
    /// Descriptions of wrong content, errors, panics, and entries that were never put.
    pub wrong: Vec<String>,
}

impl Findings {
    /// Adds other findings to these.
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

    /// Returns the findings that violate the promises of this backend.
    ///
    /// No backend may lose synced entries or serve wrong content. A shared store must also not lose acknowledged entries or
    /// undo acknowledged removals.
    pub fn violations(&self, backend: &BackendInfo) -> Vec<String> {
        let mut violations = self.wrong.clone();
        let mut count = |count: u64, what: &str| {
            if count > 0 {
                violations.push(format!("{count} {what}"));
            }
        };
        count(self.lost_durable, "synced entries are lost");
        if !may_lose_unsynced(backend) {
            count(self.lost_plain, "acknowledged entries of a shared store are lost");
            count(self.undone, "acknowledged removals from a shared store are undone");
        }
        violations
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operations, durable, lost_durable, lost_plain, undone, damaged, .. } = self;
        write!(
            f,
            "{operations} operations, {durable} synced; lost {lost_durable} synced and {lost_plain} unsynced entries, \
             {undone} removals undone, {damaged} damaged"
        )
    }
}
