//! Services of the system for the other modules: threads, timers, processes, files, panics and warnings. Independent of calls
//! and stores.

pub(crate) mod background_threads;
pub(crate) mod blocking_pool;
pub(crate) mod counted;
pub(crate) mod fork;
pub(crate) mod internal_threads;
pub(crate) mod lock;
pub mod log;
pub(crate) mod mode;
pub(crate) mod panics;
pub mod process_id;
pub mod thread_spawner;
pub(crate) mod timer;
pub mod written_file;
