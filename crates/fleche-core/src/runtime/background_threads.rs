//! `BackgroundThreads`: threads that run while there is work, and the state that they share with their callers.

use std::{
    io,
    ops::{Deref, DerefMut},
    sync::{Condvar, Mutex, MutexGuard},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{internal_threads::WaiterThreadGuard, lock::LockResultExt, panics::contain, thread_spawner};

/// The time without work after which a thread ends.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What a background thread does next.
pub enum Next<W> {
    /// Does this work without the lock. If it panics, the panic is logged, and the thread continues.
    Work(W),
    /// Waits until this time, or until it is woken.
    WaitUntil(Instant),
    /// Waits until it is woken. Ends after some seconds.
    Idle,
    /// Ends at once.
    End,
}

/// Threads that run while there is work, and the state that they share with their callers: one thread, or as many as there is
/// work for.
pub struct BackgroundThreads<S> {
    name: &'static str,
    kind: Kind,
    state: Mutex<Locked<S>>,
    woken: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    One,
    Many,
}

/// The state, while it is locked. It dereferences to what the callers share.
pub struct Locked<S> {
    shared: S,
    /// The number of threads.
    threads: usize,
    /// The number of threads that wait.
    waiting: usize,
    /// Whether a new thread has yet to ask for its first work.
    is_starting: bool,
    /// The thread that was started last.
    last: Option<JoinHandle<()>>,
}

impl<S> BackgroundThreads<S> {
    /// Creates the state of a single thread. The thread starts with [`wake`](Self::wake), and has this name.
    ///
    /// The thread does not count as progress of this process when deadlocks are looked for: callers wait for the events that
    /// it passes on, not for the thread.
    pub const fn one(name: &'static str, shared: S) -> Self {
        Self::new(name, Kind::One, shared)
    }

    /// Creates the state of any number of threads of this name. `shared` limits how much
    /// runs at the same time.
    ///
    /// The threads do the work of callers, so they count as progress unless they wait for work.
    pub const fn many(name: &'static str, shared: S) -> Self {
        Self::new(name, Kind::Many, shared)
    }

    const fn new(name: &'static str, kind: Kind, shared: S) -> Self {
        let state = Locked { shared, threads: 0, waiting: 0, is_starting: false, last: None };
        Self { name, kind, state: Mutex::new(state), woken: Condvar::new() }
    }

    /// Locks the state.
    pub fn lock(&self) -> MutexGuard<'_, Locked<S>> {
        self.state.lock().ignore_poison()
    }

    /// Lets a thread call `step` soon, under the lock, to learn what to do next: a waiting one, or else a new one if the number
    /// of threads permits it. A busy thread calls it after its work. A thread keeps the `step` with which it was started.
    ///
    /// Many calls in a row start one thread, until that thread takes its first work. Work that may take long therefore calls
    /// this first, if there is more work.
    ///
    /// `state` is the locked state of `this`.
    ///
    /// # Errors
    /// Fails if the system cannot start a thread. Then nothing acts on the state until a busy thread has done its work.
    pub fn wake<W: FnOnce()>(
        this: impl Deref<Target = Self> + Send + 'static,
        state: &mut Locked<S>,
        step: impl FnMut(&mut S) -> Next<W> + Send + 'static,
    ) -> io::Result<()> {
        if state.waiting > 0 {
            this.woken.notify_one();
        } else if !state.is_starting && (state.threads == 0 || this.kind == Kind::Many) {
            state.last = Some(thread_spawner::spawn(this.name, move || this.run(step))?);
            state.threads += 1;
            state.is_starting = true;
        }
        Ok(())
    }

    /// Lets the waiting threads call their `step`, and waits until the thread that was started last has ended. The shared state
    /// must make its `step` return [`Next::End`].
    pub fn join(&self) {
        let thread = {
            let mut state = self.lock();
            self.wake_waiting(&state);
            state.last.take()
        };
        if let Some(thread) = thread {
            // It catches the panics of its work.
            let _ = thread.join();
        }
    }

    /// Lets the waiting threads call their `step`, and starts none. `state` is the locked state.
    pub fn wake_waiting(&self, state: &Locked<S>) {
        if state.waiting > 0 {
            self.woken.notify_all();
        }
    }

    fn run<W: FnOnce()>(&self, mut step: impl FnMut(&mut S) -> Next<W>) {
        let begin_wait = |kind| (self.kind == kind).then(WaiterThreadGuard::begin);
        let _waits = begin_wait(Kind::One);
        let mut state = self.lock();
        state.is_starting = false;
        // Whether the thread has waited for as long as it may.
        let mut has_rested = false;
        loop {
            let (at_most, is_idle) = match step(&mut state.shared) {
                Next::Work(work) => {
                    drop(state);
                    if let Err(panic) = contain(work) {
                        super::log::error!(thread = self.name, "the work of a background thread {panic}");
                    }
                    state = self.lock();
                    has_rested = false;
                    continue;
                }
                Next::WaitUntil(at) => (at.saturating_duration_since(Instant::now()), false),
                Next::Idle if !has_rested => (KEEP_ALIVE, true),
                Next::Idle | Next::End => {
                    state.threads -= 1;
                    return;
                }
            };
            state.waiting += 1;
            let waits = begin_wait(Kind::Many);
            let waited = self.woken.wait_timeout(state, at_most).ignore_poison();
            drop(waits);
            state = waited.0;
            state.waiting -= 1;
            has_rested = is_idle && waited.1.timed_out();
        }
    }
}

