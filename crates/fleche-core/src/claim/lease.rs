//! Leases: claims for stores without locks of the operating system, such as databases. The holder keeps its lease by
//! renewing it; without renewal, the lease expires by the store's own clock.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use super::renewal::RenewalSchedule;
use super::{Claim, ClaimGuard, ClaimHolder, ContendedClaim, OnAcquired};
use crate::{
    call::CallKey,
    error::{Error, Result},
    runtime::{fork, log::Throttle},
};

/// The operations of a store on leases. Each is atomic.
pub trait LeaseTable: Send + Sync + 'static {
    /// Grants the lease of the call to this holder for the duration `ttl`, if it is free or has expired by the
    /// store's own clock. Returns a number that no other grant of the call has, or `None` if another holder has the
    /// lease.
    fn acquire(&self, key: &CallKey, owner: &ClaimHolder, ttl: Duration) -> Result<Option<u64>>;

    /// Extends the lease of this grant to the duration `ttl` from now, even if it has expired, as long as it was not
    /// granted again. Returns `false` if it was granted again, or if this grant was released.
    fn renew(&self, key: &CallKey, grant: u64, ttl: Duration) -> Result<bool>;

    /// Releases the lease if it belongs to this grant.
    fn release(&self, key: &CallKey, grant: u64) -> Result<()>;

    /// Stores the calls that the holder waits for ([`ClaimHolder::waiting_on`]) with the lease, if it belongs to this grant.
    fn publish(&self, key: &CallKey, grant: u64, awaits: Option<&[CallKey]>) -> Result<()>;
}

/// A clock: a function that returns the time since some fixed moment. It determines when renewals are due, and need not agree
/// with the store's clock.
type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The leases of one process in one store.
pub struct Leases<T>(Arc<Shared<T>>);

struct Shared<T> {
    table: T,
    /// The duration of each lease. A lease is renewed each time a third of it has passed.
    ttl: Duration,
    clock: Clock,
    /// Schedules renewals, and further attempts at leases that other processes hold.
    schedule: RenewalSchedule,
    /// Whether a background thread does the scheduled work.
    by_itself: bool,
}

impl<T: LeaseTable> Leases<T> {
    /// Creates a set of leases that last for the duration `ttl` without a renewal: if a process is lost, its calls
    /// pass to others after this time. A background thread renews the leases, regardless of the bodies.
    pub fn new(table: T, ttl: Duration) -> Self {
        let begun = std::time::Instant::now();
        Self(Arc::new(Shared {
            table,
            ttl,
            clock: Arc::new(move || begun.elapsed()),
            schedule: RenewalSchedule::default(),
            by_itself: true,
        }))
    }

    /// Like [`new`](Self::new), with this clock and without a background thread: only [`process_due`](Self::process_due) renews and
    /// acquires. For tests.
    pub fn with_manual_clock(table: T, ttl: Duration, clock: Clock) -> Self {
        Self(Arc::new(Shared { table, ttl, clock, schedule: RenewalSchedule::default(), by_itself: false }))
    }

    /// Returns the table.
    pub fn table(&self) -> &T {
        &self.0.table
    }

    /// Implements [`CallStore::claim`](crate::CallStore::claim).
    ///
    /// # Errors
    /// Fails with the error of the table.
    pub fn claim(&self, key: &CallKey) -> Result<Claim> {
        match self.0.acquire(key)? {
            Some(held) => Ok(Claim::Held(held)),
            None => Ok(Claim::Taken(Box::new(Wanted { shared: self.0.clone(), key: *key }))),
        }
    }

    /// Renews the leases that are due, and tries again to acquire those that callers wait for. Returns when to call this
    /// next, or `None` if there is nothing to do.
    pub fn process_due(&self) -> Option<Duration> {
        self.0.process_due()
    }
}

impl<T: LeaseTable> Shared<T> {
    fn now(&self) -> Duration {
        (self.clock)()
    }

    fn acquire(self: &Arc<Self>, key: &CallKey) -> Result<Option<Arc<dyn ClaimGuard>>> {
        // Taken before the request, because the lease may count from any moment after it.
        let since = self.now();
        let Some(grant) = self.table.acquire(key, &ClaimHolder::this_process(), self.ttl)? else { return Ok(None) };
        self.schedule.keep(*key, grant, since, self.ttl);
        self.ensure_running();
        Ok(Some(Arc::new(Lease { shared: self.clone(), key: *key, grant, in_background: AtomicBool::new(false) })))
    }

