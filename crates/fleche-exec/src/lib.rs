//! Executors: where submitted calls run. What users call on them is [`fleche_core::ExecutorExt`].
//!
//! Which one do I choose?
//!
//! | executor | choose it where | a call may use |
//! |---|---|---|
//! | [`ThreadPool`] | calls share this process: nearly always | any store, any closure |
//! | [`ProcessPool`] | bodies may crash, leak, or must not share a process; workers are this very program | any store; functions, and closures that capture nothing |
//! | [`SerialExecutor`] | an executor is asked for, and the calls should run in place, as when debugging | as above |
//! | `RayonExecutor` (feature `rayon`) | the program has a rayon pool, and its calls do not wait | as above |
//! | `TokioExecutor` (feature `tokio`) | the program has a tokio runtime, and its calls wait more than they compute | as above |
//! | your own, around a pool that you have | see below | as above |
//! | none: call the function | calls are few, or parallel within themselves; an `async fn` | |
//!
//! Wrap it with [`fleche_core::wrap_executor`], and hits never reach it, while all else carries the cache, metadata and
//! tags of where it was submitted:
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
//! A call says what it takes with [`with`](fleche_core::ExecutorExt::with): `pool.with(Resources::new().cores(4))`. A pool
//! runs it when that much of its [`Budget`] is free.
//!
//! An executor's configuration is text that makes such an executor elsewhere: `{"type":"threads","threads":4}`. The
//! types named in a program are those whose crates it links; `use fleche_exec as _;` suffices for the ones here.
//!
//! # Your own
//!
//! Whatever runs a closure on another thread is an executor in 25 lines: accept a [`Task`](fleche_core::Task) and
//! [run](fleche_core::Task::run) it once, anywhere, at any time. A task that cannot be accepted is
//! [refused](fleche_core::Task::refuse), and one that is dropped fails its job. This is `examples/third_party_pool.rs`,
//! around the pool of the crate `threadpool`:
//!
//! ```
#![doc = include_str!("../examples/third_party_pool.rs")]
//! ```
//!
//! # Ctrl-C
//!
//! Without more, it ends the program, and its workers with it; what is recorded by then stays. After
//! `fleche_exec::cancel_on_ctrl_c()` it cancels what has not started instead, and lets what runs end.
//!
//! # Progress
//!
//! With the feature `indicatif`, `MapProgress` puts a progress bar over `map`.

mod budget;
#[cfg(unix)]
mod interrupt;
#[cfg(target_os = "linux")]
mod processes;
mod register;
mod serial;
mod threads;

mod foreign;
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
pub use processes::{ProcessPool, ProcessPoolConfig, ProcessPoolStats, init};
#[cfg(feature = "indicatif")]
pub use progress::{MapProgress, Progress};
#[cfg(feature = "rayon")]
pub use rayon::{RayonConfig, RayonExecutor};
pub use serial::SerialExecutor;
pub use threads::{ThreadPool, ThreadPoolConfig};
#[cfg(feature = "tokio")]
pub use tokio::{TokioConfig, TokioExecutor};

/// Lets a test binary make process pools: stands once in it, at any place, in place of [`init`].
///
/// It emits a test, `fleche_worker`, which does nothing where it is run as a test, and which the workers are.
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

/// What the macros' expansions name. Not for people.
#[cfg(target_os = "linux")]
#[doc(hidden)]
pub mod __private {
    pub use crate::processes::WorkerTest;
    pub use inventory;
}

/// The guide's examples, which compile and run.
#[cfg(all(doctest, target_os = "linux"))]
#[doc = include_str!("../../../docs/parallel.md")]
struct Guide;
