//! Claims: who computes a missing call, among all who share a store.

mod chain;
mod flight;
mod graph;
mod lease;
mod polled;
mod quiet;
mod stall;
mod sync;
mod table;

#[doc(hidden)]
pub use chain::{Published, owner_here};
pub(crate) use chain::{Sight, look};
#[doc(hidden)]
pub use flight::{Boarded, Cargo, End, Flight, Flights, Leader, Moment, Route, Waiting, board};
pub(crate) use graph::with_parents;
pub(crate) use polled::{Unpolled, noting};
pub(crate) use quiet::this_thread;
#[doc(hidden)]
pub use quiet::{Counted, ListensHere, Owed, WaitsHere};
pub(crate) use stall::{Stall, look_for_stall};

pub use lease::{Clock, LeaseTable, Leases};

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::{
    call::{CallKey, Writer},
    error::Result,
};

/// What a store says to who wants to compute a missing call.
///
/// Claims save work; no correctness rests on them. Two who compute one call at once record the same result.
pub enum Claim {
    /// The store leaves it to its process, where one caller of a call computes and the others wait. For stores that one
    /// process uses.
    WithinProcess,
    /// Granted, until it is dropped.
    Held(Arc<dyn Held>),
    /// Somebody else has it.
    Taken(Box<dyn Taken>),
}

/// A claim that is held. Dropping it releases it, and so does the end of the process, however it ends.
pub trait Held: Send + Sync {
    /// Publishes which calls of the same store the body waits for, all of them, in place of what was published before;
    /// `None` where it waits for others too. Others read it in [`Owner::awaits`]. The default publishes nothing.
    fn awaits(&self, keys: Option<&[CallKey]>) {
        let _ = keys;
    }

    /// Whether [`awaits`](Self::awaits) publishes anything that [`owner`](crate::CallStore::owner) shows to others. Where it
    /// does, and only there, somebody who holds claims and waits looks whether he is waited for in turn. The default says
    /// no: somebody else sees to that.
    fn publishes(&self) -> bool {
        false
    }

    /// Whether the claim was lost in spite of being held, as a lease is whose owner was stopped for long. What is computed
    /// under it is recorded where no record is, and never replaces one. The default says no.
    fn is_late(&self) -> bool {
        false
    }

    /// Has the claim released in the background when it is dropped, since the store has just failed and may keep the caller
    /// waiting. The default does nothing, which is right where a release does not wait.
    fn release_in_background(&self) {}
}

/// What is called with a claim that has come, or with the error in its place.
pub type Then = Box<dyn FnOnce(Result<Arc<dyn Held>>) + Send>;

/// A claim that somebody else has.
pub trait Taken: Send {
    /// Has `then` called once, on any thread, with the claim as soon as it is this one's, or with the error that keeps it
    /// from becoming so. Exactly one of those who wait gets it when its owner lets go, or is lost. If nobody wants it any
    /// more by then, `then` drops it.
    fn when_held(self: Box<Self>, then: Then);
}

/// Who has a claim, as far as can be known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The host's name.
    pub host: String,
    /// The process's id there.
    pub process: u32,
    /// Since when, by the clock of that host.
    pub since: SystemTime,
    /// The calls of the same store that it waits for; `None` where that is not known.
    pub awaits: Option<Vec<CallKey>>,
}

impl Owner {
    /// This process, from now on, waiting for nothing.
    pub fn this_process() -> Self {
        let Writer { host, process, .. } = Writer::this_process();
        Self { host: host.into_owned(), process, since: SystemTime::now(), awaits: Some(Vec::new()) }
    }

    /// How long it has had the claim; nothing where clocks disagree.
    pub fn age(&self) -> Duration {
        self.since.elapsed().unwrap_or_default()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}, for {:.1?}", self.process, self.host, self.age())
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WithinProcess => "WithinProcess",
            Self::Held(_) => "Held",
            Self::Taken(_) => "Taken",
        })
    }
}