    fn process_due(self: &Arc<Self>) -> Option<Duration> {
        let now = self.now();
        // A failing table may have blocked this thread, so it is not asked again in this round.
        let mut failed: Option<String> = None;
        for (key, grant) in self.schedule.due(now) {
            let renewed = if failed.is_none() { self.table.renew(&key, grant, self.ttl) } else { continue };
            match renewed {
                Ok(true) => self.schedule.renewed(&key, grant, now, self.ttl),
                Ok(false) => self.schedule.lost(&key, grant),
                Err(error) => {
                    crate::runtime::log::warn_rarely!(&FAULTS, error.kind(), %key, error = %error.report(), "cannot renew a lease");
                    failed = Some(error.report().to_string());
                }
            }
        }
        if failed.is_some() {
            self.schedule.postpone_renewals(self.now(), self.ttl);
        }
        for wanted in self.schedule.wanted(now) {
            let asked = match &failed {
                None => self.acquire(&wanted.key),
                Some(error) => Err(Error::backend("the leases of a store")(error.clone())),
            };
            match asked {
                Ok(None) => self.schedule.ask_again(wanted, now),
                Ok(Some(held)) => (wanted.then)(Ok(held)),
                Err(error) => {
                    failed = failed.or_else(|| Some(error.report().to_string()));
                    (wanted.then)(Err(error));
                }
            }
        }
        for (key, grant) in self.schedule.released() {
            // If the table fails, the lease expires.
            if failed.is_none() {
                failed = self.release(&key, grant).err().map(|error| error.report().to_string());
            }
        }
        self.schedule.next()
    }

    fn release(&self, key: &CallKey, grant: u64) -> Result<()> {
        let released = self.table.release(key, grant);
        if let Err(error) = &released {
            crate::runtime::log::warn_rarely!(
                &FAULTS, error.kind(), %key, error = %error.report(), "cannot release a lease; it expires without renewal"
            );
        }
        released
    }

    fn ensure_running(self: &Arc<Self>) {
        if self.by_itself {
            let shared: Weak<Self> = Arc::downgrade(self);
            self.schedule.start(move || {
                let shared = shared.upgrade()?;
                let next = shared.process_due();
                Some(next.map(|next| next.saturating_sub(shared.now())))
            });
        }
    }
}

/// Limits the warnings about failing lease tables.
static FAULTS: Throttle = Throttle::new();

/// A lease that another process holds.
struct Wanted<T> {
    shared: Arc<Shared<T>>,
    key: CallKey,
}

impl<T: LeaseTable> ContendedClaim for Wanted<T> {
    fn when_acquired(self: Box<Self>, then: OnAcquired) {
        self.shared.schedule.want(self.key, then, self.shared.now());
        self.shared.ensure_running();
    }
}

/// A lease that this process holds.
struct Lease<T: LeaseTable> {
    shared: Arc<Shared<T>>,
    key: CallKey,
    grant: u64,
    in_background: AtomicBool,
}

impl<T: LeaseTable> ClaimGuard for Lease<T> {
    fn publish_waits(&self, keys: Option<&[CallKey]>) {
        if let Err(error) = self.shared.table.publish(&self.key, self.grant, keys) {
            crate::runtime::log::warn_rarely!(
                &FAULTS, error.kind(), key = %self.key, error = %error.report(),
                "cannot publish what the holder of a lease waits for; a cycle of waiting processes may go unnoticed"
            );
        }
    }

    fn publishes(&self) -> bool {
        true
    }

    fn is_expired(&self) -> bool {
        self.shared.schedule.is_expired(&self.key, self.grant, self.shared.now(), self.shared.ttl)
    }

    fn release_in_background(&self) {
        self.in_background.store(true, Relaxed);
    }
}

impl<T: LeaseTable> Drop for Lease<T> {
    fn drop(&mut self) {
        // A forked child has only a copy of the lease, which its parent still holds.
        if fork::is_child() {
            return;
        }
        self.shared.schedule.forget(&self.key, self.grant);
        if self.in_background.load(Relaxed) {
            self.shared.schedule.release(self.key, self.grant);
            self.shared.ensure_running();
        } else {
            // The error has been logged.
            let _ = self.shared.release(&self.key, self.grant);
        }
    }
}

impl<T> fmt::Debug for Leases<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").field("lasts", &self.0.ttl).finish_non_exhaustive()
    }
}
