//! The blocking pool: threads that wait for stores, so that the threads of an async runtime do not block.
//!
//! Operations that never return must not block the other ones. An operation that takes longer than [`OVERDUE_AFTER`] is overdue
//! as soon as other operations wait for a thread: it no longer counts against the limits, and another thread is started.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, MutexGuard},
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use super::{
    background_threads::{BackgroundThreads, Locked, Next},
    panics::carry,
    timer,
};

/// The maximum number of threads that wait for one store at a time; further operations are queued. A store that does
/// not answer thus does not delay other stores.
const THREADS_PER_STORE: usize = 8;
/// The maximum number of operations that run at a time, not counting overdue ones.
const THREADS: usize = 64;
/// The time after which an operation is overdue.
const OVERDUE_AFTER: Duration = Duration::from_secs(5);
/// The maximum number of overdue operations of one store. Further ones count against its limit.
const OVERDUE_PER_STORE: usize = 64;
/// The maximum number of overdue operations. Further ones count against the limits.
const OVERDUE: usize = 512;
static POOL: BackgroundThreads<State> = BackgroundThreads::many("fleche-store", State::new());

struct State {
    stores: BTreeMap<usize, StoreQueue>,
    /// The store of each operation that its store's limit permits to begin, in order.
    ready: VecDeque<usize>,
    /// The number of running operations that are not overdue.
    running: usize,
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
    /// The number of queued operations that the store's limit permits to begin.
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
    const fn new() -> Self {
        Self { stores: BTreeMap::new(), ready: VecDeque::new(), running: 0, overdue: 0, begun: 0, next_check: None }
    }

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

    /// Returns whether an operation may begin.
    fn can_begin(&self) -> bool {
        !self.ready.is_empty() && self.running < THREADS
    }

    fn begin(&mut self, now: Instant) -> Option<(RunningOperation, Work)> {
        if !self.can_begin() {
            return None;
        }
        let store = self.ready.pop_front()?;
        let queue = self.stores.get_mut(&store)?;
        let work = queue.pending.pop_front()?;
        queue.ready -= 1;
        self.begun += 1;
        queue.running.insert(self.begun, now);
        self.running += 1;
        Some((RunningOperation { store, number: self.begun }, work))
    }

    fn end(&mut self, begun: RunningOperation) {
        let Some(queue) = self.stores.get_mut(&begun.store) else { return };
        if queue.running.remove(&begun.number).is_some() {
            self.running -= 1;
        } else {
            queue.overdue -= 1;
            self.overdue -= 1;
        }
        if queue.running.is_empty() && queue.overdue == 0 && queue.pending.is_empty() {
            self.stores.remove(&begun.store);
        }
        self.admit(begun.store);
    }

    /// Returns whether operations wait because of the limit on all operations.
    fn is_full(&self) -> bool {
        !self.ready.is_empty() && self.running >= THREADS
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
                self.running -= 1;
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

    /// Takes the next operation for a thread of the pool.
    fn next(&mut self) -> Next<impl FnOnce() + use<>> {
        let Some((begun, work)) = self.begin(Instant::now()) else { return Next::Idle };
        let has_more = self.can_begin();
        Next::Work(move || {
            if has_more {
                let mut state = POOL.lock();
                if start_thread(&mut state).is_err() {
                    // The timer tries again.
                    schedule_check(state, Some(Instant::now() + OVERDUE_AFTER));
                }
            }
            run(begun, work);
        })
    }
}

/// The waker of the timer that looks for overdue operations.
struct OverdueCheck;

impl Wake for OverdueCheck {
    fn wake(self: Arc<Self>) {
        let now = Instant::now();
        let mut state = POOL.lock();
        // Without a timer thread, every timer is due at once. Then only new operations look for overdue ones.
        let is_due = state.next_check.take().is_some_and(|at| at <= now);
        state.mark_overdue(now);
        let started = start_thread(&mut state);
        if is_due {
            let again = started.is_err().then(|| now + OVERDUE_AFTER);
            let at = state.next_overdue().or(again);
            schedule_check(state, at);
        }
    }
}

/// Lets another thread begin an operation, if one may begin.
fn start_thread(state: &mut Locked<State>) -> io::Result<()> {
    if state.can_begin() { BackgroundThreads::wake(&POOL, state, State::next) } else { Ok(()) }
}

/// Sets the timer that looks for overdue operations, unless one is set.
fn schedule_check(mut state: MutexGuard<'_, Locked<State>>, at: Option<Instant>) {
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
    let mut state = POOL.lock();
    state.push(store, work);
    let waits = state.waits(store);
    if waits {
        state.mark_overdue(Instant::now());
    }
    let failed = start_thread(&mut state).is_err();
    // The threads of running operations continue with this one. If there are none, this thread has to run it.
    while failed
        && state.running == 0
        && let Some((begun, work)) = state.begin(Instant::now())
    {
        drop(state);
        run(begun, work);
        state = POOL.lock();
    }
    if waits || failed {
        // If no thread could be started, the timer tries again.
        let again = (failed && state.can_begin()).then(|| Instant::now() + OVERDUE_AFTER);
        let at = state.next_overdue().or(again);
        schedule_check(state, at);
    }
}

/// Runs an operation that has begun.
fn run(begun: RunningOperation, work: Work) {
    // The operation catches its own panics; these come from wakers.
    if let Err(panic) = carry(work) {
        let (message, location) = panic.into_text();
        crate::runtime::log::error!(%message, ?location, "the waker of a future panicked");
    }
    let mut state = POOL.lock();
    state.end(begun);
    if state.next_check.is_none() && state.waits(begun.store) {
        let at = state.next_overdue();
        schedule_check(state, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Begins the operations that may begin, and returns their number.
    fn begin_all(state: &mut State, now: Instant) -> usize {
        std::iter::from_fn(|| state.begin(now)).count()
    }

    fn push(state: &mut State, store: usize, operations: usize) {
        (0..operations).for_each(|_| state.push(store, Box::new(|| ())));
    }

    #[test]
    fn operation_begins_in_place_of_one_that_is_overdue() {
        let (mut state, now) = (State::new(), Instant::now());
        push(&mut state, 1, THREADS_PER_STORE);
        assert_eq!((begin_all(&mut state, now), state.next_overdue()), (THREADS_PER_STORE, None));
        push(&mut state, 1, 1);
        assert_eq!((begin_all(&mut state, now), state.next_overdue()), (0, Some(now + OVERDUE_AFTER)));
        state.mark_overdue(now + OVERDUE_AFTER / 2);
        assert_eq!(begin_all(&mut state, now), 0);
        state.mark_overdue(now + OVERDUE_AFTER);
        assert_eq!((begin_all(&mut state, now), state.overdue, state.next_overdue()), (1, 1, None));
        for number in 1..=9 {
            state.end(RunningOperation { store: 1, number });
        }
        assert_eq!((state.stores.len(), state.overdue, state.running), (0, 0, 0));
    }

    #[test]
    fn number_of_overdue_operations_is_limited() {
        let (mut state, mut now) = (State::new(), Instant::now());
        for store in 0..10 {
            push(&mut state, store, 100);
        }
        let mut begun = 0;
        for _ in 0..100 {
            begun += begin_all(&mut state, now);
            now += OVERDUE_AFTER;
            state.mark_overdue(now);
        }
        assert_eq!((begun, state.overdue, state.running), (OVERDUE + THREADS, OVERDUE, THREADS));
        assert!(state.stores.values().all(|queue| queue.overdue <= OVERDUE_PER_STORE));
        assert_eq!(state.next_overdue(), None);
    }
}
