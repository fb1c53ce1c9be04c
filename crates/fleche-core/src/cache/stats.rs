//! The counters of a cache. They are kept per thread, so that a hit writes to nothing that threads share.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crossbeam_utils::CachePadded;
use serde::{Deserialize, Serialize};
use thread_local::ThreadLocal;

use crate::runtime::{counted::counted, lock::LockResultExt};

/// The counts of a cache since it was created.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Stats {
    /// The number of calls that were answered from the hot tier or the stores.
    pub hits: u64,
    /// The number of calls that were looked up and not found.
    pub misses: u64,
    /// The number of bodies that completed on a miss or a rerun, whether or not their results were recorded.
    pub computed: u64,
    /// The number of times that a call waited for another caller that computed the same call, regardless of the outcome.
    pub waits: u64,
    /// The number of calls that took over the computation from a caller that they had waited for, because that caller failed,
    /// gave up, no longer waited for its claim, or was lost with its process.
    pub takeovers: u64,
    /// The number of calls that did not wait, or stopped waiting, because their wait was part of a cycle or a deadlock.
    pub cycles_broken: u64,
    /// The total time that calls have waited.
    pub waited: Duration,
    /// The number of times that an eviction or a rerun has emptied the [hot tier](crate::cache::HotTier).
    pub invalidations: u64,
    /// The number of calls whose record was computed by other code or for another result type, whether the record was served
    /// or the call ran again.
    pub stale: u64,
    /// The number of store operations that failed. Failures are logged, at most once a minute for each cause, and fail
    /// no call.
    pub faults: u64,
    /// The number of times that a store failed repeatedly or did not answer in time, and was [left
    /// alone](crate::Cache#when-a-store-fails) for a while. Each time is logged once.
    pub outages: u64,
    /// The number of calls that ran without being recorded, by reason.
    pub skipped: BTreeMap<SkipReason, u64>,
}

impl Stats {
    /// Returns the counts since `before`, which are earlier counts of the same cache.
    pub fn since(&self, before: &Self) -> Self {
        let skipped = self.skipped.iter().map(|(reason, count)| {
            (*reason, count.saturating_sub(before.skipped.get(reason).copied().unwrap_or_default()))
        });
        Self {
            hits: self.hits.saturating_sub(before.hits),
            misses: self.misses.saturating_sub(before.misses),
            computed: self.computed.saturating_sub(before.computed),
            waits: self.waits.saturating_sub(before.waits),
            takeovers: self.takeovers.saturating_sub(before.takeovers),
            cycles_broken: self.cycles_broken.saturating_sub(before.cycles_broken),
            waited: self.waited.saturating_sub(before.waited),
            invalidations: self.invalidations.saturating_sub(before.invalidations),
            stale: self.stale.saturating_sub(before.stale),
            faults: self.faults.saturating_sub(before.faults),
            outages: self.outages.saturating_sub(before.outages),
            skipped: skipped.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

/// Writes the counts on one line: `8 hits, 2 misses, 2 computed`. Counts of 0 are left out, except for hits and misses, and the
/// wait time is left out.
impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", counted(self.hits, "hit", "hits"), counted(self.misses, "miss", "misses"))?;
        let Self { computed, waits, takeovers, cycles_broken, invalidations, stale, faults, outages, .. } = self;
        let others = [
            (computed, "computed", "computed"),
            (waits, "wait", "waits"),
            (takeovers, "takeover", "takeovers"),
            (cycles_broken, "cycle broken", "cycles broken"),
            (invalidations, "invalidation", "invalidations"),
            (stale, "stale", "stale"),
            (faults, "fault", "faults"),
            (outages, "outage", "outages"),
        ];
        for (count, one, many) in others.into_iter().filter(|(count, ..)| **count > 0) {
            write!(f, ", {}", counted(*count, one, many))?;
        }
        for (reason, count) in &self.skipped {
            write!(f, ", {count} not recorded: {reason}")?;
        }
        Ok(())
    }
}

/// The reason why a call ran without being recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SkipReason {
    /// The function returned an `Err`, which is only recorded with `cache_errors`.
    Failed,
    /// An argument cannot be encoded.
    ArgumentNotEncodable,
    /// An argument has no stable encoding, so a call with equal arguments could have another key.
    ArgumentNotStable,
    /// The result cannot be encoded, or does not decode into an equal value.
    ResultNotStorable,
    /// Two functions have the same name.
    NameClaimedTwice,
    /// A store failed to record the call.
    StoreFailed,
    /// A store was [left alone](crate::Cache#when-a-store-fails), because it has failed repeatedly.
    StoreLeftAlone,
    /// A store records nothing, for example because it is read-only.
    StoreRefused,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "the function returned an error",
            Self::ArgumentNotEncodable => "an argument cannot be encoded",
            Self::ArgumentNotStable => "an argument has no stable encoding",
            Self::ResultNotStorable => "the result cannot be stored",
            Self::NameClaimedTwice => "two functions have the same name",
            Self::StoreFailed => "the store failed",
            Self::StoreLeftAlone => "the store has failed repeatedly and is left alone for a while",
            Self::StoreRefused => "the store is read-only",
        })
    }
}

