//! The threads of a process that wait for claims: some block on locks, and one polls.

use std::{
    hash::{BuildHasher, RandomState},
    io::{self, ErrorKind},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use fleche_core::{
    Result,
    claim::ClaimGuard,
    spi::{BackgroundThreads, LockResultExt, Next, WaiterThreadGuard, thread_spawner},
};

/// The callback that receives an acquired claim, or the error that prevents it.
pub(super) type OnAcquired = Box<dyn FnOnce(Result<Arc<dyn ClaimGuard>>) + Send>;

/// A wait for a claim.
pub(super) trait Wait: Send {
    /// Blocks until another attempt is worthwhile.
    fn block(&mut self);

    /// Tries once without blocking. Returns `None` if the wait continues, otherwise the rest of the work.
    fn try_now(&mut self) -> Option<Finish>;

    /// Ends the wait without a claim, because of this error.
    fn fail(&mut self, error: io::Error) -> Finish;
}

/// A function that notifies the waiters. It may take long.
pub(super) type Finish = Box<dyn FnOnce() + Send>;

/// Blocked waits, some of which may never be woken.
pub(super) trait Watched: Send + Sync {
    /// Checks all waits.
    fn check_waits(self: Arc<Self>);

    /// Returns whether there are any waits.
    fn has_waits(&self) -> bool;
}

/// The maximum number of blocked threads; further waits are polled.
const MAX_BLOCKED: usize = 256;

/// The pause between polls: the first duration, plus a random part of the second.
const POLL_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(40));

/// The pause between checks of blocked waits: the first duration, plus a random part of the second.
const CHECK_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(100));

/// Waits on another thread, blocked or polling. Gives up if no thread can be started.
pub(super) fn wait(wait: Box<dyn Wait>) {
    if let Err(mut wait) = start(wait, block_until_finished).or_else(poll) {
        wait.fail(ErrorKind::WouldBlock.into())();
    }
}

fn poll(wait: Box<dyn Wait>) -> Result<(), Box<dyn Wait>> {
    let mut poller = POLLER.lock();
    if BackgroundThreads::wake(&POLLER, &mut poller, Poller::next).is_err() {
        return Err(wait);
    }
    poller.waits.push(wait);
    poller.next_poll = None;
    Ok(())
}

/// Runs `finish` on another thread, or on this one if none can be started.
pub(super) fn run(finish: Finish) {
    if let Err(finish) = start(finish, |finish| finish()) {
        finish();
    }
}

fn block_until_finished(mut wait: Box<dyn Wait>) {
    let waits = WaiterThreadGuard::begin();
    let finish = loop {
        if let Some(finish) = wait.try_now() {
            break finish;
        }
        wait.block();
    };
    drop(waits);
    finish();
}

struct Permit;

static BLOCKED: AtomicUsize = AtomicUsize::new(0);

impl Permit {
    fn get() -> Option<Self> {
        let more = |count| (count < MAX_BLOCKED).then_some(count + 1);
        BLOCKED.try_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        BLOCKED.fetch_sub(1, Ordering::Relaxed);
    }
}

fn start<T: Send + 'static>(job: T, run: fn(T)) -> Result<(), T> {
    let Some(permit) = Permit::get() else { return Err(job) };
    // If the thread cannot be started, its closure is dropped; the job must survive that.
    let job = Arc::new(Mutex::new(Some(job)));
    let shared = Arc::clone(&job);
    let started = thread_spawner::spawn("fleche-claim", move || {
        let _permit = permit;
        let job = lock(&shared).take();
        job.into_iter().for_each(run);
    });
    match started {
        Ok(_) => Ok(()),
        Err(_) => lock(&job).take().map_or(Ok(()), Err),
    }
}

/// The state of the thread that polls and checks. It runs only while there is work.
struct Poller {
    waits: Vec<Box<dyn Wait>>,
    watched: Vec<Weak<dyn Watched>>,
    /// When the waits are polled next; `None` for at once.
    next_poll: Option<Instant>,
    /// When the blocked waits are checked next; `None` before the first time is set.
    next_check: Option<Instant>,
}

static POLLER: BackgroundThreads<Poller> = BackgroundThreads::one(
    "fleche-claims",
    Poller { waits: Vec::new(), watched: Vec::new(), next_poll: None, next_check: None },
);

/// Registers these waits with the poller thread, which checks them regularly until there are none. If the thread cannot be
/// started, they are not checked.
pub(super) fn watch(waits: &Arc<impl Watched + 'static>) {
    let mut poller = POLLER.lock();
    let new: Weak<dyn Watched> = Arc::downgrade(&(Arc::clone(waits) as Arc<dyn Watched>));
    if !poller.watched.iter().any(|watched| watched.ptr_eq(&new)) {
        poller.watched.push(new);
    }
    let _ = BackgroundThreads::wake(&POLLER, &mut poller, Poller::next);
}

impl Poller {
    fn next(&mut self) -> Next<fn()> {
        self.watched.retain(|watched| watched.upgrade().is_some_and(|watched| watched.has_waits()));
        if self.waits.is_empty() && self.watched.is_empty() {
            self.next_check = None;
            return Next::End;
        }
        let next_check = *self.next_check.get_or_insert_with(|| Instant::now() + random_pause(CHECK_PAUSE));
        let next = if self.waits.is_empty() { Some(next_check) } else { self.next_poll };
        match next.filter(|at| *at > Instant::now()) {
            Some(at) => Next::WaitUntil(at),
            None => Next::Work(poll_and_check),
        }
    }
}

/// Polls all waits, and checks the blocked ones if that is due.
fn poll_and_check() {
    let mut waits = mem::take(&mut POLLER.lock().waits);
    waits.retain_mut(|wait| {
        // A panic, as of a callback, ends only this wait: the others are polled on.
        let polled = catch_unwind(AssertUnwindSafe(|| match wait.try_now() {
            None => true,
            Some(finish) => {
                run(finish);
                false
            }
        }));
        polled.unwrap_or(false)
    });
    let mut poller = POLLER.lock();
    if poller.next_check.is_some_and(|at| at <= Instant::now()) {
        let watched = poller.watched.clone();
        drop(poller);
        watched.iter().filter_map(Weak::upgrade).for_each(Watched::check_waits);
        poller = POLLER.lock();
        poller.next_check = Some(Instant::now() + random_pause(CHECK_PAUSE));
    }
    // New waits are polled at once.
    poller.next_poll = poller.waits.is_empty().then(|| Instant::now() + random_pause(POLL_PAUSE));
    poller.waits.append(&mut waits);
}

/// Returns a random duration in this range, so that processes that wait for the same claim do not all poll at once.
fn random_pause((least, more): (Duration, Duration)) -> Duration {
    let random = RandomState::new().hash_one(0) % 1024;
    least + more * u32::try_from(random).unwrap_or_default() / 1024
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().ignore_poison()
}
