//! The blocking pool: threads that wait for stores, so that the threads of an async runtime do not block.
//!
//! Operations that never return must not block the other ones. An operation that takes longer than [`OVERDUE_AFTER`] is overdue
//! as soon as other operations wait for a thread: it no longer counts against the limits, and another thread is started.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard},
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use super::{internal_threads::WaiterThreadGuard, lock::LockResultExt, panics::carry, thread_spawner, timer};

/// The maximum number of threads that wait for one store at a time; further operations are queued. A store that does
/// not answer thus does not delay other stores.
const THREADS_PER_STORE: usize = 8;
/// The maximum number of threads that wait for stores at a time.
const THREADS: usize = 64;
/// The time after which an operation is overdue.
const OVERDUE_AFTER: Duration = Duration::from_secs(5);
/// The maximum number of overdue operations of one store. Further ones count against its limit.
const OVERDUE_PER_STORE: usize = 64;
/// The maximum number of overdue operations. Further ones count against the limits.
const OVERDUE: usize = 512;
/// The time without work after which a thread ends.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);
/// Notified when there is work.
static CHANGED: Condvar = Condvar::new();

#[derive(Default)]
struct State {
    stores: HashMap<usize, StoreQueue>,
    /// The store of each operation that may begin now, in order.
    ready: VecDeque<usize>,
    /// The number of threads, not counting those of overdue operations.
    threads: usize,
    /// The number of these threads that wait for work or are being started.
    idle: usize,
    /// The number of overdue operations.
    overdue: usize,
    /// The number of operations that have begun so far.
    begun: u64,
    /// The time of the timer that looks for overdue operations, if one is set.
    next_check: Option<Instant>,
}

/// The pending and running work of one store.
#[derive(Default)]
struct StoreQueue {
    pending: VecDeque<Work>,
    /// The number of queued operations that may begin now.
    ready: usize,
    /// The start of each running operation that is not overdue, in order.
    running: BTreeMap<u64, Instant>,
    overdue: usize,
}

