//! Executors: where submitted calls run. What users call on them is [`fleche_core::ExecutorExt`].
//!
//! Which one do I choose?
//!
//! | executor | choose it where | a call may use |
//! |---|---|---|
//! | [`ThreadPool`] | calls share this process: nearly always | any store, any closure |
//! | none: call the function | calls are few, or parallel within themselves | |
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

mod budget;
mod threads;

pub use budget::Budget;
pub use threads::{ThreadPool, ThreadPoolConfig};