/// The counters behind [`Stats`].
#[derive(Default)]
pub(crate) struct Counters {
    threads: ThreadLocal<Arc<PerThread>>,
    rare: Mutex<Rare>,
}

/// The counters of one thread, on a cache line of their own.
#[derive(Default)]
pub(crate) struct PerThread(CachePadded<Counts>);

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    computed: AtomicU64,
}

/// The counters of rare events, which all threads share.
#[derive(Default)]
struct Rare {
    /// The number of hits that were counted and not served.
    retracted_hits: u64,
    waits: u64,
    takeovers: u64,
    cycles_broken: u64,
    waited: Duration,
    invalidations: u64,
    stale: u64,
    faults: u64,
    outages: u64,
    skipped: BTreeMap<SkipReason, u64>,
}

impl PerThread {
    #[inline]
    pub(crate) fn hit(&self) {
        increment(&self.0.hits);
    }
}

impl Counters {
    /// Returns this thread's counters.
    pub(crate) fn of_this_thread(&self) -> Arc<PerThread> {
        self.threads.get_or_default().clone()
    }

    fn counts(&self) -> &Counts {
        &self.threads.get_or_default().0
    }

    pub(crate) fn hit(&self) {
        increment(&self.counts().hits);
    }

    /// Subtracts a hit that was counted but not served. The hit may have been counted on another thread.
    pub(crate) fn take_back_hit(&self) {
        self.rare().retracted_hits += 1;
    }

    pub(crate) fn miss(&self) {
        increment(&self.counts().misses);
    }

    pub(crate) fn computed(&self) {
        increment(&self.counts().computed);
    }

    pub(crate) fn stale(&self) {
        self.rare().stale += 1;
    }

    pub(crate) fn fault(&self) {
        self.rare().faults += 1;
    }

    pub(crate) fn outage(&self) {
        self.rare().outages += 1;
    }

    pub(crate) fn skipped(&self, reason: SkipReason) {
        *self.rare().skipped.entry(reason).or_default() += 1;
    }

    pub(crate) fn wait(&self) {
        self.rare().waits += 1;
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.rare().waited += time;
    }

    pub(crate) fn circle(&self) {
        self.rare().cycles_broken += 1;
    }

    pub(crate) fn takeover(&self) {
        self.rare().takeovers += 1;
    }

    pub(crate) fn invalidations(&self) {
        self.rare().invalidations += 1;
    }

    fn rare(&self) -> MutexGuard<'_, Rare> {
        self.rare.lock().ignore_poison()
    }

    /// Adds counts from another process.
    pub(super) fn add(&self, stats: &Stats) {
        let own = self.counts();
        for (counter, more) in [(&own.hits, stats.hits), (&own.misses, stats.misses), (&own.computed, stats.computed)] {
            add(counter, more);
        }
        let rare_counts =
            [stats.faults, stats.outages, stats.waits, stats.cycles_broken, stats.invalidations, stats.stale];
        if rare_counts.iter().any(|count| *count > 0) || !stats.skipped.is_empty() {
            let mut rare = self.rare();
            rare.faults += stats.faults;
            rare.outages += stats.outages;
            rare.waits += stats.waits;
            rare.takeovers += stats.takeovers;
            rare.cycles_broken += stats.cycles_broken;
            rare.waited += stats.waited;
            rare.invalidations += stats.invalidations;
            rare.stale += stats.stale;
            for (reason, more) in &stats.skipped {
                *rare.skipped.entry(*reason).or_default() += more;
            }
        }
    }

    pub(super) fn sum(&self) -> Stats {
        let Rare {
            retracted_hits,
            waits,
            takeovers,
            cycles_broken,
            waited,
            invalidations,
            stale,
            faults,
            outages,
            skipped,
        } = &*self.rare();
        let mut stats = Stats {
            waits: *waits,
            takeovers: *takeovers,
            cycles_broken: *cycles_broken,
            waited: *waited,
            invalidations: *invalidations,
            stale: *stale,
            faults: *faults,
            outages: *outages,
            skipped: skipped.clone(),
            ..Stats::default()
        };
        for thread in &self.threads {
            stats.hits += thread.0.hits.load(Relaxed);
            stats.misses += thread.0.misses.load(Relaxed);
            stats.computed += thread.0.computed.load(Relaxed);
        }
        // Hits that were taken back are still included in the threads' counts.
        stats.hits = stats.hits.saturating_sub(*retracted_hits);
        stats
    }
}

fn increment(counter: &AtomicU64) {
    add(counter, 1);
}

/// Adds to a counter. Each counter has only one writing thread at a time, so a load and a store suffice.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed) + more, Relaxed);
}