impl<S> Deref for Locked<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.shared
    }
}

impl<S> DerefMut for Locked<S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.shared
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier, mpsc};

    use super::*;

    type Queue = Vec<mpsc::Sender<&'static str>>;

    fn send_last(queue: &mut Queue) -> Next<impl FnOnce() + use<>> {
        match queue.pop() {
            Some(sender) => Next::Work(move || sender.send("done").unwrap()),
            None => Next::End,
        }
    }

    #[test]
    fn thread_does_all_work_and_starts_again_after_its_end() {
        let thread = Arc::new(BackgroundThreads::one("test", Queue::new()));
        for works in [1, 3] {
            let (sender, done) = mpsc::channel();
            {
                let mut state = thread.lock();
                state.extend((0..works).map(|_| sender.clone()));
                drop(sender);
                BackgroundThreads::wake(thread.clone(), &mut state, send_last).unwrap();
            }
            assert_eq!(done.iter().count(), works);
        }
    }

    #[test]
    fn panic_of_work_does_not_end_the_thread() {
        let thread = Arc::new(BackgroundThreads::one("test", Vec::<Option<mpsc::Sender<()>>>::new()));
        let (sender, done) = mpsc::channel();
        let mut state = thread.lock();
        state.extend([Some(sender), None]);
        let step = |queue: &mut Vec<Option<mpsc::Sender<()>>>| match queue.pop() {
            Some(sender) => Next::Work(move || sender.expect("no sender").send(()).unwrap()),
            None => Next::End,
        };
        BackgroundThreads::wake(thread.clone(), &mut state, step).unwrap();
        drop(state);
        assert_eq!(done.recv(), Ok(()));
    }

    type Works = Vec<Box<dyn FnOnce() + Send>>;

    fn pop(works: &mut Works) -> Next<Box<dyn FnOnce() + Send>> {
        works.pop().map_or(Next::Idle, Next::Work)
    }

    #[test]
    fn long_work_of_many_threads_runs_at_the_same_time() {
        let threads = Arc::new(BackgroundThreads::many("test", Works::new()));
        let all_run = Arc::new(Barrier::new(5));
        for _ in 0..4 {
            let (again, all_run) = (threads.clone(), all_run.clone());
            let mut state = threads.lock();
            state.push(Box::new(move || {
                BackgroundThreads::wake(again.clone(), &mut again.lock(), pop).unwrap();
                all_run.wait();
            }));
            BackgroundThreads::wake(threads.clone(), &mut state, pop).unwrap();
        }
        // Returns only if all four run at the same time.
        all_run.wait();
    }

    #[test]
    fn join_waits_for_the_end_of_the_thread_and_drops_its_step() {
        let threads = Arc::new(BackgroundThreads::one("test", false));
        let held = Arc::new(());
        let step = {
            let held = held.clone();
            move |stopped: &mut bool| match (*stopped, &held) {
                (true, _) => Next::End,
                (false, _) => Next::<fn()>::Idle,
            }
        };
        BackgroundThreads::wake(threads.clone(), &mut threads.lock(), step).unwrap();
        **threads.lock() = true;
        threads.join();
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn thread_waits_for_the_given_time_and_asks_again_when_woken() {
        let thread = Arc::new(BackgroundThreads::one("test", None::<Instant>));
        let (sender, done) = mpsc::channel();
        let step = move |at: &mut Option<Instant>| match *at {
            Some(time) if time <= Instant::now() => {
                *at = None;
                let sender = sender.clone();
                Next::Work(move || sender.send(Instant::now()).unwrap())
            }
            Some(time) => Next::WaitUntil(time),
            None => Next::Idle,
        };
        let set = |at: Instant| {
            let mut state = thread.lock();
            **state = Some(at);
            BackgroundThreads::wake(thread.clone(), &mut state, step.clone()).unwrap();
        };
        set(Instant::now() + Duration::from_hours(1));
        let soon = Instant::now() + Duration::from_millis(20);
        set(soon);
        assert!(done.recv().unwrap() >= soon);
        set(Instant::now());
        done.recv().unwrap();
    }
}
