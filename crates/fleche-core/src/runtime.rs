//! What the other modules need of the system: threads, timers, processes, files, panics and warnings. Knows no calls and no stores.

pub(crate) mod blocking_pool;
pub mod fork;
pub(crate) mod internal_threads;
pub mod log;
pub mod mode;
pub(crate) mod panics;
pub mod process_id;
pub mod thread_spawner;
pub(crate) mod timer;
pub mod written_file;
