//! Leases: claims for stores that have no locks of the system, such as databases. Whoever computes keeps its lease by
//! renewing it; who does not any more, loses it by the store's own clock.

mod heart;

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{Claim, Held, Owner, Taken, Then};
use crate::{
    call::CallKey,
    error::{Error, Result},
    fork,
    log::Throttle,
};
use heart::Heart;

/// What a store does for leases, each atomically.
pub trait LeaseTable: Send + Sync + 'static {
    /// Gives the lease of the call to this owner, if nobody has it or its time is over by the store's own clock. It lasts
    /// so long from now. The number tells this grant from every other one of the call; `None` where somebody has it.
    fn acquire(&self, key: &CallKey, owner: &Owner, lasts: Duration) -> Result<Option<u64>>;

    /// Lets the lease of this grant last so long from now, even if its time was over, as long as nobody has it since.
    /// False where somebody has, or it was released.
    fn renew(&self, key: &CallKey, grant: u64, lasts: Duration) -> Result<bool>;

    /// Ends the lease, if it is of this grant.
    fn release(&self, key: &CallKey, grant: u64) -> Result<()>;

    /// Keeps beside the lease, if it is of this grant, what its owner waits for: [`Owner::awaits`].
    fn publish(&self, key: &CallKey, grant: u64, awaits: Option<&[CallKey]>) -> Result<()>;
}

/// The time since some moment, by which renewals are due. It need not be that of the store.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The leases of one process in one store.
pub struct Leases<T>(Arc<Shared<T>>);

struct Shared<T> {
    table: T,
    /// What each lease lasts; it is renewed three times as often.
    lasts: Duration,
    clock: Clock,
    /// What renews leases, and asks again for those that others have.
    heart: Heart,
    /// Whether a thread lets the heart beat.
    by_itself: bool,
}

impl<T: LeaseTable> Leases<T> {
    /// Leases that last so long without a renewal: the time after which the calls of a process that was lost go to others.
    /// A thread renews them, whatever the bodies do.
    pub fn new(table: T, lasts: Duration) -> Self {
        let begun = std::time::Instant::now();
        Self(Arc::new(Shared {
            table,
            lasts,
            clock: Arc::new(move || begun.elapsed()),
            heart: Heart::default(),
            by_itself: true,
        }))
    }

    /// As [`new`](Self::new), with this clock, and nothing renewed or asked for but by [`beat`](Self::beat): for tests.
    pub fn by_hand(table: T, lasts: Duration, clock: Clock) -> Self {
        Self(Arc::new(Shared { table, lasts, clock, heart: Heart::default(), by_itself: false }))
    }

    /// The table.
    pub fn table(&self) -> &T {
        &self.0.table
    }

    /// What [`CallStore::claim`](crate::CallStore::claim) gives.
    ///
    /// # Errors
    /// Those of the table.
    pub fn claim(&self, key: &CallKey) -> Result<Claim> {
        match self.0.acquire(key)? {
            Some(held) => Ok(Claim::Held(held)),
            None => Ok(Claim::Taken(Box::new(Wanted { shared: self.0.clone(), key: *key }))),
        }
    }

    /// Renews what is due, and asks again for what others have. When to do so next; `None` where there is nothing to do.
    pub fn beat(&self) -> Option<Duration> {
        self.0.beat()
    }
}

impl<T: LeaseTable> Shared<T> {
    fn now(&self) -> Duration {
        (self.clock)()
    }

    fn acquire(self: &Arc<Self>, key: &CallKey) -> Result<Option<Arc<dyn Held>>> {
        // Before it is asked for: from then on it may count.
        let since = self.now();
        let Some(grant) = self.table.acquire(key, &Owner::this_process(), self.lasts)? else { return Ok(None) };
        self.heart.keep(*key, grant, since, self.lasts);
        self.ensure_beating();
        Ok(Some(Arc::new(Lease { shared: self.clone(), key: *key, grant, in_background: AtomicBool::new(false) })))
    }

