//! Claims: the right to compute a missing call, among all threads and processes that share a store.

mod deadlock;
pub(crate) mod in_flight;
pub(crate) mod leader;
mod poll_tracking;
pub(crate) mod remote_cycles;
mod renewal;

mod lease;
mod sync;

pub(crate) use deadlock::{DeadlockCheck, find_deadlock};
pub(crate) use in_flight::{CallEnd, CallId, InFlightCall, InFlightCalls, SharedResult, with_enclosing};
pub(crate) use leader::{Epoch, Leader, Role, join_call};
pub(crate) use poll_tracking::{Unpolled, tracking_waker};
pub(crate) use remote_cycles::{CycleCheck, PublishedWait, find_cycle};

pub use lease::{LeaseTable, Leases};

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

/// The answer of a store to a caller that wants to compute a missing call.
///
/// Claims save work; correctness never rests on them. Two processes of the same code that compute the same call record
/// the same result. A record of other code is kept when it is replaced: before a caller writes its record, it checks whether
/// there is one, unless the store is [exclusive](crate::CallStore::is_exclusive).
pub enum Claim {
    /// The store grants no claim: within the process, one caller of a call computes and the others wait. Other processes
    /// that use the store may compute the call at the same time.
    WithinProcess,
    /// The claim is granted, and held until it is dropped.
    Held(Arc<dyn ClaimGuard>),
    /// Another caller holds the claim.
    Taken(Box<dyn ContendedClaim>),
}

/// A claim that this process holds. It is released when it is dropped, and when the process ends for any reason.
pub trait ClaimGuard: Send + Sync {
    /// Publishes the calls of the same store that the body waits for. The list is complete and replaces the one
    /// published before; `None` means that the body also waits for calls of other stores. Other processes read it in
    /// [`ClaimHolder::waiting_on`]. The default publishes nothing.
    fn publish_waits(&self, keys: Option<&[CallKey]>) {
        let _ = keys;
    }

    /// Returns whether [`publish_waits`](Self::publish_waits) publishes anything that
    /// [`claim_holder`](crate::CallStore::claim_holder) shows to other processes. Only then does a waiting claim holder
    /// search for wait cycles that it is part of. The default returns `false`. It is right for a claim that another
    /// process holds for this one if that process checks for cycles.
    fn publishes(&self) -> bool {
        false
    }

    /// Returns whether the claim was lost although it was not released, such as a lease whose holder was suspended for
    /// longer than the lease lasts. A result computed under a lost claim is recorded only if there is no record of the same
    /// code. The default returns `false`.
    fn is_expired(&self) -> bool {
        false
    }

    /// Makes a later drop of the claim release it in the background. The caller calls this when the store has just failed
    /// and a release may block. The default does nothing, which is right for stores whose release does not block.
    fn release_in_background(&self) {}
}

/// A callback that receives the claim once it is acquired, or the error that prevents that.
pub type OnAcquired = Box<dyn FnOnce(Result<Arc<dyn ClaimGuard>>) + Send>;

/// A claim that another caller holds.
pub trait ContendedClaim: Send {
    /// Waits for the claim in the background, and then calls `then` once, on any thread, with the acquired claim or with
    /// the error that prevented it. When the holder releases the claim or is lost, exactly one waiter acquires it. If the
    /// claim is no longer wanted at that time, `then` drops it.
    fn when_acquired(self: Box<Self>, then: OnAcquired);
}

/// The holder of a claim, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimHolder {
    /// The host's name.
    pub host: String,
    /// The process's id on that host.
    pub process: u32,
    /// The time at which the holder acquired the claim, by the clock of its host.
    pub since: SystemTime,
    /// The calls of the same store that the holder waits for; `None` if they are not known.
    #[serde(rename = "awaits")]
    pub waiting_on: Option<Vec<CallKey>>,
}

impl ClaimHolder {
    /// Returns this process as a holder that acquires its claim now and waits for nothing.
    pub fn this_process() -> Self {
        let Writer { host, process, .. } = Writer::this_process();
        Self { host: host.into_owned(), process, since: SystemTime::now(), waiting_on: Some(Vec::new()) }
    }

    /// Returns how long the holder has had the claim; zero if the clocks of the hosts disagree.
    pub fn age(&self) -> Duration {
        self.since.elapsed().unwrap_or_default()
    }
}

impl fmt::Display for ClaimHolder {
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
