//! Tests of thread pools: the calls that they run, the caches of these calls, and the end of pools.

#[path = "threads/common.rs"]
mod common;
#[path = "threads/deadlock.rs"]
mod deadlock;
#[path = "threads/jobs.rs"]
mod jobs;
#[path = "threads/map.rs"]
mod map;
#[path = "threads/nested.rs"]
mod nested;
#[path = "threads/pool.rs"]
mod pool;
#[path = "threads/resources.rs"]
mod resources;
#[path = "threads/results.rs"]
mod results;
#[path = "threads/unstable_arguments.rs"]
mod unstable_arguments;
#[path = "threads/waiting.rs"]
mod waiting;
#[path = "threads/wrapped.rs"]
mod wrapped;
