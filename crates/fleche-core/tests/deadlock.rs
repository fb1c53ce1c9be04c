//! Tests of the detection of deadlocks. Each runs in its own process, because detection depends on all threads of the
//! process.
#![cfg(target_os = "linux")]
#![allow(missing_docs)]

#[path = "deadlock/honest_waits.rs"]
mod honest_waits;
#[path = "deadlock/invisible_cycles.rs"]
mod invisible_cycles;
#[path = "process_wide/own_process.rs"]
#[allow(dead_code)]
mod own_process;
#[path = "deadlock/shared_semaphore.rs"]
mod shared_semaphore;
