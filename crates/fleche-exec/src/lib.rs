//! Executors, which run submitted calls. Submit calls with the methods of [`fleche_core::ExecutorExt`].
//!
//! The [guide](_parallel) shows how to run calls on threads, in processes and as futures.
//!
//! # Which executor?
//!
//! | executor | use it if | supports |
//! |---|---|---|
//! | [`ThreadPool`] | calls can share this process: nearly always | any store, any closure |
//! | [`ProcessPool`] | bodies may crash, leak, or must not share a process; workers run this same program | any store; functions, and closures that capture nothing |
//! | [`SerialExecutor`] | an executor is required but calls should run on the submitting thread, for example to debug | any store, any closure |
//! | `RayonExecutor` (feature `rayon`) | the program has a rayon pool, and its calls do not wait | any store, any closure |
//! | `TokioExecutor` (feature `tokio`) | the program has a tokio runtime, and its calls wait more than they compute | any store, any closure |
//! | your own, around an existing pool | see below | any store, any closure |
//! | none: call the function | there are few calls, or each is parallel in itself, or the function is an `async fn` | |
//!
//! Wrap an executor with [`fleche_core::wrap_executor`]: hits are then answered without reaching it, and other calls
//! run with the cache, metadata and tags that were active where they were submitted:
//!
//! ```
//! use fleche_core::{Cache, ExecutorExt, fleche, wrap_executor};
//! use fleche_exec::ThreadPool;
//! use fleche_store_memory::{MemoryCalls, MemoryValues};
//!
//! #[fleche]
//! fn square(x: i64) -> i64 { x * x }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let _active = Cache::new(MemoryValues::new(), MemoryCalls::new()).enter();
//! let pool = wrap_executor(ThreadPool::new(2)?);
//! let job = pool.submit(square, (3,));
//! assert_eq!(job.result()?, 9);
//! assert!(pool.submit(square, (3,)).is_done()); // A hit.
//! let squares = pool.map(square, (1..=4).map(|x| (x,))).collect::<Result<Vec<_>, _>>()?;
//! assert_eq!(squares, [1, 4, 9, 16]);
//! # Ok(()) }
//! ```
//!
//! [`with`](fleche_core::ExecutorExt::with) states the resources that calls need:
//! `pool.with(Resources::new().cores(4))`. A pool starts a call when that much of its [`Budget`] is free.
//!
//! An executor's configuration serializes to text, such as `{"type":"threads","threads":4}`, from which another program
//! can open an executor of the same kind. A program knows the types of the crates that it links; this one is linked by
//! `use fleche_exec as _;`.
//!
//! # Writing an executor
//!
//! Any pool that runs closures on its threads becomes an executor in 25 lines: accept a [`Task`](fleche_core::Task) and
//! [run](fleche_core::Task::run) it once, on any thread, at any time. [Refuse](fleche_core::Task::refuse) a task that
//! cannot be accepted; dropping a task fails its job. This is `examples/third_party_pool.rs`, for the pool of the crate
//! `threadpool`:
//!
//! ```
#![doc = include_str!("../examples/third_party_pool.rs")]
//! ```
//!
//! # Ctrl-C
//!
//! By default, Ctrl-C ends the program and its workers; results that are recorded by then are kept. After a call of
//! `fleche_exec::cancel_on_ctrl_c()`, Ctrl-C cancels the tasks that have not started and lets running tasks finish.
//!
//! # Progress
//!
//! With the feature `indicatif`, `MapProgress` shows a progress bar for `map`.

mod budget;
#[cfg(unix)]
mod interrupt;
#[cfg(target_os = "linux")]
mod process_pool;
mod register;
mod serial;
#[cfg(target_os = "linux")]
#[doc(hidden)]
pub mod spi;
mod thread_pool;

#[cfg(feature = "indicatif")]
mod progress;
#[cfg(feature = "rayon")]
mod rayon;
#[cfg(feature = "tokio")]
mod tokio;

pub use budget::Budget;
#[cfg(unix)]
pub use interrupt::cancel_on_ctrl_c;
#[cfg(target_os = "linux")]
pub use process_pool::{ProcessPool, ProcessPoolConfig, ProcessPoolStats, init};
#[cfg(feature = "indicatif")]
pub use progress::{MapProgress, Progress};
#[cfg(feature = "rayon")]
pub use rayon::{RayonConfig, RayonExecutor};
pub use serial::SerialExecutor;
pub use thread_pool::{ThreadPool, ThreadPoolConfig};
#[cfg(feature = "tokio")]
pub use tokio::{TokioConfig, TokioExecutor};

/// Lets a test binary create process pools. Write it once in the binary, in any module, in place of a call of [`init`].
///
/// It defines the test `fleche_worker`. In an ordinary test run, that test does nothing. Worker processes are the same
/// binary, started to run only that test.
///
/// ```
/// fleche_exec::worker_test!();
/// ```
#[cfg(target_os = "linux")]
#[macro_export]
macro_rules! worker_test {
    () => {
        #[test]
        fn fleche_worker() {
            $crate::init();
        }

        $crate::__private::inventory::submit! {
            $crate::__private::WorkerTest {
                path: ::core::concat!(::core::module_path!(), "::fleche_worker"),
            }
        }
    };
}

/// Items that the macros' expansions use. Not part of the public API.
#[cfg(target_os = "linux")]
#[doc(hidden)]
pub mod __private {
    pub use crate::process_pool::WorkerTest;
    pub use inventory;
}

/// Compiles and runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// A guide: running calls in parallel.
///
// Its examples need Linux.
#[cfg(all(doc, any(not(doctest), target_os = "linux")))]
#[doc = include_str!("../docs/parallel.md")]
pub mod _parallel {}
