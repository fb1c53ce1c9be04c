//! Executors over threads of other pools, and progress bars. Executors behind features are tested with
//! `--all-features`.

#[path = "../examples/third_party_pool.rs"]
#[allow(dead_code)]
mod example;

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
    let (task, job) = Task::from_closure(|| thread::current().id());
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

/// Tasks on the submitting thread.
mod serial {
    use fleche_exec::SerialExecutor;

    use super::{answers_hits_and_records_misses, opens_from_its_configuration, outlives_a_panic, thread_of};

    #[test]
    fn tasks_run_on_the_submitting_thread() {
        assert_eq!(thread_of(&SerialExecutor), std::thread::current().id());
    }

    #[test]
    fn hits_do_not_reach_the_executor_and_misses_are_recorded() {
        answers_hits_and_records_misses(&SerialExecutor);
    }

    #[test]
    fn panic_ends_only_its_own_job() {
        outlives_a_panic(&SerialExecutor);
    }

    #[test]
    fn executor_opens_from_its_configuration() {
        opens_from_its_configuration(&SerialExecutor, r#"{"type":"serial"}"#);
    }

    #[test]
    fn task_may_submit_to_the_executor_that_runs_it() {
        use fleche_core::ExecutorExt;
        let outer = SerialExecutor.submit(|x: i64| SerialExecutor.submit(|x: i64| x + 1, (x,)).result().unwrap(), (1,));
        assert_eq!(outer.result(), Ok(2));
    }
}

/// The example of an executor around a third-party pool.
mod third_party {
    use fleche_core::executor::ExecutorConfig;

    use super::{answers_hits_and_records_misses, opens_from_its_configuration, outlives_a_panic};

    #[test]
    fn example_runs() {
        super::example::main().unwrap();
    }

