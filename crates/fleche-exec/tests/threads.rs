//! Tests of thread pools: the calls that they run, the caches of these calls, and the end of pools.

#[path = "threads/amid.rs"]
mod amid;
#[path = "threads/bound.rs"]
mod bound;
#[path = "threads/common.rs"]
mod common;
#[path = "threads/guard.rs"]
mod guard;
#[path = "threads/hangs.rs"]
mod hangs;
#[cfg(target_os = "linux")]
#[path = "threads/isolated.rs"]
mod isolated;
#[path = "threads/jobs.rs"]
mod jobs;
#[path = "threads/map.rs"]
mod map;
#[path = "threads/pool.rs"]
mod pool;
#[path = "threads/resources.rs"]
mod resources;
#[path = "threads/results.rs"]
mod results;
#[path = "threads/stalls.rs"]
mod stalls;
#[path = "threads/waiting.rs"]
mod waiting;
#[path = "threads/wrapped.rs"]
mod wrapped;
