//! Helpers of the tests: a cache in memory, a counting executor, a gate, and `block_on`.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake},
    thread::{self, Thread},
};

use fleche_core::{
    Cache, Executor, Task,
    executor::{ExecutorConfig, SubmitError},
    store::Reach,
};
use fleche_exec::ThreadPool;
use fleche_store_memory::{MemoryCalls, MemoryValues};

pub(crate) fn memory() -> Cache {
    Cache::new(MemoryValues::new(), MemoryCalls::new())
}

pub(crate) fn pool(threads: usize) -> ThreadPool {
    ThreadPool::new(threads).expect("a pool starts")
}

/// A pool of two threads that counts the tasks submitted to it.
#[derive(Debug)]
pub(crate) struct Counting {
    pool: ThreadPool,
    submitted: AtomicUsize,
}

impl Counting {
    pub(crate) fn new() -> Self {
        Self { pool: pool(2), submitted: AtomicUsize::new(0) }
    }

    pub(crate) fn submitted(&self) -> usize {
        self.submitted.load(SeqCst)
    }
}

impl Executor for Counting {
    fn submit_task(&self, task: Task) -> Result<(), SubmitError> {
        self.submitted.fetch_add(1, SeqCst);
        self.pool.submit_task(task)
    }

    fn config(&self) -> Box<dyn ExecutorConfig> {
        self.pool.config()
    }

    fn reach(&self) -> Reach {
        self.pool.reach()
    }

    fn look_ahead(&self) -> usize {
        LOOK_AHEAD
    }
}

/// The look-ahead of [`Counting`].
pub(crate) const LOOK_AHEAD: usize = 6;

/// Blocks the threads that wait at it until it is opened.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(crate) const fn new() -> Self {
        Self { open: Mutex::new(false), opened: Condvar::new() }
    }

    pub(crate) fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    pub(crate) fn wait(&self) {
        drop(self.opened.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
    }
}

/// Occupies one thread of the pool until the returned gate is opened.
pub(crate) fn occupy(pool: &ThreadPool) -> Arc<Gate> {
    let (started, gate) = (Arc::new(Gate::new()), Arc::new(Gate::new()));
    let within = (started.clone(), gate.clone());
    drop(pool.spawn(move || {
        within.0.open();
        within.1.wait();
    }));
    started.wait();
    gate
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Arc::new(Unpark(thread::current())).into();
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