    #[test]
    fn executor_of_the_example_behaves_as_an_executor() {
        let config: Box<dyn ExecutorConfig> = serde_json::from_str(r#"{"type":"threadpool","threads":2}"#).unwrap();
        let executor = config.open().unwrap();
        answers_hits_and_records_misses(&executor);
        outlives_a_panic(&executor);
        opens_from_its_configuration(&executor, r#"{"type":"threadpool","threads":2}"#);
    }

    #[test]
    fn executor_of_the_example_takes_twenty_lines() {
        let text = include_str!("../examples/third_party_pool.rs");
        let (_, executor) = text.split_once("#[derive(Clone").unwrap();
        let (executor, _) = executor.split_once("#[fleche]").unwrap();
        assert!(executor.lines().filter(|line| !line.is_empty()).count() <= 20);
    }
}

/// Tasks on rayon pools.
#[cfg(feature = "rayon")]
mod rayon {
    use fleche_core::{ExecutorExt, job};
    use fleche_exec::RayonExecutor;

    use super::{answers_hits_and_records_misses, opens_from_its_configuration, outlives_a_panic, thread_of};

    fn executor() -> RayonExecutor {
        RayonExecutor::new(::rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap())
    }

    #[test]
    fn tasks_run_on_the_threads_of_the_pool() {
        let pool = std::sync::Arc::new(::rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap());
        let threads = pool.broadcast(|_| std::thread::current().id());
        assert!(threads.contains(&thread_of(&RayonExecutor::new(pool))));
        assert_ne!(thread_of(&RayonExecutor::global()), std::thread::current().id());
    }

    #[test]
    fn hits_do_not_reach_the_pool_and_misses_are_recorded() {
        answers_hits_and_records_misses(&executor());
    }

    #[test]
    fn panic_ends_only_its_own_job() {
        outlives_a_panic(&executor());
    }

    #[test]
    fn panicking_callback_does_not_end_the_process() {
        let executor = executor();
        let (started, job) = job::channel();
        let (go_on, gate) = std::sync::mpsc::channel::<()>();
        let (task, submitted) = fleche_core::Task::from_closure(move || {
            started.complete(());
            gate.recv().unwrap();
        });
        fleche_core::Executor::submit_task(&executor, task).unwrap();
        job.result().unwrap();
        submitted.on_done(|| panic!("a listener"));
        go_on.send(()).unwrap();
        assert_eq!(submitted.result(), Ok(()));
        assert_eq!(executor.submit(|x: i64| x, (1,)).result(), Ok(1));
    }

    #[test]
    fn configuration_distinguishes_the_global_pool_from_a_separate_one() {
        opens_from_its_configuration(&executor(), r#"{"type":"rayon","threads":2}"#);
        opens_from_its_configuration(&RayonExecutor::global(), r#"{"type":"rayon"}"#);
        let none: Box<dyn fleche_core::executor::ExecutorConfig> =
            serde_json::from_str(r#"{"type":"rayon","threads":0}"#).unwrap();
        assert!(none.open().unwrap_err().to_string().contains("at least 1"));
    }
}

/// Tasks on the blocking threads of a tokio runtime.
#[cfg(feature = "tokio")]
mod on_tokio {
    use fleche_core::{ExecutorExt, JobError, fleche, wrap_executor};
    use fleche_exec::TokioExecutor;
    use tokio::runtime::{Builder, Runtime};

    use super::{answers_hits_and_records_misses, memory, opens_from_its_configuration, outlives_a_panic, thread_of};

    fn runtime() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).build().unwrap()
    }

    #[test]
    fn tasks_do_not_occupy_a_thread_that_polls() {
        // The only thread of the runtime polls, and would wait for itself.
        let runtime = Builder::new_current_thread().build().unwrap();
        let ran_on = runtime.block_on(async { thread_of(&TokioExecutor::current().unwrap()) });
        assert_ne!(ran_on, std::thread::current().id());
    }

    #[test]
    fn hits_do_not_reach_the_runtime_and_misses_are_recorded() {
        let runtime = runtime();
        answers_hits_and_records_misses(&TokioExecutor::new(runtime.handle().clone()));
    }

    #[test]
    fn panic_ends_only_its_own_job() {
        let runtime = runtime();
        outlives_a_panic(&TokioExecutor::new(runtime.handle().clone()));
    }

    #[test]
    fn jobs_can_be_awaited_in_the_runtime() {
        #[fleche]
        fn blocking(x: i64) -> i64 {
            x + 1
        }
        let cache = memory();
        let _active = cache.enter();
        let runtime = runtime();
        let pool = wrap_executor(TokioExecutor::new(runtime.handle().clone()));
        let job = pool.submit(blocking, (1,));
        assert_eq!(runtime.block_on(job), Ok(2));
        assert!(cache.contains(&blocking::key(1)).unwrap());
    }

    #[test]
    fn runtime_that_has_shut_down_refuses_tasks() {
        let runtime = runtime();
        let executor = TokioExecutor::new(runtime.handle().clone());
        drop(runtime);
        assert!(matches!(executor.submit(|x: i64| x, (1,)).result(), Err(JobError::Rejected { .. })));
    }

    #[test]
    fn configuration_opens_only_within_a_runtime() {
        let runtime = runtime();
        let executor = TokioExecutor::new(runtime.handle().clone());
        let error = fleche_core::Executor::config(&executor).open().unwrap_err().to_string();
        assert!(error.contains("TokioExecutor::new"), "{error}");
        let _within = runtime.enter();
        opens_from_its_configuration(&executor, r#"{"type":"tokio"}"#);
    }
}

/// Progress bars over `map`.
#[cfg(feature = "indicatif")]
mod progress {
    use std::sync::{Arc, mpsc};

    use fleche_core::{ExecutorExt, fleche, wrap_executor};
    use fleche_exec::{MapProgress, SerialExecutor, ThreadPool};
    use indicatif::{ProgressBar, ProgressFinish};

    use super::memory;

    #[test]
    fn bar_advances_as_calls_end_and_not_as_results_are_taken() {
        let pool = ThreadPool::new(1).unwrap();
        let bar = ProgressBar::no_length();
        let (tell, told) = mpsc::channel();
        let tell = Arc::new(std::sync::Mutex::new(tell));
        let function = move |x: i64| {
            tell.lock().unwrap().send(x).unwrap();
            x
        };
        let mut results = pool.map(function, (0..4).map(|x| (x,))).ahead(4).progress(bar.clone());
        assert_eq!(results.next(), Some(Ok(0)));
        assert_eq!(told.iter().take(4).count(), 4);
        // After the shutdown, all jobs are done.
        pool.shutdown();
        assert_eq!((bar.position(), bar.length()), (4, Some(4)));
        assert_eq!(results.count(), 3);
    }

    #[test]
    fn hits_and_failures_count() {
        #[fleche]
        fn fragile(x: i64) -> i64 {
            assert!(x > 0, "not positive");
            x
        }
        let _active = memory().enter();
        fragile(2);
        let bar = ProgressBar::no_length();
        let pool = wrap_executor(SerialExecutor);
        let results: Vec<_> =
            pool.map(fragile, (0..3).map(|x| (x,))).progress(bar.clone()).map(|r| r.is_ok()).collect();
        assert_eq!((results, bar.position()), (vec![false, true, true], 3));
    }

    #[test]
    fn length_that_was_set_is_kept_and_the_bar_finishes_in_its_style() {
        let bar = ProgressBar::new(10).with_finish(ProgressFinish::AndLeave);
        let mut results = SerialExecutor.map(|x: i64| x, (0..).map(|x| (x,)).take(10)).progress(bar.clone());
        assert_eq!(results.by_ref().flatten().count(), 10);
        assert!(bar.is_finished() && results.next().is_none());
        assert_eq!(bar.length(), Some(10));
    }
}