    fn beat(self: &Arc<Self>) -> Option<Duration> {
        let now = self.now();
        // A table that fails may have kept this thread waiting: it is not asked again in this round.
        let mut failed: Option<String> = None;
        for (key, grant) in self.heart.due(now) {
            let renewed = if failed.is_none() { self.table.renew(&key, grant, self.lasts) } else { continue };
            match renewed {
                Ok(true) => self.heart.renewed(&key, grant, now, self.lasts),
                Ok(false) => self.heart.lost(&key, grant),
                Err(error) => {
                    crate::log::warn_rarely!(&FAULTS, error.kind(), %key, %error, "a lease cannot be renewed");
                    failed = Some(error.to_string());
                }
            }
        }
        if failed.is_some() {
            self.heart.postpone_renewals(self.now(), self.lasts);
        }
        for wanted in self.heart.wanted(now) {
            let asked = match &failed {
                None => self.acquire(&wanted.key),
                Some(error) => Err(Error::backend("the leases of a store")(error.clone())),
            };
            match asked {
                Ok(None) => self.heart.ask_again(wanted, now),
                Ok(Some(held)) => (wanted.then)(Ok(held)),
                Err(error) => {
                    failed = failed.or_else(|| Some(error.to_string()));
                    (wanted.then)(Err(error));
                }
            }
        }
        for (key, grant) in self.heart.released() {
            // Where the table fails, the lease ends by itself.
            if failed.is_none() {
                failed = self.release(&key, grant).err().map(|error| error.to_string());
            }
        }
        self.heart.next()
    }

    fn release(&self, key: &CallKey, grant: u64) -> Result<()> {
        let released = self.table.release(key, grant);
        if let Err(error) = &released {
            crate::log::warn_rarely!(
                &FAULTS, error.kind(), %key, %error, "a lease is not released; it ends by itself"
            );
        }
        released
    }

    fn ensure_beating(self: &Arc<Self>) {
        if self.by_itself {
            let shared: Weak<Self> = Arc::downgrade(self);
            self.heart.start(move || {
                let shared = shared.upgrade()?;
                let next = shared.beat();
                Some(next.map(|next| next.saturating_sub(shared.now())))
            });
        }
    }
}

/// What was logged of the faults of tables of leases.
static FAULTS: Throttle = Throttle::new();

/// A lease of another process.
struct Wanted<T> {
    shared: Arc<Shared<T>>,
    key: CallKey,
}

impl<T: LeaseTable> Taken for Wanted<T> {
    fn when_held(self: Box<Self>, then: Then) {
        self.shared.heart.want(self.key, then, self.shared.now());
        self.shared.ensure_beating();
    }
}

/// A lease that this process has.
struct Lease<T: LeaseTable> {
    shared: Arc<Shared<T>>,
    key: CallKey,
    grant: u64,
    in_background: AtomicBool,
}

impl<T: LeaseTable> Held for Lease<T> {
    fn awaits(&self, keys: Option<&[CallKey]>) {
        if let Err(error) = self.shared.table.publish(&self.key, self.grant, keys) {
            crate::log::warn_rarely!(
                &FAULTS, error.kind(), key = %self.key, %error, "others cannot see what the owner of a lease waits for"
            );
        }
    }

    fn publishes(&self) -> bool {
        true
    }

    fn is_late(&self) -> bool {
        self.shared.heart.is_late(&self.key, self.grant, self.shared.now(), self.shared.lasts)
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
        self.shared.heart.forget(&self.key, self.grant);
        if self.in_background.load(Relaxed) {
            self.shared.heart.release(self.key, self.grant);
            self.shared.ensure_beating();
        } else {
            // The error is logged.
            let _ = self.shared.release(&self.key, self.grant);
        }
    }
}

impl<T> fmt::Debug for Leases<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").field("lasts", &self.0.lasts).finish_non_exhaustive()
    }
}
