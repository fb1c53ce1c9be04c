//! `BackgroundThread`: a thread that runs while there is work, and the state that it shares with its callers.

use std::{
    io,
    ops::{Deref, DerefMut},
    sync::{Condvar, Mutex, MutexGuard},
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

/// A thread that runs while there is work, and the state that it shares with its callers.
///
/// The thread does not count as progress of this process when deadlocks are looked for: callers wait for the events that it
/// passes on, not for the thread.
pub struct BackgroundThread<S> {
    name: &'static str,
    state: Mutex<Locked<S>>,
    woken: Condvar,
}

/// The state, while it is locked. It dereferences to what the callers share.
pub struct Locked<S> {
    shared: S,
    is_running: bool,
}

impl<S> BackgroundThread<S> {
    /// Creates the state. The thread starts with [`wake`](Self::wake), and has this name.
    pub const fn new(name: &'static str, shared: S) -> Self {
        Self { name, state: Mutex::new(Locked { shared, is_running: false }), woken: Condvar::new() }
    }

    /// Locks the state.
    pub fn lock(&self) -> MutexGuard<'_, Locked<S>> {
        self.state.lock().ignore_poison()
    }

    /// Lets the thread call `step` soon, under the lock, to learn what to do next. Starts the thread if it does not run; if it
    /// does, it keeps the `step` with which it was started.
    ///
    /// `state` is the locked state of `this`.
    ///
    /// # Errors
    /// Fails if the system cannot start a thread. Then nothing acts on the state.
    pub fn wake<W: FnOnce()>(
        this: impl Deref<Target = Self> + Send + 'static,
        state: &mut Locked<S>,
        step: impl FnMut(&mut S) -> Next<W> + Send + 'static,
    ) -> io::Result<()> {
        if state.is_running {
            this.woken.notify_one();
            return Ok(());
        }
        thread_spawner::spawn(this.name, move || this.run(step))?;
        state.is_running = true;
        Ok(())
    }

    fn run<W: FnOnce()>(&self, mut step: impl FnMut(&mut S) -> Next<W>) {
        let _waits = WaiterThreadGuard::begin();
        let mut state = self.lock();
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
                    state.is_running = false;
                    return;
                }
            };
            let waited = self.woken.wait_timeout(state, at_most).ignore_poison();
            state = waited.0;
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
    use std::sync::{Arc, mpsc};

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
        let thread = Arc::new(BackgroundThread::new("test", Queue::new()));
        for works in [1, 3] {
            let (sender, done) = mpsc::channel();
            {
                let mut state = thread.lock();
                state.extend((0..works).map(|_| sender.clone()));
                drop(sender);
                BackgroundThread::wake(thread.clone(), &mut state, send_last).unwrap();
            }
            assert_eq!(done.iter().count(), works);
        }
    }

    #[test]
    fn panic_of_work_does_not_end_the_thread() {
        let thread = Arc::new(BackgroundThread::new("test", Vec::<Option<mpsc::Sender<()>>>::new()));
        let (sender, done) = mpsc::channel();
        let mut state = thread.lock();
        state.extend([Some(sender), None]);
        let step = |queue: &mut Vec<Option<mpsc::Sender<()>>>| match queue.pop() {
            Some(sender) => Next::Work(move || sender.expect("no sender").send(()).unwrap()),
            None => Next::End,
        };
        BackgroundThread::wake(thread.clone(), &mut state, step).unwrap();
        drop(state);
        assert_eq!(done.recv(), Ok(()));
    }

    #[test]
    fn thread_waits_for_the_given_time_and_asks_again_when_woken() {
        let thread = Arc::new(BackgroundThread::new("test", None::<Instant>));
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
            BackgroundThread::wake(thread.clone(), &mut state, step.clone()).unwrap();
        };
        set(Instant::now() + Duration::from_hours(1));
        let soon = Instant::now() + Duration::from_millis(20);
        set(soon);
        assert!(done.recv().unwrap() >= soon);
        set(Instant::now());
        done.recv().unwrap();
    }
}
