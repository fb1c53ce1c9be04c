//! Single flight among programs that share a directory: each program is this test binary, run again.
#![cfg(target_os = "linux")]

#[path = "single_flight/callers.rs"]
mod callers;
#[path = "single_flight/failures.rs"]
mod failures;
#[path = "single_flight/program.rs"]
mod program;

fleche_exec::worker_test!();