impl StoreQueue {
    /// Returns whether an operation waits because of the store's limit.
    fn waits(&self) -> bool {
        self.ready < self.pending.len()
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// An operation that has begun.
#[derive(Clone, Copy)]
struct RunningOperation {
    store: usize,
    number: u64,
}

impl State {
    fn push(&mut self, store: usize, work: Work) {
        self.stores.entry(store).or_default().pending.push_back(work);
        self.admit(store);
    }

    /// Marks the next queued operation of this store as ready if the store's limit permits it. Returns whether one was marked.
    fn admit(&mut self, store: usize) -> bool {
        let Some(queue) = self.stores.get_mut(&store) else { return false };
        let admits = queue.waits() && queue.ready + queue.running.len() < THREADS_PER_STORE;
        if admits {
            queue.ready += 1;
            self.ready.push_back(store);
        }
        admits
    }

    fn begin(&mut self, now: Instant) -> Option<(RunningOperation, Work)> {
        let store = self.ready.pop_front()?;
        let queue = self.stores.get_mut(&store)?;
        let work = queue.pending.pop_front()?;
        queue.ready -= 1;
        self.begun += 1;
        queue.running.insert(self.begun, now);
        Some((RunningOperation { store, number: self.begun }, work))
    }

    /// Ends the operation. Returns whether its thread still counts; if not, the thread ends.
    fn end(&mut self, begun: RunningOperation) -> bool {
        let Some(queue) = self.stores.get_mut(&begun.store) else { return true };
        let was_overdue = queue.running.remove(&begun.number).is_none();
        queue.overdue -= usize::from(was_overdue);
        self.overdue -= usize::from(was_overdue);
        if queue.running.is_empty() && queue.overdue == 0 && queue.pending.is_empty() {
            self.stores.remove(&begun.store);
        }
        self.admit(begun.store);
        if was_overdue && self.threads < THREADS {
            self.threads += 1;
            return true;
        }
        !was_overdue
    }

    /// Returns whether operations wait because of the limit on all threads.
    fn is_full(&self) -> bool {
        self.ready.len() > self.idle && self.threads >= THREADS
    }

    /// Returns whether an operation of the store waits for a thread.
    fn waits(&self, store: usize) -> bool {
        self.is_full() || self.stores.get(&store).is_some_and(StoreQueue::waits)
    }

    /// Marks the operations that have taken too long by this time as overdue, if others wait for their threads.
    fn mark_overdue(&mut self, now: Instant) {
        let stores: Vec<_> = self.stores.keys().copied().collect();
        for store in stores {
            while self.waits(store)
                && self.overdue < OVERDUE
                && let Some(queue) = self.stores.get_mut(&store)
                && queue.overdue < OVERDUE_PER_STORE
                && let Some(first) = queue.running.first_entry()
                && now.saturating_duration_since(*first.get()) >= OVERDUE_AFTER
            {
                first.remove();
                queue.overdue += 1;
                self.overdue += 1;
                self.threads -= 1;
                self.admit(store);
            }
        }
    }

    /// Returns when the next operation that blocks others will be overdue, or `None` if there is none.
    fn next_overdue(&self) -> Option<Instant> {
        let is_full = self.is_full();
        let queues =
            self.stores.values().filter(|queue| queue.overdue < OVERDUE_PER_STORE && (is_full || queue.waits()));
        let begun = queues.filter_map(|queue| queue.running.values().next()).min();
        begun.filter(|_| self.overdue < OVERDUE).map(|begun| *begun + OVERDUE_AFTER)
    }

    /// Counts the additional threads that the ready operations need, as far as the limit permits, and returns their
    /// number.
    fn add_threads(&mut self) -> usize {
        let more = self.ready.len().saturating_sub(self.idle).min(THREADS.saturating_sub(self.threads));
        self.threads += more;
        self.idle += more;
        more
    }

    /// Subtracts a thread that could not be started.
    fn remove_thread(&mut self) {
        self.threads -= 1;
        self.idle -= 1;
    }
}

/// The waker of the timer that looks for overdue operations.
struct OverdueCheck;

impl Wake for OverdueCheck {
    fn wake(self: Arc<Self>) {
        let now = Instant::now();
        let mut state = lock();
        // Without a timer thread, every timer is due at once. Then only new operations look for overdue ones.
        let is_due = state.next_check.take().is_some_and(|at| at <= now);
        state.mark_overdue(now);
        let more = state.add_threads();
        drop(state);
        CHANGED.notify_all();
        let failed = (0..more).filter(|_| thread_spawner::spawn("fleche-store", run_thread).is_err()).count();
        let mut state = lock();
        (0..failed).for_each(|_| state.remove_thread());
        if is_due {
            // If a thread could not be started, the next timer tries again.
            let again = (failed > 0).then(|| now + OVERDUE_AFTER);
            let at = state.next_overdue().or(again);
            schedule_check(state, at);
        }
    }
}

/// Sets the timer that looks for overdue operations, unless one is set.
fn schedule_check(mut state: MutexGuard<'_, State>, at: Option<Instant>) {
    if let Some(at) = at
        && state.next_check.is_none()
    {
        state.next_check = Some(at);
        drop(state);
        // The timer is never cancelled: it does no harm if it finds nothing to do.
        std::mem::forget(timer::set(at, &Waker::from(Arc::new(OverdueCheck))));
    }
}

pub(crate) fn push(store: usize, work: Work) {
    let mut state = lock();
    state.push(store, work);
    let mut waits = state.waits(store);
    if waits {
        state.mark_overdue(Instant::now());
    }
    let more = state.add_threads();
    drop(state);
    CHANGED.notify_one();
    for _ in 0..more {
        if thread_spawner::spawn("fleche-store", run_thread).is_ok() {
            continue;
        }
        waits = true;
        let mut state = lock();
        state.remove_thread();
        // The existing threads do the work; if there are none, this thread has to.
        while state.threads == 0
            && let Some((begun, work)) = state.begin(Instant::now())
        {
            state.threads += 1;
            drop(state);
            work();
            state = lock();
            if state.end(begun) {
                state.threads -= 1;
            }
        }
    }
    if waits {
        let state = lock();
        // If no thread could be started, the timer tries again.
        let again = (state.ready.len() > state.idle).then(|| Instant::now() + OVERDUE_AFTER);
        let at = state.next_overdue().or(again);
        schedule_check(state, at);
    }
}

/// Runs queued operations. Returns after [`KEEP_ALIVE`] without any, or if another thread has taken its place.
fn run_thread() {
    let mut state = lock();
    state.idle -= 1;
    loop {
        if let Some((begun, work)) = state.begin(Instant::now()) {
            drop(state);
            // The operation catches its own panics; these come from wakers.
            if let Err(panic) = carry(work) {
                let (message, location) = panic.into_text();
                crate::runtime::log::error!(%message, ?location, "the waker of a future panicked");
            }
            state = lock();
            let remains = state.end(begun);
            if state.next_check.is_none() && state.waits(begun.store) {
                let at = state.next_overdue();
                schedule_check(state, at);
                state = lock();
            }
            if !remains {
                return;
            }
            continue;
        }
        state.idle += 1;
        let waits = WaiterThreadGuard::begin();
        let waited = CHANGED.wait_timeout_while(state, KEEP_ALIVE, |state| state.ready.is_empty());
        state = waited.ignore_poison().0;
        drop(waits);
        state.idle -= 1;
        if state.ready.is_empty() {
            state.threads -= 1;
            return;
        }
    }
}

/// Locks the state. No user code runs under the lock, so a panic cannot leave the state inconsistent.
fn lock() -> MutexGuard<'static, State> {
    STATE.lock().ignore_poison()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Begins an operation on each further thread that may be started, and returns their number.
    fn begin_all(state: &mut State, now: Instant) -> usize {
        let more = state.add_threads();
        state.idle -= more;
        (0..more).map_while(|_| state.begin(now)).count()
    }

    fn push(state: &mut State, store: usize, operations: usize) {
        (0..operations).for_each(|_| state.push(store, Box::new(|| ())));
    }

    #[test]
    fn operation_begins_in_place_of_one_that_is_overdue() {
        let (mut state, now) = (State::default(), Instant::now());
        push(&mut state, 1, THREADS_PER_STORE);
        assert_eq!((begin_all(&mut state, now), state.next_overdue()), (THREADS_PER_STORE, None));
        push(&mut state, 1, 1);
        assert_eq!((begin_all(&mut state, now), state.next_overdue()), (0, Some(now + OVERDUE_AFTER)));
        state.mark_overdue(now + OVERDUE_AFTER / 2);
        assert_eq!(begin_all(&mut state, now), 0);
        state.mark_overdue(now + OVERDUE_AFTER);
        assert_eq!((begin_all(&mut state, now), state.overdue, state.next_overdue()), (1, 1, None));
        for number in 1..=9 {
            assert!(state.end(RunningOperation { store: 1, number }));
        }
        assert_eq!((state.stores.len(), state.overdue, state.threads), (0, 0, 9));
    }

    #[test]
    fn number_of_overdue_operations_is_limited() {
        let (mut state, mut now) = (State::default(), Instant::now());
        for store in 0..10 {
            push(&mut state, store, 100);
        }
        let mut begun = 0;
        for _ in 0..100 {
            begun += begin_all(&mut state, now);
            now += OVERDUE_AFTER;
            state.mark_overdue(now);
        }
        assert_eq!((begun, state.overdue, state.threads), (OVERDUE + THREADS, OVERDUE, THREADS));
        assert!(state.stores.values().all(|queue| queue.overdue <= OVERDUE_PER_STORE));
        assert_eq!(state.next_overdue(), None);
    }
}
