//! Checks that apply to every executor.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread::{self, ThreadId},
};

use fleche_core::{
    Cache, Executor, ExecutorExt, JobError, Task,
    executor::{ExecutorConfig, SubmitError},
    fleche,
    store::Reach,
    wrap_executor,
};
use fleche_store_memory::{MemoryCalls, MemoryValues};

pub(crate) fn memory() -> Cache {
    Cache::new(MemoryValues::new(), MemoryCalls::new())
}

/// Counts the tasks that reach the inner executor.
#[derive(Debug)]
struct Counting<'a, E>(&'a E, AtomicUsize);

impl<E: Executor> Executor for Counting<'_, E> {
    fn submit_task(&self, task: Task) -> Result<(), SubmitError> {
        self.1.fetch_add(1, SeqCst);
        self.0.submit_task(task)
    }
    fn config(&self) -> Box<dyn ExecutorConfig> {
        self.0.config()
    }
    fn reach(&self) -> Reach {
        self.0.reach()
    }
}

#[fleche]
fn halved(x: i64) -> Result<i64, String> {
    if x % 2 == 0 { Ok(x / 2) } else { Err(format!("{x} is odd")) }
}

/// Checks misses, hits and errors through a wrapped executor.
pub(crate) fn answers_hits_and_records_misses(executor: &impl Executor) {
    let cache = memory();
    let _active = cache.enter();
    let pool = wrap_executor(Counting(executor, AtomicUsize::new(0)));
    for _ in 0..2 {
        let halves: Vec<_> = pool.map(halved, (0..8).map(|x| (2 * x,))).map(|half| half.unwrap().unwrap()).collect();
        assert_eq!(halves, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
    assert_eq!(pool.inner().1.load(SeqCst), 8);
    assert!(pool.submit(halved, (4,)).is_done() && halved::contains(4).unwrap());
    assert_eq!(pool.submit(halved, (5,)).result(), Ok(Err("5 is odd".to_owned())));
    assert!(!halved::contains(5).unwrap());
}

/// Checks that a panic ends only its own job, and that later tasks run.
pub(crate) fn outlives_a_panic(executor: &impl Executor) {
    let job = executor.submit(|x: i64| assert!(x > 0, "not positive"), (0,));
    let error = job.result().unwrap_err();
    assert!(matches!(&error, JobError::Panicked { message, .. } if message == "not positive"), "{error}");
    assert_eq!(executor.submit(|x: i64| x, (1,)).result(), Ok(1));
}

/// Returns the thread on which the executor runs its tasks.
pub(crate) fn thread_of(executor: &impl Executor) -> ThreadId {
    let (task, job) = Task::of_closure(|| thread::current().id());
    executor.submit_task(task).unwrap();
    job.result().unwrap()
}

/// Checks that the configuration is written as this text, and that the text opens a working executor.
pub(crate) fn opens_from_its_configuration(executor: &impl Executor, text: &str) {
    let config = executor.config();
    assert_eq!(serde_json::to_string(&config).unwrap(), text);
    let read: Box<dyn ExecutorConfig> = serde_json::from_str(text).unwrap();
    assert!(*read == *config);
    let opened = read.open().unwrap();
    assert_eq!(opened.submit(|x: i64| x + 1, (1,)).result(), Ok(2));
    assert!(*opened.config() == *config);
}
